//! Every message there and back, every decoder under arbitrary bytes, and the sizes that onions allow.

use alloc::vec;
use alloc::vec::Vec;
use alloc::{boxed::Box, string::String};

use proptest::prelude::*;

use super::*;
use crate::crypto::{OnionPublicKey, Signature};
use crate::envelope::{Envelope, EnvelopeHeader, ExpiryClass, SizeClass};
use crate::id::{EnvelopeId, MailboxAddress, NodeKey, hex};
use crate::mailbox::receipt::{Promise, Receipt};
use crate::members::testing::{check_vectors, record};
use crate::members::{OnionKeys, RECORD_BYTES, onion_key_hash};
use crate::place::Cell;
use crate::store::{Cursor, MailboxKeys, Part, Row, Tombstone};
use crate::time::{Epoch, Hour, Tick, UnixTime};
use crate::wire::codec::Malformed;
use crate::wire::copies::{CopyAge, Scope};
use crate::wire::frames::FrameKind;
use crate::wire::mailbox::RECEIPTS_MAX;
use crate::wire::members::RECORDS_IN_LIST_PART_MAX;
use crate::wire::proof::Proof;
use crate::wire::standing::{Past, Tally, Testimony, Words};
use crate::wire::sweeps::{Listing, Open, Reply, Step};

mod fuzz;
mod parts;
mod proofs;

use proofs::{loss, pledge_evidence, twice};

const ENVELOPE: &str = include_str!("../../../docs/spec/vectors/envelope.txt");
const RECEIPT: &str = include_str!("../../../docs/spec/vectors/receipt.txt");
const MESSAGES: &str = include_str!("../../../docs/spec/vectors/messages.txt");

fn keys(byte: u8) -> MailboxKeys {
    MailboxKeys {
        flags: byte % 4,
        read: [byte; 32],
        write: [byte.wrapping_add(1); 32],
    }
}

fn envelope(size: SizeClass, byte: u8) -> Envelope {
    envelope_for(size, byte, ExpiryClass::Day)
}

fn envelope_for(size: SizeClass, byte: u8, expiry: ExpiryClass) -> Envelope {
    let header = EnvelopeHeader {
        size,
        expiry,
        made: Tick(2_880_060),
        address: keys(byte).address(),
    };
    Envelope::assemble(header, &vec![byte; size.body_bytes()]).unwrap()
}

fn receipt(byte: u8) -> Receipt {
    Receipt {
        holder: NodeKey([byte; 32]),
        time: Tick(u32::from(byte)),
        signature: Signature([byte; 64]),
    }
}

fn promise(byte: u8) -> Promise {
    Promise {
        cell: Cell(u16::from(byte)),
        epoch: Epoch(20_000),
        id: EnvelopeId([byte; 32]),
        length: 1_856,
        expires: Hour(480_034),
    }
}

fn card(byte: u8) -> Card {
    Card {
        sequence: u64::from(byte),
        expires: Hour(480_034),
        signature: Signature([byte; 64]),
        sealed: Bytes::from(vec![byte; limits::CARD_BYTES]),
    }
}

fn member(number: u32) -> RecordWithKeys {
    let key = OnionPublicKey(Box::new([7; 1_216]));
    let mut record = record(number);
    record.onion_current = onion_key_hash(&key);
    record.onion_next = Some(onion_key_hash(&key));
    RecordWithKeys {
        record,
        keys: OnionKeys {
            current: Some(key.clone()),
            next: Some(key),
        },
    }
}

fn erase(byte: u8) -> Erase {
    Erase {
        epoch: Epoch(20_000),
        tombstone: Tombstone {
            keys: keys(byte),
            id: EnvelopeId([byte; 32]),
            expires: Hour(480_034),
            signature: Signature([byte; 64]),
        },
    }
}

fn card_put(byte: u8) -> CardPut {
    CardPut {
        epoch: Epoch(20_000),
        keys: keys(byte),
        card: card(byte),
    }
}

