//! Proofs that convict a relay by themselves, kept, passed on and acted upon.
//!
//! 1. A proof is found here, or comes from another relay with its signatures checked at the door ([EVD-1]).
//! 2. Two records with one sequence count at once ([EVD-2]). Of a wrong answer to a challenge one sector is made
//!    again first, and only what this machine made itself is believed; one suspends, two expel ([EVD-3]).
//! 3. What is news is told to three members, and stands in the comparison of testimonies ([EVD-5]).
//!
//! Watchers carry what follows into the certificates ([STD-4]). Source: `docs/spec/evidence.md`.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{Changes, Standing};
use crate::context::Context;
use crate::effects::{Effects, PlotTicket};
use crate::id::NodeId;
use crate::limits;
use crate::pledge::{Evidence, PlotDone};
use crate::time::{Epoch, Now};
use crate::wire::proof::{Conviction, Proof};

/// Proofs that everybody is to know, the first of its kind of each relay.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    kept: BTreeMap<(NodeId, Kind), Kept>,
    places: BTreeMap<[u8; 32], (NodeId, Kind)>,
    /// What need not be looked at again, and since when.
    judged: BTreeMap<[u8; 32], Epoch>,
    /// Those whose sector is being made, and who sent them.
    under_way: BTreeMap<[u8; 32], (NodeId, Box<Evidence>)>,
    /// Who sent a proof that proves nothing: no honest relay does.
    liars: BTreeSet<NodeId>,
    epoch: Option<Epoch>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A wrong answer.
    Pledge,
    /// One to another challenge.
    PledgeAgain,
    Twice,
}

#[derive(Debug)]
struct Kept {
    proof: Proof,
    item: [u8; 32],
    /// From which epoch on it counts: of two records their own, of a wrong answer the one in which it came here.
    since: Epoch,
}

