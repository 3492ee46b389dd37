//! Reading a journal record back, operation by operation.

use super::sample::{SAMPLE_MAX_BYTES, SAMPLE_TAG, SampleRecord, decimal_value, unzigzag};
use super::{
    BATCH_BEGIN, BATCH_END, BATCH_OUTCOME, CREATE_SERIES, DELETE, DELETE_RANGE, DELIVERED, DROP_SERIES,
    EXPIRE, FLUSH, OLD_DECIMAL_SAMPLE, OLD_DECIMAL_SAMPLE_WITH_QUALITY, OLD_SAMPLE, OLD_SAMPLE_WITH_QUALITY,
    OWE, Operation, PATCH, PartitionName, RENAME, SET, SET_PROPERTIES, SET_WITH_EXPIRY,
};

/// A record cannot be read: at which byte, and what was expected there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalDamage {
    /// Offset in the record.
    pub offset: usize,
    /// What could not be read.
    pub expected: &'static str,
}

impl std::fmt::Display for JournalDamage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "expected {} at byte {}", self.expected, self.offset)
    }
}

/// Reads the operations of one record in order.
pub struct JournalReader<'a> {
    record: &'a [u8],
    offset: usize,
    last_timestamp: i64,
}

impl<'a> JournalReader<'a> {
    /// Starts at the first operation.
    pub fn new(record: &'a [u8]) -> JournalReader<'a> {
        JournalReader {
            record,
            offset: 0,
            last_timestamp: 0,
        }
    }

    fn damage(&self, expected: &'static str) -> JournalDamage {
        JournalDamage {
            offset: self.offset,
            expected,
        }
    }

    fn take(&mut self, len: usize, expected: &'static str) -> Result<&'a [u8], JournalDamage> {
        let end = self
            .offset
            .checked_add(len)
            .filter(|end| *end <= self.record.len());
        let end = end.ok_or_else(|| self.damage(expected))?;
        let bytes = self
            .record
            .get(self.offset..end)
            .ok_or_else(|| self.damage(expected))?;
        self.offset = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N], JournalDamage> {
        let bytes = self.take(N, expected)?;
        bytes.try_into().map_err(|_| self.damage(expected))
    }

    fn byte(&mut self, expected: &'static str) -> Result<u8, JournalDamage> {
        self.array::<1>(expected).map(|[byte]| byte)
    }

    fn varint(&mut self, expected: &'static str) -> Result<u64, JournalDamage> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(expected)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.damage(expected))
    }

    fn bytes(&mut self, expected: &'static str) -> Result<&'a [u8], JournalDamage> {
        let len = usize::try_from(self.varint(expected)?).map_err(|_| self.damage(expected))?;
        self.take(len, expected)
    }

    /// The next operation, `None` at the end.
    ///
    /// # Errors
    /// Where the record is damaged.
    pub fn next_operation(&mut self) -> Result<Option<Operation<'a>>, JournalDamage> {
        if self.offset == self.record.len() {
            return Ok(None);
        }
        if let Some(SAMPLE_TAG..) = self.record.get(self.offset) {
            return self.sample().map(Some);
        }
        let number = self.byte("an operation")?;
        let operation = match number {
            SET | SET_WITH_EXPIRY => self.set(number)?,
            DELETE => Operation::Delete {
                key: self.bytes("a key")?,
            },
            EXPIRE => Operation::Expire {
                key: self.bytes("a key")?,
                expire_at_ms: unzigzag(self.varint("a deadline")?),
            },
            PATCH => Operation::Patch {
                key: self.bytes("a key")?,
                offset: usize::try_from(self.varint("an offset")?).map_err(|_| self.damage("an offset"))?,
                bytes: self.bytes("bytes")?,
            },
            CREATE_SERIES => Operation::CreateSeries {
                key: self.bytes("a key")?,
                data_type: self.byte("a data type")?,
                series_id: self.varint("a series id")?,
            },
            OLD_SAMPLE | OLD_SAMPLE_WITH_QUALITY | OLD_DECIMAL_SAMPLE | OLD_DECIMAL_SAMPLE_WITH_QUALITY => {
                self.old_sample(number)?
            }
            FLUSH => Operation::Flush,
            BATCH_BEGIN => self.batch_begin()?,
            BATCH_END => {
                self.last_timestamp = 0;
                Operation::BatchEnd
            }
            BATCH_OUTCOME => Operation::BatchOutcome {
                id: u128::from_le_bytes(self.array("a batch id")?),
                committed: self.byte("an outcome")? == 1,
            },
            RENAME => self.rename()?,
            DROP_SERIES => Operation::DropSeries {
                series_id: self.varint("a series id")?,
            },
            OWE => Operation::Owe {
                id: self.varint("an outbox number")?,
                entry: self.bytes("an outbox entry")?,
            },
            DELIVERED => Operation::Delivered {
                id: self.varint("an outbox number")?,
            },
            DELETE_RANGE => Operation::DeleteRange {
                series_id: self.varint("a series id")?,
                from: unzigzag(self.varint("a timestamp")?),
                to: unzigzag(self.varint("a timestamp")?),
            },
            SET_PROPERTIES => Operation::SetProperties {
                key: self.bytes("a key")?,
                properties: self.bytes("properties")?,
            },
            _ => return Err(self.damage("a known operation")),
        };
        Ok(Some(operation))
    }

    #[inline]
    fn set(&mut self, number: u8) -> Result<Operation<'a>, JournalDamage> {
        let key = self.bytes("a key")?;
        let expire_at_ms = if number == SET {
            0
        } else {
            unzigzag(self.varint("a deadline")?)
        };
        Ok(Operation::Set {
            key,
            value: self.bytes("a value")?,
            expire_at_ms,
        })
    }

    #[inline]
    fn sample(&mut self) -> Result<Operation<'a>, JournalDamage> {
        let rest = self.record.get(self.offset..).unwrap_or(&[]);
        let (sample, len) = match rest.first_chunk() {
            Some(bytes) => SampleRecord::read(bytes),
            None => {
                let mut bytes = [0; SAMPLE_MAX_BYTES];
                let (written, _) = bytes.split_at_mut(rest.len());
                written.copy_from_slice(rest);
                SampleRecord::read(&bytes)
            }
        };
        self.take(len, "a sample")?;
        self.last_timestamp = self.last_timestamp.wrapping_add(sample.distance);
        Ok(Operation::Sample {
            series_id: sample.series_id,
            timestamp: self.last_timestamp,
            value: sample.value,
            quality: sample.quality,
        })
    }

