//! The names of the aggregations and what each of them needs to know about a bucket.

use std::borrow::Cow;

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
}

const NAMES: [(&str, &str, Aggregator); 15] = [
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
];

impl Aggregator {
    /// The aggregator of this name in any case.
    pub fn parse(name: &[u8]) -> Option<Self> {
        NAMES
            .iter()
            .find(|(lower, _, _)| lower.as_bytes().eq_ignore_ascii_case(name))
            .map(|&(_, _, aggregator)| aggregator)
    }

    /// The name in lower case, such as `std.p`.
    pub fn name(self) -> Cow<'static, str> {
        self.entry()
            .map_or(Cow::Borrowed(""), |(lower, _, _)| Cow::Borrowed(lower))
    }

    /// The name in upper case, such as `STD.P`.
    pub fn upper_name(self) -> Cow<'static, str> {
        self.entry()
            .map_or(Cow::Borrowed(""), |(_, upper, _)| Cow::Borrowed(upper))
    }

    fn entry(self) -> Option<(&'static str, &'static str, Aggregator)> {
        NAMES
            .iter()
            .find(|(_, _, aggregator)| *aggregator == self)
            .copied()
    }

    /// Values that it adds to a row.
    pub fn width(self) -> usize {
        1
    }

    /// Whether GROUPBY may reduce with it: not where the order of the samples matters.
    pub fn can_reduce(self) -> bool {
        !matches!(
            self,
            Aggregator::First | Aggregator::Last | Aggregator::TimeWeightedAverage
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
}

impl Needs {
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
                Aggregator::Count | Aggregator::CountNan | Aggregator::CountAll => (),
            }
        }
        needs
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
    fn order_dependent_aggregators_do_not_reduce() {
        let refused: Vec<_> = NAMES
            .iter()
            .filter(|(_, _, aggregator)| !aggregator.can_reduce())
            .map(|(lower, _, _)| *lower)
            .collect();
        assert_eq!(refused, ["first", "last", "twa"]);
    }
}
