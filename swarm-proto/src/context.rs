//! What all roles of one relay share: who it is, its network, and its view of the members.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rand_chacha::ChaCha12Rng;

use crate::id::{NetworkId, NodeId, NodeKey};
use crate::limits;
use crate::members::view::View;
use crate::network::Network;
use crate::place::Cell;
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
    pub(crate) rng: ChaCha12Rng,
    /// The members as this relay knows them.
    pub(crate) view: View,
    /// Relays that the links could not reach.
    pub(crate) gone: BTreeSet<NodeId>,
}

impl Context {
    /// The relays of a cell, best rank first: R holders and those after them whose receipts count.
    pub(crate) fn holders(&mut self, epoch: Epoch, cell: Cell) -> Arc<[NodeId]> {
        self.view.holders(&self.network, epoch, cell)
    }

    /// The holders of a cell and the first `spares` after them, without this relay.
    pub(crate) fn siblings(&self, epoch: Epoch, cell: Cell, spares: usize) -> Vec<NodeId> {
        let holders = self.view.holders_known(&self.network, epoch, cell);
        let wanted = self.r().saturating_add(spares);
        holders.iter().take(wanted).filter(|holder| **holder != self.me).copied().collect()
    }

    /// Whether this relay is among the first R + `slack` of `holders`.
    pub(crate) fn is_within(&self, holders: &[NodeId], slack: usize) -> bool {
        holders.iter().take(self.r().saturating_add(slack)).any(|holder| *holder == self.me)
    }

    /// R.
    pub(crate) fn r(&self) -> usize {
        usize::from(self.network.holders)
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
