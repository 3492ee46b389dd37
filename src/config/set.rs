//! `--set section.key=value`: one setting from the command line into the TOML tree.

use toml::{Table, Value};

use super::error::ConfigError;
use super::raw;

/// Replaces the setting `key` in a complete tree.
///
/// # Errors
/// The key does not exist, or names a business that is not in the tree.
pub fn set(tree: &mut Table, key: &str, text: &str) -> Result<(), ConfigError> {
    let key = key.trim();
    let (schema, target, name) = resolve(tree, key)?;
    let Some(model) = schema.get(name) else {
        return Err(raw::unknown(key, &schema));
    };
    target.insert(name.to_owned(), typed_like(model, text));
    Ok(())
}

/// The table that holds `key`, the table of the default file that knows its type, and its last part.
fn resolve<'t, 'k>(
    tree: &'t mut Table,
    key: &'k str,
) -> Result<(Table, &'t mut Table, &'k str), ConfigError> {
    let parts: Vec<&str> = key.split('.').collect();
    match parts[..] {
        ["business", business, name] => {
            let known = business_names(tree);
            let target = find_business(tree, business).ok_or_else(|| {
                let expected = format!("one of the businesses {known}");
                ConfigError::new(key, format!("the unknown business {business:?}"), expected)
            })?;
            Ok((raw::default_business(), target, name))
        }
        [section, name] if section != "business" => {
            let Some(Value::Table(schema)) = raw::defaults().remove(section) else {
                return Err(raw::unknown(key, &raw::defaults()));
            };
            let target = tree.get_mut(section).and_then(Value::as_table_mut);
            Ok((
                schema,
                target.expect("invariant: the tree has every section of the defaults"),
                name,
            ))
        }
        _ => {
            let expected = "section.key=value or business.NAME.key=value";
            Err(ConfigError::new(key, "a key of another form", expected))
        }
    }
}

fn find_business<'t>(tree: &'t mut Table, name: &str) -> Option<&'t mut Table> {
    let tables = tree
        .get_mut("business")?
        .as_array_mut()?
        .iter_mut()
        .filter_map(Value::as_table_mut);
    tables
        .into_iter()
        .find(|table| table.get("name").and_then(Value::as_str) == Some(name))
}

fn business_names(tree: &Table) -> String {
    let businesses = tree
        .get("business")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let names: Vec<&str> = businesses
        .iter()
        .filter_map(|table| table.get("name").and_then(Value::as_str))
        .collect();
    names.join(", ")
}

/// A shell has no types, so the default value says what the text is. What does not fit stays text, and is
/// refused where it is read, with the range that belongs to the key.
fn typed_like(model: &Value, text: &str) -> Value {
    let as_text = || Value::String(text.to_owned());
    match model {
        Value::Integer(_) => text.trim().parse().map_or_else(|_| as_text(), Value::Integer),
        Value::Boolean(_) => text.trim().parse().map_or_else(|_| as_text(), Value::Boolean),
        Value::Array(_) => list(text),
        _ => as_text(),
    }
}

/// `a,b` or `["a", "b"]`; empty text is the empty list.
fn list(text: &str) -> Value {
    let text = text.trim();
    if text.starts_with('[') {
        let parsed = format!("list = {text}")
            .parse::<Table>()
            .ok()
            .and_then(|mut table| table.remove("list"));
        return parsed.unwrap_or_else(|| Value::String(text.to_owned()));
    }
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(key: &str, text: &str) -> Table {
        let mut tree = raw::defaults();
        set(&mut tree, key, text).unwrap();
        tree
    }

    #[test]
    fn values_take_the_type_of_the_default() {
        assert_eq!(
            after("server.port", "7001")["server"]["port"].as_integer(),
            Some(7001)
        );
        assert_eq!(
            after("server.protected_mode", "false")["server"]["protected_mode"].as_bool(),
            Some(false)
        );
        assert_eq!(after("server.cores", "2")["server"]["cores"].as_str(), Some("2"));
        assert_eq!(
            after("server.password", "1234")["server"]["password"].as_str(),
            Some("1234")
        );
        assert_eq!(
            after("wire.read_buffer", "32 KiB")["wire"]["read_buffer"].as_str(),
            Some("32 KiB")
        );
        assert_eq!(
            after("server.port", "many")["server"]["port"].as_str(),
            Some("many")
        );
    }

    #[test]
    fn lists_are_separated_by_commas_or_toml() {
        let two = Value::Array(vec![Value::from("FLUSHALL"), Value::from("DEBUG")]);
        assert_eq!(
            after("server.disabled_commands", "FLUSHALL, DEBUG")["server"]["disabled_commands"],
            two
        );
        let toml = "[\"FLUSHALL\", 'DEBUG']";
        assert_eq!(
            after("server.disabled_commands", toml)["server"]["disabled_commands"],
            two
        );
        let none = Value::Array(vec![]);
        assert_eq!(
            after("server.disabled_commands", "")["server"]["disabled_commands"],
            none
        );
        let broken = Value::from("[\"FLUSH");
        assert_eq!(
            after("server.disabled_commands", "[\"FLUSH")["server"]["disabled_commands"],
            broken
        );
    }

    #[test]
    fn business_keys_are_found_by_name() {
        let tree = after("business.iot_data.fsync", "always");
        assert_eq!(tree["business"][1]["fsync"].as_str(), Some("always"));
        assert_eq!(tree["business"][0]["fsync"].as_str(), Some("everysec"));
    }

    #[test]
    fn unknown_keys_are_refused_with_what_exists() {
        for (key, expected) in [
            ("server.prot", "one of bind, cores,"),
            ("sever.port", "one of business, lane,"),
            (
                "business.iot.port",
                "one of the businesses stock_quotes, iot_data,",
            ),
            ("business.iot_data.prot", "one of cold_dir, cold_hot_separation,"),
            ("port", "section.key=value or business.NAME.key=value"),
            ("business.port", "section.key=value or business.NAME.key=value"),
            ("a.b.c.d", "section.key=value or business.NAME.key=value"),
        ] {
            let error = set(&mut raw::defaults(), key, "1").unwrap_err();
            assert_eq!(error.key, key);
            assert!(error.expected.starts_with(expected), "{key}: {}", error.expected);
        }
    }
}
