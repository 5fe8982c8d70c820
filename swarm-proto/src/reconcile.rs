//! Range-based set reconciliation, used wherever two sides compare what they have.
//!
//! Two sets of 32-byte items, nearly equal: both sides learn what the other lacks, with traffic that
//! follows the difference. Ranges are the subtrees of the items' hexadecimal digits; a range is compared
//! by a keyed fingerprint, split sixteen ways if it differs, and settled item by item once it is small.
//! A side remembers nothing between two messages but what it reported. Carrying what the items stand
//! for is not done here. Rules: `docs/spec/reconcile.md`; after Meyer, "Range-Based Set Reconciliation"
//! (2023).

mod range;
mod set;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::limits;
use crate::wire::codec::{Malformed, Reader, Writer};
use range::{Body, Message, Range, Span};
use set::ItemSet;

pub(crate) use set::sum_of;

/// One side of an exchange.
#[derive(Debug)]
pub struct Reconciler {
    key: [u8; 32],
    items: ItemSet,
    /// Items reported as lacking over there, by place.
    have: BTreeSet<usize>,
    /// Items reported as lacking here.
    want: BTreeSet<[u8; 32]>,
    steps: usize,
}

/// What one message led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// What to send; `None` ends the exchange.
    pub reply: Option<Bytes>,
    /// Items that we have and the other side lacks, each reported once in an exchange.
    pub have: Vec<[u8; 32]>,
    /// Items that the other side has and we lack, each reported once in an exchange.
    pub want: Vec<[u8; 32]>,
    /// Whether the whole difference is known; false in the last step of an exchange that was cut off.
    pub settled: bool,
}

impl Reconciler {
    /// Starts a side that opens an exchange. `items` may come in any order and with repeats; `key` must
    /// be fresh and random, or items that cancel each other out could be made ([RBR-2]).
    pub fn opener(items: impl IntoIterator<Item = [u8; 32]>, key: [u8; 32]) -> Self {
        Self {
            items: ItemSet::new(items, &key),
            key,
            have: BTreeSet::new(),
            want: BTreeSet::new(),
            steps: 0,
        }
    }

    /// The first message: the key and one range, everything ([RBR-3]).
    pub fn open(&mut self) -> Bytes {
        self.steps = 1;
        let mut writer = Writer::with_capacity(64);
        writer.put(&self.key);
        self.offer(Span::ALL).encode(&mut writer);
        Bytes::from(writer.finish())
    }

    /// Starts the side that answers an exchange, with the first message.
    ///
    /// # Errors
    /// [`Malformed`] if it is no first message.
    pub fn accept(
        items: impl IntoIterator<Item = [u8; 32]>,
        opening: Bytes,
    ) -> Result<(Self, Step), Malformed> {
        let mut reader = Reader::new(opening);
        let key = reader.array("reconcile key")?;
        let ranges = reader.rest();
        // Decoded before anything is hashed, so that garbage costs little.
        let message = Message::decode(ranges)?;
        let mut side = Self::opener(items, key);
        let step = side.step(message)?;
        Ok((side, step))
    }

    /// Takes the other side's next message.
    ///
    /// # Errors
    /// [`Malformed`] if it is no message, or none that the other side can have had reason to send; the
    /// exchange is then over.
    pub fn answer(&mut self, message: Bytes) -> Result<Step, Malformed> {
        self.step(Message::decode(message)?)
    }

    /// Messages that this side made, the first and the empty one included.
    pub fn steps(&self) -> usize {
        self.steps
    }

    fn step(&mut self, message: Message) -> Result<Step, Malformed> {
        let mut step = Step::default();
        if message.ranges.is_empty() {
            step.settled = true;
            return Ok(step);
        }
        let mut room = Room::for_answer_to(&message);
        for range in &message.ranges {
            self.settle(range, &mut room, &mut step)?;
        }
        step.settled = room.out.is_empty();
        if self.steps < limits::RECONCILE_STEPS_MAX {
            self.steps = self.steps.saturating_add(1);
            step.reply = Some(Bytes::from(room.out));
        }
        Ok(step)
    }

    /// Deals with one range, or asks for it again if the answer does not fit ([RBR-7]).
    fn settle(&mut self, range: &Range, room: &mut Room, step: &mut Step) -> Result<(), Malformed> {
        let verdict = self.judge(range)?;
        let mut writer = Writer::with_capacity(256);
        for range in &verdict.answer {
            range.encode(&mut writer);
        }
        if !room.put(range.span, &writer.finish()) {
            return Ok(());
        }
        for place in verdict.have {
            if self.have.insert(place) {
                step.have.extend(self.items.at(place));
            }
        }
        for item in verdict.want {
            if self.want.insert(item) {
                step.want.push(item);
            }
        }
        if self.want.len() > limits::RECONCILE_ITEMS_MAX {
            return Err(Malformed {
                field: "items",
                at: 0,
            });
        }
        Ok(())
    }

    fn judge(&self, range: &Range) -> Result<Verdict, Malformed> {
        let span = range.span;
        match &range.body {
            Body::Fingerprint(theirs) => Ok(self.compare(span, theirs)),
            Body::Tags(tags) => Ok(self.match_tags(span, tags)),
            Body::Settle { lacking, items } => self.give(span, lacking, items),
            Body::Items(items) => self.take(span, items).map(Verdict::wanting),
            Body::Again => Ok(Verdict::answering(self.offer(span))),
        }
    }

