//! How long to wait after the nth failure in a row (pure). Promises never to come back before the collector's
//! `Retry-After`, never later than the caps, and to spread a crowd of devices; knows nothing of clocks or requests.

use crate::config::Config;
use crate::random::Random;

/// The wait before the next request, milliseconds.
///
/// Without a demand: half of `base × 2^(failures-1)`, capped, plus a random part as large again, so that devices
/// which failed together do not return together. With a demand (`retry_after_ms` > 0): that, capped, plus up to a tenth.
pub(crate) fn wait_ms(
    failures: u32,
    retry_after_ms: u64,
    config: &Config,
    random: &mut Random,
) -> u64 {
    if retry_after_ms > 0 {
        let demanded = retry_after_ms.min(config.retry_after_max_ms);
        return demanded + random.up_to(demanded / 10);
    }
    let doublings = failures.saturating_sub(1).min(32);
    let full = config.backoff_base_ms.saturating_mul(1 << doublings).min(config.backoff_max_ms);
    full / 2 + random.up_to(full - full / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(failures: u32, retry_after_ms: u64) -> Vec<u64> {
        let mut random = Random::new([3, 4]);
        (0..500)
            .map(|_| wait_ms(failures, retry_after_ms, &Config::default(), &mut random))
            .collect()
    }

    #[test]
    fn doubles_from_the_base_to_the_cap_between_half_and_whole() {
        for (failures, whole) in [
            (1, 1_000),
            (2, 2_000),
            (3, 4_000),
            (6, 32_000),
            (7, 60_000),
            (60, 60_000),
            (u32::MAX, 60_000),
        ] {
            let waits = waits(failures, 0);
            assert!(
                waits.iter().all(|w| (whole / 2..=whole).contains(w)),
                "{failures} failures: {waits:?}"
            );
        }
    }

    #[test]
    fn spreads_devices_over_the_whole_range() {
        let waits = waits(4, 0);
        assert!(waits.iter().any(|w| *w < 4_800) && waits.iter().any(|w| *w > 7_200));
    }

    #[test]
    fn never_returns_before_the_collector_said() {
        assert!(waits(1, 6_000).iter().all(|w| (6_000..=6_600).contains(w)));
        assert!(waits(9, 1).iter().all(|w| *w == 1));
    }

    #[test]
    fn a_mistaken_demand_is_capped() {
        assert!(waits(1, u64::MAX).iter().all(|w| (3_600_000..=3_960_000).contains(w)));
    }

    #[test]
    fn no_failure_yet_waits_as_after_the_first() {
        assert!(waits(0, 0).iter().all(|w| (500..=1_000).contains(w)));
    }
}
