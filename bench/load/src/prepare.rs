//! What has to be there before the run: values for GET, series with samples for reads, labels for TS.MRANGE.

use fastrand::Rng;

use crate::commander::{Plan, timestamp_of, write_price};
use crate::keys::{KEY_DIGITS, KeySet};
use crate::template::{Names, TIMESTAMP_DIGITS, Template, push_argument};
use crate::workload::{Kind, Mix};

/// Samples of one command.
const SAMPLES_PER_COMMAND: u64 = 100;
/// The kinds of replies to preloading commands, in the order of [`KINDS`].
const KIND_SET: u8 = 0;
const KIND_CREATE: u8 = 1;
const KIND_SAMPLES: u8 = 2;

/// Preloading creates series that exist already as readily as others.
pub const TOLERATED_ERROR: &str = "TSDB: key already exists";

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Every key with a value.
    pub values: bool,
    /// TS.CREATE with a label for every series.
    pub create: bool,
    /// Samples in every series.
    pub samples: u64,
    /// They are sent with TS.MADD, else with TSDB_MSET.
    pub ts: bool,
}

impl Needs {
    /// What `mix` cannot do without; `samples` per series if it reads any.
    pub fn of(mix: &Mix, samples: u64) -> Needs {
        let reads_series = mix.any(Kind::reads_series);
        Needs {
            values: mix.any(|kind| kind == Kind::Get),
            create: mix.any(Kind::needs_created_series),
            samples: if reads_series { samples } else { 0 },
            ts: mix.any(Kind::needs_created_series),
        }
    }

    /// True if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        !self.values && !self.create && self.samples == 0
    }

    /// The kinds of commands that preloading sends, for the types of their replies.
    pub fn kinds(&self) -> Vec<Kind> {
        let samples = if self.ts {
            Kind::TsMadd(1)
        } else {
            Kind::TsdbMset(1)
        };
        // TS.CREATE is answered like SET.
        vec![Kind::Set, Kind::Set, samples]
    }

    /// Commands for so many keys with values and so many series.
    pub fn commands(&self, values: u64, series: u64) -> u64 {
        let per_series = self.samples.div_ceil(SAMPLES_PER_COMMAND) + u64::from(self.create);
        if self.values {
            values + series * per_series
        } else {
            series * per_series
        }
    }
}

/// One connection's share of the preloading.
#[derive(Debug)]
pub struct Preloader {
    needs: Needs,
    names: Names,
    value: Template,
    keys: KeySet,
    series: KeySet,
    next_key: u64,
    next_series: u64,
    /// Samples of the current series that are written; `None` before it is created.
    written: Option<u64>,
    rng: Rng,
}

impl Preloader {
    /// Writes the values of `keys` and the samples of `series`.
    pub fn new(needs: Needs, names: Names, keys: KeySet, series: KeySet, seed: u64) -> Preloader {
        Preloader {
            value: Template::new(Kind::Set, &names),
            needs,
            names,
            keys,
            series,
            next_key: 0,
            next_series: 0,
            written: None,
            rng: Rng::with_seed(seed),
        }
    }

    /// Appends the next command to `out`; `None` when all is written.
    pub fn write_next(&mut self, plan: &Plan, out: &mut Vec<u8>) -> Option<u8> {
        if self.needs.values && self.next_key < self.keys.len() {
            self.write_value(plan, out);
            return Some(KIND_SET);
        }
        while self.next_series < self.series.len() {
            let series = self.series.at(self.next_series);
            match self.written {
                None => {
                    self.written = Some(0);
                    if self.needs.create {
                        out.extend(Template::create_series(
                            &self.names,
                            series,
                            series / plan.group_series,
                        ));
                        return Some(KIND_CREATE);
                    }
                }
                Some(written) if written < self.needs.samples => {
                    let until = self.needs.samples.min(written + SAMPLES_PER_COMMAND);
                    self.write_samples(plan, series, written, until, out);
                    self.written = Some(until);
                    return Some(KIND_SAMPLES);
                }
                Some(_) => {
                    self.next_series += 1;
                    self.written = None;
                }
            }
        }
        None
    }

