//! What siblings lack, on its way to them: the least copied and soonest ending first, never faster than a
//! share of the uplink.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::effects::{Effects, Ticket};
use crate::id::NodeId;
use crate::limits;
use crate::store::{Card, Held, MailboxKeys, StoreOp, StoredRow};
use crate::time::{Epoch, Hour, Instant};
use crate::wire::Message;
use crate::wire::copies::{Copy, CopyAge};
use crate::wire::mailbox::{CardPut, Erase};

/// Copies that are left, the end, who lacks it, and what ([REP-6]).
type Urgency = (u8, Hour, NodeId, [u8; 32]);

/// The queue of one relay.
#[derive(Debug)]
pub(super) struct Pushes {
    queue: BTreeMap<Urgency, (Held, Epoch)>,
    /// Reads that the store has not answered.
    reading: usize,
    /// Bytes that may be sent; below zero after a large one.
    room: i64,
    filled: Instant,
    bytes_per_s: u32,
}

impl Pushes {
    /// Nothing is lacking; at most `bytes_per_s` will be sent.
    pub(super) fn new(bytes_per_s: u32, now: Instant) -> Self {
        Self {
            queue: BTreeMap::new(),
            reading: 0,
            room: 0,
            filled: now,
            bytes_per_s: bytes_per_s.max(1),
        }
    }

    /// `to` lacks something of which `copies` are left. False if the queue is full: the next comparison
    /// will find it again.
    pub(super) fn add(&mut self, copies: u8, to: NodeId, held: Held, epoch: Epoch) -> bool {
        let expires = match &held {
            Held::Envelope { expires, .. } | Held::Card { expires, .. } => *expires,
            // Small, and it stops a deleted envelope from coming back.
            Held::Tombstone(_) => Hour(0),
        };
        if self.queue.len() >= limits::PUSHES_MAX {
            return false;
        }
        let urgency = (copies, expires, to, held.item());
        self.queue.insert(urgency, (held, epoch));
        true
    }

    /// Sends what the uplink's share allows.
    pub(super) fn send(&mut self, now: Instant, out: &mut Effects) {
        // All of the time that passed counts: after a large row the room is below zero for long.
        let passed = now.since(self.filled).as_micros();
        let more = passed.saturating_mul(u128::from(self.bytes_per_s)) / 1_000_000;
        let most = i64::from(self.bytes_per_s / BURSTS_PER_S).max(1);
        let more = i64::try_from(more).unwrap_or(most);
        if more > 0 {
            self.room = self.room.saturating_add(more).min(most);
            self.filled = now;
        }
        while self.room > 0
            && self.reading < READING_MAX
            && out.len() < limits::EFFECTS_PER_STEP / 2
        {
            let Some(((_, _, to, _), (held, epoch))) = self.queue.pop_first() else {
                return;
            };
            match held {
                Held::Envelope { id, .. } => {
                    self.reading = self.reading.saturating_add(1);
                    out.store(Ticket::Push { to }, StoreOp::Read { id });
                }
                Held::Card { keys, .. } => {
                    self.reading = self.reading.saturating_add(1);
                    let address = keys.address();
                    out.store(
                        Ticket::PushCard { to, keys, epoch },
                        StoreOp::Card { address },
                    );
                }
                Held::Tombstone(tombstone) => {
                    self.sent(TOMBSTONE_BYTES);
                    out.send(to, Message::Erase(Erase { epoch, tombstone }));
                }
            }
        }
    }

    /// The store gave a row, or has it no more.
    pub(super) fn row(&mut self, to: NodeId, row: Option<StoredRow>, out: &mut Effects) {
        self.reading = self.reading.saturating_sub(1);
        if let Some(stored) = row {
            self.sent(stored.row.envelope.bytes().len());
            let copy = Copy {
                age: CopyAge::Later,
                keys: stored.keys,
                row: stored.row,
            };
            out.send(to, Message::Copy(copy));
        }
    }

    /// The store gave a card, or has it no more.
    pub(super) fn card(
        &mut self,
        to: NodeId,
        keys: MailboxKeys,
        epoch: Epoch,
        card: Option<Card>,
        out: &mut Effects,
    ) {
        self.reading = self.reading.saturating_sub(1);
        if let Some(card) = card {
            self.sent(card.sealed.len());
            out.send(to, Message::CardCopy(CardPut { epoch, keys, card }));
        }
    }

