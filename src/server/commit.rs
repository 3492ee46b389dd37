//! Group commit: everything that became ready in one pass of the executor is written as one batch per partition.
//!
//! A connection that has changed a partition raises the signal; the commit task, being last in the run queue, runs
//! after every task that was ready, writes each changed partition once, and wakes all that wait. A partition counts
//! its commits; a turn waits for the number that its change belongs to.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::config::Fsync;
use crate::lane::{Committed, Partition, PartitionSlot};

use super::blocking;
use super::chains::{Chained, Followers};
use super::event::{Event, Signal};
use super::lane_shell::LaneShell;
use super::supervisor;

/// Wait before a stalled write is tried again.
const STALL_RETRY: Duration = Duration::from_millis(1);

/// Commits of one partition.
struct PlaceCommits {
    fsync: Fsync,
    /// It is on the list of changed partitions.
    changed: Cell<bool>,
    /// Number of the commit that changes belong to now.
    open: Cell<u64>,
    /// Last commit that is in the log, and the last one known to be on the disk.
    written: Cell<u64>,
    synced: Cell<u64>,
    /// Last commit whose deliveries are done.
    delivered: Cell<u64>,
    /// What these have caused.
    followers: RefCell<Followers>,
    /// Commits of the last failure, first and last: their outcome is unknown.
    failed: Cell<(u64, u64)>,
}

impl PlaceCommits {
    fn has_failed(&self, commit: u64) -> bool {
        let (first, last) = self.failed.get();
        (first..=last).contains(&commit)
    }
}

/// A change that a turn has made: done when its commit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Place of the partition.
    pub place: usize,
    /// Number of the commit.
    pub commit: u64,
    /// The turn wrote: with `fsync = "always"` it waits for the disk.
    pub wrote: bool,
    /// The turn owes something to keys elsewhere: it waits until that is delivered.
    pub owes: bool,
}

/// State of the commits of a lane.
pub struct CommitQueue {
    places: Vec<PlaceCommits>,
    changed: RefCell<Vec<usize>>,
    work: Signal,
    sync_work: Signal,
    delivery_work: Signal,
    passed: Event,
}

impl CommitQueue {
    /// A queue for partitions with these policies.
    pub fn new(policies: &[Fsync]) -> CommitQueue {
        let place = |fsync: &Fsync| PlaceCommits {
            fsync: *fsync,
            changed: Cell::new(false),
            open: Cell::new(1),
            written: Cell::new(0),
            synced: Cell::new(0),
            delivered: Cell::new(0),
            followers: RefCell::default(),
            failed: Cell::new((0, 0)),
        };
        CommitQueue {
            places: policies.iter().map(place).collect(),
            changed: RefCell::new(Vec::new()),
            work: Signal::default(),
            sync_work: Signal::default(),
            delivery_work: Signal::default(),
            passed: Event::default(),
        }
    }

    fn place(&self, place: usize) -> &PlaceCommits {
        self.places
            .get(place)
            .expect("invariant: places are those of the lane's plan")
    }

    /// The partition has uncommitted changes: they will be written. Returns what to wait for.
    #[inline]
    pub fn note(&self, place: usize, wrote: bool) -> Change {
        let commits = self.place(place);
        if !commits.changed.replace(true) {
            self.changed.borrow_mut().push(place);
            self.work.raise();
        }
        Change {
            place,
            commit: commits.open.get(),
            wrote,
            owes: false,
        }
    }

    /// As [`CommitQueue::note`] for a command of a client, which also waits for what `partition` owes because of it.
    #[inline]
    pub fn note_command(&self, partition: &Partition, place: usize, wrote: bool) -> Change {
        Change {
            owes: partition.owes_in_open_record(),
            ..self.note(place, wrote)
        }
    }

    /// What the deliveries that these changes have waited for have caused elsewhere.
    pub fn chained_after(&self, changes: &[Change]) -> Chained {
        let mut chained = Vec::new();
        for change in changes.iter().filter(|change| change.owes) {
            self.place(change.place)
                .followers
                .borrow()
                .of(change.commit, &mut chained);
        }
        chained
    }

