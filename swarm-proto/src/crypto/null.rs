//! A provider without secrets, for simulators: it keeps every size and every rule, so that onions and
//! receipts work end to end, but anybody could forge anything.
//!
//! Each operation is a hash instead of curve and lattice arithmetic, and books the processor time that
//! the real one would have taken, so that a virtual relay grows as tired as a real one. Whoever wants
//! secrecy or signatures must not use it. Source of the times: one core of a 2.45 GHz Zen 3, thread CPU
//! time, release build.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use zeroize::Zeroizing;

use super::{
    Crypto, Decapsulate, ENCAPSULATION_SEED_BYTES, KEM_CIPHERTEXT_BYTES, KemCiphertext,
    ONION_PUBLIC_KEY_BYTES, OnionKey, OnionPublicKey, SecretKey, SharedSecret, Signature,
};
use crate::hash;

/// The stand-in. Clones share one account of time.
#[derive(Clone, Debug, Default)]
pub struct NullCrypto {
    charged_ns: Arc<AtomicU64>,
}

impl NullCrypto {
    /// With nothing charged.
    pub fn new() -> Self {
        Self::default()
    }

    /// The time that real operations would have taken since the last call; the account starts again
    /// from zero.
    pub fn take_charged(&self) -> Duration {
        Duration::from_nanos(self.charged_ns.swap(0, Ordering::Relaxed))
    }

    fn charge(&self, ns: u64) {
        self.charged_ns.fetch_add(ns, Ordering::Relaxed);
    }
}

impl Crypto for NullCrypto {
    fn verify(&self, key: &[u8; 32], statement: &[u8], signature: &Signature) -> bool {
        self.charge(VERIFY_NS);
        stand_in(key, statement) == *signature
    }

    fn sign(&self, key: &SecretKey, statement: &[u8]) -> Signature {
        self.charge(SIGN_NS);
        stand_in(key.public(), statement)
    }

    fn encapsulate(
        &self,
        to: &OnionPublicKey,
        seed: &[u8; ENCAPSULATION_SEED_BYTES],
    ) -> Option<(Box<KemCiphertext>, SharedSecret)> {
        self.charge(ENCAPSULATE_NS);
        let mut ciphertext = Box::new([0; KEM_CIPHERTEXT_BYTES]);
        hash::derive_into("poste null ciphertext", &[seed], &mut ciphertext[..]);
        let secret = shared(to.0.last_chunk()?, &ciphertext);
        Some((ciphertext, secret))
    }

    fn onion_key(&self, seed: &[u8; 32]) -> OnionKey {
        self.charge(ONION_KEY_NS);
        let mut public = Box::new([0; ONION_PUBLIC_KEY_BYTES]);
        hash::derive_into("poste null onion key", &[seed], &mut public[..]);
        let owner = public.last_chunk().copied().unwrap_or_default();
        OnionKey {
            public: OnionPublicKey(public.into()),
            secret: Box::new(NullSecret {
                owner,
                account: self.clone(),
            }),
        }
    }
}

struct NullSecret {
    owner: [u8; 32],
    account: NullCrypto,
}

impl Decapsulate for NullSecret {
    fn decapsulate(&self, ciphertext: &KemCiphertext) -> Option<SharedSecret> {
        self.account.charge(DECAPSULATE_NS);
        let contributes = ciphertext.last_chunk::<32>()? != &[0; 32];
        contributes.then(|| shared(&self.owner, ciphertext))
    }
}

fn shared(owner: &[u8; 32], ciphertext: &KemCiphertext) -> SharedSecret {
    Zeroizing::new(hash::derive("poste null secret", &[owner, ciphertext]))
}

fn stand_in(key: &[u8; 32], statement: &[u8]) -> Signature {
    let mut bytes = [0; 64];
    hash::derive_into("poste null signature", &[key, statement], &mut bytes);
    Signature(bytes)
}

/// A strict Ed25519 verification.
const VERIFY_NS: u64 = 46_800;
/// An Ed25519 signature.
const SIGN_NS: u64 = 21_200;
/// X-Wing encapsulation in pure Rust: the sender's side.
const ENCAPSULATE_NS: u64 = 182_000;
/// X25519 and ML-KEM-768 decapsulation with `aws-lc-rs`: the relay's side.
const DECAPSULATE_NS: u64 = 44_600;
/// Expanding an X-Wing key.
const ONION_KEY_NS: u64 = 111_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_charged_once_and_for_every_operation() {
        let null = NullCrypto::new();
        let key = null.onion_key(&[1; 32]);
        let (sent, secret) = null.encapsulate(&key.public, &[2; 64]).unwrap();
        assert_eq!(key.secret.decapsulate(&sent).unwrap(), secret);
        let kem = ONION_KEY_NS + ENCAPSULATE_NS + DECAPSULATE_NS;
        assert_eq!(null.take_charged(), Duration::from_nanos(kem));

        let signer = SecretKey::from_seed(&[3; 32]);
        let signature = null.clone().sign(&signer, b"statement");
        assert!(null.verify(signer.public(), b"statement", &signature));
        assert!(!null.verify(signer.public(), b"another", &signature));
        let signing = SIGN_NS + 2 * VERIFY_NS;
        assert_eq!(null.take_charged(), Duration::from_nanos(signing));
        assert_eq!(null.take_charged(), Duration::ZERO);
    }

    #[test]
    fn a_bent_stand_in_gives_a_secret_that_nobody_shares() {
        let null = NullCrypto::new();
        let key = null.onion_key(&[1; 32]);
        let (mut sent, secret) = null.encapsulate(&key.public, &[2; 64]).unwrap();
        sent[500] ^= 1;
        assert_ne!(key.secret.decapsulate(&sent).unwrap(), secret);
        sent[KEM_CIPHERTEXT_BYTES - 32..].fill(0);
        assert!(key.secret.decapsulate(&sent).is_none());
    }
}
