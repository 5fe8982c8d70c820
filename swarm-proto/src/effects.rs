//! What a relay's machine is told and what it asks for.
//!
//! The driver's part of the contract: `now.mono` never goes back; every [`Effect::Store`] is answered by
//! exactly one [`Input::Stored`], every [`Effect::Sign`] by exactly one [`Input::Signed`] and every
//! [`Effect::Plot`] by exactly one [`Input::Plotted`], with the id that came with it; a [`Effect::Send`] may be lost; effects are carried out in their order.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::crypto::{OnionPublicKey, Signature};
use crate::id::{EnvelopeId, NodeId};
use crate::limits;
use crate::mailbox::receipt::Promise;
use crate::mailbox::repair::Key;
use crate::mailbox::sweep::{Key as SweepKey, Signing};
use crate::members::{Address, Record, Snapshot};
use crate::pledge::{PlotDone, PlotOp, Verdict};
use crate::standing::Shown;
use crate::store::{Chronicle, MailboxKeys, StoreDone, StoreOp};
use crate::time::{Epoch, Hour, Tick};
use crate::wire::Message;
use crate::wire::mailbox::{CardPut, Erase};
use crate::wire::pledge::ChallengeAnswer;
use crate::wire::proof::Conviction;
use crate::wire::refusal::Refusal;
use crate::wire::standing::Testimony;
use crate::wire::verify::Verified;

/// A stream on which somebody unknown waits for one answer. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A relay, over a link pinned to its identity.
    Relay(NodeId),
    /// Somebody, through an onion or an anonymous link.
    Stream(StreamId),
}

/// What a relay's machine is told.
#[derive(Debug)]
pub enum Input {
    /// A message, decoded and its signatures checked.
    Message {
        /// Who said it.
        from: Origin,
        /// What.
        message: Verified,
    },
    /// Nobody waits for that stream's answer any more.
    StreamClosed {
        /// The stream.
        stream: StreamId,
    },
    /// A store operation is done.
    Stored {
        /// The id that came with it.
        op: OpId,
        /// Its answer.
        done: StoreDone,
    },
    /// A signature was made.
    Signed {
        /// The id that came with the wish.
        id: SignId,
        /// By the relay's key.
        signature: Signature,
    },
    /// Pages of a plot were read, or a sector made again.
    Plotted {
        /// The id that came with the wish.
        op: PlotId,
        /// Its answer.
        done: PlotDone,
    },
    /// Another relay came or went.
    Peer {
        /// Which.
        id: NodeId,
        /// What happened.
        change: PeerChange,
    },
    /// The driver or the operator wants something.
    Command(Command),
    /// The deadline has come.
    Wake,
}

/// What the links know of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerChange {
    /// Somebody says that it is there: it was discovered.
    Seen,
    /// A link to it was opened: it is there.
    Linked,
    /// It could not be reached.
    Gone,
}

/// What the driver tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// These are the relay's onion keys.
    OnionKeys {
        /// The generation of `current`.
        generation: u32,
        /// Its key.
        current: OnionPublicKey,
        /// The key of the generation after it.
        next: OnionPublicKey,
    },
    /// The relay can be reached here.
    Addresses([Option<Address>; 2]),
    /// The operator wants the relay to leave for good.
    Drain,
    /// Every sector of this class of the pledge lies complete on the disk, and not every one of the next
    /// ([PLG-8]).
    Plotted {
        /// The class; 0 for none.
        class: u8,
    },
    /// Another relay is to show what it has pledged, now.
    Challenge {
        /// Which.
        subject: NodeId,
    },
    /// What the clocks of other members and founders say of this relay's; told again and again ([CLK-1]).
    Clocks {
        /// Their median is ahead of this relay's clock by this many milliseconds; negative if behind.
        ahead_ms: i64,
        /// How many relays it is the median of.
        compared: usize,
    },
    /// How holders served the letters of this relay's persona, since it was told last ([CAN-7]).
    Readings(Vec<Reading>),
}

