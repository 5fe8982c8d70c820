//! The machine that a volunteer runs: all roles of one relay behind one `step`.
//!
//! Messages come in decoded and verified, effects go out ([`crate::effects`] has the driver's part of the
//! contract). `step` never blocks, never fails and never panics. The arms of its match follow the road of
//! a letter; each is one call into the file of a role.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;

use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

use crate::context::Context;
use crate::crypto::Signature;
use crate::effects::{
    Command, Effects, Event, Input, OpId, Origin, PeerChange, PlotId, PlotTicket, Reading, SignId,
    SignTicket, StreamId, Ticket,
};
use crate::id::{NodeId, NodeKey};
use crate::mailbox::deposit::Deposits;
use crate::mailbox::expiry::Expiry;
use crate::mailbox::receipt::{Promise, Receipt};
use crate::mailbox::repair::{Repair, RepairState};
use crate::mailbox::sweep::{SweepCounts, Sweeps};
use crate::mailbox::{clock, fetch, owner, replica, sweep};
use crate::members::gossip::Gossip;
use crate::members::possession::{SETTLED_TICKS, Score};
use crate::members::presence::Presence;
use crate::members::view::View;
use crate::members::{Address, Conflict, Record, Snapshot};
use crate::network::Network;
use crate::place::{Cell, Placement};
use crate::pledge::{OwnPledge, PledgeCounts, Pledges, PlotDone, Verdict};
use crate::standing::{Changes, Judgement, Said, Standing, StandingCounts};
use crate::store::{Chronicle, StoreDone};
use crate::time::{Epoch, Instant, Now, Tick};
use crate::wire::Message;
use crate::wire::copies::Copied;
use crate::wire::members::RecordWithKeys;
use crate::wire::proof::{Conviction, Proof, Twice};
use crate::wire::refusal::Refusal;
use crate::wire::verify::Verified;

/// What a relay is told once, at its start.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// The network.
    pub network: Arc<Network>,
    /// The relay's identity; its secret half stays with the driver.
    pub key: NodeKey,
    /// Where others reach it.
    pub addresses: [Option<Address>; 2],
    /// The operator's family; zero for none.
    pub family: [u8; 8],
    /// The tick of the relay's first start, kept by the driver.
    pub since: Tick,
    /// The last record that was issued, kept by the driver across restarts.
    pub last_record: Option<Record>,
    /// What convicts others, kept by the driver across restarts, in the order in which it came ([EVD-6]).
    pub convictions: Vec<Conviction>,
    /// What repair may send to siblings, in bytes a second: a quarter of the uplink ([REP-6]).
    pub repair_bytes_per_s: u32,
    /// What it has to show for its identity.
    pub pledge: OwnPledge,
}

/// One relay.
#[derive(Debug)]
pub struct Relay {
    context: Context,
    gossip: Gossip,
    deposits: Deposits,
    expiry: Expiry,
    repair: Repair,
    sweeps: Sweeps,
    standing: Standing,
    pledges: Pledges,
    readings: Readings,
}

/// What the relay's persona was shown by all holders together ([CAN-7]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// Letters that holders were asked for.
    pub asked: u64,
    /// Of these, how many were not shown.
    pub failed: u64,
}

/// How a relay stands, for its operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayState {
    /// As [`Relay::unfinished_copies`].
    pub unfinished_copies: usize,
    /// As [`Relay::repair`].
    pub repair: RepairState,
    /// As [`Relay::sweeps`].
    pub sweeps: SweepCounts,
    /// As [`Relay::failed`].
    pub failed: usize,
    /// As [`Relay::standing`].
    pub standing: StandingCounts,
    /// The class of its pledge that it answers for.
    pub pledge_class: u8,
    /// What challenges came to.
    pub pledge: PledgeCounts,
    /// As [`Relay::readings`].
    pub readings: Readings,
}

/// Why a relay wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The member list is to be compared, or the own record renewed.
    Members,
    /// A deposit or an unfinished copy is due.
    Deposit,
    /// An hour begins.
    Expiry,
    /// Something is to be compared with siblings, or sent to them.
    Repair,
    /// Siblings are to be swept.
    Sweep,
    /// Others are to be watched, or told of.
    Standing,
    /// Somebody's time to show what it has pledged is over.
    Pledge,
}

