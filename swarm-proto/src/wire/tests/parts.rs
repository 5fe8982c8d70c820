//! Decoders of what is in messages, bent byte by byte, and the corpus of what came of it: for each the shortest bytes
//! that were refused at each of its fields. Those of other crates read their own lines of it.

use alloc::collections::BTreeMap;
use alloc::format;

use data_encoding::HEXLOWER;

use super::*;
use crate::envelope::{BadEnvelope, Envelope, EnvelopeHeader, ExpiryClass};
use crate::members::Record;
use crate::members::testing::record;
use crate::onion::Inner;

const CORPUS: &str = include_str!("../../../../docs/spec/vectors/malformed-parts.txt");

/// What a decoder says: the field that is wrong, or nothing if the bytes are the one encoding of something.
type Refused = fn(&[u8]) -> Option<&'static str>;

fn record_refused(bytes: &[u8]) -> Option<&'static str> {
    match Record::decode(Bytes::copy_from_slice(bytes)) {
        Ok(record) => {
            assert_eq!(record.encode(), bytes);
            None
        }
        Err(malformed) => Some(malformed.field),
    }
}

fn envelope_refused(bytes: &[u8]) -> Option<&'static str> {
    match Envelope::decode(Bytes::copy_from_slice(bytes)) {
        Ok(envelope) => {
            assert_eq!(envelope.bytes(), bytes);
            None
        }
        Err(BadEnvelope::Size) => Some("size"),
        Err(BadEnvelope::Version) => Some("version"),
        Err(BadEnvelope::Class) => Some("class"),
        Err(BadEnvelope::Expiry) => Some("expiry"),
        Err(BadEnvelope::Reserved) => Some("reserved"),
    }
}

fn inner_refused(bytes: &[u8]) -> Option<&'static str> {
    match Inner::decode(Bytes::copy_from_slice(bytes)) {
        Ok(inner) => {
            assert_eq!(inner.encode(bytes.len()).unwrap(), bytes);
            None
        }
        Err(malformed) => Some(malformed.field),
    }
}

/// Each decoder with something that it takes.
fn parts() -> [(&'static str, Refused, Vec<u8>); 3] {
    let header = EnvelopeHeader {
        size: SizeClass::Small,
        expiry: ExpiryClass::Day,
        made: Tick(1),
        address: MailboxAddress([2; 32]),
    };
    let envelope = Envelope::assemble(header, &vec![3; SizeClass::Small.body_bytes()]).unwrap();
    let inner = Inner {
        kind: 0x0101,
        body: Bytes::from_static(&[4; 9]),
    };
    [
        ("record", record_refused, record(1).encode()),
        ("envelope", envelope_refused, envelope.bytes().to_vec()),
        ("inner", inner_refused, inner.encode(24).unwrap()),
    ]
}

/// The shortest bytes refused for each reason among all beginnings of `good`, one byte more, and one byte changed.
fn bent(good: &[u8], refused: Refused) -> BTreeMap<&'static str, Vec<u8>> {
    let mut found: BTreeMap<&'static str, Vec<u8>> = BTreeMap::new();
    let mut look = |bytes: &[u8]| {
        if let Some(field) = refused(bytes) {
            let shortest = found.entry(field).or_insert_with(|| bytes.to_vec());
            if bytes.len() < shortest.len() {
                *shortest = bytes.to_vec();
            }
        }
    };
    look(&[good, &[1]].concat());
    for at in 0..good.len().min(BENT_MAX) {
        look(&good[..at]);
        for value in [0, 0xff, good[at] ^ 1] {
            let mut bytes = good.to_vec();
            bytes[at] = value;
            for end in [at + 1, bytes.len().min(HEAD_BYTES), bytes.len()] {
                look(&bytes[..end]);
            }
        }
    }
    found
}

/// Every line is refused where it says, and harms no other decoder.
#[test]
fn malformed_parts_are_refused_at_the_field_of_the_corpus() {
    let mut count = 0;
    for line in CORPUS.lines().filter(|line| !line.starts_with('#')) {
        let (name, bytes) = line.split_once(" =").unwrap();
        let bytes = HEXLOWER.decode(bytes.trim().as_bytes()).unwrap();
        for (part, refused, _) in parts() {
            let said = refused(&bytes);
            if let Some(field) = name.strip_prefix(part) {
                assert_eq!(said, Some(field.trim()), "{name}");
                count += 1;
            }
        }
    }
    assert!(count > 15, "{count}");
}

#[test]
fn every_reason_to_refuse_a_part_is_in_the_corpus() {
    let mut missing = String::new();
    for (part, refused, good) in parts() {
        assert_eq!(refused(&good), None, "{part}");
        for (field, bytes) in bent(&good, refused) {
            let name = format!("{part} {field} =");
            if !CORPUS.lines().any(|line| line.starts_with(&name)) {
                missing += &format!("{name} {}\n", HEXLOWER.encode(&bytes));
            }
        }
    }
    assert!(missing.is_empty(), "malformed-parts.txt lacks:\n{missing}");
}

/// An envelope's header; no more of it has to be there for most reasons.
const HEAD_BYTES: usize = 40;
/// What comes later in an envelope is sealed: every value of it is right.
const BENT_MAX: usize = 300;
