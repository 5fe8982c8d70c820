//! Relays watch each other and say together who is absent, who keeps what it promised, and who is to be left out.
//!
//! 1. For an epoch each relay has watchers, drawn from M(e) ([`Watchers`], [STD-1]).
//! 2. A watcher hears every five minutes from its subjects that they are there, or asks them ([STD-3]), and hears
//!    from other relays what they found ([STD-6]).
//! 3. What changes it testifies at once, and what it knows when the epoch ends ([STD-4]). Testimonies are passed
//!    on and compared like the member list ([STD-5]).
//! 4. A quorum's last words are a [`Certificate`]; M(e + 2) is made with it ([STD-7], [STD-8]).
//! 5. What a quorum says now counts at once: who is absent is replaced, who is condemned is not counted on
//!    ([STD-9]).
//!
//! What a relay found out by itself is in `members/possession.rs`. Source: `docs/spec/standing.md`.

mod askers;
mod certificate;
mod duty;
mod heard;
mod kept;
mod loss;
mod news;
mod proofs;
mod reports;
mod watchers;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use rand_core::Rng;

use crate::context::Context;
use crate::crypto::Signature;
use crate::effects::{Effects, SignTicket};
use crate::id::NodeId;
use crate::limits;
use crate::members::exchange::Exchanges;
use crate::pledge::{Pledges, Verdict};
use crate::time::{EPOCH_MINUTES, Epoch, HOUR_MINUTES, Instant, Now};
use crate::wire::Message;
use crate::wire::members::Reconcile;
use crate::wire::proof::Proof;
use crate::wire::standing::{About, ITEM_HEAD_BYTES, Tally, Testimony, Words};

use askers::Askers;
pub use certificate::{Certificate, Certificates};
use duty::{Before, Duty};
pub(crate) use heard::{Changes, Said};
use heard::{Finding, Heard};
use kept::Keeping;
use loss::Losses;
pub(crate) use loss::Shown;
use proofs::Proofs;
use reports::Reports;
pub use watchers::{WATCHERS_MIN, Watchers};

/// Watching, reporting and testifying of one relay.
#[derive(Debug)]
pub(crate) struct Standing {
    /// The epoch of the duties.
    epoch: Option<Epoch>,
    duties: BTreeMap<NodeId, Duty>,
    askers: Askers,
    /// Members of which it is known whether this relay watches them.
    looked_at: BTreeSet<NodeId>,
    heard: Heard,
    keeping: Keeping,
    proofs: Proofs,
    losses: Losses,
    reports: Reports,
    /// What was reported last of each relay.
    reported: BTreeMap<NodeId, Tally>,
    /// What is to be told to whom as soon as there is a link.
    to_tell: BTreeMap<NodeId, BTreeMap<NodeId, Tally>>,
    exchanges: Exchanges,
    /// News to be passed on.
    news: BTreeSet<[u8; 32]>,
    pass_on_at: Option<Instant>,
    ask_at: Instant,
    has_looked: bool,
    report_at: Instant,
    compare_at: Instant,
    counts: StandingCounts,
}

/// What watching did since the start, for the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StandingCounts {
    /// Relays that this one watches in this epoch.
    pub watched: u64,
    /// Testimonies that it has signed.
    pub testified: u64,
    /// Testimonies of others that were news.
    pub heard: u64,
    /// Reports sent and received.
    pub reports: u64,
    /// Bytes of all these, sent and received.
    pub bytes: u64,
    /// Relays that count as absent.
    pub absent: u64,
    /// Relays that a majority wants suspended.
    pub condemned: u64,
}

