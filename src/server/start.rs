//! From the command line to lanes that serve: checks, directories, recovery, executors, banner.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use glommio::{CpuSet, LocalExecutorBuilder, Placement, PoolPlacement};

use crate::business::Directory;
use crate::cli::ServeOptions;
use crate::clock::Clock;
use crate::command::shared::ConnectionCounts;
use crate::command::{CommandTable, Settings, Shared};
use crate::config::{self, Config, StorageConfig};
use crate::lane::{
    Evidence, Lane, OpenedPartition, Partition, PartitionSettings, PartitionSlot, void_batches,
};
use crate::limits;
use crate::metrics::{LaneCounters, LatencySettings, LatencyTable};
use crate::preflight::{self, CoreChoice, DataDirLock, StartError};
use crate::series::EncodeScratch;
use crate::store::{
    BusinessIdentity, Compression, Database, DatabaseOptions, SharedResources, StoreError, check_logs,
    layout, open_business_dir,
};

use super::background::Watch;
use super::banner::print_banner;
use super::lane_shell::PartitionOpening;
use super::run_lane::{LaneStart, run_lane};
use super::waking::LaneWakers;
use super::{lifecycle, mesh, priority};

/// File descriptors beside those of clients and tables: logs, rings, event descriptors.
const OTHER_FILES: u64 = 256;
/// Beyond twice the grace for clients: commits and the last fsync.
const STOP_MARGIN: Duration = Duration::from_secs(5);
/// Open tables that a database needs at the least.
const TABLES_PER_DATABASE_MIN: u64 = 32;

/// Runs the server until it is asked to stop.
///
/// # Errors
/// Why it cannot start; each kind has its own exit code.
pub fn serve(options: &ServeOptions) -> Result<(), StartError> {
    let config = options.load_config()?;
    init_log(config.server.log_level);
    preflight::set_umask();
    let cores = preflight::choose_cores(&config.server)?;
    if let Some(warning) = &cores.warning {
        log::warn!("{warning}");
    }
    let lanes = cores.lanes.len();
    config.check_lane_ports(lanes)?;
    preflight::check_io_uring()?;
    preflight::check_memlock(lanes)?;
    let (port, lock) = check_ports_and_directory(&config, lanes)?;
    let partitions = open_identities(&config, lanes)?;
    let databases: usize = partitions.iter().sum();
    let tables_per_database = limit_files(&config, databases)?;
    let directory = Directory::new(&config, lanes, &partitions);
    let storage_error = |error: StoreError| StartError::Storage {
        data_dir: config.server.data_dir.clone(),
        reason: error.to_string(),
    };
    leave_lanes_cores(&cores);
    let resources = shared_resources(&config.storage).map_err(storage_error)?;
    let shared = Arc::new(shared(config.clone(), options, directory.clone(), port));
    let openings: Vec<Vec<PartitionOpening>> = (0..lanes)
        .map(|lane| openings(&shared, lane, tables_per_database))
        .collect();
    let cut_damaged_logs = config.storage.cut_damaged_log;
    let opened =
        open_partitions(&directory, &openings, &resources, cut_damaged_logs).map_err(storage_error)?;
    lifecycle::watch_signals(2 * config.server.shutdown_grace + STOP_MARGIN).map_err(cannot_start(0))?;
    let watch = Watch::start(&shared, &resources).map_err(cannot_start(0))?;
    run(&config, &cores, shared, resources, openings, opened)?;
    watch.join();
    drop(lock);
    log::info!("stopped; everything is on disk");
    Ok(())
}

fn init_log(level: log::LevelFilter) {
    // Set already only when several servers run in one process, as tests may do.
    let _ = env_logger::Builder::new()
        .filter_level(level)
        .parse_default_env()
        .format_timestamp_millis()
        .try_init();
}

