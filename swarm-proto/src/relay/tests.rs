//! Whatever a relay is told, in whatever order, it goes on.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::*;

use crate::effects::{Command, Input, PeerChange, Reading, StreamId};
use crate::id::NodeId;
use crate::relay::{Readings, Relay};
use crate::rig::{Rig, owner};
use crate::standing::Certificate;
use crate::store::{Cursor, MailboxKeys, MemStore, NotKept, StoreDone};
use crate::time::{Epoch, Instant, Tick};
use crate::wire::Message;
use crate::wire::copies::{Copy, CopyAge};
use crate::wire::members::{ListAsk, Reconcile};

impl Relay {
    /// What a quorum of watchers says of a relay, without the watchers.
    pub(crate) fn certify(&mut self, subject: NodeId, epoch: Epoch, certificate: Certificate) {
        self.context.view.certify(subject, epoch, certificate);
    }
}

fn any_step(rig: &mut Rig, what: u8, byte: u8, ms: u16) {
    let (ada, open) = (owner(1, 0), owner(2, MailboxKeys::OPEN_LANE));
    let who = if byte.is_multiple_of(3) { &open } else { &ada };
    let at = usize::from(byte) % rig.nodes.len();
    let other = (at + 1) % rig.nodes.len();
    let letter = rig.letter(who, u32::from(byte % 16));
    match what {
        0 | 1 => drop(rig.ask(at, Message::Deposit(letter))),
        2 => {
            let fetch = rig.fetch(who, at, Cursor::START);
            rig.ask(at, Message::Fetch(fetch));
        }
        3 => {
            let erase = rig.erase(who, &letter);
            rig.ask(at, Message::Delete(erase));
        }
        4 => {
            let put = rig.card(who, u64::from(byte));
            rig.ask(at, Message::CardPut(put));
        }
        5 => {
            let row = crate::store::Row {
                write_signature: letter.write_signature,
                arrival: Tick(u32::from(ms)),
                envelope: letter.envelope,
                long_stay: letter.long_stay,
            };
            let age = if ms.is_multiple_of(2) {
                CopyAge::First
            } else {
                CopyAge::Later
            };
            let copy = Copy {
                age,
                keys: who.keys,
                row,
            };
            rig.deliver(at, other, Message::Copy(copy));
        }
        6 => {
            let ranges = Vec::from([byte; 40]).into();
            let exchange = u32::from(ms);
            let step = Reconcile {
                exchange,
                step: byte % 4,
                ranges,
            };
            rig.deliver(at, other, Message::Reconcile(step));
        }
        _ => any_mishap(rig, what, byte, ms),
    }
    rig.run();
    rig.advance(Duration::from_millis(u64::from(ms)));
}

fn any_mishap(rig: &mut Rig, what: u8, byte: u8, ms: u16) {
    let at = usize::from(byte) % rig.nodes.len();
    let other = (at + 1) % rig.nodes.len();
    match what {
        7 => rig.nodes[at].up = !rig.nodes[at].up,
        8 => rig.nodes[at].disk_stands = true,
        9 => rig.disk_goes_on(at),
        10 => rig.peer(at, other, PeerChange::Gone),
        11 => rig.peer(at, other, PeerChange::Seen),
        12 => rig.input(
            at,
            Input::StreamClosed {
                stream: StreamId(u64::from(byte)),
            },
        ),
        13 => drop(rig.ask(
            at,
            Message::ListAsk(ListAsk {
                held: [byte; 32],
                from: u32::from(ms),
            }),
        )),
        14 => rig.nodes[at].store = MemStore::with_budget(u64::from(ms)),
        15 => {
            // An answer of the wrong kind, or a disk that failed.
            if let Some((op, _)) = rig.nodes[at].waiting.pop() {
                let done = match byte % 4 {
                    0 => StoreDone::Failed,
                    1 => StoreDone::NotKept(NotKept::Busy),
                    2 => StoreDone::CardKept,
                    _ => StoreDone::Row(None),
                };
                rig.input(at, Input::Stored { op, done });
            }
        }
        16 => rig.nodes[at].relay.step(
            rig.now,
            Input::Wake,
            &mut crate::effects::Effects::default(),
        ),
        _ => rig.restart(at),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// And no relay says anything twice on a stream, or wants to be woken without end.
    #[test]
    fn no_sequence_of_inputs_stops_a_relay(
        steps in prop::collection::vec((0_u8..18, any::<u8>(), any::<u16>()), 1..100),
    ) {
        let mut rig = Rig::new(7);
        for (what, byte, ms) in steps {
            any_step(&mut rig, what, byte, ms);
        }
        for answers in rig.answers.values() {
            prop_assert!(answers.len() <= 1);
        }
    }
}

/// Clocks that no calendar reaches are only numbers.
#[test]
fn the_ends_of_time_are_borne() {
    for unix in [0, 1, u64::MAX / 2, u64::MAX] {
        let mut rig = Rig::new(5);
        rig.now.unix = crate::time::UnixTime(unix);
        for what in [0, 2, 3, 4, 5, 6, 11, 13] {
            let mut out = crate::effects::Effects::default();
            rig.nodes[0].relay.step(rig.now, Input::Wake, &mut out);
            let letter = rig.letter(&owner(1, 0), what);
            rig.ask(0, Message::Deposit(letter));
        }
        rig.now.mono = Instant(u64::MAX);
        let mut out = crate::effects::Effects::default();
        rig.nodes[0].relay.step(rig.now, Input::Wake, &mut out);
        assert!(rig.nodes[0].relay.deadline().is_some());
    }
}

/// A relay says when it wants to be woken, and never a moment that it has just been woken for.
#[test]
fn a_relay_that_was_woken_has_its_next_deadline_ahead() {
    let mut rig = Rig::new(5);
    let letter = rig.letter(&owner(1, 0), 1);
    rig.ask(0, Message::Deposit(letter));
    rig.advance(Duration::from_secs(7_200));
    for node in &rig.nodes {
        let (due, _) = node.relay.deadline().unwrap();
        assert!(due > rig.now.mono);
    }
}

/// [CAN-7]
#[test]
fn a_relay_adds_up_what_its_persona_was_shown() {
    let mut rig = Rig::new(3);
    let reading = |holder: usize, asked, failed| Reading {
        holder: rig.nodes[holder].key.node_id(),
        asked,
        failed,
    };
    let told = [
        vec![reading(1, 3, 1), reading(2, 2, 0)],
        vec![reading(1, 1, 1)],
    ];
    for readings in told {
        rig.input(0, Input::Command(Command::Readings(readings)));
        rig.run();
    }
    let expected = Readings {
        asked: 6,
        failed: 2,
    };
    assert_eq!(rig.nodes[0].relay.state().readings, expected);
}