    fn write_value(&mut self, plan: &Plan, out: &mut Vec<u8>) {
        let start = out.len() + self.value.head_len;
        out.extend_from_slice(&self.value.bytes);
        let item = &mut out[start..];
        let number = self.keys.at(self.next_key);
        crate::keys::write_digits(&mut item[self.value.key_at..][..KEY_DIGITS], number);
        if let Some((at, len)) = self.value.value {
            let from = self.rng.usize(0..=plan.value_pool.len() - len);
            item[at..at + len].copy_from_slice(&plan.value_pool[from..from + len]);
        }
        self.next_key += 1;
    }

    fn write_samples(&mut self, plan: &Plan, series: u64, from: u64, until: u64, out: &mut Vec<u8>) {
        let name = if self.needs.ts { "TS.MADD" } else { "TSDB_MSET" };
        let key = format!("{}{series:0KEY_DIGITS$}", self.names.series_prefix);
        out.extend_from_slice(format!("*{}\r\n", 1 + 3 * (until - from)).as_bytes());
        push_argument(out, name.as_bytes());
        let mut price = *b"0000.00";
        for number in from..until {
            let timestamp = timestamp_of(&plan.timeline, number, &mut self.rng);
            // A slow wave with noise: like a price, and the same however the samples are cut into commands.
            let cents = 500_000 + (number % 1000) as u32 + self.rng.u32(0..3);
            write_price(&mut price, cents);
            push_argument(out, key.as_bytes());
            push_argument(out, format!("{timestamp:0TIMESTAMP_DIGITS$}").as_bytes());
            push_argument(out, &price);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(mix: &str) -> Needs {
        Needs::of(&mix.parse().unwrap(), 1000)
    }

    #[test]
    fn only_what_is_read_is_preloaded() {
        assert!(needs("set,incr,tsdb_set,tsdb_mset:5,ts_add").is_empty());
        assert_eq!(
            needs("get=9,set=1"),
            Needs {
                values: true,
                create: false,
                samples: 0,
                ts: false
            }
        );
        assert_eq!(
            needs("tsdb_get:5"),
            Needs {
                values: false,
                create: false,
                samples: 1000,
                ts: false
            }
        );
        assert_eq!(
            needs("ts_madd:5"),
            Needs {
                values: false,
                create: true,
                samples: 0,
                ts: true
            }
        );
        assert_eq!(
            needs("ts_mrange:5"),
            Needs {
                values: false,
                create: true,
                samples: 1000,
                ts: true
            }
        );
    }

    #[test]
    fn the_number_of_commands_is_known_beforehand() {
        let needs = Needs {
            values: true,
            create: true,
            samples: 250,
            ts: true,
        };
        let names = Names {
            key_prefix: "key:".into(),
            series_prefix: "stock_".into(),
            value_bytes: 3,
            values: crate::template::Values::Walk,
            bucket_millis: 1,
        };
        let plan = Plan {
            templates: Vec::new(),
            timeline: crate::commander::Timeline {
                start_millis: 1_700_000_000_000,
                step_millis: 1000,
                jitter_millis: 0,
                late_threshold: 0,
                late_by: 1,
                preloaded: 250,
            },
            values: crate::template::Values::Walk,
            group_series: 10,
            one_series: false,
            zipf: None,
            value_pool: crate::commander::value_pool(3, 1),
        };
        let all = |total| KeySet::all(total, None);
        let mut preloader = Preloader::new(needs.clone(), names, all(7), all(3), 1);
        let mut out = Vec::new();
        let kinds: Vec<u8> = std::iter::from_fn(|| preloader.write_next(&plan, &mut out)).collect();
        assert_eq!(kinds.len() as u64, needs.commands(7, 3));
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("\r\nTS.MADD\r\n").count(), 9);
        assert_eq!(text.matches("\r\n17000").count(), 750);
        assert_eq!(text.matches("\r\nTS.CREATE\r\n").count(), 3);
    }
}
