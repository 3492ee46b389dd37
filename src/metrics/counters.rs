//! Plain counters of one lane: what INFO stats and the exporters add up.

/// Defines the counters, their sum and their list from one declaration, so that none can be forgotten.
macro_rules! lane_counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Events since the lane started or its counters were reset. Only the lane itself writes them.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct LaneCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl LaneCounters {
            /// Adds another lane's counters.
            pub fn merge_from(&mut self, other: &Self) {
                $(self.$name = self.$name.wrapping_add(other.$name);)*
            }

            /// Sets every counter to zero.
            pub fn reset(&mut self) {
                *self = Self::default();
            }

            /// Every counter by name, in order of declaration.
            pub fn entries(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

lane_counters! {
    /// Connections accepted.
    connections_received,
    /// Connections closed right after accepting because `max_connections` was reached.
    connections_rejected,
    /// Connections closed by either side.
    connections_closed,
    /// Commands run, failed ones included, refused ones not.
    commands_processed,
    /// Error replies sent.
    error_replies,
    /// Bytes read from clients.
    net_input_bytes,
    /// Bytes written to clients.
    net_output_bytes,
    /// Turns: reads that brought at least one complete request.
    turns,
    /// Lookups of reading commands that found their key.
    keyspace_hits,
    /// Lookups of reading commands that did not find their key.
    keyspace_misses,
    /// Keys removed because their time had come.
    expired_keys,
    /// Keys dropped from the read cache to make room; stored keys are never evicted.
    evicted_keys,
    /// Reads answered by the read cache.
    cache_hits,
    /// Reads that the read cache could not answer.
    cache_misses,
    /// Messages with commands sent to other lanes.
    hops_sent,
    /// Messages with commands received from other lanes.
    hops_received,
    /// Commands that this lane's clients sent and other lanes ran.
    hop_commands,
    /// Commands that this lane's clients sent and this lane ran.
    local_commands,
    /// Batches written to storage.
    commits,
    /// Bytes in those batches.
    commit_bytes,
    /// Batches that storage refused or failed to write.
    commit_failures,
    /// Synchronisations of a write-ahead log to disk.
    fsyncs,
    /// Batches that waited because storage had to catch up.
    commit_stalls,
    /// Times that a command waited, a few milliseconds each, because a checkpoint had to catch up.
    checkpoint_waits,
    /// Requests that were no valid protocol; each closes its connection.
    protocol_errors,
    /// Connections closed because a request outgrew the query buffer limit.
    query_buffer_limit_disconnections,
    /// Connections closed because unread replies outgrew the output buffer limit.
    output_buffer_limit_disconnections,
    /// Connections closed after the configured idle time.
    idle_disconnections,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn merging_adds_every_counter() {
        let mut one = LaneCounters {
            connections_received: 1,
            fsyncs: 5,
            ..LaneCounters::default()
        };
        let other = LaneCounters {
            fsyncs: 7,
            idle_disconnections: 2,
            ..LaneCounters::default()
        };
        one.merge_from(&other);
        let expected = LaneCounters {
            connections_received: 1,
            fsyncs: 12,
            idle_disconnections: 2,
            ..LaneCounters::default()
        };
        assert_eq!(one, expected);
        one.reset();
        assert_eq!(one, LaneCounters::default());
    }

    #[test]
    fn entries_name_every_counter_once() {
        let counters = LaneCounters {
            net_input_bytes: 9,
            ..LaneCounters::default()
        };
        let names: HashSet<_> = counters.entries().map(|entry| entry.0).collect();
        assert_eq!(names.len() * size_of::<u64>(), size_of::<LaneCounters>());
        let set: Vec<_> = counters.entries().filter(|entry| entry.1 > 0).collect();
        assert_eq!(set, [("net_input_bytes", 9)]);
    }
}
