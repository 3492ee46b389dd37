//! RocksDB options: what every database shares, and what each family needs. tuning.md says how the numbers were found.

use std::path::PathBuf;

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBPath,
    DBRecoveryMode, Env, InfoLogger, LogLevel, Options, SliceTransform, WriteBufferManager,
};

use super::backlog::OpenDatabases;
use super::error::{StoreError, StoreOperation};
use super::layout;

/// What all databases of the process share: one block cache, one write-buffer budget, one pool of threads.
#[derive(Clone)]
pub struct SharedResources {
    pub(super) cache: Cache,
    pub(super) write_buffers: WriteBufferManager,
    pub(super) env: Env,
    pub(super) open: OpenDatabases,
}

impl SharedResources {
    /// Creates the shared cache (bytes), write-buffer budget (bytes) and background threads.
    ///
    /// # Errors
    /// If RocksDB cannot create its environment.
    pub fn new(cache: usize, write_buffers: usize, threads: usize) -> Result<SharedResources, StoreError> {
        let mut env = Env::new().map_err(|e| StoreError::new(StoreOperation::Open, "environment", e))?;
        let threads = i32::try_from(threads).unwrap_or(i32::MAX);
        env.set_background_threads(threads);
        env.set_high_priority_background_threads(threads.div_euclid(2).max(1));
        let cache = Cache::new_lru_cache(cache);
        // Never stalls writers by itself: a lane answers a full budget with back-pressure, not with a frozen thread.
        let write_buffers = WriteBufferManager::new_write_buffer_manager(write_buffers, false);
        Ok(SharedResources {
            cache,
            write_buffers,
            env,
            open: OpenDatabases::default(),
        })
    }

    /// Bytes of the shared block cache in use.
    pub fn cache_used_bytes(&self) -> usize {
        self.cache.get_usage()
    }

    /// The largest share, in thousandths, that any database has reached of what makes RocksDB hold up writes: full
    /// buffers, unmerged files, bytes to be merged. Asks RocksDB, some microseconds per loaded database.
    pub fn backlog_permille(&self) -> u64 {
        self.open.backlog_permille()
    }

    /// Bytes of memtables of all databases.
    pub fn write_buffers_used_bytes(&self) -> usize {
        self.write_buffers.get_usage()
    }
}

/// Settings of one database.
#[derive(Clone, Debug)]
pub struct DatabaseOptions {
    /// Compression of rows and of runs of late samples; chunks are compressed by our own codecs already.
    pub compression: Compression,
    /// Journal bytes between two checkpoints.
    pub checkpoint_journal_bytes: usize,
    /// Directory of the cold tier's table files; `None` = beside the others. Fixed once it holds files.
    pub cold_path: Option<PathBuf>,
    /// Open table files kept per database.
    pub max_open_files: i32,
    /// The kernel is asked to start writing the log out every so many bytes.
    pub wal_bytes_per_sync: u64,
    /// Threads for flush and compaction, of the shared pool.
    pub background_jobs: i32,
    /// Table files are merged in the background. Not where one of them is damaged: the first merge that meets it would
    /// end all writing.
    pub compaction: bool,
}

/// Block compression of the families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Stored as is.
    None,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    fn rocksdb(self) -> DBCompressionType {
        match self {
            Compression::None => DBCompressionType::None,
            Compression::Lz4 => DBCompressionType::Lz4,
            Compression::Zstd => DBCompressionType::Zstd,
        }
    }
}

/// A database starts with small buffers so that one never written costs little: RocksDB preallocates its log by the
/// largest of them. [`super::Database::grow_buffers`] raises them at the first real load.
pub(super) const IDLE_WRITE_BUFFER_BYTES: usize = 256 << 10;
/// The journal's write buffer holds so many times the journal between two checkpoints: records of a sample or two take
/// three times their length in memory. A buffer that is full before the checkpoint is written to a table file in vain, and
/// then merged away.
pub const JOURNAL_BUFFER_MULTIPLE: usize = 4;
/// Space that is asked for ahead for a log, in lengths of the journal between two checkpoints.
const LOG_SPACE_MULTIPLE: usize = 2;
/// Write buffer of the families beside the journal once a database is loaded.
pub const FAMILY_WRITE_BUFFER_BYTES: usize = 16 << 20;
/// Pieces of the index and the filter of a table, each cached by itself.
const METADATA_BLOCK_BYTES: usize = 4 << 10;
/// Keys in the index of chunks share what they begin with, the series and the high bytes of the time, so many at a time.
const INDEX_RESTART_INTERVAL: i32 = 8;
/// Write buffers of one family, full ones that wait to be written to the disk included. RocksDB holds writes up when all
/// but one of them are full.
const WRITE_BUFFERS_MAX: i32 = 6;
/// Those of the journal, which are the largest.
const JOURNAL_BUFFERS_MAX: i32 = 4;
/// Table files that wait to be merged, and bytes that merges have to rewrite, at which RocksDB slows writes down: its own
/// defaults, but for the journal, whose files are few and of no use soon.
const LEVEL0_SLOWDOWN_FILES: i32 = 20;
const JOURNAL_LEVEL0_SLOWDOWN_FILES: i32 = 64;
pub(super) const PENDING_BYTES_SLOWDOWN: u64 = 64 << 30;
/// A table file is merged soon after it was written if so many of so many neighbouring rows, or this share of all its
/// rows, are deletions: what they delete takes far more room than they do, which by size alone would start nothing.
const DELETIONS_MIN: usize = 64;
const DELETIONS_AMONG_ROWS: usize = 128;
const DELETIONS_SHARE_MIN: f64 = 0.3;