fn check_ports_and_directory(config: &Config, lanes: usize) -> Result<(u16, DataDirLock), StartError> {
    let address = config.server.first_address();
    let port = if config.server.port == 0 {
        free_port(address)?
    } else {
        config.server.port
    };
    let mut ports = vec![port];
    ports.extend(config.businesses.iter().map(|business| business.port));
    if config.server.lane_port_base != 0 {
        ports.extend((0..lanes as u16).map(|lane| config.server.lane_port_base + lane));
    }
    for port in ports.into_iter().filter(|port| *port != 0) {
        for address in &config.server.bind {
            preflight::check_port_free(*address, port)?;
        }
    }
    Ok((port, preflight::lock_data_dir(&config.server.data_dir)?))
}

fn free_port(address: IpAddr) -> Result<u16, StartError> {
    let bound = TcpListener::bind(SocketAddr::new(address, 0)).and_then(|listener| listener.local_addr());
    bound.map(|address| address.port()).map_err(cannot_start(0))
}

/// Partition count of each business, as fixed on disk.
fn open_identities(config: &Config, lanes: usize) -> Result<Vec<usize>, StartError> {
    let mut counts = Vec::new();
    for business in &config.businesses {
        preflight::create_private_dir(&business.data_dir)?;
        let explicit = business.partitions != 0;
        let partitions = if explicit { business.partitions } else { lanes };
        let wanted = BusinessIdentity {
            format: layout::FORMAT_VERSION,
            name: business.name.clone(),
            partitions: partitions as u16,
            replication_id: random_hex(40),
        };
        let found = open_business_dir(&business.data_dir, &wanted, explicit)
            .map_err(|reason| StartError::DataDirIncompatible { reason })?;
        counts.push(usize::from(found.partitions));
    }
    Ok(counts)
}

fn random_hex(digits: usize) -> String {
    (0..digits)
        .map(|_| char::from_digit(fastrand::u32(..16), 16).unwrap_or('0'))
        .collect()
}

/// Makes sure that clients and databases have enough file descriptors; returns how many tables a database may open.
fn limit_files(config: &Config, databases: usize) -> Result<usize, StartError> {
    let clients = config.server.max_connections as u64;
    let databases = databases as u64;
    let needed = clients + OTHER_FILES + databases * TABLES_PER_DATABASE_MIN;
    let limit = preflight::raise_open_files(needed)?;
    let each = (limit - clients - OTHER_FILES) / databases.max(1);
    Ok(config.storage.max_open_files.min(each as usize))
}

fn shared(config: Config, options: &ServeOptions, directory: Arc<Directory>, port: u16) -> Shared {
    let settings = Settings::from_config(&config);
    let series_defaults = Arc::new(ArcSwap::from_pointee(settings.series.clone()));
    let unspecified = |address: &IpAddr| address.is_unspecified();
    let announced = config
        .server
        .bind
        .iter()
        .find(|address| !unspecified(address))
        .copied();
    Shared {
        config_file: options.effective_config_file(),
        settings: ArcSwap::from_pointee(settings),
        series_defaults,
        event_classes: Arc::default(),
        rules_seen: Arc::default(),
        checkpoint_delay_ms: AtomicU64::new(0),
        background: Default::default(),
        commands: CommandTable::new(&config.server.disabled_commands),
        run_id: random_hex(40),
        started_ms: Clock::system().now_ms(),
        port,
        lane_port_base: config.server.lane_port_base,
        announced_address: announced.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        connections: ConnectionCounts::new(config.businesses.len()),
        directory,
        config,
    }
}

