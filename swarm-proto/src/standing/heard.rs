//! What watchers have said, and what a quorum of them says now: who is absent, who is to be suspended.
//!
//! Source: `docs/spec/standing.md`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::context::Context;
use crate::id::NodeId;
use crate::standing::certificate::Certificate;
use crate::standing::watchers::Watchers;
use crate::time::Epoch;
use crate::wire::proof::Conviction;
use crate::wire::standing::{About, Testimony, Words};

/// The newest testimony of each watcher about each relay, of the last few epochs.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    said: BTreeMap<(Epoch, NodeId), BTreeMap<NodeId, Saying>>,
    /// By their items, and how much of each holds.
    testimonies: BTreeMap<[u8; 32], (Testimony, usize)>,
    /// Drawn once an epoch and relay, as long as M(e) stays the same.
    drawn: BTreeMap<(Epoch, NodeId), ([u8; 32], Arc<Watchers>)>,
}

/// The newest that one watcher said about one relay, and in which testimony.
#[derive(Clone, Copy, Debug)]
struct Saying {
    words: Words,
    number: u16,
    item: [u8; 32],
}

/// What changed by what was heard.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Relays that count as absent from here on.
    pub(crate) went: Vec<NodeId>,
    /// Relays that do not any more.
    pub(crate) came: Vec<NodeId>,
    /// Relays that a majority wants suspended from here on.
    pub(crate) condemned: Vec<NodeId>,
    /// Relays that are found to be there too seldom from here on.
    pub(crate) rare: Vec<NodeId>,
    /// Relays that are convicted by what they signed, and by what.
    pub(crate) convicted: Vec<Conviction>,
    /// Those of them that are not counted on from here on.
    pub(crate) expelled: Vec<NodeId>,
}

impl Heard {
    /// The watchers of a relay in an epoch.
    pub(crate) fn watchers(
        &mut self,
        context: &Context,
        epoch: Epoch,
        subject: &NodeId,
    ) -> Arc<Watchers> {
        let eligible = context.view.eligible(&context.network, epoch);
        if let Some((of, watchers)) = self.drawn.get(&(epoch, *subject))
            && of == eligible.hash()
        {
            return Arc::clone(watchers);
        }
        let watchers = Arc::new(Watchers::of(&context.network, &eligible, subject));
        let drawn = (*eligible.hash(), Arc::clone(&watchers));
        self.drawn.insert((epoch, *subject), drawn);
        watchers
    }

    /// Takes a testimony in, its signature checked. Gives those about whom it is news ([STD-5]).
    pub(crate) fn hear(
        &mut self,
        context: &Context,
        today: Epoch,
        testimony: &Testimony,
    ) -> Vec<NodeId> {
        let epoch = testimony.epoch;
        let is_timely = epoch <= today && epoch.plus(EPOCHS_HEARD) > today;
        let item = testimony.item();
        if !is_timely || self.testimonies.contains_key(&item) {
            return Vec::new();
        }
        let watcher = testimony.watcher.node_id();
        let number = testimony.number;
        let members = context.view.snapshot();
        let mut own = testimony.about.clone();
        own.retain(|about| {
            let watchers = self.watchers(context, epoch, &about.subject);
            members.find(&about.subject).is_some() && watchers.ids().contains(&watcher)
        });
        // Lists differ a little; what is mostly about others only takes room.
        if 2 * own.len() < testimony.about.len() {
            return Vec::new();
        }
        let mut news = Vec::new();
        for About { subject, words } in &own {
            let said = self.said.entry((epoch, *subject)).or_default();
            let before = said.get(&watcher).copied();
            if before.is_some_and(|old| (old.number, item) > (number, old.item)) {
                continue;
            }
            let words = *words;
            let saying = Saying {
                words,
                number,
                item,
            };
            said.insert(watcher, saying);
            if let Some(old) = before {
                self.holds_less(&old.item);
            }
            news.push(*subject);
        }
        if !news.is_empty() {
            let kept = (testimony.clone(), news.len());
            self.testimonies.insert(item, kept);
        }
        news
    }

    /// One of the words of a testimony gave way to newer ones.
    fn holds_less(&mut self, item: &[u8; 32]) {
        if let Some((_, holds)) = self.testimonies.get_mut(item) {
            *holds = holds.saturating_sub(1);
            if *holds == 0 {
                self.testimonies.remove(item);
            }
        }
    }

