//! Who may hold, as the network itself says: M(e) by the word of most of a correspondent's sources ([ELI-11],
//! [ELI-12]).
//!
//! A correspondent knows no certificates, and not what the list was when an old letter was deposited. The relays
//! that gave it the member list keep both, as a list of names for each epoch. All are asked for its hash; the names
//! come from one of those who share it, or from one for each hash where no hash has a majority. A name counts that
//! most of them gave, so one that lies puts nobody in and nobody out. Where too few know an epoch, M(e) is computed
//! by age (`members/eligible.rs`).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::lists::LIST_RETRY;
use super::{ASK_LIFE, AskId, Client, Effect, Event, Source};
use crate::id::NodeKey;
use crate::limits;
use crate::members::settle::oldest;
use crate::members::{NAME_BYTES, Roster};
use crate::time::{Epoch, HOUR_MINUTES, Instant, Now, UnixTime};
use crate::wire::members::{NAMES_IN_ROSTER_PART_MAX, RosterAsk, RosterPart};

/// What is asked of sources about M(e).
#[derive(Debug, Default)]
pub(super) struct Rosters {
    looks: BTreeMap<Epoch, Look>,
    asks: BTreeMap<AskId, Asking>,
    /// Epochs that are not asked about again before a moment.
    rest: BTreeMap<Epoch, Instant>,
    /// Epochs of which nothing new is to be heard.
    firm: BTreeSet<Epoch>,
}

/// The names of one epoch, as far as sources have told them.
#[derive(Debug)]
struct Look {
    began: Instant,
    /// Whether those that are silent are waited for.
    waits: bool,
    /// At most one for each source that was asked.
    said: BTreeMap<NodeKey, Said>,
    /// What was fetched, by its hash.
    lists: BTreeMap<[u8; 32], Arc<Roster>>,
}

/// What a source says of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Hash {
        source: Source,
        hash: [u8; 32],
        total: u32,
    },
    /// What cannot be: it names nobody, and counts among those who answered.
    Nonsense,
}

/// One question under way.
#[derive(Debug)]
struct Asking {
    epoch: Epoch,
    source: Source,
    what: Wanted,
    ends: Instant,
}

#[derive(Debug)]
enum Wanted {
    Hash,
    /// All names behind a hash; those that came so far.
    Names {
        hash: [u8; 32],
        total: u32,
        came: Vec<[u8; NAME_BYTES]>,
    },
}

impl Rosters {
    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let asks = self.asks.values().map(|asking| asking.ends);
        let looks = self.looks.values().map(|look| {
            let life = if look.waits { PATIENCE } else { LOOK_LIFE };
            look.began.plus(life)
        });
        asks.chain(looks).min()
    }

    fn is_asking(&self, epoch: Epoch, what: impl Fn(&Wanted) -> bool) -> bool {
        let mut asks = self.asks.values();
        asks.any(|asking| asking.epoch == epoch && what(&asking.what))
    }
}

impl Client {
    /// Takes back what was learned at `at`, in an earlier run of the program.
    pub fn remember(&mut self, roster: Roster, at: UnixTime) {
        let epoch = roster.epoch();
        if self.is_final(epoch, at) {
            self.rosters.firm.insert(epoch);
        }
        self.view.tell(Arc::new(roster), oldest(epoch));
    }

    /// Whether M(e) is to be waited for before anybody is asked for mail of that epoch; begins a look if none is
    /// under way ([ELI-11]).
    pub(super) fn awaits_roster(&mut self, now: Now, epoch: Epoch, out: &mut Vec<Effect>) -> bool {
        let today = self.network.scale.epoch_of(now.unix);
        let is_told = self.view.told(epoch).is_some();
        let is_good = is_told && (epoch == today || self.rosters.firm.contains(&epoch));
        if is_good || epoch > today || epoch < oldest(today) {
            return false;
        }
        if self.rosters.looks.contains_key(&epoch) {
            return true;
        }
        let rest = self.rosters.rest.get(&epoch);
        if self.lists.alive().is_empty() || rest.is_some_and(|until| *until > now.mono) {
            return false;
        }
        // What ends a look lets errands go on, and they begin the next one.
        if self.rosters.looks.len() < LOOKS_MAX {
            self.begin_look(now, epoch, out);
        }
        true
    }

