//! The syntax lines of the command table as the argument trees of COMMAND DOCS.
//!
//! `WORD` is a token, `name` a value, `WORD name` a value behind a token, `[...]` optional, `<a | b>` a
//! choice, and `name [name ...]` a value that may be repeated.

/// One argument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Argument {
    /// In lower case.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Word in front of it, or itself.
    pub token: Option<String>,
    /// May be missing.
    pub optional: bool,
    /// May be repeated.
    pub multiple: bool,
    /// Of a choice or a block.
    pub parts: Vec<Argument>,
}

/// What an argument is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Something that the caller chooses.
    #[default]
    Value,
    /// A word.
    Token,
    /// One of its parts.
    OneOf,
    /// Its parts together.
    Block,
}

/// Reads a syntax line; never fails, a line that is not well-formed gives odd arguments.
pub fn parse(syntax: &str) -> Vec<Argument> {
    let spaced = ["[", "]", "<", ">"]
        .iter()
        .fold(syntax.to_owned(), |text, bracket| {
            text.replace(bracket, &format!(" {bracket} "))
        });
    // Both `NX|XX` and `NX | XX` are written; `timestamp|*` stays one value.
    let words: Vec<String> = spaced
        .split_whitespace()
        .flat_map(|word| {
            let alternatives: Vec<&str> = word.split('|').collect();
            let are_tokens = alternatives.len() > 1 && alternatives.iter().all(|word| is_token(word));
            if are_tokens {
                vec![word.replace('|', " | ")]
            } else {
                vec![word.to_owned()]
            }
        })
        .collect();
    let words = words.join(" ");
    let mut words = words.split_whitespace().peekable();
    choice(&mut words, None)
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// Reads alternatives up to `end`; a single one is returned as it is.
fn choice(words: &mut Words<'_>, end: Option<&str>) -> Vec<Argument> {
    let mut alternatives = vec![Vec::new()];
    while let Some(word) = words.next() {
        if Some(word) == end {
            break;
        }
        let Some(sequence) = alternatives.last_mut() else {
            break;
        };
        match word {
            "|" => alternatives.push(Vec::new()),
            "[" => {
                let inner = choice(words, Some("]"));
                add_optional(sequence, inner);
            }
            "<" => {
                let inner = choice(words, Some(">"));
                sequence.push(joined(inner));
            }
            word => add_word(sequence, word),
        }
    }
    let sequences: Vec<Vec<Argument>> = alternatives.into_iter().map(take_tokens).collect();
    match <[Vec<Argument>; 1]>::try_from(sequences) {
        Ok([only]) => only,
        Err(several) => {
            let parts: Vec<Argument> = several
                .into_iter()
                .filter(|part| !part.is_empty())
                .map(joined)
                .collect();
            let name = name_of(&parts);
            vec![Argument {
                name,
                kind: Kind::OneOf,
                parts,
                ..Argument::default()
            }]
        }
    }
}

fn is_token(word: &str) -> bool {
    !word.is_empty()
        && word
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || b"-_.".contains(&byte) || byte.is_ascii_digit())
}

fn add_word(sequence: &mut Vec<Argument>, word: &str) {
    let argument = if is_token(word) {
        let token = Some(word.to_owned());
        Argument {
            name: word.to_ascii_lowercase(),
            kind: Kind::Token,
            token,
            ..Argument::default()
        }
    } else {
        Argument {
            name: word.to_owned(),
            ..Argument::default()
        }
    };
    sequence.push(argument);
}

/// A token in front of a value belongs to it; what follows a token and is not a value leaves it alone.
fn take_tokens(sequence: Vec<Argument>) -> Vec<Argument> {
    let mut taken: Vec<Argument> = Vec::with_capacity(sequence.len());
    for mut argument in sequence {
        let before = taken.last();
        let follows_token = before.is_some_and(|before| before.kind == Kind::Token && !before.optional);
        let can_take = argument.token.is_none() && !argument.optional && argument.name != "...";
        if follows_token && can_take {
            argument.token = taken.pop().and_then(|token| token.token);
        }
        taken.push(argument);
    }
    taken
}

/// `[...]`: optional, or a repetition of what stands before it.
fn add_optional(sequence: &mut Vec<Argument>, mut inner: Vec<Argument>) {
    let repeats = inner.last().is_some_and(|last| last.name == "...");
    if repeats {
        inner.pop();
        *sequence = take_tokens(std::mem::take(sequence));
        let start = sequence.len().saturating_sub(inner.len());
        if !inner.is_empty() && sequence.get(start..) == Some(&inner[..]) {
            let mut repeated = joined(sequence.split_off(start));
            repeated.multiple = true;
            sequence.push(repeated);
            return;
        }
        if let Some(token) = token_before(sequence.get(start..).unwrap_or_default(), &inner) {
            sequence.truncate(start);
            let mut repeated = joined(inner);
            repeated.token = Some(token);
            repeated.multiple = true;
            sequence.push(repeated);
            return;
        }
    }
    let mut argument = joined(inner);
    argument.optional = true;
    argument.multiple |= repeats;
    sequence.push(argument);
}

