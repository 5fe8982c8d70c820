//! The member list of a correspondent: which sources are asked, and when what they say may be relied upon.
//!
//! The list is the union of what several sources give whole ([LST-5]). Guards are kept for months, so they are
//! chosen only when the sources agree ([LST-6]): one who lies about the members, or does not know them yet,
//! shall not decide who sees every onion. Who is in the list and for how long is `members/list.rs`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use rand_chacha::ChaCha12Rng;

use super::path::pick;
use super::{ASK_LIFE, AskId, Client, Effect, Event, JudgedPart, Source};
use crate::id::{NodeId, NodeKey};
use crate::limits;
use crate::members::{Inserted, Snapshot, VerifiedRecord};
use crate::network::Network;
use crate::time::{Epoch, Instant, Now};
use crate::wire::members::{ListAsk, ListPart};

/// The sources, and what they have given at this look.
#[derive(Debug)]
pub(super) struct Lists {
    sources: Vec<Source>,
    loading: BTreeMap<AskId, Loading>,
    /// Sources that gave their whole list.
    answered: BTreeSet<NodeKey>,
    /// Whom each source has named; at most [`limits::MEMBERS_MAX`] for each, and only for as long as it is asked.
    named: BTreeMap<NodeKey, BTreeSet<NodeId>>,
    /// Those of them that answered at the last look that led to a list, founders first.
    alive: Vec<Source>,
    /// A list that is there and waits for the M(e) of this epoch; whether it is news.
    loaded: Option<(Epoch, bool)>,
    /// What the last comparison came to.
    differ: bool,
    /// Looks in a row that led to no list, or to lists that differ.
    vain: u32,
    due: Instant,
}

/// A member list that is being loaded from one source.
#[derive(Clone, Copy, Debug)]
struct Loading {
    source: Source,
    from: u32,
    begun: Instant,
    ends: Instant,
}

impl Lists {
    /// Nothing is loaded; the first look is due at once.
    pub(super) fn new(sources: Vec<Source>, now: Now) -> Self {
        Self {
            sources,
            loading: BTreeMap::new(),
            answered: BTreeSet::new(),
            named: BTreeMap::new(),
            alive: Vec::new(),
            loaded: None,
            differ: false,
            vain: 0,
            due: now.mono,
        }
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Instant {
        let ends = self.loading.values().map(|loading| loading.ends);
        ends.min().map_or(self.due, |ends| ends.min(self.due))
    }

    /// Whom to ask for more than the list.
    pub(super) fn alive(&self) -> &[Source] {
        &self.alive
    }

    /// How many must have answered.
    pub(super) fn needed(&self) -> usize {
        self.sources.len().min(SOURCES_NEEDED)
    }

    fn is_enough(&self) -> bool {
        !self.answered.is_empty() && self.answered.len() >= self.needed()
    }

    /// Whether guards may be chosen without those that are still silent: never before two founders have been
    /// heard, as long as one may yet answer.
    fn founders_heard(&self, network: &Network) -> bool {
        let heard = self.answered.iter().filter(|key| is_founder(network, key));
        let mut loading = self.loading.values().map(|loading| loading.source.key);
        heard.count() >= FOUNDERS_ASKED || !loading.any(|key| is_founder(network, &key))
    }

    /// Sources to be asked: at random, but founders among them, beside those that are being asked.
    fn choose(&self, network: &Network, rng: &mut ChaCha12Rng) -> Vec<Source> {
        let busy: BTreeSet<NodeKey> = self.loading.values().map(|l| l.source.key).collect();
        let is_free =
            |source: &&Source| !busy.contains(&source.key) && !self.answered.contains(&source.key);
        let mut free: Vec<Source> = self.sources.iter().filter(is_free).copied().collect();
        let founders = free
            .iter()
            .filter(|source| is_founder(network, &source.key));
        let mut founders: Vec<Source> = founders.copied().collect();
        let mut chosen = Vec::new();
        while chosen.len() < SOURCES_ASKED {
            let from = if chosen.len() < FOUNDERS_ASKED && !founders.is_empty() {
                &founders
            } else {
                &free
            };
            let Some(next) = pick(from, rng).copied() else {
                break;
            };
            founders.retain(|source| source.key != next.key);
            free.retain(|source| source.key != next.key);
            chosen.push(next);
        }
        chosen
    }

    /// Lets those that have answered be asked again.
    fn forget_answers(&mut self) {
        for key in core::mem::take(&mut self.answered) {
            self.named.remove(&key);
        }
    }

    /// Notes who has answered at this look.
    fn remember_alive(&mut self, network: &Network) {
        let answered = self.sources.iter();
        let answered = answered.filter(|source| self.answered.contains(&source.key));
        let mut alive: Vec<Source> = answered.copied().collect();
        alive.sort_by_key(|source| !is_founder(network, &source.key));
        alive.truncate(SOURCES_ASKED);
        self.alive = alive;
    }

    /// How many members the lists of those that answered name between them, and how many all of them do.
    fn compare(&self) -> (usize, usize) {
        let mut times: BTreeMap<NodeId, usize> = BTreeMap::new();
        let lists = self.answered.iter().filter_map(|key| self.named.get(key));
        for id in lists.flatten() {
            let times = times.entry(*id).or_default();
            *times = times.saturating_add(1);
        }
        let by_all = times
            .values()
            .filter(|times| **times == self.answered.len());
        (times.len(), by_all.count())
    }
}

impl Client {
    /// Gives up on sources that are silent, and looks again when it is time.
    pub(super) fn wake_lists(&mut self, now: Now, out: &mut Vec<Effect>) {
        let late = self.lists.loading.iter();
        let late: Vec<AskId> = late
            .filter(|(_, loading)| loading.ends <= now.mono)
            .map(|(id, _)| *id)
            .collect();
        for ask in late {
            self.listed(now, ask, None, out);
        }
        if self.lists.due <= now.mono {
            self.load_list(now, out);
        }
    }

