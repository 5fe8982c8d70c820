//! X-Wing, the key encapsulation of onion layers: X25519 and ML-KEM-768 under one secret, which holds
//! while either of the two holds.
//!
//! It is written out here, and not taken from a crate, for three reasons: the caller gives the
//! randomness, the expanded ML-KEM key is kept for a whole generation, and another library may do the
//! two decapsulations while the combiner stays the same ([`Expanded`], [`combine`]). It knows nothing
//! of onions. Source: draft-connolly-cfrg-xwing-kem, with non-contributory X25519 refused ([ONI-2]).

use alloc::boxed::Box;
use core::fmt;

use ml_kem::array::Array;
use ml_kem::kem::{Decapsulate as _, KeyExport as _};
use ml_kem::ml_kem_768;
use sha3::{Digest, Sha3_256};
use shake::{ExtendableOutput, Shake256, Update, XofReader};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

use crate::crypto::{
    self, Crypto, Decapsulate, ENCAPSULATION_SEED_BYTES, KEM_CIPHERTEXT_BYTES, KemCiphertext,
    ONION_PUBLIC_KEY_BYTES, OnionKey, OnionPublicKey, SecretKey, SharedSecret, Signature,
};

/// The provider without foreign code: correspondents, tests, and relays that want no C.
#[derive(Clone, Copy, Debug, Default)]
pub struct PureCrypto;

impl Crypto for PureCrypto {
    fn verify(&self, key: &[u8; 32], statement: &[u8], signature: &Signature) -> bool {
        crypto::verify_strict(key, statement, signature)
    }

    fn sign(&self, key: &SecretKey, statement: &[u8]) -> Signature {
        crypto::sign(key, statement)
    }

    fn encapsulate(
        &self,
        to: &OnionPublicKey,
        seed: &[u8; ENCAPSULATION_SEED_BYTES],
    ) -> Option<(Box<KemCiphertext>, SharedSecret)> {
        encapsulate(to, seed)
    }

    fn onion_key(&self, seed: &[u8; 32]) -> OnionKey {
        let expanded = Expanded::from_seed(seed);
        OnionKey {
            public: expanded.public(),
            secret: Box::new(expanded),
        }
    }
}

/// A secret X-Wing key, expanded from its seed. Erased from memory when dropped.
pub struct Expanded {
    ml_kem: ml_kem_768::DecapsulationKey,
    x25519: StaticSecret,
    x25519_public: [u8; 32],
}

impl Expanded {
    /// Expands a 32-byte seed with SHAKE256, as the draft does.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let mut shake = Shake256::default();
        shake.update(seed);
        let mut stream = shake.finalize_xof();
        let mut lattice = Zeroizing::new([0; 64]);
        let mut scalar = Zeroizing::new([0; 32]);
        stream.read(&mut *lattice);
        stream.read(&mut *scalar);

        let mut lattice = Array(*lattice);
        let ml_kem = ml_kem_768::DecapsulationKey::from_seed(lattice);
        lattice.zeroize();
        let x25519 = StaticSecret::from(*scalar);
        let x25519_public = PublicKey::from(&x25519).to_bytes();
        Self {
            ml_kem,
            x25519,
            x25519_public,
        }
    }

    /// The public key: ML-KEM-768 (1,184), X25519 (32).
    pub fn public(&self) -> OnionPublicKey {
        let mut bytes = Box::new([0; ONION_PUBLIC_KEY_BYTES]);
        let (lattice, curve) = bytes.split_at_mut(ML_KEM_PUBLIC_KEY_BYTES);
        lattice.copy_from_slice(&self.ml_kem.encapsulation_key().to_bytes());
        curve.copy_from_slice(&self.x25519_public);
        OnionPublicKey(bytes.into())
    }

    /// The X25519 half of the public key, which the combiner hashes.
    pub fn x25519_public(&self) -> &[u8; 32] {
        &self.x25519_public
    }

    /// The X25519 secret scalar, for a library that does this half itself.
    pub fn x25519_secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.x25519.to_bytes())
    }

    /// The ML-KEM-768 secret key in the expanded form of FIPS 203 (2,400 bytes), which is the only one
    /// that some libraries read.
    pub fn ml_kem_secret(&self) -> Zeroizing<[u8; ML_KEM_SECRET_KEY_BYTES]> {
        #[allow(deprecated)] // seeds are preferred as a format, but nothing is stored here
        let expanded = ml_kem::ExpandedKeyEncoding::to_expanded_bytes(&self.ml_kem);
        Zeroizing::new(expanded.0)
    }
}