/// What is known of how one relay stands with the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Its watchers in this epoch.
    pub watchers: usize,
    /// How many of them have said something in this epoch.
    pub said: usize,
    /// How many call it absent.
    pub absent: usize,
    /// How many want it suspended.
    pub suspend: usize,
    /// How many are needed for that.
    pub majority: usize,
    /// The last certificate, and how many epochs ago it was made.
    pub certificate: Option<(u32, Certificate)>,
    /// Epochs, from the next one on, for which a suspension lasts.
    pub suspended_for: u8,
    /// Whether it holds in this epoch, by this relay's list.
    pub holds: bool,
    /// Whether it is there so seldom that others take over what it holds ([STD-11]).
    pub rare: bool,
    /// The last epoch in which it is known to have issued two records with one sequence ([EVD-2]).
    pub twice: Option<Epoch>,
    /// Since which epoch a wrong answer of it to a challenge is known ([EVD-3]).
    pub wrong: Option<Epoch>,
    /// Since which epoch wrong answers to two challenges are known, which expel it.
    pub expelled: Option<Epoch>,
    /// Envelopes that it is proven to have lost within a week, if this relay watches it ([EVD-4]).
    pub lost: usize,
}

impl Judgement {
    /// Whether a majority of enough watchers wants it suspended.
    pub fn is_condemned(&self) -> bool {
        self.watchers >= WATCHERS_MIN && self.suspend >= self.majority
    }
}

impl Standing {
    /// Nobody is watched yet.
    pub(crate) fn new(now: Now) -> Self {
        Self {
            epoch: None,
            duties: BTreeMap::new(),
            askers: Askers::default(),
            looked_at: BTreeSet::new(),
            heard: Heard::default(),
            keeping: Keeping::new(now),
            proofs: Proofs::default(),
            losses: Losses::default(),
            reports: Reports::default(),
            reported: BTreeMap::new(),
            to_tell: BTreeMap::new(),
            exchanges: Exchanges::default(),
            news: BTreeSet::new(),
            pass_on_at: None,
            ask_at: now.mono,
            has_looked: false,
            report_at: now.mono.plus(FIRST_REPORT),
            compare_at: now.mono,
            counts: StandingCounts::default(),
        }
    }

    /// What it did.
    pub(crate) fn counts(&self, context: &Context) -> StandingCounts {
        StandingCounts {
            watched: self.duties.len() as u64,
            absent: context.said.absent.len() as u64,
            condemned: context.said.condemned.len() as u64,
            ..self.counts
        }
    }

    /// How a relay stands with the network, as far as it is known here.
    pub(crate) fn judgement(&self, context: &Context, id: &NodeId) -> Judgement {
        let proven = Judgement {
            twice: self.proofs.twice(id),
            wrong: self.proofs.wrong(id),
            expelled: self.proofs.expelled(id),
            lost: self.losses.of(id),
            ..Judgement::default()
        };
        let Some(today) = self.epoch else {
            return proven;
        };
        let eligible = context.view.eligible(&context.network, today);
        let watchers = Watchers::of(&context.network, &eligible, id);
        let about = || self.heard.about(today, id);
        let certificate = context.view.certificates().before(id, today);
        let past = certificate.map(|(epochs, one)| {
            let verdicts = &context.network.verdicts;
            one.past_after(epochs, verdicts).term
        });
        Judgement {
            watchers: watchers.ids().len(),
            said: about().count(),
            absent: about().filter(|words| words.absent).count(),
            suspend: about().filter(|words| words.suspend).count(),
            majority: watchers.majority(),
            certificate: certificate.map(|(epochs, one)| (epochs, *one)),
            suspended_for: past.unwrap_or(0),
            holds: eligible.has(id),
            rare: context.is_rare(id),
            ..proven
        }
    }

    /// There is a link with a relay: it is told what waits for it ([STD-6]).
    pub(crate) fn met(&mut self, peer: NodeId, out: &mut Effects) {
        let Some(tallies) = self.to_tell.remove(&peer) else {
            return;
        };
        let tallies: Vec<Tally> = tallies.into_values().collect();
        for tallies in tallies.chunks(limits::TALLIES_PER_MESSAGE_MAX) {
            self.counts.reports += tallies.len() as u64;
            self.send(peer, Message::Tallies(tallies.to_vec()), out);
        }
    }

    /// Another relay asks whether this one is there; a watcher of it is told again without asking ([STD-3]).
    pub(crate) fn asked(&mut self, context: &Context, now: Now, from: NodeId, out: &mut Effects) {
        out.send(from, Message::Here);
        let today = context.network.scale.epoch_of(now.unix);
        let watchers = self.heard.watchers(context, today, &context.me);
        if watchers.ids().contains(&from) {
            let pause = duty::pause(context.network.scale);
            self.askers.asked(now.mono, pause, from);
        }
    }

