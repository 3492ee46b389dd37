//! Section: reads one TOML table key by key; each read names the key, its type and its range.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::{Table, Value};

use super::error::ConfigError;
use super::raw::describe;
use super::units::{format_bytes, format_duration, parse_bytes, parse_duration};

/// Bytes of a path: `PATH_MAX` of Linux, with its terminating zero.
const PATH_LEN_MAX_BYTES: usize = 4095;

/// The unread rest of one table.
///
/// Every read takes a key away and is refused, with what was given and what is allowed, if the value is of another
/// type or out of range.
pub struct Section {
    /// Begins the name of every key in error messages, such as `server`.
    name: String,
    table: Table,
}

impl Section {
    /// All of a table.
    pub fn new(name: impl Into<String>, table: Table) -> Self {
        Self {
            name: name.into(),
            table,
        }
    }

    /// Ends the reading.
    ///
    /// # Panics
    /// If a key of the default file was never read: the schema and the code disagree.
    pub fn finish(self) {
        assert!(
            self.table.is_empty(),
            "invariant: settings that nothing reads: [{}] {}",
            self.name,
            self.table
        );
    }

    /// The full name of a key, such as `server.port`.
    pub fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    /// The error for a key of this section.
    pub fn refuse(&self, key: &str, got: impl Into<String>, expected: impl Into<String>) -> ConfigError {
        ConfigError::new(&self.key(key), got, expected)
    }

    /// A whole number in the range.
    pub fn integer<T: TryFrom<u64>>(
        &mut self,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Result<T, ConfigError> {
        let expected = format!("an integer from {} to {}", range.start(), range.end());
        let value = self.take(key, &expected)?;
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        self.in_range(key, number, &range, || describe(&value), expected)
    }

    /// A size, in bytes.
    pub fn bytes<T: TryFrom<u64>>(
        &mut self,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Result<T, ConfigError> {
        let (least, most) = (format_bytes(*range.start()), format_bytes(*range.end()));
        let expected = format!("a size with its unit, from \"{least}\" to \"{most}\"");
        let value = self.take(key, &expected)?;
        let number = match &value {
            Value::Integer(0) => Some(0),
            other => other.as_str().and_then(parse_bytes),
        };
        self.in_range(key, number, &range, || describe(&value), expected)
    }

    fn in_range<T: TryFrom<u64>>(
        &self,
        key: &str,
        number: Option<u64>,
        range: &RangeInclusive<u64>,
        got: impl Fn() -> String,
        expected: String,
    ) -> Result<T, ConfigError> {
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(T::try_from(number)
                .ok()
                .expect("invariant: the range of a setting fits its type")),
            None => Err(self.refuse(key, got(), expected)),
        }
    }

    /// A time in the range.
    pub fn duration(&mut self, key: &str, range: RangeInclusive<Duration>) -> Result<Duration, ConfigError> {
        self.duration_among(key, &range, "")
    }

    /// A time in the range, or zero, which switches something off.
    pub fn duration_or_zero(
        &mut self,
        key: &str,
        range: RangeInclusive<Duration>,
    ) -> Result<Duration, ConfigError> {
        self.duration_among(key, &range, "0, or ")
    }

    fn duration_among(
        &mut self,
        key: &str,
        range: &RangeInclusive<Duration>,
        or_zero: &str,
    ) -> Result<Duration, ConfigError> {
        let (least, most) = (format_duration(*range.start()), format_duration(*range.end()));
        let expected = format!("{or_zero}a time with its unit, from \"{least}\" to \"{most}\"");
        let value = self.take(key, &expected)?;
        let duration = match &value {
            Value::Integer(0) => Some(Duration::ZERO),
            other => other.as_str().and_then(parse_duration),
        };
        let is_allowed =
            |duration: &Duration| range.contains(duration) || (!or_zero.is_empty() && duration.is_zero());
        duration
            .filter(is_allowed)
            .ok_or_else(|| self.refuse(key, describe(&value), expected))
    }

    /// True or false.
    pub fn flag(&mut self, key: &str) -> Result<bool, ConfigError> {
        let expected = "true or false";
        let value = self.take(key, expected)?;
        value
            .as_bool()
            .ok_or_else(|| self.refuse(key, describe(&value), expected))
    }

    /// Any text.
    pub fn text(&mut self, key: &str, expected: &str) -> Result<String, ConfigError> {
        match self.take(key, expected)? {
            Value::String(text) => Ok(text),
            other => Err(self.refuse(key, describe(&other), expected)),
        }
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Result<T, ConfigError> {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        let expected = format!("one of {}", names.join(", "));
        let text = self.text(key, &expected)?;
        let found = choices.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, choice)| *choice)
            .ok_or_else(|| self.refuse(key, format!("{text:?}"), expected))
    }

