//! The member list: the newest record of every relay that is known.
//!
//! A list is a shared base and the few members that changed since, so that an idle relay costs a
//! pointer. It does not talk to anybody: records come in through [`MemberList::insert`], and what others
//! lack is found by [`crate::reconcile`]. Rules: `docs/spec/members.md`.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::id::NodeId;
use crate::limits;
use crate::members::record::{OnionKeys, Record, VerifiedRecord};
use crate::members::snapshot::{Member, Snapshot};
use crate::time::{EPOCH_MINUTES, Tick, TimeScale, UnixTime};

/// The newest record of every known relay, at most [`limits::MEMBERS_MAX`].
#[derive(Clone, Debug)]
pub struct MemberList {
    scale: TimeScale,
    base: Arc<Snapshot>,
    /// What differs from the base; `None` for a member that left.
    changed: BTreeMap<NodeId, Option<Arc<Member>>>,
    /// Relays whose records have ended: since when they were known, and when that is forgotten.
    former: BTreeMap<NodeId, (Tick, UnixTime)>,
    complete: Tick,
    count: usize,
}

/// What became of a record ([`MemberList::insert`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The relay was not known.
    New,
    /// It replaced an older record of the same relay.
    Newer,
    /// It was there; onion keys that were missing have been added.
    Same,
    /// A newer record of the relay is there.
    Older,
    /// Another record of the same relay with the same sequence is there: both together convict its key
    /// ([REC-2]). Of the two, the list keeps the one with the lower item, as everybody does.
    Conflict(Box<Conflict>),
    /// It is not valid at this time ([REC-1]); nothing was kept.
    Void,
    /// The list is full and the relay is not in it; nothing was kept.
    Full,
}

/// Two records of one key with one sequence and different bytes ([REC-2]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The one that the list keeps.
    pub kept: Record,
    /// The other.
    pub other: Record,
}

impl MemberList {
    /// A list without members.
    pub fn new(scale: TimeScale) -> Self {
        Self::from_snapshot(scale, Arc::new(Snapshot::empty()))
    }

    /// A list with the members of a snapshot, sharing its memory.
    pub fn from_snapshot(scale: TimeScale, base: Arc<Snapshot>) -> Self {
        Self {
            scale,
            count: base.len(),
            base,
            changed: BTreeMap::new(),
            former: BTreeMap::new(),
            complete: Tick(0),
        }
    }

    /// Takes a record, if it is valid and newer than the one that is there. Of `keys` those that the
    /// record does not name are ignored; keys known from the relay's older record are carried over.
    pub fn insert(&mut self, record: VerifiedRecord, keys: &OnionKeys, now: UnixTime) -> Inserted {
        if !record.record().is_valid_at(self.scale, now) {
            return Inserted::Void;
        }
        let Some(known) = self.find(&record.id()).cloned() else {
            if self.count >= limits::MEMBERS_MAX {
                return Inserted::Full;
            }
            let first_seen = self.first_seen(&record);
            self.keep(Member::new(record, keys, first_seen));
            self.count = self.count.saturating_add(1);
            return Inserted::New;
        };
        self.insert_known(record, keys, &known)
    }

    /// Takes back a record from disk with the moment since when its relay was known.
    pub fn restore(
        &mut self,
        record: VerifiedRecord,
        keys: &OnionKeys,
        first_seen: Tick,
        now: UnixTime,
    ) -> Inserted {
        let id = record.id();
        self.former.insert(id, (first_seen, now));
        let inserted = self.insert(record, keys, now);
        self.former.remove(&id);
        inserted
    }

    /// Tells the list that it had all there was at `now`: a reconciliation ended without differences, or
    /// a whole list was fetched. A relay that turns up later cannot have been there before ([LST-2]).
    pub fn completed(&mut self, now: UnixTime) {
        self.complete = self.complete.max(self.scale.tick_of(now));
    }

    /// When the list last had all there was; tick 0 if never.
    pub fn complete(&self) -> Tick {
        self.complete
    }

