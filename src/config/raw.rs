//! The TOML tree: the built-in default file, and a user's file laid over it.
//!
//! The default file is also the schema: a key is known if the default file has it. So a setting is written
//! down in two places, the file and the line that reads it, and neither can be forgotten (see `section`).

use std::path::Path;

use toml::{Table, Value};

use super::error::ConfigError;
use crate::limits::BUSINESSES_MAX;

/// The default file as it was when the program was built.
const DEFAULT_FILE: &str = include_str!("../../conf/ticklane.toml");

/// The business whose settings others take when they leave them out.
const DEFAULT_BUSINESS: &str = "default";

/// The tree of the default file.
pub fn defaults() -> Table {
    DEFAULT_FILE
        .parse()
        .expect("invariant: the built-in default file is TOML")
}

/// Reads a file.
///
/// # Errors
/// The file cannot be read or is not TOML; then the key is the position.
pub fn read(path: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::new("", format!("\"{error}\""), "a readable TOML file"))?;
    parse(&text)
}

/// Reads the text of a file.
///
/// # Errors
/// It is not TOML; then the key is the position.
pub fn parse(text: &str) -> Result<Table, ConfigError> {
    text.parse().map_err(|error: toml::de::Error| {
        let position = error
            .span()
            .map_or_else(|| "TOML".to_owned(), |span| position(text, span.start));
        let message = error.message().trim().replace('\n', ", ");
        ConfigError::new(
            &position,
            format!("invalid TOML ({message})"),
            "settings as in conf/ticklane.toml",
        )
    })
}

/// Line and column, from 1, of a byte offset.
fn position(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .chars()
        .rev()
        .take_while(|character| *character != '\n')
        .count()
        + 1;
    format!("line {line}, column {column}")
}

/// Lays a user's tree over the defaults. Its businesses, if it has any, replace all default ones.
///
/// # Errors
/// A key or section that the default file does not have.
pub fn over_defaults(user: Table) -> Result<Table, ConfigError> {
    let mut tree = defaults();
    for (name, value) in user {
        match (tree.get_mut(&name), value) {
            (None, _) => return Err(unknown(&name, &tree)),
            (Some(Value::Array(businesses)), Value::Array(given)) => *businesses = fill_businesses(given)?,
            (Some(Value::Array(_)), value) => {
                return Err(ConfigError::new(
                    &name,
                    describe(&value),
                    "tables that begin with [[business]]",
                ));
            }
            (Some(Value::Table(section)), Value::Table(given)) => lay_over(&name, section, given)?,
            (Some(_), value) => {
                let expected = format!("a section that begins with [{name}]");
                return Err(ConfigError::new(&name, describe(&value), expected));
            }
        }
    }
    Ok(tree)
}

fn lay_over(name: &str, section: &mut Table, given: Table) -> Result<(), ConfigError> {
    for (key, value) in given {
        if !section.contains_key(&key) {
            return Err(unknown(&format!("{name}.{key}"), section));
        }
        section.insert(key, value);
    }
    Ok(())
}

fn fill_businesses(given: Vec<Value>) -> Result<Vec<Value>, ConfigError> {
    if given.is_empty() || given.len() > BUSINESSES_MAX {
        let expected = format!("1 to {BUSINESSES_MAX} businesses");
        return Err(ConfigError::new(
            "business",
            format!("{} businesses", given.len()),
            expected,
        ));
    }
    given
        .into_iter()
        .enumerate()
        .map(|(index, value)| fill_business(index, value))
        .collect()
}

