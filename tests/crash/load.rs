//! The writers of the crash test: numbered operations, and what must be found of them.

use crate::support::{Client, Value};

/// What a load writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SET of one key out of many.
    Set,
    /// SET and DEL of one key in turn.
    SetDelete,
    /// INCR of one counter.
    Increment,
    /// MSET of a group of keys on several lanes.
    MultiSet,
    /// MULTI, SET and INCR of keys on several lanes, EXEC.
    Transaction,
    /// TSDB_SET into one series.
    Sample,
    /// TSDB_MSET into series on several lanes.
    MultiSample,
    /// BATCH_SET and BATCH_FLUSH into series on several lanes.
    Batch,
    /// TSDB_MSET into series on several lanes; every third sample is late, and some replace others.
    LateSample,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 9] = [
        Kind::Set,
        Kind::SetDelete,
        Kind::Increment,
        Kind::MultiSet,
        Kind::Transaction,
        Kind::Sample,
        Kind::MultiSample,
        Kind::Batch,
        Kind::LateSample,
    ];

    /// Whether Redis does not know its commands.
    pub fn needs_ticklane(self) -> bool {
        matches!(
            self,
            Kind::Sample | Kind::MultiSample | Kind::Batch | Kind::LateSample
        )
    }

    /// How many groups of keys the operations take in turn.
    fn groups(self) -> u64 {
        match self {
            Kind::Set => 64,
            Kind::MultiSet => 5,
            Kind::Transaction => 3,
            Kind::SetDelete
            | Kind::Increment
            | Kind::Sample
            | Kind::MultiSample
            | Kind::Batch
            | Kind::LateSample => 1,
        }
    }
}

/// One writer's keys and counts.
pub struct Load {
    kind: Kind,
    /// Part of every key, so that loads do not meet.
    name: String,
    /// Number of the last operation that was sent; the first is 1.
    pub sent: u64,
    /// The value of `sent` when the server's data was last checked: nothing may have changed while it stands.
    checked: u64,
    /// Operations that were acknowledged, over all cycles.
    pub acknowledged: u64,
    /// Per group, the number of the newest operation known to have happened; 0 is none.
    floors: Vec<u64>,
}

impl Load {
    /// A load with keys of its own.
    pub fn new(kind: Kind, cycle: usize) -> Load {
        let floors = vec![0; kind.groups() as usize];
        Load {
            kind,
            name: format!("{kind:?}{cycle}"),
            sent: 0,
            checked: 0,
            acknowledged: 0,
            floors,
        }
    }

    /// The commands of operation `number`.
    pub fn commands(&self, number: u64) -> Vec<Vec<String>> {
        let group = number % self.kind.groups();
        let keys = self.keys(group);
        let [a, b, c, d] = [&keys[0], &keys[1], &keys[2], &keys[3]];
        match self.kind {
            Kind::Set => vec![words(&["SET", a, &number.to_string()])],
            Kind::SetDelete if number.is_multiple_of(2) => vec![words(&["DEL", a])],
            Kind::SetDelete => vec![words(&["SET", a, &number.to_string()])],
            Kind::Increment => vec![words(&["INCR", a])],
            Kind::MultiSet => {
                let n = &number.to_string();
                vec![words(&["MSET", a, n, b, n, c, n, d, n])]
            }
            Kind::Transaction => vec![
                words(&["MULTI"]),
                words(&["SET", a, &number.to_string()]),
                words(&["INCR", b]),
                words(&["INCR", c]),
                words(&["GETSET", d, &number.to_string()]),
                words(&["EXEC"]),
            ],
            Kind::Sample => vec![words(&["TSDB_SET", a, &number.to_string(), &value_of(number)])],
            Kind::MultiSample | Kind::LateSample => {
                let timestamp = match self.kind {
                    Kind::LateSample => late_timestamp(number),
                    _ => number,
                };
                let (n, value) = (&timestamp.to_string(), &value_of(number));
                vec![words(&[
                    "TSDB_MSET",
                    a,
                    n,
                    value,
                    b,
                    n,
                    value,
                    c,
                    n,
                    value,
                    d,
                    n,
                    value,
                ])]
            }
            Kind::Batch => {
                let (n, value) = (&number.to_string(), &value_of(number));
                let mut commands: Vec<_> = keys
                    .iter()
                    .map(|key| words(&["BATCH_SET", key, value, n]))
                    .collect();
                commands.push(words(&["BATCH_FLUSH"]));
                commands
            }
        }
    }