    /// Looks for the M(e) of an epoch, if anybody can be asked. False if not.
    pub(super) fn begin_look(&mut self, now: Now, epoch: Epoch, out: &mut Vec<Effect>) -> bool {
        if self.rosters.looks.contains_key(&epoch) {
            return true;
        }
        let sources = self.lists.alive().to_vec();
        if sources.is_empty() {
            return false;
        }
        let look = Look {
            began: now.mono,
            waits: true,
            said: BTreeMap::new(),
            lists: BTreeMap::new(),
        };
        self.rosters.looks.insert(epoch, look);
        for source in sources {
            self.ask_roster(now, epoch, source, Wanted::Hash, out);
        }
        true
    }

    /// Gives up on sources that are silent.
    pub(super) fn wake_rosters(&mut self, now: Now, out: &mut Vec<Effect>) {
        let asks = self.rosters.asks.iter();
        let late = asks.filter(|(_, asking)| asking.ends <= now.mono);
        let late: Vec<AskId> = late.map(|(ask, _)| *ask).collect();
        for ask in late {
            self.rostered(now, ask, None, out);
        }
        let looks: Vec<(Epoch, Instant)> = self
            .rosters
            .looks
            .iter()
            .map(|(epoch, look)| (*epoch, look.began))
            .collect();
        for (epoch, began) in looks {
            if began.plus(LOOK_LIFE) <= now.mono {
                self.close_look(now, epoch, out);
            } else if began.plus(PATIENCE) <= now.mono {
                if let Some(look) = self.rosters.looks.get_mut(&epoch) {
                    look.waits = false;
                }
                self.decide(now, epoch, out);
            }
        }
    }

    /// The time of a look is over: those who have not told what is behind their hash by now name nobody.
    fn close_look(&mut self, now: Now, epoch: Epoch, out: &mut Vec<Effect>) {
        self.rosters.asks.retain(|_, asking| asking.epoch != epoch);
        if let Some(look) = self.rosters.looks.get_mut(&epoch) {
            look.waits = false;
            let Look { said, lists, .. } = look;
            for said in said.values_mut() {
                if matches!(said, Said::Hash { hash, .. } if !lists.contains_key(hash)) {
                    *said = Said::Nonsense;
                }
            }
        }
        self.decide(now, epoch, out);
    }

