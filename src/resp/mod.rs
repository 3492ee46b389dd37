//! Bytes to requests and replies and back; knows nothing about commands, lanes or I/O.
//!
//! A connection feeds its read buffer to [`RequestParser`], looks at the request through [`Args`] and
//! writes the answer with [`Reply`].

pub mod args;
pub mod error;
pub mod extended;
pub mod glob;
pub mod inline;
mod natural;
pub mod number;
pub mod reply;
pub mod request;
mod samples;
pub mod value;

pub use args::{ArgCursor, Args};
pub use error::ProtocolError;
pub use glob::glob_match;
pub use reply::{Proto, Reply};
pub use request::{ArgHeaders, Request, RequestLimits, RequestParser, Span, complete_request};
pub use samples::{SampleWriter, VALUE_TEXT_BYTES, ValueText};
pub use value::skip_value;
