//! How much of the machine others took while something was measured, without which no figure from a shared machine can be
//! believed. Promises a share of all processors' time that neither the measured server nor the load had.
//! Does not know who the others are; the kernel's work for interrupts counts as theirs.

use std::fs;

use anyhow::Context as _;

/// Processor times so far, in the system's clock ticks.
#[derive(Clone, Copy)]
pub(crate) struct Ticks {
    /// Of all processors, whatever they did.
    all: u64,
    /// Of those, the ones in which they did nothing.
    idle: u64,
    /// Of the load: this process.
    load: u64,
    /// Of the server.
    pub(crate) server: u64,
}

impl Ticks {
    /// Now. `server` is a process.
    pub(crate) fn now(server: u32) -> anyhow::Result<Self> {
        let machine = fs::read_to_string("/proc/stat")?;
        let machine = machine.lines().next().context("the system does not tell")?;
        // user nice system idle iowait irq softirq steal; the guest times after them are in `user` already.
        let times = machine.split_whitespace().skip(1).take(8).map(str::parse::<u64>);
        let times = times.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            all: times.iter().sum(),
            idle: times.iter().skip(3).take(2).sum(),
            load: of("self")?,
            server: of(&server.to_string())?,
        })
    }

    /// What share of the machine's time others had since `before`, from 0 to 1.
    pub(crate) fn others_since(self, before: Self) -> f64 {
        let all = self.all - before.all;
        let known =
            (self.idle - before.idle) + (self.load - before.load) + (self.server - before.server);
        all.saturating_sub(known) as f64 / all.max(1) as f64
    }
}

/// Of one process with all its threads, for itself and in the kernel.
fn of(process: &str) -> anyhow::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // A program's name stands in brackets and may have anything in it, brackets too.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let times = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(times.collect::<Result<Vec<_>, _>>()?.iter().sum())
}
