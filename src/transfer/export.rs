//! `ticklane export`: every sample of a running server's series as lines of text, page by page.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use redis_protocol::resp2::types::OwnedFrame;

use super::connection::Connection;
use super::row::{CSV_HEADER, write_csv, write_v2};
use super::{ServerAddress, TransferError};
use crate::resp::number::{parse_f64, parse_i64};
use crate::series::Sample;

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportFormat {
    /// SH600519:00000000670c5a28:00, a tab, 18 hex digits (big-endian double and quality)
    V2,
    /// key,timestamp,value,quality,data_type with a header line
    Csv,
}

/// What to export, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportOptions {
    /// The server.
    pub server: ServerAddress,
    /// How lines are written.
    pub format: ExportFormat,
    /// Only keys that begin so are exported, without it.
    pub key_prefix: String,
    /// The file; `-` is standard output.
    pub file: PathBuf,
}

/// What an export did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportCounts {
    /// Series, by key and data type.
    pub series: u64,
    /// Samples written.
    pub samples: u64,
    /// Keys that the format cannot hold.
    pub bad_keys: u64,
}

/// Keys asked for per SCAN.
const KEYS_PER_SCAN: &[u8] = b"1000";
/// Samples asked for per TSDB_GET.
const SAMPLES_PER_PAGE: usize = 10_000;

struct Export<'a> {
    connection: Connection,
    options: &'a ExportOptions,
    out: Box<dyn Write>,
    counts: ExportCounts,
    bar: ProgressBar,
    complaints: &'a mut dyn Write,
}

/// Exports all series; complaints about keys go to `complaints`.
///
/// # Errors
/// If the file cannot be written or the server goes away.
pub fn export(options: &ExportOptions, complaints: &mut dyn Write) -> Result<ExportCounts, TransferError> {
    let connection = Connection::open(&options.server)?;
    let file_error = |cause| TransferError::File {
        path: options.file.clone(),
        cause,
    };
    let out: Box<dyn Write> = if options.file == Path::new("-") {
        Box::new(BufWriter::new(io::stdout()))
    } else {
        Box::new(BufWriter::with_capacity(
            1 << 20,
            File::create(&options.file).map_err(file_error)?,
        ))
    };
    let style = ProgressStyle::with_template("{spinner} {bytes} ({bytes_per_sec}) {msg}");
    let bar =
        ProgressBar::no_length().with_style(style.map_err(|error| file_error(io::Error::other(error)))?);
    let mut export = Export {
        connection,
        options,
        out,
        counts: ExportCounts::default(),
        bar,
        complaints,
    };
    if options.format == ExportFormat::Csv {
        export.write(CSV_HEADER)?;
    }
    export.all()?;
    export.out.flush().map_err(file_error)?;
    export.bar.finish_and_clear();
    Ok(export.counts)
}

fn unexpected(request: &str, answer: impl std::fmt::Debug) -> TransferError {
    TransferError::Refused {
        request: request.into(),
        answer: format!("unexpected answer {answer:?}"),
    }
}

fn bytes_of(frame: OwnedFrame) -> Option<Vec<u8>> {
    match frame {
        OwnedFrame::BulkString(bytes) | OwnedFrame::SimpleString(bytes) => Some(bytes),
        _ => None,
    }
}