/// The token in front of `tail` if that is all that tells it from `inner`: `LABELS label value [label value ...]`.
fn token_before(tail: &[Argument], inner: &[Argument]) -> Option<String> {
    let (first, others) = tail.split_first()?;
    let (inner_first, inner_others) = inner.split_first()?;
    let bare = Argument {
        token: None,
        ..first.clone()
    };
    let token = first.token.clone().filter(|_| first.kind != Kind::Token)?;
    (bare == *inner_first && others == inner_others).then_some(token)
}

/// One argument out of a sequence.
fn joined(sequence: Vec<Argument>) -> Argument {
    match <[Argument; 1]>::try_from(sequence) {
        Ok([only]) => only,
        Err(parts) => Argument {
            name: name_of(&parts),
            kind: Kind::Block,
            parts,
            ..Argument::default()
        },
    }
}

fn name_of(parts: &[Argument]) -> String {
    let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
    names.join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Back to text, with brackets for everything that was understood.
    fn shown(arguments: &[Argument]) -> String {
        let texts: Vec<String> = arguments.iter().map(show).collect();
        texts.join(" ")
    }

    fn show(argument: &Argument) -> String {
        let mut text = match argument.kind {
            Kind::Value => argument.name.clone(),
            Kind::Token => argument.token.clone().unwrap(),
            Kind::OneOf => argument.parts.iter().map(show).collect::<Vec<_>>().join("|"),
            Kind::Block => format!("({})", shown(&argument.parts)),
        };
        if let (Some(token), true) = (&argument.token, argument.kind != Kind::Token) {
            text = format!("{token}={text}");
        }
        if argument.multiple {
            text.push_str("...");
        }
        if argument.optional {
            format!("[{text}]")
        } else {
            text
        }
    }

    #[test]
    fn lines_become_trees() {
        for (line, tree) in [
            ("", ""),
            ("key", "key"),
            ("key value [key value ...]", "(key value)..."),
            ("key [key ...]", "key..."),
            ("[section [section ...]]", "[section...]"),
            (
                "key value [NX | XX] [GET] [EX seconds | PX milliseconds | KEEPTTL]",
                "key value [NX|XX] [GET] [EX=seconds|PX=milliseconds|KEEPTTL]",
            ),
            (
                "key [NX|XX] cursor [MATCH pattern] [COUNT count]",
                "key [NX|XX] cursor [MATCH=pattern] [COUNT=count]",
            ),
            (
                "<ON | OFF> [PREFIX prefix [PREFIX prefix ...]]",
                "ON|OFF [PREFIX=prefix...]",
            ),
            (
                "key timestamp|* value [data_type] [quality]",
                "key timestamp|* value [data_type] [quality]",
            ),
            ("[command ...]", "[command...]"),
            ("FILTER filterExpr [filterExpr ...]", "FILTER=filterExpr..."),
            (
                "key [LABELS label value [label value ...]]",
                "key [LABELS=(label value)...]",
            ),
            ("numkeys key [key ...] from", "numkeys key... from"),
            ("[ENCODING <A | B>]", "[ENCODING=A|B]"),
            (
                "[protover [AUTH username password] [SETNAME clientname]]",
                "[(protover [(AUTH=username password)] [SETNAME=clientname])]",
            ),
        ] {
            assert_eq!(shown(&parse(line)), tree, "{line}");
        }
    }

    #[test]
    fn lines_of_time_series_are_understood() {
        for facts in crate::command::ts::facts::ALL {
            let tree = shown(&parse(facts.syntax));
            let loose = tree
                .split(' ')
                .any(|word| word == "..." || word == "[...]" || word == "|");
            assert!(!loose, "{}: {tree}", facts.name);
        }
        let range = "key fromTimestamp toTimestamp [LATEST] [FILTER_BY_TS=timestamp...] [(FILTER_BY_VALUE=min max)] \
            [(FILTER_BY_QUALITY=min max)] [WITHQUALITY] [COUNT=count] \
            [([ALIGN=align] AGGREGATION=aggregators bucketDuration [TZ=zone] [BUCKETTIMESTAMP=bt] [EMPTY])]";
        assert_eq!(shown(&parse(crate::command::ts::facts::RANGE.syntax)), range);
    }

    #[test]
    fn odd_lines_do_no_harm() {
        for line in ["]", "[", "<", "[...]", "| |", "[a", "> a <", "..."] {
            let _ = parse(line);
        }
    }
}
