//! What benchmarks are told by the environment, and what they make of many times.
//! Promises that a setting which cannot be read is an error that names it. Knows nothing of what is measured.

use std::{str::FromStr, time::Duration};

use anyhow::Context as _;

/// The value that this share of the sorted ones does not exceed.
pub(crate) fn at(sorted: &[Duration], share: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list"
    )]
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// A setting, or what it is without one.
pub(crate) fn setting<T: FromStr>(name: &str, default: T) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    match std::env::var(name) {
        Ok(value) => value.parse().with_context(|| format!("{name}={value}")),
        Err(_) => Ok(default),
    }
}
