//! Filters over labels: `l=v`, `l!=v`, `l=`, `l!=`, `l=(a,b)`, `l!=(a,b)`, `l=~regex`, `l!~regex`.

use regex::bytes::{Regex, RegexBuilder};

use crate::refusal::Refusal;
use crate::resp::Args;

use super::options::Label;
use super::texts;

/// Memory that one compiled regular expression may take.
const REGEX_SIZE_MAX_BYTES: usize = 256 * 1024;
/// Memory that one regular expression may take as it is used.
const REGEX_CACHE_MAX_BYTES: usize = 1024 * 1024;
/// Brackets within brackets of a regular expression.
const REGEX_NESTING_MAX: u32 = 50;

/// What one expression asks of the label of its name.
#[derive(Clone, Debug)]
pub enum Test {
    /// It has one of these values; with none of them nothing matches.
    Equal(Vec<Box<[u8]>>),
    /// It has none of these values, or is not there.
    NotEqual(Vec<Box<[u8]>>),
    /// It is there.
    Present,
    /// It is not there.
    Absent,
    /// It is there and its whole value matches.
    Pattern(Regex),
    /// It is not there, or its value does not match as a whole.
    NotPattern(Regex),
}

/// One expression.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// Name of the label.
    pub label: Box<[u8]>,
    /// What is asked of it.
    pub test: Test,
}

/// Expressions that all must hold.
#[derive(Clone, Debug)]
pub struct LabelFilter {
    matchers: Vec<Matcher>,
}

impl LabelFilter {
    /// Reads one expression per word.
    ///
    /// # Errors
    /// [`texts::FILTER_INVALID`] for a malformed one, [`texts::MATCHER_MISSING`] if none names a value: every
    /// series would have to be looked at.
    pub fn parse(words: Args<'_>) -> Result<LabelFilter, Refusal> {
        let matchers: Option<Vec<Matcher>> = words.into_iter().map(Matcher::parse).collect();
        let filter = LabelFilter {
            matchers: matchers.ok_or(texts::FILTER_INVALID)?,
        };
        if filter.equalities().next().is_none() {
            return Err(texts::MATCHER_MISSING);
        }
        Ok(filter)
    }

    /// Whether a series with these labels is meant.
    pub fn matches(&self, labels: &[Label]) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels))
    }

    /// The expressions that name values, which an index can look up: label and values. There is at least one.
    pub fn equalities(&self) -> impl Iterator<Item = (&[u8], &[Box<[u8]>])> {
        self.matchers.iter().filter_map(|matcher| match &matcher.test {
            Test::Equal(values) => Some((&*matcher.label, values.as_slice())),
            _ => None,
        })
    }

    /// All expressions, in the order they were written.
    #[cfg(test)]
    pub fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }
}

impl Matcher {
    /// Reads one expression.
    pub fn parse(text: &[u8]) -> Option<Matcher> {
        let at = text
            .windows(2)
            .position(|pair| pair[0] == b'=' || pair == b"!=" || pair == b"!~")
            .or_else(|| text.len().checked_sub(1).filter(|last| text[*last] == b'='))?;
        let (label, operation) = text.split_at(at);
        if label.is_empty() {
            return None;
        }
        let test = match operation {
            [b'=', b'~', pattern @ ..] => Test::Pattern(compile(pattern)?),
            [b'!', b'~', pattern @ ..] => Test::NotPattern(compile(pattern)?),
            [b'=', b'(', list @ ..] => Test::Equal(parse_list(list)?),
            [b'!', b'=', b'(', list @ ..] => Test::NotEqual(parse_list(list)?),
            [b'='] => Test::Absent,
            [b'!', b'='] => Test::Present,
            [b'=', value @ ..] => Test::Equal(vec![value.into()]),
            [b'!', b'=', value @ ..] => Test::NotEqual(vec![value.into()]),
            _ => return None,
        };
        Some(Matcher {
            label: label.into(),
            test,
        })
    }

