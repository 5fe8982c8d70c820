//! How what watchers say gets around: to those who watch the same relays at once, and to everybody once it changes
//! what a relay counts as.
//!
//! A testimony is longer than all that must be said to know that one has it. So relays tell each other how the items of
//! what is news to them begin, and ask for what they lack ([STD-13]). Source: `docs/spec/standing.md`.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use rand_core::Rng;

use super::Standing;
use crate::context::Context;
use crate::effects::Effects;
use crate::id::NodeId;
use crate::limits;
use crate::members::gossip::neighbours;
use crate::time::Now;
use crate::wire::Message;
use crate::wire::proof::Proof;
use crate::wire::standing::{About, Heads, ITEM_HEAD_BYTES, Testimony};

impl Standing {
    /// Those who watch the same relays are told at once: they count what is said before they say it too ([STD-5]).
    pub(super) fn tell_watchers(
        &mut self,
        context: &Context,
        testimony: &Testimony,
        out: &mut Effects,
    ) {
        let mut told = BTreeSet::new();
        for About { subject, words } in &testimony.about {
            if !words.last {
                let watchers = self.heard.watchers(context, testimony.epoch, subject);
                told.extend(watchers.ids().iter().copied());
            }
        }
        told.retain(|id| *id != context.me && !context.is_away(id) && !context.is_gone(id));
        for watcher in told {
            self.tell(watcher, core::slice::from_ref(testimony), &[], out);
        }
    }

    /// What is to be passed on soon ([STD-13]).
    pub(super) fn is_news(
        &mut self,
        context: &Context,
        now: Now,
        items: impl IntoIterator<Item = [u8; 32]>,
    ) {
        let room = limits::NEWS_MAX.saturating_sub(self.news.len());
        self.news.extend(items.into_iter().take(room));
        if self.pass_on_at.is_none() && !self.news.is_empty() {
            let more = context.rng.borrow_mut().next_u64() % PASS_ON_MORE_MS;
            let pause = PASS_ON_PAUSE + Duration::from_millis(more);
            self.pass_on_at = Some(now.mono.plus(pause));
        }
    }

    /// Tells a few members what is news: proofs as they are, and of testimonies how their items begin.
    pub(super) fn pass_on(&mut self, context: &Context, out: &mut Effects) {
        self.pass_on_at = None;
        let news = core::mem::take(&mut self.news);
        let proofs = news.iter().filter_map(|item| self.proofs.find(item));
        let proofs: Vec<Proof> = proofs.cloned().collect();
        let held = news.iter().filter(|item| self.heard.find(item).is_some());
        let heads: Vec<[u8; ITEM_HEAD_BYTES]> = held.filter_map(head_of).collect();
        for partner in neighbours(context, NEWS_TOLD) {
            self.tell(partner, &[], &proofs, out);
            self.say(partner, false, &heads, out);
        }
    }

    /// Another relay has something new, or wants what this one has.
    pub(crate) fn heads(&mut self, from: NodeId, said: &Heads, out: &mut Effects) {
        self.counts.bytes += 3 + (ITEM_HEAD_BYTES * said.heads.len()) as u64;
        let found = |head: &[u8; ITEM_HEAD_BYTES]| self.heard.beginning(head);
        if said.wanted {
            let found: Vec<Testimony> = said.heads.iter().filter_map(found).cloned().collect();
            self.tell(from, &found, &[], out);
        } else {
            let mut lacking = said.heads.clone();
            lacking.retain(|head| found(head).is_none());
            self.say(from, true, &lacking, out);
        }
    }

    fn say(
        &mut self,
        to: NodeId,
        wanted: bool,
        heads: &[[u8; ITEM_HEAD_BYTES]],
        out: &mut Effects,
    ) {
        for heads in heads.chunks(limits::IDS_PER_MESSAGE_MAX) {
            let heads = heads.to_vec();
            self.send(to, Message::Heads(Heads { wanted, heads }), out);
        }
    }
}

fn head_of(item: &[u8; 32]) -> Option<[u8; ITEM_HEAD_BYTES]> {
    item.first_chunk().copied()
}

/// Relays to whom news is passed on: 98 of a hundred hear of it so, and the others from the next comparison. With three
/// it would be 94.
const NEWS_TOLD: usize = 4;
/// News waits so long for more to go with it, and up to so many milliseconds more: who is told by several relays is not
/// to be told by all of them at once, before it has asked one.
const PASS_ON_PAUSE: Duration = Duration::from_secs(1);
const PASS_ON_MORE_MS: u64 = 2_000;
