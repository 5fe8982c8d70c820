//! How a relay keeps its member list: it issues its own record, compares lists with a few members every
//! ten minutes, pulls what is new, and hands the list to correspondents.
//!
//! 1. The own record is issued when the onion keys are known, on change, and every six hours ([GOS-1]).
//! 2. A relay that turns up, and three random members each round, are asked to compare ([GOS-2]).
//! 3. What would be news is asked for by item; records are let in at the door, signatures checked
//!    ([GOS-3]). Onion keys travel only to who lacks them ([GOS-6]).
//!
//! Who may hold is not decided here. Source: `docs/spec/members.md`.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use rand_core::Rng;

use crate::context::Context;
use crate::crypto::{OnionPublicKey, Signature};
use crate::effects::{Effects, Event, SignTicket, StreamId};
use crate::id::NodeId;
use crate::limits;
use crate::members::exchange::Exchanges;
use crate::members::settle::Settling;
use crate::members::{
    Address, Conflict, Inserted, Member, OnionKeys, Record, Snapshot, VerifiedRecord,
    onion_key_hash,
};
use crate::relay::RelayConfig;
use crate::time::{HOUR_MINUTES, Instant, Now, TICK_MINUTES, Tick};
use crate::wire::Message;
use crate::wire::members::{
    ListAsk, ListPart, RECORDS_IN_LIST_PART_MAX, Reconcile, RecordWithKeys, RosterAsk, RosterPart,
    Want,
};

/// The member list's upkeep.
#[derive(Debug)]
pub(crate) struct Gossip {
    config: RelayConfig,
    onion: Option<(u32, OnionKeys)>,
    issued: Option<Record>,
    signing: bool,
    leaving: bool,
    /// What the record says changed while it was being signed.
    stale: bool,
    renew_at: Option<Instant>,
    round_at: Instant,
    rounds: usize,
    /// What was asked for a moment ago and is on its way.
    asked: BTreeMap<[u8; 32], Instant>,
    exchanges: Exchanges,
    pub(crate) settling: Settling,
}

impl Gossip {
    /// Nothing was issued and nobody was asked yet.
    pub(crate) fn new(config: RelayConfig, now: Now) -> Self {
        Self {
            issued: config.last_record.clone(),
            config,
            onion: None,
            signing: false,
            leaving: false,
            stale: false,
            renew_at: None,
            round_at: now.mono,
            rounds: 0,
            asked: BTreeMap::new(),
            exchanges: Exchanges::default(),
            settling: Settling::new(now),
        }
    }

    /// The driver made onion keys.
    pub(crate) fn onion_keys(
        &mut self,
        context: &mut Context,
        now: Now,
        generation: u32,
        current: OnionPublicKey,
        next: OnionPublicKey,
        out: &mut Effects,
    ) {
        let keys = OnionKeys {
            current: Some(current),
            next: Some(next),
        };
        self.onion = Some((generation, keys));
        self.issue(context, now, out);
    }

    /// The driver learned where the relay is reached.
    pub(crate) fn addresses(
        &mut self,
        context: &mut Context,
        now: Now,
        addresses: [Option<Address>; 2],
        out: &mut Effects,
    ) {
        self.config.addresses = addresses;
        self.issue(context, now, out);
    }

    /// The disk has another class of the pledge: the record says so ([PLG-8]).
    pub(crate) fn plotted(
        &mut self,
        context: &mut Context,
        now: Now,
        class: u8,
        out: &mut Effects,
    ) {
        if self.config.pledge.class != class {
            self.config.pledge.class = class;
            self.issue(context, now, out);
        }
    }

    /// This relay leaves for good: its record says so ([REP-7]).
    pub(crate) fn leave(&mut self, context: &mut Context, now: Now, out: &mut Effects) {
        self.leaving = true;
        self.issue(context, now, out);
    }

    /// The own record is signed: it counts from here.
    pub(crate) fn issued(
        &mut self,
        context: &mut Context,
        now: Now,
        mut record: Record,
        signature: Signature,
        out: &mut Effects,
    ) {
        self.signing = false;
        record.signature = signature;
        out.report(Event::RecordIssued(record.clone()));
        let before = self.issued.replace(record.clone());
        let same_keys = before.is_some_and(|before| {
            (before.onion_current, before.onion_next) == (record.onion_current, record.onion_next)
        });
        self.publish(context, now, record, !same_keys, out);
        if core::mem::take(&mut self.stale) {
            self.issue(context, now, out);
        }
    }

    /// A relay turned up.
    pub(crate) fn seen(&mut self, context: &Context, now: Now, id: NodeId, out: &mut Effects) {
        if id != context.me && context.view.snapshot().find(&id).is_none() {
            self.open(context, now, id, out);
        }
    }

