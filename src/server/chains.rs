//! Rules of rollups: whoever has written waits for the rollups behind the first ones too.
//!
//! A delivery waits for no other, or chains of rules could wait for each other in a circle. So its answer says which
//! commits owe something because of it, the commit queue of the lane that delivered keeps that for those who wait for
//! the first delivery, and clients, for whom nobody waits, follow it from lane to lane.

use std::collections::VecDeque;
use std::rc::Rc;

use super::commit::Change;
use super::lane_shell::LaneShell;
use super::message::{Answer, LaneRequest};
use super::requests::ask;

/// Commits on lanes, which owe something.
pub type Chained = Vec<(usize, Change)>;

/// Rules that are followed, one behind the other: no chain is longer (`rule_plans.rs`).
const STEPS_MAX: usize = 64;
/// What deliveries have caused is kept for so many of them. Who comes later, having waited for a delivery before, waits
/// for the first rollup only.
const KEPT_MAX: usize = 1_024;

/// What the deliveries of one partition have caused elsewhere.
#[derive(Default)]
pub struct Followers {
    /// Commit up to which was delivered, and what came of it; oldest first.
    kept: VecDeque<(u64, usize, Change)>,
}

impl Followers {
    /// Deliveries of what was owed up to `commit` have caused these.
    pub fn keep(&mut self, commit: u64, chained: Chained) {
        for (lane, change) in chained {
            if self.kept.len() >= KEPT_MAX {
                self.kept.pop_front();
            }
            self.kept.push_back((commit, lane, change));
        }
    }

    /// Adds what was caused by deliveries of what `commit` owed, or of later commits: of each partition the last one.
    pub fn of(&self, commit: u64, out: &mut Chained) {
        for (delivered, lane, change) in self.kept.iter().rev() {
            if *delivered < commit {
                break;
            }
            let is_same = |other: &&mut (usize, Change)| other.0 == *lane && other.1.place == change.place;
            match out.iter_mut().find(is_same) {
                Some((_, known)) => known.commit = known.commit.max(change.commit),
                None => out.push((*lane, *change)),
            }
        }
    }
}

/// Waits until what these commits owe is delivered, and what that causes, and so on.
pub async fn follow(shell: &Rc<LaneShell>, mut chained: Chained) {
    for _ in 0..STEPS_MAX {
        if chained.is_empty() {
            return;
        }
        let mut by_lane: Vec<Vec<Change>> = vec![Vec::new(); shell.shared.directory.lanes()];
        for (lane, change) in chained.drain(..) {
            if let Some(changes) = by_lane.get_mut(lane) {
                changes.push(change);
            }
        }
        for (lane, changes) in by_lane.into_iter().enumerate() {
            if changes.is_empty() {
                continue;
            }
            if let Answer::Chained(more) = ask(shell, lane, LaneRequest::AwaitDelivered(changes)).await {
                chained.extend(more);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(place: usize, commit: u64) -> Change {
        Change {
            place,
            commit,
            wrote: true,
            owes: true,
        }
    }

    #[test]
    fn who_waited_for_a_commit_learns_what_its_deliveries_caused() {
        let mut followers = Followers::default();
        followers.keep(5, vec![(1, change(0, 70))]);
        followers.keep(6, vec![(1, change(0, 71)), (2, change(3, 9))]);
        followers.keep(6, vec![(1, change(0, 72))]);
        let of = |commit| {
            let mut out = Vec::new();
            followers.of(commit, &mut out);
            out.sort_by_key(|each| each.0);
            out
        };
        assert!(of(7).is_empty());
        assert_eq!(of(6), [(1, change(0, 72)), (2, change(3, 9))]);
        assert_eq!(of(1).len(), 2, "one wait for each partition");
    }

    #[test]
    fn so_many_are_kept() {
        let mut followers = Followers::default();
        for commit in 0..2 * KEPT_MAX as u64 {
            followers.keep(commit, vec![(0, change(0, commit))]);
        }
        assert_eq!(followers.kept.len(), KEPT_MAX);
        assert_eq!(followers.kept.front().map(|each| each.0), Some(KEPT_MAX as u64));
    }
}