    /// Everything that the partition owed by this commit is delivered, or will be later; it has caused this.
    pub fn delivered(&self, place: usize, commit: u64, chained: Chained) {
        let commits = self.place(place);
        commits.followers.borrow_mut().keep(commit, chained);
        commits.delivered.set(commits.delivered.get().max(commit));
        self.passed.wake_all();
    }

    /// Something can be delivered.
    pub fn raise_delivery(&self) {
        self.delivery_work.raise();
    }

    /// Waits until something has to be delivered.
    pub async fn wait_for_deliveries(&self) {
        self.delivery_work.wait().await;
    }

    /// The last commit of the partition that is in the log.
    pub fn last_written(&self, place: usize) -> Change {
        Change {
            place,
            commit: self.place(place).written.get(),
            wrote: true,
            owes: false,
        }
    }

    fn is_done(&self, change: &Change, durable: bool) -> bool {
        let commits = self.place(change.place);
        let wait_for_disk =
            change.wrote && (commits.fsync == Fsync::Always || (durable && commits.fsync != Fsync::No));
        let reached = if wait_for_disk {
            commits.synced.get()
        } else {
            commits.written.get()
        };
        let is_delivered = !change.owes || commits.delivered.get() >= change.commit;
        (reached >= change.commit && is_delivered) || commits.has_failed(change.commit)
    }

    /// Waits until all `changes` are committed. False if one of them failed: its outcome is unknown.
    pub async fn wait(&self, changes: &[Change]) -> bool {
        self.wait_for(changes, false).await
    }

    /// As [`CommitQueue::wait`], but also waits for the disk unless the policy is `no`.
    pub async fn wait_durable(&self, changes: &[Change]) -> bool {
        self.wait_for(changes, true).await
    }

    /// Waits until `is_ready` says so, which is asked after every pass of commits.
    pub async fn wait_until(&self, is_ready: impl FnMut() -> bool) {
        self.passed.wait_until(is_ready).await;
    }

    async fn wait_for(&self, changes: &[Change], durable: bool) -> bool {
        if changes.is_empty() {
            return true;
        }
        self.passed
            .wait_until(|| changes.iter().all(|change| self.is_done(change, durable)))
            .await;
        changes
            .iter()
            .all(|change| !self.place(change.place).has_failed(change.commit))
    }

    /// The partition is being closed: what is not yet as durable as its policy says never will be.
    pub fn fail(&self, place: usize) {
        let commits = self.place(place);
        let reached = if commits.fsync == Fsync::Always {
            commits.synced.get()
        } else {
            commits.written.get()
        };
        commits.failed.set((reached + 1, commits.open.get()));
        commits.synced.set(commits.open.get());
        commits.written.set(commits.open.get());
        commits.open.set(commits.open.get() + 1);
        self.passed.wake_all();
    }

    /// `None` while `changes` are not all committed; then whether all of them succeeded.
    pub fn outcome(&self, changes: &[Change]) -> Option<bool> {
        let done = changes.iter().all(|change| self.is_done(change, false));
        done.then(|| {
            changes
                .iter()
                .all(|change| !self.place(change.place).has_failed(change.commit))
        })
    }

    /// True if everything that was changed is in the log.
    pub fn is_idle(&self) -> bool {
        self.changed.borrow().is_empty()
    }
}

/// The commit task of a lane: runs for ever.
pub async fn commit_loop(shell: Rc<LaneShell>) {
    loop {
        shell.commits.work.wait().await;
        loop {
            match commit_changed(&shell) {
                Pass::Done => break,
                Pass::HasMore => glommio::executor().yield_now().await,
                Pass::Stalled => glommio::timer::sleep(STALL_RETRY).await,
            }
        }
    }
}

/// How a pass of commits has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Done,
    /// There is more to seal: in passes of its own, so that nobody waits for all of it.
    HasMore,
    /// Some partitions have to be tried again.
    Stalled,
}

