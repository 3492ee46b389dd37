//! One lane's executor from its first task to its last.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use crate::business::PartitionPlan;
use crate::command::{PortKind, Shared};
use crate::lane::{Lane, PartitionSlot};
use crate::store::SharedResources;

use super::commit::{self, CommitQueue};
use super::event::Event;
use super::lane_shell::{LaneShell, PartitionOpening};
use super::mesh::Mesh;
use super::monitors::{self, Monitors};
use super::notices::{self, Notices};
use super::sockets::{Sockets, watch_loop};
use super::waking::LaneWakers;
use super::{
    blocking, checkpoints, deliveries, dumps, free_space, lifecycle, listener, priority, rewrites, timers,
};

/// Everything a lane's thread takes over.
pub struct LaneStart {
    /// Its state, partitions open.
    pub lane: Lane,
    /// Core to be pinned to.
    pub core: usize,
    /// What all lanes know alike.
    pub shared: Arc<Shared>,
    /// Block cache and write buffers of all databases.
    pub resources: SharedResources,
    /// The other lanes.
    pub mesh: Mesh,
    /// How its partitions are opened again.
    pub openings: Vec<PartitionOpening>,
    /// Wakes this lane from another thread.
    pub wakers: LaneWakers,
    /// Told when the lane serves, or why it cannot.
    pub ready: Sender<Result<usize, String>>,
}

/// Runs the lane until the server stops.
pub async fn run_lane(start: LaneStart) {
    let id = start.lane.id;
    let (ready, wakers) = (start.ready.clone(), start.wakers.clone());
    priority::be_lane();
    let opened = bind_all(&start.shared, id).and_then(|listeners| Ok((listeners, shell_of(start)?)));
    let (listeners, shell) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            // The main thread ends the process on this; nobody is left to hear if it has already.
            let _ = ready.send(Err(error));
            return;
        }
    };
    glommio::spawn_local(wakers.clone().stay_awake(id)).detach();
    glommio::spawn_local(watch_loop(shell.clone())).detach();
    glommio::spawn_local(commit::commit_loop(shell.clone())).detach();
    glommio::spawn_local(commit::sync_loop(shell.clone())).detach();
    glommio::spawn_local(deliveries::delivery_loop(shell.clone())).detach();
    glommio::spawn_local(notices::notice_loop(shell.clone())).detach();
    glommio::spawn_local(monitors::monitor_loop(shell.clone())).detach();
    let rewriting = glommio::spawn_local(rewrites::rewrite_loop(shell.clone()));
    let walking = glommio::spawn_local(rewrites::walk_loop(shell.clone()));
    commit_recovered(&shell).await;
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|(listener, kind)| glommio::spawn_local(listener::accept_loop(shell.clone(), listener, kind)))
        .collect();
    let _ = ready.send(Ok(id));
    glommio::spawn_local(free_space::watch_loop(shell.clone())).detach();
    timers::heartbeat_loop(shell.clone()).await;
    if id == 0
        && shell.shared.config.latency.dump_on_exit
        && let Err(error) = dumps::dump(&shell).await
    {
        log::error!("latency dump failed: {error}");
    }
    // A job under way keeps its database open: it must end before the lane does.
    rewriting.await;
    walking.await;
    for task in accepting {
        task.cancel().await;
    }
    stop(&shell).await;
    wakers.leave(id);
}

