//! The frames of a link: which types there are, how long each may be and who may send it which way.
//!
//! A reader looks here after six bytes of header and before it takes a byte of the body, so that a
//! peer never makes it hold more than a type is worth ([FRM-1]). Bodies are decoded elsewhere.
//! Source: `docs/spec/formats.md`, *Frames on a link*.

use crate::crypto::ONION_PUBLIC_KEY_BYTES;
use crate::limits::{
    ANSWER_LARGE_BYTES, ANSWER_SMALL_BYTES, CARD_BYTES, CELLS_PER_EXCHANGE_MAX,
    CHALLENGE_PAGES_MAX, ENVELOPE_LARGE_BYTES, ENVELOPE_SMALL_BYTES, FRAME_BYTES_MAX,
    IDS_PER_MESSAGE_MAX, LONG_STAY_BYTES, ONION_LARGE_BYTES, ONION_SMALL_BYTES,
    RECONCILE_BYTES_MAX, RECONCILE_KEY_BYTES, RECORDS_PER_MESSAGE_MAX, ROW_HEADER_BYTES,
    SWEEP_ITEMS_MAX, TALLIES_PER_MESSAGE_MAX, TESTIMONIES_PER_MESSAGE_MAX,
};
use crate::members::NAME_BYTES;
use crate::pledge::PAGE_TAG_BYTES;
use crate::wire::kind;
use crate::wire::members::{NAMES_IN_ROSTER_PART_MAX, RECORDS_IN_LIST_PART_MAX};
use crate::wire::standing::{ITEM_HEAD_BYTES, Tally, Testimony};

/// The type of a frame; its number, one of [`kind`], is the first field of every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum FrameKind {
    /// First frame on a link, and its answer ([FRM-2]).
    Hello = kind::HELLO,
    /// Code and detail of a refusal.
    Refusal = kind::REFUSAL,
    /// One step of a reconciliation.
    Reconcile = kind::RECONCILE,
    /// Node ids whose records are wanted.
    Want = kind::WANT,
    /// Member records with onion keys.
    Records = kind::RECORDS,
    /// Asks for a part of the member list.
    ListAsk = kind::LIST_ASK,
    /// A part of the member list.
    ListPart = kind::LIST_PART,
    /// Asks for a part of an eligible list.
    RosterAsk = kind::ROSTER_ASK,
    /// A part of an eligible list.
    RosterPart = kind::ROSTER_PART,
    /// A small onion.
    OnionSmall = kind::ONION_SMALL,
    /// A large onion.
    OnionLarge = kind::ONION_LARGE,
    /// A small answer to an onion.
    OnionAnswerSmall = kind::ANSWER_SMALL,
    /// A large answer to an onion.
    OnionAnswerLarge = kind::ANSWER_LARGE,
    /// A row for a sibling.
    Copy = kind::COPY,
    /// What became of a copy.
    Copied = kind::COPIED,
    /// A tombstone.
    Erase = kind::ERASE,
    /// A card for a sibling.
    CardCopy = kind::CARD_COPY,
    /// One step of comparing what siblings have.
    Compare = kind::COMPARE,
    /// Whether a relay is there.
    Probe = kind::PROBE,
    /// One step of a sweep.
    Sweep = kind::SWEEP,
    /// One step of comparing what watchers said.
    ReconcileTestimonies = kind::RECONCILE_TESTIMONIES,
    /// Items whose testimonies are wanted.
    WantTestimonies = kind::WANT_TESTIMONIES,
    /// How the items of testimonies begin.
    Heads = kind::HEADS,
    /// What watchers said.
    Testimonies = kind::TESTIMONIES,
    /// What a relay found, for watchers.
    Tallies = kind::TALLIES,
    /// The answer to a probe.
    Here = kind::HERE,
    /// What convicts a relay by itself.
    Proof = kind::PROOF,
    /// A challenge to show what was pledged.
    Challenge = kind::CHALLENGE,
    /// What is said of it.
    ChallengeAnswer = kind::CHALLENGE_ANSWER,
}

/// Who sends a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// A peer without a key.
    Client,
    /// A peer that proved a node key.
    Relay,
}