impl Decapsulate for Expanded {
    fn decapsulate(&self, ciphertext: &KemCiphertext) -> Option<SharedSecret> {
        let (lattice, curve) = split(ciphertext);
        let shared_x = self.x25519.diffie_hellman(&PublicKey::from(*curve));
        if !shared_x.was_contributory() {
            return None;
        }
        let mut shared_m = self.ml_kem.decapsulate(&Array(*lattice));
        let secret = combine(&shared_m.0, shared_x.as_bytes(), curve, &self.x25519_public);
        shared_m.zeroize();
        Some(secret)
    }
}

impl fmt::Debug for Expanded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expanded")
    }
}

/// Makes a ciphertext for `to` out of 64 random bytes: 32 for ML-KEM, 32 for X25519. `None` if `to` is
/// no valid key or its X25519 half contributes nothing.
pub fn encapsulate(
    to: &OnionPublicKey,
    seed: &[u8; ENCAPSULATION_SEED_BYTES],
) -> Option<(Box<KemCiphertext>, SharedSecret)> {
    let (lattice, curve) = to.0.split_first_chunk::<ML_KEM_PUBLIC_KEY_BYTES>()?;
    let curve = <[u8; 32]>::try_from(curve).ok()?;
    let (seed_m, seed_x) = seed.split_first_chunk::<32>()?;
    let seed_x = Zeroizing::new(<[u8; 32]>::try_from(seed_x).ok()?);

    let ephemeral = StaticSecret::from(*seed_x);
    let sent_x = PublicKey::from(&ephemeral).to_bytes();
    let shared_x = ephemeral.diffie_hellman(&PublicKey::from(curve));
    if !shared_x.was_contributory() {
        return None;
    }
    let lattice = ml_kem_768::EncapsulationKey::new(&Array(*lattice)).ok()?;
    let mut seed_m = Array(*seed_m);
    let (sent_m, mut shared_m) = lattice.encapsulate_deterministic(&seed_m);
    seed_m.zeroize();
    let secret = combine(&shared_m.0, shared_x.as_bytes(), &sent_x, &curve);
    shared_m.zeroize();

    let mut ciphertext = Box::new([0; KEM_CIPHERTEXT_BYTES]);
    let (to_m, to_x) = ciphertext.split_at_mut(ML_KEM_CIPHERTEXT_BYTES);
    to_m.copy_from_slice(&sent_m);
    to_x.copy_from_slice(&sent_x);
    Some((ciphertext, secret))
}

/// The combiner: SHA3-256 over both secrets, the sent and the owner's X25519 keys and the label.
pub fn combine(
    shared_m: &[u8; 32],
    shared_x: &[u8; 32],
    sent_x: &[u8; 32],
    public_x: &[u8; 32],
) -> SharedSecret {
    let mut hasher = Sha3_256::new();
    for part in [shared_m, shared_x, sent_x, public_x] {
        Digest::update(&mut hasher, part);
    }
    Digest::update(&mut hasher, LABEL);
    Zeroizing::new(hasher.finalize().into())
}

/// The ML-KEM part (1,088 bytes) and the X25519 part (32 bytes) of a ciphertext.
pub fn split(ciphertext: &KemCiphertext) -> (&[u8; ML_KEM_CIPHERTEXT_BYTES], &[u8; 32]) {
    match (
        ciphertext.first_chunk::<ML_KEM_CIPHERTEXT_BYTES>(),
        ciphertext.last_chunk::<32>(),
    ) {
        (Some(lattice), Some(curve)) => (lattice, curve),
        // Both lengths are constants that fit; zeros are refused as non-contributory.
        _ => (&[0; ML_KEM_CIPHERTEXT_BYTES], &[0; 32]),
    }
}

/// Bytes of an ML-KEM-768 public key.
pub const ML_KEM_PUBLIC_KEY_BYTES: usize = 1_184;
/// Bytes of an ML-KEM-768 ciphertext.
pub const ML_KEM_CIPHERTEXT_BYTES: usize = 1_088;
/// Bytes of an expanded ML-KEM-768 secret key.
pub const ML_KEM_SECRET_KEY_BYTES: usize = 2_400;

/// X-Wing's domain separator.
const LABEL: &[u8; 6] = br"\.//^\";

