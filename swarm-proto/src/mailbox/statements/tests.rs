//! Promises of signed statements: each holds for exactly what it says.

use alloc::boxed::Box;
use alloc::vec;

use bytes::Bytes;

use super::*;
use crate::address::{Account, Context, OwnerSide};
use crate::crypto::{
    self, ENCAPSULATION_SEED_BYTES, KemCiphertext, OnionKey, OnionPublicKey, SharedSecret,
};
use crate::envelope::{EnvelopeHeader, ExpiryClass};
use crate::id::MailboxAddress;
use crate::time::{Epoch, Tick};

struct Signatures;

impl Crypto for Signatures {
    fn verify(&self, key: &[u8; 32], statement: &[u8], signature: &Signature) -> bool {
        crypto::verify_strict(key, statement, signature)
    }

    fn sign(&self, key: &SecretKey, statement: &[u8]) -> Signature {
        crypto::sign(key, statement)
    }

    fn encapsulate(
        &self,
        _: &OnionPublicKey,
        _: &[u8; ENCAPSULATION_SEED_BYTES],
    ) -> Option<(Box<KemCiphertext>, SharedSecret)> {
        None
    }

    fn onion_key(&self, _: &[u8; 32]) -> OnionKey {
        panic!("statements need no onion keys")
    }
}

fn statements() -> Statements<'static> {
    Statements::new(&Signatures, NetworkId([1; 32]))
}

fn elsewhere() -> Statements<'static> {
    Statements::new(&Signatures, NetworkId([2; 32]))
}

fn mailbox(context: Context, epoch: u32) -> OwnerSide {
    let account = Account::from_seed(&[3; 32]);
    account.mailbox(context, &[4; 32], Epoch(epoch)).unwrap()
}

fn envelope(address: MailboxAddress, fill: u8) -> Envelope {
    let header = EnvelopeHeader {
        size: SizeClass::Small,
        expiry: ExpiryClass::Day,
        made: Tick(2_983_335),
        address,
    };
    Envelope::assemble(header, &vec![fill; SizeClass::Small.body_bytes()]).unwrap()
}

fn ask() -> AskTerms {
    AskTerms {
        holder: NodeId([5; 32]),
        reply_key_hash: [6; 32],
        time: UnixTime(1_790_000_000_000),
    }
}

fn other_asks() -> [AskTerms; 3] {
    let (mut holder, mut answer, mut time) = (ask(), ask(), ask());
    holder.holder.0[31] ^= 1;
    answer.reply_key_hash[0] ^= 1;
    time.time.0 += 1;
    [holder, answer, time]
}

/// [ADR-4] and [SIG-1].
#[test]
fn a_deposit_counts_for_its_envelope_in_its_mailbox_and_network() {
    let (ours, other) = (mailbox(Context::Pair, 7), mailbox(Context::Pair, 8));
    let letter = envelope(ours.address(), 1);
    let signature = statements().deposit(&ours.write, &letter.id());
    let holds = |keys, letter: &Envelope| statements().verify_deposit(keys, letter, &signature);
    assert!(holds(&ours.keys, &letter));
    assert!(!holds(&ours.keys, &envelope(ours.address(), 2)));
    assert!(!holds(&other.keys, &letter));
    assert!(!elsewhere().verify_deposit(&ours.keys, &letter, &signature));

    // A right signature for an envelope that is addressed to somebody else.
    let misplaced = envelope(other.address(), 1);
    let signature = statements().deposit(&ours.write, &misplaced.id());
    assert!(!statements().verify_deposit(&ours.keys, &misplaced, &signature));

    // The owner's read key gives no leave to deposit.
    let signature = statements().deposit(&ours.read, &letter.id());
    assert!(!statements().verify_deposit(&ours.keys, &letter, &signature));
}

/// [SIG-2].
#[test]
fn a_fetch_counts_for_one_holder_one_answer_and_one_page() {
    let ours = mailbox(Context::Pair, 7);
    let terms = FetchTerms {
        ask: ask(),
        after: Cursor::START,
        answer: SizeClass::Small,
    };
    let signature = statements().fetch(&ours.read, &ours.keys, &terms);
    let holds = |terms: &FetchTerms| statements().verify_fetch(&ours.keys, terms, &signature);
    assert!(holds(&terms));
    for ask in other_asks() {
        assert!(!holds(&FetchTerms { ask, ..terms }));
    }
    let after = Cursor {
        arrival: Tick(1),
        ..Cursor::START
    };
    assert!(!holds(&FetchTerms { after, ..terms }));
    let answer = SizeClass::Large;
    assert!(!holds(&FetchTerms { answer, ..terms }));
    let other = mailbox(Context::Pair, 8);
    assert!(!statements().verify_fetch(&other.keys, &terms, &signature));
    assert!(!elsewhere().verify_fetch(&ours.keys, &terms, &signature));
    // A writer cannot read.
    let signature = statements().fetch(&ours.write, &ours.keys, &terms);
    assert!(!statements().verify_fetch(&ours.keys, &terms, &signature));
}

