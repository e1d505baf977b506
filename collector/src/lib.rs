//! Headwater's collector.

pub mod event_log;
