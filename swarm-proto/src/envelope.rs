//! The envelope: sealed bytes of one of two sizes, with an address and an end ([ENV-1] to [ENV-4]).
//!
//! A relay reads the header and nothing else. Sealing and opening belong to the correspondent.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::id::{EnvelopeId, MailboxAddress};
use crate::limits;
use crate::time::{Epoch, Hour, Tick, TimeScale};

/// The two sizes; nothing in between, so that a size tells nothing ([ENV-1]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SizeClass {
    /// Text: [`limits::ENVELOPE_SMALL_BYTES`].
    Small,
    /// Cards, long text, pieces of files: [`limits::ENVELOPE_LARGE_BYTES`].
    Large,
}

impl SizeClass {
    /// Bytes of an envelope of this class.
    pub const fn envelope_bytes(self) -> usize {
        match self {
            Self::Small => limits::ENVELOPE_SMALL_BYTES,
            Self::Large => limits::ENVELOPE_LARGE_BYTES,
        }
    }

    /// Bytes of the sealed body of an envelope of this class.
    pub const fn body_bytes(self) -> usize {
        self.envelope_bytes() - limits::ENVELOPE_HEADER_BYTES
    }

    /// The byte on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Small => 0,
            Self::Large => 1,
        }
    }

    /// Reads the byte on the wire.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Small),
            1 => Some(Self::Large),
            _ => None,
        }
    }
}

/// How long an envelope is kept: classes only, since a free choice would be a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExpiryClass {
    /// One hour.
    Hour,
    /// One day.
    Day,
    /// Three days: the most that the open lane allows.
    Days3,
    /// Seven days.
    Days7,
    /// Fourteen days.
    Days14,
    /// Thirty days, asked for by the mailbox's owner.
    Days30,
}

impl ExpiryClass {
    /// All classes, shortest first; the index is the byte on the wire.
    pub const ALL: [Self; 6] = [
        Self::Hour,
        Self::Day,
        Self::Days3,
        Self::Days7,
        Self::Days14,
        Self::Days30,
    ];

    /// The class's length in minutes of the network's calendar.
    pub const fn minutes(self) -> u64 {
        match self {
            Self::Hour => 60,
            Self::Day => 1_440,
            Self::Days3 => 3 * 1_440,
            Self::Days7 => 7 * 1_440,
            Self::Days14 => 14 * 1_440,
            Self::Days30 => 30 * 1_440,
        }
    }

    /// Whether only the mailbox's owner may allow it ([DEP-6]).
    pub const fn needs_leave(self) -> bool {
        match self {
            Self::Hour | Self::Day | Self::Days3 | Self::Days7 | Self::Days14 => false,
            Self::Days30 => true,
        }
    }

    /// The byte on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Hour => 0,
            Self::Day => 1,
            Self::Days3 => 2,
            Self::Days7 => 3,
            Self::Days14 => 4,
            Self::Days30 => 5,
        }
    }

    /// Reads the byte on the wire.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// What a relay may read of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvelopeHeader {
    /// Its size.
    pub size: SizeClass,
    /// How long it is kept.
    pub expiry: ExpiryClass,
    /// When it was sealed; decides its epoch ([ENV-2]).
    pub made: Tick,
    /// The mailbox it is for.
    pub address: MailboxAddress,
}

impl EnvelopeHeader {
    /// The 40 bytes that open the envelope and are the sealed body's associated data.
    pub fn encode(&self) -> [u8; limits::ENVELOPE_HEADER_BYTES] {
        let mut out = [0; limits::ENVELOPE_HEADER_BYTES];
        let fixed = [VERSION, self.size.code(), self.expiry.code(), 0];
        let made = self.made.0.to_be_bytes();
        let fields = fixed.into_iter().chain(made).chain(self.address.0);
        for (to, from) in out.iter_mut().zip(fields) {
            *to = from;
        }
        out
    }

    /// The epoch whose holders keep it ([ENV-2]).
    pub fn epoch(&self) -> Epoch {
        self.made.epoch()
    }

    /// The hour at whose start it is gone ([ENV-2]).
    pub fn expires(&self, scale: TimeScale) -> Hour {
        let end = scale
            .tick_start(self.made)
            .plus(scale.minutes(self.expiry.minutes()));
        let hour = scale.hour_of(end);
        if scale.hour_start(hour) < end {
            hour.plus(1)
        } else {
            hour
        }
    }
}

/// An envelope: header and sealed body, checked for size and header, never opened here.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    header: EnvelopeHeader,
    id: EnvelopeId,
    bytes: Bytes,
}

impl Envelope {
    /// Joins a header and its sealed body.
    ///
    /// # Errors
    /// [`BadEnvelope::Size`] if the body does not fill the class exactly.
    pub fn assemble(header: EnvelopeHeader, sealed_body: &[u8]) -> Result<Self, BadEnvelope> {
        let mut bytes = Vec::with_capacity(header.size.envelope_bytes());
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(sealed_body);
        Self::decode(Bytes::from(bytes))
    }