    /// A step of a comparison.
    pub(crate) fn reconcile(
        &mut self,
        context: &mut Context,
        now: Now,
        from: NodeId,
        message: &Reconcile,
        out: &mut Effects,
    ) {
        let snapshot = context.view.snapshot();
        let progress = self.exchanges.step(now, from, message, || items(&snapshot));
        let Some(progress) = progress else {
            return;
        };
        self.want(now, from, &snapshot, &progress.want, out);
        if let Some(reply) = progress.reply {
            out.send(from, Message::Reconcile(reply));
        }
        if progress.equal {
            context.view.completed(now);
        }
    }

    /// Another relay wants records.
    pub(crate) fn wanted(&self, context: &Context, from: NodeId, want: &Want, out: &mut Effects) {
        let snapshot = context.view.snapshot();
        let form = if want.with_keys {
            with_keys
        } else {
            without_keys
        };
        let found = want
            .items
            .iter()
            .filter_map(|item| snapshot.find_item(item));
        let records: Vec<RecordWithKeys> = found.map(form).collect();
        for records in records.chunks(limits::RECORDS_PER_MESSAGE_MAX) {
            out.send(from, Message::Records(records.to_vec()));
        }
    }

    /// Records came, let in at the door. Gives those that contradict each other ([REC-2]).
    pub(crate) fn records(
        &self,
        context: &mut Context,
        now: Now,
        from: NodeId,
        records: Vec<RecordWithKeys>,
        out: &mut Effects,
    ) -> Vec<Conflict> {
        let mut conflicts = Vec::new();
        let mut fresh = Vec::new();
        for RecordWithKeys { record, keys } in records {
            let record = VerifiedRecord::admitted(record);
            let (id, item) = (record.id(), *record.item());
            match context.view.insert(record, &keys, now) {
                Inserted::Conflict(conflict) => conflicts.push(*conflict),
                // Asked for once: of a record that is here already, its sender has no keys either.
                Inserted::New | Inserted::Newer => fresh.push((id, item)),
                Inserted::Same | Inserted::Older | Inserted::Void | Inserted::Full => {}
            }
        }
        refresh(context, now, out);
        let snapshot = context.view.snapshot();
        let lacks = |id: &NodeId| {
            let member = snapshot.find(id);
            member.is_some_and(|member| !member.keys().are_all_of(member.record()))
        };
        let lacking = fresh.into_iter().filter(|(id, _)| lacks(id));
        ask(from, true, lacking.map(|(_, item)| item).collect(), out);
        conflicts
    }

    /// A correspondent wants the list ([GOS-4]).
    pub(crate) fn list(
        &self,
        context: &Context,
        stream: StreamId,
        ask: ListAsk,
        out: &mut Effects,
    ) {
        let snapshot = context.view.snapshot();
        let from = usize::try_from(ask.from).unwrap_or(usize::MAX);
        let known = ask.from == 0 && ask.held == *snapshot.hash();
        let number = if known { 0 } else { RECORDS_IN_LIST_PART_MAX };
        let part = ListPart {
            hash: *snapshot.hash(),
            total: u32::try_from(snapshot.len()).unwrap_or(u32::MAX),
            from: ask.from,
            members: snapshot.part(from, number).iter().map(with_keys).collect(),
        };
        out.answer(stream, Message::ListPart(part));
    }

    /// A correspondent wants the eligible list of an epoch ([ELI-10]).
    pub(crate) fn roster(
        &self,
        context: &Context,
        now: Now,
        stream: StreamId,
        ask: RosterAsk,
        out: &mut Effects,
    ) {
        let today = context.network.scale.epoch_of(now.unix);
        // Nobody has a relay compute what it is not sure of.
        let is_known = context.view.is_settled(ask.epoch) || ask.epoch == today;
        let list = is_known.then(|| context.view.eligible(&context.network, ask.epoch));
        let part = match list.filter(|list| !list.is_empty()) {
            Some(list) => RosterPart::of(&list.roster(), &ask),
            None => RosterPart::none(),
        };
        out.answer(stream, Message::RosterPart(part));
    }

    /// Does what is due. Answers with a member drawn from all if a comparison with one begins ([GOS-2]).
    pub(crate) fn wake(
        &mut self,
        context: &mut Context,
        now: Now,
        out: &mut Effects,
    ) -> Option<NodeId> {
        if self.renew_at.is_some_and(|at| at <= now.mono) {
            self.issue(context, now, out);
        }
        if self.round_at > now.mono {
            return None;
        }
        self.round_at = now.mono.plus(round_pause(context));
        self.round(context, now, out)
    }