/// How a frame travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Opens a bidirectional stream and waits for one answer.
    Ask,
    /// Is the one answer on such a stream.
    Answer,
    /// Goes alone on a unidirectional stream.
    Tell,
}

impl FrameKind {
    /// Every type, in the order of its number.
    pub const ALL: [Self; 29] = [
        Self::Hello,
        Self::Refusal,
        Self::Reconcile,
        Self::Want,
        Self::Records,
        Self::ReconcileTestimonies,
        Self::WantTestimonies,
        Self::Heads,
        Self::Testimonies,
        Self::Tallies,
        Self::Here,
        Self::Proof,
        Self::ListAsk,
        Self::ListPart,
        Self::RosterAsk,
        Self::RosterPart,
        Self::OnionSmall,
        Self::OnionLarge,
        Self::OnionAnswerSmall,
        Self::OnionAnswerLarge,
        Self::Copy,
        Self::Copied,
        Self::Erase,
        Self::CardCopy,
        Self::Compare,
        Self::Probe,
        Self::Sweep,
        Self::Challenge,
        Self::ChallengeAnswer,
    ];

    /// The type with this number; `None` if there is none.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The number on the wire.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// Bytes that a body of this type may have at most, header excluded.
    pub fn body_bytes_max(self) -> usize {
        match self {
            Self::Hello => 2 + 2 + 32 + 8,
            Self::Refusal => 2 + 8,
            Self::Reconcile | Self::ReconcileTestimonies => {
                4 + 1 + RECONCILE_KEY_BYTES + RECONCILE_BYTES_MAX
            }
            Self::Want => 1 + 2 + 32 * IDS_PER_MESSAGE_MAX,
            Self::WantTestimonies => 2 + 32 * IDS_PER_MESSAGE_MAX,
            Self::Heads => 1 + 2 + ITEM_HEAD_BYTES * IDS_PER_MESSAGE_MAX,
            Self::Records => RECORDS_BYTES_MAX,
            Self::ListAsk => 32 + 4,
            Self::ListPart => 32 + 4 + 4 + 2 + RECORDS_IN_LIST_PART_MAX * RECORD_WITH_KEYS_BYTES,
            Self::RosterAsk => 4 + 32 + 4,
            Self::RosterPart => 32 + 4 + 4 + 2 + NAMES_IN_ROSTER_PART_MAX * NAME_BYTES,
            Self::OnionSmall => ONION_SMALL_BYTES,
            Self::OnionLarge => ONION_LARGE_BYTES,
            Self::OnionAnswerSmall => ANSWER_SMALL_BYTES,
            Self::OnionAnswerLarge => ANSWER_LARGE_BYTES,
            Self::Copy => {
                1 + MAILBOX_KEYS_BYTES + ROW_HEADER_BYTES + ENVELOPE_LARGE_BYTES + LONG_STAY_BYTES
            }
            Self::Copied => 10 + 4 + PROMISE_BYTES + RECEIPT_BYTES,
            Self::Erase => 4 + MAILBOX_KEYS_BYTES + 32 + 4 + 64,
            Self::CardCopy => 4 + MAILBOX_KEYS_BYTES + 8 + 4 + 64 + CARD_BYTES,
            Self::Compare => COMPARE_BYTES_MAX,
            Self::Probe | Self::Here => 0,
            Self::Testimonies => 2 + TESTIMONIES_PER_MESSAGE_MAX * Testimony::BYTES_MAX,
            Self::Tallies => 2 + TALLIES_PER_MESSAGE_MAX * Tally::BYTES,
            Self::Sweep => SWEEP_BYTES_MAX,
            Self::Proof => PROOF_BYTES_MAX,
            Self::Challenge => 1 + 32,
            Self::ChallengeAnswer => CHALLENGE_ANSWER_BYTES_MAX,
        }
    }

    /// Whether `speaker` may send this type that `way` ([LNK-4]). A client asks for lists and through onions;
    /// everything else is between relays.
    pub fn may_travel(self, speaker: Speaker, way: Way) -> bool {
        let (asks, answers, tells) = match self.use_of() {
            Use::Question => (true, false, false),
            Use::Greeting => (true, speaker == Speaker::Relay, false),
            Use::Reply => (false, speaker == Speaker::Relay, false),
            Use::Talk { asks, answers } => {
                let is_relay = speaker == Speaker::Relay;
                (is_relay && asks, is_relay && answers, is_relay)
            }
        };
        match way {
            Way::Ask => asks,
            Way::Answer => answers,
            Way::Tell => tells,
        }
    }