    /// A source told hash or names, or nothing.
    pub(super) fn rostered(
        &mut self,
        now: Now,
        ask: AskId,
        part: Option<RosterPart>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Asking {
            epoch,
            source,
            what,
            ..
        }) = self.rosters.asks.remove(&ask)
        else {
            return;
        };
        let said = match what {
            Wanted::Hash => part.and_then(|part| said(source, &part)),
            Wanted::Names { hash, total, came } => match joined(epoch, hash, total, came, part) {
                Joined::Part(came) => {
                    let what = Wanted::Names { hash, total, came };
                    self.ask_roster(now, epoch, source, what, out);
                    return;
                }
                Joined::Whole(roster) => {
                    if let Some(look) = self.rosters.looks.get_mut(&epoch) {
                        look.lists.insert(hash, Arc::new(roster));
                    }
                    None
                }
                Joined::Nonsense => Some(Said::Nonsense),
            },
        };
        if let (Some(said), Some(look)) = (said, self.rosters.looks.get_mut(&epoch)) {
            look.said.insert(source.key, said);
        }
        self.decide(now, epoch, out);
    }

    fn ask_roster(
        &mut self,
        now: Now,
        epoch: Epoch,
        source: Source,
        what: Wanted,
        out: &mut Vec<Effect>,
    ) {
        let ask = self.name_ask();
        // What it has is its own affair: nobody is told.
        let (held, from) = match &what {
            Wanted::Hash => ([0; 32], u32::MAX),
            Wanted::Names { came, .. } => ([0; 32], u32::try_from(came.len()).unwrap_or(u32::MAX)),
        };
        let question = RosterAsk { epoch, held, from };
        let asking = Asking {
            epoch,
            source,
            what,
            ends: now.mono.plus(ASK_LIFE),
        };
        self.rosters.asks.insert(ask, asking);
        out.push(Effect::Roster {
            ask,
            source,
            question,
        });
    }

    /// Asks for the names that decide, or ends the look if they are there ([ELI-12]).
    fn decide(&mut self, now: Now, epoch: Epoch, out: &mut Vec<Effect>) {
        let needed = self.lists.needed();
        let Some(look) = self.rosters.looks.get(&epoch) else {
            return;
        };
        let is_open = self
            .rosters
            .is_asking(epoch, |what| matches!(what, Wanted::Hash));
        if is_open && (look.waits || look.said.len() < needed) {
            return;
        }
        let voters = look.said.len().max(needed);
        let mut votes: BTreeMap<[u8; 32], usize> = BTreeMap::new();
        for said in look.said.values() {
            if let Said::Hash { hash, .. } = said {
                let count = votes.entry(*hash).or_default();
                *count = count.saturating_add(1);
            }
        }
        if let Some(winner) = votes.iter().find(|(_, count)| is_most(**count, voters)) {
            let (hash, count) = (*winner.0, *winner.1);
            votes = BTreeMap::from([(hash, count)]);
        }
        if self.fetch_names(now, epoch, votes.keys().copied().collect(), out) {
            return;
        }
        let roster = self.rosters.looks.get(&epoch).and_then(|look| {
            let names = named_by_most(&votes, &look.lists, voters);
            Roster::new(epoch, names).filter(|roster| !roster.names().is_empty())
        });
        self.end_look(now, epoch, roster, out);
    }

    /// Has the names behind these hashes fetched, each from one of those who gave the hash. True if some are under
    /// way.
    fn fetch_names(
        &mut self,
        now: Now,
        epoch: Epoch,
        hashes: Vec<[u8; 32]>,
        out: &mut Vec<Effect>,
    ) -> bool {
        let told = self.view.told(epoch).cloned();
        let mut is_under_way = false;
        for wanted in hashes {
            let Some(look) = self.rosters.looks.get_mut(&epoch) else {
                return false;
            };
            if let Some(told) = told.as_ref().filter(|told| *told.hash() == wanted) {
                look.lists.insert(wanted, Arc::clone(told));
            }
            if look.lists.contains_key(&wanted) {
                continue;
            }
            is_under_way = true;
            let first = look.said.values().find_map(|said| match said {
                Said::Hash {
                    source,
                    hash,
                    total,
                } if *hash == wanted => Some((*source, *total)),
                Said::Hash { .. } | Said::Nonsense => None,
            });
            // Somebody has said it, or it would have no vote.
            let is_coming = self.rosters.is_asking(
                epoch,
                |what| matches!(what, Wanted::Names { hash, .. } if *hash == wanted),
            );
            if let Some((source, total)) = first.filter(|_| !is_coming) {
                let what = Wanted::Names {
                    hash: wanted,
                    total,
                    came: Vec::new(),
                };
                self.ask_roster(now, epoch, source, what, out);
            }
        }
        is_under_way
    }

    /// The look is over: what waited for it goes on, by what it brought or by what was known before.
    fn end_look(&mut self, now: Now, epoch: Epoch, roster: Option<Roster>, out: &mut Vec<Effect>) {
        self.rosters.looks.remove(&epoch);
        self.rosters.asks.retain(|_, asking| asking.epoch != epoch);
        let scale = self.network.scale;
        let oldest = oldest(scale.epoch_of(now.unix));
        let pause = scale.minutes(HOUR_MINUTES).max(LIST_RETRY);
        self.rosters.rest = self.rosters.rest.split_off(&oldest);
        self.rosters.rest.insert(epoch, now.mono.plus(pause));
        if let Some(roster) = roster {
            self.rosters.firm = self.rosters.firm.split_off(&oldest);
            let was_final = self.rosters.firm.contains(&epoch);
            if self.is_final(epoch, now.unix) {
                self.rosters.firm.insert(epoch);
            }
            let is_same = self.view.told(epoch).map(|told| *told.hash()) == Some(*roster.hash());
            if !is_same || was_final != self.rosters.firm.contains(&epoch) {
                let (roster, at) = (Arc::new(roster), now.unix);
                self.view.tell(Arc::clone(&roster), oldest);
                out.push(Effect::Report(Event::Roster { roster, at }));
            }
        }
        if !self.list_settled(now, epoch, out) {
            self.advance_waiting(now, out);
        }
    }

    /// Whether what sources say of an epoch at `at` is their last word.
    fn is_final(&self, epoch: Epoch, at: UnixTime) -> bool {
        let scale = self.network.scale;
        scale.epoch_start(epoch).plus(scale.minutes(FINAL_MINUTES)) <= at
    }
}