impl Relay {
    /// A relay that knows nobody yet. `seed` is all its chance.
    pub fn new(mut config: RelayConfig, seed: [u8; 32], now: Now) -> Self {
        let convictions = core::mem::take(&mut config.convictions);
        let mut context = Context {
            me: config.key.node_id(),
            key: config.key,
            network_id: config.network.id(),
            rng: RefCell::new(ChaCha12Rng::from_seed(seed)),
            view: View::new(config.network.scale),
            gone: alloc::collections::BTreeSet::new(),
            presence: Presence::default(),
            possession: RefCell::default(),
            said: Said::default(),
            neighbours: Vec::new(),
            clock_off: false,
            network: Arc::clone(&config.network),
        };
        let repair = Repair::new(config.repair_bytes_per_s, now);
        let pledges = Pledges::new(config.pledge.class);
        let gossip = Gossip::new(config, now);
        let mut standing = Standing::new(now);
        standing.remember(&mut context, now, convictions);
        Self {
            context,
            gossip,
            deposits: Deposits::default(),
            expiry: Expiry::default(),
            repair,
            sweeps: Sweeps::new(now),
            standing,
            pledges,
            readings: Readings::default(),
        }
    }

    /// Takes one input and adds what is to be done to `out`.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Effects) {
        match input {
            Input::Message {
                from: Origin::Stream(stream),
                message,
            } => {
                self.asked(now, stream, message, out);
            }
            Input::Message {
                from: Origin::Relay(from),
                message,
            } => {
                self.told(now, from, message, out);
            }
            Input::StreamClosed { stream } => self.deposits.stream_closed(stream),
            Input::Stored {
                op: OpId(ticket),
                done,
            } => self.stored(now, ticket, done, out),
            Input::Signed {
                id: SignId(ticket),
                signature,
            } => {
                self.signed(now, ticket, signature, out);
            }
            Input::Plotted {
                op: PlotId(ticket),
                done,
            } => self.plotted(now, ticket, done, out),
            Input::Peer { id, change } => self.peer(now, id, change, out),
            Input::Command(command) => self.command(now, command, out),
            Input::Wake => self.wake(now, out),
        }
    }

    /// When to send [`Input::Wake`], and why.
    pub fn deadline(&self) -> Option<(Instant, Why)> {
        let members = self.gossip.deadline().map(|at| (at, Why::Members));
        let deposit = self.deposits.deadline().map(|at| (at, Why::Deposit));
        // An hour that was never looked at is due at once.
        let expiry = Some((self.expiry.deadline().unwrap_or_default(), Why::Expiry));
        let repair = self.repair.deadline(&self.context);
        let repair = repair.map(|at| (at, Why::Repair));
        let sweep = self.sweeps.deadline().map(|at| (at, Why::Sweep));
        let standing = self.standing.deadline(&self.context);
        let standing = standing.map(|at| (at, Why::Standing));
        let pledge = self.pledges.deadline().map(|at| (at, Why::Pledge));
        [members, deposit, expiry, repair, sweep, standing, pledge]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }

    /// This relay's id.
    pub fn id(&self) -> NodeId {
        self.context.me
    }

    /// The members as this relay knows them.
    pub fn members(&self) -> Arc<Snapshot> {
        self.context.view.snapshot()
    }

    /// The relays around a cell, as this relay computes them.
    pub fn placement(&self, epoch: Epoch, cell: Cell) -> Arc<Placement> {
        self.context.placement(epoch, cell)
    }

    /// Deposits that were acknowledged and are not at all holders yet.
    pub fn unfinished_copies(&self) -> usize {
        self.deposits.unfinished()
    }

    /// What repair did and has before it.
    pub fn repair(&self) -> RepairState {
        self.repair.state(&self.context)
    }

    /// What sweeps did.
    pub fn sweeps(&self) -> SweepCounts {
        self.sweeps.counts()
    }

    /// How many relays are not counted on because of what they lost ([SWP-7]).
    pub fn failed(&self) -> usize {
        self.context.possession.borrow().failed()
    }

    /// What watching did.
    pub fn standing(&self) -> StandingCounts {
        self.standing.counts(&self.context)
    }

    /// How another relay stands with the network.
    pub fn judgement(&self, id: &NodeId) -> Judgement {
        self.standing.judgement(&self.context, id)
    }

    /// What its persona was shown by the holders of its letters.
    pub fn readings(&self) -> Readings {
        self.readings
    }

    /// What the operator is shown.
    pub fn state(&self) -> RelayState {
        RelayState {
            unfinished_copies: self.unfinished_copies(),
            repair: self.repair(),
            sweeps: self.sweeps(),
            failed: self.failed(),
            standing: self.standing(),
            pledge_class: self.pledges.class(),
            pledge: self.pledges.counts(),
            readings: self.readings,
        }
    }

    /// How another relay was found to keep what it had.
    pub fn score(&self, id: &NodeId) -> Option<Score> {
        self.context.possession.borrow().score(id)
    }

    /// Requests through onions, in the order of the road.
    fn asked(&mut self, now: Now, stream: StreamId, verified: Verified, out: &mut Effects) {
        let context = &mut self.context;
        let salt = verified.reply_key_hash;
        match verified.message {
            Message::ListAsk(ask) => self.gossip.list(context, stream, ask, out),
            Message::RosterAsk(ask) => self.gossip.roster(context, now, stream, ask, out),
            Message::Deposit(deposit) => self.deposits.deposit(context, now, stream, deposit, out),
            Message::Fetch(asked) => fetch::fetch(context, now, stream, &asked, salt, out),
            Message::Delete(erase) => owner::erase(context, now, Some(stream), erase, out),
            Message::CardPut(put) => owner::card_put(context, now, Some(stream), put, out),
            Message::CardAsk(ask) => fetch::card_ask(context, now, stream, &ask, out),
            other @ (Message::Refusal(_)
            | Message::Reconcile(_)
            | Message::Want(_)
            | Message::Records(_)
            | Message::ListPart(_)
            | Message::RosterPart(_)
            | Message::Copy(_)
            | Message::Copied(_)
            | Message::Erase(_)
            | Message::CardCopy(_)
            | Message::Compare(_)
            | Message::Probe
            | Message::Sweep(_)
            | Message::ReconcileTestimonies(_)
            | Message::WantTestimonies(_)
            | Message::Heads(_)
            | Message::Testimonies(_)
            | Message::Tallies(_)
            | Message::Proof(_)
            | Message::Here
            | Message::Challenge(_)
            | Message::ChallengeAnswer(_)
            | Message::Deposited(_)
            | Message::Page(_)
            | Message::Done { .. }
            | Message::Card(_)
            | Message::Elsewhere(_)) => {
                out.refuse(stream, Refusal::UnknownMessage { kind: other.kind() });
            }
        }
    }

    /// What other relays say.
    fn told(&mut self, now: Now, from: NodeId, verified: Verified, out: &mut Effects) {
        self.reached(now, from);
        self.repair.met(&self.context, now, from, out);
        self.sweeps.met(&self.context, now, from, out);
        self.standing.met(from, out);
        let context = &mut self.context;
        match verified.message {
            Message::Reconcile(step) => self.gossip.reconcile(context, now, from, &step, out),
            Message::Want(want) => self.gossip.wanted(context, from, &want, out),
            Message::Records(records) => self.records(now, from, records, out),
            Message::Copy(copy) => replica::copy(context, now, from, copy, out),
            Message::Copied(copied) => self.copied(now, from, &copied, out),
            Message::Erase(erase) => owner::erase(context, now, None, erase, out),
            Message::CardCopy(put) => owner::card_put(context, now, None, put, out),
            Message::Compare(step) => self.repair.compare(context, now, from, step, out),
            Message::Sweep(step) => {
                let outcome = self.sweeps.step(context, now, from, step, out);
                self.swept(now, outcome, out);
            }
            Message::Probe => self.standing.asked(context, now, from, out),
            Message::Here => self.standing.answered(context, now, &from),
            Message::ReconcileTestimonies(step) => {
                self.standing.reconcile(now, from, &step, out);
            }
            Message::WantTestimonies(items) => self.standing.wanted(from, &items, out),
            Message::Heads(heads) => self.standing.heads(from, &heads, out),
            Message::Testimonies(said) => {
                let changes = self.standing.testimonies(context, now, said);
                self.follow(now, changes, out);
            }
            Message::Tallies(tallies) => self.standing.tallies(context, from, &tallies),
            Message::Proof(proof) => {
                let changes = self.standing.proof(context, now, from, proof, out);
                self.follow(now, changes, out);
            }
            Message::Challenge(asked) => self.pledges.asked(context, now, from, &asked, out),
            Message::ChallengeAnswer(answer) => {
                let verdict = self.pledges.answered(context, now, from, answer, out);
                self.judged(now, verdict, out);
            }
            Message::Refusal(_)
            | Message::ListAsk(_)
            | Message::ListPart(_)
            | Message::RosterAsk(_)
            | Message::RosterPart(_)
            | Message::Deposit(_)
            | Message::Fetch(_)
            | Message::Delete(_)
            | Message::CardPut(_)
            | Message::CardAsk(_)
            | Message::Deposited(_)
            | Message::Page(_)
            | Message::Done { .. }
            | Message::Card(_)
            | Message::Elsewhere(_) => {}
        }
    }

    fn stored(&mut self, now: Now, ticket: Ticket, done: StoreDone, out: &mut Effects) {
        let context = &mut self.context;
        match ticket {
            Ticket::Deposit(promise) => {
                self.repair.note(context, now, promise.epoch, promise.cell);
                self.deposits.stored(context, now, promise.id, done, out);
            }
            Ticket::Recopy(id) => {
                // A store that could not answer is asked again when the copy is due again.
                if let StoreDone::Row(row) = done {
                    self.deposits.read(context, id, row, out);
                }
            }
            Ticket::Copy { to, promise } => {
                self.repair.note(context, now, promise.epoch, promise.cell);
                note_late(context, now, &promise, &done);
                replica::stored(context, now, to, promise, done, out);
            }
            Ticket::Page { stream } => fetch::page(now, stream, done, out),
            Ticket::Card { stream } => fetch::card(now, stream, done, out),
            Ticket::CardPut { stream, put } => {
                self.repair.note_mailbox(context, now, put.epoch, &put.keys);
                owner::card_kept(context, now, stream, &put, &done, out);
            }
            Ticket::Erase { stream, erase } => {
                let keys = &erase.tombstone.keys;
                self.repair.note_mailbox(context, now, erase.epoch, keys);
                owner::erased(context, now, stream, &erase, &done, out);
            }
            Ticket::Expire { hour } => self.expiry.expired(now, hour, &done, out),
            Ticket::Entries(Chronicle::Rosters) => self.gossip.settling.read(context, now, done),
            Ticket::Entry(Chronicle::Rosters, epoch) => self.gossip.settling.kept(epoch, &done),
            Ticket::Entries(Chronicle::Certificates) => {
                let changes = self.standing.restored(context, now, done);
                self.follow(now, changes, out);
            }
            Ticket::Entry(Chronicle::Certificates, epoch) => self.standing.kept(epoch, &done),
            Ticket::Entries(Chronicle::Losses) => self.standing.restored_losses(context, now, done),
            Ticket::Entry(Chronicle::Losses, _) => {}
            Ticket::Cells => self.repair.cells(context, now, done),
            Ticket::Inventory(key) => self.repair.inventory(context, now, key, done, out),
            Ticket::Sweep(key) => self.sweeps.tags(context, now, key, done, out),
            Ticket::Loss(shown) => self.standing.read(context, now, *shown, done, out),
            Ticket::Push { to } => {
                let row = match done {
                    StoreDone::Row(row) => row,
                    _ => None,
                };
                self.repair.row(to, row, out);
            }
            Ticket::PushCard { to, keys, epoch } => self.repair.card(to, keys, epoch, done, out),
        }
    }

    fn signed(&mut self, now: Now, ticket: SignTicket, signature: Signature, out: &mut Effects) {
        let holder = self.context.key;
        match ticket {
            SignTicket::Deposit { id, time } => {
                let receipt = Receipt {
                    holder,
                    time,
                    signature,
                };
                self.deposits.receipt(&self.context, now, id, receipt, out);
            }
            SignTicket::Copy {
                to,
                promise,
                arrival,
                time,
            } => {
                let receipt = Receipt {
                    holder,
                    time,
                    signature,
                };
                replica::signed(to, promise, arrival, receipt, out);
            }
            SignTicket::Sweep(key, what) => self.sweeps.signed(key, what, signature, out),
            SignTicket::Testimony(testimony) => {
                let context = &mut self.context;
                let changes = self
                    .standing
                    .signed(context, now, *testimony, signature, out);
                self.follow(now, changes, out);
            }
            SignTicket::Challenge { to, answer } => self.pledges.signed(to, answer, signature, out),
            SignTicket::Record(record) => {
                self.gossip
                    .issued(&mut self.context, now, record, signature, out);
            }
        }
    }

    /// What became of a copy that was sent to another relay.
    fn copied(&mut self, now: Now, from: NodeId, copied: &Copied, out: &mut Effects) {
        let context = &self.context;
        let promise = &copied.promise;
        // Whoever dates a receipt ahead could be held to it by no listing ([EVD-4]).
        let latest = context.network.scale.tick_of(now.unix).plus(GRACE_TICKS);
        if copied.outcome.as_ref().is_ok_and(|it| it.time > latest) {
            return;
        }
        if let Ok(receipt) = &copied.outcome
            && context.may_keep(promise.epoch, promise.cell, &from)
        {
            let mut known = context.possession.borrow_mut();
            known.receipted(now, from, promise, receipt);
        }
        self.deposits.copied(context, now, from, copied, out);
    }

    /// What follows from a sweep.
    fn swept(&mut self, now: Now, outcome: sweep::Outcome, out: &mut Effects) {
        for (to, held, epoch) in outcome.lacking {
            self.repair.lacks(&self.context, to, held, epoch);
        }
        self.standing.shown(&self.context, outcome.losses, out);
        if let Some(id) = outcome.failed {
            out.report(Event::Failed { id });
            self.repair.failed(&self.context, now, id);
        }
    }

    /// Records came. Two that contradict each other convict their relay.
    fn records(&mut self, now: Now, from: NodeId, records: Vec<RecordWithKeys>, out: &mut Effects) {
        let gossip = &self.gossip;
        let conflicts = gossip.records(&mut self.context, now, from, records, out);
        for Conflict { kept, other } in conflicts {
            if let Some(twice) = Twice::new(kept, other) {
                self.convicted(now, Proof::Twice(Box::new(twice)), out);
            }
        }
    }

    /// What follows from a proof that was found here ([EVD-1]).
    fn convicted(&mut self, now: Now, proof: Proof, out: &mut Effects) {
        let changes = self.standing.convicted(&mut self.context, now, proof);
        self.follow(now, changes, out);
    }

    /// What follows from what watchers say ([STD-9]).
    fn follow(&mut self, now: Now, changes: Changes, out: &mut Effects) {
        for id in changes.went {
            self.repair.departed(&self.context, now, id);
        }
        for id in changes.came {
            self.repair.returned(&self.context, now, id);
        }
        for id in changes.condemned {
            out.report(Event::Condemned { id });
            self.repair.failed(&self.context, now, id);
        }
        for id in changes.rare {
            self.repair.failed(&self.context, now, id);
        }
        for conviction in changes.convicted {
            let id = conviction.proof.subject().node_id();
            out.report(Event::Convicted { id });
            out.report(Event::Proven(Box::new(conviction)));
        }
        for id in changes.expelled {
            self.repair.failed(&self.context, now, id);
        }
    }

    /// Pages of a plot were read, or a sector made again.
    fn plotted(&mut self, now: Now, ticket: PlotTicket, done: PlotDone, out: &mut Effects) {
        if let PlotTicket::Proof { item } = ticket {
            let changes = self.standing.remade(&mut self.context, now, item, &done);
            self.follow(now, changes, out);
            return;
        }
        let verdict = self.pledges.plotted(&self.context, ticket, done, out);
        self.judged(now, verdict, out);
    }

    /// What follows from what relays showed of their pledges.
    fn judged(&mut self, now: Now, verdicts: impl IntoIterator<Item = Verdict>, out: &mut Effects) {
        for verdict in verdicts {
            self.standing.challenged(&verdict);
            if let Verdict::Wrong { evidence, .. } = &verdict {
                let proof = Proof::Pledge(Box::new(evidence.clone()));
                self.convicted(now, proof, out);
            }
            out.report(Event::Challenged(verdict));
        }
    }

    /// A relay is there, as a link to it or a word from it shows.
    fn reached(&mut self, now: Now, id: NodeId) {
        if self.context.presence.reached(&id) {
            self.repair.returned(&self.context, now, id);
        }
    }

    fn peer(&mut self, now: Now, id: NodeId, change: PeerChange, out: &mut Effects) {
        match change {
            PeerChange::Seen | PeerChange::Linked => {
                self.context.gone.remove(&id);
                self.deposits.seen(now, id);
                self.gossip.seen(&self.context, now, id, out);
                if change == PeerChange::Linked {
                    self.reached(now, id);
                }
            }
            PeerChange::Gone => {
                self.context.lost(id);
                let scale = self.context.network.scale;
                let is_away = self.context.presence.failed(now.mono, id, scale);
                if is_away && !self.context.said.speaks {
                    self.repair.departed(&self.context, now, id);
                }
            }
        }
    }

    fn command(&mut self, now: Now, command: Command, out: &mut Effects) {
        match command {
            Command::OnionKeys {
                generation,
                current,
                next,
            } => {
                self.gossip
                    .onion_keys(&mut self.context, now, generation, current, next, out);
            }
            Command::Addresses(addresses) => {
                self.gossip
                    .addresses(&mut self.context, now, addresses, out);
            }
            Command::Drain => {
                self.gossip.leave(&mut self.context, now, out);
                self.repair.drain();
            }
            Command::Plotted { class } => {
                self.pledges.plotted_up_to(class);
                self.gossip.plotted(&mut self.context, now, class, out);
            }
            Command::Challenge { subject } => {
                self.pledges.challenge(&self.context, now, subject, out);
            }
            Command::Clocks { ahead_ms, compared } => {
                clock::judge(&mut self.context, ahead_ms, compared, out);
            }
            Command::Readings(readings) => {
                self.readings.add(&readings);
                self.context.possession.get_mut().read(&readings);
            }
        }
    }

    fn wake(&mut self, now: Now, out: &mut Effects) {
        if self.expiry.is_due(now) {
            self.expiry.wake(&self.context, now, out);
        }
        self.deposits.wake(&self.context, now, out);
        let drawn = self.gossip.wake(&mut self.context, now, out);
        self.repair.wake(&mut self.context, now, out);
        let live = self.repair.live();
        let outcome = self.sweeps.wake(&self.context, now, live, out);
        self.swept(now, outcome, out);
        self.standing
            .wake(&mut self.context, now, drawn, &mut self.pledges, out);
        let silent = self.pledges.wake(now);
        self.judged(now, silent, out);
    }
}

impl Readings {
    fn add(&mut self, readings: &[Reading]) {
        for reading in readings {
            self.asked = self.asked.saturating_add(reading.asked.into());
            self.failed = self.failed.saturating_add(reading.failed.into());
        }
    }
}

/// Ticks by which another relay's clock may be ahead: 30 minutes, as everywhere.
const GRACE_TICKS: u32 = 3;

/// A copy that came long after its envelope had arrived ends what was agreed about the cell ([SWP-5]).
fn note_late(context: &Context, now: Now, promise: &Promise, done: &StoreDone) {
    let StoreDone::Kept {
        fresh: true,
        arrival,
    } = done
    else {
        return;
    };
    let tick = context.network.scale.tick_of(now.unix);
    if arrival.plus(SETTLED_TICKS) < tick {
        let mut known = context.possession.borrow_mut();
        known.late(promise.epoch, promise.cell);
    }
}

/// The effects of one step as a list; for tests and small drivers.
pub fn step_once(relay: &mut Relay, now: Now, input: Input) -> Vec<crate::effects::Effect> {
    let mut out = Effects::default();
    relay.step(now, input, &mut out);
    out.drain().collect()
}

#[cfg(test)]
mod tests;