    fn old_sample(&mut self, number: u8) -> Result<Operation<'a>, JournalDamage> {
        let series_id = self.varint("a series id")?;
        let distance = unzigzag(self.varint("a timestamp")?);
        self.last_timestamp = self.last_timestamp.wrapping_add(distance);
        let value = match number {
            OLD_SAMPLE | OLD_SAMPLE_WITH_QUALITY => f64::from_le_bytes(self.array("a value")?),
            _ => decimal_value(i32::from_le_bytes(self.array("a decimal")?)),
        };
        let quality = match number {
            OLD_SAMPLE_WITH_QUALITY | OLD_DECIMAL_SAMPLE_WITH_QUALITY => self.byte("a quality")?,
            _ => 0,
        };
        Ok(Operation::Sample {
            series_id,
            timestamp: self.last_timestamp,
            value,
            quality,
        })
    }

    fn rename(&mut self) -> Result<Operation<'a>, JournalDamage> {
        let (from, to) = (self.bytes("a key")?, self.bytes("a key")?);
        let expire_at_ms = unzigzag(self.varint("a deadline")?);
        let mut members = Vec::new();
        for _ in 0..self.varint("a count of series")? {
            members.push((self.byte("a data type")?, self.varint("a series id")?));
        }
        Ok(Operation::Rename {
            from,
            to,
            members,
            expire_at_ms,
        })
    }

    fn batch_begin(&mut self) -> Result<Operation<'a>, JournalDamage> {
        let id = u128::from_le_bytes(self.array("a batch id")?);
        let count = self.varint("a participant count")?;
        let mut participants = Vec::new();
        for _ in 0..count {
            let business = u32::from_le_bytes(self.array("a participant")?);
            let partition = u16::from_le_bytes(self.array("a participant")?);
            participants.push(PartitionName { business, partition });
        }
        self.last_timestamp = 0;
        Ok(Operation::BatchBegin { id, participants })
    }
}