    /// Four keys of different businesses, hence most likely of different lanes.
    fn keys(&self, group: u64) -> [String; 4] {
        ["stock_", "iot_", "", "order_"].map(|prefix| format!("{prefix}{}:{group}", self.name))
    }

    /// Notes that operation `number` was answered by `replies`.
    ///
    /// # Panics
    /// If an answer is not the one of a write that succeeded.
    pub fn acknowledge(&mut self, number: u64, replies: &[Value]) {
        let last = replies.last().expect("at least one reply");
        let good = match self.kind {
            Kind::Set | Kind::MultiSet | Kind::Sample | Kind::MultiSample | Kind::LateSample => last.is_ok(),
            Kind::SetDelete => last.is_ok() || *last == Value::Integer(1),
            Kind::Increment => *last == Value::Integer(number as i64),
            Kind::Transaction => last.elements().len() == 4 && !last.elements().iter().any(Value::is_error),
            Kind::Batch => *last == Value::Integer(4),
        };
        assert!(good, "{} operation {number} was answered by {last}", self.name);
        self.acknowledged += 1;
        let group = (number % self.kind.groups()) as usize;
        self.floors[group] = number;
    }

    /// Checks what the restarted server holds against what was sent and acknowledged, and goes on from there.
    ///
    /// # Panics
    /// If an acknowledged write is missing, a write is there in part, or a value was never written.
    pub fn check(&mut self, client: &mut Client, context: &str) {
        let context = format!("{}, {context}", self.name);
        match self.kind {
            Kind::Set => self.check_groups(client, 1, &context),
            Kind::MultiSet => self.check_groups(client, 4, &context),
            Kind::Transaction => self.check_transactions(client, &context),
            Kind::SetDelete => self.check_set_delete(client, &context),
            Kind::Increment => {
                let found = client.command(&["GET", &self.keys(0)[0]]).integer().unwrap_or(0);
                self.settle(found as u64, &context);
            }
            Kind::Sample => self.check_series(client, 1, &context),
            Kind::MultiSample | Kind::Batch => self.check_series(client, 4, &context),
            Kind::LateSample => self.check_late_series(client, &context),
        }
        self.checked = self.sent;
    }

    /// The `count` first keys of every group hold the same number, one that was sent and is not too old.
    fn check_groups(&mut self, client: &mut Client, count: usize, context: &str) {
        for group in 0..self.kind.groups() {
            let keys = self.keys(group);
            let numbers: Vec<u64> = keys[..count]
                .iter()
                .map(|key| client.command(&["GET", key]).integer().unwrap_or(0) as u64)
                .collect();
            let number = numbers[0];
            assert!(
                numbers.iter().all(|other| *other == number),
                "{keys:?} hold {numbers:?}, {context}"
            );
            self.check_number(group, number, context);
        }
    }

    /// `number` is one that may be found in `group`; from now on it is known to have happened.
    fn check_number(&mut self, group: u64, number: u64, context: &str) {
        let floor = self.floors[group as usize];
        let sent = self.sent;
        assert!(
            number >= floor,
            "group {group}: found {number}, acknowledged {floor}, {context}"
        );
        assert!(
            number <= sent,
            "group {group}: found {number}, sent {sent}, {context}"
        );
        let own = number == 0 || number % self.kind.groups() == group;
        assert!(
            own,
            "group {group}: found {number}, which another group was given, {context}"
        );
        self.floors[group as usize] = number;
    }

    fn check_transactions(&mut self, client: &mut Client, context: &str) {
        for group in 0..self.kind.groups() {
            let [a, b, c, d] = self.keys(group);
            let replies = client.command(&["MGET", &a, &b, &c, &d]);
            let found: Vec<u64> = replies
                .elements()
                .iter()
                .map(|value| value.integer().unwrap_or(0) as u64)
                .collect();
            assert_eq!(
                found[0], found[3],
                "SET and GETSET of one transaction: {replies}, {context}"
            );
            assert_eq!(
                found[1], found[2],
                "both counters of the transactions: {replies}, {context}"
            );
            assert_eq!(
                found[0] == 0,
                found[1] == 0,
                "SET and INCR of one transaction: {replies}, {context}"
            );
            self.check_number(group, found[0], context);
        }
    }

