//! One partition on one thread, driven as a lane drives it: commits, housekeeping, checkpoints, rewrites, fsync.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use ticklane::config::TimeUnit;
use ticklane::lane::journal::PartitionName;
use ticklane::lane::{
    CheckpointStep, Committed, FETCHED_KEYS_MAX, MemoryBudget, OpenedPartition, Partition, PartitionSettings,
    Rewritten, SeriesSweep, Stop, Wait,
};
use ticklane::series::{EncodeScratch, Sample};
use ticklane::store::{
    BusinessIdentity, Compression, Database, DatabaseOptions, FAMILY_WRITE_BUFFER_BYTES,
    JOURNAL_BUFFER_MULTIPLE, SharedResources, layout, open_business_dir,
};

/// The business that a data directory of the benchmark holds, so that a server can open it.
pub const BUSINESS: &str = "stock_quotes";
const HEARTBEAT: Duration = Duration::from_millis(5);
const HOUSEKEEPING: Duration = Duration::from_millis(100);
const CHECKPOINT_JOURNAL_BYTES: usize = 64 << 20;
/// Bytes per second of background rewriting, as in the default configuration.
const REWRITE_RATE: f64 = (16 << 20) as f64;
const BLOCK_CACHE_BYTES: usize = 256 << 20;
const WRITE_BUFFERS_BYTES: usize = 256 << 20;

/// What differs between the runs.
#[derive(Clone, Copy)]
pub struct Setup {
    pub head_samples_max: usize,
    pub series_bytes: usize,
    /// Chunks older than this go to the cold tier, in milliseconds.
    pub hot_age: Option<i64>,
    /// Heads without writes for this long are sealed.
    pub head_idle_ms: i64,
    pub rewrite_rate: f64,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            head_samples_max: 512,
            series_bytes: 256 << 20,
            hot_age: None,
            head_idle_ms: 60_000,
            rewrite_rate: REWRITE_RATE,
        }
    }
}

type Job = Box<dyn FnOnce() -> Done + Send>;

/// What the helper thread reports.
enum Done {
    Checkpoint(u64),
    Rewrite(u64, Box<Option<Rewritten>>),
    Other,
}

/// See the head of the file.
pub struct Engine {
    pub partition: Partition,
    setup: Setup,
    scratch: EncodeScratch,
    sweep: SeriesSweep,
    jobs: Sender<Job>,
    done: Receiver<Done>,
    next_beat: Instant,
    next_housekeeping: Instant,
    next_second: Instant,
    next_rewrite: Instant,
    rewriting: bool,
    checkpointing: bool,
    /// Bytes handed to RocksDB by commits.
    pub commit_bytes: u64,
    pub stalls: u64,
    shared: SharedResources,
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("a clock after 1970").as_millis() as i64
}

fn settings(setup: Setup) -> PartitionSettings {
    PartitionSettings {
        time_unit: TimeUnit::Milliseconds,
        retention: 0,
        hot_age: setup.hot_age,
        cold_chunk_samples: ticklane::limits::COLD_CHUNK_SAMPLES,
        head_samples_max: setup.head_samples_max,
        head_idle_ms: setup.head_idle_ms,
        checkpoint_journal_bytes: CHECKPOINT_JOURNAL_BYTES,
        checkpoint_interval_ms: 60_000,
        value_len_max_bytes: 64 << 20,
        series_defaults: Arc::default(),
        event_classes: Arc::default(),
        rules_seen: Arc::default(),
    }
}

/// Directory of the partition inside the data directory.
pub fn partition_dir(data_dir: &Path) -> PathBuf {
    BusinessIdentity::partition_dir(&data_dir.join(BUSINESS), 0)
}

