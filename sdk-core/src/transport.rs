//! What the client may send, and what an answer means for it: at most one request in flight, waits after failures,
//! smaller batches after a refusal, silence after a 401. Promises to decide alone from what happened; makes no request.

use crate::config::Config;
use crate::platform::Request;
use crate::random::Random;
use crate::retry;
use crate::saved::Backoff;

/// Whether a request may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Yes.
    Ready,
    /// No: this one is under way.
    InFlight(Request),
    /// Not before this time of the monotonic clock.
    BackingOff { until_ms: u64, demanded: bool },
    /// Not before somebody asks for it: the collector does not know the key.
    Stopped,
}

/// What a failure means for the events of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// They go again, later.
    Again,
    /// They go again in smaller batches: one of them, or their sum, is what the collector refused.
    Smaller,
    /// This one event is what the collector refuses.
    Poison,
    /// They stay where they are: nothing will be taken.
    Stop,
}

/// A request that was not delivered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed {
    pub(crate) request: Request,
    /// How many events it carried.
    pub(crate) events: u32,
    /// The HTTP status, 0 for no answer at all.
    pub(crate) status: u16,
    /// The wait that the collector asked for, 0 for none.
    pub(crate) retry_after_ms: u64,
}

/// The transport.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    pub(crate) state: State,
    failures: u32,
    batch_events: u32,
    /// How many times its bounds the next batch of a backlog may be; 0 if there was no backlog.
    pub(crate) growth: u32,
    /// When the latest request began, monotonic milliseconds.
    pub(crate) last_sent_ms: Option<u64>,
}

impl Transport {
    /// The transport at the start of a life, with the wait that an earlier one left.
    pub(crate) fn new(saved: Backoff, config: &Config, monotonic_ms: u64, unix_ms: u64) -> Self {
        let left = saved.until_ms.saturating_sub(unix_ms).min(saved.length_ms);
        let state = if left == 0 {
            State::Ready
        } else {
            State::BackingOff {
                until_ms: monotonic_ms.saturating_add(left),
                demanded: saved.demanded,
            }
        };
        Self {
            state,
            failures: saved.failures,
            batch_events: config.max_batch_events,
            growth: 1,
            last_sent_ms: None,
        }
    }

    /// How many events the next batch may have.
    pub(crate) fn batch_events(&self) -> u32 {
        self.batch_events.saturating_mul(self.growth.max(1))
    }

    /// A request begins.
    pub(crate) fn sent(&mut self, request: Request, monotonic_ms: u64) {
        self.state = State::InFlight(request);
        self.last_sent_ms = Some(monotonic_ms);
    }

    /// The request in flight is over; what follows depends on which of the next calls is made.
    pub(crate) fn free(&mut self, request: Request) {
        if self.state == State::InFlight(request) {
            self.state = State::Ready;
        }
    }

    /// The request was delivered.
    pub(crate) fn delivered(&mut self, request: Request, config: &Config) {
        self.free(request);
        self.failures = 0;
        self.growth = self.growth.saturating_mul(2).clamp(1, config.max_batch_growth);
        if self.batch_events < config.max_batch_events {
            self.growth = 1;
            self.batch_events = self.batch_events.saturating_mul(2).min(config.max_batch_events);
        }
    }

    /// A request was not delivered.
    pub(crate) fn failed(
        &mut self,
        failed: Failed,
        monotonic_ms: u64,
        config: &Config,
        random: &mut Random,
    ) -> Failure {
        let Failed { request, events, status, retry_after_ms } = failed;
        self.free(request);
        self.growth = 1;
        match status {
            401 | 403 => {
                // What was demanded earlier is kept all the same; after it the same answer stops everything.
                if !matches!(self.state, State::BackingOff { demanded: true, .. }) {
                    self.state = State::Stopped;
                }
                return Failure::Stop;
            }
            // The collector understood the request and will not have it: something in it is bad, or all of it is too much.
            400 | 413 | 422 if events > 1 => {
                self.batch_events = events.div_ceil(2);
                return Failure::Smaller;
            }
            400 | 413 | 422 => {
                self.failures = self.failures.saturating_add(1);
                // One poison event is isolated at once. A server that refuses everything must not empty the queue in a
                // second: from the second in a row each costs a wait.
                if self.failures > 1 {
                    self.back_off(self.failures - 1, retry_after_ms, monotonic_ms, config, random);
                }
                return Failure::Poison;
            }
            // Whatever else a proxy, a wrong address or an overloaded collector says, the events are not to blame.
            _ => self.failures = self.failures.saturating_add(1),
        }
        self.back_off(self.failures, retry_after_ms, monotonic_ms, config, random);
        Failure::Again
    }

    fn back_off(
        &mut self,
        failures: u32,
        retry_after_ms: u64,
        monotonic_ms: u64,
        config: &Config,
        random: &mut Random,
    ) {
        // A request sent while leaving may fail while another wait is in force: the later end counts.
        let wait = retry::wait_ms(failures, retry_after_ms, config, random);
        let mut until_ms = monotonic_ms.saturating_add(wait);
        let mut demanded = retry_after_ms > 0;
        match self.state {
            State::BackingOff { until_ms: earlier, demanded: was } => {
                until_ms = until_ms.max(earlier);
                demanded |= was;
            }
            State::Stopped => return,
            State::Ready | State::InFlight(_) => {}
        }
        self.state = State::BackingOff { until_ms, demanded };
    }