    /// When more may be sent.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.queue.is_empty() || self.reading >= READING_MAX {
            return None;
        }
        let lacking = u64::try_from(1_i64.saturating_sub(self.room)).unwrap_or(0);
        let micros = lacking.saturating_mul(1_000_000) / u64::from(self.bytes_per_s);
        // Whole strides, so that a slow uplink does not wake a relay for every byte.
        let wait = Duration::from_micros(micros).max(STRIDE);
        Some(self.filled.plus(wait))
    }

    /// Whether nothing waits and nothing is being read.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.reading == 0
    }

    /// How much waits.
    pub(super) fn len(&self) -> usize {
        self.queue.len().saturating_add(self.reading)
    }

    fn sent(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.room = self.room.saturating_sub(bytes);
    }
}

/// Rows read from the store at a time: enough to keep it busy, 1 MiB at most.
const READING_MAX: usize = 32;
/// A quarter of a second's share may go at once.
const BURSTS_PER_S: u32 = 4;
/// Shortest pause between two looks at the queue.
const STRIDE: Duration = Duration::from_millis(20);
const TOMBSTONE_BYTES: usize = 180;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    use crate::effects::Effect;
    use crate::id::{EnvelopeId, MailboxAddress};

    fn envelope(number: u8, hour: u32) -> Held {
        Held::Envelope {
            id: EnvelopeId([number; 32]),
            address: MailboxAddress([number; 32]),
            arrival: crate::time::Tick(0),
            expires: Hour(hour),
        }
    }

    fn read(out: &mut Effects) -> Vec<u8> {
        let id = |effect| match effect {
            Effect::Store {
                request: StoreOp::Read { id },
                ..
            } => id.0[0],
            other => panic!("{other:?}"),
        };
        out.drain().map(id).collect()
    }

    /// [REP-6]
    #[test]
    fn the_least_copied_goes_first_and_of_those_what_ends_soonest() {
        let start = Instant::default();
        let mut pushes = Pushes::new(1_000_000, start);
        let to = NodeId([9; 32]);
        for (number, copies, hour) in [(1, 4, 5), (2, 3, 9), (3, 3, 7), (4, 5, 1)] {
            assert!(pushes.add(copies, to, envelope(number, hour), Epoch(1)));
        }
        let mut out = Effects::default();
        pushes.send(start.plus(Duration::from_millis(1)), &mut out);
        assert_eq!(read(&mut out), [3, 2, 1, 4]);
    }

    /// [REP-6]
    #[test]
    fn no_more_is_sent_than_the_share_of_the_uplink() {
        let mut now = Instant::default();
        let mut pushes = Pushes::new(100_000, now);
        let to = NodeId([9; 32]);
        for number in 0..200 {
            pushes.add(3, to, envelope(number, 5), Epoch(1));
        }
        let mut sent = 0_u64;
        let end = now.plus(Duration::from_secs(2));
        while let Some(due) = pushes.deadline().filter(|due| *due <= end) {
            assert!(due > now, "time passes");
            now = due;
            let mut out = Effects::default();
            pushes.send(now, &mut out);
            for _ in read(&mut out) {
                pushes.sent(1_856);
                pushes.row(to, None, &mut out);
                sent += 1_856;
            }
        }
        assert!(sent <= 200_000 + 100_000 / 4 + 1_856 * 32, "{sent}");
        assert!(sent >= 100_000, "{sent}");
    }

    /// [REP-6]: time that passed in one long wait was counted as a quarter of a second, so a slow line woke a
    /// hundred times for one large envelope and sent a fortieth of its share.
    #[test]
    fn a_slow_line_sends_its_share_and_wakes_once_for_each_thing() {
        let (large, bytes_per_s) = (limits::ENVELOPE_LARGE_BYTES, 1_024);
        let mut now = Instant::default();
        let mut pushes = Pushes::new(bytes_per_s, now);
        for number in 0..=u8::MAX {
            pushes.add(3, NodeId([9; 32]), envelope(number, 5), Epoch(1));
        }
        let (mut sent, mut wakes) = (0, 0);
        let end = now.plus(Duration::from_secs(4_000));
        while let Some(due) = pushes.deadline().filter(|due| *due <= end) {
            (now, wakes) = (due, wakes + 1);
            let mut out = Effects::default();
            pushes.send(now, &mut out);
            for _ in read(&mut out) {
                pushes.sent(large);
                pushes.row(NodeId([9; 32]), None, &mut out);
                sent += 1;
            }
        }
        let share = 4_000 * 1_024 / large;
        let burst = READING_MAX;
        assert!((share..=share + burst).contains(&sent), "{sent} of {share}");
        assert!(wakes <= sent, "{wakes} wakes");
    }
}