    /// A relay under watch said that it is there.
    pub(crate) fn answered(&mut self, context: &Context, now: Now, from: &NodeId) {
        if let Some(duty) = self.duties.get_mut(from) {
            duty.answered(now, context.network.scale);
        }
    }

    /// A step of comparing what watchers said.
    pub(crate) fn reconcile(
        &mut self,
        now: Now,
        from: NodeId,
        message: &Reconcile,
        out: &mut Effects,
    ) {
        self.counts.bytes += 5 + message.ranges.len() as u64;
        let (heard, proofs) = (&self.heard, &self.proofs);
        let items = || heard.items().chain(proofs.items()).collect::<Vec<_>>();
        let Some(mut progress) = self.exchanges.step(now, from, message, items) else {
            return;
        };
        progress.want.retain(|item| proofs.is_news(item));
        for items in progress.want.chunks(limits::IDS_PER_MESSAGE_MAX) {
            self.send(from, Message::WantTestimonies(items.to_vec()), out);
        }
        if let Some(reply) = progress.reply {
            self.send(from, Message::ReconcileTestimonies(reply), out);
        }
    }

    /// Another relay wants testimonies.
    pub(crate) fn wanted(&mut self, from: NodeId, items: &[[u8; 32]], out: &mut Effects) {
        let found = items.iter().filter_map(|item| self.heard.find(item));
        let found: Vec<Testimony> = found.cloned().collect();
        let proofs = items.iter().filter_map(|item| self.proofs.find(item));
        let proofs: Vec<Proof> = proofs.cloned().collect();
        self.tell(from, &found, &proofs, out);
    }

    /// Testimonies came, let in at the door.
    pub(crate) fn testimonies(
        &mut self,
        context: &mut Context,
        now: Now,
        testimonies: Vec<Testimony>,
    ) -> Changes {
        self.counts.bytes += testimonies_bytes(&testimonies);
        let today = context.network.scale.epoch_of(now.unix);
        let mut changes = Changes::default();
        for testimony in testimonies {
            self.hear(context, now, today, &testimony, &mut changes);
        }
        changes
    }

    /// An own testimony is signed. Those who watch the same relays are told: they count what is said ([STD-12]).
    pub(crate) fn signed(
        &mut self,
        context: &mut Context,
        now: Now,
        mut testimony: Testimony,
        signature: Signature,
        out: &mut Effects,
    ) -> Changes {
        testimony.signature = signature;
        self.counts.testified += 1;
        let today = context.network.scale.epoch_of(now.unix);
        let mut changes = Changes::default();
        self.hear(context, now, today, &testimony, &mut changes);
        self.tell_watchers(context, &testimony, out);
        changes
    }

    /// Another relay reports about those that this one watches.
    pub(crate) fn tallies(&mut self, context: &Context, from: NodeId, tallies: &[Tally]) {
        self.counts.reports += tallies.len() as u64;
        self.counts.bytes += 2 + (Tally::BYTES * tallies.len()) as u64;
        if context.view.snapshot().find(&from).is_none() {
            return;
        }
        for tally in tallies {
            let is_mine = self.duties.contains_key(&tally.subject) && tally.subject != from;
            if is_mine && Some(tally.epoch) == self.epoch {
                self.reports.take(from, *tally);
            }
        }
    }

    /// Does what is due. `drawn` is a member drawn from all with which the member list is being compared.
    pub(crate) fn wake(
        &mut self,
        context: &mut Context,
        now: Now,
        drawn: Option<NodeId>,
        pledges: &mut Pledges,
        out: &mut Effects,
    ) {
        self.turn_proofs(context, now);
        if context.network.verdicts.watchers == 0 {
            return;
        }
        self.turn(context, now, out);
        let counted = (&self.losses, &self.reports);
        self.keeping.wake(context, now, counted, out);
        let pause = duty::pause(context.network.scale);
        for watcher in self.askers.due(now.mono, pause) {
            out.send(watcher, Message::Here);
        }
        if self.ask_at <= now.mono {
            self.ask(context, now, out);
            self.challenge(context, now, pledges, out);
        }
        if self.report_at <= now.mono {
            self.report_at = now.mono.plus(about(context, HOUR_MINUTES));
            self.report(context);
        }
        if let Some(partner) = drawn.filter(|_| self.compare_at <= now.mono) {
            self.compare_at = now.mono.plus(about(context, COMPARE_MINUTES));
            let items = self.heard.items().chain(self.proofs.items());
            let items: Vec<[u8; 32]> = items.collect();
            if let Some(opening) = self.exchanges.open(context, now, partner, items) {
                self.send(partner, Message::ReconcileTestimonies(opening), out);
            }
        }
        if self.pass_on_at.is_some_and(|at| at <= now.mono) {
            self.pass_on(context, out);
        }
    }

