//! WATCH: which clients look at which keys of this partition, and which of them have been overtaken.

use std::collections::{HashMap, HashSet};

use super::Stop;
use super::partition::Partition;

/// Process-wide number of a client.
pub type ClientId = u64;

/// A key that clients look at.
struct Watched {
    clients: Vec<ClientId>,
    /// Its deadline when it was looked at last, in unix milliseconds; 0 = never. Later changes of it count as changes.
    expire_at_ms: i64,
}

/// Optimistic locks of clients on keys of one partition.
#[derive(Default)]
pub struct Watches {
    by_key: HashMap<Box<[u8]>, Watched>,
    overtaken: HashSet<ClientId>,
}

impl Watches {
    /// True if nobody watches anything: the hot path's only check.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// `client` wants to know of changes of `key`, which has this deadline, from now on.
    pub fn watch(&mut self, client: ClientId, key: &[u8], expire_at_ms: i64) {
        let watched = self.by_key.entry(key.into()).or_insert(Watched {
            clients: Vec::new(),
            expire_at_ms,
        });
        watched.expire_at_ms = expire_at_ms;
        if !watched.clients.contains(&client) {
            watched.clients.push(client);
        }
    }

    /// A key has changed.
    pub fn touch(&mut self, key: &[u8]) {
        if let Some(watched) = self.by_key.get(key) {
            self.overtaken.extend(&watched.clients);
        }
    }

    /// Keys for which `has_changed` says so have changed.
    pub fn touch_if(&mut self, has_changed: impl Fn(&[u8]) -> bool) {
        for (_, watched) in self.by_key.iter().filter(|(key, _)| has_changed(key)) {
            self.overtaken.extend(&watched.clients);
        }
    }

    /// True if a key that `client` watches has changed, or has reached its deadline, since.
    pub fn is_overtaken(&self, client: ClientId, now_ms: i64) -> bool {
        let has_expired = |watched: &Watched| {
            (1..=now_ms).contains(&watched.expire_at_ms) && watched.clients.contains(&client)
        };
        self.overtaken.contains(&client) || self.by_key.values().any(has_expired)
    }

    /// `client` watches nothing any more.
    pub fn unwatch(&mut self, client: ClientId) {
        self.overtaken.remove(&client);
        self.by_key.retain(|_, watched| {
            watched.clients.retain(|other| *other != client);
            !watched.clients.is_empty()
        });
    }
}

impl Partition {
    /// `client` wants to know of changes of `key` from now on. That the key has expired before is no change.
    ///
    /// # Errors
    /// `Wait::Load` if the key has to be read first.
    pub fn watch(&mut self, client: ClientId, key: &[u8], now_ms: i64) -> Result<(), Stop> {
        let mut expire_at_ms = 0;
        if let Some(place) = self.locate(key)?
            && self.keys.at(place).is_present()
        {
            if self.keys.at(place).is_expired(now_ms) {
                self.expire_at(place);
            } else {
                expire_at_ms = self.keys.at(place).expire_at_ms;
            }
        }
        self.watches.watch(client, key, expire_at_ms);
        Ok(())
    }

    /// True if a key that `client` watches has changed, or has expired, since.
    pub fn is_overtaken(&self, client: ClientId, now_ms: i64) -> bool {
        !self.watches.is_empty() && self.watches.is_overtaken(client, now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::test_support::test_partition;

    #[test]
    fn a_key_that_has_expired_before_it_is_watched_does_not_overtake() {
        let mut partition = test_partition();
        assert!(partition.set_string(b"gone", b"x", 10, 0).is_ok());
        assert!(partition.set_string(b"going", b"x", 30, 0).is_ok());
        for key in [&b"gone"[..], b"going"] {
            assert!(partition.watch(1, key, 20).is_ok());
        }
        partition.expire_keys(25);
        assert!(!partition.is_overtaken(1, 25));
        assert!(partition.is_overtaken(1, 30));
    }

    #[test]
    fn only_watchers_of_the_key_are_overtaken() {
        let mut watches = Watches::default();
        watches.watch(1, b"a", 0);
        watches.watch(2, b"b", 50);
        watches.touch(b"a");
        assert!(watches.is_overtaken(1, 49) && !watches.is_overtaken(2, 49));
        assert!(watches.is_overtaken(2, 50), "it has expired");
        watches.unwatch(1);
        assert!(!watches.is_overtaken(1, 50));
        watches.unwatch(2);
        assert!(watches.is_empty());
    }
}