    /// Whether a link is opened for it: who says that it is there to somebody who can be reached no more is to be
    /// dialled instead ([STD-3]).
    pub fn opens_links(self) -> bool {
        self != Self::Here
    }

    /// The one place that says how each type travels.
    fn use_of(self) -> Use {
        match self {
            Self::Hello => Use::Greeting,
            Self::ListAsk | Self::RosterAsk | Self::OnionSmall | Self::OnionLarge => Use::Question,
            Self::Refusal
            | Self::ListPart
            | Self::RosterPart
            | Self::OnionAnswerSmall
            | Self::OnionAnswerLarge => Use::Reply,
            Self::Reconcile | Self::Want | Self::Records => Use::Talk {
                asks: true,
                answers: true,
            },
            Self::Copy | Self::Erase => Use::Talk {
                asks: true,
                answers: false,
            },
            Self::Copied => Use::Talk {
                asks: false,
                answers: true,
            },
            Self::CardCopy
            | Self::Compare
            | Self::Probe
            | Self::Sweep
            | Self::ReconcileTestimonies
            | Self::WantTestimonies
            | Self::Heads
            | Self::Testimonies
            | Self::Tallies
            | Self::Here
            | Self::Proof
            | Self::Challenge
            | Self::ChallengeAnswer => Use::Talk {
                asks: false,
                answers: false,
            },
        }
    }
}

/// What a type is for.
enum Use {
    /// Opens a link, from either end.
    Greeting,
    /// Is asked by whoever has a link, clients among them.
    Question,
    /// Is answered by relays.
    Reply,
    /// Is told by one relay to another, and perhaps asked or answered.
    Talk { asks: bool, answers: bool },
}

/// Bytes that the body of a frame with this number may have at most; `None` for an unknown number.
pub fn frame_bytes_max(code: u16) -> Option<usize> {
    FrameKind::from_code(code).map(FrameKind::body_bytes_max)
}

/// Bytes of `type | length` before every body.
pub const FRAME_HEADER_BYTES: usize = 2 + 4;

/// Bytes of a mailbox's keys: flags, K and W.
const MAILBOX_KEYS_BYTES: usize = 1 + 32 + 32;

/// Bytes of what a holder undertakes to keep.
const PROMISE_BYTES: usize = 4 + 4 + 32 + 4 + 4;

/// Bytes of a step of a comparison: number, scope, key and ranges.
const COMPARE_BYTES_MAX: usize =
    5 + 6 + 2 * CELLS_PER_EXCHANGE_MAX + RECONCILE_KEY_BYTES + RECONCILE_BYTES_MAX;

/// Bytes of a step of a sweep: number, digest, signature, items and tags.
const SWEEP_BYTES_MAX: usize = 5 + 32 + 64 + 2 + 64 * SWEEP_ITEMS_MAX;

/// Bytes of the answer to a challenge: nonce, class, signature, what is said of each page.
const CHALLENGE_ANSWER_BYTES_MAX: usize =
    32 + 1 + 64 + 2 + PAGE_TAG_BYTES * CHALLENGE_PAGES_MAX as usize;

/// Bytes of a proof: kind, promise, receipt, other side, opening, who lists, signature, items and tags, envelope.
const PROOF_BYTES_MAX: usize = 1
    + PROMISE_BYTES
    + RECEIPT_BYTES
    + 32
    + 77
    + 1
    + 64
    + 2
    + 64 * LISTED_WITH_LARGE_MAX
    + ENVELOPE_LARGE_BYTES;

/// Items of a listing that may be shown with a large envelope in one frame ([EVD-4]); most parts of sweeps have fewer.
const LISTED_WITH_LARGE_MAX: usize = 125;

/// Bytes of a receipt: node key, tick, signature.
const RECEIPT_BYTES: usize = 32 + 4 + 64;

/// Bytes of one member record ([REC-1]) with two onion keys beside it.
const RECORD_WITH_KEYS_BYTES: usize = 261 + 1 + 2 * ONION_PUBLIC_KEY_BYTES;

