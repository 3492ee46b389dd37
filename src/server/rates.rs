//! Commands and bytes per second, from the counters, once a second.

use crate::metrics::LaneCounters;

/// Rates of the last whole second.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    before: LaneCounters,
    /// Commands.
    pub commands_per_second: u64,
    /// Bytes read.
    pub input_bytes_per_second: u64,
    /// Bytes written.
    pub output_bytes_per_second: u64,
}

impl Rates {
    /// Called once a second with the counters as they are.
    pub fn tick(&mut self, counters: &LaneCounters) {
        let before = std::mem::replace(&mut self.before, counters.clone());
        self.commands_per_second = counters
            .commands_processed
            .saturating_sub(before.commands_processed);
        self.input_bytes_per_second = counters.net_input_bytes.saturating_sub(before.net_input_bytes);
        self.output_bytes_per_second = counters.net_output_bytes.saturating_sub(before.net_output_bytes);
    }
}
