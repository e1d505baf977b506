//! Headwater's collector.
