//! What the TS.* commands read from their arguments, and how they write values; none of it touches a series.

pub mod aggregation;
pub mod duration;
pub mod facts;
pub mod label_choice;
pub mod labels;
pub mod options;
pub mod range_options;
pub mod read_options;
#[cfg(test)]
mod test_args;
pub mod texts;
pub mod timestamp;
pub mod value;
