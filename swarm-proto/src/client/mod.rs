//! The machine of a correspondent: it loads the member list, chooses paths, deposits until enough holders
//! have signed, and reads mailboxes from several holders.
//!
//! The same contract as the relay's: `step(now, input, &mut effects)` and `deadline()`. The driver turns an
//! [`Effect::Ask`] into an onion (it has the secrets that sign a fetch), sends it to the path's guard and
//! gives the judged answer back ([`judge`]). Letters, contacts and the durable outbox are the program's.
//!
//! The member list: `lists.rs`. Who of it may hold: `rosters.rs`. Paths: `path.rs`. What a command needs until it is done: `errand.rs`. What a relay's
//! own correspondent does all day: [`persona`].

mod errand;
mod judge;
mod lists;
mod path;
pub mod persona;
mod rosters;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

use crate::envelope::{Envelope, SizeClass};
use crate::id::{EnvelopeId, NodeId, NodeKey};
use crate::limits;
use crate::mailbox::receipt::{Promise, Receipt};
use crate::members::view::View;
use crate::members::{Address, Roster, Snapshot};
use crate::network::Network;
use crate::place::{Cell, Placement};
use crate::store::{Card, Cursor, MailboxKeys};
use crate::time::{Epoch, Instant, Now, UnixTime};
use crate::wire::Message;
use crate::wire::mailbox::{CardPut, Deposit, Erase};
use crate::wire::members::{ListAsk, RosterAsk, RosterPart};
use crate::wire::refusal::Refusal;
use errand::{Errand, Next};
pub use judge::{JudgedPart, judge, judge_list};
use lists::Lists;
use path::Choice;
pub use path::{Path, Pin, Pinned};
use rosters::Rosters;

/// Names a command; chosen by the program, never used for two at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// Names one question and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// What the program wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Put an envelope into a mailbox.
    Deposit(Arc<Deposit>),
    /// Read a mailbox of one epoch after a cursor, from several holders.
    Fetch {
        /// The mailbox.
        keys: MailboxKeys,
        /// Its epoch.
        epoch: Epoch,
        /// What was read before.
        after: Cursor,
    },
    /// Delete an envelope.
    Delete(Erase),
    /// Leave a card.
    CardPut(Arc<CardPut>),
    /// Ask several holders for a card; the highest sequence wins.
    CardAsk {
        /// The mailbox.
        keys: MailboxKeys,
        /// Its epoch.
        epoch: Epoch,
    },
    /// Stop working on the command of that id.
    Cancel,
}

/// What the machine is told.
#[derive(Debug)]
pub enum Input {
    /// The program wants something.
    Command {
        /// Its name.
        id: CommandId,
        /// What.
        command: Command,
    },
    /// An onion's answer, judged; or why there is none.
    Answered {
        /// The question.
        ask: AskId,
        /// The answer.
        answer: Result<Message, AskFailure>,
    },
    /// The list of a relay that this machine lives beside: it has compared it with others', and is not asked for
    /// it again and again ([CAN-9]).
    Members(Arc<Snapshot>),
    /// A part of a member list, judged; or nothing, if it could not be had.
    Listed {
        /// The question.
        ask: AskId,
        /// The part.
        part: Option<JudgedPart>,
    },
    /// A part of an eligible list; or nothing, if it could not be had.
    Rostered {
        /// The question.
        ask: AskId,
        /// The part.
        part: Option<RosterPart>,
    },
    /// The deadline has come.
    Wake,
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskFailure {
    /// The guard could not be reached.
    Guard,
    /// Nothing came in time.
    Timeout,
    /// A relay on the way declined: 0 is the guard, 3 the holder.
    Hop {
        /// Which.
        hop: usize,
        /// Why.
        refusal: Refusal,
    },
    /// The answer was no answer to the question.
    Senseless,
}

/// What the machine asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask a holder through an onion.
    Ask(Ask),
    /// Ask a relay for its member list over a direct, anonymous link.
    List {
        /// To be returned.
        ask: AskId,
        /// The relay.
        source: Source,
        /// The question.
        question: ListAsk,
    },
    /// Ask a relay for an eligible list over a direct, anonymous link.
    Roster {
        /// To be returned.
        ask: AskId,
        /// The relay.
        source: Source,
        /// The question.
        question: RosterAsk,
    },
    /// Something that the program wants to know.
    Report(Event),
}

/// One question for one holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// To be returned.
    pub id: AskId,
    /// For which command: says whose secrets sign it.
    pub command: CommandId,
    /// The way.
    pub path: Path,
    /// The onion's size.
    pub size: SizeClass,
    /// The answer's size.
    pub answer: SizeClass,
    /// What.
    pub request: Request,
}

