//! Asking the processor for memory that is looked at soon, of many keys at once: waiting for each in turn is what most
//! of a look-up costs.

use super::keys::{KeyHash, Value};
use super::partition::Partition;
use super::series_state::Series;

/// Bytes that the processor fetches at once.
const LINE_BYTES: usize = 64;
/// Lines of one thing: more than a processor has under way at a time for all of them is in vain.
const LINES_MAX: usize = 5;
/// Keys that are fetched at a time.
pub const FETCHED_KEYS_MAX: usize = 16;

/// Starts fetching the first lines of `place` without waiting for them.
#[inline(always)]
pub fn prefetch<T: ?Sized>(place: &T) {
    let bytes = size_of_val(place).min(LINES_MAX * LINE_BYTES);
    let start = std::ptr::from_ref(place).cast::<u8>();
    let mut offset = 0;
    while offset < bytes {
        fetch_line(start.wrapping_add(offset));
        offset += LINE_BYTES;
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

impl Series {
    /// Starts fetching where the next sample of the head goes.
    #[inline]
    fn fetch_head(&self) {
        let len = self.head.timestamps.len();
        fetch_line(self.head.timestamps.as_ptr().wrapping_add(len).cast());
        fetch_line(self.head.values.as_ptr().wrapping_add(len).cast());
    }
}

impl Partition {
    /// Starts fetching the entry of a key that is looked up soon; [`Partition::fetch_key`] goes on. `None` if there are so
    /// few keys that it is in the cache anyway.
    #[inline]
    pub fn seek_key(&self, key: &[u8]) -> Option<KeyHash> {
        self.keys.seek(key)
    }

    /// Starts fetching what the entries with this hash point to. True if [`Partition::fetch_heads`] can go on.
    #[inline]
    pub fn fetch_key(&self, hash: KeyHash) -> bool {
        let mut has_series = false;
        self.keys.fetch(hash, |key, value| {
            prefetch(key);
            match value {
                Value::Absent => {}
                Value::String(bytes) => prefetch(&**bytes),
                Value::Series(members) => {
                    has_series = true;
                    let decoded = self.decoded.borrow();
                    for (_, member) in members.iter() {
                        decoded.fetch(*member);
                        // The place alone: whether a series is in it would have to be read.
                        if let Some(place) = self.series.place(*member) {
                            prefetch(place);
                        }
                    }
                }
            }
        });
        has_series
    }

    /// Starts fetching the ends of the heads of the entries with this hash.
    #[inline]
    pub fn fetch_heads(&self, hash: KeyHash) {
        self.keys.fetch(hash, |_, value| {
            let Value::Series(members) = value else { return };
            for (_, member) in members.iter() {
                if let Some(series) = self.series.get(*member) {
                    series.fetch_head();
                }
            }
        });
    }

    /// Starts fetching all that looking these keys up will touch.
    #[inline]
    pub fn fetch_keys<'k>(&self, mut keys: impl Iterator<Item = &'k [u8]>) {
        let mut hashes = [KeyHash::default(); FETCHED_KEYS_MAX];
        loop {
            let mut sought = 0;
            for (hash, key) in hashes.iter_mut().zip(keys.by_ref()) {
                let Some(found) = self.seek_key(key) else { return };
                *hash = found;
                sought += 1;
            }
            if sought == 0 {
                return;
            }
            let sought = hashes.get(..sought).unwrap_or(&[]);
            let has_series = sought.iter().fold(false, |has, hash| self.fetch_key(*hash) | has);
            if has_series {
                sought.iter().for_each(|hash| self.fetch_heads(*hash));
            }
        }
    }
}