pub(super) fn database(name: &str, options: &DatabaseOptions, shared: &SharedResources) -> Options {
    let mut db = Options::default();
    db.create_if_missing(true);
    db.create_missing_column_families(true);
    db.set_env(&shared.env);
    db.set_write_buffer_manager(&shared.write_buffers);
    // Beside a manager of buffers this only bounds the space asked for ahead for a log, by default that of the largest
    // buffer.
    db.set_db_write_buffer_size(
        options
            .checkpoint_journal_bytes
            .saturating_mul(LOG_SPACE_MULTIPLE),
    );
    db.set_max_background_jobs(options.background_jobs.max(2));
    db.set_max_open_files(options.max_open_files);
    db.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    db.set_track_and_verify_wals_in_manifest(true);
    // Checkpoints bound the log well below this; it is the last resort against a log that cannot be dropped.
    db.set_max_total_wal_size((options.checkpoint_journal_bytes as u64).saturating_mul(8));
    db.set_wal_bytes_per_sync(options.wal_bytes_per_sync);
    db.set_bytes_per_sync(1 << 20);
    // One lane writes; the checkpoint thread joins now and then. Serial memtable writes cost less.
    db.set_allow_concurrent_memtable_write(false);
    db.set_enable_write_thread_adaptive_yield(false);
    db.set_avoid_unnecessary_blocking_io(true);
    db.set_skip_stats_update_on_db_open(true);
    db.set_stats_dump_period_sec(0);
    db.set_stats_persist_period_sec(0);
    db.set_manifest_preallocation_size(64 << 10);
    db.set_log_level(LogLevel::Warn);
    db.set_info_logger(logger(name));
    db
}

/// What RocksDB warns of goes to the server's own log: a file of its own would begin with 100 KB of settings.
fn logger(name: &str) -> InfoLogger {
    let name = name.to_string();
    InfoLogger::new_callback_logger(LogLevel::Warn, move |level, text| match level {
        LogLevel::Warn => log::warn!("{name}: RocksDB: {}", text.trim_end()),
        LogLevel::Error | LogLevel::Fatal => log::error!("{name}: RocksDB: {}", text.trim_end()),
        LogLevel::Debug | LogLevel::Info | LogLevel::Header => {}
    })
}

/// The families of a database with so many bytes of logs.
pub(super) fn families(
    options: &DatabaseOptions,
    shared: &SharedResources,
    logs_bytes: u64,
) -> Result<Vec<ColumnFamilyDescriptor>, StoreError> {
    let descriptor = |name: &&'static str| {
        let buffer_bytes = write_buffer_bytes(name, options, logs_bytes);
        let mut options = family(name, options, shared)?;
        options.set_write_buffer_size(buffer_bytes);
        Ok(ColumnFamilyDescriptor::new(*name, options))
    };
    layout::FAMILIES.iter().map(descriptor).collect()
}

/// Write buffer of a family at the opening: what the logs hold fits, as far as it did when it was written. Recovery
/// makes a table file of each buffer that is full, hundreds of them with idle buffers, and RocksDB then stops writes.
fn write_buffer_bytes(name: &str, options: &DatabaseOptions, logs_bytes: u64) -> usize {
    let largest = if name == layout::JOURNAL {
        options
            .checkpoint_journal_bytes
            .saturating_mul(JOURNAL_BUFFER_MULTIPLE)
    } else {
        FAMILY_WRITE_BUFFER_BYTES
    };
    let largest = largest.max(IDLE_WRITE_BUFFER_BYTES);
    let logs_bytes = usize::try_from(logs_bytes).unwrap_or(usize::MAX);
    // What surrounds the records in memory takes some room too.
    logs_bytes
        .saturating_mul(2)
        .clamp(IDLE_WRITE_BUFFER_BYTES, largest)
}

