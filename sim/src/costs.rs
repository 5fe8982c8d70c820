//! What relays send each other, counted: messages and bytes by type, and the links that are opened for them.
//!
//! A link is one for both directions, is opened by whoever needs it first, and ends after seven minutes without a
//! message. What an opening and a message weigh beyond their frames was measured between two real endpoints
//! (`docs/decisions/0004-links.md`). Onions of personas are weighed as the frames that they travel in; what people
//! send and read is not counted, but copies of letters keep links open as they do outside.

use std::collections::BTreeMap;

use swarm_proto::envelope::SizeClass;
use swarm_proto::limits;
use swarm_proto::wire::Message;

use crate::host::Host;
use crate::road::Asker;
use crate::world::World;

/// Counts since [`World::count_costs`].
#[derive(Debug, Default)]
pub struct Costs {
    since_us: u64,
    by: BTreeMap<What, Cost>,
    /// When each pair last had something to say to each other.
    links: BTreeMap<(u32, u32), u64>,
}

/// What something was sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A message between relays, by its type on the wire.
    Message(u16),
    /// What a watcher says before the epoch is over, as it tells it itself: to the other watchers.
    Word,
    /// Onions and answers of personas.
    Persona,
}

/// All that was sent for one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Links that were opened for it.
    pub opened: u64,
}

impl Costs {
    /// What was counted, by what it was for.
    pub fn by(&self) -> impl Iterator<Item = (What, Cost)> + '_ {
        self.by.iter().map(|(what, cost)| (*what, *cost))
    }

    /// When counting began, in microseconds of the world.
    pub fn since_us(&self) -> u64 {
        self.since_us
    }

    fn add(&mut self, what: What, clock: u64, (from, to): (u32, u32), bytes: usize) {
        let pair = (from.min(to), from.max(to));
        let before = self.links.insert(pair, clock);
        let open = before.is_some_and(|before| before.saturating_add(LINK_IDLE_US) > clock);
        let cost = self.by.entry(what).or_default();
        cost.frames += 1;
        cost.bytes += FRAME_HEAD_BYTES + bytes as u64;
        cost.opened += u64::from(!open);
    }
}

impl World {
    /// Counts from now on what relays send each other, as if no link were open at this moment.
    pub fn count_costs(&mut self) {
        self.costs = Some(Costs {
            since_us: self.clock,
            ..Costs::default()
        });
    }

    /// What was counted.
    pub fn costs(&self) -> Option<&Costs> {
        self.costs.as_ref()
    }

    pub(crate) fn weigh_told(&mut self, from: u32, to: u32, message: &Message) {
        if let Some(costs) = &mut self.costs {
            let own = self.hosts.get(from as usize).map(Host::id);
            let what = match message {
                Message::Testimonies(some)
                    if some.iter().all(|one| {
                        one.number != u16::MAX && Some(one.watcher.node_id()) == own
                    }) =>
                {
                    What::Word
                }
                _ => What::Message(message.kind()),
            };
            costs.add(what, self.clock, (from, to), message.encode().len());
        }
    }

    /// An onion of a persona goes one hop on, and its answer will come back. The link to its guard is its `own`.
    pub(crate) fn weigh_onion(
        &mut self,
        asker: Asker,
        (from, to): (u32, u32),
        own: bool,
        body: usize,
        answer: SizeClass,
    ) {
        if let (Some(costs), Asker::Persona { .. }) = (&mut self.costs, asker) {
            let onion = if body <= SMALL_BODY_BYTES_MAX {
                limits::ONION_SMALL_BYTES
            } else {
                limits::ONION_LARGE_BYTES
            };
            let answer = match answer {
                SizeClass::Small => limits::ANSWER_SMALL_BYTES,
                SizeClass::Large => limits::ANSWER_LARGE_BYTES,
            };
            let hop = if own {
                (u32::MAX - from, to)
            } else {
                (from, to)
            };
            costs.add(What::Persona, self.clock, hop, onion);
            costs.add(What::Persona, self.clock, hop, answer);
        }
    }
}

/// How long a link is kept without a message ([LNK-7]).
const LINK_IDLE_US: u64 = 420_000_000;
/// What opening a link weighs, both directions and the headers of IPv4 and UDP together: 6,830 bytes in 15 datagrams.
pub const HANDSHAKE_BYTES: u64 = 7_250;
/// What a frame weighs beyond its own bytes: the datagram around it, and its acknowledgement.
pub const FRAME_OVERHEAD_BYTES: u64 = 131;
/// Type and length.
const FRAME_HEAD_BYTES: u64 = 6;
/// The longest body that travels in a small onion.
const SMALL_BODY_BYTES_MAX: usize = 3_500;
