//! Tables of summaries: what they know, how long, and in how much memory.

use super::*;
use crate::series::ValueSummary;

const LIMIT_BYTES: usize = 1 << 20;

/// The summary of ten samples from here on, one apart.
fn summary(first: i64) -> ChunkSummary {
    let values = [first as f64; 10];
    ChunkSummary {
        count: 10,
        first_timestamp: first,
        last_timestamp: first + 9,
        values: ValueSummary::of(&values),
    }
}

fn chunks(numbers: std::ops::Range<i64>) -> Vec<KnownChunk> {
    numbers
        .map(|number| KnownChunk::new(Tier::Hot, summary(number * 10)))
        .collect()
}

/// A series of so many chunks of ten samples.
fn sealed(chunks: u64) -> SealedState {
    SealedState {
        first_timestamp: 0,
        last_timestamp: chunks as i64 * 10 - 1,
        sequence: chunks,
        chunk_samples: chunks * 10,
        ..SealedState::default()
    }
}

fn lesson(series_id: u64, sealed: &SealedState, numbers: std::ops::Range<i64>) -> Lesson {
    Lesson {
        series_id,
        version: Version::of(sealed),
        range: Some((numbers.start * 10, numbers.end * 10 - 1)),
        chunks: chunks(numbers),
    }
}

fn tables() -> SummaryTables {
    let mut tables = SummaryTables::default();
    tables.set_limit(LIMIT_BYTES);
    tables
}

/// First timestamps of the chunks in the range, if they are known.
fn firsts(tables: &SummaryTables, sealed: &SealedState, from: i64, to: i64) -> Option<Vec<i64>> {
    let known = tables.find(1, &Version::of(sealed))?;
    let within = known.within(from, to).iter().map(KnownChunk::first).collect();
    known.covers(from, to).then_some(within)
}

#[test]
fn stretches_grow_together() {
    let (mut tables, state) = (tables(), sealed(100));
    tables.learn(lesson(1, &state, 10..20));
    tables.learn(lesson(1, &state, 30..40));
    assert_eq!(firsts(&tables, &state, 105, 119), Some(vec![100, 110]));
    assert_eq!(firsts(&tables, &state, 305, 305), Some(vec![300]));
    assert_eq!(firsts(&tables, &state, 99, 110), None);
    assert_eq!(firsts(&tables, &state, 190, 310), None);
    tables.learn(lesson(1, &state, 15..35));
    assert_eq!(
        firsts(&tables, &state, 100, 399),
        Some((10..40).map(|n| n * 10).collect())
    );
    assert_eq!(firsts(&tables, &sealed(99), 100, 110), None, "another state");
}

#[test]
fn only_what_reaches_the_newest_chunk_grows_with_a_seal() {
    for (known, is_extended) in [(80..100, true), (10..20, false)] {
        let (mut tables, before, after) = (tables(), sealed(100), sealed(102));
        let from = known.start * 10;
        let to = known.end * 10 - 1;
        tables.learn(lesson(1, &before, known));
        tables.append(1, &before, &after, vec![summary(1_000), summary(1_010)]);
        assert_eq!(firsts(&tables, &before, from, to), None);
        assert!(firsts(&tables, &after, from, to).is_some());
        let grown = firsts(&tables, &after, 995, 1_019);
        assert_eq!(grown, is_extended.then(|| vec![990, 1_000, 1_010]));
    }
}

#[test]
fn a_seal_of_anything_else_ends_a_table() {
    let before = sealed(100);
    let (mut late, mut deleted) = (sealed(101), sealed(101));
    late.late_samples = 1;
    deleted.set_deleted(vec![(5, 6)]);
    for (after, appended) in [(late, 1), (deleted, 1), (sealed(101), 0)] {
        let mut tables = tables();
        tables.learn(lesson(1, &before, 0..100));
        let appended = (0..appended).map(|_| summary(1_000)).collect();
        tables.append(1, &before, &after, appended);
        assert!(!tables.has(1));
        assert_eq!(tables.used_bytes(), 0);
    }
    let mut tables = tables();
    tables.learn(lesson(1, &sealed(99), 0..99));
    tables.append(1, &before, &sealed(101), vec![summary(1_000)]);
    assert!(!tables.has(1), "a table of another state");
}