/// [DEL-1].
#[test]
fn a_tombstone_counts_for_one_envelope_and_never_in_a_group() {
    let ours = mailbox(Context::Pair, 7);
    let tombstone = statements().delete(&ours.read, &ours.keys, EnvelopeId([7; 32]), Hour(497_000));
    assert!(statements().verify_delete(&tombstone));
    assert!(!elsewhere().verify_delete(&tombstone));
    let mut other = tombstone.clone();
    other.id.0[0] ^= 1;
    assert!(!statements().verify_delete(&other));
    let mut other = tombstone.clone();
    other.expires.0 += 1;
    assert!(!statements().verify_delete(&other));
    let mut other = tombstone;
    other.keys.flags = MailboxKeys::OPEN_LANE;
    assert!(!statements().verify_delete(&other));

    let group = mailbox(Context::Group, 7);
    let tombstone = statements().delete(&group.read, &group.keys, EnvelopeId([7; 32]), Hour(1));
    assert!(!statements().verify_delete(&tombstone));
}

#[test]
fn a_card_counts_with_its_number_and_end_in_its_mailbox() {
    let ours = mailbox(Context::Pub, 7);
    let sealed = Bytes::from(vec![8; crate::limits::CARD_BYTES]);
    let card = Card {
        sequence: 3,
        expires: Hour(497_000),
        signature: statements().card(&ours.read, &ours.keys, 3, Hour(497_000), &sealed),
        sealed,
    };
    assert!(statements().verify_card(&ours.keys, &card));
    assert!(!elsewhere().verify_card(&ours.keys, &card));
    assert!(!statements().verify_card(&mailbox(Context::Pub, 8).keys, &card));
    let later = Card {
        sequence: 4,
        ..card.clone()
    };
    let longer = Card {
        expires: Hour(497_001),
        ..card.clone()
    };
    let changed = Card {
        sealed: Bytes::from(vec![9; crate::limits::CARD_BYTES]),
        ..card
    };
    for other in [later, longer, changed] {
        assert!(!statements().verify_card(&ours.keys, &other));
    }
}

/// [ADR-7].
#[test]
fn a_card_is_asked_for_by_writers_of_one_holder_and_is_no_fetch() {
    let ours = mailbox(Context::Pub, 7);
    let signature = statements().card_ask(&ours.write, &ours.keys, &ask());
    let holds = |ask: &AskTerms| statements().verify_card_ask(&ours.keys, ask, &signature);
    assert!(holds(&ask()));
    assert!(other_asks().iter().all(|other| !holds(other)));
    assert!(!elsewhere().verify_card_ask(&ours.keys, &ask(), &signature));

    let signature = statements().card_ask(&ours.read, &ours.keys, &ask());
    let fetch = FetchTerms {
        ask: ask(),
        after: Cursor::START,
        answer: SizeClass::Large,
    };
    assert!(!statements().verify_fetch(&ours.keys, &fetch, &signature));
}

#[test]
fn a_long_stay_is_the_owners_to_give() {
    let ours = mailbox(Context::Own, 7);
    let id = EnvelopeId([1; 32]);
    let signature = statements().long_stay(&ours.read, &id);
    assert!(statements().verify_long_stay(&ours.keys, &id, &signature));
    assert!(!statements().verify_long_stay(&ours.keys, &EnvelopeId([2; 32]), &signature));
    let signature = statements().long_stay(&ours.write, &id);
    assert!(!statements().verify_long_stay(&ours.keys, &id, &signature));
    // A deposit's signature over the same id is no leave to stay.
    let signature = statements().deposit(&ours.read, &id);
    assert!(!statements().verify_long_stay(&ours.keys, &id, &signature));
}

/// [SIG-2].
#[test]
fn a_request_is_void_30_minutes_from_its_time_in_either_direction() {
    let scale = TimeScale { minute_ms: 100 };
    let time = UnixTime(10_000_000);
    let apart = scale.minutes(30);
    assert!(is_timely(time, time.plus(apart), scale));
    assert!(is_timely(time, time.minus(apart), scale));
    let beyond = apart + Duration::from_millis(1);
    assert!(!is_timely(time, time.plus(beyond), scale));
    assert!(!is_timely(time, time.minus(beyond), scale));
}
