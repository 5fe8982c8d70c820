//! Decoders under bent messages, and the corpus of what came of it: for each type of message the shortest bytes
//! that were refused at each of its fields.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use data_encoding::HEXLOWER;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

use super::*;

const CORPUS: &str = include_str!("../../../../docs/spec/vectors/malformed.txt");

/// Type of message and refused field, with the bytes.
type Corpus = BTreeMap<(u16, String), Vec<u8>>;

fn corpus() -> Corpus {
    let lines = CORPUS.lines().filter(|line| !line.starts_with('#'));
    let line = |line: &str| {
        let (name, bytes) = line.split_once(" =").unwrap();
        let (code, field) = name.split_once(' ').unwrap();
        let code = u16::from_str_radix(code, 16).unwrap();
        let bytes = HEXLOWER.decode(bytes.trim().as_bytes()).unwrap();
        ((code, field.into()), bytes)
    };
    lines.map(line).collect()
}

/// What a decoder says of `bytes`: the field that is wrong, or nothing if they are the one encoding of a message.
fn refused(code: u16, bytes: &[u8]) -> Option<&'static str> {
    match Message::decode(code, Bytes::copy_from_slice(bytes)) {
        Ok(message) => {
            assert_eq!(message.kind(), code);
            assert_eq!(message.encode(), bytes, "{code:#06x}");
            None
        }
        Err(malformed) => {
            assert!(malformed.at <= bytes.len(), "{malformed}");
            Some(malformed.field)
        }
    }
}

/// Changes, cuts or lengthens `bytes` somewhere, as `choice` says.
fn bend(bytes: &mut Vec<u8>, choice: [u8; 5]) {
    let [how, high, low, value, more] = choice;
    let at = usize::from(u16::from_be_bytes([high, low])) % bytes.len().max(1);
    let until = bytes.len().min(at + usize::from(more % 8));
    match how % 6 {
        0 => bytes.truncate(at),
        1 => bytes.extend(core::iter::repeat_n(value, usize::from(more))),
        2 => bytes[at..until].fill(0xff),
        3 => bytes[at..until].fill(value),
        4 => drop(bytes.drain(at..until)),
        _ => bytes
            .get_mut(at)
            .into_iter()
            .for_each(|byte| *byte ^= value),
    }
}

/// Every input of the corpus is refused where its line says, and harms no other decoder.
#[test]
fn malformed_messages_are_refused_at_the_field_of_the_corpus() {
    let corpus = corpus();
    let known: Vec<u16> = every_message(1, 1, SizeClass::Small)
        .iter()
        .map(Message::kind)
        .collect();
    for ((code, field), bytes) in &corpus {
        assert_eq!(refused(*code, bytes), Some(field.as_str()), "{code:04x}");
        for other in &known {
            let _ = refused(*other, bytes);
        }
    }
    assert!(corpus.len() > 100, "{}", corpus.len());
}

/// Bends messages in the same ways at every run. A reason for which a type of message is refused has a line in the
/// corpus; the failure prints those that are missing.
#[test]
fn every_reason_to_refuse_a_message_is_in_the_corpus() {
    let corpus = corpus();
    let mut random = ChaCha12Rng::seed_from_u64(1);
    let mut found = Corpus::new();
    for (byte, count) in [(0, 0), (1, 1), (3, 2), (2, 30)] {
        for message in every_message(byte, count, SizeClass::Small) {
            for _ in 0..BENDS {
                let mut bytes = message.encode();
                for _ in 0..=random.next_u32() % 2 {
                    let mut choice = [0; 5];
                    random.fill_bytes(&mut choice);
                    bend(&mut bytes, choice);
                }
                let Some(field) = refused(message.kind(), &bytes) else {
                    continue;
                };
                if bytes.len() <= CORPUS_BYTES_MAX {
                    let shortest = found.entry((message.kind(), field.into()));
                    let shortest = shortest.or_insert_with(|| bytes.clone());
                    if bytes.len() < shortest.len() {
                        *shortest = bytes;
                    }
                }
            }
        }
    }
    let missing: String = found
        .iter()
        .filter(|(key, _)| !corpus.contains_key(*key))
        .map(|((code, field), bytes)| format!("{code:04x} {field} = {}\n", HEXLOWER.encode(bytes)))
        .collect();
    assert!(missing.is_empty(), "malformed.txt lacks:\n{missing}");
}

/// Messages bent at will are other messages or none.
#[test]
fn messages_bent_at_will_are_the_one_encoding_of_others_or_refused() {
    let messages: Vec<(u16, Vec<u8>)> = [0, 1, 3]
        .into_iter()
        .flat_map(|count| every_message(count, usize::from(count), SizeClass::Small))
        .map(|message| (message.kind(), message.encode()))
        .collect();
    bolero::check!()
        .with_iterations(20_000)
        .with_type::<(u16, Vec<[u8; 5]>)>()
        .for_each(|(which, bends)| {
            let (code, bytes) = &messages[usize::from(*which) % messages.len()];
            let mut bytes = bytes.clone();
            bends
                .iter()
                .take(8)
                .for_each(|choice| bend(&mut bytes, *choice));
            let _ = refused(*code, &bytes);
        });
}

/// Bent forms of each message.
const BENDS: usize = 300;
/// Longer ones would make the file large and say nothing more.
const CORPUS_BYTES_MAX: usize = 1_000;
