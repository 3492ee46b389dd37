//! The directory: prefixes to businesses, slots to partitions, partitions to lanes. Immutable once built.

use std::sync::Arc;

use crate::config::{BusinessConfig, Config};
use crate::lane::journal::PartitionName;
use crate::limits::SLOTS;

use super::slot::slot_of;

/// Where a partition lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// The lane that owns it.
    pub lane: usize,
    /// Its place among that lane's partitions.
    pub place: usize,
}

/// Where a key lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of its business.
    pub business: usize,
    /// Index of its partition in the business.
    pub partition: usize,
    /// Lane and place of that partition.
    pub home: Home,
}

/// One partition that a lane has to open.
#[derive(Clone, Debug)]
pub struct PartitionPlan {
    /// Index of the business.
    pub business: usize,
    /// Index of the partition in its business.
    pub partition: usize,
    /// As named in batches.
    pub name: PartitionName,
}

/// One business as the directory knows it.
#[derive(Clone, Debug)]
pub struct BusinessEntry {
    /// Its configuration.
    pub config: BusinessConfig,
    /// Number of partitions, as fixed on disk.
    pub partitions: usize,
    homes: Vec<Home>,
}

/// See the head of the file. Shared by all lanes, replaced whole.
#[derive(Debug)]
pub struct Directory {
    businesses: Vec<BusinessEntry>,
    /// Prefixes by their first byte, longest first.
    prefixes: Vec<Vec<Prefix>>,
    catch_all: Option<usize>,
    lanes: usize,
    plans: Vec<Vec<PartitionPlan>>,
}

/// A prefix of keys and the business that it stands for.
#[derive(Clone, Debug)]
struct Prefix {
    bytes: Box<[u8]>,
    /// Its first bytes as a word, and where that word has bytes: most keys are told apart by one comparison.
    word: u64,
    mask: u64,
    business: usize,
}

impl Prefix {
    fn new(bytes: &[u8], business: usize) -> Prefix {
        let (mut word, mut mask) = ([0; 8], [0; 8]);
        for ((word, mask), byte) in word.iter_mut().zip(&mut mask).zip(bytes) {
            (*word, *mask) = (*byte, u8::MAX);
        }
        Prefix {
            bytes: bytes.into(),
            word: u64::from_ne_bytes(word),
            mask: u64::from_ne_bytes(mask),
            business,
        }
    }

    #[inline]
    fn begins(&self, key: &[u8]) -> bool {
        let Some(first) = key.first_chunk::<8>() else {
            return key.starts_with(&self.bytes);
        };
        u64::from_ne_bytes(*first) & self.mask == self.word
            && (self.bytes.len() <= 8 || key.starts_with(&self.bytes))
    }
}

impl Directory {
    /// Builds the directory for `lanes` lanes; `partitions[i]` is the partition count of business `i`.
    pub fn new(config: &Config, lanes: usize, partitions: &[usize]) -> Arc<Directory> {
        let mut plans: Vec<Vec<PartitionPlan>> = vec![Vec::new(); lanes];
        let mut businesses = Vec::new();
        let mut prefixes: Vec<Vec<Prefix>> = vec![Vec::new(); 256];
        let mut catch_all = None;
        for (index, (business, count)) in config.businesses.iter().zip(partitions).enumerate() {
            let mut homes = Vec::with_capacity(*count);
            for partition in 0..*count {
                // One partition alone would always be lane 0's: spread such businesses by their index.
                let lane = if *count == 1 {
                    index % lanes
                } else {
                    partition * lanes / count
                };
                let plan = plans.get_mut(lane).expect("invariant: lanes are counted");
                homes.push(Home {
                    lane,
                    place: plan.len(),
                });
                let name = PartitionName::new(&business.name, partition as u16);
                plan.push(PartitionPlan {
                    business: index,
                    partition,
                    name,
                });
            }
            businesses.push(BusinessEntry {
                config: business.clone(),
                partitions: *count,
                homes,
            });
            if business.is_catch_all() {
                catch_all = Some(index);
                continue;
            }
            for prefix in &business.prefixes {
                let first = prefix.as_bytes().first().copied().unwrap_or(0);
                if let Some(list) = prefixes.get_mut(usize::from(first)) {
                    list.push(Prefix::new(prefix.as_bytes(), index));
                }
            }
        }
        for list in &mut prefixes {
            list.sort_by_key(|prefix| std::cmp::Reverse(prefix.bytes.len()));
        }
        Arc::new(Directory {
            businesses,
            prefixes,
            catch_all,
            lanes,
            plans,
        })
    }

