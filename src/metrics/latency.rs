//! Latencies per command: plain counters and two histograms, service time and turnaround, in nanoseconds.

use std::error::Error;
use std::fmt;

use hdrhistogram::Histogram;

/// Longest latency that is told apart from longer ones, unless configured: one minute, in nanoseconds.
pub const DEFAULT_LATENCY_MAX_NS: u64 = 60_000_000_000;

/// Decimal digits of a recorded latency that are kept, unless configured. Redis keeps two as well; a
/// histogram up to one minute then takes 30 KiB, and the buckets between 1 µs and 1 ms take 10 KiB and stay
/// in the L1 cache. Three digits take 216 KiB and 80 KiB.
pub const DEFAULT_SIGNIFICANT_DIGITS: u8 = 2;

/// Fewest digits: the bucket edges of LATENCY HISTOGRAM fall on histogram edges from two digits on.
pub const SIGNIFICANT_DIGITS_MIN: u8 = 2;

/// Most digits: four take 2.9 MiB per histogram up to one minute, five would take 20 MiB.
pub const SIGNIFICANT_DIGITS_MAX: u8 = 4;

/// Smallest accepted maximum, in nanoseconds: one millisecond.
pub const LATENCY_MAX_NS_MIN: u64 = 1_000_000;

/// Largest accepted maximum, in nanoseconds: one day.
pub const LATENCY_MAX_NS_MAX: u64 = 86_400_000_000_000;

/// Range and resolution of every histogram in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencySettings {
    max_ns: u64,
    significant_digits: u8,
}

impl LatencySettings {
    /// Checks and keeps a maximum in nanoseconds and a number of decimal digits.
    ///
    /// # Errors
    /// When `max_ns` is outside `LATENCY_MAX_NS_MIN..=LATENCY_MAX_NS_MAX`, or `significant_digits` outside
    /// `SIGNIFICANT_DIGITS_MIN..=SIGNIFICANT_DIGITS_MAX`.
    pub fn new(max_ns: u64, significant_digits: u8) -> Result<Self, SettingsError> {
        if !(LATENCY_MAX_NS_MIN..=LATENCY_MAX_NS_MAX).contains(&max_ns) {
            return Err(SettingsError::MaxOutOfRange(max_ns));
        }
        if !(SIGNIFICANT_DIGITS_MIN..=SIGNIFICANT_DIGITS_MAX).contains(&significant_digits) {
            return Err(SettingsError::DigitsOutOfRange(significant_digits));
        }
        Ok(Self {
            max_ns,
            significant_digits,
        })
    }

    fn new_histogram(&self) -> Box<Histogram<u64>> {
        let histogram = Histogram::new_with_bounds(1, self.max_ns, self.significant_digits);
        Box::new(histogram.expect("invariant: LatencySettings::new checked the bounds"))
    }
}

impl Default for LatencySettings {
    fn default() -> Self {
        Self {
            max_ns: DEFAULT_LATENCY_MAX_NS,
            significant_digits: DEFAULT_SIGNIFICANT_DIGITS,
        }
    }
}

/// Why histogram settings were refused; carries what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingsError {
    /// The maximum, in nanoseconds.
    MaxOutOfRange(u64),
    /// The number of decimal digits.
    DigitsOutOfRange(u8),
}

impl fmt::Display for SettingsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MaxOutOfRange(max_ns) => write!(
                formatter,
                "latency maximum of {max_ns} ns, allowed are {LATENCY_MAX_NS_MIN} to {LATENCY_MAX_NS_MAX} ns"
            ),
            Self::DigitsOutOfRange(digits) => write!(
                formatter,
                "{digits} significant digits, \
                 allowed are {SIGNIFICANT_DIGITS_MIN} to {SIGNIFICANT_DIGITS_MAX}"
            ),
        }
    }
}

impl Error for SettingsError {}

/// Plain counters of one command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandCounters {
    /// Times the command ran, failed runs included.
    pub calls: u64,
    /// Times it ran and replied with an error.
    pub failed_calls: u64,
    /// Times it was refused before it ran: wrong argument count, no permission, a full disk.
    pub rejected_calls: u64,
    /// Sum of the service times of all calls, in nanoseconds; exact where the histogram is rounded.
    pub service_total_ns: u64,
}

