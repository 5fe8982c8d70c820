//! Comparisons that one relay has open about one set: its member list, or what watchers said.
//!
//! What is compared and what is done with the difference is the caller's. Source: `docs/spec/reconcile.md`,
//! `docs/spec/members.md`.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use rand_core::Rng;

use crate::context::Context;
use crate::id::NodeId;
use crate::limits;
use crate::reconcile::{Reconciler, Step};
use crate::time::{Instant, Now};
use crate::wire::members::Reconcile;

/// Those under way.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    under_way: BTreeMap<Key, Exchange>,
    next: u32,
}

/// The other side, its number of the exchange, and whether this side opened it.
type Key = (NodeId, u32, bool);

#[derive(Debug)]
struct Exchange {
    side: Reconciler,
    ends: Instant,
    differed: bool,
}

/// What a step led to.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Items that the other side has and this one lacks.
    pub(crate) want: Vec<[u8; 32]>,
    /// What to say.
    pub(crate) reply: Option<Reconcile>,
    /// The comparison is over, and both sides had the same.
    pub(crate) equal: bool,
}

impl Exchanges {
    /// Opens one about `items`; nothing if as many are under way as may be ([GOS-5]).
    pub(crate) fn open(
        &mut self,
        context: &Context,
        now: Now,
        to: NodeId,
        items: impl IntoIterator<Item = [u8; 32]>,
    ) -> Option<Reconcile> {
        self.drop_ended(now);
        if self.under_way.len() >= limits::EXCHANGES_MAX {
            return None;
        }
        let mut key = [0; 32];
        context.rng.borrow_mut().fill_bytes(&mut key);
        let mut side = Reconciler::opener(items, key);
        let ranges = side.open();
        let exchange = self.next;
        self.next = exchange.wrapping_add(1);
        self.add((to, exchange, true), side, now);
        Some(Reconcile {
            exchange,
            step: 1,
            ranges,
        })
    }

    /// A step of the other side; `items` are asked for if it opens one.
    pub(crate) fn step<I: IntoIterator<Item = [u8; 32]>>(
        &mut self,
        now: Now,
        from: NodeId,
        message: &Reconcile,
        items: impl FnOnce() -> I,
    ) -> Option<Progress> {
        let opened_here = message.step.is_multiple_of(2);
        let key = (from, message.exchange, opened_here);
        let step = if message.step == 1 {
            self.accept(now, key, message, items)
        } else {
            let side = &mut self.under_way.get_mut(&key)?.side;
            side.answer(message.ranges.clone()).ok()
        };
        let Some(step) = step else {
            self.under_way.remove(&key);
            return None;
        };
        let differed = !step.have.is_empty() || !step.want.is_empty();
        let differed = self.under_way.get_mut(&key).is_some_and(|exchange| {
            exchange.differed |= differed;
            exchange.differed
        });
        // Once nothing is left to compare, the other side has nothing to answer, and room is made at once.
        if step.settled || step.reply.is_none() {
            self.under_way.remove(&key);
        }
        let reply = step.reply.map(|ranges| Reconcile {
            exchange: message.exchange,
            step: message.step.saturating_add(1),
            ranges,
        });
        Some(Progress {
            want: step.want,
            reply,
            equal: step.settled && !differed,
        })
    }

    fn accept<I: IntoIterator<Item = [u8; 32]>>(
        &mut self,
        now: Now,
        key: Key,
        message: &Reconcile,
        items: impl FnOnce() -> I,
    ) -> Option<Step> {
        self.drop_ended(now);
        self.under_way.remove(&key);
        let of_this_peer = self.under_way.keys().filter(|(peer, _, _)| *peer == key.0);
        if self.under_way.len() >= limits::EXCHANGES_MAX
            || of_this_peer.count() >= EXCHANGES_PER_PEER_MAX
        {
            return None;
        }
        let (side, step) = Reconciler::accept(items(), message.ranges.clone()).ok()?;
        self.add(key, side, now);
        Some(step)
    }

    fn add(&mut self, key: Key, side: Reconciler, now: Now) {
        let exchange = Exchange {
            side,
            ends: now.mono.plus(EXCHANGE_LIFE),
            differed: false,
        };
        self.under_way.insert(key, exchange);
    }

    fn drop_ended(&mut self, now: Now) {
        self.under_way
            .retain(|_, exchange| exchange.ends > now.mono);
    }
}

/// How long an exchange may take: a few round trips between slow links.
const EXCHANGE_LIFE: Duration = Duration::from_secs(30);
/// Exchanges that one other relay may have open here ([GOS-5]).
const EXCHANGES_PER_PEER_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::testing;
    use crate::rig::Rig;

    fn opening(exchange: u32) -> Reconcile {
        Reconcile {
            exchange,
            step: 1,
            ranges: Reconciler::opener([[1; 32]], [0; 32]).open(),
        }
    }

    /// [GOS-5]
    #[test]
    fn exchanges_are_bounded_by_peer_and_in_all_and_end_by_themselves() {
        let rig = Rig::new(4);
        let (context, mut now) = (rig.view_of(0), rig.now);
        let mut exchanges = Exchanges::default();
        let peer = |number: usize| testing::key(u32::try_from(number).unwrap()).node_id();
        let accept = |exchanges: &mut Exchanges, now, from, number| {
            exchanges
                .step(now, from, &opening(number), || [[2; 32]])
                .is_some()
        };
        for exchange in 0..10 {
            accept(&mut exchanges, now, peer(0), exchange);
        }
        assert_eq!(exchanges.under_way.len(), EXCHANGES_PER_PEER_MAX);
        for number in 1..100 {
            accept(&mut exchanges, now, peer(number), 0);
            exchanges.open(&context, now, peer(number), [[2; 32]]);
        }
        assert_eq!(exchanges.under_way.len(), limits::EXCHANGES_MAX);
        now.mono = now.mono.plus(EXCHANGE_LIFE);
        assert!(
            accept(&mut exchanges, now, peer(200), 0),
            "one that was lost blocks nobody"
        );
        assert_eq!(exchanges.under_way.len(), 1);
    }
}