/// Write buffers that a family may have.
pub(super) fn write_buffers_max(name: &str) -> i32 {
    if name == layout::JOURNAL {
        JOURNAL_BUFFERS_MAX
    } else {
        WRITE_BUFFERS_MAX
    }
}

/// Table files of a family's first level at which RocksDB slows writes down.
pub(super) fn level0_slowdown_files(name: &str) -> i32 {
    if name == layout::JOURNAL {
        JOURNAL_LEVEL0_SLOWDOWN_FILES
    } else {
        LEVEL0_SLOWDOWN_FILES
    }
}

fn merge_deletions_soon(cf: &mut Options) {
    cf.add_compact_on_deletion_collector_factory(DELETIONS_AMONG_ROWS, DELETIONS_MIN, DELETIONS_SHARE_MIN);
}

fn family(name: &str, options: &DatabaseOptions, shared: &SharedResources) -> Result<Options, StoreError> {
    let mut cf = Options::default();
    cf.set_disable_auto_compactions(!options.compaction);
    cf.set_max_write_buffer_number(write_buffers_max(name));
    cf.set_level_zero_slowdown_writes_trigger(level0_slowdown_files(name));
    cf.set_soft_pending_compaction_bytes_limit(PENDING_BYTES_SLOWDOWN as usize);
    cf.set_level_compaction_dynamic_level_bytes(true);
    cf.set_compression_type(options.compression.rocksdb());
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&shared.cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(6);
    match name {
        layout::KV | layout::SERIES => {
            table.set_bloom_filter(10.0, false);
            table.set_block_size(4 << 10);
            // In one piece, the filter of a table of some million rows is larger than a shard of the block cache: it
            // could never be kept, and each look-up would read all of it.
            table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
            table.set_partition_filters(true);
            table.set_metadata_block_size(METADATA_BLOCK_BYTES);
            table.set_pin_top_level_index_and_filter(true);
            cf.set_memtable_whole_key_filtering(true);
            cf.set_memtable_prefix_bloom_ratio(0.02);
        }
        layout::CHUNKS | layout::COLD => {
            table.set_block_size(16 << 10);
            table.set_index_block_restart_interval(INDEX_RESTART_INTERVAL);
            cf.set_prefix_extractor(SliceTransform::create_fixed_prefix(8));
            cf.set_compression_type(DBCompressionType::None);
            merge_deletions_soon(&mut cf);
        }
        // Compressed as keys are: runs of a few samples are mostly what they have in common, larger ones RocksDB stores as they
        // are, since that is no longer.
        layout::LATE => {
            merge_deletions_soon(&mut cf);
            table.set_block_size(16 << 10);
            cf.set_prefix_extractor(SliceTransform::create_fixed_prefix(8));
        }
        layout::JOURNAL => {
            cf.set_compression_type(DBCompressionType::None);
            table.set_block_size(64 << 10);
            // Records are deleted by range soon after, and nobody writes over them: each flush is merged at once with
            // the file before, all of which its range covers by then, so that no dead record stays on the disk.
            cf.set_level_zero_file_num_compaction_trigger(1);
            cf.set_level_zero_stop_writes_trigger(128);
        }
        _ => {}
    }
    if let Some(path) = options.cold_path.as_deref().filter(|_| name == layout::COLD) {
        match DBPath::new(path, u64::MAX) {
            Ok(path) => cf.set_cf_paths(&[path]),
            Err(error) => return Err(StoreError::new(StoreOperation::Open, "cold tier", error)),
        }
    }
    cf.set_block_based_table_factory(&table);
    Ok(cf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_logs_hold_fits_into_the_buffers_of_the_opening() {
        let options = DatabaseOptions {
            compression: Compression::None,
            checkpoint_journal_bytes: 64 << 20,
            cold_path: None,
            max_open_files: 64,
            wal_bytes_per_sync: 0,
            background_jobs: 2,
            compaction: true,
        };
        let bytes = |name, logs_bytes| write_buffer_bytes(name, &options, logs_bytes);
        assert_eq!(bytes(layout::JOURNAL, 0), IDLE_WRITE_BUFFER_BYTES);
        assert_eq!(bytes(layout::JOURNAL, 40 << 20), 80 << 20);
        assert_eq!(bytes(layout::JOURNAL, u64::MAX), 256 << 20);
        assert_eq!(bytes(layout::SERIES, 80 << 20), FAMILY_WRITE_BUFFER_BYTES);
        assert_eq!(bytes(layout::SERIES, 1 << 20), 2 << 20);
    }
}