#[test]
fn cuts_are_added_to_what_is_known() {
    let (mut tables, state) = (tables(), sealed(100));
    let decoded: Columns = (100..110)
        .map(|at| crate::series::Sample::new(at, at as f64))
        .collect();
    let cut = Cut::of(&decoded, 103).unwrap();
    assert_eq!((cut.before.count, cut.behind.count), (4, 6));
    assert_eq!(
        (cut.before.last_timestamp, cut.behind.first_timestamp),
        (103, 104)
    );
    assert_eq!((cut.before.values.sum, cut.behind.values.max), (406.0, 109.0));
    assert_eq!(Cut::of(&decoded, 99), None);
    assert_eq!(Cut::of(&decoded, 109), None);
    let cuts = || Lesson {
        range: None,
        chunks: vec![KnownChunk {
            cut: Some(Box::new(cut.clone())),
            ..chunks(10..11).remove(0)
        }],
        ..lesson(1, &state, 0..0)
    };
    tables.learn(cuts());
    assert!(!tables.has(1), "cuts alone are no table");
    tables.learn(lesson(1, &state, 0..100));
    let plain_bytes = tables.used_bytes();
    for _ in 0..2 {
        tables.learn(cuts());
        assert_eq!(tables.used_bytes(), plain_bytes + size_of::<Cut>());
    }
    let known = tables.find(1, &Version::of(&state)).unwrap();
    assert_eq!(known.within(100, 100)[0].cut.as_deref(), Some(&cut));
    assert_eq!(known.within(0, 999).len(), 100);
    // A walk on the blocking pool has it still.
    tables.append(1, &state, &sealed(101), vec![summary(1_000)]);
    assert_eq!(known.within(0, 2_000).len(), 100);
    assert_eq!(
        firsts(&tables, &sealed(101), 0, 1_009).map(|all| all.len()),
        Some(101)
    );
}

#[test]
fn a_table_that_grows_for_ever_loses_its_oldest_chunks() {
    let mut tables = SummaryTables::default();
    tables.set_limit(1 << 30);
    let count = CHUNKS_MAX as i64;
    let (before, after) = (sealed(count as u64), sealed(count as u64 + 1));
    tables.learn(lesson(1, &before, 0..count));
    tables.append(1, &before, &after, vec![summary(count * 10)]);
    let oldest = count / CHUNKS_SHARE_DROPPED as i64 * 10;
    assert_eq!(firsts(&tables, &after, oldest - 1, oldest), None);
    let left = firsts(&tables, &after, oldest, count * 10 + 9).unwrap();
    assert_eq!((left.len() as i64, left[0]), (count - count / 4 + 1, oldest));
    tables.learn(lesson(1, &after, 0..count + 1));
    assert_eq!(firsts(&tables, &after, 0, 10), None, "more than one table has");
}

#[test]
fn tables_stay_within_their_share_and_those_in_use_stay() {
    let (mut tables, state) = (tables(), sealed(100));
    for series_id in 1..1_000 {
        tables.learn(lesson(series_id, &state, 0..100));
        assert!(tables.find(1, &Version::of(&state)).is_some(), "{series_id}");
        assert!(tables.used_bytes() <= LIMIT_BYTES / LIMIT_SHARE);
        assert_eq!(tables.rest_bytes() + tables.used_bytes(), LIMIT_BYTES);
    }
    assert!(tables.tables.len() > 20 && !tables.has(2));
    let bytes: usize = tables.tables.iter().map(|table| table.known.bytes()).sum();
    assert_eq!(bytes, tables.used_bytes());
    let other = tables.tables[1].series_id;
    tables.forget(other);
    assert!(!tables.has(other) && tables.has(1));
    tables.set_limit(0);
    assert_eq!(
        (tables.used_bytes(), tables.tables.len(), tables.by_series.len()),
        (0, 0, 0)
    );
    tables.learn(lesson(1, &state, 0..100));
    assert!(!tables.has(1));
}

#[test]
fn what_the_pool_leaves_is_bounded() {
    let (tables, state) = (tables(), sealed(100));
    for series_id in 0..2 * LESSONS_MAX as u64 {
        tables.lessons().leave(lesson(series_id, &state, 0..1));
    }
    assert_eq!(tables.take_lessons().len(), LESSONS_MAX);
    assert!(tables.take_lessons().is_empty());
}
