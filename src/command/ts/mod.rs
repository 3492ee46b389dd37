//! What the TS.* commands read from their arguments, and how they write values; none of it touches a series.

pub mod duration;
pub mod labels;
pub mod options;
#[cfg(test)]
mod test_args;
pub mod texts;
pub mod timestamp;
pub mod value;
