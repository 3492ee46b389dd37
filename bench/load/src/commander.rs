//! Writes the next command of a connection: which kind, which key, which sample.

use fastrand::Rng;

use crate::keys::{KEY_DIGITS, KeySet, SeriesShare, write_digits};
use crate::pick::Picker;
use crate::template::{Fill, TIMESTAMP_DIGITS, Template, Values};

/// Random bytes that values are cut from.
const VALUE_POOL_BYTES: usize = 1 << 20;
/// Cents of the first price, and the span in which prices stay so that they keep their seven characters.
const CENTS_FIRST: u32 = 500_000;
const CENTS_MIN: u32 = 100_000;
const CENTS_MAX: u32 = 999_999;
/// Largest move of a price from one sample to the next, in cents.
const CENTS_STEP: u32 = 3;

/// Where samples lie in time.
#[derive(Clone, Copy, Debug)]
pub struct Timeline {
    /// Timestamp of the first sample in milliseconds.
    pub start_millis: u64,
    /// Milliseconds from sample to sample, at least 1.
    pub step_millis: u64,
    /// Largest deviation from it in milliseconds, below half of it.
    pub jitter_millis: u64,
    /// Share of samples that arrive late, as a threshold for 32 random bits.
    pub late_threshold: u64,
    /// How many samples a late one lies behind at least; at most twice as many.
    pub late_by: u64,
    /// Samples in each series before the run.
    pub preloaded: u64,
}

/// What all connections have in common.
#[derive(Debug)]
pub struct Plan {
    /// The templates and the upper bounds of their shares among all weights.
    pub templates: Vec<(Template, u32)>,
    /// Where samples lie in time.
    pub timeline: Timeline,
    /// How sample values look.
    pub values: Values,
    /// Series of a group that TS.MRANGE reads at once.
    pub group_series: u64,
    /// All samples of a command go to one series.
    pub one_series: bool,
    /// Exponent of the Zipf distribution, uniform if there is none.
    pub zipf: Option<f64>,
    /// Values of SET are cut from here.
    pub value_pool: Vec<u8>,
}

/// Letters and digits, twice the size of the largest value at least.
pub fn value_pool(value_bytes: usize, seed: u64) -> Vec<u8> {
    let mut rng = Rng::with_seed(seed);
    (0..VALUE_POOL_BYTES.max(2 * value_bytes))
        .map(|_| rng.alphanumeric() as u8)
        .collect()
}

/// The keys that a connection may use.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Of values.
    pub values: KeySet,
    /// Of counters.
    pub counters: KeySet,
    /// Of series.
    pub series: SeriesShare,
    /// Number of groups of series.
    pub groups: u64,
}

/// How far a series has come.
#[derive(Clone, Copy, Debug)]
struct SeriesState {
    written: u32,
    cents: u32,
}

/// The source of one connection's commands.
#[derive(Debug)]
pub struct Commander {
    rng: Rng,
    keys: Keys,
    value_picker: Picker,
    counter_picker: Picker,
    series_picker: Picker,
    group_picker: Picker,
    series: Vec<SeriesState>,
}

impl Commander {
    /// A source with a seed of its own.
    pub fn new(plan: &Plan, keys: Keys, seed: u64) -> Commander {
        let picker = |len| Picker::new(len, plan.zipf);
        let written = plan.timeline.preloaded.div_ceil(keys.series.sharers) as u32;
        Commander {
            rng: Rng::with_seed(seed),
            value_picker: picker(keys.values.len()),
            counter_picker: picker(keys.counters.len()),
            series_picker: picker(keys.series.keys.len()),
            group_picker: picker(keys.groups),
            series: vec![
                SeriesState {
                    written,
                    cents: CENTS_FIRST
                };
                keys.series.keys.len() as usize
            ],
            keys,
        }
    }

    /// Appends the next command to `out`; returns the number of its kind in the mix.
    #[inline]
    pub fn write_next(&mut self, plan: &Plan, out: &mut Vec<u8>) -> u8 {
        let kind = self.choose(plan);
        let template = &plan.templates[kind].0;
        let start = out.len();
        out.extend_from_slice(&template.bytes);
        let items = &mut out[start + template.head_len..];
        match template.fill {
            Fill::Nothing => {}
            Fill::Value => self.fill_values(plan, template, items),
            Fill::Counter => {
                let position = self.counter_picker.pick(&mut self.rng);
                let number = self.keys.counters.at(position);
                write_digits(&mut items[template.key_at..][..KEY_DIGITS], number);
            }
            Fill::Sample => self.fill_samples(plan, template, items),
            Fill::Range { samples, group } => {
                self.fill_range(&plan.timeline, template, items, samples, group)
            }
        }
        kind as u8
    }

    #[inline]
    fn choose(&mut self, plan: &Plan) -> usize {
        let [.., (_, total)] = plan.templates.as_slice() else {
            return 0;
        };
        if plan.templates.len() == 1 {
            return 0;
        }
        let drawn = self.rng.u32(0..*total);
        plan.templates
            .iter()
            .position(|(_, bound)| drawn < *bound)
            .unwrap_or(0)
    }

