//! Headwater's collector.

pub mod config;
pub mod decode;
pub mod event_log;
pub mod event_time;
pub mod limits;
pub mod stamp;
pub mod validate;
