//! The names of the aggregations and what each of them needs to know about a bucket.

use std::borrow::Cow;
use std::fmt;

use crate::aggregate::candle::CANDLE_WIDTH;

/// One aggregation of the samples of a bucket. All but `CountNan` and `CountAll` leave NaN out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregator {
    Average,
    Sum,
    Minimum,
    Maximum,
    /// Maximum less minimum.
    Range,
    Count,
    First,
    Last,
    /// Standard deviation of the population.
    DeviationPopulation,
    /// Standard deviation of a sample of the population; 0 for a single value.
    DeviationSample,
    VariancePopulation,
    VarianceSample,
    /// Average over time under straight lines from sample to sample.
    TimeWeightedAverage,
    CountNan,
    CountAll,
    /// First, greatest, smallest and last value and their number: five values in a row.
    Candle,
    /// Within 1 % of the value of that rank; see [`crate::aggregate::Sketch`].
    Percentile(Percentile),
    /// How much a counter went up since the last sample before the bucket. A counter that goes down was
    /// reset to 0 in between. Nothing is extrapolated, so that the increases of all buckets add up to the
    /// whole.
    Increase,
    /// The increase per second, from the last sample before the bucket to the last in it.
    Rate,
}

/// A percentage in hundredths: `p99.9` is 9,990.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentile(u16);

impl Percentile {
    const HUNDREDTHS_MAX: u16 = 10_000;

    /// The share of 1.
    pub fn share(self) -> f64 {
        f64::from(self.0) / f64::from(Self::HUNDREDTHS_MAX)
    }

    /// Reads `p`, a percentage from 0 to 100 and up to two decimals.
    fn parse(name: &[u8]) -> Option<Self> {
        let percentage = str::from_utf8(name).ok()?.strip_prefix(['p', 'P'])?;
        let (whole, decimals) = percentage.split_once('.').unwrap_or((percentage, "0"));
        let is_number = |text: &str, len_max| {
            (1..=len_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !is_number(whole, 3) || !is_number(decimals, 2) {
            return None;
        }
        let hundredths = format!("{whole}{decimals:0<2}").parse().ok()?;
        (hundredths <= Self::HUNDREDTHS_MAX).then_some(Percentile(hundredths))
    }
}

impl fmt::Display for Percentile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, hundredths) = (self.0 / 100, self.0 % 100);
        match (hundredths, hundredths % 10) {
            (0, _) => write!(formatter, "p{whole}"),
            (_, 0) => write!(formatter, "p{whole}.{}", hundredths / 10),
            _ => write!(formatter, "p{whole}.{hundredths:02}"),
        }
    }
}

const NAMES: [(&str, &str, Aggregator); 18] = [
    ("avg", "AVG", Aggregator::Average),
    ("sum", "SUM", Aggregator::Sum),
    ("min", "MIN", Aggregator::Minimum),
    ("max", "MAX", Aggregator::Maximum),
    ("range", "RANGE", Aggregator::Range),
    ("count", "COUNT", Aggregator::Count),
    ("first", "FIRST", Aggregator::First),
    ("last", "LAST", Aggregator::Last),
    ("std.p", "STD.P", Aggregator::DeviationPopulation),
    ("std.s", "STD.S", Aggregator::DeviationSample),
    ("var.p", "VAR.P", Aggregator::VariancePopulation),
    ("var.s", "VAR.S", Aggregator::VarianceSample),
    ("twa", "TWA", Aggregator::TimeWeightedAverage),
    ("countnan", "COUNTNAN", Aggregator::CountNan),
    ("countall", "COUNTALL", Aggregator::CountAll),
    ("candle", "CANDLE", Aggregator::Candle),
    ("increase", "INCREASE", Aggregator::Increase),
    ("rate", "RATE", Aggregator::Rate),
];

impl Aggregator {
    /// The aggregator of this name in any case.
    pub fn parse(name: &[u8]) -> Option<Self> {
        NAMES
            .iter()
            .find(|(lower, _, _)| lower.as_bytes().eq_ignore_ascii_case(name))
            .map(|&(_, _, aggregator)| aggregator)
            .or_else(|| Percentile::parse(name).map(Aggregator::Percentile))
    }

