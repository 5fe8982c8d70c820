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
use crate::wire::standing::{About, ITEM_HEAD_BYTES, Testimony, Words};

/// The newest testimony of each watcher about each relay, of the last few epochs.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    said: BTreeMap<(Epoch, NodeId), BTreeMap<NodeId, Saying>>,
    /// By their items, and how much of each holds.
    testimonies: BTreeMap<[u8; 32], (Testimony, usize)>,
    /// Drawn once an epoch and relay, as long as M(e) stays the same.
    drawn: BTreeMap<(Epoch, NodeId), ([u8; 32], Arc<Watchers>)>,
    /// Relays that a quorum has called absent in this epoch and not let go.
    called: BTreeSet<NodeId>,
}

/// What a watcher found of the presence of a relay, as far as it matters to whether it says so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finding {
    pub(super) absent: bool,
    /// What it has said of that in this epoch.
    pub(super) said: Option<bool>,
    /// Whether it found at the question before already that what counts is wrong.
    pub(super) waited: bool,
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

    /// The testimony whose item begins like this.
    pub(super) fn beginning(&self, head: &[u8; ITEM_HEAD_BYTES]) -> Option<&Testimony> {
        let mut first = [0; 32];
        *first.first_chunk_mut()? = *head;
        let (item, (testimony, _)) = self.testimonies.range(first..).next()?;
        item.starts_with(head).then_some(testimony)
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

    /// How many watchers call a relay absent in an epoch, and how many do not who have said something.
    fn count(&self, epoch: Epoch, subject: &NodeId) -> (usize, usize) {
        let absent = self.about(epoch, subject).filter(|words| words.absent);
        let absent = absent.count();
        (absent, self.about(epoch, subject).count() - absent)
    }

    /// Whether a watcher is to say what it found: not where enough others have, or where all will do what is right
    /// without it ([STD-12]).
    pub(super) fn is_wanting(
        &mut self,
        context: &Context,
        today: Epoch,
        subject: &NodeId,
        found: Finding,
    ) -> bool {
        let watchers = self.watchers(context, today, subject);
        let (absent, present) = self.count(today, subject);
        let is_away = context.said.absent.contains(subject);
        match (found.absent, found.said) {
            (true, Some(true)) | (false, Some(false)) => false,
            (true, _) => {
                absent < watchers.ample() && context.view.may_hold(&context.network, subject, today)
            }
            (false, Some(true)) => is_away || absent > watchers.stale_max(),
            // Who called it absent is to take that back first; then fewer words will do.
            (false, None) => is_away && present < watchers.ample() && (found.waited || absent == 0),
        }
    }

    /// The items of what is said in an epoch by which a relay counts otherwise than it did.
    pub(super) fn behind(
        &self,
        epoch: Epoch,
        subject: &NodeId,
        (before, after): (Counts, Counts),
    ) -> Vec<[u8; 32]> {
        let said = self.said.get(&(epoch, *subject));
        let sayings = said.into_iter().flat_map(BTreeMap::values);
        let is_behind = |saying: &&Saying| {
            let words = saying.words;
            (before.absent != after.absent && words.absent == after.absent)
                || (before.condemned != after.condemned && words.suspend == after.condemned)
        };
        let behind = sayings.filter(is_behind);
        behind.map(|saying| saying.item).collect()
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
        let (absent, present) = self.count(today, &subject);
        if absent >= watchers.quorum() {
            self.called.insert(subject);
            if context.said.absent.insert(subject) {
                changes.went.push(subject);
            }
        } else if context.said.absent.contains(&subject) {
            let taken_back = self.called.contains(&subject) && absent <= watchers.stale_max();
            if taken_back || present >= watchers.quorum() {
                self.called.remove(&subject);
                context.said.absent.remove(&subject);
                changes.came.push(subject);
            }
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
        self.called.clear();
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

/// As what a relay counts by what its watchers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    absent: bool,
    condemned: bool,
}

impl Said {
    /// As what a relay counts at this moment.
    pub(crate) fn counts_as(&self, id: &NodeId) -> Counts {
        Counts {
            absent: self.absent.contains(id),
            condemned: self.condemned.contains(id),
        }
    }
}

/// Epochs of which testimonies are kept and taken: today and the two before.
pub(crate) const EPOCHS_HEARD: u32 = 3;
