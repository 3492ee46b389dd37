//! Names of the aggregators and of the places in a bucket that it is reported with.

/// How the samples of a bucket become one value.
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
    /// Standard deviation of a sample of the population.
    DeviationSample,
    VariancePopulation,
    VarianceSample,
    TimeWeightedAverage,
    CountNan,
    CountAll,
}

const NAMES: [(&str, Aggregator); 15] = [
    ("avg", Aggregator::Average),
    ("sum", Aggregator::Sum),
    ("min", Aggregator::Minimum),
    ("max", Aggregator::Maximum),
    ("range", Aggregator::Range),
    ("count", Aggregator::Count),
    ("first", Aggregator::First),
    ("last", Aggregator::Last),
    ("std.p", Aggregator::DeviationPopulation),
    ("std.s", Aggregator::DeviationSample),
    ("var.p", Aggregator::VariancePopulation),
    ("var.s", Aggregator::VarianceSample),
    ("twa", Aggregator::TimeWeightedAverage),
    ("countnan", Aggregator::CountNan),
    ("countall", Aggregator::CountAll),
];

impl Aggregator {
    /// The aggregator of this name in any case.
    pub fn parse(name: &[u8]) -> Option<Aggregator> {
        NAMES
            .iter()
            .find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))
            .map(|(_, aggregator)| *aggregator)
    }

    /// Whether GROUPBY may reduce with it: not where the order of the samples matters.
    pub fn can_reduce(self) -> bool {
        !matches!(
            self,
            Aggregator::First | Aggregator::Last | Aggregator::TimeWeightedAverage
        )
    }
}

/// Which of its timestamps a bucket is reported with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BucketTimestamp {
    #[default]
    Start,
    Middle,
    /// The start of the next bucket.
    End,
}

impl BucketTimestamp {
    /// Reads `-` and `start`, `~` and `mid`, `+` and `end`, in any case.
    pub fn parse(text: &[u8]) -> Option<BucketTimestamp> {
        match text.to_ascii_lowercase().as_slice() {
            b"-" | b"start" => Some(BucketTimestamp::Start),
            b"~" | b"mid" => Some(BucketTimestamp::Middle),
            b"+" | b"end" => Some(BucketTimestamp::End),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case() {
        for (name, aggregator) in NAMES {
            assert_eq!(Aggregator::parse(name.as_bytes()), Some(aggregator));
            assert_eq!(
                Aggregator::parse(name.to_uppercase().as_bytes()),
                Some(aggregator)
            );
        }
        assert_eq!(Aggregator::parse(b"average"), None);
        assert_eq!(BucketTimestamp::parse(b"MID"), Some(BucketTimestamp::Middle));
        assert_eq!(BucketTimestamp::parse(b"middle"), None);
    }
}
