//! Tests of the key table.

use super::*;

#[test]
fn memory_is_accounted_for() {
    let mut table = KeyTable::default();
    let place = table.insert(b"key", Value::String(b"abc"[..].into()), 0, StoredKey::default());
    table.set_string(place, b"xyz");
    table.set_string(place, b"longer");
    assert_eq!(table.memory_bytes(), ENTRY_BYTES + allocated(6));
    assert_eq!(table.find(b"key"), Some(place));
    assert!(matches!(&table.remove(place).unwrap().value, Value::String(v) if &**v == b"longer"));
    assert_eq!((table.memory_bytes(), table.len()), (0, 0));
}

#[test]
fn sought_keys_are_found_in_any_order_and_after_changes() {
    let mut table = KeyTable::default();
    let keys: Vec<String> = (0..SOUGHT_KEYS_MIN)
        .map(|number| format!("key:{number}"))
        .collect();
    for key in &keys {
        table.insert(key.as_bytes(), Value::Absent, 0, StoredKey::default());
    }
    let place_of = |table: &KeyTable, key: &str| {
        let found = table.find(key.as_bytes());
        found.inspect(|place| assert_eq!(table.at(*place).key(), key.as_bytes()))
    };
    table.begin_seeking();
    for key in keys.iter().take(16) {
        let sought = table.seek(key.as_bytes()).expect("it is there");
        assert_eq!(table.fetched(sought).map(Entry::key), Some(key.as_bytes()));
    }
    assert!(
        table
            .seek(b"nowhere")
            .is_none_or(|sought| table.fetched(sought).is_some())
    );
    for turn in [0, 0, 1, 3, 2, 4, 18, 5, 400, 6, 6] {
        assert!(place_of(&table, &keys[turn]).is_some(), "{turn}");
    }
    let removed = place_of(&table, "key:7").unwrap();
    table.remove(removed);
    assert_eq!(place_of(&table, "key:7"), None);
    table.insert(b"another", Value::Absent, 0, StoredKey::default());
    assert_eq!(place_of(&table, "key:7"), None);
    table.insert(b"key:7", Value::Absent, 0, StoredKey::default());
    for key in &keys {
        assert!(place_of(&table, key).is_some());
    }
}

#[test]
fn the_clock_spares_what_was_used() {
    let mut table = KeyTable::default();
    for key in [b"a", b"b", b"c"] {
        table.insert(key, Value::Absent, 0, StoredKey::default());
    }
    assert!(table.clock(9, |_| true).is_empty());
    let used = table.find(b"b").unwrap();
    table.at_mut(used).referenced = true;
    let victims = table.clock(9, |_| true);
    assert_eq!(victims.len(), 2);
    assert!(!victims.contains(&used));
}

#[test]
fn the_clock_hurries_only_where_entries_may_go() {
    let mut table = KeyTable::default();
    let keys: Vec<String> = (0..100_000).map(|number| format!("key:{number}")).collect();
    for key in &keys {
        table.insert(key.as_bytes(), Value::Absent, 0, StoredKey::default());
    }
    assert!((0..100).all(|_| table.clock(2_048, |_| false).is_empty()));
    assert_eq!(table.clock_steps, CLOCK_STEPS_MIN / 2, "nothing may go");
    let mut calls = 0;
    while table.len() > 1_000 {
        for place in table.clock(2_048, |_| true) {
            table.remove(place);
        }
        calls += 1;
    }
    assert!(calls < 200, "{calls} calls, a second at the usual heartbeat");
    assert!(table.clock(10, |_| true).len() <= 10);
}
