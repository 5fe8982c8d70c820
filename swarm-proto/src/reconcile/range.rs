//! Ranges and messages of a reconciliation, byte by byte ([RBR-1], [RBR-6]).

use alloc::vec::Vec;

use bytes::Bytes;

use crate::limits;
use crate::wire::codec::{Malformed, Reader, Writer};

/// All items that start with certain hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// The digits, then zeros.
    first: [u8; 32],
    /// How many, 0 to 64.
    digits: u8,
}

impl Span {
    /// Every item.
    pub(super) const ALL: Self = Self {
        first: [0; 32],
        digits: 0,
    };

    /// The lowest item that can lie in it.
    pub(super) fn first(&self) -> [u8; 32] {
        self.first
    }

    /// The highest item that can lie in it.
    pub(super) fn last(&self) -> [u8; 32] {
        let mut last = self.first;
        for (at, byte) in last
            .iter_mut()
            .enumerate()
            .skip(usize::from(self.digits / 2))
        {
            let half = at == usize::from(self.digits / 2) && self.digits % 2 == 1;
            *byte |= if half { 0x0f } else { 0xff };
        }
        last
    }

    pub(super) fn contains(&self, item: &[u8; 32]) -> bool {
        self.first <= *item && *item <= self.last()
    }

    /// The sixteen spans with one digit more, ascending; none of a span that is one item.
    pub(super) fn children(self) -> impl Iterator<Item = Self> {
        let digits = if self.digits < DIGITS { 0..16 } else { 0..0 };
        digits.map(move |digit: u8| {
            let mut child = self;
            let shift = if self.digits.is_multiple_of(2) { 4 } else { 0 };
            if let Some(byte) = child.first.get_mut(usize::from(self.digits / 2)) {
                *byte |= digit << shift;
            }
            child.digits = self.digits.saturating_add(1);
            child
        })
    }

    fn encode(&self, writer: &mut Writer) {
        let bytes = usize::from(self.digits.div_ceil(2));
        writer.u8(self.digits);
        writer.put(self.first.get(..bytes).unwrap_or(&self.first));
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let digits = reader.u8("digits")?;
        if digits > DIGITS {
            return Err(reader.wrong("digits"));
        }
        let prefix = reader.take("prefix", usize::from(digits.div_ceil(2)))?;
        if digits % 2 == 1 && prefix.last().is_some_and(|byte| byte & 0x0f != 0) {
            return Err(reader.wrong("prefix"));
        }
        let mut first = [0; 32];
        for (to, from) in first.iter_mut().zip(prefix) {
            *to = from;
        }
        Ok(Self { first, digits })
    }
}

/// A span and what is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) span: Span,
    pub(super) body: Body,
}

/// What is said of a range ([RBR-6]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Of all the sender has there.
    Fingerprint([u8; 16]),
    /// All the sender has there, by tag, in the order of the items.
    Tags(Vec<[u8; 8]>),
    /// Which of the receiver's tags the sender lacks, and items that the receiver lacks.
    Settle {
        lacking: Vec<bool>,
        items: Vec<[u8; 32]>,
    },
    /// Items that the receiver said it lacks.
    Items(Vec<[u8; 32]>),
    /// There was no room to answer: say it again.
    Again,
}

