//! Rows of a query and single samples as replies.

use crate::resp::{Reply, SampleWriter};
use crate::series::Sample;

use super::query::SeriesRows;
use super::value::{SAMPLE_TEXT, write_value};

/// Writes rows as `[[timestamp, value ...] ...]`, with the quality behind the value if there are any.
pub fn write_rows(reply: &mut Reply, found: &SeriesRows) {
    reply.array(found.rows.len());
    let (rows, qualities) = (&found.rows, found.qualities.as_deref());
    if rows.width == 1 {
        let mut writer = SampleWriter::new(SAMPLE_TEXT, qualities.is_some());
        return writer.write(reply, &rows.timestamps, &rows.values, qualities, false);
    }
    for (index, (timestamp, row)) in found.rows.iter().enumerate() {
        let quality = found
            .qualities
            .as_ref()
            .and_then(|qualities| qualities.get(index));
        reply.array(1 + row.len() + usize::from(quality.is_some()));
        reply.integer(timestamp);
        row.iter().for_each(|value| write_value(reply, *value));
        if let Some(quality) = quality {
            reply.integer(i64::from(*quality));
        }
    }
}

/// Writes `[timestamp, value]`, or an empty array.
pub fn write_sample(reply: &mut Reply, sample: Option<Sample>) {
    match sample {
        None => reply.array(0),
        Some(sample) => {
            reply.array(2);
            reply.integer(sample.timestamp);
            write_value(reply, sample.value);
        }
    }
}