    /// Asks some of the sources for the member list, each for the whole of it.
    fn load_list(&mut self, now: Now, out: &mut Vec<Effect>) {
        // At the first start all that were asked are waited for, but not for longer than this.
        let is_there = self.lists.is_enough() && self.lists.founders_heard(&self.network);
        if !self.ready && is_there && self.lists.loaded.is_none() {
            self.list_loaded(now, out);
        }
        let again = if self.may_ask() {
            self.lists.vain = 0;
            self.network.scale.minutes(LIST_MINUTES).max(LIST_RETRY)
        } else {
            self.lists.vain = self.lists.vain.saturating_add(1);
            retry_after(self.lists.vain)
        };
        self.lists.due = now.mono.plus(again);
        if self.lists.loaded.is_some() {
            return;
        }
        if self.lists.loading.is_empty() {
            self.lists.forget_answers();
        } else if self.ready {
            return;
        }
        // While too few have answered, silent ones are not waited for: others are asked beside them.
        for source in self.lists.choose(&self.network, &mut self.rng) {
            let question = ListAsk {
                held: [0; 32],
                from: 0,
            };
            self.load_part(now, now.mono, source, question, out);
        }
    }

    fn load_part(
        &mut self,
        now: Now,
        begun: Instant,
        source: Source,
        question: ListAsk,
        out: &mut Vec<Effect>,
    ) {
        let ask = self.name_ask();
        let loading = Loading {
            source,
            from: question.from,
            begun,
            ends: now.mono.plus(ASK_LIFE),
        };
        self.lists.loading.insert(ask, loading);
        out.push(Effect::List {
            ask,
            source,
            question,
        });
    }

    /// A source gave a part of its list, or nothing.
    pub(super) fn listed(
        &mut self,
        now: Now,
        ask: AskId,
        part: Option<JudgedPart>,
        out: &mut Vec<Effect>,
    ) {
        let Some(loading) = self.lists.loading.remove(&ask) else {
            return;
        };
        let key = loading.source.key;
        let in_time = now.mono.since(loading.begun) < LOAD_LIFE;
        let part = part.filter(|JudgedPart(part)| in_time && is_next(&loading, part));
        if let Some(JudgedPart(part)) = part {
            let loaded = u32::try_from(part.members.len()).unwrap_or(u32::MAX);
            let next = part.from.saturating_add(loaded);
            for member in part.members {
                let record = VerifiedRecord::admitted(member.record);
                let id = record.id();
                // Records end at the same moment everywhere, but not all drop them then.
                if self.view.insert(record, &member.keys, now) != Inserted::Void {
                    self.lists.named.entry(key).or_default().insert(id);
                }
            }
            if next < part.total {
                let question = ListAsk {
                    held: part.hash,
                    from: next,
                };
                self.load_part(now, loading.begun, loading.source, question, out);
                return;
            }
            self.lists.answered.insert(key);
        } else {
            self.lists.named.remove(&key);
        }
        // Whoever has guards needs the list and not its agreement: three are enough for that.
        let has_pins = !self.pinned.guards.is_empty();
        let is_wanted = !self.ready && self.lists.loaded.is_none();
        if self.lists.loading.is_empty() || (has_pins && is_wanted && self.lists.is_enough()) {
            self.list_loaded(now, out);
        }
    }

