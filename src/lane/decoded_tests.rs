//! Kept chunks and what reads find among them.

use proptest::prelude::*;

use super::*;
use crate::series::Sample;

/// Chunks of four samples, ten apart, with gaps between some of them.
fn chunk(number: i64) -> Columns {
    let start = number * 100 + (number % 3) * 7;
    (0..4)
        .map(|index| Sample::new(start + index * 10, index as f64))
        .collect()
}

const CHUNKS: i64 = 12;

fn wanted(from: i64, to: i64, limit: usize, reverse: bool) -> Wanted {
    let last = chunk(CHUNKS - 1);
    Wanted {
        series_id: 1,
        member: 3,
        from,
        to,
        limit,
        reverse,
        oldest: 0,
        newest: last.timestamps[3],
    }
}

fn found(kept: &DecodedChunks, wanted: &Wanted) -> Result<Vec<i64>, Missing> {
    let mut parts = Parts::default();
    kept.find(wanted, &mut parts)?;
    Ok(samples_of(kept, wanted, &parts))
}

fn samples_of(kept: &DecodedChunks, wanted: &Wanted, parts: &Parts) -> Vec<i64> {
    let mut all = Vec::new();
    for (columns, range) in kept.runs(parts) {
        let run = columns.timestamps[range].iter().copied();
        if wanted.reverse {
            all.extend(run.rev());
        } else {
            all.extend(run);
        }
    }
    assert_eq!(all.len(), parts.samples);
    all
}

fn expected(wanted: &Wanted) -> Vec<i64> {
    let all = (0..CHUNKS).flat_map(|number| chunk(number).timestamps);
    let mut all: Vec<i64> = all.filter(|at| (wanted.from..=wanted.to).contains(at)).collect();
    if wanted.reverse {
        all.reverse();
    }
    all.truncate(wanted.limit);
    all
}

fn keep_all(numbers: impl Iterator<Item = i64>) -> DecodedChunks {
    let mut kept = DecodedChunks::default();
    kept.set_limit(1 << 20);
    for number in numbers {
        let before = if number == 0 {
            0
        } else {
            chunk(number - 1).timestamps[3] + 1
        };
        assert!(kept.insert(1, before, chunk(number)));
    }
    kept
}

#[test]
fn what_is_not_kept_is_missed() {
    let kept = keep_all([0, 1, 3].into_iter());
    assert_eq!(found(&kept, &wanted(0, 137, 100, false)).unwrap().len(), 8);
    let behind = chunk(1).timestamps[3] + 1;
    assert_eq!(
        found(&kept, &wanted(0, 240, 100, false)),
        Err(Missing::At(behind))
    );
    assert_eq!(
        found(&kept, &wanted(0, 330, 5, true)).unwrap_err(),
        Missing::At(chunk(2).timestamps[3])
    );
    assert!(found(&kept, &wanted(300, 330, 5, true)).is_ok());
    assert_eq!(
        found(&kept, &wanted(400, 500, 1, false)).unwrap_err(),
        Missing::At(400)
    );
}

#[test]
fn a_gap_before_a_kept_chunk_is_known_from_both_sides() {
    let mut kept = DecodedChunks::default();
    kept.set_limit(1 << 20);
    assert!(kept.insert(1, chunk(5).timestamps[0], chunk(5)));
    let inside = chunk(4).timestamps[3] + 5;
    assert!(found(&kept, &wanted(inside, inside + 200, 1, false)).is_err());
    kept.extend_back(1, chunk(5).timestamps[0], chunk(4).timestamps[3]);
    assert_eq!(
        found(&kept, &wanted(inside, inside + 200, 1, false)).unwrap(),
        [chunk(5).timestamps[0]]
    );
    assert_eq!(found(&kept, &wanted(inside, inside + 1, 9, true)).unwrap(), []);
}

#[test]
fn no_more_is_kept_than_allowed_and_forgetting_gives_all_back() {
    let mut kept = DecodedChunks::default();
    kept.set_limit(4_000);
    for series_id in 0..100 {
        assert!(kept.insert(series_id, 0, chunk(0)));
        assert!(kept.used_bytes() <= 4_000);
    }
    assert!(kept.used_bytes() > 2_000);
    (0..100).for_each(|series_id| kept.forget(series_id));
    assert_eq!((kept.used_bytes(), kept.by_series.len()), (0, 0));
    kept.set_limit(0);
    assert!(!kept.insert(1, 0, chunk(0)));
}

proptest! {
    #[test]
    fn finds_what_a_list_holds_or_says_that_it_is_missing(
        from in -50i64..1_300, length in 0i64..1_300, limit in 1usize..50, reverse in any::<bool>(),
        dropped in prop::collection::vec(0..CHUNKS, 0..4),
    ) {
        let wanted = wanted(from, from + length, limit, reverse);
        let all = found(&keep_all(0..CHUNKS), &wanted);
        if all != Err(Missing::TooMuch) {
            prop_assert_eq!(all.unwrap(), expected(&wanted));
        }
        let some = keep_all((0..CHUNKS).filter(|number| !dropped.contains(number)));
        if let Ok(samples) = found(&some, &wanted) {
            prop_assert_eq!(samples, expected(&wanted));
        }
    }

    #[test]
    fn what_answered_the_last_read_answers_only_what_it_holds_whole(
        reads in prop::collection::vec((-50i64..1_300, 0i64..400, 0usize..6, any::<bool>()), 1..40),
        dropped in prop::collection::vec(0..CHUNKS, 0..3), forgotten in any::<bool>(),
    ) {
        let mut kept = keep_all((0..CHUNKS).filter(|number| !dropped.contains(number)));
        let mut parts = Parts::default();
        for (number, (from, length, limit, reverse)) in reads.into_iter().enumerate() {
            let wanted = wanted(from, from + length, limit, reverse);
            if kept.find_again(&wanted, &mut parts).is_some() {
                prop_assert_eq!(samples_of(&kept, &wanted, &parts), expected(&wanted));
            }
            if kept.find(&wanted, &mut parts).is_ok() {
                kept.note_found(&wanted, &parts);
                let slot = parts.places[0].0;
                let holds = |chunk: &Kept| wanted.from >= chunk.first && wanted.to <= chunk.last;
                if parts.count == 1 && holds(kept.kept(slot).unwrap()) {
                    prop_assert!(kept.find_again(&wanted, &mut parts).is_some());
                }
            }
            if forgotten && number == 20 {
                // Another series gets the slots.
                kept.forget(1);
                kept.insert(2, 0, chunk(0));
                prop_assert!(kept.find_again(&wanted, &mut parts).is_none());
            }
        }
    }
}