impl Engine {
    /// Opens the partition in `data_dir`, laid out so that a server with one lane can open it too.
    pub fn open(data_dir: &Path, setup: Setup) -> Engine {
        let identity = BusinessIdentity {
            format: layout::FORMAT_VERSION,
            name: BUSINESS.into(),
            partitions: 1,
            replication_id: "0".repeat(40),
        };
        std::fs::create_dir_all(data_dir.join(BUSINESS)).expect("a directory");
        open_business_dir(&data_dir.join(BUSINESS), &identity, true).expect("an identity");
        let shared =
            SharedResources::new(BLOCK_CACHE_BYTES, WRITE_BUFFERS_BYTES, 2).expect("shared resources");
        let options = DatabaseOptions {
            compression: Compression::Lz4,
            checkpoint_journal_bytes: CHECKPOINT_JOURNAL_BYTES,
            cold_path: None,
            max_open_files: 512,
            wal_bytes_per_sync: 1 << 20,
            background_jobs: 2,
            compaction: true,
        };
        let store =
            Database::open(&partition_dir(data_dir), BUSINESS, &options, &shared).expect("a database");
        let opened = OpenedPartition::new(store, PartitionName::new(BUSINESS, 0)).expect("a partition");
        let evidence = opened.evidence().expect("a journal");
        let partition = opened.replay(Arc::new(settings(setup)), &evidence, &HashSet::new());
        let (jobs, work) = channel::<Job>();
        let (report, done) = channel();
        std::thread::spawn(move || {
            for job in work {
                if report.send(job()).is_err() {
                    return;
                }
            }
        });
        let now = Instant::now();
        Engine {
            partition: partition.expect("a replay"),
            setup,
            scratch: EncodeScratch::default(),
            sweep: SeriesSweep::default(),
            jobs,
            done,
            next_beat: now,
            next_housekeeping: now,
            next_second: now,
            next_rewrite: now,
            rewriting: false,
            checkpointing: false,
            commit_bytes: 0,
            stalls: 0,
            shared,
        }
    }

    /// Write buffers and block cache.
    pub fn rocksdb_bytes(&self) -> usize {
        self.shared.write_buffers_used_bytes() + self.shared.cache_used_bytes()
    }

    fn help(&self, job: impl FnOnce() -> Done + Send + 'static) {
        self.jobs.send(Box::new(job)).expect("the helper lives");
    }

    /// What a lane does with the keys of a pipeline before it runs, every time that the next piece of `keys` begins.
    #[inline]
    pub fn look_ahead(&mut self, keys: &[Vec<u8>], next: usize) {
        if next.is_multiple_of(FETCHED_KEYS_MAX) {
            let end = keys.len().min(next + FETCHED_KEYS_MAX);
            self.partition
                .fetch_keys(keys[next..end].iter().map(Vec::as_slice));
        }
    }

    /// Adds a sample; what has to be read first is read on the spot.
    pub fn add(&mut self, key: &[u8], sample: Sample, now_ms: i64) {
        loop {
            match self.partition.add_sample(key, 0, sample, now_ms) {
                Ok(()) => return,
                Err(Stop::Wait(Wait::Load(wanted))) => {
                    let epoch = self.partition.completed_epoch();
                    let loaded =
                        Partition::load_from_disk(self.partition.database(), &wanted).expect("a key");
                    self.partition.finish_load(&wanted, loaded, epoch);
                }
                Err(_) => panic!("a sample was refused"),
            }
        }
    }

    /// Ends a turn: one journal record, then the background work that is due.
    pub fn end_turn(&mut self) -> i64 {
        self.commit();
        let now = Instant::now();
        if now >= self.next_second {
            self.next_second = now + Duration::from_secs(1);
            self.every_second();
        }
        if now >= self.next_beat {
            self.next_beat = now + HEARTBEAT;
            self.beat();
        }
        if now >= self.next_housekeeping {
            self.next_housekeeping = now + HOUSEKEEPING;
            self.keep_house();
        }
        if self.checkpointing {
            self.checkpoint(false);
        }
        self.take_reports();
        now_ms()
    }

