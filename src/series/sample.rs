//! One measurement of a series.

/// The quality of a sample that nobody said anything about.
pub const DEFAULT_QUALITY: u8 = 0;

/// One measurement. The unit of the timestamp is the caller's; the whole range of `i64` is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub timestamp: i64,
    pub value: f64,
    pub quality: u8,
}

impl Sample {
    /// A sample of the default quality.
    pub fn new(timestamp: i64, value: f64) -> Self {
        Sample {
            timestamp,
            value,
            quality: DEFAULT_QUALITY,
        }
    }
}

/// Two samples are equal if they store the same bytes: NaN equals the same NaN, 0.0 differs from -0.0.
impl PartialEq for Sample {
    fn eq(&self, other: &Self) -> bool {
        self.timestamp == other.timestamp
            && self.value.to_bits() == other.value.to_bits()
            && self.quality == other.quality
    }
}

impl Eq for Sample {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equality_is_of_bits() {
        assert_eq!(Sample::new(1, f64::NAN), Sample::new(1, f64::NAN));
        assert_ne!(Sample::new(1, 0.0), Sample::new(1, -0.0));
        assert_ne!(
            Sample::new(1, 2.0),
            Sample {
                quality: 3,
                ..Sample::new(1, 2.0)
            }
        );
    }
}
