//! Promises of accounts and addresses, the two leaks of blinded keys among them, and published vectors.

use alloc::format;
use alloc::vec::Vec;

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::scalar::clamp_integer;
use data_encoding::HEXLOWER;
use ed25519_dalek::hazmat::raw_sign;
use proptest::prelude::*;
use sha2::{Digest, Sha512};

use super::*;
use crate::crypto;

const VECTORS: &str = include_str!("../../../docs/spec/vectors/address.txt");

fn vector(name: &str) -> Vec<u8> {
    let line = VECTORS
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .find(|(found, _)| *found == name)
        .unwrap_or_else(|| panic!("no vector {name}"));
    HEXLOWER.decode(line.1.as_bytes()).unwrap()
}

fn vector32(name: &str) -> [u8; 32] {
    vector(name).try_into().unwrap()
}

fn any_context() -> impl Strategy<Value = Context> {
    prop_oneof![
        Just(Context::Pub),
        Just(Context::Pair),
        Just(Context::Own),
        Just(Context::Group)
    ]
}

/// [ADR-1] and [ADR-3].
#[test]
fn addresses_are_those_of_the_vectors() {
    let account = Account::from_seed(&vector32("seed"));
    assert_eq!(account.key().as_bytes(), &vector32("account"));
    for context in [Context::Pub, Context::Pair, Context::Own, Context::Group] {
        let name = core::str::from_utf8(context.name()).unwrap();
        let s = vector32("s");
        let side = account.mailbox(context, &s, Epoch(20_780)).unwrap();
        assert_eq!(side.keys.read, vector32(&format!("{name} K")));
        assert_eq!(side.keys.write, vector32(&format!("{name} W")));
        assert_eq!(side.address().0, vector32(&format!("{name} address")));
        let signature = crypto::sign(&side.read, b"poste");
        assert_eq!(
            signature.0.to_vec(),
            vector(&format!("{name} signature by k"))
        );
    }
}