/// What an answer to the question for a hash says; `None` if its source does not know that epoch.
fn said(source: Source, part: &RosterPart) -> Option<Said> {
    if part.total == 0 {
        return None;
    }
    let total = usize::try_from(part.total).unwrap_or(usize::MAX);
    Some(if total <= limits::MEMBERS_MAX && part.names.is_empty() {
        Said::Hash {
            source,
            hash: part.hash,
            total: part.total,
        }
    } else {
        Said::Nonsense
    })
}

/// What names came to with one part more.
enum Joined {
    Part(Vec<[u8; NAME_BYTES]>),
    Whole(Roster),
    Nonsense,
}

/// Adds a part to the names before it. Each but the last is full, so it comes to an end.
fn joined(
    epoch: Epoch,
    hash: [u8; 32],
    total: u32,
    mut came: Vec<[u8; NAME_BYTES]>,
    part: Option<RosterPart>,
) -> Joined {
    let total_names = usize::try_from(total).unwrap_or(0);
    let is_next = |part: &RosterPart| {
        let from = usize::try_from(part.from).unwrap_or(usize::MAX);
        let left = total_names.saturating_sub(came.len());
        (part.hash, part.total, from) == (hash, total, came.len())
            && part.names.len() == left.min(NAMES_IN_ROSTER_PART_MAX)
    };
    let Some(part) = part.filter(is_next) else {
        return Joined::Nonsense;
    };
    came.extend(part.names);
    if came.len() < total_names {
        return Joined::Part(came);
    }
    let whole = Roster::new(epoch, came).filter(|_| total_names <= limits::MEMBERS_MAX);
    match whole.filter(|roster| *roster.hash() == hash) {
        Some(roster) => Joined::Whole(roster),
        None => Joined::Nonsense,
    }
}

/// The names that most of the voters gave, ascending.
fn named_by_most(
    votes: &BTreeMap<[u8; 32], usize>,
    lists: &BTreeMap<[u8; 32], Arc<Roster>>,
    voters: usize,
) -> Vec<[u8; NAME_BYTES]> {
    let mut counts: BTreeMap<[u8; NAME_BYTES], usize> = BTreeMap::new();
    for (hash, votes) in votes {
        for name in lists.get(hash).into_iter().flat_map(|list| list.names()) {
            let count = counts.entry(*name).or_default();
            *count = count.saturating_add(*votes);
        }
    }
    counts.retain(|_, count| is_most(*count, voters));
    counts.into_keys().collect()
}

fn is_most(count: usize, voters: usize) -> bool {
    count.saturating_mul(2) > voters
}

/// Epochs of which the names are looked for at once: one question each for a source, whose streams are few.
const LOOKS_MAX: usize = 4;
/// How long sources that are silent are waited for while enough have answered.
const PATIENCE: Duration = LIST_RETRY;
/// How long one look may take: meanwhile commands of its epoch wait.
const LOOK_LIFE: Duration = ASK_LIFE;
/// Minutes of an epoch after which relays have settled it: an hour ([ELI-8]), a round, and the grace of clocks.
const FINAL_MINUTES: u64 = 120;
