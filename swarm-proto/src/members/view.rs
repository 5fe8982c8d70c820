//! The members as one machine sees them: the list, and who holds what by it.
//!
//! M(e) belongs to its epoch for good, so a member whose record lapses stays in the eligible lists of the
//! epochs that began before ([ELI-6]); only new epochs go on without it. Where an M(e) has settled ([ELI-8]),
//! or was told by most of a correspondent's sources ([ELI-12]), nothing is computed.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ops::Range;

use crate::id::NodeId;
use crate::limits;
use crate::members::guards;
use crate::members::{
    Eligible, Inserted, Member, MemberList, OnionKeys, Roster, Snapshot, VerifiedRecord,
};
use crate::network::Network;
use crate::place::{Cell, Place, Placement, PlacementMemo};
use crate::standing::{Certificate, Certificates};
use crate::time::{Epoch, Now, Tick, TimeScale, UnixTime};

/// One machine's view of the swarm.
#[derive(Debug)]
pub(crate) struct View {
    list: MemberList,
    snapshot: Arc<Snapshot>,
    former: BTreeMap<NodeId, (Arc<Member>, UnixTime)>,
    certificates: Certificates,
    /// Epochs whose certificates changed since they were last asked for.
    certified: BTreeSet<Epoch>,
    /// Those M(e) of a relay that stay as they are.
    settled: BTreeMap<Epoch, Arc<Eligible>>,
    /// Those that a correspondent was told.
    told: BTreeMap<Epoch, Arc<Roster>>,
    eligible: RefCell<BTreeMap<Epoch, Arc<Eligible>>>,
    memo: RefCell<PlacementMemo>,
}

impl View {
    /// Nobody is known.
    pub(crate) fn new(scale: TimeScale) -> Self {
        let mut list = MemberList::new(scale);
        Self {
            snapshot: list.snapshot(),
            list,
            former: BTreeMap::new(),
            certificates: Certificates::default(),
            certified: BTreeSet::new(),
            settled: BTreeMap::new(),
            told: BTreeMap::new(),
            eligible: RefCell::new(BTreeMap::new()),
            memo: RefCell::new(PlacementMemo::new(limits::PLACEMENTS_REMEMBERED)),
        }
    }

    /// The members.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    /// Takes a record in; [`View::refresh`] makes it count.
    pub(crate) fn insert(
        &mut self,
        record: VerifiedRecord,
        keys: &OnionKeys,
        now: Now,
    ) -> Inserted {
        self.list.insert(record, keys, now.unix)
    }

    /// Tells the list that it had all there was: a relay after a comparison that left nothing to get, a
    /// correspondent when its sources agreed ([LST-2], [LST-6]).
    pub(crate) fn completed(&mut self, now: Now) {
        self.list.completed(now.unix);
    }

    /// When the list last had all there was; tick 0 if never.
    pub(crate) fn complete(&self) -> Tick {
        self.list.complete()
    }

    /// Takes another machine's list in the place of its own, sharing its memory. True if the members changed.
    pub(crate) fn replace(&mut self, network: &Network, members: Arc<Snapshot>, now: Now) -> bool {
        self.list = MemberList::from_snapshot(network.scale, members);
        self.refresh(network, now)
    }

    /// Drops what lapsed and makes what came count. True if the members changed.
    pub(crate) fn refresh(&mut self, network: &Network, now: Now) -> bool {
        self.list.expire(now.unix);
        let before = Arc::clone(&self.snapshot);
        self.snapshot = self.list.snapshot();
        if before.hash() == self.snapshot.hash() && Arc::ptr_eq(&before, &self.snapshot) {
            return false;
        }
        for member in before
            .iter()
            .filter(|member| self.snapshot.find(&member.id()).is_none())
        {
            if self.former.len() < limits::MEMBERS_MAX {
                self.former
                    .insert(member.id(), (Arc::clone(member), now.unix));
            }
        }
        let oldest = network
            .scale
            .epoch_of(now.unix)
            .minus(limits::EPOCHS_REMEMBERED);
        let oldest = network.scale.epoch_start(oldest);
        let snapshot = &self.snapshot;
        self.former
            .retain(|id, (_, lapsed)| *lapsed > oldest && snapshot.find(id).is_none());
        self.eligible.borrow_mut().clear();
        true
    }

    /// Makes an M(e) final, and forgets those of epochs before `oldest` ([ELI-8]).
    pub(crate) fn settle(&mut self, list: Arc<Eligible>, oldest: Epoch) {
        self.settled.insert(list.epoch(), list);
        self.settled = self.settled.split_off(&oldest);
    }

    /// Whether the M(e) of that epoch is final.
    pub(crate) fn is_settled(&self, epoch: Epoch) -> bool {
        self.settled.contains_key(&epoch)
    }

    /// The last epoch whose M(e) is final.
    pub(crate) fn newest_settled(&self) -> Option<Epoch> {
        self.settled.last_key_value().map(|(epoch, _)| *epoch)
    }

