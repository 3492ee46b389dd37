//! Reading a journal record back, operation by operation.

use super::{
    BATCH_BEGIN, BATCH_END, BATCH_OUTCOME, CREATE_SERIES, DECIMAL_SAMPLE, DECIMAL_SAMPLE_WITH_QUALITY,
    DELETE, DELETE_RANGE, DELIVERED, DROP_SERIES, EXPIRE, FLUSH, OWE, Operation, PATCH, PartitionName,
    RENAME, SAMPLE, SAMPLE_MAX_BYTES, SAMPLE_WITH_QUALITY, SET, SET_PROPERTIES, SET_WITH_EXPIRY,
    decimal_value, sample_shape, unzigzag,
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
            SAMPLE | SAMPLE_WITH_QUALITY | DECIMAL_SAMPLE | DECIMAL_SAMPLE_WITH_QUALITY => {
                self.sample(number)?
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
    fn sample(&mut self, number: u8) -> Result<Operation<'a>, JournalDamage> {
        if let Some(sample) = self.short_sample(number) {
            return Ok(sample);
        }
        let series_id = self.varint("a series id")?;
        let timestamp = self
            .last_timestamp
            .wrapping_add(unzigzag(self.varint("a timestamp")?));
        self.last_timestamp = timestamp;
        let (is_decimal, has_quality) = sample_shape(number);
        let value = if is_decimal {
            decimal_value(i32::from_le_bytes(self.array("a decimal")?))
        } else {
            f64::from_le_bytes(self.array("a value")?)
        };
        let quality = if has_quality { self.byte("a quality")? } else { 0 };
        Ok(Operation::Sample {
            series_id,
            timestamp,
            value,
            quality,
        })
    }

    /// A sample as most are, without a look for the end of the record at every byte: `None` if it may be longer than
    /// what is left of the record, or if it is damaged.
    #[inline]
    fn short_sample(&mut self, number: u8) -> Option<Operation<'a>> {
        let bytes = self
            .record
            .get(self.offset..)?
            .first_chunk::<SAMPLE_MAX_BYTES>()?;
        let (series_id, position) = short_varint(bytes, 0)?;
        let (distance, position) = short_varint(bytes, position)?;
        let (is_decimal, has_quality) = sample_shape(number);
        let (value, position) = if is_decimal {
            let decimal = i32::from_le_bytes(*bytes.get(position..)?.first_chunk()?);
            (decimal_value(decimal), position + 4)
        } else {
            let value = f64::from_le_bytes(*bytes.get(position..)?.first_chunk()?);
            (value, position + 8)
        };
        let quality = if has_quality { *bytes.get(position)? } else { 0 };
        self.offset += position + usize::from(has_quality);
        let timestamp = self.last_timestamp.wrapping_add(unzigzag(distance));
        self.last_timestamp = timestamp;
        Some(Operation::Sample {
            series_id,
            timestamp,
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

/// The integer at `position` and the position behind it; `None` if it takes more than nine bytes.
#[inline(always)]
fn short_varint(bytes: &[u8; SAMPLE_MAX_BYTES], position: usize) -> Option<(u64, usize)> {
    const LEN_MAX: usize = 9;
    let mut value = 0;
    for (place, byte) in bytes.get(position..position + LEN_MAX)?.iter().enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if *byte < 0x80 {
            return Some((value, position + place + 1));
        }
    }
    None
}