const _: () = {
    assert!(ML_KEM_PUBLIC_KEY_BYTES + 32 == ONION_PUBLIC_KEY_BYTES);
    assert!(ML_KEM_CIPHERTEXT_BYTES + 32 == KEM_CIPHERTEXT_BYTES);
};

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;
    use x_wing::{Decapsulator as _, TryDecapsulate as _};

    fn bytes32(hex: &str) -> [u8; 32] {
        HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap()
    }

    /// draft-connolly-cfrg-xwing-kem, appendix C, first vector.
    #[test]
    fn the_first_vector_of_the_draft_comes_out() {
        let seed = bytes32("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26");
        let eseed = HEXLOWER
            .decode(
                b"3cb1eea988004b93103cfb0aeefd2a686e01fa4a58e8a3639ca8a1e3f9ae57e2\
                  35b8cc873c23dc62b8d260169afa2f75ab916a58d974918835d25e6a435085b2",
            )
            .unwrap();
        let key = PureCrypto.onion_key(&seed);
        let (ciphertext, secret) = PureCrypto
            .encapsulate(&key.public, &eseed.try_into().unwrap())
            .unwrap();

        let expected = "d2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384";
        assert_eq!(HEXLOWER.encode(&*secret), expected);
        assert!(
            HEXLOWER
                .encode(&*key.public.0)
                .starts_with("e2236b35a8c24b39b10a")
        );
        assert_eq!(key.secret.decapsulate(&ciphertext).unwrap(), secret);
    }

    /// RFC 7748, sections 5.2 and 6.1.
    #[test]
    fn the_curve_is_that_of_rfc_7748() {
        let bob = StaticSecret::from(bytes32(
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        ));
        assert_eq!(
            x25519_dalek::x25519(
                bytes32("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
                bytes32("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
            ),
            bytes32("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")
        );
        assert_eq!(
            PublicKey::from(&bob).to_bytes(),
            bytes32("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// [ONI-2]: the same bytes as the `x-wing` crate, for keys, ciphertexts and secrets.
        #[test]
        fn another_implementation_agrees(seed: [u8; 32], m: [u8; 32], x: [u8; 32], flip in 0..KEM_CIPHERTEXT_BYTES) {
            let theirs = x_wing::DecapsulationKeyRejectNonContrib::from(seed);
            let ours = PureCrypto.onion_key(&seed);
            let their_public = x_wing::KeyExport::to_bytes(theirs.encapsulation_key());
            prop_assert_eq!(&ours.public.0[..], &their_public[..]);

            let mut eseed = [0; 64];
            eseed[..32].copy_from_slice(&m);
            eseed[32..].copy_from_slice(&x);
            let (sent, secret) = PureCrypto.encapsulate(&ours.public, &eseed).unwrap();
            let (their_sent, their_secret) =
                theirs.encapsulation_key().encapsulate_deterministic(&Array(eseed));
            prop_assert_eq!(&sent[..], &their_sent[..]);
            prop_assert_eq!(&secret[..], &their_secret[..]);

            let mut bent = *sent;
            bent[flip] ^= 1;
            let theirs = theirs.try_decapsulate(&Array(bent)).ok().map(|s| s.0);
            prop_assert_eq!(ours.secret.decapsulate(&bent).map(|s| *s), theirs);
        }
    }

    /// [ONI-2]
    #[test]
    fn a_key_or_ciphertext_that_contributes_nothing_is_refused() {
        let key = PureCrypto.onion_key(&[7; 32]);
        let (sent, _) = PureCrypto.encapsulate(&key.public, &[9; 64]).unwrap();
        for point in [[0; 32], bytes32(SMALL_ORDER)] {
            let mut bent = sent.clone();
            bent[ML_KEM_CIPHERTEXT_BYTES..].copy_from_slice(&point);
            assert!(key.secret.decapsulate(&bent).is_none());

            let mut public = key.public.clone();
            Arc::make_mut(&mut public.0)[ML_KEM_PUBLIC_KEY_BYTES..].copy_from_slice(&point);
            assert!(PureCrypto.encapsulate(&public, &[9; 64]).is_none());
        }
    }

    const SMALL_ORDER: &str = "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";

    #[test]
    fn a_lattice_key_with_a_coefficient_out_of_range_is_refused() {
        let key = PureCrypto.onion_key(&[7; 32]);
        let mut public = key.public.clone();
        Arc::make_mut(&mut public.0)[..3].fill(0xff);
        assert!(PureCrypto.encapsulate(&public, &[9; 64]).is_none());
    }
}