fn fill_business(index: usize, given: Value) -> Result<Value, ConfigError> {
    let place = format!("business[{index}]");
    let Value::Table(given) = given else {
        return Err(ConfigError::new(
            &place,
            describe(&given),
            "a table that begins with [[business]]",
        ));
    };
    let name = match given.get("name") {
        Some(Value::String(name)) => name.clone(),
        Some(other) => {
            return Err(ConfigError::new(
                &format!("{place}.name"),
                describe(other),
                "a string",
            ));
        }
        None => {
            return Err(ConfigError::new(
                &format!("{place}.name"),
                "nothing",
                "a name such as \"orders\"",
            ));
        }
    };
    let schema = default_business();
    let mut business = business_of_defaults(&name).unwrap_or_else(|| {
        // A prefix cannot be guessed, and taking over the catch-all's would make two of them.
        let mut general = schema.clone();
        general.remove("prefixes");
        general
    });
    for (key, value) in given {
        if !schema.contains_key(&key) {
            return Err(unknown(&format!("business.{name}.{key}"), &schema));
        }
        business.insert(key, value);
    }
    Ok(Value::Table(business))
}

/// The settings of the business `default` in the default file: every key a business can have.
pub fn default_business() -> Table {
    business_of_defaults(DEFAULT_BUSINESS).expect("invariant: the built-in default file has the business")
}

fn business_of_defaults(name: &str) -> Option<Table> {
    defaults()
        .remove("business")
        .and_then(|businesses| find_business(&businesses, name).cloned())
}

/// The table of the business called `name` in the value of `business`.
fn find_business<'a>(businesses: &'a Value, name: &str) -> Option<&'a Table> {
    let tables = businesses.as_array()?.iter().filter_map(Value::as_table);
    tables
        .into_iter()
        .find(|table| table.get("name").and_then(Value::as_str) == Some(name))
}

/// The error for a key that does not exist, with those that do. It may be a misspelt `password`, so the
/// value is not shown.
pub fn unknown(key: &str, known: &Table) -> ConfigError {
    let names: Vec<&str> = known.keys().map(String::as_str).collect();
    ConfigError::new(key, "an unknown key", format!("one of {}", names.join(", ")))
}

/// A value as its writer would recognise it, without the contents of tables.
pub fn describe(value: &Value) -> String {
    match value {
        Value::Table(_) => "a table".to_owned(),
        Value::Array(items) if items.iter().any(Value::is_table) => "a list of tables".to_owned(),
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lay(text: &str) -> Result<Table, ConfigError> {
        over_defaults(text.parse().unwrap())
    }

    #[test]
    fn empty_file_is_the_defaults() {
        assert_eq!(lay("").unwrap(), defaults());
    }

    #[test]
    fn given_keys_replace_and_others_stay() {
        let tree = lay("[server]\nport = 1").unwrap();
        assert_eq!(tree["server"]["port"].as_integer(), Some(1));
        assert_eq!(tree["server"]["bind"], defaults()["server"]["bind"]);
        assert_eq!(tree["business"], defaults()["business"]);
    }

    #[test]
    fn businesses_replace_all_and_fill_from_their_namesake() {
        let tree = lay("[[business]]\nname = 'iot_data'\nport = 9\n[[business]]\nname = 'x'\nprefixes = []")
            .unwrap();
        let businesses = tree["business"].as_array().unwrap();
        assert_eq!(businesses.len(), 2);
        assert_eq!(businesses[0]["port"].as_integer(), Some(9));
        assert_eq!(businesses[0]["max_connections"].as_integer(), Some(500));
        assert_eq!(businesses[1]["max_connections"].as_integer(), Some(1000));
        assert_eq!(businesses[1]["port"].as_integer(), Some(0));
    }

    #[test]
    fn unknown_names_are_refused_with_their_place() {
        for (text, key) in [
            ("[sever]\nport = 1", "sever"),
            ("[server]\nprot = 1", "server.prot"),
            ("[[business]]\nname = 'a'\nprefix = 'a'", "business.a.prefix"),
            ("[[business]]\nprefixes = []", "business[0].name"),
            ("business = 1", "business"),
            ("business = []", "business"),
            ("server = 1", "server"),
        ] {
            assert_eq!(lay(text).unwrap_err().key, key, "{text}");
        }
    }

    #[test]
    fn positions_count_from_one() {
        assert_eq!(position("ab\ncd", 0), "line 1, column 1");
        assert_eq!(position("ab\ncd", 4), "line 2, column 2");
    }
}
