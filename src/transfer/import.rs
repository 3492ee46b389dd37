//! `ticklane import`: lines of a file to samples of a running server, streaming, many under way at once.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use redis_protocol::resp2::types::OwnedFrame;

use super::connection::Connection;
use super::row::{Row, parse_v1, parse_v2};
use super::{ServerAddress, TransferError};

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ImportFormat {
    /// stock_SH600519_1728462600, a tab, space or =, 100.5|1 (value and quality)
    V1,
    /// SH600519:00000000670c5a28:00, a tab, space or =, 18 hex digits (big-endian double and quality)
    V2,
}

/// What to import, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportOptions {
    /// The server.
    pub server: ServerAddress,
    /// How lines are written.
    pub format: ImportFormat,
    /// Put in front of every key.
    pub key_prefix: String,
    /// The file; `-` is standard input.
    pub file: PathBuf,
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportCounts {
    /// Samples that the server has acknowledged.
    pub samples: u64,
    /// Lines that could not be read or that the server refused.
    pub bad_lines: u64,
}

/// Lines per command.
const LINES_PER_COMMAND: usize = 100;
/// Commands under way at once.
const COMMANDS_IN_FLIGHT_MAX: usize = 16;
/// Longest line that is read; longer ones are refused.
const LINE_LEN_MAX_BYTES: usize = 1 << 20;
/// Bad lines that are reported one by one.
const BAD_LINES_REPORTED_MAX: u64 = 20;

/// Rows sent together: as one TSDB_MSET if they all are plain, else as one TSDB_SET each.
struct Group {
    rows: Vec<(u64, Row)>,
    replies: usize,
}

struct Import<'a> {
    connection: Connection,
    in_flight: VecDeque<Group>,
    gathered: Vec<(u64, Row)>,
    counts: ImportCounts,
    bar: ProgressBar,
    complaints: &'a mut dyn Write,
}

/// Imports a file; complaints about single lines go to `complaints`.
///
/// # Errors
/// If the file cannot be read or the server goes away.
pub fn import(options: &ImportOptions, complaints: &mut dyn Write) -> Result<ImportCounts, TransferError> {
    let connection = Connection::open(&options.server)?;
    let file_error = |cause| TransferError::File {
        path: options.file.clone(),
        cause,
    };
    let (mut reader, bar) = open(&options.file).map_err(file_error)?;
    let (in_flight, gathered) = (VecDeque::new(), Vec::with_capacity(LINES_PER_COMMAND));
    let mut import = Import {
        connection,
        in_flight,
        gathered,
        counts: ImportCounts::default(),
        bar,
        complaints,
    };
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        let read = read_line(&mut reader, &mut line).map_err(file_error)?;
        if read == 0 {
            break;
        }
        number += 1;
        import.bar.inc(read);
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let prefix = options.key_prefix.as_bytes();
        let row = match options.format {
            _ if read > LINE_LEN_MAX_BYTES as u64 => Err("the line is too long"),
            ImportFormat::V1 => parse_v1(text, prefix),
            ImportFormat::V2 => parse_v2(text, prefix),
        };
        match row {
            Ok(row) => import.add(number, row)?,
            Err(reason) => import.complain(number, reason),
        }
    }
    import.finish()
}

fn open(path: &Path) -> io::Result<(Box<dyn BufRead>, ProgressBar)> {
    const READ_BYTES: usize = 1 << 20;
    if path == Path::new("-") {
        let style = ProgressStyle::with_template("{spinner} {bytes} ({bytes_per_sec})");
        let bar = ProgressBar::no_length().with_style(style.map_err(io::Error::other)?);
        return Ok((Box::new(BufReader::with_capacity(READ_BYTES, io::stdin())), bar));
    }
    let file = File::open(path)?;
    let style =
        ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} ({bytes_per_sec}, {eta} left)");
    let bar = ProgressBar::new(file.metadata()?.len()).with_style(style.map_err(io::Error::other)?);
    Ok((Box::new(BufReader::with_capacity(READ_BYTES, file)), bar))
}

/// Reads one line into `line`, of a longer one only the beginning; returns the bytes taken from the file.
fn read_line(reader: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    line.clear();
    let mut taken = 0;
    loop {
        let buffer = reader.fill_buf()?;
        let end = memchr::memchr(b'\n', buffer);
        let piece = buffer
            .get(..end.map_or(buffer.len(), |place| place + 1))
            .unwrap_or(buffer);
        if line.len() <= LINE_LEN_MAX_BYTES {
            line.extend_from_slice(piece);
        }
        let len = piece.len();
        reader.consume(len);
        taken += len as u64;
        if end.is_some() || len == 0 {
            return Ok(taken);
        }
    }
}