    /// One comparison: of three in ten minutes one is with a member drawn from all ([GOS-2]), which is the answer.
    fn round(&mut self, context: &mut Context, now: Now, out: &mut Effects) -> Option<NodeId> {
        let first = self
            .rounds
            .is_multiple_of(limits::MEMBERS_RECONCILE_PARTNERS);
        self.rounds = self.rounds.wrapping_add(1);
        if first {
            // Nobody is given up for longer: a link may work again unseen.
            context.gone.clear();
        }
        refresh(context, now, out);
        self.settling.wake(context, now, out);
        let partner = if first {
            partners(context).first().copied()
        } else {
            neighbours(context, 1).first().copied()
        };
        if let Some(partner) = partner {
            self.open(context, now, partner, out);
            let snapshot = context.view.snapshot();
            let lacking = snapshot.without_keys().take(KEYS_PER_ROUND_MAX);
            ask(partner, true, lacking.copied().collect(), out);
        }
        partner.filter(|_| first)
    }

    /// When something is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.renew_at, Some(self.round_at)]
            .into_iter()
            .flatten()
            .min()
    }

    fn open(&mut self, context: &Context, now: Now, to: NodeId, out: &mut Effects) {
        let items = items(&context.view.snapshot());
        if let Some(opening) = self.exchanges.open(context, now, to, items) {
            out.send(to, Message::Reconcile(opening));
        }
    }

    /// Asks for what would be news ([LST-3]).
    fn want(
        &mut self,
        now: Now,
        from: NodeId,
        snapshot: &Snapshot,
        want: &[[u8; 32]],
        out: &mut Effects,
    ) {
        self.asked.retain(|_, until| *until > now.mono);
        let news: Vec<[u8; 32]> = want
            .iter()
            .filter(|item| snapshot.is_news(item) && !self.asked.contains_key(*item))
            .copied()
            .collect();
        let until = now.mono.plus(ON_ITS_WAY);
        let room = limits::MEMBERS_MAX.saturating_sub(self.asked.len());
        self.asked
            .extend(news.iter().take(room).map(|item| (*item, until)));
        let (newcomers, known) = news.iter().partition(|item| snapshot.is_newcomer(item));
        ask(from, true, newcomers, out);
        ask(from, false, known, out);
    }

    /// Has the own record signed, unless its sequence would be one that was used ([REC-2]).
    fn issue(&mut self, context: &mut Context, now: Now, out: &mut Effects) {
        let Some((generation, keys)) = &self.onion else {
            return;
        };
        if self.signing {
            self.stale = true;
            return;
        }
        let scale = context.network.scale;
        let tick = scale.tick_of(now.unix);
        if let Some(last_word) = self.last_word(tick) {
            self.renew_at = None;
            if context.view.snapshot().find(&context.me).is_none() {
                self.publish(context, now, last_word, false, out);
            }
            return;
        }
        let hash = |key: &Option<OnionPublicKey>| key.as_ref().map(onion_key_hash);
        let record = Record {
            leaving: self.leaving,
            relay_only: false,
            network: context.network_id,
            key: context.key,
            sequence: tick,
            since: self.config.since,
            onion_generation: *generation,
            onion_current: hash(&keys.current).unwrap_or([0; 32]),
            onion_next: hash(&keys.next),
            family: self.config.family,
            addresses: self.config.addresses,
            class: self.config.pledge.class,
            puzzle: self.config.pledge.puzzle,
            signature: Signature([0; 64]),
        };
        self.renew_at = Some(
            now.mono
                .plus(scale.minutes(limits::RECORD_RENEW_HOURS * HOUR_MINUTES)),
        );
        if let Some(issued) = self
            .issued
            .as_ref()
            .filter(|issued| issued.sequence >= tick)
        {
            // One sequence, one record: another one must wait for the next tick.
            let next = scale.tick_start(issued.sequence.plus(1)).distance(now.unix);
            self.renew_at = Some(now.mono.plus(next.max(Duration::from_millis(1))));
            if context.view.snapshot().find(&context.me).is_none() {
                // Issued before a restart: it counts until then.
                let issued = issued.clone();
                self.publish(context, now, issued, false, out);
            }
            return;
        }
        self.signing = true;
        let statement = record.statement();
        out.sign(SignTicket::Record(record), statement);
    }

    /// The record that says that this relay leaves, while it is valid: it is not renewed, so that the epochs
    /// that go on without the relay stay the same ([ELI-2]).
    fn last_word(&self, tick: Tick) -> Option<Record> {
        let life = u32::try_from(limits::RECORD_LIFE_HOURS * HOUR_MINUTES / TICK_MINUTES);
        let ends = |record: &Record| record.sequence.plus(life.unwrap_or(0));
        let said = self.issued.as_ref().filter(|record| record.leaving);
        said.filter(|record| ends(record) > tick).cloned()
    }

    fn publish(
        &self,
        context: &mut Context,
        now: Now,
        record: Record,
        tell_keys: bool,
        out: &mut Effects,
    ) {
        let keys = self
            .onion
            .as_ref()
            .map(|(_, keys)| keys.clone())
            .unwrap_or_default();
        context
            .view
            .insert(VerifiedRecord::admitted(record.clone()), &keys, now);
        refresh(context, now, out);
        for partner in partners(context) {
            let keys = if tell_keys {
                keys.clone()
            } else {
                OnionKeys::default()
            };
            let record = record.clone();
            let records = alloc::vec![RecordWithKeys { record, keys }];
            out.send(partner, Message::Records(records));
        }
    }
}

