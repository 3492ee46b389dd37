//! Properties of series keys: setting them, and keeping the label index and the series' retention in step.

use std::sync::atomic::Ordering;

use crate::refusal::Refusal;
use crate::series::{Label, SeriesProperties};

use super::keys::Value;
use super::labels::LabelledId;
use super::partition::Partition;
use super::stop::Stop;

/// Properties of a key in the key table.
#[derive(Debug)]
pub struct ListedProperties {
    /// The properties.
    pub properties: SeriesProperties,
    /// Number in the label table.
    pub id: LabelledId,
}

impl ListedProperties {
    /// Memory held.
    pub fn memory_bytes(&self) -> usize {
        size_of::<ListedProperties>() + self.properties.heap_bytes()
    }
}

/// Data type of the series that the TS commands see.
pub const PLAIN_DATA_TYPE: u8 = 0;

impl Partition {
    /// Properties of the key at `place`; `None` if it was never given any.
    pub fn properties(&self, place: usize) -> Option<&SeriesProperties> {
        self.keys.at(place).properties().map(|listed| &listed.properties)
    }

    /// Creates the series of data type 0 of a key that has none, without samples. Returns the places of the key and of
    /// the series. Properties that are the defaults are not noted.
    ///
    /// # Errors
    /// `Wait::Load`, or a key that is too long.
    pub fn create_plain_series(
        &mut self,
        key: &[u8],
        properties: SeriesProperties,
        now_ms: i64,
    ) -> Result<(usize, u32), Stop> {
        let member = self.create_series(key, PLAIN_DATA_TYPE, now_ms)?;
        let place = self.keys.find(key);
        let place = place.expect("invariant: a key that was just created is in the table");
        if properties != SeriesProperties::default() {
            self.set_properties(place, properties);
        }
        Ok((place, member))
    }

    /// Gives the series key at `place` these properties instead of those that it has.
    pub fn set_properties(&mut self, place: usize, properties: SeriesProperties) {
        self.journal
            .set_properties(self.keys.at(place).key(), &properties);
        self.before_change(place);
        self.apply_properties(place, Some(properties));
        self.touch(place);
    }

    /// Changes what memory holds of the properties at `place`.
    pub(super) fn apply_properties(&mut self, place: usize, properties: Option<SeriesProperties>) {
        self.unlist(place);
        let Some(properties) = properties else { return };
        let members = match &self.keys.at(place).value {
            Value::Series(members) => members.to_vec(),
            _ => return,
        };
        self.list(place, properties);
        for (_, member) in members {
            self.adopt_retention(place, member);
        }
    }

    /// Puts properties at `place` and lists their labels.
    pub(super) fn list(&mut self, place: usize, properties: SeriesProperties) {
        if !self.has_rules && (properties.source.is_some() || !properties.rules.is_empty()) {
            self.has_rules = true;
            self.settings.rules_seen.store(true, Ordering::Relaxed);
        }
        let id = self.labels.insert(self.keys.at(place).key(), &properties.labels);
        self.keys
            .set_properties(place, Some(Box::new(ListedProperties { properties, id })));
    }

    /// Takes the properties at `place` away, noting the labels that `kv` still lists.
    pub(super) fn unlist(&mut self, place: usize) {
        let Some(listed) = self.keys.set_properties(place, None) else {
            return;
        };
        self.labels.remove(listed.id, &listed.properties.labels);
        let entry = self.keys.at(place);
        if entry.stored.labelled && !self.stale_labels.contains_key(entry.key()) {
            self.stale_labels
                .insert(entry.key().into(), listed.properties.labels);
        }
    }

    /// The labels that `kv` lists the key at `place` with.
    pub(super) fn take_stored_labels(&mut self, place: usize) -> Vec<Label> {
        let entry = self.keys.at(place);
        if !entry.stored.labelled {
            return Vec::new();
        }
        match self.stale_labels.remove(entry.key()) {
            Some(labels) => labels,
            None => self
                .properties(place)
                .map_or_else(Vec::new, |properties| properties.labels.clone()),
        }
    }

    /// Place in the slab of the series of data type 0 of the key at `place`.
    pub fn plain_series_at(&self, place: usize) -> Option<u32> {
        let Value::Series(members) = &self.keys.at(place).value else {
            return None;
        };
        members.of(PLAIN_DATA_TYPE)
    }

    /// Place of the series key, with the place of its series of data type 0.
    ///
    /// # Errors
    /// `WRONGTYPE`, `Wait::Load`.
    #[inline]
    pub fn find_plain_series(&mut self, key: &[u8], now_ms: i64) -> Result<Option<(usize, u32)>, Stop> {
        let Some(place) = self.find(key, now_ms)? else {
            return Ok(None);
        };
        let Value::Series(members) = &self.keys.at(place).value else {
            return Err(Refusal::WrongType.into());
        };
        Ok(members.of(PLAIN_DATA_TYPE).map(|member| (place, member)))
    }
}
