//! One sample of each message, for the tests of all of them.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::proofs::{loss, past, pledge_evidence, twice};
use crate::crypto::{OnionPublicKey, Signature};
use crate::envelope::{Envelope, EnvelopeHeader, ExpiryClass, SizeClass};
use crate::id::{EnvelopeId, NodeId, NodeKey};
use crate::limits;
use crate::mailbox::receipt::{Promise, Receipt};
use crate::members::testing::record;
use crate::members::{OnionKeys, onion_key_hash};
use crate::place::Cell;
use crate::store::{Card, Cursor, MailboxKeys, Page, Part, Row, Tombstone};
use crate::time::{Epoch, Hour, Tick, UnixTime};
use crate::wire::Message;
use crate::wire::copies::{Compare, Copied, Copy, CopyAge, Scope};
use crate::wire::mailbox::{CardAsk, CardPut, Deposit, Deposited, Erase, Fetch, RECEIPTS_MAX};
use crate::wire::members::{
    ListAsk, ListPart, NAMES_IN_ROSTER_PART_MAX, RECORDS_IN_LIST_PART_MAX, Reconcile,
    RecordWithKeys, RosterAsk, RosterPart, Want,
};
use crate::wire::pledge::{Challenge, ChallengeAnswer};
use crate::wire::proof::Proof;
use crate::wire::refusal::Refusal;
use crate::wire::standing::{About, Heads, Tally, Testimony, Words};
use crate::wire::sweeps::{Listing, Open, Reply, Step, Sweep};

pub(super) fn keys(byte: u8) -> MailboxKeys {
    MailboxKeys {
        flags: byte % 4,
        read: [byte; 32],
        write: [byte.wrapping_add(1); 32],
    }
}

pub(super) fn envelope(size: SizeClass, byte: u8) -> Envelope {
    envelope_for(size, byte, ExpiryClass::Day)
}

pub(super) fn envelope_for(size: SizeClass, byte: u8, expiry: ExpiryClass) -> Envelope {
    let header = EnvelopeHeader {
        size,
        expiry,
        made: Tick(2_880_060),
        address: keys(byte).address(),
    };
    Envelope::assemble(header, &vec![byte; size.body_bytes()]).unwrap()
}

pub(super) fn receipt(byte: u8) -> Receipt {
    Receipt {
        holder: NodeKey([byte; 32]),
        time: Tick(u32::from(byte)),
        signature: Signature([byte; 64]),
    }
}

pub(super) fn promise(byte: u8) -> Promise {
    Promise {
        cell: Cell(u16::from(byte)),
        epoch: Epoch(20_000),
        id: EnvelopeId([byte; 32]),
        length: 1_856,
        expires: Hour(480_034),
    }
}

pub(super) fn card(byte: u8) -> Card {
    Card {
        sequence: u64::from(byte),
        expires: Hour(480_034),
        signature: Signature([byte; 64]),
        sealed: Bytes::from(vec![byte; limits::CARD_BYTES]),
    }
}

pub(super) fn member(number: u32) -> RecordWithKeys {
    let key = OnionPublicKey(std::sync::Arc::new([7; 1_216]));
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

pub(super) fn erase(byte: u8) -> Erase {
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

pub(super) fn card_put(byte: u8) -> CardPut {
    CardPut {
        epoch: Epoch(20_000),
        keys: keys(byte),
        card: card(byte),
    }
}

pub(super) fn deposit(size: SizeClass, byte: u8) -> Deposit {
    Deposit {
        keys: keys(byte),
        write_signature: Signature([byte; 64]),
        long_stay: (byte % 2 == 1).then_some(Signature([byte; 64])),
        envelope: envelope(size, byte),
    }
}

pub(super) fn fetch(byte: u8) -> Fetch {
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

pub(super) fn copy(size: SizeClass, byte: u8) -> Copy {
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
pub(super) fn long_copy(size: SizeClass, byte: u8) -> Copy {
    let mut copy = copy(size, byte);
    copy.row.envelope = envelope_for(size, byte, ExpiryClass::Days30);
    copy.row.long_stay = Some(Signature([byte; 64]));
    copy
}

pub(super) fn sweep(byte: u8, step: Step) -> Message {
    Message::Sweep(Sweep {
        exchange: u32::from(byte),
        step,
    })
}

pub(super) fn sweep_open(byte: u8) -> Open {
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

pub(super) fn sweep_listing(byte: u8, count: usize) -> Listing {
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

pub(super) fn testimony(byte: u8) -> Testimony {
    let words = Words {
        absent: byte % 2 == 1,
        last: byte % 4 > 1,
        suspend: byte % 8 > 3,
        age: byte,
        available: Some(byte % 101),
        kept: None,
        class: byte,
        past: past(byte),
    };
    let about = |first| About {
        subject: NodeId([first; 32]),
        words,
    };
    Testimony {
        epoch: Epoch(20_000),
        watcher: NodeKey([byte; 32]),
        number: 513,
        about: vec![about(byte / 2), about(byte / 2 + 1)],
        signature: Signature([byte; 64]),
    }
}

pub(super) fn challenge_answer(byte: u8, count: usize) -> ChallengeAnswer {
    ChallengeAnswer {
        nonce: [byte; 32],
        class: byte % 9,
        tags: vec![[byte; 8]; count.min(limits::CHALLENGE_PAGES_MAX as usize)],
        signature: Signature([byte; 64]),
    }
}

pub(super) fn tally(byte: u8) -> Tally {
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
pub(super) fn every_message(byte: u8, count: usize, size: SizeClass) -> Vec<Message> {
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
        Message::Want(Want {
            with_keys: byte.is_multiple_of(2),
            items: vec![[byte; 32]; count],
        }),
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
        Message::RosterAsk(RosterAsk {
            epoch: Epoch(20_000),
            held: [byte; 32],
            from: 13,
        }),
        Message::RosterPart(RosterPart {
            hash: [byte; 32],
            total: 100,
            from: 13,
            names: vec![[byte; 16]; count.min(NAMES_IN_ROSTER_PART_MAX)],
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
        Message::Heads(Heads {
            wanted: byte % 2 == 1,
            heads: vec![[byte; 8]; count],
        }),
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