    /// What is compared with others.
    pub(crate) fn items(&self) -> impl Iterator<Item = [u8; 32]> + '_ {
        self.testimonies.keys().copied()
    }

    /// The testimony behind an item.
    pub(crate) fn find(&self, item: &[u8; 32]) -> Option<&Testimony> {
        self.testimonies.get(item).map(|(testimony, _)| testimony)
    }

    /// What watchers say about a relay in an epoch.
    pub(crate) fn about(&self, epoch: Epoch, subject: &NodeId) -> impl Iterator<Item = &Words> {
        let said = self.said.get(&(epoch, *subject));
        said.into_iter()
            .flat_map(BTreeMap::values)
            .map(|saying| &saying.words)
    }

    /// What one watcher said last about a relay in an epoch.
    pub(crate) fn by(&self, epoch: Epoch, subject: &NodeId, watcher: &NodeId) -> Option<Words> {
        let said = self.said.get(&(epoch, *subject))?;
        said.get(watcher).map(|saying| saying.words)
    }

    /// What a quorum says at the end of an epoch ([STD-7]).
    pub(crate) fn certificate(
        &mut self,
        context: &Context,
        epoch: Epoch,
        subject: &NodeId,
    ) -> Option<Certificate> {
        let watchers = self.watchers(context, epoch, subject);
        let last = self.about(epoch, subject).filter(|words| words.last);
        let last: Vec<Words> = last.copied().collect();
        let is_enough = watchers.are_enough() && last.len() >= watchers.quorum();
        is_enough.then(|| Certificate::of(&last, watchers.majority()))
    }

    /// Looks again at one relay, after something was heard about it in `epoch` ([STD-5], [STD-9]).
    pub(crate) fn judge(
        &mut self,
        context: &mut Context,
        today: Epoch,
        (epoch, subject): (Epoch, NodeId),
        changes: &mut Changes,
    ) {
        if let Some(certificate) = self.certificate(context, epoch, &subject) {
            context.view.certify(subject, epoch, certificate);
            let verdicts = &context.network.verdicts;
            let certificates = context.view.certificates();
            if !certificates.is_rare(verdicts, &subject, today) {
                context.said.rare.remove(&subject);
            } else if context.said.rare.insert(subject) {
                changes.rare.push(subject);
            }
        }
        if epoch != today {
            return;
        }
        let watchers = self.watchers(context, today, &subject);
        if !watchers.are_enough() {
            return;
        }
        let absent = self.about(today, &subject).filter(|words| words.absent);
        let absent = absent.count();
        let present = self.about(today, &subject).filter(|words| !words.absent);
        let present = present.count();
        let quorum = watchers.quorum();
        let was_absent = context.said.absent.contains(&subject);
        if !was_absent && absent >= quorum {
            context.said.absent.insert(subject);
            changes.went.push(subject);
        } else if was_absent && absent < quorum && present >= quorum {
            context.said.absent.remove(&subject);
            changes.came.push(subject);
        }
        let votes = self.about(today, &subject).filter(|words| words.suspend);
        if votes.count() >= watchers.majority() {
            if context.said.condemned.insert(subject) {
                changes.condemned.push(subject);
            }
        } else {
            context.said.condemned.remove(&subject);
        }
    }

    /// Another epoch has begun: what is too old is forgotten.
    pub(crate) fn turn(&mut self, today: Epoch) {
        let oldest = today.minus(EPOCHS_HEARD.saturating_sub(1));
        self.said.retain(|(epoch, _), _| *epoch >= oldest);
        self.testimonies
            .retain(|_, (testimony, _)| testimony.epoch >= oldest);
        self.drawn.retain(|(epoch, _), _| *epoch >= oldest);
    }
}

/// What watchers say together at this moment, for all roles to read.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Whether watchers speak for the network at all; otherwise each relay goes by its own tries.
    pub(crate) speaks: bool,
    /// Relays that a quorum could not reach.
    pub(crate) absent: BTreeSet<NodeId>,
    /// Relays that a majority wants suspended.
    pub(crate) condemned: BTreeSet<NodeId>,
    /// Relays that are there too seldom to be counted among those who keep something ([STD-11]).
    pub(crate) rare: BTreeSet<NodeId>,
    /// Relays that answered wrong twice when they were to show what they had pledged ([EVD-3]).
    pub(crate) expelled: BTreeSet<NodeId>,
}

/// Epochs of which testimonies are kept and taken: today and the two before.
pub(crate) const EPOCHS_HEARD: u32 = 3;