fn deposit(size: SizeClass, byte: u8) -> Deposit {
    Deposit {
        keys: keys(byte),
        write_signature: Signature([byte; 64]),
        long_stay: (byte % 2 == 1).then_some(Signature([byte; 64])),
        envelope: envelope(size, byte),
    }
}

fn fetch(byte: u8) -> Fetch {
    Fetch {
        keys: keys(byte),
        after: Cursor {
            arrival: Tick(5),
            id: EnvelopeId([byte; 32]),
        },
        time: UnixTime(1_728_036_000_000),
        answer: SizeClass::Large,
        signature: Signature([byte; 64]),
    }
}

fn copy(size: SizeClass, byte: u8) -> Copy {
    Copy {
        age: if byte.is_multiple_of(2) {
            CopyAge::First
        } else {
            CopyAge::Later
        },
        keys: keys(byte),
        row: Row {
            write_signature: Signature([byte; 64]),
            arrival: Tick(9),
            envelope: envelope(size, byte),
            long_stay: None,
        },
    }
}

/// A copy of the longest expiry class.
fn long_copy(size: SizeClass, byte: u8) -> Copy {
    let mut copy = copy(size, byte);
    copy.row.envelope = envelope_for(size, byte, ExpiryClass::Days30);
    copy.row.long_stay = Some(Signature([byte; 64]));
    copy
}

fn sweep(byte: u8, step: Step) -> Message {
    Message::Sweep(Sweep {
        exchange: u32::from(byte),
        step,
    })
}

fn sweep_open(byte: u8) -> Open {
    Open {
        epoch: Epoch(20_000),
        cell: Cell(9),
        part: Part::new(1, u16::from(byte % 16)).unwrap(),
        cutoff: Tick(2_880_070),
        nonce: [byte; 32],
        commitment: [byte; 32],
        signature: Signature([byte; 64]),
    }
}

fn sweep_listing(byte: u8, count: usize) -> Listing {
    let item = |n: usize| {
        let mut item = [byte; 32];
        item[..2].copy_from_slice(&(n as u16).to_be_bytes());
        (item, [byte; 32])
    };
    Listing {
        by_opener: byte % 2 == 1,
        open: [byte; 32],
        items: (0..count.min(limits::SWEEP_ITEMS_MAX)).map(item).collect(),
        signature: Signature([byte; 64]),
    }
}

fn testimony(byte: u8) -> Testimony {
    let words = Words {
        absent: byte % 2 == 1,
        last: byte % 4 > 1,
        suspend: byte % 8 > 3,
        age: byte,
        available: Some(byte % 101),
        kept: None,
        class: byte,
        past: Past {
            history: byte,
            term: byte,
            times: byte,
        },
    };
    Testimony {
        subject: NodeId([byte; 32]),
        epoch: Epoch(20_000),
        watcher: NodeKey([byte; 32]),
        number: 513,
        words,
        signature: Signature([byte; 64]),
    }
}

fn challenge_answer(byte: u8, count: usize) -> ChallengeAnswer {
    ChallengeAnswer {
        nonce: [byte; 32],
        class: byte % 9,
        tags: vec![[byte; 8]; count.min(limits::CHALLENGE_PAGES_MAX as usize)],
        signature: Signature([byte; 64]),
    }
}

fn tally(byte: u8) -> Tally {
    let number = u32::from(byte);
    Tally {
        subject: NodeId([byte; 32]),
        epoch: Epoch(20_000),
        swept: 500,
        missing: number,
        asked: 300,
        failed: number / 2,
    }
}

