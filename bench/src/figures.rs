//! How figures are written.

use std::time::Duration;

/// To four digits behind the point.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// Microseconds of each of `count`, of so many seconds.
pub(crate) fn micros(seconds: f64, count: u64) -> f64 {
    round(seconds * 1e6 / count as f64)
}

/// In milliseconds.
pub(crate) fn millis(time: Duration) -> f64 {
    round(time.as_secs_f64() * 1e3)
}

/// The value below which this share of sorted ones are.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}
