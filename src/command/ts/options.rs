//! The options that create or change a series, behind TS.CREATE, TS.ALTER, TS.ADD, TS.INCRBY and TS.DECRBY.

use std::collections::HashSet;

use crate::refusal::Refusal;
use crate::resp::Args;
use crate::resp::number::{parse_f64, parse_i64};

pub use crate::series::properties::chunk_size_bytes;
pub use crate::series::{DuplicatePolicy, Encoding, Ignore, Label};

use super::duration::parse_duration;
use super::texts;
use super::timestamp::{Now, parse_timestamp};

/// A command that takes options of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesCommand {
    Create,
    Alter,
    Add,
    IncrBy,
    DecrBy,
}

impl SeriesCommand {
    /// Its name in lower case, as error texts have it.
    pub const fn lower_name(self) -> &'static str {
        match self {
            SeriesCommand::Create => "ts.create",
            SeriesCommand::Alter => "ts.alter",
            SeriesCommand::Add => "ts.add",
            SeriesCommand::IncrBy => "ts.incrby",
            SeriesCommand::DecrBy => "ts.decrby",
        }
    }
}

/// Options as the client gave them; what it left out is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesOptions {
    /// In steps of the business's unit; 0 keeps samples for ever.
    pub retention: Option<i64>,
    /// How chunks are said to be encoded.
    pub encoding: Option<Encoding>,
    /// A multiple of 8 from 48 to 1,048,576.
    pub chunk_size_bytes: Option<u32>,
    /// Of the series.
    pub duplicate_policy: Option<DuplicatePolicy>,
    /// Of this one sample; TS.ADD only.
    pub on_duplicate: Option<DuplicatePolicy>,
    /// Which samples are not worth storing.
    pub ignore: Option<Ignore>,
    /// Empty if LABELS stands alone, which clears those of a series that is there.
    pub labels: Option<Vec<Label>>,
    /// Of the sample, in steps of the business's unit; TS.INCRBY and TS.DECRBY only.
    pub timestamp: Option<i64>,
}

/// A word that begins an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keyword {
    Retention,
    Encoding,
    /// `COMPRESSED` or `UNCOMPRESSED` without `ENCODING`, as old clients send it.
    EncodingAlone(Encoding),
    ChunkSize,
    DuplicatePolicy,
    OnDuplicate,
    Ignore,
    Labels,
    Timestamp,
}

impl Keyword {
    fn find(word: &[u8], command: SeriesCommand) -> Option<Keyword> {
        let keyword = match word.to_ascii_uppercase().as_slice() {
            b"RETENTION" => Keyword::Retention,
            b"ENCODING" => Keyword::Encoding,
            b"UNCOMPRESSED" => Keyword::EncodingAlone(Encoding::Uncompressed),
            b"COMPRESSED" => Keyword::EncodingAlone(Encoding::Compressed),
            b"CHUNK_SIZE" => Keyword::ChunkSize,
            b"DUPLICATE_POLICY" => Keyword::DuplicatePolicy,
            b"ON_DUPLICATE" if command == SeriesCommand::Add => Keyword::OnDuplicate,
            b"IGNORE" => Keyword::Ignore,
            b"LABELS" => Keyword::Labels,
            b"TIMESTAMP" if matches!(command, SeriesCommand::IncrBy | SeriesCommand::DecrBy) => {
                Keyword::Timestamp
            }
            _ => return None,
        };
        Some(keyword)
    }

    const fn operands(self) -> usize {
        match self {
            Keyword::EncodingAlone(_) | Keyword::Labels => 0,
            Keyword::Ignore => 2,
            _ => 1,
        }
    }
}

impl SeriesOptions {
    /// Reads the options of `command` from argument `from` on.
    ///
    /// They come in any order; of one that is given twice the first counts, unknown words are passed over.
    /// Labels reach to the end or to the next option: a word in the place of a label's name is an option if
    /// it is a keyword with valid operands, in capitals if LABELS is (clients send capitals, so a label may
    /// be called `retention`). An odd word behind the labels is passed over.
    ///
    /// # Errors
    /// The texts of RedisTimeSeries for the first option that is malformed.
    pub fn parse(
        args: Args<'_>,
        from: usize,
        command: SeriesCommand,
        now: Now,
    ) -> Result<SeriesOptions, Refusal> {
        let reader = Reader { args, command, now };
        let mut options = SeriesOptions::default();
        let mut index = from;
        while let Some(word) = args.try_get(index) {
            index += 1;
            match Keyword::find(word, command) {
                None => {}
                Some(Keyword::Labels) => {
                    let end = reader.labels_end(index, is_capital(word));
                    let labels = reader.labels(index, end)?;
                    options.labels.get_or_insert(labels);
                    index = end;
                }
                Some(keyword) => {
                    reader.read(keyword, index, &mut options)?;
                    index += keyword.operands();
                }
            }
        }
        Ok(options)
    }
}

