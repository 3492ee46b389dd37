//! WATCH: which clients look at which keys of this partition, and which of them have been overtaken.

use std::collections::{HashMap, HashSet};

use super::partition::Partition;

/// Process-wide number of a client.
pub type ClientId = u64;

/// Optimistic locks of clients on keys of one partition.
#[derive(Default)]
pub struct Watches {
    by_key: HashMap<Box<[u8]>, Vec<ClientId>>,
    overtaken: HashSet<ClientId>,
}

impl Watches {
    /// True if nobody watches anything: the hot path's only check.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// `client` wants to know of changes of `key` from now on.
    pub fn watch(&mut self, client: ClientId, key: &[u8]) {
        let clients = self.by_key.entry(key.into()).or_default();
        if !clients.contains(&client) {
            clients.push(client);
        }
    }

    /// A key has changed.
    pub fn touch(&mut self, key: &[u8]) {
        if let Some(clients) = self.by_key.get(key) {
            self.overtaken.extend(clients);
        }
    }

    /// Keys for which `has_changed` says so have changed.
    pub fn touch_if(&mut self, has_changed: impl Fn(&[u8]) -> bool) {
        for (_, clients) in self.by_key.iter().filter(|(key, _)| has_changed(key)) {
            self.overtaken.extend(clients);
        }
    }

    /// True if a key that `client` watches has changed since.
    pub fn is_overtaken(&self, client: ClientId) -> bool {
        self.overtaken.contains(&client)
    }

    /// Keys that `client` watches.
    pub fn keys_of(&self, client: ClientId) -> Vec<Box<[u8]>> {
        self.by_key
            .iter()
            .filter(|(_, clients)| clients.contains(&client))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// `client` watches nothing any more.
    pub fn unwatch(&mut self, client: ClientId) {
        self.overtaken.remove(&client);
        self.by_key.retain(|_, clients| {
            clients.retain(|other| *other != client);
            !clients.is_empty()
        });
    }
}

impl Partition {
    /// `client` wants to know of changes of `key` from now on. That the key has expired before is no change.
    pub fn watch(&mut self, client: ClientId, key: &[u8], now_ms: i64) {
        self.expire_if_due(key, now_ms);
        self.watches.watch(client, key);
    }

    /// True if a key that `client` watches has changed, or has expired, since.
    pub fn is_overtaken(&mut self, client: ClientId, now_ms: i64) -> bool {
        if self.watches.is_empty() {
            return false;
        }
        for key in self.watches.keys_of(client) {
            // Deleting it counts as a change.
            self.expire_if_due(&key, now_ms);
        }
        self.watches.is_overtaken(client)
    }

    fn expire_if_due(&mut self, key: &[u8], now_ms: i64) {
        if let Some(place) = self.keys.find(key)
            && self.keys.at(place).is_present()
            && self.keys.at(place).is_expired(now_ms)
        {
            self.expire_at(place);
        }
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
            partition.watch(1, key, 20);
        }
        partition.expire_keys(25);
        assert!(!partition.is_overtaken(1, 25));
        assert!(partition.is_overtaken(1, 30));
    }

    #[test]
    fn only_watchers_of_the_key_are_overtaken() {
        let mut watches = Watches::default();
        watches.watch(1, b"a");
        watches.watch(2, b"b");
        watches.touch(b"a");
        assert!(watches.is_overtaken(1) && !watches.is_overtaken(2));
        watches.unwatch(1);
        assert!(!watches.is_overtaken(1));
        watches.unwatch(2);
        assert!(watches.is_empty());
    }
}
