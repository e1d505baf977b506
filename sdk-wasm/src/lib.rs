//! The browser boundary of the core.
#![no_std]
