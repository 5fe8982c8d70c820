//! The comparisons under way between this relay and its siblings: what is compared, step by step.
//!
//! Only what the other side may keep by this relay's own list is compared, so that nobody learns what is
//! in cells that are not its own ([REP-3]).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use rand_core::Rng;

use crate::context::Context;
use crate::effects::{Effects, Ticket};
use crate::id::NodeId;
use crate::limits;
use crate::place::{Cell, cell_of};
use crate::reconcile::{Reconciler, Step};
use crate::store::{Held, StoreDone, StoreOp, Tombstone};
use crate::time::{Epoch, Instant, Now};
use crate::wire::Message;
use crate::wire::copies::{Compare, Scope};

/// Names a comparison: the other side, its opener's number, and whether this side opened it.
pub(crate) type Key = (NodeId, u32, bool);

/// What is to be compared again: the cells and how often it was tried.
pub(super) type Cells = (Vec<Cell>, u32);

/// Those under way.
#[derive(Debug, Default)]
pub(super) struct Compares {
    under_way: BTreeMap<Key, UnderWay>,
    next: u32,
}

#[derive(Debug)]
struct UnderWay {
    epoch: Epoch,
    cells: Vec<Cell>,
    tries: u32,
    stage: Stage,
    /// What each item stands for.
    held: BTreeMap<[u8; 32], Held>,
    /// What the other side lacks, and what this side does.
    lacked: Vec<Held>,
    wanted: BTreeSet<[u8; 32]>,
    began: Instant,
    ends: Instant,
    differed: bool,
}

#[derive(Debug)]
enum Stage {
    /// The store is asked what is here; `opening` is the other side's first message.
    Asking { opening: Option<Bytes> },
    /// Messages go to and fro.
    Talking(Reconciler),
}

/// What an input led to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Who lacks what of which epoch, and how many copies of it are left.
    pub(super) lacking: Vec<(NodeId, Held, Epoch, u8)>,
    /// Messages sent.
    pub(super) steps: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// A comparison came to its end.
    pub(super) over: Option<Over>,
    /// It is to be repeated.
    pub(super) again: Option<(Epoch, NodeId, Cells)>,
}

/// The end of a comparison.
#[derive(Clone, Debug)]
pub(super) struct Over {
    pub(super) peer: NodeId,
    pub(super) epoch: Epoch,
    pub(super) cells: Vec<Cell>,
    pub(super) differed: bool,
    /// Envelopes here.
    pub(super) of: usize,
    /// How many of them the other side had had by an earlier comparison, and lacks ([SWP-6]).
    pub(super) missing: usize,
}

impl Compares {
    /// Whether one more may be opened.
    pub(super) fn has_room(&self) -> bool {
        self.opened() < limits::COMPARES_OPENED_MAX
    }

    /// Those that this side opened.
    pub(super) fn opened(&self) -> usize {
        self.under_way
            .keys()
            .filter(|(_, _, opened)| *opened)
            .count()
    }

