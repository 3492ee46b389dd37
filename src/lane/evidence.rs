//! Which batches of several partitions never happened, by what the journals of all partitions say.

use std::collections::{HashMap, HashSet};

use super::journal::{BatchId, PartitionName};

/// What one partition's journal says about batches.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The partition.
    pub name: PartitionName,
    /// Batches that have their part here, with all their participants.
    pub parts: HashMap<BatchId, Vec<PartitionName>>,
    /// Batches whose outcome is on record here.
    pub outcomes: HashMap<BatchId, bool>,
}

/// Batches that never happened: some participant has no part, and nobody has their outcome on record.
///
/// A participant whose business is not configured any more counts as having its part: what was acknowledged stays.
pub fn void_batches(evidence: &[Evidence]) -> HashSet<BatchId> {
    let known: HashSet<PartitionName> = evidence.iter().map(|one| one.name).collect();
    let mut holders: HashMap<BatchId, HashSet<PartitionName>> = HashMap::new();
    let mut outcomes: HashMap<BatchId, bool> = HashMap::new();
    for partition in evidence {
        for id in partition.parts.keys() {
            holders.entry(*id).or_default().insert(partition.name);
        }
        outcomes.extend(&partition.outcomes);
    }
    let parts = evidence.iter().flat_map(|partition| &partition.parts);
    parts
        .filter(|(id, participants)| match outcomes.get(id) {
            Some(committed) => !committed,
            None => participants
                .iter()
                .any(|name| known.contains(name) && !holders.get(id).is_some_and(|have| have.contains(name))),
        })
        .map(|(id, _)| *id)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(partition: u16) -> PartitionName {
        PartitionName {
            business: 1,
            partition,
        }
    }

    fn evidence(partition: u16, parts: &[BatchId], outcomes: &[(BatchId, bool)]) -> Evidence {
        Evidence {
            name: name(partition),
            parts: parts.iter().map(|id| (*id, vec![name(0), name(1)])).collect(),
            outcomes: outcomes.iter().copied().collect(),
        }
    }

    #[test]
    fn a_batch_needs_every_part_or_an_outcome() {
        let both = [evidence(0, &[1], &[]), evidence(1, &[1], &[])];
        assert!(void_batches(&both).is_empty());
        let one = [evidence(0, &[1], &[]), evidence(1, &[], &[])];
        assert_eq!(void_batches(&one), HashSet::from([1]));
        let decided = [evidence(0, &[1], &[(1, true)]), evidence(1, &[], &[])];
        assert!(void_batches(&decided).is_empty());
        let voided = [evidence(0, &[1], &[(1, false)]), evidence(1, &[1], &[])];
        assert_eq!(void_batches(&voided), HashSet::from([1]));
        assert!(
            void_batches(&one[..1]).is_empty(),
            "a participant that is not configured has its part"
        );
    }
}
