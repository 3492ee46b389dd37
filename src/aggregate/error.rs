//! Why an aggregation could not be answered.

use std::fmt;

/// A refusal; nothing of a refused aggregation is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateError {
    /// EMPTY would have made more than this many values ([`crate::aggregate::EMPTY_VALUES_MAX`]).
    TooManyEmptyBuckets { values_max: usize },
}

impl fmt::Display for AggregateError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AggregateError::TooManyEmptyBuckets { values_max } => write!(
                formatter,
                "EMPTY would add more than {values_max} values, use a wider bucket or COUNT"
            ),
        }
    }
}

impl std::error::Error for AggregateError {}
