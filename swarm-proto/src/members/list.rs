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
    /// ([REC-2]). Of the two, the list keeps the one with the lower item, as everybody does ([LST-4]).
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::OnionPublicKey;
    use crate::members::record::onion_key_hash;
    use crate::members::testing::{at, list, network, record, tick_at, verified};

    fn insert(list: &mut MemberList, record: Record, hours: i64) -> Inserted {
        list.insert(verified(record), &OnionKeys::default(), at(hours))
    }

    /// [REC-1]
    #[test]
    fn the_higher_sequence_holds_and_a_void_record_is_not_kept() {
        let issued = |hours| Record {
            sequence: tick_at(hours),
            ..record(1)
        };
        let mut list = MemberList::new(network().scale);
        assert_eq!(insert(&mut list, issued(1), 0), Inserted::Void);
        assert_eq!(insert(&mut list, issued(-24), 0), Inserted::Void);
        assert!(list.is_empty());
        assert_eq!(insert(&mut list, issued(-6), 0), Inserted::New);
        assert_eq!(insert(&mut list, issued(0), 0), Inserted::Newer);
        assert_eq!(insert(&mut list, issued(0), 0), Inserted::Same);
        assert_eq!(insert(&mut list, issued(-6), 0), Inserted::Older);
        let member = list.find(&issued(0).key.node_id()).unwrap();
        assert_eq!(member.record().sequence, tick_at(0));
        assert_eq!(list.len(), 1);
    }

    /// [REC-2], [LST-4]
    #[test]
    fn two_records_with_one_sequence_convict_and_every_list_keeps_the_same() {
        let (a, b) = (
            record(1),
            Record {
                puzzle: 8,
                ..record(1)
            },
        );
        let mut kept = Vec::new();
        for (first, second) in [(&a, &b), (&b, &a)] {
            let mut list = list([first.clone()]);
            let Inserted::Conflict(conflict) = insert(&mut list, second.clone(), 0) else {
                panic!("no conflict");
            };
            assert_ne!(conflict.kept, conflict.other);
            assert_eq!(conflict.kept.key, conflict.other.key);
            assert_eq!(conflict.kept.sequence, conflict.other.sequence);
            assert_eq!(
                list.find(&a.key.node_id()).unwrap().record(),
                &conflict.kept
            );
            kept.push(*list.snapshot().hash());
        }
        assert_eq!(kept[0], kept[1]);
    }

    /// [LST-2]
    #[test]
    fn an_old_date_is_believed_only_by_a_list_that_was_not_there() {
        let seen = |list: &MemberList| list.find(&record(1).key.node_id()).unwrap().first_seen();
        let mut newcomer = MemberList::new(network().scale);
        insert(&mut newcomer, record(1), 0);
        assert_eq!(seen(&newcomer), tick_at(-240));

        let mut witness = MemberList::new(network().scale);
        witness.completed(at(-10));
        insert(&mut witness, record(1), 0);
        assert_eq!(seen(&witness), tick_at(-11));

        let honest = Record {
            since: tick_at(0),
            ..record(2)
        };
        let id = honest.key.node_id();
        for list in [&mut newcomer, &mut witness] {
            insert(list, honest.clone(), 0);
            assert_eq!(list.find(&id).unwrap().first_seen(), tick_at(0));
        }
    }

    /// [LST-2]
    #[test]
    fn a_relay_keeps_its_age_through_new_records_absence_and_restart() {
        let later = |hours: i64, since| Record {
            sequence: tick_at(hours),
            since,
            ..record(1)
        };
        let id = record(1).key.node_id();
        let mut list = list([record(1)]);
        list.completed(at(0));

        insert(&mut list, later(6, tick_at(-500)), 6);
        assert_eq!(list.find(&id).unwrap().first_seen(), tick_at(-240));
        assert_eq!(list.expire(at(30)), [id]);
        assert!(list.find(&id).is_none() && list.is_empty());
        assert!(list.snapshot().is_empty());

        insert(&mut list, later(50, tick_at(-500)), 50);
        assert_eq!(list.find(&id).unwrap().first_seen(), tick_at(-240));
        insert(&mut list, later(51, tick_at(40)), 51);
        assert_eq!(list.find(&id).unwrap().first_seen(), tick_at(40));

        list.expire(at(80));
        list.expire(at(80 + 31 * 24));
        insert(&mut list, later(900, tick_at(-500)), 900);
        assert_eq!(list.find(&id).unwrap().first_seen(), tick_at(-1));

        let mut restarted = MemberList::new(network().scale);
        restarted.completed(at(-1));
        let record = verified(record(3));
        restarted.restore(record, &OnionKeys::default(), tick_at(-77), at(0));
        let snapshot = restarted.snapshot();
        assert_eq!(
            snapshot.iter().next().unwrap().first_seen(),
            tick_at(-240).max(tick_at(-77))
        );
    }

    /// [REC-5]
    #[test]
    fn known_onion_keys_need_not_travel_again() {
        let key = |byte: u8| OnionPublicKey(Arc::new([byte; 1_216]));
        let with = |hours, current, next| Record {
            sequence: tick_at(hours),
            onion_current: onion_key_hash(&key(current)),
            onion_next: Some(onion_key_hash(&key(next))),
            ..record(1)
        };
        let id = record(1).key.node_id();
        let mut list = MemberList::new(network().scale);
        let both = OnionKeys {
            current: Some(key(1)),
            next: Some(key(2)),
        };
        list.insert(verified(with(-3, 1, 2)), &both, at(0));

        insert(&mut list, with(-2, 1, 2), 0);
        assert_eq!(list.find(&id).unwrap().keys(), &both);

        insert(&mut list, with(-1, 2, 3), 0);
        let keys = list.find(&id).unwrap().keys().clone();
        assert_eq!((keys.current, keys.next), (Some(key(2)), None));

        let third = OnionKeys {
            current: Some(key(9)),
            next: Some(key(3)),
        };
        let again = list.insert(verified(with(-1, 2, 3)), &third, at(0));
        assert_eq!(again, Inserted::Same);
        let keys = list.find(&id).unwrap().keys().clone();
        assert_eq!((keys.current, keys.next), (Some(key(2)), Some(key(3))));
    }

    /// [LST-1]
    #[test]
    fn a_lists_name_is_its_records_in_whatever_order_they_came() {
        let mut forth = list((0..50).map(record));
        let mut back = list((0..50).rev().map(record));
        let snapshot = forth.snapshot();
        assert_eq!(snapshot.hash(), back.snapshot().hash());
        assert!(snapshot.iter().is_sorted_by_key(|member| member.id()));
        assert_eq!(snapshot.part(48, 12).len(), 2);
        assert!(snapshot.part(50, 12).is_empty() && snapshot.part(60, 12).is_empty());

        let all: Vec<Vec<u8>> = snapshot.iter().map(|m| m.record().encode()).collect();
        let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
        assert_eq!(snapshot.hash(), &crate::hash::derive("poste list", &all));

        insert(&mut forth, record(50), 0);
        assert_ne!(snapshot.hash(), forth.snapshot().hash());
        assert_eq!(snapshot.len(), 50);
    }

    #[test]
    fn lists_that_are_equal_share_one_memory_and_an_idle_one_is_small() {
        let mut first = list((0..50).map(record));
        let shared = first.snapshot();
        assert!(Arc::ptr_eq(&shared, &first.snapshot()));

        let mut second = list((0..50).map(record));
        assert!(second.share(&shared));
        assert!(Arc::ptr_eq(&shared, &second.snapshot()));
        insert(&mut second, record(50), 0);
        assert!(!second.share(&shared));
        assert_eq!((second.len(), shared.len()), (51, 50));

        let third = MemberList::from_snapshot(network().scale, shared);
        assert_eq!(third.len(), 50);
        assert!(size_of::<MemberList>() <= 128);
    }

    #[test]
    fn a_full_list_takes_newer_records_and_no_more_relays() {
        let mut list = MemberList::new(network().scale);
        let number = u32::try_from(limits::MEMBERS_MAX).unwrap();
        let old = |n| Record {
            sequence: tick_at(-1),
            ..record(n)
        };
        for n in 0..number {
            assert_eq!(insert(&mut list, old(n), 0), Inserted::New);
        }
        assert_eq!(insert(&mut list, old(number), 0), Inserted::Full);
        assert_eq!(insert(&mut list, record(7), 0), Inserted::Newer);
        assert_eq!(list.len(), limits::MEMBERS_MAX);
    }

    /// [LST-3]
    #[test]
    fn an_item_tells_whether_its_record_is_news() {
        let mut own = list([record(1), record(2)]);
        let snapshot = own.snapshot();
        let item = |record: &Record| *verified(record.clone()).item();
        let issued = |hours| Record {
            sequence: tick_at(hours),
            ..record(1)
        };
        assert!(!snapshot.is_news(&item(&record(1))));
        assert!(!snapshot.is_news(&item(&issued(-1))));
        assert!(snapshot.is_news(&item(&issued(1))));
        assert!(snapshot.is_news(&item(&Record {
            puzzle: 8,
            ..record(1)
        })));
        assert!(snapshot.is_news(&item(&record(3))));

        let found = snapshot.find_item(&item(&record(2))).unwrap();
        assert_eq!(found.record(), &record(2));
        assert!(snapshot.find_item(&item(&issued(1))).is_none());
        assert_eq!(item(&record(1))[..12], record(1).key.node_id().0[..12]);
        assert_eq!(item(&record(1))[12..16], record(1).sequence.0.to_be_bytes());
    }
}