    fn commit(&mut self) {
        loop {
            match self.partition.commit(&mut self.scratch) {
                Committed::Written { bytes } => {
                    self.commit_bytes += bytes as u64;
                    return;
                }
                Committed::Stalled => {
                    self.stalls += 1;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Committed::Failed(error) => panic!("{error}"),
            }
        }
    }

    fn every_second(&mut self) {
        let database = self.partition.database().clone();
        self.help(move || {
            database.sync().expect("an fsync");
            Done::Other
        });
    }

    /// As at every heartbeat of a lane.
    fn beat(&mut self) {
        self.partition.evict(&MemoryBudget {
            read_cache_bytes: 64 << 20,
            series_bytes: self.setup.series_bytes,
        });
        if self.partition.is_short_of_memory() {
            self.partition.sweep_series(&mut self.sweep, now_ms(), true);
        }
    }

    fn keep_house(&mut self) {
        let now_ms = now_ms();
        if self.partition.take_growth() {
            let database = self.partition.database().clone();
            self.help(move || {
                let grown = database.grow_buffers(
                    JOURNAL_BUFFER_MULTIPLE * CHECKPOINT_JOURNAL_BYTES,
                    FAMILY_WRITE_BUFFER_BYTES,
                );
                grown.expect("options");
                Done::Other
            });
        }
        if !self.partition.is_short_of_memory() {
            self.partition.sweep_series(&mut self.sweep, now_ms, false);
        }
        if self.partition.wants_checkpoint(now_ms) {
            self.checkpoint(false);
        }
        if !self.rewriting
            && Instant::now() >= self.next_rewrite
            && let Some(job) = self.partition.start_rewrite(now_ms)
        {
            self.rewriting = true;
            let id = job.series_id();
            self.help(move || Done::Rewrite(id, Box::new(Some(job.run().expect("a rewrite")))));
        }
    }

    /// A piece of checkpoint work.
    fn checkpoint(&mut self, forced: bool) {
        self.checkpointing = true;
        match self.partition.checkpoint_step(now_ms(), forced) {
            CheckpointStep::Rest => self.checkpointing = self.partition.checkpoint().is_running(),
            CheckpointStep::More => {}
            CheckpointStep::Write(rows) => {
                let database = self.partition.database().clone();
                self.help(move || {
                    let stored = if rows.is_empty() {
                        database.kv_key_count()
                    } else {
                        rows.write(&database)
                    };
                    Done::Checkpoint(stored.expect("checkpoint rows"))
                });
            }
        }
    }

    fn take_reports(&mut self) {
        while let Ok(done) = self.done.try_recv() {
            match done {
                Done::Other => {}
                Done::Checkpoint(stored) => {
                    self.partition.checkpoint_written(stored, now_ms());
                    self.commit();
                    self.checkpointing = false;
                    let database = self.partition.database().clone();
                    self.help(move || {
                        database.flush_journal().expect("a flush");
                        Done::Other
                    });
                }
                Done::Rewrite(id, rewritten) => {
                    self.rewriting = false;
                    let work_bytes = rewritten
                        .as_ref()
                        .as_ref()
                        .map_or(0, |rewritten| rewritten.work_bytes);
                    let pace = work_bytes as f64 / self.setup.rewrite_rate;
                    self.next_rewrite = Instant::now() + Duration::from_secs_f64(pace);
                    self.partition.finish_rewrite(id, *rewritten, now_ms());
                }
            }
        }
    }

    /// Seals everything and drops the journal, as a clean end of the load.
    pub fn seal_all(&mut self) {
        for _ in 0..2 {
            self.end_turn();
            while self.checkpointing {
                self.end_turn();
                std::thread::yield_now();
            }
            self.checkpoint(true);
            while self.checkpointing {
                self.end_turn();
                std::thread::yield_now();
            }
        }
        let (report, done) = channel();
        self.help(move || {
            let _ = report.send(());
            Done::Other
        });
        done.recv().expect("the helper lives");
        self.end_turn();
    }

    /// Waits until the table files have not changed for half a second: merging goes on in the background.
    pub fn wait_for_merges(&mut self, directory: &Path) {
        let (mut bytes, mut since) = (0, Instant::now());
        while since.elapsed() < Duration::from_millis(500) {
            let now_bytes = super::gauge::disk_bytes(directory);
            if now_bytes != bytes {
                (bytes, since) = (now_bytes, Instant::now());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs rewrites until there is nothing left to do for a second.
    pub fn rewrite_all(&mut self) {
        let mut idle_since = Instant::now();
        while idle_since.elapsed() < Duration::from_secs(1) {
            self.next_housekeeping = Instant::now();
            self.end_turn();
            if self.rewriting || self.partition.has_rewrites_waiting() {
                idle_since = Instant::now();
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Engine {
    /// Waits for what the helper does to files that are about to vanish.
    fn drop(&mut self) {
        let (report, done) = channel();
        self.help(move || {
            let _ = report.send(());
            Done::Other
        });
        let _ = done.recv();
    }
}