/// A request before it is signed for its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Complete as it is.
    Deposit(Arc<Deposit>),
    /// To be signed with the read key.
    Fetch {
        /// The mailbox.
        keys: MailboxKeys,
        /// Rows after this one.
        after: Cursor,
        /// The answer's size.
        answer: SizeClass,
    },
    /// Complete as it is.
    Delete(Erase),
    /// Complete as it is.
    CardPut(Arc<CardPut>),
    /// To be signed with the write key.
    CardAsk {
        /// The mailbox.
        keys: MailboxKeys,
    },
}

/// A relay that gives the member list: from the network file or an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Its key.
    pub key: NodeKey,
    /// Where it is.
    pub address: Address,
}

/// What the program wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The member list is complete, or changed.
    Members(Arc<Snapshot>),
    /// The member list could not be had from enough sources; it is tried again.
    NoMembers {
        /// Sources that answered.
        answered: usize,
        /// Sources needed.
        needed: usize,
    },
    /// The sources have each given their whole list, but the lists differ by too much to choose guards from:
    /// without guards of earlier days commands wait. It is looked again.
    SourcesDiffer {
        /// Sources that answered.
        sources: usize,
        /// Members that one of them named, or more.
        named: usize,
        /// Members that all of them named.
        shared: usize,
    },
    /// Who may hold mail of an epoch: to be kept durably for 31 epochs more, with when it was learned, and given
    /// back to [`Client::remember`] ([ELI-11]).
    Roster {
        /// The names.
        roster: Arc<Roster>,
        /// When.
        at: UnixTime,
    },
    /// These pins are to be kept durably.
    Pinned(Pinned),
    /// A deposit is durable at W of the R holders.
    Stored {
        /// The command; it is done.
        id: CommandId,
        /// What they promise.
        promise: Promise,
        /// Their receipts and those of spares, verified, best rank first: all are copies.
        receipts: Vec<Receipt>,
    },
    /// A try failed; the command goes on.
    Waiting {
        /// The command.
        id: CommandId,
        /// Holders that have signed so far; those of spares are not among them.
        receipts: usize,
        /// What went wrong last.
        why: Trouble,
        /// How long until the next try.
        next: Duration,
    },
    /// The command is over without success.
    Failed {
        /// The command.
        id: CommandId,
        /// Why.
        why: Trouble,
    },
    /// A mailbox was read.
    Fetched {
        /// The command; it is done.
        id: CommandId,
        /// The union of what the holders have after the cursor, in order, each verified to be of this mailbox.
        rows: Vec<(Cursor, Envelope)>,
        /// Holders that were read to the end, and what each of them listed after the cursor; as many ids for each
        /// as a reading takes rows ([FET-5]).
        holders: Vec<(NodeId, Vec<EnvelopeId>)>,
        /// Holders that declined to be read for no reason of the moment ([FET-6]).
        declined: Vec<NodeId>,
        /// Whether enough holders were read that every durable envelope is among the rows.
        complete: bool,
    },
    /// A card was asked for.
    Card {
        /// The command; it is done.
        id: CommandId,
        /// The one with the highest sequence; `None` if the holders asked have none.
        card: Option<Card>,
    },
    /// A deletion or a card is durable at a holder.
    Done {
        /// The command; it is done.
        id: CommandId,
    },
}

/// What stands in the way of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no member list yet.
    NoMembers,
    /// No path keeps the rules.
    NoPath,
    /// None of the guards can be reached, and nobody else is entered by ([PTH-2]).
    NoGuard,
    /// No answer came.
    Unreachable,
    /// Two holders declined for this reason, or one did for good.
    Refused(Refusal),
    /// Fewer than W holders have signed.
    TooFewCopies,
    /// The epoch of the envelope is over: it must be sealed again.
    TooLate,
}

/// One correspondent.
#[derive(Debug)]
pub struct Client {
    network: Arc<Network>,
    rng: ChaCha12Rng,
    view: View,
    lists: Lists,
    rosters: Rosters,
    ready: bool,
    pinned: Pinned,
    avoid: BTreeMap<NodeId, Instant>,
    errands: BTreeMap<CommandId, Errand>,
    asks: BTreeMap<AskId, Asked>,
    next_ask: u64,
}

/// A question under way.
#[derive(Clone, Copy, Debug)]
struct Asked {
    command: CommandId,
    path: Path,
    ends: Instant,
}

impl Client {
    /// A correspondent that knows `sources` and keeps the pins of earlier days. `seed` is all its chance.
    pub fn new(
        network: Arc<Network>,
        sources: Vec<Source>,
        pinned: Pinned,
        seed: [u8; 32],
        now: Now,
    ) -> Self {
        Self {
            rng: ChaCha12Rng::from_seed(seed),
            view: View::new(network.scale),
            lists: Lists::new(sources, now),
            rosters: Rosters::default(),
            ready: false,
            pinned,
            avoid: BTreeMap::new(),
            errands: BTreeMap::new(),
            asks: BTreeMap::new(),
            next_ask: 0,
            network,
        }
    }

