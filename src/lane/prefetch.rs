//! Asking the processor for memory that is looked at soon, of many keys at once: waiting for each in turn is what most
//! of a look-up costs.

use crate::series::{Columns, Search};

use super::keys::{SoughtKey, Value};
use super::partition::Partition;
use super::series_state::{SAMPLE_TOUCHES_BYTES, Series};

/// Bytes that the processor fetches at once.
const LINE_BYTES: usize = 64;
/// Lines of one thing: more than a processor has under way at a time for all of them is in vain.
const LINES_MAX: usize = 5;
/// Keys that are fetched at a time.
pub const FETCHED_KEYS_MAX: usize = 16;

/// Starts fetching the first lines of `place` without waiting for them. Always as many, though the last may be asked for
/// twice: a branch on where lines end would be guessed wrong every other time.
#[inline(always)]
pub fn prefetch<T>(place: &T) {
    let bytes = size_of::<T>().min(LINES_MAX * LINE_BYTES);
    let start = std::ptr::from_ref(place).cast::<u8>();
    for line in 0..bytes.div_ceil(LINE_BYTES) {
        fetch_line(start.wrapping_add(line * LINE_BYTES));
    }
    fetch_line(start.wrapping_add(bytes - 1));
}

/// Starts fetching the first lines of `bytes`.
#[inline(always)]
fn prefetch_bytes(bytes: &[u8]) {
    let bytes = bytes.get(..LINES_MAX * LINE_BYTES).unwrap_or(bytes);
    for line in bytes.chunks(LINE_BYTES) {
        fetch_line(line.as_ptr());
    }
    // Lines end where they end, not where the bytes do.
    if let Some(last) = bytes.last() {
        fetch_line(last);
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

/// Starts fetching the samples around `index`, which may be behind the last one.
#[inline]
pub(super) fn fetch_samples(columns: &Columns, index: usize) {
    fetch_line(columns.timestamps.as_ptr().wrapping_add(index).cast());
    fetch_line(columns.values.as_ptr().wrapping_add(index).cast());
}

impl Series {
    /// Starts fetching where the next sample of the head goes.
    #[inline]
    fn fetch_end(&self) {
        fetch_samples(&self.head, self.head.timestamps.len());
    }

    /// Starts fetching what a look for the samples of the head from `at` on touches: its ends, and where they should be.
    #[inline]
    fn fetch_head(&self, at: i64) {
        let (head, sealed_until) = (&self.head.timestamps, self.sealed.last_timestamp);
        let newest = self.newest().unwrap_or(sealed_until);
        fetch_line(head.as_ptr().cast());
        fetch_line(head.as_ptr().wrapping_add(head.len().saturating_sub(1)).cast());
        fetch_samples(&self.head, Search::between(head, sealed_until, newest).guess(at));
    }
}

/// What a command will do with the samples of the series it names.
#[derive(Clone, Copy, Default)]
pub enum Purpose {
    /// It adds one, or it is not known.
    #[default]
    Append,
    /// It reads them from this timestamp on.
    ReadFrom(i64),
}

impl Purpose {
    /// Starts fetching what is touched of a series, from its start. The place alone: whether a series is in it would have
    /// to be read.
    #[inline]
    fn fetch_start(self, place: &Option<Series>) {
        const _: () = assert!(SAMPLE_TOUCHES_BYTES <= 2 * LINE_BYTES && align_of::<Series>() == LINE_BYTES);
        let start = std::ptr::from_ref(place).cast::<u8>();
        fetch_line(start);
        fetch_line(start.wrapping_add(LINE_BYTES));
        if let Purpose::ReadFrom(_) = self {
            // Where its sealed samples end, too.
            fetch_line(start.wrapping_add(2 * LINE_BYTES));
        }
    }
}

impl Partition {
    /// Forgets which keys were to be looked up.
    #[inline]
    pub fn begin_seeking(&mut self) {
        self.keys.begin_seeking();
    }

    /// Starts fetching the entry of a key that is looked up soon; [`Partition::fetch_key`] goes on. `None` if there is
    /// none, or so few keys that it is in the cache anyway.
    #[inline]
    pub fn seek_key(&mut self, key: &[u8]) -> Option<SoughtKey> {
        self.keys.seek(key)
    }

    /// Starts fetching what the entry points to. True if [`Partition::fetch_series`] can go on.
    #[inline]
    pub fn fetch_key(&self, sought: SoughtKey, purpose: Purpose) -> bool {
        let Some(entry) = self.keys.fetched(sought) else {
            return false;
        };
        prefetch_bytes(entry.key_elsewhere());
        match &entry.value {
            Value::Absent => false,
            Value::String(bytes) => {
                prefetch_bytes(bytes);
                false
            }
            Value::Series(members) => {
                for (_, member) in members.iter() {
                    if let Purpose::ReadFrom(_) = purpose {
                        self.decoded.borrow().fetch(*member);
                    }
                    if let Some(place) = self.series.place(*member) {
                        purpose.fetch_start(place);
                    }
                }
                true
            }
        }
    }

    /// Starts fetching the samples of the entry's series that a command with this purpose touches.
    #[inline]
    pub fn fetch_series(&self, sought: SoughtKey, purpose: Purpose) {
        if let Some(Value::Series(members)) = self.keys.fetched(sought).map(|entry| &entry.value) {
            for (_, member) in members.iter() {
                let Some(series) = self.series.get(*member) else {
                    continue;
                };
                match purpose {
                    Purpose::Append => series.fetch_end(),
                    Purpose::ReadFrom(at) if at > series.sealed.last_timestamp => series.fetch_head(at),
                    Purpose::ReadFrom(at) => self.decoded.borrow().fetch_samples(*member, at),
                }
            }
        }
    }

    /// Starts fetching what a new sample touches of the series at `member` itself.
    #[inline]
    pub(super) fn fetch_member(&self, member: u32) {
        if let Some(place) = self.series.place(member) {
            Purpose::Append.fetch_start(place);
        }
    }

    /// Starts fetching where the next sample of the series at `member` goes.
    #[inline]
    pub(super) fn fetch_end(&self, member: u32) {
        if let Some(series) = self.series.get(member) {
            series.fetch_end();
        }
    }

    /// Starts fetching all that looking these keys up will touch.
    #[inline]
    pub fn fetch_keys<'k>(&mut self, mut keys: impl Iterator<Item = &'k [u8]>) {
        let mut window = [SoughtKey::default(); FETCHED_KEYS_MAX];
        self.begin_seeking();
        loop {
            let mut looked_at = 0;
            let mut sought = 0;
            for key in keys.by_ref().take(FETCHED_KEYS_MAX) {
                looked_at += 1;
                if let Some(found) = self.seek_key(key)
                    && let Some(room) = window.get_mut(sought)
                {
                    *room = found;
                    sought += 1;
                }
            }
            let window = window.get(..sought).unwrap_or(&[]);
            let has_series = window
                .iter()
                .fold(false, |has, key| self.fetch_key(*key, Purpose::Append) | has);
            if has_series {
                window
                    .iter()
                    .for_each(|key| self.fetch_series(*key, Purpose::Append));
            }
            if looked_at < FETCHED_KEYS_MAX {
                return;
            }
        }
    }
}
