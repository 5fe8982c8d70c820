//! Identifiers, one type each, so that a mailbox can never be passed where a relay is meant.
//!
//! All are 32 opaque bytes. `Debug` and `Display` show the first four bytes only: enough to follow one
//! thing through a log, too little to name it to somebody else. Full text is made on purpose, with
//! [`NodeId::to_hex`] and its like.

use alloc::string::String;
use core::fmt;

use crate::hash;

macro_rules! id32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// All 32 bytes as 64 lower-case hexadecimal digits.
            pub fn to_hex(&self) -> String {
                hex(&self.0)
            }

            /// Reads 64 hexadecimal digits; `None` for anything else.
            pub fn from_hex(text: &str) -> Option<Self> {
                unhex32(text).map(Self)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), Short(&self.0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", Short(&self.0))
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
    };
}

id32! {
    /// A relay's Ed25519 public key: its identity on links, in records and on receipts.
    NodeKey
}
id32! {
    /// A relay's position in the swarm: `derive("poste node", NodeKey)` ([ID-1]).
    NodeId
}
id32! {
    /// The hash of a network's genesis; two networks never talk to each other ([NET-1]).
    NetworkId
}
id32! {
    /// Where letters wait for one epoch: `derive("poste address", flags | K | W)` ([ADR-4]).
    MailboxAddress
}
id32! {
    /// BLAKE3 of the whole envelope ([ENV-3]).
    EnvelopeId
}

impl NodeKey {
    /// The relay's position in the swarm ([ID-1]).
    pub fn node_id(&self) -> NodeId {
        NodeId(hash::derive("poste node", &[&self.0]))
    }
}

impl NodeId {
    /// The first 8 bytes: how eligible lists name relays.
    pub fn short(&self) -> [u8; 8] {
        let mut short = [0; 8];
        for (to, from) in short.iter_mut().zip(self.0) {
            *to = from;
        }
        short
    }
}

struct Short<'a>(&'a [u8; 32]);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .take(4)
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('?');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

fn unhex32(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let nibble = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|n| u8::try_from(n).ok())
    };
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = (nibble(*high)? << 4) | nibble(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_text_comes_back_and_nothing_else_is_taken() {
        let id = NodeKey([0xa7; 32]).node_id();
        assert_eq!(NodeId::from_hex(&id.to_hex()), Some(id));
        assert_eq!(NodeId::from_hex("a7"), None);
        assert_eq!(NodeId::from_hex(&"g".repeat(64)), None);
        assert_eq!(NodeId::from_hex(&"é".repeat(32)), None);
    }

    /// [ID-1].
    #[test]
    fn a_node_id_is_the_hash_of_its_key_under_its_own_context() {
        let key = NodeKey([7; 32]);
        assert_eq!(key.node_id().0, blake3::derive_key("poste node", &key.0));
        assert_ne!(key.node_id(), NodeKey([8; 32]).node_id());
    }

    #[test]
    fn a_log_line_shows_four_bytes_of_an_id() {
        let id = MailboxAddress([0xab; 32]);
        assert_eq!(alloc::format!("{id}"), "abababab");
        assert_eq!(alloc::format!("{id:?}"), "MailboxAddress(abababab)");
    }
}