    /// When something is due.
    pub(crate) fn deadline(&self, context: &Context) -> Option<Instant> {
        if context.network.verdicts.watchers == 0 {
            return None;
        }
        let fixed = [self.ask_at, self.report_at];
        let others = [self.pass_on_at, self.askers.deadline()];
        fixed.into_iter().chain(others.into_iter().flatten()).min()
    }

    /// At the end of an epoch the last word about each subject is said, and others become subjects.
    fn turn(&mut self, context: &mut Context, now: Now, out: &mut Effects) {
        let today = context.network.scale.epoch_of(now.unix);
        if self.epoch.is_some_and(|epoch| epoch >= today) {
            return;
        }
        if let Some(ended) = self.epoch.replace(today) {
            let subjects: Vec<NodeId> = self.duties.keys().copied().collect();
            let about = subjects.into_iter().filter_map(|subject| {
                let words = self.words(context, ended, &subject, true)?;
                Some(About { subject, words })
            });
            let about: Vec<About> = about.collect();
            testify(context, ended, u16::MAX, &about, out);
        }
        self.losses.turn(context, &self.reports, today);
        self.duties.clear();
        self.looked_at.clear();
        self.reports.clear();
        self.reported.clear();
        self.to_tell.clear();
        self.heard.turn(today);
        context.said.condemned.clear();
        // Words of long ago hold against nobody.
        let (verdicts, certificates) = (&context.network.verdicts, context.view.certificates());
        let is_rare = |id: &NodeId| certificates.is_rare(verdicts, id, today);
        context.said.rare.retain(is_rare);
        context.possession.get_mut().clear_sums();
        let oldest = today.minus(limits::EPOCHS_REMEMBERED);
        context
            .view
            .forget_certificates(oldest.minus(certificate::GOOD_FOR + 1));
    }

    /// Looks whether all subjects are there, and says what has changed.
    fn ask(&mut self, context: &mut Context, now: Now, out: &mut Effects) {
        let scale = context.network.scale;
        let today = scale.epoch_of(now.unix);
        let mut pause = duty::pause(scale);
        if !core::mem::replace(&mut self.has_looked, true) {
            // Relays that start together do not look together.
            let whole = u64::try_from(pause.as_millis()).unwrap_or(1).max(1);
            let after = Duration::from_millis(context.rng.borrow_mut().next_u64() % whole);
            pause = after.max(duty::PAUSE_MIN);
        }
        self.ask_at = now.mono.plus(pause);
        let me = context.me;
        context.said.speaks = self.heard.watchers(context, today, &me).are_enough();
        if !context.said.speaks {
            // Who is absent is then known by own tries alone.
            context.said.absent.clear();
        }
        let members = context.view.snapshot();
        for member in members.iter() {
            let id = member.id();
            if id != me && self.looked_at.insert(id) {
                let watchers = self.heard.watchers(context, today, &id);
                if watchers.ids().contains(&me) {
                    self.duties.insert(id, Duty::new());
                }
            }
        }
        self.duties.retain(|id, _| members.find(id).is_some());
        let subjects: Vec<NodeId> = self.duties.keys().copied().collect();
        for subject in &subjects {
            if let Some(duty) = self.duties.get_mut(subject) {
                let window = context.network.verdicts.suspend_window;
                duty.convicted |= self.proofs.suspend(subject, today, window);
                if duty.look(now, scale) {
                    out.send(*subject, Message::Probe);
                }
            }
        }
        // Who hears of nobody has no link itself.
        let alone = self.duties.values().all(Duty::is_missing);
        let mut about = Vec::new();
        for subject in subjects {
            let words = self.news_of(context, today, &subject, alone);
            about.extend(words.map(|words| About { subject, words }));
        }
        testify(context, today, moment(context, now, today), &about, out);
        let is_there = |(_, duty): &(&NodeId, &Duty)| duty.absent == Some(false);
        let there = self.duties.iter().filter(is_there);
        context.neighbours = there.map(|(id, _)| *id).collect();
    }

