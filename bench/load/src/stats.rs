//! What a thread measures in an interval, and the sum of all of it.

use hdrhistogram::Histogram;

/// Longest latency that is told apart; longer ones count as this.
const LATENCY_NANOS_MAX: u64 = 600_000_000_000;
/// Precision of histograms: values are right to one in a thousand.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Counters and histograms of one interval of one thread, or sums of such.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Latencies in nanoseconds by kind of command in the mix.
    pub latencies: Vec<Histogram<u64>>,
    /// How late the generator itself was, in nanoseconds (open loop).
    pub lag: Histogram<u64>,
    /// Commands answered.
    pub commands: u64,
    /// Keys or samples in them.
    pub items: u64,
    /// Errors in replies, and replies of a wrong type.
    pub errors: u64,
    /// Reads that found less than they asked for.
    pub misses: u64,
    /// Commands that fell due and were never sent, or never answered (open loop).
    pub unserved: u64,
    /// Bytes of requests.
    pub bytes_sent: u64,
    /// Bytes of replies.
    pub bytes_received: u64,
    /// The first error.
    pub first_error: Option<String>,
}

impl Stats {
    /// Nothing yet, for `kinds` kinds of commands.
    pub fn new(kinds: usize) -> Stats {
        Stats {
            latencies: vec![histogram(); kinds],
            lag: histogram(),
            commands: 0,
            items: 0,
            errors: 0,
            misses: 0,
            unserved: 0,
            bytes_sent: 0,
            bytes_received: 0,
            first_error: None,
        }
    }

    /// Notes an error and the first one's text.
    #[cold]
    pub fn error(&mut self, count: u64, text: impl FnOnce() -> String) {
        self.errors += count;
        self.first_error.get_or_insert_with(text);
    }

    /// Back to zero except for errors: what went wrong in the warm-up went wrong.
    pub fn forget_times(&mut self) {
        if self.commands == 0 && self.lag.is_empty() {
            return;
        }
        self.latencies.iter_mut().for_each(Histogram::reset);
        self.lag.reset();
        (self.commands, self.items, self.misses) = (0, 0, 0);
        (self.bytes_sent, self.bytes_received) = (0, 0);
    }

    /// Adds what another has measured.
    pub fn add(&mut self, other: &Stats) {
        for (own, other) in self.latencies.iter_mut().zip(&other.latencies) {
            add(own, other);
        }
        add(&mut self.lag, &other.lag);
        self.commands += other.commands;
        self.items += other.items;
        self.errors += other.errors;
        self.misses += other.misses;
        self.unserved += other.unserved;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        if self.first_error.is_none() {
            self.first_error.clone_from(&other.first_error);
        }
    }

    /// The latencies of all kinds together.
    pub fn latency(&self) -> Histogram<u64> {
        let mut all = histogram();
        self.latencies.iter().for_each(|one| add(&mut all, one));
        all
    }
}

/// An empty histogram of nanoseconds.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NANOS_MAX, SIGNIFICANT_DIGITS)
        .expect("invariant: the bounds and the digits are in the documented range")
}

/// Records `count` equal latencies, cut to the longest that is told apart.
#[inline]
pub fn record(histogram: &mut Histogram<u64>, nanos: u64, count: u64) {
    histogram.saturating_record_n(nanos.max(1), count);
}

fn add(sum: &mut Histogram<u64>, other: &Histogram<u64>) {
    if !other.is_empty() {
        sum.add(other)
            .expect("invariant: all histograms have the same bounds");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_keep_counts_and_the_first_error() {
        let mut sum = Stats::new(2);
        let mut part = Stats::new(2);
        record(&mut part.latencies[1], 5_000, 3);
        part.commands = 3;
        part.error(2, || "first".into());
        part.error(1, || "second".into());
        sum.add(&part);
        sum.add(&part);
        assert_eq!((sum.commands, sum.errors, sum.latency().len()), (6, 6, 6));
        assert_eq!(sum.first_error.as_deref(), Some("first"));
        assert_eq!(sum.latencies[0].len(), 0);
    }

    #[test]
    fn endless_latencies_are_cut_not_lost() {
        let mut one = histogram();
        record(&mut one, u64::MAX, 1);
        record(&mut one, 0, 1);
        assert_eq!(one.len(), 2);
        assert!(one.max() >= LATENCY_NANOS_MAX);
    }
}
