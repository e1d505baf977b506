//! Headwater's collector.

pub mod config;
pub mod event_log;
pub mod limits;
