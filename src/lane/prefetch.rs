//! Asking the processor for memory that is looked at soon.

use super::keys::{KeyHash, Value};
use super::partition::Partition;

/// Bytes that the processor fetches at once.
const LINE_BYTES: usize = 64;

/// Starts fetching the first lines of `place`, two at most, without waiting for them.
#[inline(always)]
pub fn prefetch<T: ?Sized>(place: &T) {
    let bytes = size_of_val(place);
    let start = std::ptr::from_ref(place).cast::<u8>();
    fetch_line(start);
    if bytes > LINE_BYTES {
        fetch_line(start.wrapping_add(bytes - 1));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn fetch_line(address: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch is a hint: it reads nothing, and cannot fault whatever the address is.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast::<i8>()) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn fetch_line(_: *const u8) {}

impl Partition {
    /// Starts fetching the entry of a key that is looked up soon; [`Partition::fetch_key`] goes on.
    #[inline]
    pub fn seek_key(&self, key: &[u8]) -> Option<KeyHash> {
        self.keys.seek(key)
    }

    /// Starts fetching what the entries with this hash point to.
    #[inline]
    pub fn fetch_key(&self, hash: KeyHash) {
        self.keys.fetch(hash, |value| match value {
            Value::Absent => {}
            Value::String(bytes) => prefetch(&**bytes),
            Value::Series(members) => {
                for (_, member) in members.iter() {
                    if let Some(series) = self.series.place(*member) {
                        prefetch(series);
                    }
                }
            }
        });
    }
}