/// One message of each type, with up to `count` elements in those that have a list.
fn every_message(byte: u8, count: usize, size: SizeClass) -> Vec<Message> {
    let copy = copy(size, byte);
    let copied = |outcome| {
        Message::Copied(Copied {
            arrival: Tick(9),
            promise: promise(byte),
            outcome,
        })
    };
    let members = |most: usize| (0..count.min(most)).map(|n| member(n as u32)).collect();
    vec![
        Message::Refusal(Refusal::TooBusy {
            retry_after_ms: 1_000,
        }),
        Message::Reconcile(Reconcile {
            exchange: u32::from(byte),
            step: byte,
            ranges: Bytes::from(vec![byte; count]),
        }),
        Message::Want(vec![[byte; 32]; count]),
        Message::Records(members(limits::RECORDS_PER_MESSAGE_MAX)),
        Message::ListAsk(ListAsk {
            held: [byte; 32],
            from: 13,
        }),
        Message::ListPart(ListPart {
            hash: [byte; 32],
            total: 100,
            from: 13,
            members: members(RECORDS_IN_LIST_PART_MAX),
        }),
        Message::Copy(copy),
        Message::Copy(long_copy(size, byte)),
        copied(Ok(receipt(byte))),
        copied(Err(Refusal::DiskFull)),
        Message::Erase(erase(byte)),
        Message::CardCopy(card_put(byte)),
        Message::Deposit(deposit(size, byte)),
        Message::Fetch(fetch(byte)),
        Message::Delete(erase(byte)),
        Message::CardPut(card_put(byte)),
        Message::CardAsk(CardAsk {
            keys: keys(byte),
            time: UnixTime(1_728_036_000_000),
            signature: Signature([byte; 64]),
        }),
        Message::Deposited(Deposited {
            arrival: Tick(9),
            receipts: vec![receipt(byte); count.min(RECEIPTS_MAX)],
        }),
        Message::Page(Page {
            count: 40,
            fingerprint: [byte; 16],
            more: byte % 2 == 1,
            rows: vec![(Tick(9), envelope(SizeClass::Small, byte)); count.min(20)],
        }),
        Message::Done {
            existed: byte % 2 == 1,
        },
        Message::Card(card(byte)),
        Message::Elsewhere(vec![NodeId([byte; 32]); count.min(RECEIPTS_MAX)]),
        Message::Compare(Compare {
            exchange: u32::from(byte),
            step: 1,
            scope: Some(Scope {
                epoch: Epoch(20_000),
                cells: (0..count.max(1)).map(|n| Cell(n as u16)).collect(),
            }),
            ranges: Bytes::from(vec![byte; count]),
        }),
        Message::Compare(Compare {
            exchange: u32::from(byte),
            step: byte.max(2),
            scope: None,
            ranges: Bytes::from(vec![byte; count]),
        }),
        sweep(byte, Step::Open(sweep_open(byte))),
        sweep(
            byte,
            Step::Reply(Reply {
                open: [byte; 32],
                proof: [byte; 32],
                signature: Signature([byte; 64]),
            }),
        ),
        sweep(
            byte,
            Step::Reveal {
                proof: [byte; 32],
                salt: [byte; 32],
            },
        ),
        sweep(byte, Step::Listing(sweep_listing(byte, count))),
        Message::ReconcileTestimonies(Reconcile {
            exchange: u32::from(byte),
            step: byte,
            ranges: Bytes::from(vec![byte; count]),
        }),
        Message::WantTestimonies(vec![[byte; 32]; count]),
        Message::Testimonies(vec![
            testimony(byte);
            count.min(limits::TESTIMONIES_PER_MESSAGE_MAX)
        ]),
        Message::Tallies(vec![
            tally(byte);
            count.min(limits::TALLIES_PER_MESSAGE_MAX)
        ]),
        Message::Proof(Proof::Pledge(Box::new(pledge_evidence(byte, count)))),
        Message::Proof(Proof::Lost(Box::new(loss(byte, count)))),
        Message::Proof(Proof::Twice(Box::new(twice(byte)))),
        Message::Challenge(Challenge {
            class: 1 + byte % 8,
            nonce: [byte; 32],
        }),
        Message::ChallengeAnswer(challenge_answer(byte, count)),
        // Those without a body are the last, so that tests of bodies can leave them out.
        Message::Here,
        Message::Probe,
    ]
}

