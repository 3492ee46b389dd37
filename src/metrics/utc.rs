//! Unix milliseconds as UTC calendar dates, for file names and headers.

const MS_PER_DAY: u64 = 86_400_000;

/// A moment of the proleptic Gregorian calendar in UTC, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    year: u64,
    month: u64,
    day: u64,
    second_of_day: u64,
}

impl Utc {
    /// The second that contains `unix_ms` milliseconds since 1970.
    pub fn from_unix_ms(unix_ms: u64) -> Self {
        let second_of_day = unix_ms % MS_PER_DAY / 1_000;
        // 400 years always have the same number of days; the remainder is walked year by year.
        const DAYS_PER_400_YEARS: u64 = 146_097;
        let days = unix_ms / MS_PER_DAY;
        let mut year = 1970 + days / DAYS_PER_400_YEARS * 400;
        let mut rest = days % DAYS_PER_400_YEARS;
        while rest >= 365 + u64::from(is_leap(year)) {
            rest -= 365 + u64::from(is_leap(year));
            year += 1;
        }
        let mut month = 1;
        while rest >= days_in_month(year, month) {
            rest -= days_in_month(year, month);
            month += 1;
        }
        Self {
            year,
            month,
            day: rest + 1,
            second_of_day,
        }
    }

    /// `yyyymmdd-hhmmss`: sorts by time and fits a file name.
    pub fn stamp(&self) -> String {
        let (hour, minute, second) = self.clock();
        format!(
            "{:04}{:02}{:02}-{hour:02}{minute:02}{second:02}",
            self.year, self.month, self.day
        )
    }

    /// `yyyy-mm-dd hh:mm:ss UTC`, for people.
    pub fn text(&self) -> String {
        let (hour, minute, second) = self.clock();
        format!(
            "{:04}-{:02}-{:02} {hour:02}:{minute:02}:{second:02} UTC",
            self.year, self.month, self.day
        )
    }

    fn clock(&self) -> (u64, u64, u64) {
        (
            self.second_of_day / 3_600,
            self.second_of_day / 60 % 60,
            self.second_of_day % 60,
        )
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        // Second column: `date -u -d @N +%Y%m%d-%H%M%S`.
        for (unix_seconds, stamp) in [
            (0, "19700101-000000"),
            (951_782_399, "20000228-235959"),
            (951_782_400, "20000229-000000"),
            (1_709_164_800, "20240229-000000"),
            (1_735_689_599, "20241231-235959"),
            (1_735_689_600, "20250101-000000"),
            (4_107_542_400, "21000301-000000"),
            (253_402_300_799, "99991231-235959"),
        ] {
            assert_eq!(Utc::from_unix_ms(unix_seconds * 1_000 + 999).stamp(), stamp);
        }
        assert_eq!(
            Utc::from_unix_ms(1_735_689_599_000).text(),
            "2024-12-31 23:59:59 UTC"
        );
    }

    #[test]
    fn the_largest_time_is_a_date() {
        assert!(
            Utc::from_unix_ms(u64::MAX).stamp().ends_with("0403-142551"),
            "{:?}",
            Utc::from_unix_ms(u64::MAX)
        );
    }
}
