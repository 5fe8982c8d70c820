//! What all roles of one relay share: who it is, its network, and its view of the members.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;

use rand_chacha::ChaCha12Rng;

use crate::id::{NetworkId, NodeId, NodeKey};
use crate::limits;
use crate::members::view::View;
use crate::network::Network;
use crate::place::{Cell, Placement};
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
