//! Choosing the four relays of a path: guard, second layer, middle, holder.
//!
//! Only from a whole, verified member list, never by asking around for one relay ([PTH-1]). The guard and
//! the second layer are pinned and kept ([PTH-2]); no two relays of a path share a /16 (/32) or a family
//! ([PTH-3]). The holder is given; the others are chosen around it.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use rand_chacha::ChaCha12Rng;
use rand_core::Rng;

use crate::id::NodeId;
use crate::members::{Address, Member, Snapshot, Subnet};
use crate::network::Network;
use crate::time::{TimeScale, UnixTime};

/// Four relays, in the order in which an onion meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Guard, second layer, middle, holder.
    pub hops: [NodeId; 4],
}

impl Path {
    /// The relay that the correspondent links to.
    pub fn guard(&self) -> NodeId {
        self.hops[0]
    }

    /// The relay that is asked.
    pub fn holder(&self) -> NodeId {
        self.hops[3]
    }
}

/// A relay that is kept for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The relay.
    pub id: NodeId,
    /// When another one is chosen in its place.
    pub until: UnixTime,
}

/// The relays that a correspondent keeps using; to be kept durably ([PTH-2]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pinned {
    /// The guard, and one more for when it is down.
    pub guards: Vec<Pin>,
    /// The second layer.
    pub second: Vec<Pin>,
}

impl Pinned {
    /// Drops pins that ended or whose relay left, and fills up. True if something changed.
    pub(super) fn renew(
        &mut self,
        snapshot: &Snapshot,
        guards: &[NodeId],
        network: &Network,
        now: UnixTime,
        rng: &mut ChaCha12Rng,
    ) -> bool {
        let before = self.clone();
        let stays = |pin: &Pin| pin.until > now && snapshot.find(&pin.id).is_some();
        self.guards.retain(stays);
        self.second.retain(stays);
        let scale = network.scale;
        fill(&mut self.guards, GUARDS, guards, &[], rng, |rng| {
            now.plus(scale.minutes(between(rng, GUARD_DAYS, scale)))
        });
        let taken: Vec<NodeId> = self.guards.iter().map(|pin| pin.id).collect();
        fill(&mut self.second, SECOND_LAYER, guards, &taken, rng, |rng| {
            now.plus(scale.minutes(between(rng, SECOND_DAYS, scale)))
        });
        before != *self
    }

    /// The first guard is down: the other one is tried first from here on, also by the next run of the program,
    /// which would wait for the dead one again. Both stay pinned ([PTH-2]). True if something changed.
    pub(super) fn put_last(&mut self, guard: &NodeId) -> bool {
        let is_first = self.guards.first().is_some_and(|pin| pin.id == *guard);
        if is_first && self.guards.len() > 1 {
            self.guards.rotate_left(1);
        }
        is_first && self.guards.len() > 1
    }
}

/// What a path must be chosen from and around.
pub(super) struct Choice<'a> {
    pub(super) network: &'a Network,
    pub(super) snapshot: &'a Snapshot,
    pub(super) pinned: &'a Pinned,
    /// Relays that failed a moment ago.
    pub(super) avoid: &'a BTreeSet<NodeId>,
}

impl Choice<'_> {
    /// A path to `holder`, or `None` if the member list has none that keeps the rules.
    pub(super) fn path(&self, holder: NodeId, rng: &mut ChaCha12Rng) -> Option<Path> {
        let holder = self.snapshot.find(&holder)?;
        let fits = |chosen: &[&Member], next: &Member| self.fits(chosen, next);
        let guard = self.pick_pinned(&self.pinned.guards, false, &[holder], rng)?;
        let second = self.pick_pinned(&self.pinned.second, true, &[holder, guard], rng);
        let any = |chosen: &[&Member], rng: &mut ChaCha12Rng| {
            let candidates = self.snapshot.iter().map(AsRef::as_ref).filter(|member| {
                !self.avoid.contains(&member.id())
                    && !member.record().leaving
                    && fits(chosen, member)
            });
            let candidates: Vec<&Member> = candidates.collect();
            pick(&candidates, rng).copied()
        };
        let second = match second {
            Some(second) => second,
            None => any(&[holder, guard], rng)?,
        };
        let middle = any(&[holder, guard, second], rng)?;
        Some(Path {
            hops: [guard.id(), second.id(), middle.id(), holder.id()],
        })
    }

    /// One of `pins` that fits: the first one if order matters, any otherwise.
    fn pick_pinned(
        &self,
        pins: &[Pin],
        any: bool,
        chosen: &[&Member],
        rng: &mut ChaCha12Rng,
    ) -> Option<&Member> {
        let usable: Vec<&Member> = pins
            .iter()
            .filter(|pin| !self.avoid.contains(&pin.id))
            .filter_map(|pin| self.snapshot.find(&pin.id).map(AsRef::as_ref))
            .filter(|member| self.fits(chosen, member))
            .collect();
        if any {
            pick(&usable, rng).copied()
        } else {
            usable.first().copied()
        }
    }

    fn fits(&self, chosen: &[&Member], next: &Member) -> bool {
        chosen
            .iter()
            .all(|other| other.id() != next.id() && !self.related(other, next))
    }

    fn related(&self, one: &Member, other: &Member) -> bool {
        let family = one.record().family;
        if family != [0; 8] && family == other.record().family {
            return true;
        }
        self.network.caps.per_path != 0
            && large_subnets(one).any(|subnet| large_subnets(other).any(|also| also == subnet))
    }
}

/// The /16 or /32 of each of its addresses.
fn large_subnets(member: &Member) -> impl Iterator<Item = Subnet> + '_ {
    member
        .record()
        .addresses
        .iter()
        .flatten()
        .map(Address::subnet_large)
}

fn fill(
    pins: &mut Vec<Pin>,
    wanted: usize,
    from: &[NodeId],
    taken: &[NodeId],
    rng: &mut ChaCha12Rng,
    mut until: impl FnMut(&mut ChaCha12Rng) -> UnixTime,
) {
    while pins.len() < wanted {
        let free: Vec<NodeId> = from
            .iter()
            .filter(|id| !taken.contains(id) && pins.iter().all(|pin| pin.id != **id))
            .copied()
            .collect();
        let Some(id) = pick(&free, rng) else { return };
        pins.push(Pin {
            id: *id,
            until: until(rng),
        });
    }
}

pub(super) fn pick<'a, T>(from: &'a [T], rng: &mut ChaCha12Rng) -> Option<&'a T> {
    let count = u64::try_from(from.len()).ok().filter(|count| *count > 0)?;
    from.get(usize::try_from(rng.next_u64() % count).ok()?)
}

/// A number of minutes between two numbers of days of the network's calendar.
fn between(rng: &mut ChaCha12Rng, days: (u64, u64), _scale: TimeScale) -> u64 {
    let (from, to) = (days.0 * 1_440, days.1 * 1_440);
    from + rng.next_u64() % (to - from)
}

/// One guard, and one more for when it is down.
const GUARDS: usize = 2;
/// Days a guard is kept: two to three months, so that over a year few relays ever see the correspondent.
const GUARD_DAYS: (u64, u64) = (60, 90);
/// Relays of the second layer: few, so that whoever wants to find the guard must be one of them.
const SECOND_LAYER: usize = 4;
/// Days a relay stays in the second layer: between 1 and 12, each for itself.
const SECOND_DAYS: (u64, u64) = (1, 12);

#[cfg(test)]
mod tests;