    /// Odd operations set the key to their number, even ones delete it.
    fn check_set_delete(&mut self, client: &mut Client, context: &str) {
        let floor = self.floors[0];
        let found = client.command(&["GET", &self.keys(0)[0]]);
        match found.integer() {
            Some(number) => {
                assert!(number % 2 == 1, "found {number}, which was never set, {context}");
                self.settle(number as u64, context);
            }
            None => {
                let newest_delete = self.sent - self.sent % 2;
                assert!(
                    floor <= newest_delete,
                    "the key is gone; operation {floor} had set it, {context}"
                );
                // Which of the deletes it was cannot be seen; the oldest possible one is the weakest claim.
                self.floors[0] = floor + floor % 2;
                self.sent = newest_delete;
            }
        }
    }

    /// `found` operations of a strict sequence have happened; the next one continues from there.
    fn settle(&mut self, found: u64, context: &str) {
        self.check_number(0, found, context);
        self.sent = found;
    }

    /// The `count` first series hold exactly the samples 1, 2, ... up to one number, each with its own value.
    fn check_series(&mut self, client: &mut Client, count: usize, context: &str) {
        let keys = self.keys(0);
        let lengths: Vec<usize> = keys[..count]
            .iter()
            .map(|key| {
                let samples = client.command(&["TSDB_GET", key, "-", "+"]);
                assert!(!samples.is_error(), "{key}: {samples}, {context}");
                check_samples(key, samples.elements(), context);
                samples.elements().len()
            })
            .collect();
        let length = lengths[0];
        assert!(
            lengths.iter().all(|other| *other == length),
            "{keys:?} have {lengths:?} samples, {context}"
        );
        self.settle(length as u64, context);
    }

    /// All series hold what the operations 1, 2, ... up to one number have left.
    fn check_late_series(&mut self, client: &mut Client, context: &str) {
        let keys = self.keys(0);
        let found = keys.each_ref().map(|key| {
            let reply = client.command(&["TSDB_GET", key, "-", "+"]);
            assert!(!reply.is_error(), "{key}: {reply}, {context}");
            let samples = reply.elements().iter().map(|sample| {
                let parts = sample.elements();
                let timestamp = parts[0].integer().expect("a timestamp") as u64;
                (timestamp, parts[1].float().expect("a value") as u64)
            });
            samples.collect::<Vec<_>>()
        });
        for (key, samples) in keys.iter().zip(&found) {
            assert!(*samples == found[0], "{key} differs from {}, {context}", keys[0]);
        }
        // Nothing replaces the newest operation's sample.
        let last = found[0].iter().map(|sample| sample.1).max().unwrap_or(0);
        let mut expected = std::collections::BTreeMap::new();
        for number in 1..=last {
            expected.insert(late_timestamp(number), number);
        }
        let expected: Vec<(u64, u64)> = expected.into_iter().collect();
        let differs = found[0].iter().zip(&expected).find(|(left, right)| left != right);
        assert!(
            found[0] == expected,
            "{}: {} samples instead of {} after {last} operations, first difference {differs:?}, {context}",
            keys[0],
            found[0].len(),
            expected.len()
        );
        self.settle(last, context);
    }
}

/// The timestamp that operation `number` of a late load writes.
fn late_timestamp(number: u64) -> u64 {
    if number.is_multiple_of(3) {
        // Up to a few heads back; now and then a timestamp that exists.
        number.saturating_sub((number * 7919) % 601) + 1
    } else {
        number + 1
    }
}

fn check_samples(key: &str, samples: &[Value], context: &str) {
    for (index, sample) in samples.iter().enumerate() {
        let number = index as u64 + 1;
        let parts = sample.elements();
        let good = parts.len() == 3
            && parts[0] == Value::Integer(number as i64)
            && parts[1].float() == value_of(number).parse().ok();
        assert!(good, "{key}: sample {number} is {sample}, {context}");
    }
}

/// The value that operation `number` writes: no two are equal, and none needs rounding.
fn value_of(number: u64) -> String {
    format!("{number}.25")
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
