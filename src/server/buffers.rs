//! Buffers of replies and of requests not yet whole, reused: memory that was written to lately is in the processor's
//! caches, and the kernel has given it already.

/// Small buffers kept.
const SMALL_MAX: usize = 256;
/// A buffer that grew beyond this is a large one.
const SMALL_MAX_BYTES: usize = 64 << 10;
/// Large buffers kept, for turns whose replies are many or long.
const LARGE_MAX: usize = 4;
/// A buffer that grew beyond this is not kept.
const LARGE_MAX_BYTES: usize = 1 << 20;

/// The buffers that nobody uses at the moment; the one used last is lent first.
#[derive(Debug, Default)]
pub struct Buffers {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
}

impl Buffers {
    /// An empty buffer.
    pub fn take(&mut self) -> Vec<u8> {
        self.small.pop().unwrap_or_default()
    }

    /// An empty buffer that can be expected to come back soon: a large one if there is any.
    pub fn take_large(&mut self) -> Vec<u8> {
        self.large.pop().unwrap_or_else(|| self.take())
    }

    /// Takes a buffer back; one that never held anything is not worth keeping.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        let (list, max) = match buffer.capacity() {
            0 => return,
            1..=SMALL_MAX_BYTES => (&mut self.small, SMALL_MAX),
            _ if buffer.capacity() <= LARGE_MAX_BYTES => (&mut self.large, LARGE_MAX),
            _ => return,
        };
        if list.len() < max {
            buffer.clear();
            list.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: usize) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(bytes);
        buffer.push(1);
        buffer
    }

    #[test]
    fn buffers_come_back_empty_and_the_last_one_first() {
        let mut buffers = Buffers::default();
        assert_eq!(buffers.take().capacity(), 0);
        buffers.give(of(100));
        buffers.give(of(200));
        let last = buffers.take();
        assert_eq!((last.len(), last.capacity()), (0, 200));
        assert_eq!(buffers.take_large().capacity(), 100);
    }

    #[test]
    fn large_ones_are_for_those_who_want_them() {
        let mut buffers = Buffers::default();
        buffers.give(of(SMALL_MAX_BYTES + 1));
        assert_eq!(buffers.take().capacity(), 0);
        assert_eq!(buffers.take_large().capacity(), SMALL_MAX_BYTES + 1);
    }

    #[test]
    fn so_many_are_kept_and_no_larger_ones() {
        let mut buffers = Buffers::default();
        buffers.give(Vec::new());
        buffers.give(of(LARGE_MAX_BYTES + 1));
        for _ in 0..SMALL_MAX + 1 {
            buffers.give(of(10));
        }
        for _ in 0..LARGE_MAX + 1 {
            buffers.give(of(LARGE_MAX_BYTES));
        }
        assert_eq!((buffers.small.len(), buffers.large.len()), (SMALL_MAX, LARGE_MAX));
    }
}