    /// [RBR-4]
    fn compare(&self, span: Span, theirs: &[u8; 16]) -> Verdict {
        let places = self.items.within(span);
        if self.items.fingerprint(&places) == *theirs {
            return Verdict::default();
        }
        if places.len() <= limits::RECONCILE_TAGS_MAX {
            return Verdict::answering(self.tags(span));
        }
        self.split(span)
    }

    /// Sixteen children, each with what compares it at least cost ([RBR-4]).
    fn split(&self, span: Span) -> Verdict {
        let child = |child: Span| {
            if self.items.within(child).len() <= FEW {
                self.tags(child)
            } else {
                self.fingerprint(child)
            }
        };
        Verdict {
            answer: span.children().map(child).collect(),
            ..Verdict::default()
        }
    }

    /// The other side named all it has in a range ([RBR-5]).
    fn match_tags(&self, span: Span, tags: &[[u8; 8]]) -> Verdict {
        let places = self.items.within(span);
        // More than they can have: known without looking at each, or asking would cost us dearly.
        if places.len() > limits::RECONCILE_SETTLE_MAX.saturating_add(tags.len()) {
            return self.split(span);
        }
        let theirs: BTreeSet<&[u8; 8]> = tags.iter().collect();
        let mut ours = BTreeSet::new();
        let mut have = Vec::new();
        for place in places {
            let tag = self.items.tag(place);
            if !theirs.contains(&tag) {
                have.push(place);
            }
            ours.insert(tag);
        }
        if have.len() > limits::RECONCILE_SETTLE_MAX {
            return self.split(span);
        }
        let lacking: Vec<bool> = tags.iter().map(|tag| !ours.contains(tag)).collect();
        if have.is_empty() && !lacking.contains(&true) {
            return Verdict::default();
        }
        let items = have.iter().filter_map(|place| self.items.at(*place));
        let body = Body::Settle {
            items: items.collect(),
            lacking,
        };
        Verdict {
            answer: alloc::vec![Range { span, body }],
            have,
            want: Vec::new(),
        }
    }

    /// The other side says which of our tags it lacks, and which of its items we lack ([RBR-5]).
    fn give(&self, span: Span, lacking: &[bool], items: &[[u8; 32]]) -> Result<Verdict, Malformed> {
        let places = self.items.within(span);
        if places.len() != lacking.len() {
            return Err(Malformed {
                field: "lacking",
                at: 0,
            });
        }
        let want = self.take(span, items)?;
        let have: Vec<usize> = places
            .zip(lacking)
            .filter_map(|(place, lacking)| lacking.then_some(place))
            .collect();
        let given: Vec<[u8; 32]> = have.iter().filter_map(|at| self.items.at(*at)).collect();
        let body = Body::Items(given);
        let answer = if have.is_empty() {
            Vec::new()
        } else {
            alloc::vec![Range { span, body }]
        };
        Ok(Verdict { answer, have, want })
    }

    /// Items that the other side says we lack: they lie in their range, and we do.
    fn take(&self, span: Span, items: &[[u8; 32]]) -> Result<Vec<[u8; 32]>, Malformed> {
        let lacking = |item: &[u8; 32]| span.contains(item) && !self.items.contains(item);
        if items.iter().all(lacking) {
            Ok(items.to_vec())
        } else {
            Err(Malformed {
                field: "items",
                at: 0,
            })
        }
    }

    /// What opens the comparison of a range: its fingerprint, or its tags if they are few.
    fn offer(&self, span: Span) -> Range {
        if self.items.within(span).len() <= limits::RECONCILE_TAGS_MAX {
            self.tags(span)
        } else {
            self.fingerprint(span)
        }
    }

    fn fingerprint(&self, span: Span) -> Range {
        let places = self.items.within(span);
        let body = Body::Fingerprint(self.items.fingerprint(&places));
        Range { span, body }
    }

    fn tags(&self, span: Span) -> Range {
        let places = self.items.within(span);
        let body = Body::Tags(places.map(|place| self.items.tag(place)).collect());
        Range { span, body }
    }
}

/// What one range led to.
#[derive(Debug, Default)]
struct Verdict {
    answer: Vec<Range>,
    have: Vec<usize>,
    want: Vec<[u8; 32]>,
}

impl Verdict {
    fn answering(range: Range) -> Self {
        Self {
            answer: alloc::vec![range],
            ..Self::default()
        }
    }

    fn wanting(want: Vec<[u8; 32]>) -> Self {
        Self {
            want,
            ..Self::default()
        }
    }
}

/// The message under way, with enough room kept to ask again for every range not answered yet.
struct Room {
    out: Vec<u8>,
    reserved: usize,
}

impl Room {
    fn for_answer_to(message: &Message) -> Self {
        let reserved = message.ranges.iter().map(|r| Range::again(r.span).len());
        Self {
            out: Vec::new(),
            reserved: reserved.sum(),
        }
    }

    /// Appends the answer to the next range if it fits, else asks for that range again.
    fn put(&mut self, span: Span, answer: &[u8]) -> bool {
        let again = Range::again(span);
        self.reserved = self.reserved.saturating_sub(again.len());
        let most = limits::RECONCILE_BYTES_MAX.saturating_sub(self.reserved);
        let fits = self.out.len().saturating_add(answer.len()) <= most;
        self.out
            .extend_from_slice(if fits { answer } else { &again });
        fits
    }
}

/// Items whose tags take no more bytes than a fingerprint.
const FEW: usize = 2;

#[cfg(test)]
mod tests;