impl Proofs {
    /// Items for a comparison.
    pub(super) fn items(&self) -> impl Iterator<Item = [u8; 32]> + '_ {
        self.places.keys().copied()
    }

    /// The proof behind an item.
    pub(super) fn find(&self, item: &[u8; 32]) -> Option<&Proof> {
        self.kept
            .get(self.places.get(item)?)
            .map(|kept| &kept.proof)
    }

    /// Whether something with this item is worth asking for.
    pub(super) fn is_news(&self, item: &[u8; 32]) -> bool {
        !self.judged.contains_key(item)
    }

    /// In which epoch two records of a relay were issued with one sequence.
    pub(super) fn twice(&self, subject: &NodeId) -> Option<Epoch> {
        self.since(subject, Kind::Twice)
    }

    /// Since which epoch a wrong answer of a relay is known here.
    pub(super) fn wrong(&self, subject: &NodeId) -> Option<Epoch> {
        self.since(subject, Kind::Pledge)
    }

    /// Since which epoch wrong answers of a relay to two challenges are known here, which expel it.
    pub(super) fn expelled(&self, subject: &NodeId) -> Option<Epoch> {
        self.since(subject, Kind::PledgeAgain)
    }

    /// Whether a watcher wants a relay suspended in an epoch for what it signed ([EVD-2], [EVD-3]).
    pub(super) fn suspend(&self, subject: &NodeId, epoch: Epoch, window: u8) -> bool {
        let is_recent = |since: Epoch| since <= epoch && epoch <= since.plus(window.into());
        self.twice(subject).is_some_and(is_recent)
            || self.wrong(subject).is_some_and(is_recent)
            || self.expelled(subject).is_some()
    }

    /// Relays that are expelled.
    fn all_expelled(&self) -> impl Iterator<Item = NodeId> + '_ {
        let kinds = self.kept.keys();
        let again = kinds.filter(|(_, kind)| *kind == Kind::PledgeAgain);
        again.map(|(subject, _)| *subject)
    }

    /// Whether a wrong answer says more than what is kept: the second one only if it answers another challenge.
    fn says_more(&self, evidence: &Evidence) -> bool {
        let subject = evidence.subject.node_id();
        let first = self.kept.get(&(subject, Kind::Pledge));
        let is_same =
            first.is_some_and(|kept| nonce_of(&kept.proof) == Some(&evidence.answer.nonce));
        self.expelled(&subject).is_none() && !is_same
    }

    /// Its kind, and from which epoch on it counts; none of one that is for watchers only.
    fn kind_of(&self, proof: &Proof, today: Epoch) -> Option<(Kind, Epoch)> {
        match proof {
            Proof::Lost(_) => None,
            Proof::Pledge(evidence) => {
                let is_second = self.wrong(&evidence.subject.node_id()).is_some();
                let again = is_second && self.says_more(evidence);
                let kind = if again {
                    Kind::PledgeAgain
                } else {
                    Kind::Pledge
                };
                Some((kind, today))
            }
            Proof::Twice(twice) => {
                let [one, _] = twice.records();
                Some((Kind::Twice, one.sequence.epoch()))
            }
        }
    }

    fn since_of(&self, item: &[u8; 32]) -> Option<Epoch> {
        self.kept.get(self.places.get(item)?).map(|kept| kept.since)
    }

    fn since(&self, subject: &NodeId, kind: Kind) -> Option<Epoch> {
        self.kept.get(&(*subject, kind)).map(|kept| kept.since)
    }

    /// Notes that something need not be looked at again; when too much is noted it may be, once more.
    fn judge(&mut self, item: [u8; 32], today: Epoch) {
        if self.judged.len() < limits::PROOFS_JUDGED_MAX {
            self.judged.insert(item, today);
        }
    }

    /// Keeps a proof that holds and gives its item; nothing if one of its kind is there, if it is out of date, or
    /// there is no room.
    fn keep(&mut self, context: &Context, today: Epoch, proof: Proof) -> Option<[u8; 32]> {
        let (kind, since) = self.kind_of(&proof, today)?;
        // Keys that are nobody's cost nothing, so there is no end of proofs against them.
        context.view.snapshot().find(&proof.subject().node_id())?;
        self.put(kind, since, today, proof)
    }

    /// Keeps a proof of an earlier run.
    fn remember(&mut self, conviction: Conviction, today: Epoch) {
        let Conviction { since, proof } = conviction;
        if let Some((kind, since)) = self.kind_of(&proof, since) {
            self.put(kind, since, today, proof);
        }
    }

    fn put(&mut self, kind: Kind, since: Epoch, today: Epoch, proof: Proof) -> Option<[u8; 32]> {
        let subject = proof.subject().node_id();
        let item = proof.item();
        let known = self.since(&subject, kind);
        let is_newer = known.is_none_or(|known| kind == Kind::Twice && known < since);
        let is_old = since.plus(limits::EPOCHS_REMEMBERED) <= today;
        if is_old || !is_newer {
            self.judge(item, today);
            return None;
        }
        let is_full = known.is_none() && self.kept.len() >= limits::PROOFS_MAX;
        if since > today || is_full {
            return None;
        }
        let kept = Kept { proof, item, since };
        if let Some(old) = self.kept.insert((subject, kind), kept) {
            self.places.remove(&old.item);
            self.judge(old.item, today);
        }
        self.places.insert(item, (subject, kind));
        Some(item)
    }

    /// Whether a wrong answer is worth making a sector for: it is new, and neither too many nor a liar's.
    fn may_remake(&self, from: &NodeId, subject: &NodeId, item: &[u8; 32]) -> bool {
        let of_this =
            |(_, evidence): &(NodeId, Box<Evidence>)| evidence.subject.node_id() == *subject;
        self.is_news(item)
            && !self.liars.contains(from)
            && self.under_way.len() < limits::PROOFS_REMADE_MAX
            && !self.under_way.values().any(of_this)
    }

    /// A proof proved nothing: nothing like it is looked at again, nor made for whoever sent it in this epoch.
    fn refuse(&mut self, from: NodeId, item: [u8; 32], today: Epoch) {
        self.judge(item, today);
        if self.liars.len() < limits::MEMBERS_MAX {
            self.liars.insert(from);
        }
    }

    /// Another epoch may have begun: what is too old is forgotten, but not that it was there, or others would
    /// bring it back. True if one has.
    pub(super) fn turn(&mut self, today: Epoch) -> bool {
        if self.epoch.is_some_and(|epoch| epoch >= today) {
            return false;
        }
        if self.epoch.replace(today).is_some() {
            self.liars.clear();
        }
        let lives = |since: &Epoch| since.plus(limits::EPOCHS_REMEMBERED) > today;
        self.judged.retain(|_, since| lives(since));
        let old = self.kept.extract_if(.., |_, kept| !lives(&kept.since));
        let old: Vec<[u8; 32]> = old.map(|(_, kept)| kept.item).collect();
        for item in old {
            self.places.remove(&item);
            self.judge(item, today);
        }
        true
    }
}