    #[inline]
    fn fill_values(&mut self, plan: &Plan, template: &Template, items: &mut [u8]) {
        for item in items.chunks_exact_mut(template.item_len) {
            let number = self.keys.values.at(self.value_picker.pick(&mut self.rng));
            write_digits(&mut item[template.key_at..][..KEY_DIGITS], number);
            if let Some((at, len)) = template.value {
                let from = self.rng.usize(0..=plan.value_pool.len() - len);
                item[at..at + len].copy_from_slice(&plan.value_pool[from..from + len]);
            }
        }
    }

    #[inline]
    fn fill_samples(&mut self, plan: &Plan, template: &Template, items: &mut [u8]) {
        let mut position = self.series_picker.pick(&mut self.rng);
        for item in items.chunks_exact_mut(template.item_len) {
            if !plan.one_series {
                position = self.series_picker.pick(&mut self.rng);
            }
            write_digits(
                &mut item[template.key_at..][..KEY_DIGITS],
                self.keys.series.keys.at(position),
            );
            if let (Some(at), Some((value_at, len))) = (template.timestamp_at, template.value) {
                let timestamp = self.next_timestamp(&plan.timeline, position);
                write_digits(&mut item[at..at + TIMESTAMP_DIGITS], timestamp);
                self.write_sample_value(plan.values, position, &mut item[value_at..value_at + len]);
            }
        }
    }

    /// The timestamp of the next sample of a series: after all before it, unless it is to be late.
    #[inline]
    fn next_timestamp(&mut self, timeline: &Timeline, position: u64) -> u64 {
        let state = &mut self.series[position as usize];
        let number = u64::from(state.written) * self.keys.series.sharers + self.keys.series.turn;
        if timeline.late_threshold > 0 && u64::from(self.rng.u32(..)) < timeline.late_threshold {
            let behind = timeline.late_by + self.rng.u64(0..timeline.late_by.max(1));
            let back = behind * timeline.step_millis;
            // Half a step aside, so that it never meets a sample that arrived in time.
            let timestamp = timeline.start_millis + number * timeline.step_millis + timeline.step_millis / 2;
            return timestamp.saturating_sub(back);
        }
        state.written += 1;
        timestamp_of(timeline, number, &mut self.rng)
    }

    #[inline]
    fn write_sample_value(&mut self, values: Values, position: u64, field: &mut [u8]) {
        match values {
            Values::Constant => field.copy_from_slice(b"1000.00"),
            Values::Noise => {
                field[..2].copy_from_slice(b"0.");
                write_digits(&mut field[2..], self.rng.u64(0..10_000_000_000_000_000));
            }
            Values::Walk => {
                let state = &mut self.series[position as usize];
                let moved = state.cents + self.rng.u32(0..=2 * CENTS_STEP) - CENTS_STEP;
                state.cents = moved.clamp(CENTS_MIN, CENTS_MAX);
                write_price(field, state.cents);
            }
        }
    }

    #[inline]
    fn fill_range(
        &mut self,
        timeline: &Timeline,
        template: &Template,
        item: &mut [u8],
        samples: u64,
        group: bool,
    ) {
        let number = match group {
            true => self.group_picker.pick(&mut self.rng),
            false => self.keys.series.keys.at(self.series_picker.pick(&mut self.rng)),
        };
        write_digits(&mut item[template.key_at..][..KEY_DIGITS], number);
        let first = self.rng.u64(0..=timeline.preloaded.saturating_sub(samples));
        let (from, to) = range_of(timeline, first, samples);
        for (at, timestamp) in [(template.timestamp_at, from), (template.timestamp_end_at, to)] {
            if let Some(at) = at {
                write_digits(&mut item[at..at + TIMESTAMP_DIGITS], timestamp);
            }
        }
    }
}

/// The timestamp of sample `number` in milliseconds.
#[inline]
pub fn timestamp_of(timeline: &Timeline, number: u64, rng: &mut Rng) -> u64 {
    let jitter = match timeline.jitter_millis {
        0 => 0,
        jitter => rng.u64(0..=2 * jitter),
    };
    timeline.start_millis + number * timeline.step_millis + jitter - timeline.jitter_millis
}

/// The first and last millisecond of a range that holds exactly `samples` samples from number `first` on.
fn range_of(timeline: &Timeline, first: u64, samples: u64) -> (u64, u64) {
    let from = timeline.start_millis + first * timeline.step_millis - timeline.jitter_millis;
    (from, from + samples * timeline.step_millis - 1)
}

