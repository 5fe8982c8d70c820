//! The cryptography that machines and doors ask for, behind one trait: the real one, a faster one for
//! relays, and one without secrets that lets a simulator run thousands of relays.
//!
//! Keys and randomness come from the caller.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use zeroize::Zeroizing;

use crate::id::NetworkId;

pub mod null;

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature")
    }
}

/// A relay's public onion key of one generation: X-Wing, 1,216 bytes, shared by all who know it.
#[derive(Clone, PartialEq, Eq)]
pub struct OnionPublicKey(pub Arc<[u8; ONION_PUBLIC_KEY_BYTES]>);

impl fmt::Debug for OnionPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnionPublicKey")
    }
}

/// Bytes of an X-Wing public key.
pub const ONION_PUBLIC_KEY_BYTES: usize = 1_216;
/// Bytes of an X-Wing ciphertext.
pub const KEM_CIPHERTEXT_BYTES: usize = 1_120;
/// Bytes of randomness that an encapsulation takes: 32 for ML-KEM, 32 for X25519.
pub const ENCAPSULATION_SEED_BYTES: usize = 64;

/// An X-Wing ciphertext.
pub type KemCiphertext = [u8; KEM_CIPHERTEXT_BYTES];
/// What both ends of an encapsulation share.
pub type SharedSecret = Zeroizing<[u8; 32]>;

/// The cryptography of machines and doors.
pub trait Crypto: Send + Sync {
    /// Whether `signature` over `statement` is `key`'s, judged strictly: canonical encodings, no key of
    /// small order.
    fn verify(&self, key: &[u8; 32], statement: &[u8], signature: &Signature) -> bool;

    /// Signs `statement`.
    fn sign(&self, key: &SecretKey, statement: &[u8]) -> Signature;

    /// Makes a shared secret for the owner of `to` out of `seed`. `None` if `to` is no valid key.
    fn encapsulate(
        &self,
        to: &OnionPublicKey,
        seed: &[u8; ENCAPSULATION_SEED_BYTES],
    ) -> Option<(Box<KemCiphertext>, SharedSecret)>;

    /// Expands the secret onion key of one generation from its 32-byte seed, once, for many uses.
    fn onion_key(&self, seed: &[u8; 32]) -> OnionKey;
}

/// One generation of a relay's onion key, ready for use.
pub struct OnionKey {
    /// What others encapsulate to.
    pub public: OnionPublicKey,
    /// What opens it.
    pub secret: Box<dyn Decapsulate>,
}

/// The secret half of an onion key, expanded.
pub trait Decapsulate: Send + Sync {
    /// The shared secret of a ciphertext. `None` if its X25519 part is non-contributory; a ciphertext
    /// that is wrong otherwise gives a secret that nobody shares.
    fn decapsulate(&self, ciphertext: &KemCiphertext) -> Option<SharedSecret>;
}

/// An Ed25519 secret key, also a blinded one. Erased from memory when dropped.
pub struct SecretKey {
    expanded: ExpandedSecretKey,
    public: [u8; 32],
}

impl SecretKey {
    /// Expands a 32-byte seed as RFC 8032 does.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self::from_expanded(ExpandedSecretKey::from(seed))
    }

    /// Takes a scalar and a nonce prefix, as blinding makes them.
    pub fn from_expanded(expanded: ExpandedSecretKey) -> Self {
        let public = ed25519_dalek::VerifyingKey::from(&expanded).to_bytes();
        Self { expanded, public }
    }

    /// The public key.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The expanded key, for blinding.
    pub(crate) fn expanded(&self) -> &ExpandedSecretKey {
        &self.expanded
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey")
    }
}

/// The bytes that a signature covers: `label | network id | parts` ([SIG-1]).
pub fn statement(label: &Label, network: &NetworkId, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(192);
    bytes.extend_from_slice(label.0);
    bytes.extend_from_slice(&network.0);
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}

/// What kind of statement a signature is for ([SIG-1]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(&'static [u8]);

impl Label {
    /// A deposit, by the write key.
    pub const DEPOSIT: Self = Self(b"poste deposit 1\0");
    /// A fetch, by the read key.
    pub const FETCH: Self = Self(b"poste fetch 1\0");
    /// A deletion, by the read key.
    pub const DELETE: Self = Self(b"poste delete 1\0");
    /// A card, by the read key.
    pub const CARD: Self = Self(b"poste card 1\0");
    /// A request for a card, by the write key.
    pub const CARD_ASK: Self = Self(b"poste card-ask 1\0");
    /// Leave to stay 30 days, by the read key.
    pub const LONG_STAY: Self = Self(b"poste long-stay 1\0");
    /// A receipt, by the holder.
    pub const RECEIPT: Self = Self(b"poste receipt 1\0");
    /// A member record, by the relay.
    pub const RECORD: Self = Self(b"poste record 1\0");
    /// The opening of a sweep, by the relay that opens it.
    pub const SWEEP_OPEN: Self = Self(b"poste sweep-open 1\0");
    /// The proof of the relay that is swept.
    pub const SWEEP_REPLY: Self = Self(b"poste sweep-reply 1\0");
    /// All items and tags of one side of a sweep, by that side.
    pub const SWEEP_LISTING: Self = Self(b"poste sweep-listing 1\0");
    /// What a watcher says, by the watcher.
    pub const TESTIMONY: Self = Self(b"poste testimony 1\0");
    /// What a relay says of the disk that it has pledged, by that relay.
    pub const PLEDGE_ANSWER: Self = Self(b"poste pledge-answer 1\0");
}

/// The real signatures, shared by every real provider.
pub fn verify_strict(key: &[u8; 32], statement: &[u8], signature: &Signature) -> bool {
    let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(key) else {
        return false;
    };
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    key.verify_strict(statement, &signature).is_ok()
}

/// The real signatures, shared by every real provider.
pub fn sign(key: &SecretKey, statement: &[u8]) -> Signature {
    let Ok(public) = ed25519_dalek::VerifyingKey::from_bytes(&key.public) else {
        return Signature([0; 64]);
    };
    Signature(raw_sign::<sha2::Sha512>(&key.expanded, statement, &public).to_bytes())
}

#[cfg(test)]
mod published;

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn signatures_are_those_of_rfc_8032() {
        let seed = HEXLOWER
            .decode(b"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
            .unwrap();
        let key = SecretKey::from_seed(&seed.try_into().unwrap());
        assert_eq!(
            HEXLOWER.encode(key.public()),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        );
        let signature = sign(&key, &[0x72]);
        assert_eq!(
            HEXLOWER.encode(&signature.0),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
        assert!(verify_strict(key.public(), &[0x72], &signature));
        assert!(!verify_strict(key.public(), &[0x73], &signature));
    }

    #[test]
    fn a_key_of_small_order_signs_nothing() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut forged = [0; 64];
        forged[0] = 1;
        assert!(!verify_strict(&identity, b"anything", &Signature(forged)));
    }
}
