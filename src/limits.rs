//! Every maximum of the process that is not configuration, and the assertions that relate them.

use std::time::Duration;

/// Bytes in one KiB.
pub const KIB: u64 = 1024;
/// Bytes in one MiB.
pub const MIB: u64 = 1024 * KIB;
/// Bytes in one GiB.
pub const GIB: u64 = 1024 * MIB;
/// Bytes in one TiB.
pub const TIB: u64 = 1024 * GIB;

/// Hash slots of the keyspace. Fixed by the Redis Cluster specification.
pub const SLOTS: usize = 16_384;

/// Executors of one process: more than the cores of any machine this was made for.
pub const LANES_MAX: usize = 256;

/// Highest core number that can be named: `CPU_SETSIZE` of the C library's affinity calls.
pub const CORE_ID_MAX: usize = 1023;

/// Businesses of one process.
pub const BUSINESSES_MAX: usize = 64;

/// Bytes of a business's name: it is a directory, a label of metrics and a word of the CLI.
pub const BUSINESS_NAME_LEN_MAX_BYTES: usize = 32;

/// Partitions, and so databases, of one business.
pub const PARTITIONS_MAX: usize = 1024;

/// Prefixes of one business.
pub const PREFIXES_PER_BUSINESS_MAX: usize = 64;

/// Bytes of one prefix.
pub const PREFIX_LEN_MAX_BYTES: usize = 64;

/// Bytes of a key. Redis allows 512 MiB; keys here are sorted, compared and kept in indexes.
pub const KEY_LEN_MAX_BYTES: usize = 64 * KIB as usize;

/// Bytes of one argument, whatever the configuration says: Redis's own default.
pub const BULK_LEN_CAP_BYTES: u64 = 512 * MIB;

/// Arguments of one command, whatever the configuration says.
pub const ARGS_CAP: u64 = 1_048_576;

/// Bytes of the password that AUTH compares.
pub const PASSWORD_LEN_MAX_BYTES: usize = 512;

/// Addresses that one process listens on.
pub const BIND_ADDRESSES_MAX: usize = 16;

/// Names in `server.disabled_commands`.
pub const DISABLED_COMMANDS_MAX: usize = 1024;

/// Longest time that any setting may name: 100 years of 365 days.
pub const DURATION_MAX: Duration = Duration::from_secs(36_500 * 86_400);

/// Samples of one chunk of the cold tier: enough for its codec to show its strength, decoded in 25 microseconds.
pub const COLD_CHUNK_SAMPLES: usize = 8_192;

/// Deleted ranges of one series whose samples are still on disk: 16 bytes each in its row, which every seal writes.
pub const DELETED_RANGES_MAX: usize = 16_384;

/// Messages that a client has not taken yet, as Redis's `client-output-buffer-limit pubsub` has it; beyond this it is
/// disconnected.
pub const MESSAGES_WAITING_MAX_BYTES: usize = 32 << 20;

// A partition is a contiguous range of slots and must hold at least one.
const _: () = assert!(PARTITIONS_MAX <= SLOTS);

// With the default partition count (one per lane) every lane count must be possible.
const _: () = assert!(LANES_MAX <= PARTITIONS_MAX);

// Partition and lane numbers may be kept as u16.
const _: () = assert!(PARTITIONS_MAX <= u16::MAX as usize);
const _: () = assert!(LANES_MAX <= u16::MAX as usize);

// A lane port per lane must fit beside the well-known range.
const _: () = assert!(LANES_MAX <= (u16::MAX - 1024) as usize);

// A set of businesses may be kept as the bits of one word.
const _: () = assert!(BUSINESSES_MAX <= u64::BITS as usize);

// A key of every business must be possible, and room for an id must remain behind the longest prefix.
const _: () = assert!(PREFIX_LEN_MAX_BYTES * 2 <= KEY_LEN_MAX_BYTES);

// A key is an argument.
const _: () = assert!(KEY_LEN_MAX_BYTES as u64 <= BULK_LEN_CAP_BYTES);

// The length of an argument, and their count, may be kept as u32.
const _: () = assert!(BULK_LEN_CAP_BYTES <= u32::MAX as u64);
const _: () = assert!(ARGS_CAP <= u32::MAX as u64);

// A retention must be representable in the finest time unit, nanoseconds in an i64.
const _: () = assert!(DURATION_MAX.as_nanos() <= i64::MAX as u128);