    /// Whether a series with these labels fulfils it.
    pub fn matches(&self, labels: &[Label]) -> bool {
        let value = labels
            .iter()
            .find(|(name, _)| *name == self.label)
            .map(|(_, value)| value);
        match (&self.test, value) {
            (Test::Equal(values), Some(value)) => values.contains(value),
            (Test::NotEqual(values), Some(value)) => !values.contains(value),
            (Test::Pattern(pattern), Some(value)) => pattern.is_match(value),
            (Test::NotPattern(pattern), Some(value)) => !pattern.is_match(value),
            (Test::Present, value) => value.is_some(),
            (Test::Absent, value) => value.is_none(),
            (Test::Equal(_) | Test::Pattern(_), None) => false,
            (Test::NotEqual(_) | Test::NotPattern(_), None) => true,
        }
    }
}

/// Values up to the closing parenthesis, which must be the last byte. A value in quotes may hold commas,
/// parentheses and the other quote.
fn parse_list(text: &[u8]) -> Option<Vec<Box<[u8]>>> {
    if text == b")" {
        return Some(Vec::new());
    }
    let mut values = Vec::new();
    let mut rest = text;
    loop {
        let (value, tail) = match rest {
            [quote @ (b'"' | b'\''), quoted @ ..] => {
                let end = quoted.iter().position(|byte| byte == quote)?;
                let (value, tail) = quoted.split_at(end);
                (value, tail.get(1..)?)
            }
            _ => {
                let end = rest.iter().position(|byte| b",()".contains(byte))?;
                let (value, tail) = rest.split_at(end);
                if value.is_empty() {
                    return None;
                }
                (value, tail)
            }
        };
        values.push(value.into());
        match tail {
            [b',', more @ ..] => rest = more,
            b")" => return Some(values),
            _ => return None,
        }
    }
}