    /// Has subjects show what they have pledged, twice in an epoch ([STD-10]).
    fn challenge(&mut self, context: &Context, now: Now, pledges: &mut Pledges, out: &mut Effects) {
        let half = context.network.scale.minutes(EPOCH_MINUTES / 2);
        for (subject, duty) in &mut self.duties {
            let at = *duty.challenge_at.get_or_insert_with(|| {
                let half_ms = u64::try_from(half.as_millis()).unwrap_or(1).max(1);
                let after = context.rng.borrow_mut().next_u64() % half_ms;
                now.mono.plus(Duration::from_millis(after))
            });
            if at <= now.mono && duty.absent == Some(false) {
                duty.challenge_at = Some(now.mono.plus(half));
                pledges.challenge(context, now, *subject, out);
            }
        }
    }

    /// What a subject showed of its pledge ([STD-10]).
    pub(crate) fn challenged(&mut self, verdict: &Verdict) {
        let (Verdict::Shown { subject, .. }
        | Verdict::Wrong { subject, .. }
        | Verdict::Silent { subject }) = verdict;
        let Some(duty) = self.duties.get_mut(subject) else {
            return;
        };
        match verdict {
            Verdict::Shown { class, .. } => {
                duty.class = Some(*class);
                duty.silent = 0;
            }
            Verdict::Wrong { .. } => duty.convicted = true,
            Verdict::Silent { .. } => duty.silent = duty.silent.saturating_add(1),
        }
    }

    /// What is to be said about a subject that was not said.
    fn news_of(
        &mut self,
        context: &Context,
        today: Epoch,
        subject: &NodeId,
        alone: bool,
    ) -> Option<Words> {
        let words = self.words(context, today, subject, false)?;
        // What it said before a restart stands until it says something else.
        let before = self.heard.by(today, subject, &context.me);
        let duty = self.duties.get_mut(subject)?;
        let said = duty.told.or(before);
        let is_away = context.said.absent.contains(subject);
        let wronged = is_away && duty.absent == Some(false);
        let waited = core::mem::replace(&mut duty.wronged, wronged) && wronged;
        let mut is_new = said.is_some_and(|told| told.suspend) != words.suspend;
        // Without an answer of any, or before it is known, nothing is said of who is there.
        if let (Some(absent), false) = (duty.absent, alone) {
            let found = Finding {
                absent,
                said: said.map(|told| told.absent),
                waited,
            };
            is_new |= self.heard.is_wanting(context, today, subject, found);
        }
        is_new.then(|| {
            duty.told = Some(words);
            words
        })
    }

    fn words(
        &self,
        context: &Context,
        epoch: Epoch,
        subject: &NodeId,
        last: bool,
    ) -> Option<Words> {
        let duty = self.duties.get(subject)?;
        let eligible = context.view.eligible(&context.network, epoch);
        let verdicts = &context.network.verdicts;
        let certificate = context.view.certificates().before(subject, epoch);
        let before = Before::of(certificate, verdicts, eligible.has(subject));
        let kept = self.reports.kept(context, subject);
        let read = self.reports.read(context, subject);
        let mut words = duty.words(before, kept, read, last);
        words.suspend |= self.losses.are_too_many(context, &self.reports, subject);
        Some(words)
    }