    /// Takes one input and adds what is to be done to `out`.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Command {
                id,
                command: Command::Cancel,
            } => self.cancel(id),
            Input::Command { id, command } => self.command(now, id, command, out),
            Input::Answered { ask, answer } => self.answered(now, ask, answer, out),
            Input::Members(members) => self.given(now, members, out),
            Input::Listed { ask, part } => self.listed(now, ask, part, out),
            Input::Rostered { ask, part } => self.rostered(now, ask, part, out),
            Input::Wake => self.wake(now, out),
        }
    }

    /// When to send [`Input::Wake`].
    pub fn deadline(&self) -> Option<Instant> {
        let asks = self.asks.values().map(|asked| asked.ends);
        // While no further question may be asked, an errand that is due waits for an answer.
        let full = self.asks.len() >= limits::ASKS_IN_FLIGHT_MAX;
        let errands = self.errands.values().filter(|_| !full);
        let errands = errands.filter_map(Errand::wakes);
        let rosters = self.rosters.deadline();
        asks.chain(errands)
            .chain([self.lists.deadline()])
            .chain(rosters)
            .min()
    }

    /// The member list.
    pub fn members(&self) -> Arc<Snapshot> {
        self.view.snapshot()
    }

    /// The relays around a cell by its own list and what it was told of M(e).
    pub fn placement(&self, epoch: Epoch, cell: Cell) -> Arc<Placement> {
        self.view.placement(&self.network, epoch, cell)
    }

    /// Whether the member list is complete, and there are guards or its sources agree.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    fn command(&mut self, now: Now, id: CommandId, command: Command, out: &mut Vec<Effect>) {
        if self.errands.len() >= limits::ERRANDS_MAX {
            let why = Trouble::Refused(Refusal::TooBusy {
                retry_after_ms: 1_000,
            });
            out.push(Effect::Report(Event::Failed { id, why }));
            return;
        }
        let Some(errand) = Errand::new(id, command, &self.network) else {
            return;
        };
        self.cancel(id);
        self.errands.insert(id, errand);
        self.advance(now, id, out);
    }

    fn cancel(&mut self, id: CommandId) {
        self.errands.remove(&id);
        self.asks.retain(|_, asked| asked.command != id);
    }

    fn answered(
        &mut self,
        now: Now,
        ask: AskId,
        answer: Result<Message, AskFailure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(asked) = self.asks.remove(&ask) else {
            return;
        };
        if let Err(failure) = answer {
            self.blame(now, &asked.path, failure);
            if failure == AskFailure::Guard && self.pinned.put_last(&asked.path.guard()) {
                out.push(Effect::Report(Event::Pinned(self.pinned.clone())));
            }
        }
        let holder = asked.path.holder();
        if let Some(errand) = self.errands.get_mut(&asked.command) {
            let (epoch, cell) = (errand.epoch(), errand.cell());
            let placement = self.view.placement(&self.network, epoch, cell);
            let holders = counting(&self.network, &placement);
            errand.answered(now, holder, answer, holders, &mut self.rng);
            self.advance(now, asked.command, out);
        }
        self.advance_waiting(now, out);
    }

    /// Keeps away for a while from the relay that failed: the one that could not be reached, never the
    /// guard for what happened behind it ([PTH-2]).
    fn blame(&mut self, now: Now, path: &Path, failure: AskFailure) {
        let (relay, pause) = match failure {
            AskFailure::Guard => (Some(path.guard()), AVOID),
            AskFailure::Hop {
                hop,
                refusal: Refusal::HopUnreachable,
            } => (path.hops.get(hop.saturating_add(1)).copied(), AVOID),
            AskFailure::Hop {
                hop,
                refusal: Refusal::Restarted { retry_after_ms },
            } => {
                let pause = Duration::from_millis(retry_after_ms).min(AVOID_MAX);
                (path.hops.get(hop).copied(), pause)
            }
            AskFailure::Hop { hop, refusal: _ } if hop > 0 && hop < 3 => {
                (path.hops.get(hop).copied(), AVOID)
            }
            AskFailure::Timeout => (path.hops.get(2).copied(), AVOID),
            AskFailure::Hop { .. } | AskFailure::Senseless => (None, AVOID),
        };
        if let Some(relay) = relay.filter(|_| self.avoid.len() < limits::MEMBERS_MAX) {
            self.avoid.insert(relay, now.mono.plus(pause));
        }
    }

    /// Lets an errand do what it can.
    fn advance(&mut self, now: Now, command: CommandId, out: &mut Vec<Effect>) {
        while let Some(epoch) = self.errands.get(&command).map(Errand::epoch) {
            if !self.may_ask() || self.awaits_roster(now, epoch, out) {
                return;
            }
            let Some(errand) = self.errands.get_mut(&command) else {
                return;
            };
            let room = self.asks.len() < limits::ASKS_IN_FLIGHT_MAX;
            let placement = self
                .view
                .placement(&self.network, errand.epoch(), errand.cell());
            let holders = counting(&self.network, &placement);
            let next = errand.next(now, &self.network, holders, &mut self.rng);
            match next {
                Next::Ask { holder, .. } if !room => {
                    errand.put_off(holder);
                    return;
                }
                Next::Ask {
                    holder,
                    size,
                    answer,
                    request,
                } => {
                    let insists = errand.insists();
                    match self.path(now, holder, insists) {
                        Ok(path) => {
                            let id = self.asked(now, command, path);
                            out.push(Effect::Ask(Ask {
                                id,
                                command,
                                path,
                                size,
                                answer,
                                request,
                            }));
                        }
                        Err(why) => self.no_path(command, holder, why),
                    }
                }
                Next::Wait => return,
                Next::Tell(event) => out.push(Effect::Report(event)),
                Next::Over(event) => {
                    self.cancel(command);
                    out.push(Effect::Report(event));
                    return;
                }
            }
        }
    }

    fn advance_waiting(&mut self, now: Now, out: &mut Vec<Effect>) {
        let ids: Vec<CommandId> = self.errands.keys().copied().collect();
        for id in ids {
            if self.asks.len() >= limits::ASKS_IN_FLIGHT_MAX {
                return;
            }
            self.advance(now, id, out);
        }
    }

    /// A path to a holder without relays that failed a moment ago; one with them only if it `insists` ([PTH-10]).
    fn path(&mut self, now: Now, holder: NodeId, insists: bool) -> Result<Path, Trouble> {
        let failed = self.avoid.iter().filter(|(_, until)| **until > now.mono);
        let failed: BTreeSet<NodeId> = failed.map(|(id, _)| *id).collect();
        let snapshot = self.view.snapshot();
        let choice = Choice {
            network: &self.network,
            snapshot: &snapshot,
            pinned: &self.pinned,
            avoid: &failed,
        };
        if let Some(path) = choice.path(holder, &mut self.rng) {
            return Ok(path);
        }
        let avoid = &BTreeSet::new();
        let any = Choice { avoid, ..choice }.path(holder, &mut self.rng);
        let any = any.ok_or(Trouble::NoPath)?;
        if insists {
            return Ok(any);
        }
        let mut guards = self.pinned.guards.iter();
        Err(if guards.all(|pin| failed.contains(&pin.id)) {
            Trouble::NoGuard
        } else {
            Trouble::Unreachable
        })
    }

    /// A number for a question.
    fn name_ask(&mut self) -> AskId {
        let ask = AskId(self.next_ask);
        self.next_ask = self.next_ask.wrapping_add(1);
        ask
    }

    /// Notes a question that goes out now.
    fn asked(&mut self, now: Now, command: CommandId, path: Path) -> AskId {
        let id = self.name_ask();
        let ends = now.mono.plus(ASK_LIFE);
        self.asks.insert(
            id,
            Asked {
                command,
                path,
                ends,
            },
        );
        id
    }

    /// The holder cannot be asked now: another one is tried.
    fn no_path(&mut self, id: CommandId, holder: NodeId, why: Trouble) {
        if let Some(errand) = self.errands.get_mut(&id) {
            errand.no_path(holder, why);
        }
    }

    fn wake(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.avoid.retain(|_, until| *until > now.mono);
        let late: Vec<AskId> = self
            .asks
            .iter()
            .filter(|(_, a)| a.ends <= now.mono)
            .map(|(id, _)| *id)
            .collect();
        for ask in late {
            self.answered(now, ask, Err(AskFailure::Timeout), out);
        }
        self.wake_lists(now, out);
        self.wake_rosters(now, out);
        self.advance_waiting(now, out);
    }
}

/// The relays whose word about a cell counts, best rank first ([PLC-5]).
fn counting<'a>(network: &Network, placement: &'a Placement) -> &'a [NodeId] {
    let count = usize::from(network.holders).saturating_add(limits::RECEIPT_RANK_SLACK);
    let ranked = placement.ranked();
    ranked.get(..count).unwrap_or(ranked)
}

/// How long one question may take ([PTH-8]): four hops, the holder's wait for receipts, and slow links.
const ASK_LIFE: Duration = Duration::from_secs(20);
/// How long a relay that failed is kept out of paths.
const AVOID: Duration = Duration::from_secs(30);
/// The longest that a relay may ask to be left alone.
const AVOID_MAX: Duration = Duration::from_secs(600);
