//! The process itself, under the names that every Prometheus client has for it, where `/proc` tells.
//! Promises to read a few small files at a scrape, and nothing else. Deliberately knows nothing of Headwater.

use std::{fmt, fs, time::SystemTime};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::log::Page;

/// Looks when it is asked.
#[derive(Debug)]
pub(super) struct Process {
    started: f64,
}

impl Process {
    /// Started now.
    pub(super) fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self { started: now.map_or(0.0, |now| now.as_secs_f64()) }
    }
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        page.seconds("process_start_time_seconds", "When the collector started", self.started)?;
        if let Some(bytes) = resident() {
            page.gauge("process_resident_memory_bytes", "Memory that the process holds", bytes)?;
        }
        if let Some(open) = open_files() {
            page.gauge("process_open_fds", "Open files and connections", open)?;
        }
        if let Some(most) = most_files() {
            page.gauge("process_max_fds", "How many it may open", most)?;
        }
        Ok(())
    }
}

fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

fn open_files() -> Option<u64> {
    // Without the one that is open to count them.
    Some((fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
}

fn most_files() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
