//! Labels in the model test: giving them to series, and comparing what finds series by them.

use std::sync::Arc;

use ticklane::lane::{LabelMatch, LabelQuery};
use ticklane::series::{Label, SeriesProperties};

use super::model::{Change, Held, Labels};
use super::run::{Outcome, Run};

/// Names of labels; a number with a digit per name, 0 = the series does not have it, says all of them.
const NAMES: [&str; 3] = ["area", "kind", "unit"];
const VALUES: u16 = 3;
/// Retention that some series are given.
const RETENTION: i64 = 700;

/// A filter: for each name, the values that may be there as bits, 0 = any; bit 0 stands for no label.
type Filter = [u8; NAMES.len()];

/// What the queries of a comparison ask for. Each has to name values of one label at least.
const FILTERS: [Filter; 9] = [
    [0b0010, 0, 0],
    [0b0100, 0, 0],
    [0b1000, 0, 0],
    [0, 0b0010, 0],
    [0, 0, 0b0100],
    [0b0110, 0b1010, 0],
    [0b0010, 0b0001, 0],
    [0b1110, 0b1110, 0b1110],
    [0b0001, 0, 0b1110],
];

fn value(name: usize, digit: u16) -> String {
    format!("{}{digit}", NAMES[name])
}

fn labels_of(number: u16) -> Labels {
    let digits = (0..NAMES.len()).map(|name| (name, number / (VALUES + 1).pow(name as u32) % (VALUES + 1)));
    let given = digits.filter(|(_, digit)| *digit > 0);
    given
        .map(|(name, digit)| (NAMES[name].to_owned(), value(name, digit)))
        .collect()
}

fn bytes(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

fn passes(filter: &Filter, value_of: impl Fn(&str) -> Option<String>) -> bool {
    (0..NAMES.len()).all(|name| {
        let found = value_of(NAMES[name]);
        let digit = (1..=VALUES).find(|digit| found.as_deref() == Some(&*value(name, *digit)));
        filter[name] == 0 || filter[name] & (1 << digit.unwrap_or(0)) != 0
    })
}

fn query(filter: Filter) -> LabelQuery {
    let named = (0..NAMES.len()).filter(|name| filter[*name] > 1 && filter[*name] & 1 == 0);
    let values = |name: usize| {
        let digits = (1..=VALUES).filter(move |digit| filter[name] & (1 << digit) != 0);
        digits.map(move |digit| bytes(&value(name, digit))).collect()
    };
    LabelQuery {
        words: filter.to_vec(),
        equalities: named.map(|name| (bytes(NAMES[name]), values(name))).collect(),
        test: Arc::new(move |labels: &[Label]| {
            passes(&filter, |name| {
                let found = labels.iter().find(|label| *label.0 == *name.as_bytes());
                found.map(|label| String::from_utf8_lossy(&label.1).into_owned())
            })
        }),
    }
}

impl Run {
    /// TS.CREATE with labels, or TS.ALTER of those that there are.
    pub fn label(&mut self, key: &[u8], number: u16) -> Outcome {
        let labels = labels_of(number);
        let retention = number.is_multiple_of(7).then_some(RETENTION);
        let set = self.until_done(|partition, now_ms| {
            let mut properties = SeriesProperties::default();
            let found = partition.find_plain_series(key, now_ms)?;
            if let Some(known) = found.and_then(|(place, _)| partition.properties(place)) {
                properties = known.clone();
            }
            properties.labels = labels.iter().map(|(n, v)| (bytes(n), bytes(v))).collect();
            properties.retention = properties.retention.or(retention);
            match found {
                Some((place, _)) => partition.set_properties(place, properties),
                None => {
                    partition.create_plain_series(key, properties, now_ms)?;
                }
            }
            Ok(())
        })?;
        let is_text = matches!(
            self.model.get(key, self.now_ms).map(|key| &key.held),
            Some(Held::Text(_))
        );
        if set.is_some() == is_text {
            return Err(format!("labels were set: {set:?}, on a string: {is_text}"));
        }
        if set.is_some() {
            self.done(Change::Label {
                key: key.into(),
                labels,
                retention,
            });
        }
        Ok(())
    }

    /// Compares what every filter finds, and the names of labels in use.
    pub fn compare_labels(&mut self) -> Outcome {
        let now_ms = self.now_ms;
        for filter in FILTERS {
            let query = query(filter);
            let found = self.until_done(|partition, now_ms| partition.find_labelled(&query, now_ms))?;
            let found = found.ok_or("a label query was refused")?;
            self.stored_matches += found
                .iter()
                .filter(|found| matches!(found, LabelMatch::Stored(_)))
                .count() as u64;
            let found: Vec<Vec<u8>> = found.iter().map(|found| found.key().to_vec()).collect();
            let keys = self.model.keys.iter();
            let expected = keys.filter(|(name, key)| {
                let labels = &key.labels;
                let of = |name: &str| {
                    labels
                        .iter()
                        .find(|label| label.0 == name)
                        .map(|label| label.1.clone())
                };
                passes(&filter, of) && !labels.is_empty() && self.model.get(name, now_ms).is_some()
            });
            let expected: Vec<Vec<u8>> = expected.map(|(name, _)| name.clone()).collect();
            if found != expected {
                let text = |keys: &[Vec<u8>]| {
                    format!(
                        "{:?}",
                        keys.iter()
                            .map(|k| String::from_utf8_lossy(k))
                            .collect::<Vec<_>>()
                    )
                };
                return Err(format!(
                    "{filter:?} finds {}, expected {}",
                    text(&found),
                    text(&expected)
                ));
            }
        }
        Ok(())
    }
}
