//! The operations of a turn as one journal record: encoding, decoding, and what makes replay safe.
//!
//! Every operation states a result, not a step (a value, not "add one"), so replaying a suffix of the journal over
//! rows that a checkpoint has already written ends in the same state. Samples are the exception: a series' row
//! remembers up to which record its samples are sealed, and replay skips those.
//!
//! Numbers of operations are part of the format and are never reused. Integers are LEB128 varints, but for those of
//! samples (`journal/sample.rs`), whose numbers are tags from 128 on. Samples as they were written before are still read.

mod reader;
mod sample;

use crate::series::SeriesProperties;

use super::outbox::OutboxEntry;

use sample::{SAMPLE_MAX_BYTES, SampleRecord, zigzag};

pub use reader::{JournalDamage, JournalReader};

/// Names one cross-partition batch: random, drawn by the coordinating lane.
pub type BatchId = u128;

/// One partition of one business, as named inside a batch: CRC32C of the business name, partition index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionName {
    /// CRC32C of the business name.
    pub business: u32,
    /// Index of the partition in its business.
    pub partition: u16,
}

impl PartitionName {
    /// The name of a partition.
    pub fn new(business: &str, partition: u16) -> PartitionName {
        PartitionName {
            business: crc32c::crc32c(business.as_bytes()),
            partition,
        }
    }
}

const SET: u8 = 1;
const SET_WITH_EXPIRY: u8 = 2;
const DELETE: u8 = 3;
const EXPIRE: u8 = 4;
const PATCH: u8 = 5;
const CREATE_SERIES: u8 = 6;
const OLD_SAMPLE: u8 = 7;
const OLD_SAMPLE_WITH_QUALITY: u8 = 8;
const FLUSH: u8 = 9;
const BATCH_BEGIN: u8 = 10;
const BATCH_END: u8 = 11;
const BATCH_OUTCOME: u8 = 12;
const DROP_SERIES: u8 = 14;
const RENAME: u8 = 15;
const DELETE_RANGE: u8 = 16;
const SET_PROPERTIES: u8 = 17;
const OWE: u8 = 18;
const DELIVERED: u8 = 19;
const OLD_DECIMAL_SAMPLE: u8 = 20;
const OLD_DECIMAL_SAMPLE_WITH_QUALITY: u8 = 21;