fn there_and_back(message: &Message) {
    let bytes = message.encode();
    let read = Message::decode(message.kind(), Bytes::from(bytes.clone()));
    assert_eq!(read.as_ref(), Ok(message));
    assert_eq!(read.unwrap().encode(), bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_message_comes_back_as_it_was(byte: u8, count in 0_usize..40, large: bool) {
        let size = if large { SizeClass::Large } else { SizeClass::Small };
        for message in every_message(byte, count, size) {
            there_and_back(&message);
        }
    }

    /// A byte more, or one less at the end, is no message; but a list of ranges has no length of its own.
    #[test]
    fn a_message_of_another_length_is_malformed(byte: u8, count in 1_usize..5) {
        for message in every_message(byte, count, SizeClass::Small) {
            let bytes = message.encode();
            let mut longer = bytes.clone();
            longer.push(0);
            let ranges = [kind::RECONCILE, kind::COMPARE, kind::RECONCILE_TESTIMONIES];
            if !ranges.contains(&message.kind()) {
                let shorter = bytes.split_last().map(|(_, rest)| rest.to_vec());
                for other in shorter.into_iter().chain([longer]) {
                    prop_assert!(Message::decode(message.kind(), Bytes::from(other)).is_err());
                }
            }
        }
    }

    /// Layouts are fixed: whatever decodes is the one encoding of what it says.
    #[test]
    fn a_bent_message_is_another_one_or_none(
        which: prop::sample::Index, at: prop::sample::Index, bits in 1_u8..,
    ) {
        let mut all = every_message(3, 2, SizeClass::Small);
        all.retain(|message| !message.encode().is_empty());
        let message = which.get(&all);
        let mut bytes = message.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        if let Ok(read) = Message::decode(message.kind(), Bytes::from(bytes.clone())) {
            prop_assert_ne!(&read, message);
            prop_assert_eq!(read.encode(), bytes);
        }
    }
}

/// Every decoder, with arbitrary bytes.
#[test]
fn arbitrary_bytes_are_no_message_or_the_one_encoding_of_it() {
    let kinds: Vec<u16> = every_message(1, 1, SizeClass::Small)
        .iter()
        .map(Message::kind)
        .collect();
    bolero::check!()
        .with_iterations(3_000)
        .for_each(|bytes: &[u8]| {
            for kind in &kinds {
                if let Ok(message) = Message::decode(*kind, Bytes::copy_from_slice(bytes)) {
                    assert_eq!(message.encode(), bytes, "{kind:#06x}");
                    assert_eq!(message.kind(), *kind);
                }
            }
        });
}

#[test]
fn unknown_types_are_refused_and_known_ones_are_exactly_these() {
    let known: Vec<u16> = every_message(1, 1, SizeClass::Small)
        .iter()
        .map(Message::kind)
        .collect();
    for code in 0..=u16::MAX {
        let decoded = Message::decode(code, Bytes::new());
        let unknown = Malformed {
            field: "message type",
            at: 0,
        };
        assert_eq!(
            decoded == Err(unknown),
            !known.contains(&code),
            "{code:#06x}"
        );
    }
}

#[test]
fn a_malformed_field_is_named() {
    let mut fetch_class = Message::Fetch(fetch(1)).encode();
    fetch_class[65 + 36 + 8] = 2;
    let mut flags = Message::Delete(erase(1)).encode();
    flags[4] = 4;
    let mut done = Message::Done { existed: true }.encode();
    done[0] = 2;
    let mut version = Message::Deposit(deposit(SizeClass::Small, 1)).encode();
    version[65 + 128] = 2;
    let mut copied = Message::Copied(Copied {
        arrival: Tick(1),
        promise: promise(1),
        outcome: Ok(receipt(1)),
    })
    .encode();
    copied[9] = 1;
    let mut long = Message::Copy(long_copy(SizeClass::Small, 1)).encode();
    long.truncate(long.len() - 64);
    let mut short = Message::Copy(copy(SizeClass::Small, 1)).encode();
    short.extend([1; 64]);
    let testimonies = |at: usize, byte: u8| {
        let mut bytes = Message::Testimonies(vec![testimony(1)]).encode();
        bytes[2 + at] = byte;
        bytes
    };
    let twice = Message::Proof(Proof::Twice(Box::new(twice(1)))).encode();
    let (lower, higher) = twice[1..].split_at(RECORD_BYTES);
    let swapped = [&[5], higher, lower].concat();
    let mut tallies = Message::Tallies(vec![tally(1)]).encode();
    tallies[2 + 40] = 9;
    let refusal = |code: u8, detail: u8| vec![0, code, 0, 0, 0, 0, 0, 0, 0, detail];
    let cases = [
        (kind::FETCH, fetch_class, "answer class"),
        (kind::DELETE, flags, "mailbox flags"),
        (kind::DONE, done, "existed"),
        (kind::DEPOSIT, version, "envelope"),
        (kind::COPY, long, "long-stay signature"),
        (kind::COPY, short, "end"),
        (kind::COPIED, copied, "outcome detail"),
        (kind::REFUSAL, refusal(17, 0), "refusal code"),
        (kind::REFUSAL, refusal(0, 0), "refusal code"),
        (kind::REFUSAL, refusal(1, 1), "refusal detail"),
        (
            kind::REFUSAL,
            vec![0, 12, 1, 0, 0, 0, 0, 0, 0, 0],
            "refusal detail",
        ),
        (kind::WANT, vec![255, 255], "items"),
        (kind::RECORDS, vec![0, 13], "records"),
        (
            kind::LIST_PART,
            [vec![0; 40], vec![0, 14]].concat(),
            "records",
        ),
        (kind::DEPOSITED, vec![0, 0, 0, 0, 0, 33], "receipts"),
        (kind::ELSEWHERE, vec![0, 33], "holders"),
        (kind::CARD, vec![0; 100], "sealed card"),
        (kind::TESTIMONIES, testimonies(70, 8), "flags"),
        (kind::TESTIMONIES, testimonies(72, 101), "available"),
        (kind::TALLIES, tallies, "tally"),
        (kind::PROOF, vec![3], "kind of proof"),
        (kind::PROOF, swapped, "records"),
        (kind::CHALLENGE, vec![9; 33], "class"),
        (kind::CHALLENGE, vec![0; 33], "class"),
        (kind::CHALLENGE_ANSWER, vec![9; 99], "class"),
        (
            kind::CHALLENGE_ANSWER,
            [vec![8; 97], vec![1, 1]].concat(),
            "tags",
        ),
    ];
    for (code, bytes, field) in cases {
        let wrong = Message::decode(code, Bytes::from(bytes)).unwrap_err();
        assert_eq!(wrong.field, field);
    }
}

/// [REF-1]
#[test]
fn every_refusal_keeps_its_code_and_its_detail() {
    for code in 1..=16_u8 {
        for detail in [0_u64, 60_000] {
            let mut writer = Writer::with_capacity(10);
            writer.u16(u16::from(code)).u64(detail);
            let bytes = Bytes::from(writer.finish());
            if let Ok(Message::Refusal(refusal)) = Message::decode(kind::REFUSAL, bytes) {
                assert_eq!(refusal.code(), u16::from(code));
                assert_eq!(refusal.detail(), detail);
                there_and_back(&Message::Refusal(refusal));
            } else {
                assert_ne!(detail, 0, "code {code}");
            }
        }
    }
}

/// [FRM-1]: the largest of each type fills its maximum and no more.
#[test]
fn the_largest_message_of_each_type_fits_its_frame() {
    for mut message in every_message(1, limits::IDS_PER_MESSAGE_MAX, SizeClass::Large) {
        if let Message::Reconcile(reconcile) = &mut message {
            let most = limits::RECONCILE_KEY_BYTES + limits::RECONCILE_BYTES_MAX;
            reconcile.ranges = Bytes::from(vec![0; most]);
            there_and_back(&message);
            let Message::Reconcile(mut more) = message.clone() else {
                panic!()
            };
            more.ranges = Bytes::from(vec![0; most + 1]);
            let bytes = Bytes::from(Message::Reconcile(more).encode());
            assert!(Message::decode(kind::RECONCILE, bytes).is_err());
        }
        if let Message::ReconcileTestimonies(reconcile) = &mut message {
            let most = limits::RECONCILE_KEY_BYTES + limits::RECONCILE_BYTES_MAX;
            reconcile.ranges = Bytes::from(vec![0; most]);
        }
        if let Message::Compare(compare) = &mut message
            && compare.scope.is_some()
        {
            let most = limits::RECONCILE_KEY_BYTES + limits::RECONCILE_BYTES_MAX;
            compare.ranges = Bytes::from(vec![0; most]);
        }
        let Some(frame) = FrameKind::from_code(message.kind()) else {
            continue;
        };
        let bytes = message.encode().len();
        let lacks = match &message {
            Message::Copied(copied) => copied.outcome.is_err(),
            Message::Copy(copy) => copy.row.long_stay.is_none(),
            Message::Compare(compare) => compare.scope.is_none(),
            Message::Sweep(sweep) => !matches!(sweep.step, Step::Listing(_)),
            Message::Proof(proof) => !matches!(proof, Proof::Lost(_)),
            _ => false,
        };
        assert_eq!(
            bytes == frame.body_bytes_max(),
            !lacks,
            "{frame:?}: {bytes}"
        );
    }
}

/// A request fits the onion that carries it and an answer the answer's class, with what lies around them.
#[test]
fn requests_and_answers_fit_the_sizes_of_onions() {
    let onion = |size: SizeClass| match size {
        SizeClass::Small => limits::ONION_SMALL_BYTES,
        SizeClass::Large => limits::ONION_LARGE_BYTES,
    };
    for size in [SizeClass::Small, SizeClass::Large] {
        for message in every_message(1, 40, size) {
            let carried = match message {
                Message::Deposit(_) => size,
                Message::Fetch(_)
                | Message::Delete(_)
                | Message::CardAsk(_)
                | Message::ListAsk(_) => SizeClass::Small,
                Message::CardPut(_) => SizeClass::Large,
                _ => continue,
            };
            let bytes = limits::ONION_HEADER_BYTES + 6 + message.encode().len();
            assert!(bytes <= onion(carried), "{:#06x}", message.kind());
        }
    }
    for message in every_message(1, 40, SizeClass::Small) {
        let most = match message {
            Message::Refusal(_)
            | Message::Deposited(_)
            | Message::Done { .. }
            | Message::Elsewhere(_) => limits::ANSWER_SMALL_BYTES,
            Message::Page(_) | Message::Card(_) | Message::ListPart(_) => {
                limits::ANSWER_LARGE_BYTES
            }
            _ => continue,
        };
        let bytes = limits::ANSWER_OVERHEAD_BYTES + message.encode().len();
        assert!(bytes <= most, "{:#06x}: {bytes}", message.kind());
    }
}

/// [ENV-1], [ENV-2], [ENV-3]: the header in full, the rest by its hash, which is the id.
#[test]
fn envelopes_are_those_of_the_vectors() {
    let mut lines = Vec::new();
    let names = [("small", SizeClass::Small), ("large", SizeClass::Large)];
    for (name, size) in names {
        let envelope = envelope(size, 1);
        let scale = crate::time::TimeScale { minute_ms: 60_000 };
        let header = envelope.header();
        lines.push((name, "header", hex_of(&header.encode())));
        lines.push((name, "id", hex_of(&envelope.id().0)));
        lines.push((name, "epoch", hex_of(&header.epoch().0.to_be_bytes())));
        lines.push((
            name,
            "expires",
            hex_of(&header.expires(scale).0.to_be_bytes()),
        ));
    }
    compare(ENVELOPE, &lines);
}

/// [ROW-1]: what a copy carries beside keys and age is the row, and two small ones share a page of 4 KiB.
#[test]
fn a_row_with_its_key_fits_its_share_of_a_page() {
    for (size, most) in [
        (SizeClass::Small, limits::ROW_SMALL_BYTES_MAX),
        (SizeClass::Large, limits::ROW_LARGE_BYTES_MAX),
    ] {
        let row = limits::ROW_HEADER_BYTES + size.envelope_bytes();
        let cases = [(copy(size, 1), row), (long_copy(size, 1), row + 64)];
        for (copy, bytes) in cases {
            let encoded = Message::Copy(copy.clone()).encode();
            assert_eq!(encoded.len() - 1 - 65, bytes);
            assert_eq!(copy.row.encoded_bytes(), bytes);
            assert!(bytes + 8 <= most);
        }
    }
}

/// [RCP-1], [RCP-2]
#[test]
fn a_receipt_is_that_of_the_vectors() {
    let secret = crate::crypto::SecretKey::from_seed(&[5; 32]);
    let network = crate::members::testing::network();
    let promise = Promise::of(&envelope(SizeClass::Small, 1), &network);
    let statement = promise.statement(&network.id(), Tick(2_880_061));
    let receipt = Receipt {
        holder: NodeKey(*secret.public()),
        time: Tick(2_880_061),
        signature: crate::crypto::sign(&secret, &statement),
    };
    assert!(receipt.binds(&promise, &network.id(), &crate::members::testing::Signing));
    let mut other = promise;
    other.expires = other.expires.plus(1);
    assert!(!receipt.binds(&other, &network.id(), &crate::members::testing::Signing));
    let written = |write: &dyn Fn(&mut Writer)| {
        let mut writer = Writer::with_capacity(100);
        write(&mut writer);
        hex_of(&writer.finish())
    };
    let lines = [
        (
            "promise",
            "bytes",
            written(&|writer| promise.encode(writer)),
        ),
        ("receipt", "statement", hex_of(&statement)),
        (
            "receipt",
            "bytes",
            written(&|writer| receipt.encode(writer)),
        ),
    ];
    compare(RECEIPT, &lines);
}

/// Short messages in full, long ones by BLAKE3 of their bytes.
#[test]
fn messages_are_those_of_the_vectors() {
    let mut lines = Vec::new();
    let names = [
        "refusal",
        "reconcile",
        "want",
        "records",
        "list-ask",
        "list-part",
        "copy",
        "copy-long-stay",
        "copied",
        "not-copied",
        "erase",
        "card-copy",
        "deposit",
        "fetch",
        "delete",
        "card-put",
        "card-ask",
        "deposited",
        "page",
        "done",
        "card",
        "elsewhere",
        "compare",
        "compare-step",
        "sweep-open",
        "sweep-reply",
        "sweep-reveal",
        "sweep-listing",
        "reconcile-testimonies",
        "want-testimonies",
        "testimonies",
        "tallies",
        "proof-pledge",
        "proof-lost",
        "proof-twice",
        "challenge",
        "challenge-answer",
        "here",
        "probe",
    ];
    let messages = every_message(1, 2, SizeClass::Small);
    assert_eq!(messages.len(), names.len());
    for (name, message) in names.into_iter().zip(&messages) {
        let bytes = message.encode();
        lines.push((name, "type", hex_of(&message.kind().to_be_bytes())));
        if bytes.len() <= 400 {
            lines.push((name, "bytes", hex_of(&bytes)));
        } else {
            let length = u32::try_from(bytes.len()).unwrap();
            lines.push((name, "length", hex_of(&length.to_be_bytes())));
            lines.push((name, "blake3", hex_of(blake3::hash(&bytes).as_bytes())));
        }
    }
    compare(MESSAGES, &lines);
}

fn compare(file: &str, lines: &[(&str, &str, String)]) {
    let names: Vec<String> = lines
        .iter()
        .map(|(of, what, _)| alloc::format!("{of}.{what}"))
        .collect();
    let lines: Vec<(&str, String)> = names
        .iter()
        .zip(lines)
        .map(|(name, (_, _, value))| (name.as_str(), value.clone()))
        .collect();
    check_vectors(file, &lines);
}

fn hex_of(bytes: &[u8]) -> String {
    hex(bytes)
}

/// The address is that of the keys in the vectors ([ADR-4]).
#[test]
fn the_envelopes_of_the_vectors_are_for_their_mailbox() {
    let address: MailboxAddress = keys(1).address();
    assert_eq!(envelope(SizeClass::Small, 1).header().address, address);
}
