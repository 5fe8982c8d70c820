//! Every message there and back, every decoder under arbitrary bytes, and the sizes that onions allow.

use alloc::vec;
use alloc::vec::Vec;
use alloc::{boxed::Box, string::String};

use proptest::prelude::*;

use super::*;
use crate::envelope::SizeClass;
use crate::id::{MailboxAddress, NodeKey, hex};
use crate::mailbox::receipt::{Promise, Receipt};
use crate::members::RECORD_BYTES;
use crate::members::testing::check_vectors;
use crate::time::Tick;
use crate::wire::codec::Malformed;
use crate::wire::frames::FrameKind;
use crate::wire::members::NAMES_IN_ROSTER_PART_MAX;
use crate::wire::proof::Proof;
use crate::wire::sweeps::Step;

mod fuzz;
mod parts;
mod proofs;
mod samples;

use proofs::twice;
use samples::*;

const ENVELOPE: &str = include_str!("../../../docs/spec/vectors/envelope.txt");
const RECEIPT: &str = include_str!("../../../docs/spec/vectors/receipt.txt");
const MESSAGES: &str = include_str!("../../../docs/spec/vectors/messages.txt");

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
        (kind::WANT, vec![0, 255, 255], "items"),
        (kind::WANT, vec![2], "with keys"),
        (kind::RECORDS, vec![0, 13], "records"),
        (
            kind::LIST_PART,
            [vec![0; 40], vec![0, 14]].concat(),
            "records",
        ),
        (
            kind::ROSTER_PART,
            [vec![0; 40], vec![8, 1]].concat(),
            "names",
        ),
        (kind::DEPOSITED, vec![0, 0, 0, 0, 0, 33], "receipts"),
        (kind::ELSEWHERE, vec![0, 33], "holders"),
        (kind::CARD, vec![0; 100], "sealed card"),
        (kind::TESTIMONIES, testimonies(71, 8), "flags"),
        (kind::TESTIMONIES, testimonies(73, 101), "available"),
        (kind::TESTIMONIES, testimonies(38, 0), "subjects"),
        (kind::TESTIMONIES, testimonies(39, 9), "subject"),
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
        let most = limits::RECONCILE_KEY_BYTES + limits::RECONCILE_BYTES_MAX;
        match &mut message {
            Message::RosterPart(part) => part.names = vec![[1; 16]; NAMES_IN_ROSTER_PART_MAX],
            Message::ReconcileTestimonies(step) => step.ranges = Bytes::from(vec![0; most]),
            Message::Compare(step) if step.scope.is_some() => {
                step.ranges = Bytes::from(vec![0; most]);
            }
            Message::Proof(Proof::Lost(loss)) => {
                loss.listed.listing.items.truncate(125);
                loss.envelope = envelope(SizeClass::Large, 1);
            }
            Message::Testimonies(all) => {
                for one in all {
                    let first = one.about[0];
                    one.about = vec![first; Testimony::ABOUT_MAX];
                }
            }
            _ => {}
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
                | Message::ListAsk(_)
                | Message::RosterAsk(_) => SizeClass::Small,
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
            Message::Page(_) | Message::Card(_) | Message::ListPart(_) | Message::RosterPart(_) => {
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
        "roster-ask",
        "roster-part",
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
        "heads",
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
