//! The series that a candle consists of: its key has the closes, keys named after it have the rest.

use crate::aggregate::Aggregator;

use super::properties::Label;

/// Name of the label that tells the parts of a candle apart.
pub const CANDLE_LABEL: &[u8] = b"candle";

/// One number of every candle, in a series of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CandlePart {
    /// What it is; empty for the close, which is in the candle's own key.
    name: &'static str,
    of_samples: Aggregator,
    of_candles: Aggregator,
}

/// The parts of a candle. The first one has the candle's own key.
pub const CANDLE_PARTS: [CandlePart; 5] = [
    part("", Aggregator::Last, Aggregator::Last),
    part("open", Aggregator::First, Aggregator::First),
    part("high", Aggregator::Maximum, Aggregator::Maximum),
    part("low", Aggregator::Minimum, Aggregator::Minimum),
    part("count", Aggregator::Count, Aggregator::Sum),
];

/// Bytes that the key of a part is longer than that of the candle, at most.
pub const CANDLE_SUFFIX_MAX_BYTES: usize = 6;

const fn part(name: &'static str, of_samples: Aggregator, of_candles: Aggregator) -> CandlePart {
    CandlePart {
        name,
        of_samples,
        of_candles,
    }
}

impl CandlePart {
    /// Key of the part of the candle at `candle`: that key, or with a colon and the name of the part behind it.
    pub fn key(&self, candle: &[u8]) -> Box<[u8]> {
        match self.name {
            "" => candle.into(),
            name => [candle, b":", name.as_bytes()].concat().into(),
        }
    }

    /// What makes the part of a wider candle, from plain samples or from the same part of narrower candles.
    pub fn aggregator(&self, of_candles: bool) -> Aggregator {
        if of_candles {
            self.of_candles
        } else {
            self.of_samples
        }
    }

    /// The label that its series gets; the close, being the series that the user named, has none.
    pub fn label(&self) -> Option<Label> {
        (!self.name.is_empty()).then(|| (CANDLE_LABEL.into(), self.name.as_bytes().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_keys_and_labels_of_their_own() {
        let keys = CANDLE_PARTS.map(|part| String::from_utf8(part.key(b"x").into()).unwrap());
        assert_eq!(keys, ["x", "x:open", "x:high", "x:low", "x:count"]);
        let longest = keys.iter().map(String::len).max();
        assert_eq!(longest, Some(1 + CANDLE_SUFFIX_MAX_BYTES));
        let labels = CANDLE_PARTS.map(|part| part.label().map(|label| label.1));
        assert_eq!(labels[0], None);
        assert_eq!(labels[1].as_deref(), Some(&b"open"[..]));
    }

    #[test]
    fn counts_of_candles_are_added() {
        let [close, _, _, _, count] = CANDLE_PARTS;
        assert_eq!(
            (count.aggregator(false), count.aggregator(true)),
            (Aggregator::Count, Aggregator::Sum)
        );
        assert_eq!(close.aggregator(false), close.aggregator(true));
    }
}