    /// Enough sources have given their whole list, or all have answered or failed ([LST-5], [LST-6]).
    fn list_loaded(&mut self, now: Now, out: &mut Vec<Effect>) {
        let (answered, needed) = (self.lists.answered.len(), self.lists.needed());
        if !self.lists.is_enough() {
            if !self.ready {
                out.push(Effect::Report(Event::NoMembers { answered, needed }));
            }
            return;
        }
        let (named, shared) = self.lists.compare();
        self.lists.differ = named.saturating_sub(shared).saturating_mul(DIFFER_SHARE) > named;
        let is_news = self.view.refresh(&self.network, now);
        if self.lists.differ {
            out.push(Effect::Report(Event::SourcesDiffer {
                sources: answered,
                named,
                shared,
            }));
            if !self.ready && !self.has_guard() {
                self.lists.forget_answers();
                // Those that answered before may have agreed.
                self.lists.loaded = None;
                return;
            }
        }
        self.lists.remember_alive(&self.network);
        if self.lists.loading.is_empty() {
            self.lists.forget_answers();
        }
        if !self.lists.differ {
            // A whole list was fetched, and the sources agree that it is whole: a relay that turns up later
            // with an old date was not there before ([LST-2]). While they differ, some of the others may know
            // it well, and to call it young would be to disagree with them about who holds.
            self.view.completed(now);
        }
        // Who may hold today is asked each time, and known before guards are chosen ([ELI-11], [ELI-13]).
        let today = self.network.scale.epoch_of(now.unix);
        let was_news = self.lists.loaded.is_some_and(|(_, is_news)| is_news);
        self.lists.loaded = Some((today, is_news || was_news));
        if !self.begin_look(now, today, out) {
            self.list_settled(now, today, out);
        }
    }

    /// The M(e) that a list waited for is there, or could not be had. False if none waited for this one.
    pub(super) fn list_settled(&mut self, now: Now, epoch: Epoch, out: &mut Vec<Effect>) -> bool {
        let Some((_, is_news)) = self.lists.loaded.filter(|(of, _)| *of == epoch) else {
            return false;
        };
        self.lists.loaded = None;
        if is_news || !self.ready {
            out.push(Effect::Report(Event::Members(self.view.snapshot())));
        }
        self.ready = true;
        if !self.lists.differ {
            self.pin(now, out);
        }
        self.advance_waiting(now, out);
        true
    }

    /// Takes the list of the relay beside it: one source, whole and verified, that need agree with nobody.
    pub(super) fn given(&mut self, now: Now, members: Arc<Snapshot>, out: &mut Vec<Effect>) {
        let is_news = self.view.replace(&self.network, members, now);
        if is_news || !self.ready {
            out.push(Effect::Report(Event::Members(self.view.snapshot())));
        }
        self.ready = true;
        self.pin(now, out);
        self.advance_waiting(now, out);
    }

    /// Chooses guards and second layer in the place of those that ended ([PTH-2]).
    fn pin(&mut self, now: Now, out: &mut Vec<Effect>) {
        let snapshot = self.view.snapshot();
        let guards = self.view.guards(&self.network, now);
        let pinned = &mut self.pinned;
        if pinned.renew(&snapshot, &guards, &self.network, now.unix, &mut self.rng) {
            out.push(Effect::Report(Event::Pinned(self.pinned.clone())));
        }
    }

    /// Whether relays can be asked: without a guard nobody is while sources differ ([LST-6]).
    pub(super) fn may_ask(&self) -> bool {
        self.ready && (!self.lists.differ || self.has_guard())
    }

    /// Whether a guard of earlier days is still a member.
    fn has_guard(&self) -> bool {
        let members = self.view.snapshot();
        let guards = self.pinned.guards.iter();
        guards.filter(|pin| members.find(&pin.id).is_some()).count() > 0
    }
}

/// Relays that start together agree within seconds; a network in trouble is not asked for whole lists all the
/// time.
fn retry_after(vain: u32) -> Duration {
    let doublings = vain.saturating_sub(LOOKS_IN_HASTE).min(8);
    (LIST_RETRY * (1 << doublings)).min(LIST_RETRY_MAX)
}

fn is_founder(network: &Network, key: &NodeKey) -> bool {
    network.founders.binary_search(key).is_ok()
}

/// Whether a part is what was asked for and leads on, so that loading a list comes to an end.
fn is_next(loading: &Loading, part: &ListPart) -> bool {
    let listed = usize::try_from(part.total).unwrap_or(usize::MAX) <= limits::MEMBERS_MAX;
    let ends = part.from >= part.total;
    part.from == loading.from && listed && (ends || !part.members.is_empty())
}

/// Minutes between two looks at the member list.
const LIST_MINUTES: u64 = 60;
/// How long one source may take for its whole list, so that a slow one holds nothing up for ever.
const LOAD_LIFE: Duration = Duration::from_secs(600);
/// Shortest pause between two looks at the member list.
pub(super) const LIST_RETRY: Duration = Duration::from_secs(3);
/// Longest pause while there is no list to rely on.
const LIST_RETRY_MAX: Duration = Duration::from_secs(60);
/// Looks with the shortest pause: half a minute.
const LOOKS_IN_HASTE: u32 = 10;
/// Sources asked in one look.
pub(super) const SOURCES_ASKED: usize = 5;
/// Sources that must have given their whole list, if so many are known.
const SOURCES_NEEDED: usize = 3;
/// Founders among the sources asked, if so many are known: whoever wrote an invitation chose the others.
pub(super) const FOUNDERS_ASKED: usize = 2;
/// Lists differ when more than this part of all that are named is not named by all: 5 %, more than what joins and
/// leaves within the hour that news takes.
const DIFFER_SHARE: usize = 20;