/// The sets of Tor's `src/test/ed25519_vectors.inc`: their blinds are hashed and clamped otherwise, ours are
/// uniform; the multiplication is the same.
#[test]
fn blinding_multiplies_as_tor_does() {
    for set in 1..=8 {
        let digest = Sha512::new()
            .chain_update(b"Derive temporary signing key")
            .chain_update(vector32(&format!("tor {set} parameter")))
            .finalize();
        let half = digest[..32].try_into().unwrap();
        let blind = Scalar::from_bytes_mod_order(clamp_integer(half));
        let secret = Scalar::from_bytes_mod_order(vector32(&format!("tor {set} secret scalar")));
        let public = AccountKey::from_bytes(&vector32(&format!("tor {set} public"))).unwrap();
        assert_eq!(
            (secret * blind).to_bytes(),
            vector32(&format!("tor {set} blinded scalar"))
        );
        assert_eq!(
            (public.point * blind).compress().to_bytes(),
            vector32(&format!("tor {set} blinded public"))
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// [ADR-3]: the two sides meet, and the owner's signatures verify under what the writer computed.
    #[test]
    fn owner_and_writer_find_the_same_mailbox(
        seed: [u8; 32], s: [u8; 32], epoch: u32, context in any_context(),
    ) {
        let account = Account::from_seed(&seed);
        let key = AccountKey::from_bytes(account.key().as_bytes()).unwrap();
        let owner = account.mailbox(context, &s, Epoch(epoch)).unwrap();
        let writer = key.mailbox(context, &s, Epoch(epoch)).unwrap();
        prop_assert_eq!(owner.keys, writer.keys);
        prop_assert_eq!(owner.read.public(), &writer.keys.read);
        prop_assert_eq!(writer.write.public(), &writer.keys.write);
        let fetch = crypto::sign(&owner.read, b"fetch");
        prop_assert!(crypto::verify_strict(&writer.keys.read, b"fetch", &fetch));
        let deposit = crypto::sign(&writer.write, b"deposit");
        prop_assert!(crypto::verify_strict(&owner.keys.write, b"deposit", &deposit));
    }

    /// [ADR-3]: each input changes K, W and the address.
    #[test]
    fn a_mailbox_depends_on_account_context_secret_and_epoch(
        seed: [u8; 32], s: [u8; 32], epoch in 0..u32::MAX, bit in 0_usize..256,
    ) {
        let account = Account::from_seed(&seed);
        let side = |account: &Account, context, s: &[u8; 32], epoch| {
            account.mailbox(context, s, Epoch(epoch)).unwrap().keys
        };
        let keys = side(&account, Context::Pair, &s, epoch);
        let mut other_s = s;
        other_s[bit / 8] ^= 1 << (bit % 8);
        let mut other_seed = seed;
        other_seed[bit / 8] ^= 1 << (bit % 8);
        for other in [
            side(&account, Context::Own, &s, epoch),
            side(&account, Context::Pair, &other_s, epoch),
            side(&account, Context::Pair, &s, epoch + 1),
            side(&Account::from_seed(&other_seed), Context::Pair, &s, epoch),
        ] {
            prop_assert_ne!(keys.read, other.read);
            prop_assert_ne!(keys.write, other.write);
            prop_assert_ne!(keys.address(), other.address());
        }
    }

    /// [ADR-8].
    #[test]
    fn two_accounts_agree_and_a_third_does_not(a: [u8; 32], b: [u8; 32], c: [u8; 32]) {
        prop_assume!(a != b && b != c && a != c);
        let [a, b, c] = [a, b, c].map(|seed| Account::from_seed(&seed));
        prop_assert_eq!(&*a.agree(b.key()), &*b.agree(a.key()));
        prop_assert_ne!(&*a.agree(b.key()), &*c.agree(b.key()));
    }
}

/// [ADR-8]: it is X25519 of the converted keys and nothing of our own.
#[test]
fn agreeing_is_x25519_of_the_montgomery_forms() {
    let expanded = |seed: [u8; 32]| -> [u8; 32] { Sha512::digest(seed)[..32].try_into().unwrap() };
    let (ada, bob) = (Account::from_seed(&[1; 32]), Account::from_seed(&[2; 32]));
    let their_point = bob.key().point.to_montgomery().to_bytes();
    let x25519 = x25519_dalek::x25519(expanded([1; 32]), their_point);
    assert_eq!(*ada.agree(bob.key()), x25519);
}

/// [ADR-2].
#[test]
fn keys_of_small_order_and_with_torsion_are_refused() {
    for point in EIGHT_TORSION {
        let bytes = point.compress().to_bytes();
        assert_eq!(
            AccountKey::from_bytes(&bytes),
            Err(BadAccountKey::SmallOrder)
        );
    }
    let account = Account::from_seed(&[5; 32]);
    for torsion in EIGHT_TORSION.iter().skip(1) {
        let bytes = (account.key().point + torsion).compress().to_bytes();
        // The signature library alone would take this key.
        let taken = ed25519_dalek::VerifyingKey::from_bytes(&bytes).unwrap();
        assert!(!taken.is_weak());
        assert_eq!(AccountKey::from_bytes(&bytes), Err(BadAccountKey::Torsion));
    }
}

/// [ADR-2].
#[test]
fn other_encodings_of_a_point_are_refused() {
    // y = p + 1 encodes the same point as y = 1; y = 2 is on no point of the curve.
    let mut second_encoding = [0xff; 32];
    second_encoding[0] = 0xee;
    second_encoding[31] = 0x7f;
    let mut no_point = [0; 32];
    no_point[0] = 2;
    // x = 0 with the sign bit set.
    let mut negative_zero = [0; 32];
    negative_zero[0] = 1;
    negative_zero[31] = 0x80;
    for bytes in [second_encoding, no_point, negative_zero] {
        assert_eq!(
            AccountKey::from_bytes(&bytes),
            Err(BadAccountKey::NotCanonical)
        );
    }
}

#[test]
fn any_32_bytes_are_taken_or_refused_without_harm() {
    bolero::check!()
        .with_type::<[u8; 32]>()
        .with_iterations(2_000)
        .for_each(|bytes| {
            if let Ok(key) = AccountKey::from_bytes(bytes) {
                assert_eq!(key.as_bytes(), bytes);
                assert!(key.mailbox(Context::Pub, &[0; 32], Epoch(1)).is_ok());
            }
        });
}

/// [ADR-5].
#[test]
fn only_first_contact_is_open_to_strangers_and_only_groups_keep_everything() {
    let account = Account::from_seed(&[5; 32]);
    let flags = |context| {
        let keys = account.mailbox(context, &[0; 32], Epoch(1)).unwrap().keys;
        (keys.is_open_lane(), keys.forbids_delete())
    };
    assert_eq!(flags(Context::Pub), (true, false));
    assert_eq!(flags(Context::Pair), (false, false));
    assert_eq!(flags(Context::Own), (false, false));
    assert_eq!(flags(Context::Group), (false, true));
}

#[test]
fn a_log_line_shows_no_secret_and_four_bytes_of_an_account() {
    let account = Account::from_seed(&[5; 32]);
    let side = account.mailbox(Context::Pub, &[0; 32], Epoch(1)).unwrap();
    let start = HEXLOWER.encode(&account.key().as_bytes()[..4]);
    assert_eq!(
        format!("{account:?}"),
        format!("Account(AccountKey({start}))")
    );
    assert!(format!("{side:?}").contains("read: SecretKey,"));
}

/// What an observer of two signatures over the same bytes computes if both were made with one nonce:
/// `S1 - S2 = (c1 h1 - c2 h2) a`, and h1, h2 are known to everybody who may write.
fn master_from_two_signatures(
    message: &[u8],
    sides: [(&[u8; 64], &[u8; 32], Scalar); 2],
) -> Option<Scalar> {
    let [first, second] = sides.map(|(signature, public, blind)| {
        let (r, s) = signature.split_at(32);
        let s = Scalar::from_bytes_mod_order(s.try_into().unwrap());
        let challenge = Sha512::new()
            .chain_update(r)
            .chain_update(public)
            .chain_update(message)
            .finalize();
        let challenge = Scalar::from_bytes_mod_order_wide(&challenge.into());
        (s, challenge * blind)
    });
    let divisor = first.1 - second.1;
    (divisor != Scalar::ZERO).then(|| (first.0 - second.0) * divisor.invert())
}

/// The leak that the blinded key inside the nonce prefix closes ([ADR-3]). With the account's own prefix
/// two epochs' signatures of the same bytes give the account away; with ours they do not.
#[test]
fn signing_the_same_bytes_in_two_epochs_does_not_give_the_account_away() {
    let account = Account::from_seed(&[9; 32]);
    let (s, message) = ([4; 32], b"the same bytes in both epochs".as_slice());
    let expanded = account.secret.expanded();
    let epochs = [Epoch(7), Epoch(8)];
    let blinds = epochs.map(|epoch| account.key().blind(Context::Pub, &s, epoch).unwrap());
    let sides = epochs.map(|epoch| account.mailbox(Context::Pub, &s, epoch).unwrap());
    let attack = |signatures: [[u8; 64]; 2]| {
        let [one, two] = &signatures;
        let [first, second] = &sides;
        master_from_two_signatures(
            message,
            [
                (one, &first.keys.read, blinds[0]),
                (two, &second.keys.read, blinds[1]),
            ],
        )
    };

    // The construction that we do not have: one nonce prefix for all epochs.
    let careless = [0, 1].map(|at| {
        let key = ExpandedSecretKey {
            scalar: blinds[at] * expanded.scalar,
            hash_prefix: expanded.hash_prefix,
        };
        let public = ed25519_dalek::VerifyingKey::from(&key);
        raw_sign::<Sha512>(&key, message, &public).to_bytes()
    });
    assert_eq!(attack(careless), Some(expanded.scalar));

    // Ours.
    let ours = [0, 1].map(|at| crypto::sign(&sides[at].read, message).0);
    assert_ne!(ours[0][..32], ours[1][..32]);
    assert_ne!(attack(ours), Some(expanded.scalar));
}

/// The leak that keeping read keys inside closes ([ADR-3]): everybody who may write knows h, and k / h is
/// the account's own scalar. No public function returns k; the module's doc test shows that.
#[test]
fn a_read_key_with_its_blind_is_the_account_key() {
    let account = Account::from_seed(&[9; 32]);
    let side = account.mailbox(Context::Pub, &[4; 32], Epoch(7)).unwrap();
    let blind = account
        .key()
        .blind(Context::Pub, &[4; 32], Epoch(7))
        .unwrap();
    let master = side.read.expanded().scalar * blind.invert();
    assert_eq!(master, account.secret.expanded().scalar);
}