/// Asks for records, or for nothing.
fn ask(from: NodeId, with_keys: bool, items: Vec<[u8; 32]>, out: &mut Effects) {
    for items in items.chunks(limits::IDS_PER_MESSAGE_MAX) {
        let items = items.to_vec();
        out.send(from, Message::Want(Want { with_keys, items }));
    }
}

fn refresh(context: &mut Context, now: Now, out: &mut Effects) {
    let network = Arc::clone(&context.network);
    if context.view.refresh(&network, now) {
        out.report(Event::MembersChanged(context.view.snapshot()));
    }
}

/// A few members that can be reached, without this relay: one of all, so that nobody can be kept apart from the
/// others, and for the rest some with which there are links anyway ([GOS-2]).
pub(crate) fn partners(context: &Context) -> Vec<NodeId> {
    let mut chosen = Vec::new();
    add_partners(context, 1, members(context), &mut chosen);
    let rest = limits::MEMBERS_RECONCILE_PARTNERS;
    add_partners(context, rest, context.neighbours.clone(), &mut chosen);
    add_partners(context, rest, members(context), &mut chosen);
    chosen
}

/// A few members with which there are links anyway; without such, [`partners`].
pub(crate) fn neighbours(context: &Context, number: usize) -> Vec<NodeId> {
    let mut chosen = Vec::new();
    add_partners(context, number, context.neighbours.clone(), &mut chosen);
    if chosen.is_empty() {
        chosen = partners(context);
    }
    chosen
}

fn members(context: &Context) -> Vec<NodeId> {
    let snapshot = context.view.snapshot();
    snapshot.iter().map(|member| member.id()).collect()
}

/// Draws from `among` until there are `number`.
fn add_partners(
    context: &Context,
    number: usize,
    mut among: Vec<NodeId>,
    chosen: &mut Vec<NodeId>,
) {
    among.retain(|id| *id != context.me && !context.is_gone(id) && !chosen.contains(id));
    while chosen.len() < number && !among.is_empty() {
        let count = u64::try_from(among.len()).unwrap_or(1);
        let at = usize::try_from(context.rng.borrow_mut().next_u64() % count).unwrap_or(0);
        chosen.push(among.swap_remove(at));
    }
}

/// A third of ten minutes of the network's calendar, give or take a tenth, so that relays do not fall into step.
fn round_pause(context: &Context) -> Duration {
    let pause = context
        .network
        .scale
        .minutes(limits::MEMBERS_RECONCILE_MINUTES);
    let partners = u32::try_from(limits::MEMBERS_RECONCILE_PARTNERS).unwrap_or(1);
    let pause = pause / partners.max(1);
    let tenth = u64::try_from(pause.as_millis() / 10).unwrap_or(1).max(1);
    pause + Duration::from_millis(context.rng.borrow_mut().next_u64() % tenth)
}

fn items(snapshot: &Snapshot) -> Vec<[u8; 32]> {
    snapshot
        .iter()
        .map(|member| *member.verified().item())
        .collect()
}

fn with_keys(member: &Arc<Member>) -> RecordWithKeys {
    RecordWithKeys {
        record: member.record().clone(),
        keys: member.keys().clone(),
    }
}

fn without_keys(member: &Arc<Member>) -> RecordWithKeys {
    RecordWithKeys {
        record: member.record().clone(),
        keys: OnionKeys::default(),
    }
}

/// How long nobody else is asked for what one relay was asked for.
const ON_ITS_WAY: Duration = Duration::from_secs(10);
/// Records of which keys are asked for in a round: what was lost on the way, no whole list.
const KEYS_PER_ROUND_MAX: usize = 64;

#[cfg(test)]
mod tests;
