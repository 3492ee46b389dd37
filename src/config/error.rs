//! ConfigError: what is wrong with a configuration, in one line that says what would be right.

use std::fmt;

/// A setting that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where the setting was given: a path, "command line" or "built-in defaults".
    pub file: String,
    /// The setting, such as `server.port`; a position for a file that is not TOML; empty for a file
    /// that cannot be read.
    pub key: String,
    /// What was given.
    pub got: String,
    /// What is allowed.
    pub expected: String,
}

impl ConfigError {
    /// An error whose file is filled in by [`super::Config::load`], which knows where the key came from.
    pub(super) fn new(key: &str, got: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            file: String::new(),
            key: key.to_owned(),
            got: got.into(),
            expected: expected.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "got {}; expected {}", self.got, self.expected)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_line_with_all_four_parts() {
        let mut error = ConfigError::new("server.port", "70000", "an integer from 0 to 65535");
        error.file = "conf/x.toml".to_owned();
        let text = "conf/x.toml: server.port: got 70000; expected an integer from 0 to 65535";
        assert_eq!(error.to_string(), text);
    }
}
