//! `[[business]]`: the settings of each business and what must hold among businesses' names and prefixes.

use std::path::Path;
use std::time::Duration;

use toml::Value;

use super::error::ConfigError;
use super::section::Section;
use super::{BusinessConfig, Compression, Fsync, TimeUnit};
use crate::limits::{
    BUSINESS_NAME_LEN_MAX_BYTES, DURATION_MAX, PARTITIONS_MAX, PREFIX_LEN_MAX_BYTES,
    PREFIXES_PER_BUSINESS_MAX,
};

const SECOND: Duration = Duration::from_secs(1);

const CONNECTIONS_MAX: u64 = 1_000_000;

const COMPRESSIONS: [(&str, Compression); 3] = [
    ("none", Compression::None),
    ("lz4", Compression::Lz4),
    ("zstd", Compression::Zstd),
];

const FSYNCS: [(&str, Fsync); 3] = [
    ("always", Fsync::Always),
    ("everysec", Fsync::EverySecond),
    ("no", Fsync::No),
];

const TIME_UNITS: [(&str, TimeUnit); 4] = [
    ("s", TimeUnit::Seconds),
    ("ms", TimeUnit::Milliseconds),
    ("us", TimeUnit::Microseconds),
    ("ns", TimeUnit::Nanoseconds),
];

/// Reads all businesses; their data directories default to a directory of `data_dir`.
///
/// # Errors
/// The first value that is not allowed.
pub fn businesses(tables: Vec<Value>, data_dir: &Path) -> Result<Vec<BusinessConfig>, ConfigError> {
    let mut businesses: Vec<BusinessConfig> = Vec::with_capacity(tables.len());
    for value in tables {
        let Value::Table(table) = value else {
            unreachable!("invariant: a business is a table")
        };
        let name = table
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let business = read(Section::new(format!("business.{name}"), table), data_dir)?;
        check_unique(&business, &businesses)?;
        businesses.push(business);
    }
    Ok(businesses)
}

fn read(mut section: Section, data_dir: &Path) -> Result<BusinessConfig, ConfigError> {
    let name = name(&mut section)?;
    let config = BusinessConfig {
        prefixes: prefixes(&mut section)?,
        port: section.integer("port", 0..=65_535)?,
        data_dir: section.path("data_dir")?.unwrap_or_else(|| data_dir.join(&name)),
        partitions: section.integer("partitions", 0..=PARTITIONS_MAX as u64)?,
        compression: section.choice("compression", &COMPRESSIONS)?,
        max_connections: section.integer("max_connections", 1..=CONNECTIONS_MAX)?,
        fsync: section.choice("fsync", &FSYNCS)?,
        time_unit: section.choice("time_unit", &TIME_UNITS)?,
        retention: section.duration_or_zero("retention", SECOND..=DURATION_MAX)?,
        cold_hot_separation: section.flag("cold_hot_separation")?,
        hot_age: section.duration("hot_age", SECOND..=DURATION_MAX)?,
        cold_dir: section.path("cold_dir")?,
        name,
    };
    section.finish();
    Ok(config)
}

fn name(section: &mut Section) -> Result<String, ConfigError> {
    let expected = format!("a name of 1 to {BUSINESS_NAME_LEN_MAX_BYTES} characters a-z, 0-9 and _");
    let name = section.text("name", &expected)?;
    let is_name_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let is_name = (1..=BUSINESS_NAME_LEN_MAX_BYTES).contains(&name.len()) && name.bytes().all(is_name_byte);
    if is_name {
        Ok(name)
    } else {
        Err(section.refuse("name", format!("{name:?}"), expected))
    }
}

/// `[]` and `[""]` both mean the catch-all, and both become the empty list.
fn prefixes(section: &mut Section) -> Result<Vec<String>, ConfigError> {
    let expected =
        format!("a list of prefixes of 1 to {PREFIX_LEN_MAX_BYTES} bytes, or [] for the catch-all");
    let prefixes = section.list("prefixes", PREFIXES_PER_BUSINESS_MAX, &expected, |prefix| {
        (prefix.len() <= PREFIX_LEN_MAX_BYTES).then(|| prefix.to_owned())
    })?;
    if prefixes == [""] {
        return Ok(Vec::new());
    }
    if prefixes.iter().any(String::is_empty) {
        return Err(section.refuse("prefixes", "\"\" beside other prefixes", expected));
    }
    Ok(prefixes)
}

fn check_unique(business: &BusinessConfig, earlier: &[BusinessConfig]) -> Result<(), ConfigError> {
    let key = |name: &str| format!("business.{}.{name}", business.name);
    if earlier.iter().any(|other| other.name == business.name) {
        let got = format!("\"{}\" twice", business.name);
        return Err(ConfigError::new(
            &key("name"),
            got,
            "a name that no other business has",
        ));
    }
    for prefix in &business.prefixes {
        if let Some(other) = earlier.iter().find(|other| other.prefixes.contains(prefix)) {
            let expected = format!("a prefix that no other business has; {} has this one", other.name);
            return Err(ConfigError::new(
                &key("prefixes"),
                format!("{prefix:?}"),
                expected,
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<BusinessConfig, ConfigError> {
        let mut table = super::super::raw::default_business();
        table.extend(text.parse::<toml::Table>().unwrap());
        businesses(vec![Value::Table(table)], Path::new("d")).map(|mut businesses| businesses.remove(0))
    }

    #[test]
    fn directories_follow_the_server_unless_given() {
        assert_eq!(one("").unwrap().data_dir, Path::new("d/default"));
        assert_eq!(one("data_dir = '/x'").unwrap().data_dir, Path::new("/x"));
        assert_eq!(one("").unwrap().cold_dir, None);
    }

    #[test]
    fn words_become_types() {
        let business =
            one("fsync = 'always'\ncompression = 'zstd'\ntime_unit = 'ns'\nretention = '7 d'").unwrap();
        assert_eq!(business.fsync, Fsync::Always);
        assert_eq!(business.compression, Compression::Zstd);
        assert_eq!(business.time_unit, TimeUnit::Nanoseconds);
        assert_eq!(business.retention, 7 * 86_400 * SECOND);
    }

    #[test]
    fn names_are_safe_as_directories() {
        for name in [
            "",
            "A",
            "a-b",
            "../x",
            "a b",
            "ä",
            "abcdefghijklmnopqrstuvwxyz1234567",
        ] {
            assert!(one(&format!("name = '{name}'")).is_err(), "{name}");
        }
        assert!(one("name = 'abcdefghijklmnopqrstuvwxyz_12345'").is_ok());
    }

    #[test]
    fn prefixes_have_limits_and_two_spellings_of_the_catch_all() {
        assert!(one("prefixes = ['']").unwrap().is_catch_all());
        assert!(one("prefixes = []").unwrap().is_catch_all());
        assert!(!one("prefixes = ['a', 'ab']").unwrap().is_catch_all());
        assert!(one("prefixes = ['a', '']").is_err());
        assert!(one("prefixes = ['a', 'a']").is_err());
        assert!(one(&format!("prefixes = ['{}']", "x".repeat(PREFIX_LEN_MAX_BYTES))).is_ok());
        assert!(
            one(&format!(
                "prefixes = ['{}']",
                "x".repeat(PREFIX_LEN_MAX_BYTES + 1)
            ))
            .is_err()
        );
    }
}