    /// Number of lanes.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// All businesses, in the order of the configuration.
    pub fn businesses(&self) -> &[BusinessEntry] {
        &self.businesses
    }

    /// The partitions that `lane` has to open, in the order of their places.
    pub fn plan(&self, lane: usize) -> &[PartitionPlan] {
        self.plans.get(lane).map_or(&[], Vec::as_slice)
    }

    /// The business of `key`; the longest prefix wins. `None` if unknown keys are refused.
    #[inline]
    pub fn business_of(&self, key: &[u8]) -> Option<usize> {
        let first = usize::from(*key.first().unwrap_or(&0));
        let list = self.prefixes.get(first)?;
        for prefix in list {
            if prefix.begins(key) {
                return Some(prefix.business);
            }
        }
        self.catch_all
    }

    /// Where `key` lives. `None` if its business is unknown and unknown keys are refused.
    #[inline]
    pub fn place(&self, key: &[u8]) -> Option<Place> {
        let business = self.business_of(key)?;
        let entry = self.businesses.get(business)?;
        let partition = entry.partition_of_key(key);
        Some(Place {
            business,
            partition,
            home: *entry.homes.get(partition)?,
        })
    }

    /// Whether `key` lives at `place`, in the same partition. `None` as [`Directory::place`].
    #[inline]
    pub fn lives_at(&self, place: Place, key: &[u8]) -> Option<bool> {
        let business = self.business_of(key)?;
        let entry = self.businesses.get(business)?;
        Some(business == place.business && entry.partition_of_key(key) == place.partition)
    }

    /// The lane that serves most keys of a slot: what cluster-aware clients are told.
    pub fn lane_of_slot(&self, slot: usize) -> usize {
        slot * self.lanes / SLOTS
    }
}

impl BusinessEntry {
    #[inline]
    fn partition_of_key(&self, key: &[u8]) -> usize {
        if self.partitions == 1 {
            0
        } else {
            partition_of(slot_of(key), self.partitions)
        }
    }
}

/// The partition of a slot when the business has `count` of them: contiguous ranges.
fn partition_of(slot: u16, count: usize) -> usize {
    usize::from(slot) * count / SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(lanes: usize, partitions: usize) -> Arc<Directory> {
        let config = Config::default();
        Directory::new(&config, lanes, &vec![partitions; config.businesses.len()])
    }

    #[test]
    fn prefixes_name_businesses() {
        let directory = directory(1, 1);
        let name = |key: &[u8]| {
            let business = directory.business_of(key).unwrap();
            directory.businesses()[business].config.name.clone()
        };
        assert_eq!(name(b"stock_SH600519"), "stock_quotes");
        assert_eq!(name(b"sms_1"), "sms_delivery");
        assert_eq!(name(b"stock"), "default");
        assert_eq!(name(b""), "default");
    }

    #[test]
    fn keys_live_together_where_their_places_are_equal() {
        let keys = ["a", "stock_1", "stock_2", "iot_77", "foo{x}", "{x}bar"];
        for partitions in [1, 4] {
            let directory = directory(4, partitions);
            for (first, second) in keys.iter().flat_map(|first| keys.map(|second| (*first, second))) {
                let place = |key: &str| directory.place(key.as_bytes()).unwrap();
                let together = directory.lives_at(place(first), second.as_bytes());
                let expected = place(first).home == place(second).home;
                assert_eq!(together, Some(expected), "{first} {second} {partitions}");
            }
        }
    }

    #[test]
    fn with_a_partition_per_lane_the_cluster_view_is_exact() {
        let directory = directory(4, 4);
        for key in ["a", "b", "stock_1", "iot_77", "foo{x}"] {
            let place = directory.place(key.as_bytes()).unwrap();
            assert_eq!(
                place.home.lane,
                directory.lane_of_slot(slot_of(key.as_bytes()).into())
            );
            assert_eq!(
                directory.plan(place.home.lane)[place.home.place].partition,
                place.partition
            );
        }
    }

    #[test]
    fn single_partitions_are_spread_over_the_lanes() {
        let directory = directory(4, 1);
        assert_ne!(
            directory.place(b"stock_1").unwrap().home.lane,
            directory.place(b"iot_1").unwrap().home.lane
        );
        assert!((0..4).all(|lane| directory.plan(lane).len() == 2));
    }
}