    /// When the first one ends unanswered.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.under_way.values().map(|one| one.ends).min()
    }

    /// Begins a comparison.
    pub(super) fn open(
        &mut self,
        context: &Context,
        now: Now,
        peer: NodeId,
        epoch: Epoch,
        (cells, tries): Cells,
        out: &mut Effects,
    ) {
        let key = (peer, self.next, true);
        self.next = self.next.wrapping_add(1);
        self.ask(context, now, key, epoch, (cells, tries), None, out);
    }

    /// A message of the other side.
    pub(super) fn step(
        &mut self,
        context: &Context,
        now: Now,
        from: NodeId,
        message: Compare,
        out: &mut Effects,
    ) -> Outcome {
        let opened_here = message.step.is_multiple_of(2);
        let key = (from, message.exchange, opened_here);
        if let Some(scope) = message.scope {
            self.accept(context, now, key, scope, message.ranges, out);
            return Outcome::default();
        }
        let Some(UnderWay {
            stage: Stage::Talking(side),
            ..
        }) = self.under_way.get_mut(&key)
        else {
            return Outcome::default();
        };
        match side.answer(message.ranges) {
            Ok(step) => self.took(context, key, step, message.step, out),
            Err(_) => self.drop_broken(&key),
        }
    }

    /// The store says what is here.
    pub(super) fn inventory(
        &mut self,
        context: &Context,
        key: Key,
        done: StoreDone,
        out: &mut Effects,
    ) -> Outcome {
        let StoreDone::Inventory(held) = done else {
            return self.too_much(context, &key);
        };
        let Some(one) = self.under_way.get_mut(&key) else {
            return Outcome::default();
        };
        let items: Vec<[u8; 32]> = held.iter().map(Held::item).collect();
        one.held = items.iter().copied().zip(held).collect();
        let Stage::Asking { opening } = &mut one.stage else {
            return Outcome::default();
        };
        if let Some(opening) = opening.take() {
            match Reconciler::accept(items, opening) {
                Ok((side, step)) => {
                    one.stage = Stage::Talking(side);
                    self.took(context, key, step, 1, out)
                }
                Err(_) => self.drop_broken(&key),
            }
        } else {
            let mut fresh = [0; 32];
            context.rng.borrow_mut().fill_bytes(&mut fresh);
            let mut side = Reconciler::opener(items, fresh);
            let message = Compare {
                exchange: key.1,
                step: 1,
                scope: Some(Scope {
                    epoch: one.epoch,
                    cells: one.cells.clone(),
                }),
                ranges: side.open(),
            };
            one.stage = Stage::Talking(side);
            sent(key.0, message, out)
        }
    }

    /// Those whose time is over without an answer: which relay, and what was compared.
    pub(super) fn ended(&mut self, now: Now) -> Vec<(Epoch, NodeId, Cells)> {
        let mut unanswered = Vec::new();
        self.under_way.retain(|(peer, _, opened), one| {
            let lives = one.ends > now.mono;
            if !lives && *opened {
                let cells = core::mem::take(&mut one.cells);
                unanswered.push((one.epoch, *peer, (cells, one.tries)));
            }
            lives
        });
        unanswered
    }

    /// Somebody opens one: the cells that are its own by this relay's list are compared ([REP-3]).
    fn accept(
        &mut self,
        context: &Context,
        now: Now,
        key: Key,
        scope: Scope,
        opening: Bytes,
        out: &mut Effects,
    ) {
        self.under_way.remove(&key);
        let of_this_peer = self.under_way.keys().filter(|(peer, _, _)| *peer == key.0);
        if of_this_peer.count() >= EXCHANGES_PER_PEER_MAX
            || self.under_way.len() >= limits::EXCHANGES_MAX
        {
            return;
        }
        let is_own = |cell: &Cell| context.may_keep(scope.epoch, *cell, &key.0);
        let cells: Vec<Cell> = scope.cells.into_iter().filter(is_own).collect();
        if !cells.is_empty() {
            self.ask(
                context,
                now,
                key,
                scope.epoch,
                (cells, 0),
                Some(opening),
                out,
            );
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one place that makes a comparison"
    )]
    fn ask(
        &mut self,
        context: &Context,
        now: Now,
        key: Key,
        epoch: Epoch,
        (cells, tries): Cells,
        opening: Option<Bytes>,
        out: &mut Effects,
    ) {
        let request = StoreOp::Inventory {
            epoch,
            cells: cells.clone(),
            cell_bits: context.network.cell_bits,
            items_max: limits::HELD_PER_EXCHANGE_MAX,
        };
        let one = UnderWay {
            epoch,
            cells,
            tries,
            stage: Stage::Asking { opening },
            held: BTreeMap::new(),
            lacked: Vec::new(),
            wanted: BTreeSet::new(),
            began: now.mono,
            ends: now.mono.plus(EXCHANGE_LIFE),
            differed: false,
        };
        self.under_way.insert(key, one);
        out.store(Ticket::Inventory(key), request);
    }

    fn took(
        &mut self,
        context: &Context,
        key: Key,
        step: Step,
        number: u8,
        out: &mut Effects,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(one) = self.under_way.get_mut(&key) else {
            return outcome;
        };
        let (peer, exchange, opened) = key;
        one.differed |= !step.have.is_empty() || !step.want.is_empty();
        one.wanted.extend(step.want.iter().copied());
        for item in &step.have {
            if let Some(held) = one.held.get(item) {
                one.lacked.push(held.clone());
                let copies = copies_left(context, one.epoch, held);
                outcome
                    .lacking
                    .push((peer, held.clone(), one.epoch, copies));
            }
        }
        let is_over = step.settled || step.reply.is_none();
        if let Some(ranges) = step.reply {
            let message = Compare {
                exchange,
                step: number.saturating_add(1),
                scope: None,
                ranges,
            };
            let sent = sent(peer, message, out);
            (outcome.steps, outcome.bytes) = (sent.steps, sent.bytes);
        }
        if is_over && let Some(one) = self.under_way.remove(&key) {
            outcome.over = Some(Over {
                peer,
                epoch: one.epoch,
                cells: one.cells.clone(),
                differed: one.differed,
                of: envelopes(one.held.values()),
                missing: one.missing(context, peer),
            });
            if opened && one.differed {
                outcome.again = Some((one.epoch, peer, (one.cells, one.tries)));
            }
        }
        outcome
    }

    /// Too much for one comparison, or the store could not say: some half of the cells is tried.
    fn too_much(&mut self, context: &Context, key: &Key) -> Outcome {
        let mut outcome = Outcome::default();
        if let Some(mut one) = self.under_way.remove(key).filter(|_| key.2) {
            let first = one.cells.first().copied();
            let mut rng = context.rng.borrow_mut();
            one.cells.retain(|_| rng.next_u64().is_multiple_of(2));
            if one.cells.is_empty() {
                one.cells.extend(first);
            }
            outcome.again = Some((one.epoch, key.0, (one.cells, one.tries)));
        }
        outcome
    }

    fn drop_broken(&mut self, key: &Key) -> Outcome {
        self.under_way.remove(key);
        Outcome::default()
    }
}

