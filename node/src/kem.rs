//! The relay's cryptography: the protocol's own, with the two decapsulations done by AWS-LC, which
//! takes a quarter of the time. It draws no randomness and keeps no key but the expanded one of a
//! generation. Source: [ONI-2]; it must agree with [`PureCrypto`] on every secret and every refusal.

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, ML_KEM_768};
use swarm_proto::crypto::{
    Crypto, Decapsulate, ENCAPSULATION_SEED_BYTES, KemCiphertext, OnionKey, OnionPublicKey,
    SecretKey, SharedSecret, Signature,
};
use swarm_proto::kem::{Expanded, PureCrypto, combine, split};

/// The provider of a relay.
#[derive(Clone, Copy, Debug, Default)]
pub struct AwsCrypto;

impl Crypto for AwsCrypto {
    fn verify(&self, key: &[u8; 32], statement: &[u8], signature: &Signature) -> bool {
        PureCrypto.verify(key, statement, signature)
    }

    fn sign(&self, key: &SecretKey, statement: &[u8]) -> Signature {
        PureCrypto.sign(key, statement)
    }

    fn encapsulate(
        &self,
        to: &OnionPublicKey,
        seed: &[u8; ENCAPSULATION_SEED_BYTES],
    ) -> Option<(Box<KemCiphertext>, SharedSecret)> {
        PureCrypto.encapsulate(to, seed)
    }

    fn onion_key(&self, seed: &[u8; 32]) -> OnionKey {
        let expanded = Expanded::from_seed(seed);
        let public = expanded.public();
        // AWS-LC takes every key that the expansion makes; should it ever not, the slower half serves.
        let secret: Box<dyn Decapsulate> = match AwsSecret::new(&expanded) {
            Some(secret) => Box::new(secret),
            None => Box::new(expanded),
        };
        OnionKey { public, secret }
    }
}

/// One generation's secret key in AWS-LC's hands.
struct AwsSecret {
    ml_kem: DecapsulationKey,
    x25519: PrivateKey,
    x25519_public: [u8; 32],
}

impl AwsSecret {
    fn new(expanded: &Expanded) -> Option<Self> {
        Some(Self {
            ml_kem: DecapsulationKey::new(&ML_KEM_768, &*expanded.ml_kem_secret()).ok()?,
            x25519: PrivateKey::from_private_key(&X25519, &*expanded.x25519_secret()).ok()?,
            x25519_public: *expanded.x25519_public(),
        })
    }
}

impl Decapsulate for AwsSecret {
    fn decapsulate(&self, ciphertext: &KemCiphertext) -> Option<SharedSecret> {
        let (lattice, curve) = split(ciphertext);
        // AWS-LC refuses a shared secret of zeros: a non-contributory key.
        agreement::agree(
            &self.x25519,
            UnparsedPublicKey::new(&X25519, &curve[..]),
            (),
            |shared_x| {
                let shared_x = <&[u8; 32]>::try_from(shared_x).map_err(|_| ())?;
                let lattice = Ciphertext::from(&lattice[..]);
                let shared_m = self.ml_kem.decapsulate(lattice).map_err(|_| ())?;
                let shared_m = <&[u8; 32]>::try_from(shared_m.as_ref()).map_err(|_| ())?;
                Ok(combine(shared_m, shared_x, curve, &self.x25519_public))
            },
        )
        .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use swarm_proto::crypto::KEM_CIPHERTEXT_BYTES;

    fn both(seed: &[u8; 32], ciphertext: &KemCiphertext) -> [Option<SharedSecret>; 2] {
        let decapsulate = |key: OnionKey| key.secret.decapsulate(ciphertext);
        [
            decapsulate(AwsCrypto.onion_key(seed)),
            decapsulate(PureCrypto.onion_key(seed)),
        ]
    }

    const VECTORS: &str = include_str!("../../docs/spec/vectors/published.txt");

    fn vector(name: &str) -> Vec<u8> {
        let mut lines = VECTORS.lines().filter_map(|line| line.split_once(" = "));
        let found = lines.find(|(found, _)| *found == name);
        let hex = found.unwrap_or_else(|| panic!("no vector {name}")).1;
        data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()
    }

    /// [ONI-2]: draft-connolly-cfrg-xwing-kem, appendix C.
    #[test]
    fn both_back_ends_open_the_vectors_of_the_x_wing_draft() {
        for n in 1..=3 {
            let seed = vector(&format!("x-wing {n} seed")).try_into().unwrap();
            let sent = vector(&format!("x-wing {n} ciphertext"))
                .try_into()
                .unwrap();
            let secret = vector(&format!("x-wing {n} secret"));
            for opened in both(&seed, &sent) {
                assert_eq!(opened.unwrap()[..], secret);
            }
        }
    }

    #[test]
    fn a_key_is_in_the_hands_of_aws_lc() {
        assert!(AwsSecret::new(&Expanded::from_seed(&[3; 32])).is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// [ONI-2]
        #[test]
        fn both_back_ends_share_every_secret(
            seed: [u8; 32], m: [u8; 32], x: [u8; 32], at in 0..KEM_CIPHERTEXT_BYTES, flip in 1..=255_u8,
        ) {
            let mut eseed = [0; 64];
            eseed[..32].copy_from_slice(&m);
            eseed[32..].copy_from_slice(&x);
            let public = AwsCrypto.onion_key(&seed).public;
            prop_assert_eq!(&public, &PureCrypto.onion_key(&seed).public);
            let (mut sent, secret) = AwsCrypto.encapsulate(&public, &eseed).unwrap();
            let [aws, pure] = both(&seed, &sent);
            prop_assert_eq!(aws.as_ref(), Some(&secret));
            prop_assert_eq!(&aws, &pure);

            sent[at] ^= flip;
            let [aws, pure] = both(&seed, &sent);
            prop_assert_eq!(&aws, &pure);
            // The curve ignores the top bit of its last byte, the combiner does not.
            prop_assert_ne!(aws.as_ref(), Some(&secret));
        }
    }

    /// [ONI-2]: every point of small order, in all its encodings (RFC 7748, section 6.1 and its list).
    #[test]
    fn both_back_ends_refuse_what_contributes_nothing() {
        let public = PureCrypto.onion_key(&[5; 32]).public;
        let (sent, _) = PureCrypto.encapsulate(&public, &[6; 64]).unwrap();
        let mut points = vec![[0; 32], [0; 32]];
        points[1][0] = 1;
        for last in [0x7f, 0xff] {
            for first in [0xec, 0xed, 0xee] {
                let mut point = [0xff; 32];
                point[0] = first;
                point[31] = last;
                points.push(point);
            }
        }
        for hex in SMALL_ORDER {
            let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
            points.push(bytes.try_into().unwrap());
        }
        for point in points {
            let mut bent = sent.clone();
            bent[KEM_CIPHERTEXT_BYTES - 32..].copy_from_slice(&point);
            assert_eq!(both(&[5; 32], &bent), [None, None], "{point:02x?}");
        }
    }

    const SMALL_ORDER: [&str; 2] = [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ];
}