impl CommandCounters {
    /// Whether nothing was ever counted.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Adds the counts of another table's same command.
    pub fn merge_from(&mut self, other: &Self) {
        self.calls += other.calls;
        self.failed_calls += other.failed_calls;
        self.rejected_calls += other.rejected_calls;
        self.service_total_ns = self.service_total_ns.saturating_add(other.service_total_ns);
    }
}

/// A histogram that does not exist before its first value.
type LazyHistogram = Option<Box<Histogram<u64>>>;

#[derive(Clone, Debug, Default)]
struct CommandLatency {
    counters: CommandCounters,
    service: LazyHistogram,
    turnaround: LazyHistogram,
}

/// What one lane measured of every command, or several lanes' measurements merged.
///
/// Commands are indexes into the command table. A command that never ran costs 48 bytes and no allocation.
/// Recording takes about 6 ns, a clock read about 24 ns: whoever runs several commands between two clock
/// reads uses [`record_service_n`](Self::record_service_n).
#[derive(Clone, Debug)]
pub struct LatencyTable {
    settings: LatencySettings,
    commands: Vec<CommandLatency>,
    resets: u64,
}

impl LatencyTable {
    /// An empty table for the commands `0..command_count`.
    pub fn new(command_count: usize, settings: LatencySettings) -> Self {
        Self {
            settings,
            commands: vec![CommandLatency::default(); command_count],
            resets: 0,
        }
    }

    /// Counts one call that took `ns` nanoseconds to run.
    #[cfg(test)]
    pub fn record_service(&mut self, command: usize, ns: u64) {
        self.record_service_n(command, ns, 1);
    }

    /// Counts `count` calls that took `ns_each` nanoseconds each: a batch measured with one pair of clock
    /// reads.
    #[inline]
    pub fn record_service_n(&mut self, command: usize, ns_each: u64, count: u64) {
        let Some(entry) = self.commands.get_mut(command) else {
            return;
        };
        if count == 0 {
            return;
        }
        entry.counters.calls += count;
        let total_ns = ns_each.saturating_mul(count);
        entry.counters.service_total_ns = entry.counters.service_total_ns.saturating_add(total_ns);
        record(&mut entry.service, &self.settings, ns_each, count);
    }

    /// Records, for `count` calls, the `ns` nanoseconds from their bytes being read to their replies being
    /// written. Counts no calls: [`record_service`](Self::record_service) does.
    #[inline]
    pub fn record_turnaround(&mut self, command: usize, ns: u64, count: u64) {
        let Some(entry) = self.commands.get_mut(command) else {
            return;
        };
        if count > 0 {
            record(&mut entry.turnaround, &self.settings, ns, count);
        }
    }

    /// Counts one call that replied with an error; the call itself is counted by `record_service`.
    #[inline]
    pub fn record_failure(&mut self, command: usize) {
        if let Some(entry) = self.commands.get_mut(command) {
            entry.counters.failed_calls += 1;
        }
    }

    /// Counts one call that was refused before it ran.
    #[inline]
    pub fn record_rejection(&mut self, command: usize) {
        if let Some(entry) = self.commands.get_mut(command) {
            entry.counters.rejected_calls += 1;
        }
    }

    /// Adds everything that `other` measured. Latencies beyond this table's maximum count as the maximum.
    pub fn merge_from(&mut self, other: &Self) {
        if self.commands.len() < other.commands.len() {
            self.commands
                .resize(other.commands.len(), CommandLatency::default());
        }
        for (mine, theirs) in self.commands.iter_mut().zip(&other.commands) {
            mine.counters.merge_from(&theirs.counters);
            merge(&mut mine.service, theirs.service.as_deref(), &self.settings);
            merge(&mut mine.turnaround, theirs.turnaround.as_deref(), &self.settings);
        }
        self.resets = self.resets.max(other.resets);
    }

    /// Adds time that an already counted call took after it was counted: work on other lanes or on the blocking pool.
    pub fn record_late(&mut self, command: usize, ns: u64) {
        let Some(entry) = self.commands.get_mut(command) else {
            return;
        };
        entry.counters.service_total_ns = entry.counters.service_total_ns.saturating_add(ns);
        record(&mut entry.service, &self.settings, ns, 1);
    }

