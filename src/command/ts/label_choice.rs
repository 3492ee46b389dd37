//! WITHLABELS and SELECTED_LABELS: which labels a reply about several series carries.

use crate::refusal::Refusal;
use crate::resp::Args;

use super::texts;

/// Labels that one query may select.
pub const SELECTED_LABELS_MAX: usize = 50;

/// Words that end the selected labels in any case, as RedisTimeSeries has them.
const END_WORDS: [&str; 9] = [
    "WITHLABELS",
    "AGGREGATION",
    "LIMIT",
    "GROUPBY",
    "REDUCE",
    "FILTER",
    "FILTER_BY_VALUE",
    "FILTER_BY_TS",
    "COUNT",
];

/// Words that end them only in capitals, since labels may be called `latest`.
const CAPITAL_END_WORDS: [&str; 8] = [
    "LATEST",
    "ALIGN",
    "BUCKETTIMESTAMP",
    "EMPTY",
    "EXCLUDEEMPTY",
    "FILTER_BY_QUALITY",
    "WITHQUALITY",
    "TOLERANCE",
];

/// Which labels are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LabelChoice {
    /// None of them.
    #[default]
    None,
    /// All of them.
    All,
    /// These, whose names are compared without regard to case; one that is missing is shown as null.
    Selected(Vec<Box<[u8]>>),
}

impl LabelChoice {
    /// Reads the option whose word stands before `index`, if it is one of these; returns where its operands
    /// end.
    ///
    /// # Errors
    /// [`texts::LABELS_TWICE`], [`texts::SELECTED_LABELS_EMPTY`], [`texts::SELECTED_LABELS_TOO_MANY`].
    pub fn read(&mut self, word: &[u8], args: Args<'_>, index: usize) -> Result<Option<usize>, Refusal> {
        if word.eq_ignore_ascii_case(b"WITHLABELS") {
            return match self {
                LabelChoice::Selected(_) => Err(texts::LABELS_TWICE),
                LabelChoice::None | LabelChoice::All => {
                    *self = LabelChoice::All;
                    Ok(Some(index))
                }
            };
        }
        if !word.eq_ignore_ascii_case(b"SELECTED_LABELS") {
            return Ok(None);
        }
        let selected: Vec<Box<[u8]>> = args
            .cursor(index)
            .take_while(|word| !ends(word))
            .map(Box::from)
            .collect();
        let end = index + selected.len();
        match self {
            LabelChoice::All => return Err(texts::LABELS_TWICE),
            LabelChoice::Selected(_) => return Ok(Some(end)),
            LabelChoice::None => {}
        }
        if selected.is_empty() {
            return Err(texts::SELECTED_LABELS_EMPTY);
        }
        if selected.len() > SELECTED_LABELS_MAX {
            return Err(texts::SELECTED_LABELS_TOO_MANY);
        }
        *self = LabelChoice::Selected(selected);
        Ok(Some(end))
    }
}

fn ends(word: &[u8]) -> bool {
    END_WORDS
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
        || CAPITAL_END_WORDS.iter().any(|known| word == known.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::ts::test_args::with_args;

    fn read(line: &str) -> Result<LabelChoice, Refusal> {
        with_args(line, |args| {
            let mut choice = LabelChoice::default();
            let mut index = 0;
            while let Some(word) = args.try_get(index) {
                index = choice.read(word, args, index + 1)?.unwrap_or(index + 1);
            }
            Ok(choice)
        })
    }

    #[test]
    fn labels_are_selected_up_to_the_next_option() {
        let selected = |names: &[&str]| {
            Ok(LabelChoice::Selected(
                names.iter().map(|name| name.as_bytes().into()).collect(),
            ))
        };
        assert_eq!(read("COUNT 5"), Ok(LabelChoice::None));
        assert_eq!(read("withlabels"), Ok(LabelChoice::All));
        assert_eq!(read("SELECTED_LABELS a b"), selected(&["a", "b"]));
        assert_eq!(read("SELECTED_LABELS a filter x=y"), selected(&["a"]));
        assert_eq!(
            read("SELECTED_LABELS a latest LATEST b"),
            selected(&["a", "latest"])
        );
        let fifty = ["l"; 50].join(" ");
        assert!(read(&format!("SELECTED_LABELS {fifty} COUNT 5")).is_ok());
    }

    #[test]
    fn every_refusal_has_its_text() {
        let too_many = format!("SELECTED_LABELS {}", ["l"; 51].join(" "));
        for (line, refusal) in [
            ("WITHLABELS SELECTED_LABELS a", texts::LABELS_TWICE),
            ("SELECTED_LABELS a WITHLABELS", texts::LABELS_TWICE),
            ("SELECTED_LABELS", texts::SELECTED_LABELS_EMPTY),
            ("SELECTED_LABELS FILTER a=b", texts::SELECTED_LABELS_EMPTY),
            (&too_many, texts::SELECTED_LABELS_TOO_MANY),
        ] {
            assert_eq!(read(line), Err(refusal), "{line}");
        }
    }
}
