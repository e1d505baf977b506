//! Headwater's client core: decides what to number, keep, send, retry and drop. Does nothing itself.
#![cfg_attr(not(test), no_std)]
extern crate alloc;