    /// The name in lower case, such as `std.p`.
    pub fn name(self) -> Cow<'static, str> {
        self.names().0
    }

    /// The name in upper case, such as `STD.P`.
    pub fn upper_name(self) -> Cow<'static, str> {
        self.names().1
    }

    fn names(self) -> (Cow<'static, str>, Cow<'static, str>) {
        if let Aggregator::Percentile(percentile) = self {
            let name = percentile.to_string();
            let upper = name.to_ascii_uppercase();
            return (name.into(), upper.into());
        }
        let (lower, upper, _) = NAMES
            .iter()
            .find(|(_, _, aggregator)| *aggregator == self)
            .expect("invariant: all others are in the table");
        (Cow::Borrowed(lower), Cow::Borrowed(upper))
    }

    /// Values that it adds to a row.
    pub fn width(self) -> usize {
        if self == Aggregator::Candle {
            CANDLE_WIDTH
        } else {
            1
        }
    }

    /// Whether GROUPBY may reduce with it: not where the order of the samples matters, and not with several
    /// values at once.
    pub fn can_reduce(self) -> bool {
        !matches!(
            self,
            Aggregator::First
                | Aggregator::Last
                | Aggregator::TimeWeightedAverage
                | Aggregator::Candle
                | Aggregator::Increase
                | Aggregator::Rate
        )
    }
}

/// The primitive statistics that a set of aggregators needs; what is not needed is not computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub sum: bool,
    pub extremes: bool,
    pub ends: bool,
    pub moments: bool,
    pub area: bool,
    pub sketch: bool,
    pub counter: bool,
}

impl Needs {
    /// What any of them needs.
    pub fn of(aggregators: &[Aggregator]) -> Self {
        let mut needs = Needs::default();
        for aggregator in aggregators {
            match aggregator {
                Aggregator::Average | Aggregator::Sum => needs.sum = true,
                Aggregator::Minimum | Aggregator::Maximum | Aggregator::Range => needs.extremes = true,
                Aggregator::First | Aggregator::Last => needs.ends = true,
                Aggregator::DeviationPopulation
                | Aggregator::DeviationSample
                | Aggregator::VariancePopulation
                | Aggregator::VarianceSample => needs.moments = true,
                Aggregator::TimeWeightedAverage => needs.area = true,
                Aggregator::Candle => (needs.extremes, needs.ends) = (true, true),
                Aggregator::Percentile(_) => needs.sketch = true,
                Aggregator::Increase | Aggregator::Rate => (needs.counter, needs.ends) = (true, true),
                Aggregator::Count | Aggregator::CountNan | Aggregator::CountAll => (),
            }
        }
        needs
    }

    /// Whether summaries never say what is needed.
    pub fn samples(self) -> bool {
        self.moments || self.area || self.sketch || self.counter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_written_back() {
        for (lower, upper, aggregator) in NAMES {
            assert_eq!(Aggregator::parse(lower.as_bytes()), Some(aggregator));
            assert_eq!(Aggregator::parse(upper.as_bytes()), Some(aggregator));
            assert_eq!(
                (aggregator.name(), aggregator.upper_name()),
                (lower.into(), upper.into())
            );
        }
        assert_eq!(Aggregator::parse(b"Std.P"), Some(Aggregator::DeviationPopulation));
        for unknown in [&b""[..], b"average", b"std", b"avg ", b"min,max"] {
            assert_eq!(Aggregator::parse(unknown), None);
        }
    }

    #[test]
    fn percentiles_have_up_to_two_decimals() {
        for (text, name, share) in [
            ("p50", "p50", 0.5),
            ("P99.9", "p99.9", 0.999),
            ("p99.99", "p99.99", 0.9999),
            ("p1.05", "p1.05", 0.0105),
            ("p2.50", "p2.5", 0.025),
            ("p0", "p0", 0.0),
            ("p100", "p100", 1.0),
        ] {
            let aggregator = Aggregator::parse(text.as_bytes());
            let Some(Aggregator::Percentile(percentile)) = aggregator else {
                panic!("{text} is {aggregator:?}");
            };
            assert_eq!(Aggregator::Percentile(percentile).name(), name);
            assert_eq!(percentile.share(), share);
        }
        for text in [
            "p", "p101", "p100.01", "p-1", "p+1", "p1.", "p.5", "p1.234", "p1e1", "p 1",
        ] {
            assert_eq!(Aggregator::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn order_dependent_aggregators_do_not_reduce() {
        let refused: Vec<_> = NAMES
            .iter()
            .filter(|(_, _, aggregator)| !aggregator.can_reduce())
            .map(|(lower, _, _)| *lower)
            .collect();
        assert_eq!(refused, ["first", "last", "twa", "candle", "increase", "rate"]);
    }
}