fn openings(shared: &Shared, lane: usize, tables: usize) -> Vec<PartitionOpening> {
    let config = &shared.config;
    let opening = |plan: &crate::business::PartitionPlan| {
        let business = config.businesses.get(plan.business)?;
        let storage = &config.storage;
        Some(PartitionOpening {
            label: format!("{}/{}", business.name, plan.partition),
            path: BusinessIdentity::partition_dir(&business.data_dir, plan.partition as u16),
            options: DatabaseOptions {
                compression: match business.compression {
                    config::Compression::None => Compression::None,
                    config::Compression::Lz4 => Compression::Lz4,
                    config::Compression::Zstd => Compression::Zstd,
                },
                checkpoint_journal_bytes: storage.checkpoint_journal_bytes as usize,
                cold_path: business
                    .cold_dir
                    .as_deref()
                    .map(|dir| BusinessIdentity::partition_dir(dir, plan.partition as u16)),
                max_open_files: i32::try_from(tables).unwrap_or(i32::MAX),
                wal_bytes_per_sync: storage.wal_bytes_per_sync,
                background_jobs: i32::try_from(storage.background_threads).unwrap_or(i32::MAX),
                compaction: true,
            },
            settings: Arc::new(PartitionSettings {
                time_unit: business.time_unit,
                retention: business.time_unit.count(business.retention),
                hot_age: business
                    .cold_hot_separation
                    .then(|| business.time_unit.count(business.hot_age)),
                cold_chunk_samples: limits::COLD_CHUNK_SAMPLES,
                head_samples_max: storage.head_samples_max,
                head_idle_ms: storage.head_idle.as_millis() as i64,
                checkpoint_journal_bytes: storage.checkpoint_journal_bytes as usize,
                checkpoint_interval_ms: storage.checkpoint_interval.as_millis() as i64,
                value_len_max_bytes: config.wire.bulk_len_max_bytes,
                series_defaults: Arc::clone(&shared.series_defaults),
                event_classes: Arc::clone(&shared.event_classes),
                rules_seen: Arc::clone(&shared.rules_seen),
            }),
        })
    };
    shared.directory.plan(lane).iter().filter_map(opening).collect()
}

/// Opens all partitions, each lane's on a thread of its own: all journals are heard before any is replayed.
fn open_partitions(
    directory: &Directory,
    openings: &[Vec<PartitionOpening>],
    resources: &SharedResources,
    cut_damaged_logs: bool,
) -> Result<Vec<Vec<Partition>>, StoreError> {
    type Heard = Vec<(OpenedPartition, Evidence)>;
    let heard: Vec<Heard> = each_lane(openings, |lane, openings| {
        openings
            .iter()
            .zip(directory.plan(lane))
            .map(|(opening, plan)| {
                let open = if cut_damaged_logs {
                    Database::open_cutting
                } else {
                    check_logs(&opening.path, &opening.label)?;
                    Database::open
                };
                let database = open(&opening.path, &opening.label, &opening.options, resources)?;
                let opened = OpenedPartition::new(database, plan.name)?;
                let evidence = opened.evidence()?;
                Ok((opened, evidence))
            })
            .collect()
    })?;
    let evidence: Vec<Evidence> = heard
        .iter()
        .flatten()
        .map(|(_, evidence)| evidence.clone())
        .collect();
    let void = void_batches(&evidence);
    if !void.is_empty() {
        log::info!(
            "{} batches were interrupted by the end of the last run: they never happened",
            void.len()
        );
    }
    let heard: Vec<Mutex<Option<Heard>>> = heard.into_iter().map(|lane| Mutex::new(Some(lane))).collect();
    each_lane(openings, |lane, openings| {
        let slot = heard.get(lane).and_then(|slot| slot.lock().ok()?.take());
        let opened = slot.unwrap_or_default().into_iter().zip(openings);
        opened
            .map(|((opened, evidence), opening)| opened.replay(opening.settings.clone(), &evidence, &void))
            .collect()
    })
}

/// Runs `work` for every lane on a thread of its own and collects the results.
fn each_lane<T: Send>(
    openings: &[Vec<PartitionOpening>],
    work: impl Fn(usize, &[PartitionOpening]) -> Result<T, StoreError> + Sync,
) -> Result<Vec<T>, StoreError> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = openings
            .iter()
            .enumerate()
            .map(|(lane, openings)| scope.spawn(move || work(lane, openings)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("invariant: a panic ends the process"))
            .collect()
    })
}

