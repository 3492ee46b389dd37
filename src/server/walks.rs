//! Walks over all keys of all lanes: SCAN, KEYS, RANDOMKEY and what a cluster's slot holds.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::command::ReportKinds;
use crate::lane::KeyFilter;
use crate::resp::Reply;

use super::lane_shell::LaneShell;
use super::message::{Answer, LaneRequest, ScanStep, UNEXPECTED_ANSWER};
use super::plans::gather_reports;
use super::requests::{ask, ask_all};
use super::scan_cursors::{Walk, lane_of};

/// Keys of a walk fetched per step when all of them are wanted.
const KEYS_STEP: usize = 4096;

/// Stretches of partitions that one SCAN looks at, if they are all shorter than its COUNT.
const SCAN_STEPS_MAX: usize = 256;

/// SCAN: some keys from `cursor` on, about `count` of them, and the cursor that goes on behind them.
pub(super) async fn scan(
    shell: &Rc<LaneShell>,
    cursor: u64,
    count: usize,
    filter: KeyFilter,
    reply: &mut Reply,
) {
    let mut walk = walk_of(shell, cursor).await;
    let mut found = Vec::new();
    let mut next = None;
    let is_plain = filter.pattern.is_none() && filter.key_type.is_none();
    // Small partitions share a call, within reason: a walk over few keys ends in its first call, as clients know it.
    for _ in 0..SCAN_STEPS_MAX {
        let left = count.saturating_sub(found.len());
        match scan_step(shell, &mut walk, left, &filter).await {
            Err(text) => {
                reply.error(&text);
                return;
            }
            Ok(keys) => found.extend(keys),
        }
        next = (walk.lane < shell.shared.directory.lanes()).then(|| walk.clone());
        let goes_on = walk.is_at_a_beginning() || (is_plain && found.is_empty());
        if next.is_none() || found.len() >= count || !goes_on {
            break;
        }
    }
    let cursor = next.map_or(0, |walk| shell.scan_cursors.borrow_mut().keep(shell.id(), walk));
    reply.array(2);
    reply.bulk_display(cursor);
    reply.array(found.len());
    found.iter().for_each(|key| reply.bulk(key));
}

/// The walk that a cursor goes on with; one from the beginning if there is none, or not any more.
async fn walk_of(shell: &Rc<LaneShell>, cursor: u64) -> Walk {
    let lane = lane_of(cursor);
    let known = if cursor == 0 {
        None
    } else if lane != shell.id() && lane < shell.shared.directory.lanes() {
        match ask(shell, lane, LaneRequest::FindCursor(cursor)).await {
            Answer::Walk(walk) => walk,
            _ => None,
        }
    } else {
        shell.scan_cursors.borrow().find(cursor)
    };
    known.unwrap_or_else(|| walk_from_beginning(shell))
}

fn walk_from_beginning(shell: &LaneShell) -> Walk {
    Walk {
        lane: 0,
        place: 0,
        position: None,
        started_s: (shell.lane.borrow().clock.now_ms() / 1000) as u32,
    }
}

/// One step of a walk; moves it to the next partition or lane at the end of one.
async fn scan_step(
    shell: &Rc<LaneShell>,
    walk: &mut Walk,
    count: usize,
    filter: &KeyFilter,
) -> Result<Vec<Box<[u8]>>, String> {
    let directory = &shell.shared.directory;
    while walk.lane < directory.lanes() && walk.place >= directory.plan(walk.lane).len() {
        *walk = Walk {
            lane: walk.lane + 1,
            place: 0,
            position: None,
            started_s: walk.started_s,
        };
    }
    if walk.lane >= directory.lanes() {
        return Ok(Vec::new());
    }
    let step = ScanStep {
        place: walk.place,
        position: walk.position.take(),
        count,
        filter: filter.clone(),
        started_s: walk.started_s,
    };
    match ask(shell, walk.lane, LaneRequest::Scan(step)).await {
        Answer::Keys(keys, position) => {
            if position.is_none() {
                walk.place += 1;
                while walk.lane < directory.lanes() && walk.place >= directory.plan(walk.lane).len() {
                    (walk.lane, walk.place) = (walk.lane + 1, 0);
                }
            }
            walk.position = position;
            Ok(keys)
        }
        Answer::Refused(text) => Err(text),
        _ => Err(UNEXPECTED_ANSWER.into()),
    }
}

/// KEYS: all keys that `filter` lets pass, in order.
pub(super) async fn keys(shell: &Rc<LaneShell>, filter: KeyFilter, reply: &mut Reply) {
    let mut walk = walk_from_beginning(shell);
    let mut all = BTreeSet::new();
    while walk.lane < shell.shared.directory.lanes() {
        match scan_step(shell, &mut walk, KEYS_STEP, &filter).await {
            Ok(keys) => all.extend(keys),
            Err(text) => {
                reply.error(&text);
                return;
            }
        }
    }
    reply.array(all.len());
    all.iter().for_each(|key| reply.bulk(key));
}

/// RANDOMKEY: some key, of a partition drawn by how many it has.
pub(super) async fn random_key(shell: &Rc<LaneShell>, reply: &mut Reply) {
    let reports = gather_reports(shell, ReportKinds::BASIC).await;
    let total: u64 = reports.partitions().map(|(_, partition)| partition.keys).sum();
    for _ in 0..4 {
        let mut pick = fastrand::u64(..total.max(1));
        for lane in &reports.lanes {
            for (place, partition) in lane.partitions.iter().enumerate() {
                if pick < partition.keys {
                    let request = LaneRequest::RandomKey { place };
                    if let Answer::Keys(keys, _) = ask(shell, lane.lane, request).await
                        && let Some(key) = keys.first()
                    {
                        reply.bulk(key);
                        return;
                    }
                }
                pick = pick.wrapping_sub(partition.keys);
                if pick > total {
                    break;
                }
            }
        }
    }
    reply.null();
}

/// CLUSTER COUNTKEYSINSLOT, or with a `limit` CLUSTER GETKEYSINSLOT.
pub(super) async fn keys_in_slot(shell: &Rc<LaneShell>, slot: u16, limit: Option<usize>, reply: &mut Reply) {
    let answers = ask_all(shell, |_| LaneRequest::KeysInSlot { slot, limit }).await;
    let (mut count, mut all) = (0, Vec::new());
    for answer in answers {
        match answer {
            Answer::Count(found) => count += found,
            Answer::Keys(keys, _) => all.extend(keys),
            _ => {}
        }
    }
    match limit {
        None => reply.integer(count as i64),
        Some(limit) => {
            all.truncate(limit);
            reply.array(all.len());
            all.iter().for_each(|key| reply.bulk(key));
        }
    }
}
