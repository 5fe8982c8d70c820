//! Who is in the swarm: records, the list, and who may hold.
//!
//! A relay describes itself in a signed [`Record`]; whoever checked it holds a [`VerifiedRecord`]. A
//! [`MemberList`] keeps the newest of each relay and gives out immutable [`Snapshot`]s; [`Eligible`] is
//! the part of a snapshot that may hold mail in one epoch. Carrying records about is the relay's work.

mod address;
mod eligible;
pub(crate) mod exchange;
pub(crate) mod gossip;
mod list;
pub mod possession;
pub(crate) mod presence;
mod record;
mod roster;
pub(crate) mod settle;
mod snapshot;
pub(crate) mod view;

pub use address::{ADDRESS_BYTES, Address, Subnet, Unfit};
pub(crate) use eligible::Seat;
pub use eligible::{Eligible, guards};
pub use list::{Conflict, Inserted, MemberList};
pub use record::{
    BadRecord, OnionKeys, RECORD_BYTES, Record, VerifiedRecord, onion_key_hash, record_item,
};
pub use roster::{NAME_BYTES, Roster};
pub use snapshot::{Member, Snapshot};

#[cfg(test)]
pub(crate) mod testing;
