//! The sweeps under way between this relay and its siblings, step by step ([SWP-3]).
//!
//! Both sides run the same comparison at the end, so that a relay cannot refill what it lost by opening
//! sweeps of its own.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rand_core::Rng;

use super::{Job, SETTLED_TICKS, STEP_WAIT, SweepCounts};
use crate::context::Context;
use crate::crypto::Signature;
use crate::effects::{Effects, SignTicket, Ticket};
use crate::id::NodeId;
use crate::limits;
use crate::place::cell_of;
use crate::standing::Shown;
use crate::store::{Held, StoreDone, StoreOp, Swept, Tagged, Tombstone, proof_of};
use crate::time::{Instant, Now};
use crate::wire::Message;
use crate::wire::loss::{LISTED_AFTER_TICKS, Listed};
use crate::wire::sweeps::{Listing, Open, Reply, Step, Sweep, commitment};

/// Names a sweep: the other side, its opener's number, and whether this side opened it.
pub(crate) type Key = (NodeId, u32, bool);

/// What is being signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signing {
    /// The opening.
    Open,
    /// This side's proof.
    Reply,
    /// What this side has.
    Listing,
}

/// Those under way.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    under_way: BTreeMap<Key, UnderWay>,
    next: u32,
}

#[derive(Debug)]
struct UnderWay {
    job: Job,
    open: Open,
    digest: [u8; 32],
    /// What this side has, once the store has read it.
    own: Vec<Tagged>,
    proof: [u8; 32],
    salt: [u8; 32],
    /// What the other side has proven.
    theirs: Option<[u8; 32]>,
    stage: Stage,
    began: Instant,
    ends: Instant,
}

/// What this side waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The store.
    Reading,
    /// P's proof.
    Reply,
    /// V's proof and salt.
    Reveal,
    /// All that the other side has.
    Listing,
}

/// How a sweep ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Both sides have shown what they have.
    Judged(Verdict),
    /// There is more than one sweep is about, or than one listing holds: smaller parts are swept.
    TooMuch(Job),
}

/// What a sweep showed.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) job: Job,
    /// The other side.
    pub(super) peer: NodeId,
    /// Envelopes here that were swept.
    pub(super) of: usize,
    /// What the other side lacks.
    pub(super) lacking: Vec<Held>,
    /// Envelopes among it that it surely had.
    pub(super) missing: usize,
    /// Some of those that it has signed for.
    pub(super) losses: Vec<Shown>,
}

impl Exchanges {
    /// Whether one more may be opened.
    pub(super) fn has_room(&self) -> bool {
        let opened = self.under_way.keys().filter(|(_, _, opened)| *opened);
        opened.count() < limits::SWEEPS_OPENED_MAX
    }

