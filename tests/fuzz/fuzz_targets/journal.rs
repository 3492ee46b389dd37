//! See `properties::journal`.
#![no_main]

use libfuzzer_sys::fuzz_target;

// Each target looks at one of them.
#[allow(dead_code)]
#[path = "../properties.rs"]
mod properties;

fuzz_target!(|data: &[u8]| properties::journal(data));
