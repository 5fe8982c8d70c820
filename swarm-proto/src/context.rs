//! What all roles of one relay share: who it is, its network, and its view of the members.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;

use rand_chacha::ChaCha12Rng;

use crate::id::{NetworkId, NodeId, NodeKey};
use crate::limits;
use crate::members::possession::Possession;
use crate::members::presence::Presence;
use crate::members::view::View;
use crate::network::Network;
use crate::place::{Cell, Placement};
use crate::standing::Said;
use crate::time::Epoch;

/// Shared by reference between the roles of one relay.
#[derive(Debug)]
pub(crate) struct Context {
    /// This relay.
    pub(crate) me: NodeId,
    /// Its key.
    pub(crate) key: NodeKey,
    /// Its network.
    pub(crate) network: Arc<Network>,
    /// The network's id.
    pub(crate) network_id: NetworkId,
    /// All chance of this relay.
    pub(crate) rng: RefCell<ChaCha12Rng>,
    /// The members as this relay knows them.
    pub(crate) view: View,
    /// Relays that the links could not reach.
    pub(crate) gone: BTreeSet<NodeId>,
    /// Which relays have been away for longer.
    pub(crate) presence: Presence,
    /// What other relays were found to have of what they had.
    pub(crate) possession: RefCell<Possession>,
    /// What watchers say together.
    pub(crate) said: Said,
    /// Relays with which it keeps links anyway: those that it watches and that are there ([STD-3]).
    pub(crate) neighbours: Vec<NodeId>,
    /// Whether its clock was found to be off ([CLK-3]).
    pub(crate) clock_off: bool,
}

impl Context {
    /// The relays around a cell.
    pub(crate) fn placement(&self, epoch: Epoch, cell: Cell) -> Arc<Placement> {
        self.view.placement(&self.network, epoch, cell)
    }

    /// The other holders of a cell.
    pub(crate) fn siblings(&self, epoch: Epoch, cell: Cell) -> Vec<NodeId> {
        let placement = self.placement(epoch, cell);
        placement
            .holders()
            .iter()
            .filter(|holder| **holder != self.me)
            .copied()
            .collect()
    }

    /// W.
    pub(crate) fn w(&self) -> usize {
        usize::from(self.network.receipts)
    }

    /// Whether a relay is not there: away by what its watchers say or, where none speak, by own tries; or in
    /// no list any more ([REP-1]).
    pub(crate) fn is_away(&self, id: &NodeId) -> bool {
        let is_absent = if self.said.speaks {
            self.said.absent.contains(id)
        } else {
            self.presence.is_away(id)
        };
        *id != self.me && (is_absent || self.view.snapshot().find(id).is_none())
    }

    /// Whether a relay is not counted on: it loses too much of what it had as this one found ([SWP-7]), a
    /// majority of its watchers wants it suspended ([STD-9]), or what it signed convicts it ([EVD-3]).
    pub(crate) fn is_failed(&self, id: &NodeId) -> bool {
        self.said.expelled.contains(id)
            || self.said.condemned.contains(id)
            || self.possession.borrow().is_failed(id)
    }

    /// Whether a relay is there so seldom that others take over what it holds ([STD-11]).
    pub(crate) fn is_rare(&self, id: &NodeId) -> bool {
        self.said.rare.contains(id)
    }

    /// Whether a relay is left out of the keepers for what it did and not because it is gone: it is compared with
    /// and swept as before, so that it can come back ([SWP-7], [STD-11]).
    pub(crate) fn is_left_out(&self, id: &NodeId) -> bool {
        self.is_failed(id) || self.is_rare(id)
    }

    /// Whether a relay has said that it leaves for good.
    fn leaves(&self, id: &NodeId) -> bool {
        let members = self.view.snapshot();
        members.find(id).is_some_and(|one| one.record().leaving)
    }

    /// Whether this relay has said that it leaves for good.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaves(&self.me)
    }

    /// The relays that are to keep a cell: the first R in rank that do not leave, those that are there seldom after
    /// all others, or, once too few of them are present, the first R that are ([REP-1], [STD-11]).
    pub(crate) fn keepers(&self, placement: &Placement) -> Vec<NodeId> {
        let r = placement.holders().len();
        let mut stay = placement.ranked().to_vec();
        stay.retain(|id| !self.leaves(id));
        // A stable order: where too few others are left, they keep what they can.
        stay.sort_by_key(|id| self.is_rare(id));
        let holders = stay.get(..r).unwrap_or(&stay);
        let is_present = |id: &NodeId| !self.is_away(id) && !self.is_failed(id);
        let present = holders.iter().filter(|id| is_present(id)).count();
        if present < usize::from(self.network.repair_below).min(r) {
            stay.retain(is_present);
        }
        stay.truncate(r);
        stay
    }

    /// Whether a relay may be given what is in a cell: it takes copies of it by rank, or stands in for one
    /// that is away ([PLC-5], [REP-1]).
    pub(crate) fn may_keep(&self, epoch: Epoch, cell: Cell, id: &NodeId) -> bool {
        let placement = self.placement(epoch, cell);
        placement.takes_copy(id) || self.keepers(&placement).contains(id)
    }

    /// Whether the links could not reach that relay.
    pub(crate) fn is_gone(&self, id: &NodeId) -> bool {
        self.gone.contains(id)
    }

    /// Notes that the links could not reach a relay; bounded by the member list's own bound.
    pub(crate) fn lost(&mut self, id: NodeId) {
        if self.gone.len() < limits::MEMBERS_MAX {
            self.gone.insert(id);
        }
    }
}