    /// When the first one ends unanswered.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.under_way.values().map(|one| one.ends).min()
    }

    /// Begins a sweep: the own bytes are read first, with a key that nobody knows yet.
    pub(super) fn open(&mut self, context: &Context, now: Now, job: Job, out: &mut Effects) {
        let (mut nonce, mut salt) = ([0; 32], [0; 32]);
        {
            let mut rng = context.rng.borrow_mut();
            rng.fill_bytes(&mut nonce);
            rng.fill_bytes(&mut salt);
        }
        let open = Open {
            epoch: job.epoch,
            cell: job.cell,
            part: job.part,
            cutoff: context.network.scale.tick_of(now.unix),
            nonce,
            commitment: [0; 32],
            signature: Signature([0; 64]),
        };
        let key = (job.prover, self.next, true);
        self.next = self.next.wrapping_add(1);
        self.read(context, now, key, job, open, salt, out);
    }

    /// A step of the other side. Gives how the sweep ended, if it did.
    pub(super) fn step(
        &mut self,
        context: &Context,
        now: Now,
        from: NodeId,
        message: Sweep,
        counts: &mut SweepCounts,
        out: &mut Effects,
    ) -> Option<Ended> {
        counts.bytes += bytes_of(&message);
        let key = (from, message.exchange, !message.by_opener());
        match message.step {
            Step::Open(open) => {
                self.accept(context, now, key, open, out);
                None
            }
            Step::Reply(reply) => self.reply(context, now, key, &reply, counts, out),
            Step::Reveal { proof, salt } => {
                self.reveal(context, now, key, proof, salt, counts, out)
            }
            Step::Listing(listing) => {
                let verdict = self.listing(context, key, &listing, counts);
                verdict.map(Ended::Judged)
            }
        }
    }

    /// The store has read what is swept, which may be too much for one sweep.
    pub(super) fn tags(
        &mut self,
        context: &Context,
        now: Now,
        key: Key,
        done: StoreDone,
        counts: &mut SweepCounts,
        out: &mut Effects,
    ) -> Option<Ended> {
        let opened = key.2;
        let one = self.under_way.get_mut(&key)?;
        let StoreDone::Tags(own) = done else {
            let one = self.under_way.remove(&key)?;
            let too_much = opened && done == StoreDone::Many;
            return too_much.then_some(Ended::TooMuch(one.job));
        };
        counts.hashed += own.len() as u64;
        if opened && own.is_empty() {
            self.under_way.remove(&key);
            return None;
        }
        one.proof = proof_of(own.iter().map(|tagged| &tagged.tag));
        one.own = own;
        one.ends = now.mono.plus(STEP_WAIT);
        if opened {
            one.open.commitment = commitment(&one.proof, &one.salt);
            one.digest = one.open.digest(&context.me, &key.0);
            one.stage = Stage::Reply;
            let bytes = one.open.statement(&context.network_id, &context.me, &key.0);
            out.sign(SignTicket::Sweep(key, Signing::Open), bytes);
        } else {
            one.stage = Stage::Reveal;
            let bytes = one.own_reply().statement(&context.network_id);
            out.sign(SignTicket::Sweep(key, Signing::Reply), bytes);
        }
        None
    }

    /// A step of this side is signed.
    pub(super) fn signed(
        &mut self,
        key: Key,
        what: Signing,
        signature: Signature,
        counts: &mut SweepCounts,
        out: &mut Effects,
    ) {
        let Some(one) = self.under_way.get_mut(&key) else {
            return;
        };
        let step = match what {
            Signing::Open => {
                counts.opened += 1;
                one.open.signature = signature;
                Step::Open(one.open.clone())
            }
            Signing::Reply => {
                counts.answered += 1;
                Step::Reply(Reply {
                    signature,
                    ..one.own_reply()
                })
            }
            Signing::Listing => Step::Listing(Listing {
                signature,
                ..one.own_listing(key.2)
            }),
        };
        send(key, step, counts, out);
    }

    /// Those whose time is over: what this side asked for in vain.
    pub(super) fn ended(&mut self, now: Now, counts: &mut SweepCounts) -> Vec<Job> {
        let mut unanswered = Vec::new();
        self.under_way.retain(|(_, _, opened), one| {
            let lives = one.ends > now.mono;
            if !lives && one.stage != Stage::Reading {
                counts.silent += 1;
                if *opened {
                    unanswered.push(one.job);
                }
            }
            lives
        });
        unanswered
    }

    /// Somebody opens one: answered if both may keep the cell, by this relay's own list.
    fn accept(&mut self, context: &Context, now: Now, key: Key, open: Open, out: &mut Effects) {
        let tick = context.network.scale.tick_of(now.unix);
        let of_this_peer = self.under_way.keys().filter(|(peer, _, _)| *peer == key.0);
        let fits = self.under_way.len() < limits::EXCHANGES_MAX
            && of_this_peer.count() < EXCHANGES_PER_PEER_MAX
            && !self.under_way.contains_key(&key);
        let is_timely = open.cutoff.0.abs_diff(tick.0) <= GRACE_TICKS;
        let shared = [&key.0, &context.me]
            .iter()
            .all(|id| context.may_keep(open.epoch, open.cell, id));
        if fits && is_timely && shared {
            let job = Job {
                epoch: open.epoch,
                cell: open.cell,
                part: open.part,
                prover: context.me,
            };
            self.read(context, now, key, job, open, [0; 32], out);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one place that makes a sweep")]
    fn read(
        &mut self,
        context: &Context,
        now: Now,
        key: Key,
        job: Job,
        open: Open,
        salt: [u8; 32],
        out: &mut Effects,
    ) {
        let (peer, _, opened) = key;
        let (opener, prover) = if opened {
            (context.me, peer)
        } else {
            (peer, context.me)
        };
        let items_max = if opened {
            limits::SWEEP_ITEMS_OPENED_MAX
        } else {
            limits::SWEEP_ITEMS_READ_MAX
        };
        let cutoff_hour = context
            .network
            .scale
            .hour_of(context.network.scale.tick_start(open.cutoff));
        let request = StoreOp::Tags {
            swept: Swept {
                epoch: open.epoch,
                cell: open.cell,
                part: open.part,
                arrived_by: open.cutoff.minus(SETTLED_TICKS),
                ends_from: cutoff_hour.plus(2),
            },
            cell_bits: context.network.cell_bits,
            key: open.key(&opener, &prover),
            items_max,
        };
        let one = UnderWay {
            job,
            digest: open.digest(&opener, &prover),
            open,
            own: Vec::new(),
            proof: [0; 32],
            salt,
            theirs: None,
            stage: Stage::Reading,
            began: now.mono,
            ends: now.mono.plus(STEP_WAIT),
        };
        self.under_way.insert(key, one);
        out.store(Ticket::Sweep(key), request);
    }

    /// V has P's proof and says its own.
    fn reply(
        &mut self,
        context: &Context,
        now: Now,
        key: Key,
        reply: &Reply,
        counts: &mut SweepCounts,
        out: &mut Effects,
    ) -> Option<Ended> {
        let one = self.waits_for(&key, Stage::Reply)?;
        if reply.open != one.digest {
            self.broken(&key, counts);
            return None;
        }
        one.theirs = Some(reply.proof);
        let (proof, salt) = (one.proof, one.salt);
        send(key, Step::Reveal { proof, salt }, counts, out);
        self.proven(context, now, key, counts, out)
    }

    /// P learns V's proof, which V had committed to before it knew P's.
    #[allow(clippy::too_many_arguments, reason = "a step and what all steps take")]
    fn reveal(
        &mut self,
        context: &Context,
        now: Now,
        key: Key,
        proof: [u8; 32],
        salt: [u8; 32],
        counts: &mut SweepCounts,
        out: &mut Effects,
    ) -> Option<Ended> {
        let one = self.waits_for(&key, Stage::Reveal)?;
        if commitment(&proof, &salt) != one.open.commitment {
            self.broken(&key, counts);
            return None;
        }
        one.theirs = Some(proof);
        self.proven(context, now, key, counts, out)
    }

    /// Both proofs are known to this side.
    fn proven(
        &mut self,
        context: &Context,
        now: Now,
        key: Key,
        counts: &mut SweepCounts,
        out: &mut Effects,
    ) -> Option<Ended> {
        let one = self.under_way.get_mut(&key)?;
        if one.theirs == Some(one.proof) {
            let one = self.under_way.remove(&key)?;
            counts.equal += 1;
            return Some(Ended::Judged(Verdict {
                job: one.job,
                peer: key.0,
                of: envelopes(&one.own),
                lacking: Vec::new(),
                missing: 0,
                losses: Vec::new(),
            }));
        }
        counts.unequal += 1;
        let opened = key.2;
        let listed_max = if opened && one.job.part.children().next().is_some() {
            limits::SWEEP_ITEMS_LISTED_MAX
        } else {
            limits::SWEEP_ITEMS_MAX
        };
        if one.own.len() > listed_max {
            let one = self.under_way.remove(&key)?;
            return opened.then_some(Ended::TooMuch(one.job));
        }
        one.stage = Stage::Listing;
        one.ends = now.mono.plus(STEP_WAIT);
        let bytes = one.own_listing(key.2).statement(&context.network_id);
        out.sign(SignTicket::Sweep(key, Signing::Listing), bytes);
        None
    }

    /// The other side says what it has, which must be what it has proven.
    fn listing(
        &mut self,
        context: &Context,
        key: Key,
        listing: &Listing,
        counts: &mut SweepCounts,
    ) -> Option<Verdict> {
        let one = self.waits_for(&key, Stage::Listing)?;
        let proof = proof_of(listing.items.iter().map(|(_, tag)| tag));
        if listing.open != one.digest || Some(proof) != one.theirs {
            self.broken(&key, counts);
            return None;
        }
        let one = self.under_way.remove(&key)?;
        let mut verdict = Verdict {
            job: one.job,
            peer: key.0,
            of: envelopes(&one.own),
            lacking: Vec::new(),
            missing: 0,
            losses: Vec::new(),
        };
        let listed = Arc::new(Listed {
            with: context.me,
            open: one.open.unsigned(),
            listing: listing.clone(),
        });
        let theirs: BTreeMap<[u8; 32], [u8; 32]> = listing.items.iter().copied().collect();
        for tagged in one.own {
            if theirs.get(&tagged.held.item()) == Some(&tagged.tag) {
                continue;
            }
            if let Held::Envelope {
                id,
                address,
                arrival,
                expires,
            } = tagged.held
            {
                let cell = cell_of(&address, context.network.cell_bits);
                let place = (verdict.job.epoch, cell, key.0);
                let mut known = context.possession.borrow_mut();
                // Its owner may have deleted it there; the word of that will come here, too, unless there is none.
                let tombstone = Tombstone::item_of(&address, &id, expires);
                let is_deleted = theirs.contains_key(&tombstone);
                if is_deleted && known.excuse(context.network.scale, place, id, one.began) {
                    continue;
                }
                let had = known.had(context.network.scale, place, id, arrival, one.began);
                verdict.missing += usize::from(had);
                let receipt = known
                    .signed(place, id)
                    .filter(|receipt| receipt.time.plus(LISTED_AFTER_TICKS) <= listed.open.cutoff);
                let is_room = !is_deleted && verdict.losses.len() < limits::LOSSES_PER_SWEEP_MAX;
                if let Some(receipt) = receipt.filter(|_| is_room) {
                    verdict.losses.push(Shown {
                        id,
                        receipt: *receipt,
                        listed: Arc::clone(&listed),
                    });
                }
            }
            verdict.lacking.push(tagged.held);
        }
        Some(verdict)
    }

    fn waits_for(&mut self, key: &Key, stage: Stage) -> Option<&mut UnderWay> {
        self.under_way.get_mut(key).filter(|one| one.stage == stage)
    }

    /// What cannot be was said: nothing is learned from this sweep.
    fn broken(&mut self, key: &Key, counts: &mut SweepCounts) {
        self.under_way.remove(key);
        counts.broken += 1;
    }
}

impl UnderWay {
    fn own_reply(&self) -> Reply {
        Reply {
            open: self.digest,
            proof: self.proof,
            signature: Signature([0; 64]),
        }
    }

    fn own_listing(&self, by_opener: bool) -> Listing {
        let items = self.own.iter();
        Listing {
            by_opener,
            open: self.digest,
            items: items.map(|one| (one.held.item(), one.tag)).collect(),
            signature: Signature([0; 64]),
        }
    }
}

fn send(key: Key, step: Step, counts: &mut SweepCounts, out: &mut Effects) {
    let (to, exchange, _) = key;
    let message = Sweep { exchange, step };
    counts.bytes += bytes_of(&message);
    out.send(to, Message::Sweep(message));
}

fn envelopes(own: &[Tagged]) -> usize {
    let is_envelope = |one: &&Tagged| matches!(one.held, Held::Envelope { .. });
    own.iter().filter(is_envelope).count()
}

fn bytes_of(message: &Sweep) -> u64 {
    5 + match &message.step {
        Step::Open(_) => 13 + 32 + 32 + 64,
        Step::Reply(_) => 32 + 32 + 64,
        Step::Reveal { .. } => 64,
        Step::Listing(listing) => 32 + 64 + 2 + 64 * listing.items.len() as u64,
    }
}

/// Sweeps under way with one other relay, either side's.
const EXCHANGES_PER_PEER_MAX: usize = 8;
/// Ticks by which the opener's clock may differ: 30 minutes, as everywhere.
const GRACE_TICKS: u32 = 3;