/// One operation as read back.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation<'a> {
    /// The key holds this string; 0 = it never expires.
    Set {
        key: &'a [u8],
        value: &'a [u8],
        expire_at_ms: i64,
    },
    /// The key holds nothing.
    Delete { key: &'a [u8] },
    /// The key expires then; 0 = never.
    Expire { key: &'a [u8], expire_at_ms: i64 },
    /// The string at the key has these bytes at `offset`, zero bytes before them if it was shorter.
    Patch {
        key: &'a [u8],
        offset: usize,
        bytes: &'a [u8],
    },
    /// The key has a series of this data type with this id.
    CreateSeries {
        key: &'a [u8],
        data_type: u8,
        series_id: u64,
    },
    /// A sample was added.
    Sample {
        series_id: u64,
        timestamp: i64,
        value: f64,
        quality: u8,
    },
    /// Everything was deleted.
    Flush,
    /// The operations up to the matching end belong to a batch of several partitions.
    BatchBegin {
        id: BatchId,
        participants: Vec<PartitionName>,
    },
    /// End of a batch's part.
    BatchEnd,
    /// The batch is known to be complete everywhere, or to be void everywhere.
    BatchOutcome { id: BatchId, committed: bool },
    /// A series key has another name; `to` then holds these (data type, series id) and this deadline.
    Rename {
        from: &'a [u8],
        to: &'a [u8],
        members: Vec<(u8, u64)>,
        expire_at_ms: i64,
    },
    /// The series and its samples are gone. Deleting or replacing a key alone does not say so: the rows of `kv` may
    /// be newer than the record, and name a series that came to the key later.
    DropSeries { series_id: u64 },
    /// The samples in this range of time, both ends included, are gone. As with samples, the series' row says up to
    /// which record this is sealed.
    DeleteRange { series_id: u64, from: i64, to: i64 },
    /// The series key has these properties, as [`crate::series::SeriesProperties::encode`] writes them.
    SetProperties { key: &'a [u8], properties: &'a [u8] },
    /// Something has to be delivered to a key elsewhere, as [`super::outbox::OutboxEntry::encode`] writes it.
    Owe { id: u64, entry: &'a [u8] },
    /// It was delivered.
    Delivered { id: u64 },
}

/// The record under construction.
#[derive(Default)]
pub struct JournalBuffer {
    bytes: Vec<u8>,
    /// Timestamp of the sample before: samples store the difference.
    last_timestamp: i64,
}

/// A buffer that grew beyond this is given back after the commit.
const KEPT_BYTES_MAX: usize = 1 << 20;

impl JournalBuffer {
    /// True if nothing happened.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The record so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Starts the next record.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.last_timestamp = 0;
    }

    /// Adds [`Operation::Set`].
    #[inline]
    pub fn set(&mut self, key: &[u8], value: &[u8], expire_at_ms: i64) {
        self.bytes
            .push(if expire_at_ms == 0 { SET } else { SET_WITH_EXPIRY });
        self.push_bytes(key);
        if expire_at_ms != 0 {
            self.push_varint(zigzag(expire_at_ms));
        }
        self.push_bytes(value);
    }

    /// Adds [`Operation::Delete`].
    pub fn delete(&mut self, key: &[u8]) {
        self.bytes.push(DELETE);
        self.push_bytes(key);
    }

    /// Adds [`Operation::Expire`].
    pub fn expire(&mut self, key: &[u8], expire_at_ms: i64) {
        self.bytes.push(EXPIRE);
        self.push_bytes(key);
        self.push_varint(zigzag(expire_at_ms));
    }

    /// Adds [`Operation::Patch`].
    pub fn patch(&mut self, key: &[u8], offset: usize, bytes: &[u8]) {
        self.bytes.push(PATCH);
        self.push_bytes(key);
        self.push_varint(offset as u64);
        self.push_bytes(bytes);
    }

    /// Adds [`Operation::CreateSeries`].
    pub fn create_series(&mut self, key: &[u8], data_type: u8, series_id: u64) {
        self.bytes.push(CREATE_SERIES);
        self.push_bytes(key);
        self.bytes.push(data_type);
        self.push_varint(series_id);
    }

    /// Adds [`Operation::Sample`].
    #[inline]
    pub fn sample(&mut self, series_id: u64, timestamp: i64, value: f64, quality: u8) {
        let sample = SampleRecord {
            series_id,
            distance: timestamp.wrapping_sub(self.last_timestamp),
            value,
            quality,
        };
        self.last_timestamp = timestamp;
        // One growth of the buffer, by a constant: what is not needed of it is taken back.
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; SAMPLE_MAX_BYTES]);
        let operation = self.bytes.last_chunk_mut();
        let len = sample.write(operation.expect("invariant: so many bytes were just added"));
        self.bytes.truncate(start + len);
    }

    /// Adds [`Operation::Flush`].
    pub fn flush(&mut self) {
        self.bytes.push(FLUSH);
    }

    /// Adds [`Operation::Rename`].
    pub fn rename(&mut self, from: &[u8], to: &[u8], members: &[(u8, u64)], expire_at_ms: i64) {
        self.bytes.push(RENAME);
        self.push_bytes(from);
        self.push_bytes(to);
        self.push_varint(zigzag(expire_at_ms));
        self.push_varint(members.len() as u64);
        for (data_type, series_id) in members {
            self.bytes.push(*data_type);
            self.push_varint(*series_id);
        }
    }

    /// Adds [`Operation::DropSeries`].
    pub fn drop_series(&mut self, series_id: u64) {
        self.bytes.push(DROP_SERIES);
        self.push_varint(series_id);
    }

    /// Adds [`Operation::DeleteRange`].
    pub fn delete_range(&mut self, series_id: u64, from: i64, to: i64) {
        self.bytes.push(DELETE_RANGE);
        self.push_varint(series_id);
        self.push_varint(zigzag(from));
        self.push_varint(zigzag(to));
    }

    /// Adds [`Operation::SetProperties`].
    pub fn set_properties(&mut self, key: &[u8], properties: &SeriesProperties) {
        self.bytes.push(SET_PROPERTIES);
        self.push_bytes(key);
        let mut encoded = Vec::new();
        properties.encode(&mut encoded);
        self.push_bytes(&encoded);
    }

    /// Adds [`Operation::Owe`].
    pub fn outbox_entry(&mut self, id: u64, entry: &OutboxEntry) {
        self.bytes.push(OWE);
        self.push_varint(id);
        let mut encoded = Vec::new();
        entry.encode(&mut encoded);
        self.push_bytes(&encoded);
    }

    /// Adds [`Operation::Delivered`].
    pub fn outbox_done(&mut self, id: u64) {
        self.bytes.push(DELIVERED);
        self.push_varint(id);
    }

    /// Adds a batch's part, gathered apart, between its begin and end marks.
    pub fn batch_part(&mut self, id: BatchId, participants: &[PartitionName], part: &JournalBuffer) {
        self.bytes.push(BATCH_BEGIN);
        self.bytes.extend_from_slice(&id.to_le_bytes());
        self.push_varint(participants.len() as u64);
        for participant in participants {
            self.bytes.extend_from_slice(&participant.business.to_le_bytes());
            self.bytes.extend_from_slice(&participant.partition.to_le_bytes());
        }
        self.bytes.extend_from_slice(&part.bytes);
        self.bytes.push(BATCH_END);
        // The reader starts the differences anew at both marks.
        self.last_timestamp = 0;
    }

    /// Adds [`Operation::BatchOutcome`].
    pub fn batch_outcome(&mut self, id: BatchId, committed: bool) {
        self.bytes.push(BATCH_OUTCOME);
        self.bytes.extend_from_slice(&id.to_le_bytes());
        self.bytes.push(u8::from(committed));
    }

    #[inline]
    fn push_bytes(&mut self, bytes: &[u8]) {
        self.push_varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    #[inline]
    fn push_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