    /// Forgets one command; true if there was anything to forget.
    pub fn reset_command(&mut self, command: usize) -> bool {
        let Some(entry) = self.commands.get_mut(command) else {
            return false;
        };
        let measured = entry.counters.calls > 0;
        *entry = CommandLatency::default();
        self.resets += 1;
        measured
    }

    /// Forgets everything measured and frees the histograms.
    pub fn reset(&mut self) {
        self.commands.fill(CommandLatency::default());
        self.resets += 1;
    }

    /// How often the table was reset; numbers of different epochs cannot be subtracted from each other.
    pub fn resets(&self) -> u64 {
        self.resets
    }

    /// Counters of one command; zero for an unknown index.
    #[cfg(test)]
    pub fn counters(&self, command: usize) -> CommandCounters {
        self.commands
            .get(command)
            .map(|entry| entry.counters)
            .unwrap_or_default()
    }

    /// Counters of all commands, by index: all that INFO commandstats needs, without copying a histogram.
    pub fn all_counters(&self) -> Vec<CommandCounters> {
        self.commands.iter().map(|entry| entry.counters).collect()
    }

    /// Time to run the command, in nanoseconds; `None` before the first call.
    pub fn service(&self, command: usize) -> Option<&Histogram<u64>> {
        self.commands.get(command)?.service.as_deref()
    }

    /// Time from bytes read to reply written, in nanoseconds; `None` before the first call.
    pub fn turnaround(&self, command: usize) -> Option<&Histogram<u64>> {
        self.commands.get(command)?.turnaround.as_deref()
    }

    /// Bytes of memory that the table holds.
    #[cfg(test)]
    pub fn heap_bytes(&self) -> usize {
        let histogram_bytes = |histogram: &LazyHistogram| {
            histogram.as_ref().map_or(0, |histogram| {
                size_of::<Histogram<u64>>() + histogram.distinct_values() * size_of::<u64>()
            })
        };
        let histograms: usize = self
            .commands
            .iter()
            .map(|entry| histogram_bytes(&entry.service) + histogram_bytes(&entry.turnaround))
            .sum();
        self.commands.capacity() * size_of::<CommandLatency>() + histograms
    }
}

#[inline]
fn record(histogram: &mut LazyHistogram, settings: &LatencySettings, ns: u64, count: u64) {
    // The histogram's own saturation works on its last bucket, which can lie up to twice above the maximum.
    let ns = ns.min(settings.max_ns);
    match histogram {
        Some(histogram) => histogram.saturating_record_n(ns, count),
        None => record_first(histogram, settings, ns, count),
    }
}

#[cold]
#[inline(never)]
fn record_first(histogram: &mut LazyHistogram, settings: &LatencySettings, ns: u64, count: u64) {
    histogram
        .get_or_insert_with(|| settings.new_histogram())
        .saturating_record_n(ns, count);
}