impl Export<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        self.bar.inc(bytes.len() as u64);
        let path = &self.options.file;
        self.out.write_all(bytes).map_err(|cause| TransferError::File {
            path: path.clone(),
            cause,
        })
    }

    fn all(&mut self) -> Result<(), TransferError> {
        let pattern = glob_of_prefix(self.options.key_prefix.as_bytes());
        let mut cursor = b"0".to_vec();
        loop {
            let words: [&[u8]; 8] = [
                b"SCAN",
                &cursor,
                b"MATCH",
                &pattern,
                b"COUNT",
                KEYS_PER_SCAN,
                b"TYPE",
                b"TSDB-TYPE",
            ];
            let OwnedFrame::Array(mut parts) = self.connection.ask(&words)? else {
                return Err(unexpected("SCAN", "without parts"));
            };
            let (Some(OwnedFrame::Array(keys)), Some(next)) = (parts.pop(), parts.pop().and_then(bytes_of))
            else {
                return Err(unexpected("SCAN", "with other parts"));
            };
            for key in keys.into_iter().filter_map(bytes_of) {
                self.key(&key)?;
            }
            if next == b"0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    fn key(&mut self, key: &[u8]) -> Result<(), TransferError> {
        if self.options.format == ExportFormat::V2 && key.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            self.counts.bad_keys += 1;
            let complaints = &mut self.complaints;
            // A terminal that went away must not end the export.
            let _ = self.bar.suspend(|| {
                writeln!(
                    complaints,
                    "key {}: a line break cannot be written as v2, use csv",
                    key.escape_ascii()
                )
            });
            return Ok(());
        }
        let OwnedFrame::Array(types) = self.connection.ask(&[b"TSDB_TYPES", key])? else {
            return Err(unexpected("TSDB_TYPES", "without elements"));
        };
        for data_type in types {
            let OwnedFrame::Integer(number) = data_type else {
                return Err(unexpected("TSDB_TYPES", data_type));
            };
            let data_type = u8::try_from(number).map_err(|_| unexpected("TSDB_TYPES", number))?;
            self.series(key, data_type)?;
        }
        Ok(())
    }

    fn series(&mut self, key: &[u8], data_type: u8) -> Result<(), TransferError> {
        self.counts.series += 1;
        let name = key
            .strip_prefix(self.options.key_prefix.as_bytes())
            .unwrap_or(key);
        let (limit, type_text) = (SAMPLES_PER_PAGE.to_string(), data_type.to_string());
        let mut from = b"-".to_vec();
        let mut lines = Vec::new();
        loop {
            let words: [&[u8]; 7] = [
                b"TSDB_GET",
                key,
                &from,
                b"+",
                limit.as_bytes(),
                b"TYPE",
                type_text.as_bytes(),
            ];
            let OwnedFrame::Array(samples) = self.connection.ask(&words)? else {
                return Err(unexpected("TSDB_GET", "without elements"));
            };
            lines.clear();
            let count = samples.len();
            let mut last = i64::MAX;
            for sample in samples {
                let (sample, value) =
                    parse_sample(sample).ok_or_else(|| unexpected("TSDB_GET", "in a sample"))?;
                last = sample.timestamp;
                match self.options.format {
                    ExportFormat::V2 => {
                        write_v2(name, data_type, sample, &mut lines);
                    }
                    ExportFormat::Csv => write_csv(name, data_type, sample, &value, &mut lines),
                }
            }
            self.counts.samples += count as u64;
            self.bar.set_message(format!(
                "{} series, {} samples",
                self.counts.series, self.counts.samples
            ));
            self.write(&lines)?;
            match last.checked_add(1) {
                Some(next) if count == SAMPLES_PER_PAGE => from = next.to_string().into_bytes(),
                _ => return Ok(()),
            }
        }
    }
}

/// A sample of TSDB_GET, and its value's text.
fn parse_sample(frame: OwnedFrame) -> Option<(Sample, Vec<u8>)> {
    let OwnedFrame::Array(parts) = frame else {
        return None;
    };
    let [timestamp, value, quality] = <[OwnedFrame; 3]>::try_from(parts).ok()?;
    let integer = |frame: OwnedFrame| match frame {
        OwnedFrame::Integer(number) => Some(number),
        other => bytes_of(other).as_deref().and_then(parse_i64),
    };
    let text = bytes_of(value)?;
    let value = parse_f64(&text).or_else(|| text.eq_ignore_ascii_case(b"nan").then_some(f64::NAN))?;
    let quality = u8::try_from(integer(quality)?).ok()?;
    Some((
        Sample {
            timestamp: integer(timestamp)?,
            value,
            quality,
        },
        text,
    ))
}

/// The pattern of keys that begin with `prefix`.
fn glob_of_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 1);
    for byte in prefix {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\' | b'^') {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(b'*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_match_themselves_only() {
        assert_eq!(glob_of_prefix(b"stock_"), b"stock_*");
        assert_eq!(glob_of_prefix(b"a*[b"), b"a\\*\\[b*");
    }

    #[test]
    fn samples_of_other_shapes_are_refused() {
        let bulk = |text: &str| OwnedFrame::BulkString(text.into());
        let sample = OwnedFrame::Array(vec![OwnedFrame::Integer(5), bulk("1.5"), OwnedFrame::Integer(2)]);
        assert_eq!(
            parse_sample(sample).unwrap().0,
            Sample {
                timestamp: 5,
                value: 1.5,
                quality: 2
            }
        );
        let two = OwnedFrame::Array(vec![OwnedFrame::Integer(5), bulk("1.5")]);
        assert!(parse_sample(two).is_none());
        let quality = OwnedFrame::Array(vec![
            OwnedFrame::Integer(5),
            bulk("1.5"),
            OwnedFrame::Integer(256),
        ]);
        assert!(parse_sample(quality).is_none());
    }
}