/// Compiles a regular expression that must match a whole value.
fn compile(pattern: &[u8]) -> Option<Regex> {
    let pattern = std::str::from_utf8(pattern).ok()?;
    let build = |pattern: &str| {
        RegexBuilder::new(pattern)
            .size_limit(REGEX_SIZE_MAX_BYTES)
            .dfa_size_limit(REGEX_CACHE_MAX_BYTES)
            .nest_limit(REGEX_NESTING_MAX)
            .dot_matches_new_line(true)
            .build()
            .ok()
    };
    // On its own first, so that `a)|(b` cannot break out of the group below.
    build(pattern)?;
    build(&format!(r"\A(?:{pattern})\z"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::ts::test_args::with_args;

    fn filter(line: &str) -> Result<LabelFilter, Refusal> {
        with_args(line, LabelFilter::parse)
    }

    fn label(name: &str, value: &str) -> Label {
        (name.as_bytes().into(), value.as_bytes().into())
    }

    fn matches(line: &str, labels: &[(&str, &str)]) -> bool {
        let labels: Vec<Label> = labels.iter().map(|(name, value)| label(name, value)).collect();
        filter(line).unwrap().matches(&labels)
    }

    #[test]
    fn values_are_compared() {
        assert!(matches("a=1", &[("b", "2"), ("a", "1")]));
        assert!(!matches("a=1", &[("a", "2")]));
        assert!(!matches("a=1", &[]));
        assert!(!matches("a=1", &[("A", "1")]), "names have a case");
        assert!(matches("a=1 b=2", &[("a", "1"), ("b", "2")]));
        assert!(!matches("a=1 b=2", &[("a", "1")]));
        assert!(matches("a=1 b!=2", &[("a", "1"), ("b", "3")]));
        assert!(!matches("a=1 b!=2", &[("a", "1"), ("b", "2")]));
        assert!(
            matches("a=1 b!=2", &[("a", "1")]),
            "a label that is not there differs"
        );
        assert!(matches("a=x=y", &[("a", "x=y")]));
        assert!(matches("a=x!=y", &[("a", "x!=y")]));
        assert!(matches("a!b=1", &[("a!b", "1")]));
    }

    #[test]
    fn presence_is_asked_for() {
        assert!(matches("a=1 b=", &[("a", "1")]));
        assert!(!matches("a=1 b=", &[("a", "1"), ("b", "2")]));
        assert!(matches("a=1 b!=", &[("a", "1"), ("b", "2")]));
        assert!(!matches("a=1 b!=", &[("a", "1")]));
    }

    #[test]
    fn lists_hold_alternatives() {
        assert!(matches("a=(1,2)", &[("a", "2")]));
        assert!(!matches("a=(1,2)", &[("a", "3")]));
        assert!(!matches("a=(1,2)", &[("a", "1,2")]));
        assert!(matches("x=y a!=(1,2)", &[("x", "y"), ("a", "3")]));
        assert!(matches("x=y a!=(1,2)", &[("x", "y")]));
        assert!(!matches("x=y a!=(1,2)", &[("x", "y"), ("a", "1")]));
        assert!(!matches("a=()", &[("a", "1")]));
        assert!(matches(r#"a=("x,y",'(z)',"it's",w)"#, &[("a", "x,y")]));
        assert!(matches(r#"a=("x,y",'(z)',"it's",w)"#, &[("a", "(z)")]));
        assert!(matches(r#"a=("x,y",'(z)',"it's",w)"#, &[("a", "it's")]));
        assert!(matches(r#"a=("x,y",'(z)',"it's",w)"#, &[("a", "w")]));
    }

    #[test]
    fn patterns_match_whole_values() {
        assert!(matches("a=1 b=~web-.*", &[("a", "1"), ("b", "web-7")]));
        assert!(!matches("a=1 b=~web-.*", &[("a", "1"), ("b", "my-web-7")]));
        assert!(!matches("a=1 b=~web", &[("a", "1"), ("b", "web-7")]));
        assert!(!matches("a=1 b=~.*", &[("a", "1")]));
        assert!(matches("a=1 b=~x|yy", &[("a", "1"), ("b", "yy")]));
        assert!(!matches("a=1 b=~x|yy", &[("a", "1"), ("b", "yyy")]));
        assert!(matches("a=1 b!~x.*", &[("a", "1"), ("b", "y")]));
        assert!(!matches("a=1 b!~x.*", &[("a", "1"), ("b", "xy")]));
        assert!(matches("a=1 b!~x.*", &[("a", "1")]));
    }

    #[test]
    fn malformed_expressions_are_refused() {
        for line in [
            "''",
            "a",
            "=1",
            "!=1",
            "=",
            "a=(1",
            "a=(1,2)x",
            "a=(1,,2)",
            "a=(1,)",
            "a=(,1)",
            "a=('1)",
            "a=(1(2))",
            "a=('1'2)",
            "a=1 COUNT 5",
            "a=~(",
            "a=~a)|(b",
            "a=1 b!~[",
            "a!1",
        ] {
            assert_eq!(filter(line).unwrap_err(), texts::FILTER_INVALID, "{line}");
        }
        let deep = format!("a=1 b=~{}{}", "(".repeat(60), ")".repeat(60));
        assert_eq!(filter(&deep).unwrap_err(), texts::FILTER_INVALID);
        let huge = "a=1 b=~(x{1000}){1000}";
        assert_eq!(filter(huge).unwrap_err(), texts::FILTER_INVALID);
    }

    #[test]
    fn one_expression_names_a_value() {
        for line in ["a!=1", "a=", "a!=", "a!=(1,2)", "a=~x", "a!~x b!=2"] {
            assert_eq!(filter(line).unwrap_err(), texts::MATCHER_MISSING, "{line}");
        }
        let filter = filter("a=1 b!=2 c=(3,4) d=").unwrap();
        let found: Vec<(&[u8], usize)> = filter
            .equalities()
            .map(|(label, values)| (label, values.len()))
            .collect();
        assert_eq!(found, [(&b"a"[..], 1), (b"c", 2)]);
        assert_eq!(filter.matchers().len(), 4);
    }
}