impl Range {
    /// The bytes that ask for a span again.
    pub(super) fn again(span: Span) -> Vec<u8> {
        let mut writer = Writer::with_capacity(36);
        let body = Body::Again;
        Self { span, body }.encode(&mut writer);
        writer.finish()
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        self.span.encode(writer);
        match &self.body {
            Body::Fingerprint(fingerprint) => {
                writer.u8(FINGERPRINT).put(fingerprint);
            }
            Body::Tags(tags) => {
                writer.u8(TAGS).u8(small(tags.len()));
                for tag in tags {
                    writer.put(tag);
                }
            }
            Body::Settle { lacking, items } => {
                writer.u8(SETTLE).u8(small(lacking.len()));
                for eight in lacking.chunks(8) {
                    let bits = eight.iter().zip([128_u8, 64, 32, 16, 8, 4, 2, 1]);
                    writer.u8(bits.fold(0, |byte, (on, bit)| if *on { byte | bit } else { byte }));
                }
                encode_items(items, writer);
            }
            Body::Items(items) => {
                writer.u8(ITEMS);
                encode_items(items, writer);
            }
            Body::Again => {
                writer.u8(AGAIN);
            }
        }
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let span = Span::decode(reader)?;
        let body = match reader.u8("kind")? {
            FINGERPRINT => Body::Fingerprint(reader.array("fingerprint")?),
            TAGS => {
                let count = bounded(reader, "tags", limits::RECONCILE_TAGS_MAX)?;
                let tags = (0..count).map(|_| reader.array("tag"));
                Body::Tags(tags.collect::<Result<_, _>>()?)
            }
            SETTLE => Body::Settle {
                lacking: decode_lacking(reader)?,
                items: decode_items(span, reader)?,
            },
            ITEMS => Body::Items(decode_items(span, reader)?),
            AGAIN => Body::Again,
            _ => return Err(reader.wrong("kind")),
        };
        Ok(Self { span, body })
    }
}

/// Ranges in ascending order, none touching another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) ranges: Vec<Range>,
}

impl Message {
    /// Reads at most [`limits::RECONCILE_BYTES_MAX`] bytes of ranges.
    pub(super) fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        if bytes.len() > limits::RECONCILE_BYTES_MAX {
            return Err(Malformed {
                field: "ranges",
                at: limits::RECONCILE_BYTES_MAX,
            });
        }
        let mut reader = Reader::new(bytes);
        let mut ranges: Vec<Range> = Vec::new();
        while reader.left() > 0 {
            let range = Range::decode(&mut reader)?;
            let before = ranges.last().map(|range| range.span.last());
            if before.is_some_and(|before| range.span.first() <= before) {
                return Err(reader.wrong("ranges"));
            }
            ranges.push(range);
        }
        Ok(Self { ranges })
    }
}

fn decode_lacking(reader: &mut Reader) -> Result<Vec<bool>, Malformed> {
    let count = bounded(reader, "lacking", limits::RECONCILE_TAGS_MAX)?;
    let bytes = reader.take("lacking", count.div_ceil(8))?;
    let mut bits: Vec<bool> = bytes
        .iter()
        .flat_map(|byte| [128, 64, 32, 16, 8, 4, 2, 1].map(|bit| byte & bit != 0))
        .collect();
    if bits.iter().skip(count).any(|bit| *bit) {
        return Err(reader.wrong("lacking"));
    }
    bits.truncate(count);
    Ok(bits)
}

fn encode_items(items: &[[u8; 32]], writer: &mut Writer) {
    writer.u8(small(items.len()));
    for item in items {
        writer.put(item);
    }
}

/// Items of a span, strictly ascending.
fn decode_items(span: Span, reader: &mut Reader) -> Result<Vec<[u8; 32]>, Malformed> {
    let count = bounded(reader, "items", limits::RECONCILE_SETTLE_MAX)?;
    let items = (0..count).map(|_| reader.array("item"));
    let items: Vec<[u8; 32]> = items.collect::<Result<_, _>>()?;
    let ascending = items.is_sorted_by(|a, b| a < b);
    if ascending && items.iter().all(|item| span.contains(item)) {
        Ok(items)
    } else {
        Err(reader.wrong("items"))
    }
}

fn bounded(reader: &mut Reader, field: &'static str, most: usize) -> Result<usize, Malformed> {
    let count = usize::from(reader.u8(field)?);
    if count <= most {
        Ok(count)
    } else {
        Err(reader.wrong(field))
    }
}

fn small(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

/// Hexadecimal digits of an item.
const DIGITS: u8 = 64;
const FINGERPRINT: u8 = 0;
const TAGS: u8 = 1;
const SETTLE: u8 = 2;
const ITEMS: u8 = 3;
const AGAIN: u8 = 4;