    /// At most `count_max` items, each read by `parse`, none twice.
    pub fn list<T: PartialEq>(
        &mut self,
        key: &str,
        count_max: usize,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, ConfigError> {
        let value = self.take(key, expected)?;
        let Value::Array(items) = &value else {
            return Err(self.refuse(key, describe(&value), expected));
        };
        if items.len() > count_max {
            let expected = format!("{expected}, at most {count_max}");
            return Err(self.refuse(key, format!("{} items", items.len()), expected));
        }
        let mut read = Vec::with_capacity(items.len());
        for item in items {
            let parsed = item.as_str().and_then(&parse);
            let parsed = parsed.ok_or_else(|| self.refuse(key, describe(item), expected))?;
            if read.contains(&parsed) {
                return Err(self.refuse(key, format!("{} twice", describe(item)), expected));
            }
            read.push(parsed);
        }
        Ok(read)
    }

    /// A path, or `None` for empty text.
    pub fn path(&mut self, key: &str) -> Result<Option<PathBuf>, ConfigError> {
        let expected = "a path";
        let text = self.text(key, expected)?;
        if text.len() > PATH_LEN_MAX_BYTES || text.contains(char::is_control) {
            let expected = format!("a path of at most {PATH_LEN_MAX_BYTES} bytes without control characters");
            return Err(self.refuse(key, format!("{text:?}"), expected));
        }
        Ok((!text.is_empty()).then(|| PathBuf::from(text)))
    }

    fn take(&mut self, key: &str, expected: &str) -> Result<Value, ConfigError> {
        self.table
            .remove(key)
            .ok_or_else(|| self.refuse(key, "nothing", expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> Section {
        Section::new("part", text.parse().unwrap())
    }

    #[test]
    fn integers_are_checked_for_type_and_range() {
        assert_eq!(section("k = 5").integer::<u16>("k", 1..=5), Ok(5));
        for given in ["0", "6", "-1", "5.0", "true", "\"5\"", "[5]"] {
            let error = section(&format!("k = {given}"))
                .integer::<u16>("k", 1..=5)
                .unwrap_err();
            assert_eq!((error.key.as_str(), error.got.as_str()), ("part.k", given));
            assert_eq!(error.expected, "an integer from 1 to 5");
        }
    }

    #[test]
    fn sizes_and_times_need_units() {
        assert_eq!(section("k = '2 KiB'").bytes::<usize>("k", 0..=4096), Ok(2048));
        assert_eq!(section("k = 0").bytes::<usize>("k", 0..=4096), Ok(0));
        assert!(section("k = 2048").bytes::<usize>("k", 0..=4096).is_err());
        let error = section("k = '1 MiB'").bytes::<usize>("k", 0..=4096).unwrap_err();
        assert_eq!(error.expected, "a size with its unit, from \"0 B\" to \"4 KiB\"");
        let second = Duration::from_secs(1);
        assert_eq!(section("k = '1 s'").duration("k", second..=second), Ok(second));
        assert!(section("k = 1").duration("k", second..=second).is_err());
        assert!(section("k = '0 s'").duration("k", second..=second).is_err());
        assert_eq!(
            section("k = '0 s'").duration_or_zero("k", second..=second),
            Ok(Duration::ZERO)
        );
        assert_eq!(
            section("k = 0").duration_or_zero("k", second..=second),
            Ok(Duration::ZERO)
        );
    }

    #[test]
    fn lists_refuse_strangers_and_doubles() {
        let read = |text: &str| section(text).list("k", 2, "numbers", |item| item.parse::<u8>().ok());
        assert_eq!(read("k = ['1', '2']"), Ok(vec![1, 2]));
        assert_eq!(read("k = ['1', 'x']").unwrap_err().got, "\"x\"");
        assert_eq!(read("k = ['1', '1']").unwrap_err().got, "\"1\" twice");
        assert_eq!(read("k = ['1', '2', '3']").unwrap_err().got, "3 items");
        assert_eq!(read("k = '1'").unwrap_err().got, "\"1\"");
        assert_eq!(read("").unwrap_err().got, "nothing");
    }

    #[test]
    fn choices_and_paths() {
        let choices = [("yes", 1), ("no", 0)];
        assert_eq!(section("k = 'no'").choice("k", &choices), Ok(0));
        assert_eq!(
            section("k = 'maybe'").choice("k", &choices).unwrap_err().expected,
            "one of \"yes\", \"no\""
        );
        assert_eq!(section("k = ''").path("k"), Ok(None));
        assert_eq!(section("k = 'a/b'").path("k"), Ok(Some(PathBuf::from("a/b"))));
        assert!(section("k = \"a\\u0000b\"").path("k").is_err());
    }
}
