//! How long PID 1 takes to answer, as a histogram: it is one loop, so this is how long whatever it was
//! doing kept it from anything else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::text::Text;

/// Upper bounds in microseconds; slower answers are in the last bucket, which has none.
const BOUNDS_US: [u64; 11] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000, 10_000_000,
];
const NAME: &str = "herm_supervisor_latency_seconds";

/// The answers so far.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    /// By the bound they are within; not summed up.
    buckets: [AtomicU64; BOUNDS_US.len()],
    slower: AtomicU64,
    sum_us: AtomicU64,
    last_us: AtomicU64,
}

impl Latency {
    /// Takes in how long an answer took.
    pub(crate) fn took(&self, span: Duration) {
        let us = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let within = BOUNDS_US.iter().position(|bound| us <= *bound);
        let bucket = within.and_then(|index| self.buckets.get(index));
        bucket
            .unwrap_or(&self.slower)
            .fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
        self.last_us.store(us, Ordering::Relaxed);
    }

    /// How long the last answer took, in microseconds.
    pub(crate) fn last_us(&self) -> u64 {
        self.last_us.load(Ordering::Relaxed)
    }

    /// Writes the histogram; its buckets include those before them.
    pub(super) fn write(&self, text: &mut Text) {
        text.family(
            NAME,
            "histogram",
            "seconds",
            "How long the supervisor's loop took to answer, asked every five seconds.",
        );
        let mut count = 0;
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS_US) {
            count += bucket.load(Ordering::Relaxed);
            let bound = super::seconds(bound);
            text.sample(&format!("{NAME}_bucket"), &[("le", &bound)], count);
        }
        count += self.slower.load(Ordering::Relaxed);
        text.sample(&format!("{NAME}_bucket"), &[("le", "+Inf")], count);
        text.sample(&format!("{NAME}_count"), &[], count);
        let sum = super::seconds(self.sum_us.load(Ordering::Relaxed));
        text.sample(&format!("{NAME}_sum"), &[], sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_counts_what_is_in_those_before_it_too() {
        let latency = Latency::default();
        for us in [100, 250, 251, 30_000, 20_000_000] {
            latency.took(Duration::from_micros(us));
        }
        let mut text = Text::new(false);
        latency.write(&mut text);
        let out = text.finish();
        for line in [
            "_bucket{le=\"0.000250\"} 2",
            "_bucket{le=\"0.000500\"} 3",
            "_bucket{le=\"10.000000\"} 4",
            "_bucket{le=\"+Inf\"} 5",
            "_count 5",
            "_sum 20.030601",
        ] {
            assert!(out.contains(&format!("{NAME}{line}\n")), "{line} in {out}");
        }
    }
}