fn is_capital(word: &[u8]) -> bool {
    !word.iter().any(u8::is_ascii_lowercase)
}

/// The arguments with what their texts depend on.
#[derive(Clone, Copy)]
struct Reader<'a> {
    args: Args<'a>,
    command: SeriesCommand,
    now: Now,
}

impl Reader<'_> {
    /// Reads the option whose operands begin at `index`.
    fn read(self, keyword: Keyword, index: usize, options: &mut SeriesOptions) -> Result<(), Refusal> {
        let operand = self.args.try_get(index);
        match keyword {
            Keyword::Retention => {
                let retention = operand.and_then(|text| parse_duration(text, self.now.unit));
                match retention {
                    None => return Err(texts::RETENTION),
                    Some(..0) => return Err(texts::RETENTION_NEGATIVE),
                    Some(retention) => options.retention.get_or_insert(retention),
                };
            }
            Keyword::Encoding => {
                let arity = || Refusal::Arity(self.command.lower_name().into());
                let encoding = Encoding::parse(operand.ok_or_else(arity)?).ok_or(texts::ENCODING)?;
                options.encoding.get_or_insert(encoding);
            }
            Keyword::EncodingAlone(encoding) => {
                options.encoding.get_or_insert(encoding);
            }
            Keyword::ChunkSize => {
                let size = operand.and_then(parse_i64).ok_or(texts::CHUNK_SIZE)?;
                let size = chunk_size_bytes(size).ok_or(texts::CHUNK_SIZE_RANGE)?;
                options.chunk_size_bytes.get_or_insert(size);
            }
            Keyword::DuplicatePolicy => {
                options.duplicate_policy.get_or_insert(parse_policy(operand)?);
            }
            Keyword::OnDuplicate => {
                options.on_duplicate.get_or_insert(parse_policy(operand)?);
            }
            Keyword::Ignore => {
                let ignore = self.ignore(index)?;
                options.ignore.get_or_insert(ignore);
            }
            Keyword::Timestamp => {
                let text = operand.ok_or(texts::INVALID_TIMESTAMP)?;
                options.timestamp.get_or_insert(parse_timestamp(text, self.now)?);
            }
            Keyword::Labels => {}
        }
        Ok(())
    }

    fn ignore(self, index: usize) -> Result<Ignore, Refusal> {
        let time = self.args.try_get(index);
        let time = time.and_then(|text| parse_duration(text, self.now.unit));
        let value = self.args.try_get(index + 1).and_then(parse_f64);
        let (max_time_difference, max_value_difference) = time.zip(value).ok_or(texts::IGNORE)?;
        if max_time_difference < 0 || max_value_difference < 0.0 {
            return Err(texts::IGNORE_NEGATIVE);
        }
        Ok(Ignore {
            max_time_difference,
            max_value_difference,
        })
    }

    /// Where the labels that begin at `index` end.
    fn labels_end(self, index: usize, in_capitals: bool) -> usize {
        let mut index = index;
        while let Some(word) = self.args.try_get(index) {
            let may_end = !in_capitals || is_capital(word);
            if may_end && Keyword::find(word, self.command).is_some_and(|keyword| self.ends(keyword, index)) {
                return index;
            }
            index += 2;
        }
        self.args.len()
    }

    /// Whether the keyword at `index` is meant as an option and not as a label's name.
    fn ends(self, keyword: Keyword, index: usize) -> bool {
        match keyword {
            // Nobody names a label like this, so that a mistake in the operand is reported.
            Keyword::ChunkSize | Keyword::DuplicatePolicy | Keyword::OnDuplicate => true,
            Keyword::EncodingAlone(_) => index + 1 == self.args.len(),
            Keyword::Labels => false,
            _ => self
                .read(keyword, index + 1, &mut SeriesOptions::default())
                .is_ok(),
        }
    }

    /// The labels from `index` up to `end`; of a name that is given twice the first value counts.
    fn labels(self, index: usize, end: usize) -> Result<Vec<Label>, Refusal> {
        let mut words = self.args.range(index..end).into_iter();
        let mut labels = Vec::with_capacity(words.len() / 2);
        let mut names = HashSet::with_capacity(words.len() / 2);
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            let has_list_sign = value.iter().any(|byte| b"(),".contains(byte));
            if name.is_empty() || value.is_empty() || has_list_sign {
                return Err(texts::LABELS);
            }
            if names.insert(name) {
                labels.push((name.into(), value.into()));
            }
        }
        Ok(labels)
    }
}

fn parse_policy(operand: Option<&[u8]>) -> Result<DuplicatePolicy, Refusal> {
    let name = operand.ok_or(texts::DUPLICATE_POLICY)?;
    DuplicatePolicy::parse(name).ok_or(texts::DUPLICATE_POLICY_UNKNOWN)
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