    /// Reads an envelope.
    ///
    /// # Errors
    /// [`BadEnvelope`] names the field that is wrong.
    pub fn decode(bytes: Bytes) -> Result<Self, BadEnvelope> {
        let (head, _) = bytes
            .split_first_chunk::<{ limits::ENVELOPE_HEADER_BYTES }>()
            .ok_or(BadEnvelope::Size)?;
        let [
            version,
            size,
            expiry,
            reserved,
            m0,
            m1,
            m2,
            m3,
            address @ ..,
        ] = *head;
        if version != VERSION {
            return Err(BadEnvelope::Version);
        }
        let size = SizeClass::from_code(size).ok_or(BadEnvelope::Class)?;
        let expiry = ExpiryClass::from_code(expiry).ok_or(BadEnvelope::Expiry)?;
        if reserved != 0 {
            return Err(BadEnvelope::Reserved);
        }
        if bytes.len() != size.envelope_bytes() {
            return Err(BadEnvelope::Size);
        }
        let made = Tick(u32::from_be_bytes([m0, m1, m2, m3]));
        let header = EnvelopeHeader {
            size,
            expiry,
            made,
            address: MailboxAddress(address),
        };
        let id = EnvelopeId(*blake3::hash(&bytes).as_bytes());
        Ok(Self { header, id, bytes })
    }

    /// What a relay may read.
    pub fn header(&self) -> &EnvelopeHeader {
        &self.header
    }

    /// BLAKE3 of all bytes ([ENV-3]).
    pub fn id(&self) -> EnvelopeId {
        self.id
    }

    /// All bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The sealed body.
    pub fn sealed_body(&self) -> &[u8] {
        self.bytes
            .get(limits::ENVELOPE_HEADER_BYTES..)
            .unwrap_or(&[])
    }
}

impl core::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Envelope({}, {:?})", self.id, self.header.size)
    }
}

/// Why bytes are no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEnvelope {
    /// Neither 1,856 nor 32,512 bytes, or not those of its class.
    #[error("envelope: not the size of its class")]
    Size,
    /// A version this program does not know.
    #[error("envelope: unknown version")]
    Version,
    /// No such size class.
    #[error("envelope: unknown size class")]
    Class,
    /// No such expiry class.
    #[error("envelope: unknown expiry class")]
    Expiry,
    /// A reserved byte is not zero.
    #[error("envelope: reserved byte is not zero")]
    Reserved,
}

/// How far ahead of a holder's clock, or past its epoch's end, an envelope may be ([ENV-4]).
pub fn grace(scale: TimeScale) -> Duration {
    scale.minutes(limits::CLOCK_GRACE_MINUTES)
}

/// How far a holder's clock may be off the median of its peers' ([CLK-2]).
pub fn clock_off_max(scale: TimeScale) -> Duration {
    grace(scale).min(limits::CLOCK_OFF_MAX)
}

/// The envelope version of this document.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn header() -> EnvelopeHeader {
        EnvelopeHeader {
            size: SizeClass::Small,
            expiry: ExpiryClass::Day,
            made: Tick(2_983_335),
            address: MailboxAddress([7; 32]),
        }
    }

    /// [ENV-3].
    #[test]
    fn an_envelope_comes_back_whole_and_its_id_covers_every_byte() {
        let body = vec![9; SizeClass::Small.body_bytes()];
        let envelope = Envelope::assemble(header(), &body).unwrap();
        let again = Envelope::decode(envelope.bytes().clone()).unwrap();
        assert_eq!(again.header(), &header());
        assert_eq!(again.sealed_body(), body);

        for at in [0, 5, 20, 39, 40, 1_855] {
            let mut other = envelope.bytes().to_vec();
            other[at] ^= 1;
            if let Ok(other) = Envelope::decode(Bytes::from(other)) {
                assert_ne!(other.id(), envelope.id());
            }
        }
    }

    /// [ENV-1].
    #[test]
    fn nothing_but_the_two_sizes_is_an_envelope() {
        for length in [0, 39, 40, 1_855, 1_857, 32_511, 32_512] {
            let mut bytes = vec![0; length];
            for (to, from) in bytes.iter_mut().zip(header().encode()) {
                *to = from;
            }
            assert_eq!(
                Envelope::decode(Bytes::from(bytes)),
                Err(BadEnvelope::Size),
                "{length}"
            );
        }
    }

    #[test]
    fn each_wrong_header_field_is_named() {
        let mut good = vec![0; 1_856];
        for (to, from) in good.iter_mut().zip(header().encode()) {
            *to = from;
        }
        let wrong = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            Envelope::decode(Bytes::from(bytes)).unwrap_err()
        };
        assert_eq!(wrong(0, 2), BadEnvelope::Version);
        assert_eq!(wrong(1, 2), BadEnvelope::Class);
        assert_eq!(wrong(2, 6), BadEnvelope::Expiry);
        assert_eq!(wrong(3, 1), BadEnvelope::Reserved);
    }

    /// [ENV-2].
    #[test]
    fn an_envelope_expires_at_the_first_full_hour_after_its_class() {
        let scale = TimeScale { minute_ms: 100 };
        for (made, class, hour) in [
            (60, ExpiryClass::Hour, 11),
            (61, ExpiryClass::Hour, 12),
            (65, ExpiryClass::Hour, 12),
            (60, ExpiryClass::Day, 34),
            (61, ExpiryClass::Days14, 347),
        ] {
            let header = EnvelopeHeader {
                made: Tick(made),
                expiry: class,
                ..header()
            };
            assert_eq!(header.expires(scale), Hour(hour), "{made} {class:?}");
        }
    }
}