/// Writes a price of seven characters.
#[inline]
pub fn write_price(field: &mut [u8], cents: u32) {
    write_digits(&mut field[..4], u64::from(cents / 100));
    field[4] = b'.';
    write_digits(&mut field[5..7], u64::from(cents % 100));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Names;
    use crate::workload::Mix;

    fn commander(mix: &str, late_share: f64) -> (Plan, Commander) {
        let names = Names {
            key_prefix: "key:".into(),
            series_prefix: "stock_".into(),
            value_bytes: 8,
            values: Values::Walk,
            bucket_millis: 1000,
        };
        let mut bound = 0;
        let mix: Mix = mix.parse().unwrap();
        let templates = mix.parts.iter().map(|(kind, weight)| {
            bound += weight;
            (Template::new(*kind, &names), bound)
        });
        let timeline = Timeline {
            start_millis: 1_700_000_000_000,
            step_millis: 1000,
            jitter_millis: 50,
            late_threshold: (late_share * 4_294_967_296.0) as u64,
            late_by: 2000,
            preloaded: 500,
        };
        let plan = Plan {
            templates: templates.collect(),
            timeline,
            values: Values::Walk,
            group_series: 10,
            one_series: false,
            zipf: None,
            value_pool: value_pool(8, 1),
        };
        let all = KeySet::all(100, None);
        let keys = Keys {
            values: all.clone(),
            counters: all.clone(),
            series: all.share(0, 10),
            groups: 10,
        };
        let commander = Commander::new(&plan, keys, 1);
        (plan, commander)
    }

    /// The arguments of the next command, which must be well formed.
    fn next((plan, commander): &mut (Plan, Commander)) -> Vec<String> {
        let mut out = Vec::new();
        commander.write_next(plan, &mut out);
        let text = String::from_utf8(out).unwrap();
        let mut lines = text.split("\r\n");
        let count: usize = lines.next().unwrap().strip_prefix('*').unwrap().parse().unwrap();
        let arguments = (0..count)
            .map(|_| {
                let len: usize = lines.next().unwrap().strip_prefix('$').unwrap().parse().unwrap();
                let argument = lines.next().unwrap().to_string();
                assert_eq!(argument.len(), len);
                argument
            })
            .collect();
        assert_eq!(lines.collect::<Vec<_>>(), [""]);
        arguments
    }

    #[test]
    fn every_kind_is_well_formed() {
        let all = "ping,set,get,incr,mset:3,tsdb_set,tsdb_mset:5,tsdb_get:7,ts_add,ts_madd:2,ts_get,ts_range:9,\
            ts_range_agg:10,ts_mrange:4";
        let mut commander = commander(all, 0.1);
        let names: std::collections::HashSet<String> =
            (0..2000).map(|_| next(&mut commander).swap_remove(0)).collect();
        assert_eq!(names.len(), 13, "{names:?}");
    }

    #[test]
    fn samples_of_a_series_ascend_and_belong_to_the_connection() {
        let mut commander = commander("tsdb_mset:20", 0.0);
        let mut newest = std::collections::HashMap::new();
        for _ in 0..200 {
            for sample in next(&mut commander)[1..].chunks(3) {
                let timestamp: u64 = sample[1].parse().unwrap();
                let before = newest
                    .insert(sample[0].clone(), timestamp)
                    .unwrap_or(1_700_000_499_000);
                assert!(timestamp > before, "{sample:?}");
                assert!(
                    sample[0].ends_with('0'),
                    "connection 0 of 10 owns every tenth: {sample:?}"
                );
                assert!((1000.0..10_000.0).contains(&sample[2].parse::<f64>().unwrap()));
            }
        }
        assert_eq!(newest.len(), 10);
    }

    #[test]
    fn late_samples_have_their_share_and_lie_far_behind() {
        let mut commander = commander("tsdb_set", 0.25);
        let mut newest = std::collections::HashMap::new();
        let mut late = 0;
        for _ in 0..20_000 {
            let sample = next(&mut commander);
            let timestamp: u64 = sample[2].parse().unwrap();
            let newest = newest.entry(sample[1].clone()).or_insert(1_700_000_498_000u64);
            if timestamp < *newest {
                late += 1;
                assert!(
                    *newest - timestamp >= 1_999_000 - 1_000,
                    "{}",
                    *newest - timestamp
                );
            }
            *newest = (*newest).max(timestamp);
        }
        assert!((4_700..5_300).contains(&late), "{late}");
    }

    #[test]
    fn a_range_holds_exactly_its_samples() {
        let mut commander = commander("tsdb_get:7", 0.0);
        let timeline = commander.0.timeline;
        let mut rng = Rng::with_seed(5);
        let samples: Vec<u64> = (0..500)
            .map(|number| timestamp_of(&timeline, number, &mut rng))
            .collect();
        for _ in 0..500 {
            let range = next(&mut commander);
            let bounds = range[2].parse::<u64>().unwrap()..=range[3].parse().unwrap();
            assert_eq!(
                samples.iter().filter(|sample| bounds.contains(sample)).count(),
                7,
                "{range:?}"
            );
        }
    }

    #[test]
    fn weights_are_kept() {
        let mut commander = commander("get=90,set=10", 0.0);
        let gets = (0..10_000).filter(|_| next(&mut commander)[0] == "GET").count();
        assert!((8_800..9_200).contains(&gets), "{gets}");
    }
}
