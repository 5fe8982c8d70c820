//! A relay's disk: the model store behind a queue that takes time, and that a crash empties.
//!
//! Operations take effect in order, when they are answered. A crash loses what was not answered: some
//! operations of the queue's front may have reached the platter, the rest never did.

use std::collections::VecDeque;

use swarm_proto::effects::OpId;
use swarm_proto::id::EnvelopeId;
use swarm_proto::store::{MemStore, StoreDone, StoreOp};

use crate::adversary::{Hoard, Lie};
use crate::chance::Chance;

/// How fast a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpeed {
    /// A durable write takes this many microseconds at least.
    pub write_us: u64,
    /// And up to this many more.
    pub write_spread_us: u64,
    /// A read takes this many microseconds.
    pub read_us: u64,
}

/// One disk.
#[derive(Debug)]
pub struct Disk {
    speed: DiskSpeed,
    store: MemStore,
    waiting: VecDeque<(u64, OpId, StoreOp)>,
    free_at: u64,
    lie: Option<Lie>,
    hoard: Hoard,
}

impl Disk {
    /// An empty disk.
    pub fn new(speed: DiskSpeed) -> Self {
        Self {
            speed,
            store: MemStore::new(),
            waiting: VecDeque::new(),
            free_at: 0,
            lie: None,
            hoard: Hoard::default(),
        }
    }

    /// What its relay is told is not always the truth from here on.
    pub fn corrupt(&mut self, lie: Lie) {
        self.lie = Some(lie);
    }

    /// It says the truth again, by what it has.
    pub fn reform(&mut self) {
        self.lie = None;
    }

    /// Whether it lies.
    pub fn lies(&self) -> bool {
        self.lie.is_some()
    }

    /// Whether it has a sector that its relay has pledged.
    pub fn keeps_sector(&self, sector: u32) -> bool {
        self.lie.is_none_or(|lie| lie.keeps_sector(sector))
    }

    /// What its relay hoards, if that is its lie.
    pub fn hoard(&mut self) -> Option<&mut Hoard> {
        matches!(self.lie, Some(Lie::Fetches { .. })).then_some(&mut self.hoard)
    }

    /// Takes an operation in and says when it will be answered.
    pub fn ask(&mut self, now: u64, op: OpId, request: StoreOp, chance: &mut Chance) -> u64 {
        let spread = chance.below(self.speed.write_spread_us.max(1));
        let takes = if is_write(&request) {
            self.speed.write_us.saturating_add(spread)
        } else {
            self.speed.read_us
        };
        let at = self.free_at.max(now).saturating_add(takes);
        self.free_at = at;
        self.waiting.push_back((at, op, request));
        at
    }

    /// The operation that is done by `now`, carried out; `None` if the front of the queue is not due.
    pub fn finish(&mut self, now: u64) -> Option<(OpId, StoreOp, StoreDone)> {
        if self.waiting.front()?.0 > now {
            return None;
        }
        let (_, op, request) = self.waiting.pop_front()?;
        let instead = match self.lie {
            Some(Lie::Fetches { .. }) => self.hoard.instead(&request),
            Some(lie) => lie.instead(&request),
            None => None,
        };
        let mut done = instead.unwrap_or_else(|| self.store.apply(request.clone()));
        match self.lie {
            Some(Lie::Fetches { per_million }) => self.hoard.bend(per_million, &mut done),
            Some(lie) => lie.bend(&mut done),
            None => {}
        }
        Some((op, request, done))
    }

    /// The power goes: what was answered stays, of the rest a random first part.
    pub fn crash(&mut self, chance: &mut Chance) {
        let reached = chance.below(
            u64::try_from(self.waiting.len())
                .unwrap_or(0)
                .saturating_add(1),
        );
        for (_, _, request) in self
            .waiting
            .drain(..)
            .take(usize::try_from(reached).unwrap_or(0))
        {
            self.store.apply(request);
        }
        self.free_at = 0;
    }

    /// The disk is gone with all that was on it.
    pub fn destroy(&mut self) {
        *self = Self::new(self.speed);
    }

    /// Whether the envelope is durable here.
    pub fn has(&mut self, id: EnvelopeId) -> bool {
        self.store.apply(StoreOp::Have { ids: vec![id] }) == StoreDone::Have(vec![id])
    }

    /// Envelopes that are durable here.
    pub fn envelopes(&mut self) -> u64 {
        if let StoreDone::Usage(usage) = self.store.apply(StoreOp::Usage) {
            usage.envelopes
        } else {
            0
        }
    }
}

/// Operations that must reach the platter before they are answered.
fn is_write(request: &StoreOp) -> bool {
    match request {
        StoreOp::Put { .. }
        | StoreOp::Delete { .. }
        | StoreOp::PutCard { .. }
        | StoreOp::PutEntry { .. }
        | StoreOp::Expire { .. } => true,
        StoreOp::Page { .. }
        | StoreOp::Have { .. }
        | StoreOp::Read { .. }
        | StoreOp::Card { .. }
        | StoreOp::Usage
        | StoreOp::Cells { .. }
        | StoreOp::Inventory { .. }
        | StoreOp::Entries { .. }
        | StoreOp::Tags { .. } => false,
    }
}