/// How one holder served letters that it had signed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The holder.
    pub holder: NodeId,
    /// Letters that it was asked for.
    pub asked: u16,
    /// Of these, how many it did not show.
    pub failed: u16,
}

/// What a relay's machine asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell another relay; may be lost.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Answer a stream, once.
    Answer {
        /// Which.
        stream: StreamId,
        /// What.
        message: Message,
    },
    /// Sign with the relay's key.
    Sign {
        /// To be returned.
        id: SignId,
        /// The statement.
        bytes: Vec<u8>,
    },
    /// Do this durably.
    Store {
        /// To be returned.
        op: OpId,
        /// What.
        request: StoreOp,
    },
    /// Read pages of the plot, or make a sector again; outside the machine's loop.
    Plot {
        /// To be returned.
        op: PlotId,
        /// What.
        request: PlotOp,
    },
    /// Something happened that a log, a metric or a checker may want to know.
    Report(Event),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The relay's record changed. To be kept durably before the effects after it are carried out, and
    /// given to [`crate::relay::RelayConfig`] at the next start, or a restart could convict the key ([REC-2]).
    RecordIssued(Record),
    /// The member list changed.
    MembersChanged(Arc<Snapshot>),
    /// A deposit was acknowledged with this many receipts.
    Acknowledged {
        /// What was promised.
        promise: Promise,
        /// By whom.
        holders: Vec<NodeId>,
    },
    /// All holders of a deposit have it.
    Completed {
        /// The envelope.
        id: EnvelopeId,
    },
    /// Copies were left to repair because too many were unfinished.
    CopiesAbandoned {
        /// The envelope.
        id: EnvelopeId,
    },
    /// A request was declined.
    Refused(Refusal),
    /// A relay signed what convicts it ([EVD-1]).
    Convicted {
        /// Which.
        id: NodeId,
    },
    /// The same, with what convicts it. To be kept durably and given to [`crate::relay::RelayConfig`] at the next
    /// start, so that a conviction does not end when all relays stop at once ([EVD-6]).
    Proven(Box<Conviction>),
    /// The store dropped what had expired.
    Expired {
        /// By the start of this hour.
        hour: Hour,
        /// How many envelopes.
        envelopes: u64,
    },
    /// What two siblings have of some cells was compared.
    Compared {
        /// The other side.
        peer: NodeId,
        /// The epoch of the cells.
        epoch: Epoch,
        /// Whether something was lacking on either side.
        differed: bool,
    },
    /// This relay leaves, and all that it had is with others.
    Drained,
    /// A relay lacks too much of what it had: it is not counted on ([SWP-7]).
    Failed {
        /// Which.
        id: NodeId,
    },
    /// A majority of a relay's watchers wants it suspended: it is not counted on ([STD-9]).
    Condemned {
        /// Which.
        id: NodeId,
    },
    /// A relay was asked to show what it has pledged ([PLG-6]).
    Challenged(Verdict),
    /// The relay's clock is off: it takes nothing until it is right ([CLK-3]).
    ClockOff {
        /// The median of the others' is ahead by this many milliseconds; negative if behind.
        ahead_ms: i64,
    },
    /// The relay's clock is right again: it takes deposits and copies.
    ClockRight,
    /// One step wanted more effects than allowed: a bug.
    EffectsOverflowed,
}