/// Commits every changed partition once.
fn commit_changed(shell: &Rc<LaneShell>) -> Pass {
    let queue = &shell.commits;
    let mut places = queue.changed.take();
    let mut lane = shell.lane.borrow_mut();
    let lane = &mut *lane;
    let (mut stalled, mut unfinished) = (Vec::new(), Vec::new());
    for place in places.drain(..) {
        let commits = queue.place(place);
        commits.changed.set(false);
        let Some(PartitionSlot::Open(partition)) = lane.partitions.get_mut(place) else {
            queue.fail(place);
            continue;
        };
        if partition.batches.is_frozen() {
            commits.changed.set(true);
            stalled.push(place);
            continue;
        }
        match partition.commit(&mut lane.scratch) {
            Committed::Written { bytes } => {
                commits.written.set(commits.open.get());
                commits.open.set(commits.open.get() + 1);
                lane.counters.commits += 1;
                shell.notices.add(partition.take_events());
                lane.counters.commit_bytes += bytes as u64;
                if commits.fsync == Fsync::Always {
                    queue.sync_work.raise();
                }
                if partition.undelivered() > 0 {
                    queue.delivery_work.raise();
                }
                if partition.has_more_to_seal() {
                    commits.changed.set(true);
                    unfinished.push(place);
                }
            }
            Committed::Stalled => {
                lane.counters.commit_stalls += 1;
                shell.shared.background.note_held_up();
                commits.changed.set(true);
                stalled.push(place);
            }
            Committed::Failed(error) => {
                lane.counters.commit_failures += 1;
                queue.fail(place);
                supervisor::close_partition(shell, &mut lane.partitions, place, error);
            }
        }
    }
    shell.pass_commit(lane);
    let mut changed = queue.changed.borrow_mut();
    if changed.is_empty() {
        *changed = places;
    }
    let pass = match (stalled.is_empty(), unfinished.is_empty()) {
        (false, _) => Pass::Stalled,
        (true, false) => Pass::HasMore,
        (true, true) => Pass::Done,
    };
    changed.extend(stalled);
    changed.extend(unfinished);
    drop(changed);
    queue.passed.wake_all();
    pass
}

/// Forces the log of every partition with unsynced commits to the disk, on the blocking pool, all in one go.
/// With `always_only`, only those whose replies wait for it.
pub async fn sync_partitions(shell: &Rc<LaneShell>, always_only: bool) {
    let queue = &shell.commits;
    let due: Vec<(usize, u64)> = queue
        .places
        .iter()
        .enumerate()
        .filter(|(_, commits)| !always_only || commits.fsync == Fsync::Always)
        .map(|(place, commits)| (place, commits.written.get()))
        .filter(|(place, written)| *written > queue.place(*place).synced.get())
        .collect();
    let databases: Vec<_> = {
        let mut lane = shell.lane.borrow_mut();
        due.iter()
            .filter_map(|(place, written)| {
                Some((*place, *written, lane.partition(*place).ok()?.database().clone()))
            })
            .collect()
    };
    if databases.is_empty() {
        return;
    }
    let results = blocking::run(move || {
        let sync = |(place, written, database): (usize, u64, crate::store::Database)| {
            (place, written, database.sync())
        };
        databases.into_iter().map(sync).collect::<Vec<_>>()
    })
    .await;
    let mut lane = shell.lane.borrow_mut();
    for (place, written, result) in results {
        lane.counters.fsyncs += 1;
        match result {
            Ok(()) => queue.place(place).synced.set(written),
            Err(error) => {
                // After a failed fsync the page cache cannot be trusted: never retry and acknowledge.
                queue.fail(place);
                supervisor::close_partition(shell, &mut lane.partitions, place, error);
            }
        }
    }
    shell.pass_commit(&mut lane);
    drop(lane);
    queue.passed.wake_all();
}

/// The fsync task for `fsync = "always"`: one fdatasync is shared by all turns that wait when it starts.
pub async fn sync_loop(shell: Rc<LaneShell>) {
    loop {
        shell.commits.sync_work.wait().await;
        sync_partitions(&shell, true).await;
    }
}