    /// Notes for watchers what was found since they were last told.
    fn report(&mut self, context: &Context) {
        let Some(today) = self.epoch else { return };
        let mut waiting: usize = self.to_tell.values().map(BTreeMap::len).sum();
        for tally in context.possession.borrow().sums(today) {
            let subject = tally.subject;
            if self.reported.get(&subject) == Some(&tally) {
                continue;
            }
            self.reported.insert(subject, tally);
            let watchers = self.heard.watchers(context, today, &subject);
            for watcher in watchers.told_by(&context.network, &context.me, today) {
                if watcher == context.me {
                    self.reports.take(context.me, tally);
                } else if watcher != subject && waiting < limits::TALLIES_WAITING_MAX {
                    waiting += 1;
                    let for_it = self.to_tell.entry(watcher).or_default();
                    for_it.insert(subject, tally);
                }
            }
        }
    }

    fn hear(
        &mut self,
        context: &mut Context,
        now: Now,
        today: Epoch,
        testimony: &Testimony,
        changes: &mut Changes,
    ) {
        let news = self.heard.hear(context, today, testimony);
        if news.is_empty() {
            return;
        }
        self.counts.heard += 1;
        for subject in news {
            let place = (testimony.epoch, subject);
            let before = context.said.counts_as(&subject);
            self.heard.judge(context, today, place, changes);
            let after = context.said.counts_as(&subject);
            if before != after {
                let behind = self.heard.behind(today, &subject, (before, after));
                self.is_news(context, now, behind);
            }
        }
    }

    fn tell(&mut self, to: NodeId, testimonies: &[Testimony], proofs: &[Proof], out: &mut Effects) {
        for proof in proofs {
            self.send(to, Message::Proof(proof.clone()), out);
        }
        for some in testimonies.chunks(limits::TESTIMONIES_PER_MESSAGE_MAX) {
            self.send(to, Message::Testimonies(some.to_vec()), out);
        }
    }

    fn send(&mut self, to: NodeId, message: Message, out: &mut Effects) {
        self.counts.bytes += match &message {
            Message::ReconcileTestimonies(step) => 5 + step.ranges.len() as u64,
            Message::WantTestimonies(items) => 2 + 32 * items.len() as u64,
            Message::Heads(some) => 3 + (ITEM_HEAD_BYTES * some.heads.len()) as u64,
            Message::Proof(proof) => proof.bytes().len() as u64,
            Message::Testimonies(some) => testimonies_bytes(some),
            Message::Tallies(some) => 2 + (Tally::BYTES * some.len()) as u64,
            _ => 0,
        };
        out.send(to, message);
    }
}

/// Has what is to be said signed; nothing if there is nothing.
fn testify(context: &Context, epoch: Epoch, number: u16, about: &[About], out: &mut Effects) {
    for about in about.chunks(Testimony::ABOUT_MAX) {
        let testimony = Testimony {
            epoch,
            watcher: context.key,
            number,
            about: about.to_vec(),
            signature: Signature([0; 64]),
        };
        let bytes = testimony.statement(&context.network_id);
        out.sign(SignTicket::Testimony(Box::new(testimony)), bytes);
    }
}

/// The number of a testimony that is made now: how much of the epoch has passed, so that it grows across
/// restarts; the highest is left to the last one ([STD-4]).
fn moment(context: &Context, now: Now, today: Epoch) -> u16 {
    let scale = context.network.scale;
    let passed = now.unix.distance(scale.epoch_start(today)).as_millis();
    let whole = scale.minutes(EPOCH_MINUTES).as_millis().max(1);
    let number = passed.saturating_mul(u128::from(u16::MAX)) / whole;
    u16::try_from(number).unwrap_or(u16::MAX).min(u16::MAX - 1)
}

/// So many minutes, give or take a tenth, so that relays do not fall into step.
fn about(context: &Context, minutes: u64) -> Duration {
    let pause = context.network.scale.minutes(minutes);
    let tenth = u64::try_from(pause.as_millis() / 10).unwrap_or(1).max(1);
    pause + Duration::from_millis(context.rng.borrow_mut().next_u64() % tenth)
}

fn testimonies_bytes(testimonies: &[Testimony]) -> u64 {
    2 + testimonies.iter().map(Testimony::wire_bytes).sum::<usize>() as u64
}

/// Minutes after which a relay compares its testimonies again, with the next one drawn from all ([STD-5]).
const COMPARE_MINUTES: u64 = 25;
/// Nothing was found before that.
const FIRST_REPORT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
