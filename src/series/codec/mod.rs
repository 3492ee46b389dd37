//! The codecs of one chunk's columns; each module is one way to write a column.

pub mod bits;
mod blocks;
mod cold;
mod constant;
mod decimal;
pub mod integers;
mod prefix;
pub mod quality;
mod split;
pub mod timestamps;
pub mod values;
mod xor;