fn run(
    config: &Config,
    cores: &CoreChoice,
    shared: Arc<Shared>,
    resources: SharedResources,
    openings: Vec<Vec<PartitionOpening>>,
    opened: Vec<Vec<Partition>>,
) -> Result<(), StartError> {
    let lanes = cores.lanes.len();
    let (ready, is_ready) = channel();
    let max_ns = u64::try_from(config.latency.max.as_nanos()).unwrap_or(u64::MAX);
    let latency = LatencySettings::new(max_ns, config.latency.significant_digits).map_err(cannot_start(0))?;
    let wakers = LaneWakers::new(lanes);
    wakers.start(config.lane.heartbeat).map_err(cannot_start(0))?;
    let meshes = mesh::build(lanes, config.lane.hops_in_flight_max).map_err(cannot_start(0))?;
    let mut threads = Vec::new();
    for (((id, mesh), openings), partitions) in meshes.into_iter().enumerate().zip(openings).zip(opened) {
        let core = cores.lanes.get(id).copied().unwrap_or(0);
        let partitions = partitions.into_iter();
        let lane = Lane {
            id,
            partitions: partitions
                .map(|partition| PartitionSlot::Open(Box::new(partition)))
                .collect(),
            clock: Clock::system(),
            counters: LaneCounters::default(),
            latency: LatencyTable::new(shared.commands.len(), latency),
            scratch: EncodeScratch::default(),
        };
        let start = LaneStart {
            lane,
            core,
            shared: shared.clone(),
            resources: resources.clone(),
            mesh,
            openings,
            wakers: wakers.clone(),
            ready: ready.clone(),
        };
        let thread = LocalExecutorBuilder::new(Placement::Fixed(core))
            .name(&format!("lane-{id}"))
            .io_memory(config.lane.io_memory_bytes)
            .preempt_timer(config.lane.preempt_timer)
            .spin_before_park(config.lane.spin_before_park)
            .blocking_thread_pool_placement(blocking_placement(config.lane.blocking_threads, cores))
            .spawn(move || run_lane(start))
            .map_err(cannot_start(id))?;
        threads.push(thread);
    }
    drop(ready);
    for _ in 0..lanes {
        let told = is_ready
            .recv()
            .map_err(|_| cannot_start(0)("a lane ended at once"))?;
        told.map_err(cannot_start(0))?;
    }
    print_banner(config, cores, &shared);
    for (id, thread) in threads.into_iter().enumerate() {
        thread.join().map_err(cannot_start(id))?;
    }
    Ok(())
}

/// The error of a start that fails for this reason.
fn cannot_start<E: Display>(lane: usize) -> impl FnOnce(E) -> StartError {
    move |reason| StartError::Lane {
        lane,
        reason: reason.to_string(),
    }
}

/// Threads that may block run beside the lanes if there are cores to spare; without a set of their own they would
/// inherit the lane's core.
fn blocking_placement(threads: usize, cores: &CoreChoice) -> PoolPlacement {
    let online = match CpuSet::online() {
        Ok(online) => online,
        Err(error) => {
            log::warn!("blocking pools are not placed: {error}");
            return PoolPlacement::Unbound(threads);
        }
    };
    let allowed = if cores.spare.is_empty() {
        &cores.lanes
    } else {
        &cores.spare
    };
    let set = online.filter(|location| allowed.contains(&location.cpu));
    PoolPlacement::Fenced(threads, set)
}

/// Block cache, write buffers and RocksDB's threads, which yield to the lanes: they are started by a thread that does.
fn shared_resources(storage: &StorageConfig) -> Result<SharedResources, StoreError> {
    let create = || {
        priority::be_background();
        SharedResources::new(
            storage.block_cache_bytes,
            storage.write_buffers_bytes,
            storage.background_threads,
        )
    };
    std::thread::scope(|scope| match scope.spawn(create).join() {
        Ok(created) => created,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Restricts this thread, and with it the threads that RocksDB starts from it, to the spare cores.
fn leave_lanes_cores(cores: &CoreChoice) {
    if cores.spare.is_empty() {
        return;
    }
    // SAFETY: an all-zero cpu_set_t is an empty set; CPU_SET writes inside it for core numbers below its size, which
    // CORE_ID_MAX guarantees; the call reads exactly the size it is given.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for core in cores
            .spare
            .iter()
            .filter(|core| **core <= crate::limits::CORE_ID_MAX)
        {
            libc::CPU_SET(*core, &mut set);
        }
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result != 0 {
        log::warn!(
            "RocksDB's threads are not kept off the lanes' cores: {}",
            std::io::Error::last_os_error()
        );
    }
}
