//! The bytes of a key, inside whatever has them while they are few.

use std::ops::Deref;

/// Bytes of a key that need no memory of their own.
const SHORT_BYTES_MAX: usize = 22;

/// A key; three words long.
#[derive(Clone)]
pub enum KeyBytes {
    /// Up to 22 bytes, the rest zeros.
    Short { len: u8, bytes: [u8; SHORT_BYTES_MAX] },
    /// All others.
    Long(Box<[u8]>),
}

impl KeyBytes {
    /// Its bytes, if they are in memory of their own.
    #[inline]
    pub fn elsewhere(&self) -> &[u8] {
        match self {
            KeyBytes::Short { .. } => &[],
            KeyBytes::Long(bytes) => bytes,
        }
    }

    /// Bytes of the memory that it has of its own.
    pub fn own_bytes(&self) -> usize {
        self.elsewhere().len()
    }
}

impl From<&[u8]> for KeyBytes {
    fn from(key: &[u8]) -> KeyBytes {
        let mut bytes = [0; SHORT_BYTES_MAX];
        match bytes.get_mut(..key.len()) {
            Some(start) => {
                start.copy_from_slice(key);
                KeyBytes::Short {
                    len: key.len() as u8,
                    bytes,
                }
            }
            None => KeyBytes::Long(key.into()),
        }
    }
}

impl Deref for KeyBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            KeyBytes::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or(bytes),
            KeyBytes::Long(bytes) => bytes,
        }
    }
}

impl std::fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_length_come_back() {
        assert_eq!(size_of::<KeyBytes>(), 24);
        for len in 0..64 {
            let key: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
            let kept = KeyBytes::from(&key[..]);
            assert_eq!((&*kept, &*kept.clone()), (&key[..], &key[..]));
            assert_eq!(kept.own_bytes(), if len <= SHORT_BYTES_MAX { 0 } else { len });
        }
    }
}