fn merge(mine: &mut LazyHistogram, theirs: Option<&Histogram<u64>>, settings: &LatencySettings) {
    let Some(theirs) = theirs else { return };
    let mine = mine.get_or_insert_with(|| settings.new_histogram());
    // Adding is refused, before anything was added, when the other histogram reaches further than this one.
    if mine.add(theirs).is_err() {
        for value in theirs.iter_recorded() {
            let ns = value.value_iterated_to().min(settings.max_ns);
            mine.saturating_record_n(ns, value.count_at_value());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(commands: usize) -> LatencyTable {
        LatencyTable::new(commands, LatencySettings::default())
    }

    #[test]
    fn an_idle_table_holds_no_histogram() {
        let mut idle = table(200);
        assert_eq!(size_of::<CommandLatency>(), 48);
        assert_eq!(idle.heap_bytes(), 200 * 48);
        idle.record_service(7, 1_000);
        let one_histogram_bytes = idle.heap_bytes() - 200 * 48;
        assert!(
            (30_000..32_000).contains(&one_histogram_bytes),
            "{one_histogram_bytes}"
        );
        assert!(idle.service(6).is_none() && idle.turnaround(7).is_none());
        idle.reset();
        assert_eq!(idle.heap_bytes(), 200 * 48);
        assert_eq!(idle.resets(), 1);
    }

    #[test]
    fn counters_and_histograms_agree() {
        let mut table = table(2);
        table.record_service(1, 1_500);
        table.record_service_n(1, 200, 64);
        table.record_turnaround(1, 90_000, 65);
        table.record_failure(1);
        table.record_rejection(1);
        table.record_rejection(1);
        let expected = CommandCounters {
            calls: 65,
            failed_calls: 1,
            rejected_calls: 2,
            service_total_ns: 1_500 + 200 * 64,
        };
        assert_eq!(table.counters(1), expected);
        assert_eq!(table.all_counters(), [CommandCounters::default(), expected]);
        assert_eq!(table.service(1).expect("recorded").len(), 65);
        assert_eq!(table.turnaround(1).expect("recorded").len(), 65);
    }

    #[test]
    fn zero_counts_and_unknown_commands_leave_no_trace() {
        let mut table = table(1);
        table.record_service_n(0, 5_000, 0);
        table.record_turnaround(0, 5_000, 0);
        table.record_service(1, 5_000);
        table.record_turnaround(1, 5_000, 1);
        table.record_failure(1);
        table.record_rejection(1);
        assert!(table.counters(0).is_zero() && table.counters(1).is_zero());
        assert!(table.service(0).is_none() && table.turnaround(0).is_none() && table.service(1).is_none());
    }

    #[test]
    fn latencies_beyond_the_maximum_count_as_the_maximum() {
        let mut table = table(1);
        for ns in [DEFAULT_LATENCY_MAX_NS + 5_000_000_000, u64::MAX] {
            table.record_service(0, ns);
        }
        let histogram = table.service(0).expect("recorded");
        assert!(
            histogram.equivalent(histogram.max(), DEFAULT_LATENCY_MAX_NS),
            "{}",
            histogram.max()
        );
        assert_eq!(histogram.len(), 2);
        assert_eq!(table.counters(0).service_total_ns, u64::MAX);
    }

    #[test]
    fn merged_equals_recorded_in_one() {
        let mut whole = table(3);
        let mut parts = [table(3), table(3), table(3)];
        for step in 0..30_000_u64 {
            let (command, ns) = ((step % 2) as usize, 100 + step * step);
            whole.record_service(command, ns);
            whole.record_turnaround(command, ns * 3, 1);
            parts[(step % 3) as usize].record_service(command, ns);
            parts[(step % 3) as usize].record_turnaround(command, ns * 3, 1);
        }
        let mut merged = LatencyTable::new(0, LatencySettings::default());
        for part in &parts {
            merged.merge_from(part);
        }
        assert_eq!(merged.commands.len(), 3);
        for command in 0..3 {
            assert_eq!(merged.counters(command), whole.counters(command));
            assert_eq!(merged.service(command), whole.service(command));
            assert_eq!(merged.turnaround(command), whole.turnaround(command));
        }
        assert!(merged.service(2).is_none());
    }

    #[test]
    fn merging_a_wider_table_saturates() {
        let mut narrow = LatencyTable::new(1, LatencySettings::new(1_000_000, 2).expect("valid"));
        let mut wide = table(1);
        wide.record_service_n(0, 30_000_000_000, 5);
        wide.record_service_n(0, 1_000, 2);
        narrow.merge_from(&wide);
        let histogram = narrow.service(0).expect("merged");
        assert_eq!(histogram.len(), 7);
        assert!(histogram.equivalent(histogram.max(), 1_000_000));
        assert_eq!(histogram.count_at(1_000), 2);
    }

    #[test]
    fn settings_outside_their_limits_are_refused() {
        assert_eq!(LatencySettings::new(10, 2), Err(SettingsError::MaxOutOfRange(10)));
        assert_eq!(
            LatencySettings::new(1_000_000, 1),
            Err(SettingsError::DigitsOutOfRange(1))
        );
        let message = LatencySettings::new(1_000_000, 5)
            .expect_err("refused")
            .to_string();
        assert_eq!(message, "5 significant digits, allowed are 2 to 4");
        for digits in SIGNIFICANT_DIGITS_MIN..=SIGNIFICANT_DIGITS_MAX {
            let settings = LatencySettings::new(LATENCY_MAX_NS_MAX, digits).expect("valid");
            LatencyTable::new(1, settings).record_service(0, u64::MAX);
        }
    }

    #[test]
    fn tables_travel_between_threads() {
        fn travels<T: Clone + Send + 'static>() {}
        travels::<LatencyTable>();
    }
}