/// What the tasks of the lane share.
fn shell_of(start: LaneStart) -> Result<Rc<LaneShell>, String> {
    let LaneStart {
        lane,
        core,
        shared,
        resources,
        mesh,
        openings,
        ..
    } = start;
    let sockets = Sockets::new(mesh.post.bell()).map_err(|error| format!("cannot watch sockets: {error}"))?;
    let plan = shared.directory.plan(lane.id);
    let business = |plan: &PartitionPlan| shared.directory.businesses().get(plan.business);
    let policies: Vec<_> = plan
        .iter()
        .filter_map(|plan| business(plan).map(|entry| entry.config.fsync))
        .collect();
    let read_buffer = vec![0; shared.config.wire.read_buffer_bytes];
    Ok(Rc::new(LaneShell {
        lane: RefCell::new(lane),
        commits: CommitQueue::new(&policies),
        mesh,
        shared,
        resources,
        core,
        clients: RefCell::new(HashMap::new()),
        sockets,
        released: Event::default(),
        stopping: Cell::new(false),
        settling: Cell::new(0),
        disk_full: Cell::new(false),
        closings: Cell::new(0),
        syncing: Cell::new(false),
        paused: Cell::new((0, false)),
        openings,
        scan_cursors: RefCell::default(),
        slow_calls: RefCell::new(VecDeque::new()),
        error_counts: RefCell::default(),
        rates: RefCell::default(),
        deferred: RefCell::default(),
        notices: Notices::default(),
        monitors: Monitors::default(),
        hops: RefCell::default(),
        buffers: RefCell::default(),
        read_buffer: RefCell::new(read_buffer),
    }))
}

/// Recovery may have left outcomes of batches to be put on record.
async fn commit_recovered(shell: &LaneShell) {
    let changed: Vec<usize> = {
        let mut lane = shell.lane.borrow_mut();
        lane.open_partitions()
            .filter(|(_, partition)| partition.has_changes())
            .map(|(place, _)| place)
            .collect()
    };
    let changes: Vec<_> = changed
        .into_iter()
        .map(|place| shell.commits.note(place, true))
        .collect();
    shell.commits.wait(&changes).await;
}

fn bind_all(shared: &Shared, lane: usize) -> Result<Vec<(glommio::net::TcpListener, PortKind)>, String> {
    let mut ports = vec![(shared.port, PortKind::Main)];
    for (index, business) in shared.config.businesses.iter().enumerate() {
        ports.push((business.port, PortKind::Business(index)));
    }
    if shared.lane_port_base != 0 {
        ports.push((shared.lane_port_base + lane as u16, PortKind::Lane(lane)));
    }
    let mut listeners = Vec::new();
    for (port, kind) in ports.into_iter().filter(|(port, _)| *port != 0) {
        for address in &shared.config.server.bind {
            listeners.push((listener::bind(*address, port)?, kind));
        }
    }
    Ok(listeners)
}

/// Finishes what was received, commits, forces everything to the disk, closes.
async fn stop(shell: &Rc<LaneShell>) {
    shell.stopping.set(true);
    let deadline = Instant::now() + shell.shared.config.server.shutdown_grace;
    let beat = Duration::from_millis(2);
    while !shell.clients.borrow().is_empty() && Instant::now() < deadline {
        shell.wake_clients();
        glommio::timer::sleep(beat).await;
    }
    let left = shell.clients.borrow().len();
    if left > 0 {
        log::warn!(
            "lane {}: {left} clients did not finish within shutdown_grace",
            shell.id()
        );
    }
    lifecycle::lane_drained();
    while !lifecycle::all_drained(shell.shared.directory.lanes()) && Instant::now() < deadline {
        glommio::timer::sleep(beat).await;
    }
    // Outcomes of batches may still be on their way between lanes.
    glommio::timer::sleep(beat * 5).await;
    while !shell.commits.is_idle() && Instant::now() < deadline {
        glommio::timer::sleep(beat).await;
    }
    while shell.syncing.get() && Instant::now() < deadline {
        glommio::timer::sleep(beat).await;
    }
    // Batches wait for the disk, and the timer that syncs has ended.
    while shell.settling.get() > 0 && Instant::now() < deadline {
        commit::sync_partitions(shell, false).await;
        glommio::timer::sleep(beat).await;
    }
    checkpoints::checkpoint_before_stop(shell, deadline).await;
    commit::sync_partitions(shell, false).await;
    // Not even a deadline may end an executor before its pool: a thread that cannot hand its result over panics.
    while blocking::any_under_way() {
        glommio::timer::sleep(beat).await;
    }
    let partitions = std::mem::take(&mut shell.lane.borrow_mut().partitions);
    let closed = partitions
        .into_iter()
        .filter(|slot| matches!(slot, PartitionSlot::Closed { .. }))
        .count();
    if closed > 0 {
        log::warn!(
            "lane {}: {closed} partitions were being recovered when the server stopped",
            shell.id()
        );
    }
}