/// Bytes of a count and as many records as one message carries.
const RECORDS_BYTES_MAX: usize = 2 + RECORDS_PER_MESSAGE_MAX * RECORD_WITH_KEYS_BYTES;

const _: () = {
    assert!(RECORDS_PER_MESSAGE_MAX <= RECORDS_IN_LIST_PART_MAX);
    assert!(42 + RECORDS_IN_LIST_PART_MAX * RECORD_WITH_KEYS_BYTES <= FRAME_BYTES_MAX);
    assert!(2 + 32 * IDS_PER_MESSAGE_MAX <= FRAME_BYTES_MAX);
    assert!(COMPARE_BYTES_MAX <= FRAME_BYTES_MAX && SWEEP_BYTES_MAX <= FRAME_BYTES_MAX);
    assert!(PROOF_BYTES_MAX <= FRAME_BYTES_MAX);
    // With a small envelope all that a sweep lists has room.
    assert!(
        64 * SWEEP_ITEMS_MAX + ENVELOPE_SMALL_BYTES
            <= 64 * LISTED_WITH_LARGE_MAX + ENVELOPE_LARGE_BYTES
    );
    assert!(5 + RECONCILE_KEY_BYTES + RECONCILE_BYTES_MAX <= FRAME_BYTES_MAX);
    assert!(2 + TESTIMONIES_PER_MESSAGE_MAX * Testimony::BYTES_MAX <= FRAME_BYTES_MAX);
    assert!(2 + TALLIES_PER_MESSAGE_MAX * Tally::BYTES <= FRAME_BYTES_MAX);
    assert!(ONION_LARGE_BYTES <= FRAME_BYTES_MAX && ANSWER_LARGE_BYTES <= FRAME_BYTES_MAX);
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The maxima that [FRM-1] speaks of are those of the table in the formats.
    #[test]
    fn every_type_has_the_maximum_of_the_table() {
        let maxima = [
            (0x0101, 44),
            (0x0102, 10),
            (0x0201, 32_805),
            (0x0202, 32_771),
            (0x0203, 32_330),
            (0x0204, 32_805),
            (0x0205, 32_770),
            (0x0206, 31_958),
            (0x0207, 26_626),
            (0x0208, 0),
            (0x0209, 40_837),
            (0x020a, 8_195),
            (0x0210, 36),
            (0x0211, 35_064),
            (0x0212, 40),
            (0x0213, 32_810),
            (0x0301, 7_168),
            (0x0302, 37_888),
            (0x0311, 4_096),
            (0x0312, 37_888),
            (0x0401, 32_710),
            (0x0402, 162),
            (0x0403, 169),
            (0x0404, 8_337),
            (0x0405, 34_859),
            (0x0406, 0),
            (0x0407, 32_871),
            (0x0408, 33),
            (0x0409, 2_147),
        ];
        for (code, bytes) in maxima {
            assert_eq!(frame_bytes_max(code), Some(bytes), "type {code:#06x}");
        }
        let known = (0..=u16::MAX).filter(|code| frame_bytes_max(*code).is_some());
        assert_eq!(known.count(), maxima.len());
    }

    /// [LNK-4]
    #[test]
    fn a_client_asks_for_lists_and_through_onions_and_nothing_else() {
        let may = |way| {
            FrameKind::ALL
                .into_iter()
                .filter(move |kind| kind.may_travel(Speaker::Client, way))
                .collect::<alloc::vec::Vec<_>>()
        };
        assert_eq!(
            may(Way::Ask),
            [
                FrameKind::Hello,
                FrameKind::ListAsk,
                FrameKind::RosterAsk,
                FrameKind::OnionSmall,
                FrameKind::OnionLarge
            ]
        );
        assert!(may(Way::Tell).is_empty());
        assert!(may(Way::Answer).is_empty());
        let relay = |way| {
            let all = FrameKind::ALL.into_iter();
            all.filter(move |kind| kind.may_travel(Speaker::Relay, way))
                .count()
        };
        assert_eq!(
            (relay(Way::Ask), relay(Way::Answer), relay(Way::Tell)),
            (10, 10, 19)
        );
    }
}