    /// Drops every member whose record is no longer valid, and returns their ids. Since when they were
    /// known is remembered, for at most [`limits::MEMBERS_MAX`] of them and for 30 epochs.
    pub fn expire(&mut self, now: UnixTime) -> Vec<NodeId> {
        self.former.retain(|_, (_, until)| now < *until);
        let until = now.plus(
            self.scale
                .minutes(FORMER_EPOCHS.saturating_mul(EPOCH_MINUTES)),
        );
        let gone: Vec<(NodeId, Tick)> = self
            .iter()
            .filter(|member| now >= member.record().expires(self.scale))
            .map(|member| (member.id(), member.first_seen()))
            .collect();
        for (id, first_seen) in &gone {
            if self.base.find(id).is_some() {
                self.changed.insert(*id, None);
            } else {
                self.changed.remove(id);
            }
            self.count = self.count.saturating_sub(1);
            if self.former.len() < limits::MEMBERS_MAX {
                self.former.insert(*id, (*first_seen, until));
            }
        }
        gone.into_iter().map(|(id, _)| id).collect()
    }

    /// The member with this id.
    pub fn find(&self, id: &NodeId) -> Option<&Arc<Member>> {
        match self.changed.get(id) {
            Some(changed) => changed.as_ref(),
            None => self.base.find(id),
        }
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The list as it is, to be shared. The same pointer as before if nothing changed.
    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        if !self.changed.is_empty() {
            let mut members: Vec<Arc<Member>> = self.iter().cloned().collect();
            members.sort_unstable_by_key(|member| member.id());
            self.base = Arc::new(Snapshot::of_sorted(members));
            self.changed.clear();
        }
        Arc::clone(&self.base)
    }

    /// Shares another's snapshot instead of keeping an equal one. Returns whether it was equal, which
    /// includes since when its members are known.
    pub fn share(&mut self, other: &Arc<Snapshot>) -> bool {
        let own = self.snapshot();
        let equal = own.hash() == other.hash()
            && own
                .iter()
                .zip(other.iter())
                .all(|(own, other)| own == other);
        if equal {
            self.base = Arc::clone(other);
        }
        equal
    }

    /// The members, those of the base first.
    fn iter(&self) -> impl Iterator<Item = &Arc<Member>> {
        let unchanged = self
            .base
            .iter()
            .filter(|member| !self.changed.contains_key(&member.id()));
        unchanged.chain(self.changed.values().flatten())
    }

    /// [LST-2]
    fn first_seen(&mut self, record: &VerifiedRecord) -> Tick {
        let since = record.record().since;
        match self.former.remove(&record.id()) {
            Some((first_seen, _)) => first_seen.max(since),
            None => since.max(self.complete.minus(limits::NEWS_TICKS)),
        }
    }

    fn insert_known(
        &mut self,
        record: VerifiedRecord,
        keys: &OnionKeys,
        known: &Member,
    ) -> Inserted {
        let first_seen = known.first_seen().max(record.record().since);
        let keys = carried_over(record.record(), keys, known);
        if record.record().sequence < known.record().sequence {
            return Inserted::Older;
        }
        if record.record().sequence > known.record().sequence {
            self.keep(Member::new(record, &keys, first_seen));
            return Inserted::Newer;
        }
        if record == *known.verified() {
            if keys != *known.keys() {
                self.keep(Member::new(record, &keys, first_seen));
            }
            return Inserted::Same;
        }
        let (kept, other) = if record.item() < known.verified().item() {
            self.keep(Member::new(record.clone(), &keys, first_seen));
            (record.record().clone(), known.record().clone())
        } else {
            (known.record().clone(), record.record().clone())
        };
        Inserted::Conflict(Box::new(Conflict { kept, other }))
    }

    fn keep(&mut self, member: Member) {
        self.changed.insert(member.id(), Some(Arc::new(member)));
    }
}

/// The keys that `record` names, out of those that came with it and those known before: a relay's
/// next key becomes its current one, and mostly nothing changes, so keys need not travel again.
fn carried_over(record: &Record, came: &OnionKeys, known: &Member) -> OnionKeys {
    let mut keys = came.matching(record);
    let old = known.record();
    let before = |hash: Option<[u8; 32]>| {
        if hash == Some(old.onion_current) {
            known.keys().current.clone()
        } else if hash.is_some() && hash == old.onion_next {
            known.keys().next.clone()
        } else {
            None
        }
    };
    keys.current = keys.current.or_else(|| before(Some(record.onion_current)));
    keys.next = keys.next.or_else(|| before(record.onion_next));
    keys
}

/// Epochs for which a relay that left keeps its age: as long as mail lives.
const FORMER_EPOCHS: u64 = 30;
