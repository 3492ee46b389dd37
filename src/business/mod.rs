//! Which business a key belongs to, and which lane owns it: the one function that answers "where".

mod directory;
mod slot;

pub use directory::{Directory, Home, PartitionPlan, Place};
pub use slot::slot_of;