/// What the machine wants to remember while the store works. Opaque to drivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpId(pub(crate) Ticket);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ticket {
    /// The first holder's own copy.
    Deposit(Promise),
    /// The row of an unfinished deposit, to be copied again.
    Recopy(EnvelopeId),
    /// A copy for another holder.
    Copy { to: NodeId, promise: Promise },
    /// A page for a stream.
    Page { stream: StreamId },
    /// A card for a stream.
    Card { stream: StreamId },
    /// A card to keep, from its owner or from a sibling.
    CardPut {
        stream: Option<StreamId>,
        put: Arc<CardPut>,
    },
    /// A deletion, from the owner or from a sibling.
    Erase {
        stream: Option<StreamId>,
        erase: Arc<Erase>,
    },
    /// What has expired.
    Expire { hour: Hour },
    /// Where there is something.
    Cells,
    /// What is in the cells of a comparison.
    Inventory(Key),
    /// What is swept.
    Sweep(SweepKey),
    /// What is kept of earlier epochs.
    Entries(Chronicle),
    /// Something of an epoch, to be kept.
    Entry(Chronicle, Epoch),
    /// The envelope of a loss.
    Loss(Box<Shown>),
    /// A row that a sibling lacks.
    Push { to: NodeId },
    /// A card that a sibling lacks.
    PushCard {
        to: NodeId,
        keys: MailboxKeys,
        epoch: Epoch,
    },
}

/// What the machine wants to remember while a signature is made. Opaque to drivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignId(pub(crate) SignTicket);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SignTicket {
    /// The first holder's own receipt.
    Deposit { id: EnvelopeId, time: Tick },
    /// A receipt for another holder.
    Copy {
        to: NodeId,
        promise: Promise,
        arrival: Tick,
        time: Tick,
    },
    /// The relay's own record, its signature still missing.
    Record(Record),
    /// A step of a sweep.
    Sweep(SweepKey, Signing),
    /// What this relay says as a watcher, its signature still missing.
    Testimony(Box<Testimony>),
    /// The answer to a challenge.
    Challenge { to: NodeId, answer: ChallengeAnswer },
}

/// What the machine wants to remember while a plot is read. Opaque to drivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlotId(pub(crate) PlotTicket);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlotTicket {
    /// Pages for a watcher.
    Pages {
        to: NodeId,
        nonce: [u8; 32],
        class: u8,
    },
    /// One sector of a subject.
    Sector { subject: NodeId, nonce: [u8; 32] },
    /// One sector of the subject of a proof that another relay sent.
    Proof { item: [u8; 32] },
}

/// The effects of one step, in order; bounded.
#[derive(Debug, Default)]
pub struct Effects {
    list: Vec<Effect>,
    overflowed: bool,
}

impl Effects {
    /// Adds an effect; beyond [`limits::EFFECTS_PER_STEP`] it is dropped and reported once.
    pub fn push(&mut self, effect: Effect) {
        if self.list.len() < limits::EFFECTS_PER_STEP {
            self.list.push(effect);
        } else if !self.overflowed {
            self.overflowed = true;
            self.list.push(Effect::Report(Event::EffectsOverflowed));
        }
    }

    /// Takes all effects out, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.overflowed = false;
        self.list.drain(..)
    }

    /// How many effects wait.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn send(&mut self, to: NodeId, message: Message) {
        self.push(Effect::Send { to, message });
    }

    pub(crate) fn answer(&mut self, stream: StreamId, message: Message) {
        self.push(Effect::Answer { stream, message });
    }

    pub(crate) fn refuse(&mut self, stream: StreamId, refusal: Refusal) {
        self.report(Event::Refused(refusal));
        self.answer(stream, Message::Refusal(refusal));
    }

    pub(crate) fn store(&mut self, ticket: Ticket, request: StoreOp) {
        self.push(Effect::Store {
            op: OpId(ticket),
            request,
        });
    }

    pub(crate) fn sign(&mut self, ticket: SignTicket, bytes: Vec<u8>) {
        self.push(Effect::Sign {
            id: SignId(ticket),
            bytes,
        });
    }

    pub(crate) fn plot(&mut self, ticket: PlotTicket, request: PlotOp) {
        self.push(Effect::Plot {
            op: PlotId(ticket),
            request,
        });
    }

    pub(crate) fn report(&mut self, event: Event) {
        self.push(Effect::Report(event));
    }
}
