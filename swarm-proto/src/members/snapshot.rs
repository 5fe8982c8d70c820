//! The member list at one moment: immutable, named by its hash, shared by whoever looks at it.
//!
//! A snapshot owns pointers only; ten thousand relays in one process may share one. It never changes:
//! a [`MemberList`](crate::members::MemberList) makes another. Rules: `docs/spec/members.md`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::hash;
use crate::id::NodeId;
use crate::members::record::{OnionKeys, Record, VerifiedRecord};
use crate::time::Tick;

/// One relay as a list knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    record: VerifiedRecord,
    keys: OnionKeys,
    first_seen: Tick,
}

impl Member {
    pub(super) fn new(record: VerifiedRecord, keys: &OnionKeys, first_seen: Tick) -> Self {
        let keys = keys.matching(record.record());
        Self {
            record,
            keys,
            first_seen,
        }
    }

    /// The relay's node id.
    pub fn id(&self) -> NodeId {
        self.record.id()
    }

    /// What the relay says of itself.
    pub fn record(&self) -> &Record {
        self.record.record()
    }

    /// The record with the proof that it was checked.
    pub fn verified(&self) -> &VerifiedRecord {
        &self.record
    }

    /// Its onion keys, as far as they are known; each is one that the record names.
    pub fn keys(&self) -> &OnionKeys {
        &self.keys
    }

    /// Since when the relay is known ([LST-2]).
    pub fn first_seen(&self) -> Tick {
        self.first_seen
    }
}

/// All members at one moment, in the order of their node ids.
#[derive(Clone, Debug)]
pub struct Snapshot {
    members: Vec<Arc<Member>>,
    hash: [u8; 32],
}

/// Two lists are equal if they have the same records ([LST-1]).
impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Snapshot {}

impl Snapshot {
    /// Names a list of members that is sorted by node id, without repeats.
    pub(super) fn of_sorted(members: Vec<Arc<Member>>) -> Self {
        let encoded: Vec<Vec<u8>> = members.iter().map(|m| m.record().encode()).collect();
        let parts: Vec<&[u8]> = encoded.iter().map(Vec::as_slice).collect();
        let hash = hash::derive("poste list", &parts);
        Self { members, hash }
    }

    /// A list without members.
    pub fn empty() -> Self {
        Self::of_sorted(Vec::new())
    }

    /// The snapshot's name: `derive("poste list", the records in the order of their node ids)`
    /// ([LST-1]).
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The member with this id.
    pub fn find(&self, id: &NodeId) -> Option<&Arc<Member>> {
        let at = self.members.binary_search_by_key(id, |m| m.id()).ok()?;
        self.members.get(at)
    }

    /// The member whose record this item stands for, if its record is that very one ([LST-3]).
    pub fn find_item(&self, item: &[u8; 32]) -> Option<&Arc<Member>> {
        self.with_prefix_of(item)
            .find(|member| member.verified().item() == item)
    }

    /// Whether a record would be news: it stands for an unknown relay, or for a newer or conflicting
    /// record of a known one ([LST-3]).
    pub fn is_news(&self, item: &[u8; 32]) -> bool {
        self.with_prefix_of(item)
            .all(|member| member.verified().item().get(12..16) <= item.get(12..16))
            && self.find_item(item).is_none()
    }

    /// Whether this item stands for a relay of which no record is here, by the id that the item begins with.
    pub(super) fn is_newcomer(&self, item: &[u8; 32]) -> bool {
        self.with_prefix_of(item).next().is_none()
    }

    /// The items of the members some of whose onion keys are not here ([REC-5]).
    pub(super) fn without_keys(&self) -> impl Iterator<Item = &[u8; 32]> + '_ {
        let lacks = |member: &&Arc<Member>| !member.keys().are_all_of(member.record());
        let lacking = self.members.iter().filter(lacks);
        lacking.map(|member| member.verified().item())
    }

    /// The members in the order of their node ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Member>> + '_ {
        self.members.iter()
    }

    /// The `number` members from place `from` in the order of node ids; fewer at the end. The parts of
    /// a list that is handed out piece by piece.
    pub fn part(&self, from: usize, number: usize) -> &[Arc<Member>] {
        let end = from.saturating_add(number).min(self.members.len());
        self.members.get(from..end).unwrap_or(&[])
    }

    fn with_prefix_of(&self, item: &[u8; 32]) -> impl Iterator<Item = &Arc<Member>> + use<'_> {
        let [prefix @ .., _, _, _, _] = *item.first_chunk::<16>().unwrap_or(&[0; 16]);
        let start = self
            .members
            .partition_point(|m| m.id().0.get(..12) < Some(prefix.as_slice()));
        self.part(start, usize::MAX)
            .iter()
            .take_while(move |m| m.id().0.starts_with(&prefix))
    }
}