    /// Time has passed.
    pub(crate) fn woke(&mut self, monotonic_ms: u64) {
        if let State::BackingOff { until_ms, .. } = self.state
            && until_ms <= monotonic_ms
        {
            self.state = State::Ready;
        }
    }

    /// Somebody wants it sent now: only a wait that the collector demanded is kept. Says whether anything changed.
    pub(crate) fn hurry(&mut self, also_if_stopped: bool) -> bool {
        let free = match self.state {
            State::BackingOff { demanded, .. } => !demanded,
            State::Stopped => also_if_stopped,
            State::Ready | State::InFlight(_) => false,
        };
        if free {
            self.state = State::Ready;
        }
        free
    }

    /// The wait in force, for the next life.
    pub(crate) fn backoff(&self, monotonic_ms: u64, unix_ms: u64) -> Backoff {
        match self.state {
            State::BackingOff { until_ms, demanded } if until_ms > monotonic_ms => {
                let length_ms = until_ms - monotonic_ms;
                Backoff {
                    failures: self.failures,
                    until_ms: unix_ms.saturating_add(length_ms),
                    length_ms,
                    demanded,
                }
            }
            _ => Backoff { failures: self.failures, ..Backoff::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        transport: Transport,
        config: Config,
        random: Random,
        requests: u32,
    }

    impl Bench {
        fn new() -> Self {
            let config = Config::default();
            let transport = Transport::new(Backoff::default(), &config, 0, 0);
            Self { transport, config, random: Random::new([1, 1]), requests: 0 }
        }

        fn fail(&mut self, events: u32, status: u16, retry_after_ms: u64) -> Failure {
            self.requests += 1;
            let request = Request(self.requests);
            self.transport.sent(request, 0);
            let failed = Failed { request, events, status, retry_after_ms };
            self.transport.failed(failed, 0, &self.config, &mut self.random)
        }

        fn wait(&self) -> Option<u64> {
            match self.transport.state {
                State::BackingOff { until_ms, .. } => Some(until_ms),
                _ => None,
            }
        }
    }

    #[test]
    fn every_status_without_blame_waits_and_keeps_the_events() {
        for status in [0, 100, 301, 404, 405, 408, 418, 425, 429, 500, 502, 503, 504, 599, 999] {
            let mut bench = Bench::new();
            assert_eq!(bench.fail(20, status, 0), Failure::Again, "{status}");
            assert!(bench.wait().is_some_and(|wait| (500..=1_000).contains(&wait)), "{status}");
        }
    }

    #[test]
    fn a_refusal_halves_the_batch_down_to_one_and_success_doubles_it() {
        let mut bench = Bench::new();
        assert_eq!(bench.fail(100, 400, 0), Failure::Smaller);
        assert_eq!(bench.transport.batch_events(), 50);
        assert_eq!(bench.fail(3, 413, 0), Failure::Smaller);
        assert_eq!(bench.transport.batch_events(), 2);
        assert_eq!(bench.wait(), None, "a smaller batch goes at once");
        assert_eq!(bench.fail(1, 400, 0), Failure::Poison);
        // A backlog goes in growing batches, as long as they are delivered.
        for expected in [4, 8, 16, 32, 64, 100, 200, 400, 800, 800] {
            bench.transport.delivered(Request(0), &bench.config);
            assert_eq!(bench.transport.batch_events(), expected);
        }
    }

    #[test]
    fn a_server_that_refuses_everything_cannot_empty_the_queue_at_once() {
        let mut bench = Bench::new();
        assert_eq!(bench.fail(1, 400, 0), Failure::Poison);
        assert_eq!(bench.wait(), None, "one poison event costs nothing");
        let mut waits = Vec::new();
        for _ in 0..8 {
            bench.transport.woke(u64::MAX);
            assert_eq!(bench.fail(1, 400, 0), Failure::Poison);
            waits.push(bench.wait().unwrap());
        }
        assert!(waits[0] >= 500 && waits[7] >= 30_000, "{waits:?}");
    }

    #[test]
    fn an_unknown_key_stops_everything_until_somebody_asks() {
        for status in [401, 403] {
            let mut bench = Bench::new();
            assert_eq!(bench.fail(20, status, 1_000), Failure::Stop);
            bench.transport.woke(u64::MAX);
            assert!(!bench.transport.hurry(false), "the network's return changes nothing");
            assert_eq!(bench.transport.state, State::Stopped);
            assert!(bench.transport.hurry(true));
            assert_eq!(bench.transport.state, State::Ready);
        }
    }

    #[test]
    fn nothing_cuts_a_demanded_wait_short_not_even_a_new_life() {
        let mut bench = Bench::new();
        bench.fail(20, 429, 6_000);
        assert!(!bench.transport.hurry(true));
        let saved = bench.transport.backoff(0, 1_000_000);
        let next = |unix_ms| Transport::new(saved, &bench.config, 50, unix_ms).state;
        let State::BackingOff { until_ms, demanded: true } = next(1_001_000) else {
            panic!("not waiting")
        };
        assert!((5_050..=5_650).contains(&until_ms), "{until_ms}");
        let State::BackingOff { until_ms, .. } = next(0) else { panic!("not waiting") };
        assert!(until_ms <= 6_650, "a clock set back does not lengthen the wait: {until_ms}");
        assert_eq!(next(u64::MAX), State::Ready);
    }

    #[test]
    fn an_ordinary_wait_ends_when_somebody_asks() {
        let mut bench = Bench::new();
        bench.fail(20, 503, 0);
        assert!(bench.transport.hurry(false));
        assert_eq!(bench.transport.state, State::Ready);
    }
}
