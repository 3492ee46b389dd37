//! What a run of the model test does, step by step: drawn from a seed, printed and shrunk when the run fails.

/// One step. Numbers are raw: a run takes them modulo what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Samples after the newest one of a series.
    Append {
        key: u8,
        data_type: u8,
        count: u8,
        gap: u8,
    },
    /// Samples anywhere up to the newest one, existing timestamps included.
    Late {
        key: u8,
        data_type: u8,
        count: u16,
        seed: u16,
    },
    /// A range of a series is deleted; sometimes up to its newest sample, or all of it.
    DeleteRange {
        key: u8,
        data_type: u8,
        from: u16,
        len: u16,
    },
    /// A batch of several partitions writes to a series and deletes a range of it while checkpoints and commits go on;
    /// then its part is committed, or the process ends before. Sometimes it replaces or deletes the key instead.
    Batch {
        key: u8,
        data_type: u8,
        from: u16,
        len: u16,
        pieces: u8,
        crash: bool,
    },
    /// TS.CREATE or TS.ALTER with labels.
    Label { key: u8, number: u16 },
    /// TS.CREATERULE to a new destination.
    Rule { source: u8, destination: u8, number: u8 },
    /// Samples of a source of rules, after the newest one or (seed) anywhere before.
    Feed {
        source: u8,
        count: u8,
        gap: u8,
        seed: Option<u16>,
    },
    /// A range of a source of rules is deleted.
    DeleteFromSource { source: u8, from: u16, len: u16 },
    /// An end of rules is deleted.
    DeleteEnd { number: u8, is_source: bool },
    /// An end of rules gets another name.
    RenameEnd { from: u8, to: u8, is_source: bool },
    /// Everything that is owed is delivered.
    Deliver,
    /// SET.
    Text { key: u8, value: u8 },
    /// SETRANGE.
    Patch { key: u8, offset: u8, value: u8 },
    /// DEL.
    Delete { key: u8 },
    /// RENAME.
    Rename { from: u8, to: u8 },
    /// PEXPIREAT, some time from now; 0 = PERSIST.
    Expire { key: u8, after_s: u8 },
    /// FLUSHALL.
    Flush,
    /// What was done so far is durable.
    Commit,
    /// Time passes and the series are swept: idle heads are sealed with the next commit.
    Sweep { seconds: u8, over_budget: bool },
    /// A piece of checkpoint work.
    Checkpoint { pieces: u8 },
    /// Everything that is clean is forgotten.
    Evict,
    /// A piece of background work on chunks: folds late samples, drops expired chunks, moves chunks to the cold tier.
    Maintain { apply_later: bool },
    /// The background work that is under way ends.
    FinishMaintenance,
    /// A range is read and compared.
    Read {
        key: u8,
        data_type: u8,
        from: u16,
        len: u16,
        limit: u8,
        reverse: bool,
    },
    /// Buckets over a range are computed, three times, and compared.
    Aggregate {
        key: u8,
        data_type: u8,
        from: u16,
        len: u16,
        width: u8,
    },
    /// Everything is read and compared.
    ReadAll,
    /// The process ends without a word and starts again.
    Crash,
}

/// Draws `count` steps.
pub fn draw(random: &mut fastrand::Rng, count: usize) -> Vec<Step> {
    (0..count).map(|_| step(random)).collect()
}

fn step(random: &mut fastrand::Rng) -> Step {
    let (key, data_type) = (random.u8(..), random.u8(..));
    if random.u8(..) < 56 {
        return step_with_properties(random);
    }
    match random.u32(..236) {
        0..50 => Step::Append {
            key,
            data_type,
            count: random.u8(..),
            gap: random.u8(..),
        },
        50..75 => {
            let count = if random.u8(..) < 20 {
                random.u16(200..700)
            } else {
                random.u16(1..12)
            };
            Step::Late {
                key,
                data_type,
                count,
                seed: random.u16(..),
            }
        }
        75..80 => Step::Text {
            key,
            value: random.u8(..),
        },
        80..81 => Step::Patch {
            key,
            offset: random.u8(..),
            value: random.u8(..),
        },
        81..84 => Step::Delete { key },
        84..88 => Step::Rename {
            from: key,
            to: data_type,
        },
        88..90 => Step::Expire {
            key,
            after_s: random.u8(..),
        },
        90..91 => Step::Flush,
        91..121 => Step::Commit,
        121..131 => Step::Sweep {
            seconds: random.u8(..),
            over_budget: random.bool(),
        },
        131..153 => Step::Checkpoint {
            pieces: random.u8(..),
        },
        153..157 => Step::Evict,
        157..167 => Step::Maintain {
            apply_later: random.bool(),
        },
        167..173 => Step::FinishMaintenance,
        173..194 => Step::Read {
            key,
            data_type,
            from: random.u16(..),
            len: random.u16(..),
            limit: random.u8(..),
            reverse: random.bool(),
        },
        194..197 => Step::ReadAll,
        197..213 => Step::DeleteRange {
            key,
            data_type,
            from: random.u16(..),
            len: random.u16(..),
        },
        213..217 => Step::Batch {
            key,
            data_type,
            from: random.u16(..),
            len: random.u16(..),
            pieces: random.u8(..),
            crash: random.u8(..) < 80,
        },
        217..233 => Step::Aggregate {
            key,
            data_type,
            from: random.u16(..),
            len: random.u16(..),
            width: random.u8(..),
        },
        _ => Step::Crash,
    }
}

fn step_with_properties(random: &mut fastrand::Rng) -> Step {
    let (key, other) = (random.u8(..), random.u8(..));
    match random.u32(..100) {
        0..30 => Step::Label {
            key,
            number: random.u16(..),
        },
        30..40 => Step::Rule {
            source: key,
            destination: other,
            number: random.u8(..),
        },
        40..80 => Step::Feed {
            source: key,
            count: other,
            gap: random.u8(..),
            seed: random.bool().then(|| random.u16(..)),
        },
        80..88 => Step::DeleteFromSource {
            source: key,
            from: random.u16(..),
            len: random.u16(..),
        },
        88..90 => Step::DeleteEnd {
            number: key,
            is_source: random.bool(),
        },
        90..94 => Step::RenameEnd {
            from: key,
            to: other,
            is_source: random.bool(),
        },
        _ => Step::Deliver,
    }
}

/// Leaves out whatever is not needed for `fails` to stay true, within a number of tries.
pub fn shrink(steps: Vec<Step>, mut tries: usize, mut fails: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    let mut steps = steps;
    let mut piece = steps.len() / 2;
    while piece > 0 {
        let mut start = 0;
        while start < steps.len() && tries > 0 {
            let mut fewer = steps.clone();
            fewer.drain(start..steps.len().min(start + piece));
            tries -= 1;
            if fails(&fewer) {
                steps = fewer;
            } else {
                start += piece;
            }
        }
        piece /= 2;
    }
    steps
}