impl UnderWay {
    /// Envelopes that the other side lacks and surely had. It may only know that they were deleted.
    fn missing(&self, context: &Context, peer: NodeId) -> usize {
        let known = context.possession.borrow();
        let is_missing = |held: &&Held| {
            let Held::Envelope {
                id,
                address,
                arrival,
                expires,
            } = held
            else {
                return false;
            };
            let cell = cell_of(address, context.network.cell_bits);
            let place = (self.epoch, cell, peer);
            let scale = context.network.scale;
            !self
                .wanted
                .contains(&Tombstone::item_of(address, id, *expires))
                && known.had_by_agreement(scale, place, *arrival, self.began)
        };
        self.lacked.iter().filter(is_missing).count()
    }
}

fn envelopes<'a>(held: impl Iterator<Item = &'a Held>) -> usize {
    held.filter(|held| matches!(held, Held::Envelope { .. }))
        .count()
}

fn sent(to: NodeId, message: Compare, out: &mut Effects) -> Outcome {
    let outcome = Outcome {
        steps: 1,
        bytes: super::bytes_of(&message),
        ..Outcome::default()
    };
    out.send(to, Message::Compare(message));
    outcome
}

/// How many of its holders are present: what is left to lose.
pub(super) fn copies_left(context: &Context, epoch: Epoch, held: &Held) -> u8 {
    let cell = cell_of(&held.address(), context.network.cell_bits);
    let placement = context.placement(epoch, cell);
    let is_present = |id: &&NodeId| !context.is_away(id) && !context.is_rare(id);
    let present = placement.holders().iter().filter(is_present);
    u8::try_from(present.count()).unwrap_or(u8::MAX)
}

/// How long a comparison may take: a look at two disks and a few round trips between slow links.
const EXCHANGE_LIFE: Duration = Duration::from_secs(30);
/// Comparisons that one other relay may have open here.
const EXCHANGES_PER_PEER_MAX: usize = 8;
