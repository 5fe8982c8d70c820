//! The format that onions are held against: the `sphinx-packet` crate. X25519 alone, and a payload that
//! nobody can check before the last hop. With the payload of 1 KiB that is its default.

use sphinx_packet::SphinxPacketBuilder;
use sphinx_packet::constants::{
    DESTINATION_ADDRESS_LENGTH, IDENTIFIER_LENGTH, NODE_ADDRESS_LENGTH,
};
use sphinx_packet::header::delays::Delay;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use x25519_dalek::{PublicKey, StaticSecret};

/// A route of four relays and the secret of the first.
pub struct Sphinx {
    secret: StaticSecret,
    route: [Node; 4],
    destination: Destination,
}

impl Default for Sphinx {
    fn default() -> Self {
        let node = |n: u8| {
            let key = PublicKey::from(&StaticSecret::from([n; 32]));
            Node::new(NodeAddressBytes::from_bytes([n; NODE_ADDRESS_LENGTH]), key)
        };
        let address = DestinationAddressBytes::from_bytes([9; DESTINATION_ADDRESS_LENGTH]);
        Self {
            secret: StaticSecret::from([1; 32]),
            route: [node(1), node(2), node(3), node(4)],
            destination: Destination::new(address, [4; IDENTIFIER_LENGTH]),
        }
    }
}

impl Sphinx {
    /// Wraps half a KiB for the four relays in a payload of 1 KiB. `None` if the crate refuses.
    pub fn build(&self) -> Option<Vec<u8>> {
        let delays = [const { Delay::new_from_nanos(0) }; 4];
        let built = SphinxPacketBuilder::new()
            .with_payload_size(1_024)
            .build_packet([1; 512], &self.route, &self.destination, &delays);
        built.ok().map(|sphinx| sphinx.to_bytes())
    }

    /// Takes off the first relay's layer; whether that worked.
    pub fn peel(&self, bytes: &[u8]) -> bool {
        let read = sphinx_packet::SphinxPacket::from_bytes(bytes).ok();
        read.is_some_and(|sphinx| sphinx.process(&self.secret).is_ok())
    }
}
