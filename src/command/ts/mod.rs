//! The TS.* commands: what they read from their arguments, what they do to series and how they answer.

pub mod aggregation;
pub mod create;
pub mod delete;
pub mod duration;
pub mod facts;
pub mod feed;
pub mod follow;
pub mod info;
pub mod label_choice;
pub mod label_index;
pub mod labels;
pub mod matching;
pub mod mget;
pub mod multi;
pub mod options;
pub mod parts;
pub mod query;
pub mod range_options;
pub mod read;
pub mod read_options;
pub mod rows_reply;
pub mod rules;
pub mod several;
#[cfg(test)]
mod test_args;
pub mod texts;
pub mod timestamp;
pub mod value;
pub mod write;