impl Standing {
    /// A proof came from another relay, its signatures checked at the door.
    pub(crate) fn proof(
        &mut self,
        context: &mut Context,
        now: Now,
        from: NodeId,
        proof: Proof,
        out: &mut Effects,
    ) -> Changes {
        self.counts.bytes += proof.bytes().len() as u64;
        let item = proof.item();
        let today = context.network.scale.epoch_of(now.unix);
        match proof {
            Proof::Twice(_) => self.convicted(context, now, proof),
            Proof::Lost(loss) => {
                self.lost(context, today, &loss);
                Changes::default()
            }
            Proof::Pledge(evidence) => {
                self.remake(context, now, (from, item), evidence, out);
                Changes::default()
            }
        }
    }

    /// What an earlier run kept counts on, from the same epoch ([EVD-6]).
    pub(crate) fn remember(
        &mut self,
        context: &mut Context,
        now: Now,
        convictions: Vec<Conviction>,
    ) {
        let today = context.network.scale.epoch_of(now.unix);
        for conviction in convictions {
            self.proofs.remember(conviction, today);
        }
        let expelled: Vec<NodeId> = self.proofs.all_expelled().collect();
        for subject in expelled {
            context.said.expelled.insert(subject);
            if let Some(since) = self.proofs.expelled(&subject) {
                context.view.expel(subject, expelled_in(since));
            }
        }
    }

    /// A proof that this relay found or checked itself: it counts from here on, and is passed on.
    pub(crate) fn convicted(&mut self, context: &mut Context, now: Now, proof: Proof) -> Changes {
        let mut changes = Changes::default();
        let today = context.network.scale.epoch_of(now.unix);
        let subject = proof.subject().node_id();
        let Some(item) = self.proofs.keep(context, today, proof.clone()) else {
            return changes;
        };
        let since = self.proofs.since_of(&item).unwrap_or(today);
        changes.convicted.push(Conviction { since, proof });
        self.is_news(context, now, [item]);
        if self.proofs.expelled(&subject).is_some() && context.said.expelled.insert(subject) {
            context.view.expel(subject, expelled_in(today));
            changes.expelled.push(subject);
        }
        changes
    }

    /// The sector of a proof was made again, or could not be ([EVD-3]).
    pub(crate) fn remade(
        &mut self,
        context: &mut Context,
        now: Now,
        item: [u8; 32],
        done: &PlotDone,
    ) -> Changes {
        let Some((from, evidence)) = self.proofs.under_way.remove(&item) else {
            return Changes::default();
        };
        let PlotDone::Tags(tags) = done else {
            // Nobody is judged; it may come again.
            return Changes::default();
        };
        if tags.first().is_some_and(|right| evidence.convicts(right)) {
            return self.convicted(context, now, Proof::Pledge(evidence));
        }
        let today = context.network.scale.epoch_of(now.unix);
        self.proofs.refuse(from, item, today);
        Changes::default()
    }

    /// Forgets what is too old, whatever the network says about watchers.
    pub(super) fn turn_proofs(&mut self, context: &mut Context, now: Now) {
        let today = context.network.scale.epoch_of(now.unix);
        if self.proofs.turn(today) {
            context.said.expelled = self.proofs.all_expelled().collect();
        }
    }

    /// Has the one sector made that a wrong answer is about.
    fn remake(
        &mut self,
        context: &Context,
        now: Now,
        (from, item): (NodeId, [u8; 32]),
        evidence: Box<Evidence>,
        out: &mut Effects,
    ) {
        let today = context.network.scale.epoch_of(now.unix);
        let subject = evidence.subject.node_id();
        if !self.proofs.says_more(&evidence) {
            self.proofs.judge(item, today);
            return;
        }
        let is_member = context.view.snapshot().find(&subject).is_some();
        if !is_member || !self.proofs.may_remake(&from, &subject, &item) {
            return;
        }
        let Some(request) = evidence.recompute(&context.network.pledge) else {
            self.proofs.refuse(from, item, today);
            return;
        };
        self.proofs.under_way.insert(item, (from, evidence));
        out.plot(PlotTicket::Proof { item }, request);
    }
}

/// The challenge that a wrong answer is about.
fn nonce_of(proof: &Proof) -> Option<&[u8; 32]> {
    match proof {
        Proof::Pledge(evidence) => Some(&evidence.answer.nonce),
        Proof::Lost(_) | Proof::Twice(_) => None,
    }
}

/// In which epochs a relay holds nothing whose second wrong answer became known in `today`: from the second one on,
/// for as long as the proof is kept ([EVD-3]).
fn expelled_in(today: Epoch) -> core::ops::Range<Epoch> {
    today.plus(2)..today.plus(limits::EPOCHS_REMEMBERED)
}

#[cfg(test)]
mod tests;