impl Import<'_> {
    fn add(&mut self, number: u64, row: Row) -> Result<(), TransferError> {
        self.gathered.push((number, row));
        if self.gathered.len() < LINES_PER_COMMAND {
            return Ok(());
        }
        self.send_gathered()?;
        while self.in_flight.len() >= COMMANDS_IN_FLIGHT_MAX {
            self.settle_oldest()?;
        }
        Ok(())
    }

    fn send_gathered(&mut self) -> Result<(), TransferError> {
        let rows = std::mem::replace(&mut self.gathered, Vec::with_capacity(LINES_PER_COMMAND));
        if rows.is_empty() {
            return Ok(());
        }
        let together = rows.iter().all(|(_, row)| row.is_plain());
        if together {
            self.connection.begin(1 + 3 * rows.len());
            self.connection.word(b"TSDB_MSET");
            for (_, row) in &rows {
                self.words_of(row);
            }
        } else {
            rows.iter().for_each(|(_, row)| self.command_of(row));
        }
        self.connection.send()?;
        let replies = if together { 1 } else { rows.len() };
        self.in_flight.push_back(Group { rows, replies });
        Ok(())
    }

    fn words_of(&mut self, row: &Row) {
        self.connection.word(&row.key);
        self.connection.word(row.sample.timestamp.to_string().as_bytes());
        let mut value = Vec::new();
        crate::resp::number::format_f64_shortest(row.sample.value, &mut value);
        self.connection.word(&value);
    }

    fn command_of(&mut self, row: &Row) {
        self.connection.begin(6);
        self.connection.word(b"TSDB_SET");
        self.words_of(row);
        self.connection.word(row.data_type.to_string().as_bytes());
        self.connection.word(row.sample.quality.to_string().as_bytes());
    }

    /// Waits for the oldest command. If the server refused it, everything that is under way is sent again line by line:
    /// that tells which line is bad, and keeps the last of equal timestamps the winner.
    fn settle_oldest(&mut self) -> Result<(), TransferError> {
        let Some(group) = self.in_flight.pop_front() else {
            return Ok(());
        };
        let mut refused = false;
        for _ in 0..group.replies {
            refused |= matches!(self.connection.read()?, OwnedFrame::Error(_));
        }
        if !refused {
            self.counts.samples += group.rows.len() as u64;
            return Ok(());
        }
        let mut again = group.rows;
        for group in std::mem::take(&mut self.in_flight) {
            for _ in 0..group.replies {
                self.connection.read()?;
            }
            again.extend(group.rows);
        }
        for (number, row) in again {
            self.command_of(&row);
            self.connection.send()?;
            match self.connection.read()? {
                OwnedFrame::Error(reason) => self.complain(number, &reason),
                _ => self.counts.samples += 1,
            }
        }
        Ok(())
    }

    fn complain(&mut self, number: u64, reason: &str) {
        self.counts.bad_lines += 1;
        if self.counts.bad_lines <= BAD_LINES_REPORTED_MAX {
            let complaints = &mut self.complaints;
            // A terminal that went away must not end the import.
            let _ = self
                .bar
                .suspend(|| writeln!(complaints, "line {number}: {reason}"));
        }
    }

    fn finish(mut self) -> Result<ImportCounts, TransferError> {
        self.send_gathered()?;
        while !self.in_flight.is_empty() {
            self.settle_oldest()?;
        }
        self.bar.finish_and_clear();
        let unreported = self.counts.bad_lines.saturating_sub(BAD_LINES_REPORTED_MAX);
        if unreported > 0 {
            // As above.
            let _ = writeln!(self.complaints, "and {unreported} more bad lines");
        }
        Ok(self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_whole_and_long_ones_are_cut() {
        let long = "x".repeat(3 * LINE_LEN_MAX_BYTES);
        let text = format!("one\n{long}\nlast");
        let mut reader = BufReader::with_capacity(1000, text.as_bytes());
        let mut line = Vec::new();
        assert_eq!(
            (read_line(&mut reader, &mut line).unwrap(), &line[..]),
            (4, &b"one\n"[..])
        );
        assert_eq!(
            read_line(&mut reader, &mut line).unwrap(),
            3 * LINE_LEN_MAX_BYTES as u64 + 1
        );
        assert!(line.len() < LINE_LEN_MAX_BYTES + 2000);
        assert_eq!(
            (read_line(&mut reader, &mut line).unwrap(), &line[..]),
            (4, &b"last"[..])
        );
        assert_eq!(read_line(&mut reader, &mut line).unwrap(), 0);
    }
}