    /// Takes the names of an M(e) for what it is, and forgets those of epochs before `oldest` ([ELI-12]).
    pub(crate) fn tell(&mut self, roster: Arc<Roster>, oldest: Epoch) {
        self.eligible.get_mut().remove(&roster.epoch());
        self.told.insert(roster.epoch(), roster);
        self.told = self.told.split_off(&oldest);
    }

    /// The names of an M(e), as it was told.
    pub(crate) fn told(&self, epoch: Epoch) -> Option<&Arc<Roster>> {
        self.told.get(&epoch)
    }

    /// What watchers certified; correspondents know nothing of it.
    pub(crate) fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Takes a certificate in: it counts from the second epoch after its own ([ELI-7]).
    pub(crate) fn certify(&mut self, subject: NodeId, epoch: Epoch, certificate: Certificate) {
        if self.certificates.insert(subject, epoch, certificate) {
            self.eligible.get_mut().split_off(&epoch.plus(2));
            self.certified.insert(epoch);
        }
    }

    /// Takes a certificate that was kept, if there is none of that epoch ([STD-14]).
    pub(crate) fn recall(&mut self, subject: NodeId, epoch: Epoch, certificate: Certificate) {
        if self.certificates.of(&subject, epoch).is_none() {
            self.certificates.insert(subject, epoch, certificate);
            self.eligible.get_mut().split_off(&epoch.plus(2));
        }
    }

    /// Epochs of which certificates came or changed since this was last asked.
    pub(crate) fn take_certified(&mut self) -> BTreeSet<Epoch> {
        core::mem::take(&mut self.certified)
    }

    /// Leaves a relay out of M(e) of these epochs ([EVD-3]).
    pub(crate) fn expel(&mut self, subject: NodeId, epochs: Range<Epoch>) {
        self.eligible.get_mut().split_off(&epochs.start);
        self.certificates.expel(subject, epochs);
    }

    /// Forgets certificates that no epoch needs that mail is of.
    pub(crate) fn forget_certificates(&mut self, oldest: Epoch) {
        self.certificates.forget_before(oldest);
    }

    /// The relays around a cell.
    pub(crate) fn placement(&self, network: &Network, epoch: Epoch, cell: Cell) -> Arc<Placement> {
        let eligible = self.eligible(network, epoch);
        self.memo
            .borrow_mut()
            .of(network, &eligible, &Place::new(epoch, cell))
    }

    /// M(e).
    pub(crate) fn eligible(&self, network: &Network, epoch: Epoch) -> Arc<Eligible> {
        if let Some(settled) = self.settled.get(&epoch) {
            return Arc::clone(settled);
        }
        let mut known = self.eligible.borrow_mut();
        if let Some(eligible) = known.get(&epoch) {
            return Arc::clone(eligible);
        }
        let eligible = Arc::new(match self.told.get(&epoch) {
            Some(roster) => {
                let former = self.former.values().map(|(member, _)| member);
                Eligible::named(roster, &self.snapshot, former)
            }
            None => self.computed(network, epoch),
        });
        while known.len() > usize::try_from(limits::EPOCHS_REMEMBERED).unwrap_or(usize::MAX) {
            known.pop_first();
        }
        known.insert(epoch, Arc::clone(&eligible));
        eligible
    }

    /// Whether a relay may hold mail of an epoch that is remembered, as far as this one knows ([STD-12]).
    pub(crate) fn may_hold(&self, network: &Network, id: &NodeId, today: Epoch) -> bool {
        let held = || self.settled.values().any(|list| list.has(id));
        let named = || self.told.values().any(|roster| roster.has(id));
        let holds = |epoch| self.eligible(network, epoch).has(id);
        holds(today) || holds(today.plus(1)) || held() || named()
    }

    /// M(e) by the list and the certificates as they are.
    fn computed(&self, network: &Network, epoch: Epoch) -> Eligible {
        let start = network.scale.epoch_start(epoch);
        let lapsed = self.former.values().filter(|(_, lapsed)| *lapsed > start);
        let mut members: Vec<Arc<Member>> = lapsed.map(|(member, _)| Arc::clone(member)).collect();
        if members.is_empty() {
            return Eligible::by(network, &self.snapshot, &self.certificates, epoch);
        }
        members.extend(self.snapshot.iter().cloned());
        members.sort_unstable_by_key(|member| member.id());
        let all = Snapshot::of_sorted(members);
        Eligible::by(network, &all, &self.certificates, epoch)
    }

    /// The relays that may be guards: none that would be in today's M(e) but for what others say of it ([ELI-13]).
    pub(crate) fn guards(&self, network: &Network, now: Now) -> Vec<NodeId> {
        let today = network.scale.epoch_of(now.unix);
        let told = self.told.get(&today);
        let by_age = told.map(|roster| (roster, self.computed(network, today)));
        let is_left_out = |id: &NodeId| {
            let told = by_age.as_ref();
            told.is_some_and(|(roster, by_age)| by_age.has(id) && !roster.has(id))
        };
        guards(network, &self.snapshot, now.unix)
            .iter()
            .map(|member| member.id())
            .filter(|id| !is_left_out(id))
            .collect()
    }
}
