//! Letters to others and how far each has got ([LET-10], [LET-11]).
//!
//! A letter is durable here before anybody is told that it is queued, and its envelope before it is
//! deposited, so that a crash deposits the same envelope again and never a second one. When to try is the
//! driver's to decide.

use rand_core::CryptoRng;
use swarm_proto::address::AccountKey;
use swarm_proto::crypto::Signature;
use swarm_proto::envelope::{self, Envelope, ExpiryClass};
use swarm_proto::store::MailboxKeys;
use swarm_proto::time::{Hour, TimeScale, UnixTime};
use swarm_proto::wire::codec::{Malformed, Reader, Writer};

use crate::contacts::Contact;
use crate::conversation::letter::{ACKNOWLEDGED_MAX, Content, Letter, LetterId};
use crate::conversation::{CannotSeal, Desk, Sealed};
use crate::home::{Change, HomeError, Record, Table};

/// A letter to somebody. Its key is its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// To whom.
    pub to: AccountKey,
    /// How long its envelope is to be kept.
    pub expiry: ExpiryClass,
    /// The letter.
    pub letter: Letter,
    /// How far it has got.
    pub progress: Progress,
    /// What stood in its way at the last try; `None` once it is stored.
    pub setback: Option<Setback>,
}

/// Why a letter is not stored yet, for whoever looks at the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setback {
    /// In words; at most [`REASON_BYTES_MAX`] are kept.
    pub reason: String,
    /// Not tried again by itself before this.
    pub next: UnixTime,
}

/// How far a letter has got; what is told of it is never more than this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Written, not sealed.
    Queued,
    /// Sealed and being deposited.
    Sealed(Box<Sealed>),
    /// Durable on relays that gave verified receipts.
    Stored {
        /// Receipts that were counted.
        copies: u8,
        /// Until when it is kept.
        until: Hour,
    },
    /// Acknowledged by a letter of theirs.
    Delivered,
    /// Given up: its end came before an acknowledgement did.
    Expired,
}

impl Posted {
    /// A letter to be sent.
    ///
    /// # Errors
    /// [`CannotSeal::Letter`] if no envelope would hold it, [`CannotSeal::LongStay`]; so that it is told
    /// now and not when it is due.
    pub fn new(to: AccountKey, letter: Letter, expiry: ExpiryClass) -> Result<Self, CannotSeal> {
        letter.size_class()?;
        if expiry == ExpiryClass::Days30 {
            return Err(CannotSeal::LongStay);
        }
        Ok(Self {
            to,
            expiry,
            letter,
            progress: Progress::Queued,
            setback: None,
        })
    }

    /// Seals it, if it is queued or its envelope's epoch is over; keep it before depositing ([LET-10]).
    ///
    /// # Errors
    /// [`CannotSeal`]; it stays as it was.
    pub fn seal(
        &mut self,
        desk: &Desk<'_>,
        contact: &Contact,
        now: UnixTime,
        rng: &mut impl CryptoRng,
    ) -> Result<(), CannotSeal> {
        let is_due = match &self.progress {
            Progress::Queued => true,
            Progress::Sealed(sealed) => is_stale(&sealed.envelope, now, desk.scale),
            Progress::Stored { .. } | Progress::Delivered | Progress::Expired => false,
        };
        if is_due {
            let sealed = desk.seal(contact, &self.letter, self.expiry, now, rng)?;
            self.progress = Progress::Sealed(Box::new(sealed));
        }
        Ok(())
    }

    /// Enough receipts came for its envelope. A letter that is delivered stays so.
    pub fn stored(&mut self, copies: u8, until: Hour) {
        match self.progress {
            Progress::Queued | Progress::Sealed(_) | Progress::Stored { .. } => {
                self.progress = Progress::Stored { copies, until };
                self.setback = None;
            }
            Progress::Delivered | Progress::Expired => {}
        }
    }

    /// The relays have dropped it; a later acknowledgement still counts.
    pub fn expire(&mut self, hour: Hour) {
        if let Progress::Stored { until, .. } = self.progress
            && until <= hour
        {
            self.progress = Progress::Expired;
        }
    }
}

/// Whether holders refuse the envelope by now, because its epoch is over ([ENV-4]).
pub fn is_stale(envelope: &Envelope, now: UnixTime, scale: TimeScale) -> bool {
    let next = envelope.header().epoch().plus(1);
    now > scale.epoch_start(next).plus(envelope::grace(scale))
}

/// Marks the letters that `from` acknowledged as delivered; ids of letters to others are ignored
/// ([LET-4]). Returns those that were not delivered before.
///
/// # Errors
/// Those of the home.
pub fn deliver(
    change: &mut Change<'_>,
    from: &AccountKey,
    letters: &[LetterId],
) -> Result<Vec<LetterId>, HomeError> {
    let mut delivered = Vec::new();
    for id in letters {
        let Some(mut posted) = change.load::<Posted>(&id.0)? else {
            continue;
        };
        if posted.to == *from && posted.progress != Progress::Delivered {
            posted.progress = Progress::Delivered;
            change.put(&posted)?;
            delivered.push(*id);
        }
    }
    Ok(delivered)
}

/// Letters of one contact that came and are not acknowledged yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Whose.
    pub to: AccountKey,
    /// Which, the oldest first; at most [`OWED_MAX`].
    pub letters: Vec<LetterId>,
}

/// Notes that a letter is to be acknowledged. Beyond [`OWED_MAX`] the oldest is forgotten: its writer sends it
/// again, and it is noted then.
///
/// # Errors
/// Those of the home.
pub fn owe(change: &mut Change<'_>, to: &AccountKey, letter: LetterId) -> Result<(), HomeError> {
    let owed = change.load::<Owed>(to.as_bytes())?;
    let mut owed = owed.unwrap_or(Owed {
        to: *to,
        letters: Vec::new(),
    });
    if !owed.letters.contains(&letter) {
        owed.letters.push(letter);
    }
    let beyond = owed.letters.len().saturating_sub(OWED_MAX);
    owed.letters.drain(..beyond);
    change.put(&owed)
}

/// Turns what is owed to an accepted contact into one queued acknowledgement; `None` if nothing is owed or
/// they are not accepted ([LET-9]).
///
/// # Errors
/// Those of the home.
pub fn acknowledge(
    change: &mut Change<'_>,
    contact: &Contact,
    id: LetterId,
    now: UnixTime,
) -> Result<Option<Posted>, HomeError> {
    let key = contact.account.as_bytes();
    if !contact.is_accepted {
        return Ok(None);
    }
    let Some(mut owed) = change.load::<Owed>(key)? else {
        return Ok(None);
    };
    let some = owed.letters.len().min(ACKNOWLEDGED_MAX);
    let letters: Vec<_> = owed.letters.drain(..some).collect();
    if owed.letters.is_empty() {
        change.remove::<Owed>(key)?;
    } else {
        change.put(&owed)?;
    }
    let posted = Posted {
        to: contact.account,
        expiry: ExpiryClass::Days14,
        letter: Letter {
            id,
            sent: now,
            content: Content::Acknowledgement {
                letters,
                reach: contact.reach_to_tell(),
            },
        },
        progress: Progress::Queued,
        setback: None,
    };
    change.put(&posted)?;
    Ok(Some(posted))
}

impl Setback {
    fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        let next = UnixTime(reader.u64("next try")?);
        let length = reader.count("reason", REASON_BYTES_MAX)?;
        let reason = String::from_utf8(reader.take("reason", length)?.to_vec())
            .map_err(|_| reader.wrong("reason"))?;
        Ok(Self { reason, next })
    }
}

impl Record for Posted {
    const TABLE: Table = Table::Outbox;

    fn key(&self) -> Vec<u8> {
        self.letter.id.0.to_vec()
    }

    fn encode(&self, writer: &mut Writer) {
        writer.put(self.to.as_bytes()).u8(self.expiry.code());
        match &self.progress {
            Progress::Queued => {
                writer.u8(QUEUED);
            }
            Progress::Sealed(sealed) => {
                writer.u8(SEALED);
                sealed.keys.encode(writer);
                writer.put(&sealed.write_signature.0);
                let bytes = sealed.envelope.bytes();
                writer.count(bytes.len()).put(bytes);
            }
            Progress::Stored { copies, until } => {
                writer.u8(STORED).u8(*copies).u32(until.0);
            }
            Progress::Delivered => {
                writer.u8(DELIVERED);
            }
            Progress::Expired => {
                writer.u8(EXPIRED);
            }
        }
        let setback = self.setback.as_ref();
        writer.u8(u8::from(setback.is_some()));
        if let Some(Setback { reason, next }) = setback {
            let most = REASON_BYTES_MAX.min(reason.len());
            let mut ends = (0..=most).rev();
            let end = ends.find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
            let reason = reason.get(..end).unwrap_or_default();
            writer
                .u64(next.0)
                .count(reason.len())
                .put(reason.as_bytes());
        }
        // `Posted::new` has encoded it once, so this does not fail.
        writer.put(&self.letter.encode().unwrap_or_default());
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let to = AccountKey::from_bytes(&reader.array("to")?).map_err(|_| reader.wrong("to"))?;
        let expiry = ExpiryClass::from_code(reader.u8("expiry class")?)
            .ok_or_else(|| reader.wrong("expiry class"))?;
        let progress = match reader.u8("progress")? {
            QUEUED => Progress::Queued,
            SEALED => {
                let keys = MailboxKeys::decode(reader)?;
                let write_signature = Signature(reader.array("write signature")?);
                let length = reader.count("envelope", usize::from(u16::MAX))?;
                let envelope = Envelope::decode(reader.take("envelope", length)?)
                    .map_err(|_| reader.wrong("envelope"))?;
                Progress::Sealed(Box::new(Sealed {
                    keys,
                    write_signature,
                    envelope,
                }))
            }
            STORED => Progress::Stored {
                copies: reader.u8("copies")?,
                until: Hour(reader.u32("until")?),
            },
            DELIVERED => Progress::Delivered,
            EXPIRED => Progress::Expired,
            _ => return Err(reader.wrong("progress")),
        };
        let setback = match reader.flag("setback present")? {
            true => Some(Setback::read(reader)?),
            false => None,
        };
        let letter = Letter::read(reader.rest())?;
        Ok(Self {
            to,
            expiry,
            letter,
            progress,
            setback,
        })
    }
}

impl Record for Owed {
    const TABLE: Table = Table::Owed;

    fn key(&self) -> Vec<u8> {
        self.to.as_bytes().to_vec()
    }

    fn encode(&self, writer: &mut Writer) {
        writer.put(self.to.as_bytes()).count(self.letters.len());
        for letter in &self.letters {
            writer.put(&letter.0);
        }
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let to = AccountKey::from_bytes(&reader.array("to")?).map_err(|_| reader.wrong("to"))?;
        let count = reader.count("letters", OWED_MAX)?;
        let mut letters = Vec::with_capacity(count);
        for _ in 0..count {
            letters.push(LetterId(reader.array("letter id")?));
        }
        Ok(Self { to, letters })
    }
}

/// Bytes of a reason that are kept: two lines of a terminal.
pub const REASON_BYTES_MAX: usize = 160;
/// Acknowledgements owed to one contact: eight letters' worth.
pub const OWED_MAX: usize = 8 * ACKNOWLEDGED_MAX;

const QUEUED: u8 = 0;
const SEALED: u8 = 1;
const STORED: u8 = 2;
const DELIVERED: u8 = 3;
const EXPIRED: u8 = 4;

/// Keeps the compiler's word that envelopes fit a two-byte length.
const _: () = assert!(swarm_proto::limits::ENVELOPE_LARGE_BYTES <= u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::tests::{Person, letter};
    use bytes::Bytes;

    /// [LET-10] and [ENV-4].
    #[test]
    fn an_envelope_is_sealed_once_in_an_epoch() {
        let (mut ada, bob) = Person::pair();
        let now = ada.now;
        let mut posted = Posted::new(bob.key(), letter(1, "hello"), ExpiryClass::Days14).unwrap();
        let seal = |posted: &mut Posted, ada: &mut Person, at| {
            let contact = ada.contact(&bob);
            let mut rng = ada.rng.clone();
            posted.seal(&ada.desk(), &contact, at, &mut rng).unwrap();
            ada.rng = rng;
            posted.progress.clone()
        };
        let first = seal(&mut posted, &mut ada, now);
        assert_eq!(seal(&mut posted, &mut ada, now), first);
        let scale = ada.desk().scale;
        let midnight = scale.epoch_start(scale.epoch_of(now).plus(1));
        let grace = midnight.plus(scale.minutes(30));
        assert_eq!(seal(&mut posted, &mut ada, grace), first);
        let late = UnixTime(grace.0 + 1);
        assert_ne!(seal(&mut posted, &mut ada, late), first);

        posted.stored(3, Hour(9));
        posted.expire(Hour(8));
        let stored = Progress::Stored {
            copies: 3,
            until: Hour(9),
        };
        assert_eq!(seal(&mut posted, &mut ada, late), stored);
        posted.expire(Hour(9));
        assert_eq!(posted.progress, Progress::Expired);
    }

    #[test]
    fn a_posted_letter_comes_back_at_every_stage() {
        let (mut ada, bob) = Person::pair();
        let mut posted = Posted::new(bob.key(), letter(1, "hello"), ExpiryClass::Day).unwrap();
        let mut stages = vec![posted.clone()];
        let contact = ada.contact(&bob);
        let mut rng = ada.rng.clone();
        posted
            .seal(&ada.desk(), &contact, ada.now, &mut rng)
            .unwrap();
        ada.rng = rng;
        stages.push(posted.clone());
        posted.stored(3, Hour(9));
        stages.push(posted.clone());
        stages.push(Posted {
            setback: Some(Setback {
                reason: "no card was found".to_owned(),
                next: UnixTime(7),
            }),
            ..posted.clone()
        });
        for progress in [Progress::Delivered, Progress::Expired] {
            stages.push(Posted {
                progress,
                ..posted.clone()
            });
        }
        for stage in stages {
            let mut writer = Writer::default();
            stage.encode(&mut writer);
            let mut reader = Reader::new(Bytes::from(writer.finish()));
            assert_eq!(Posted::decode(&mut reader), Ok(stage));
        }
    }

    /// [LET-2]: told when it is written, not when it is due.
    #[test]
    fn a_letter_that_cannot_be_sent_is_refused_at_once() {
        let bob = Person::new(2);
        let long = "x".repeat(30_000);
        let posted = Posted::new(bob.key(), letter(1, &long), ExpiryClass::Day);
        assert!(matches!(posted, Err(CannotSeal::Letter(_))));
        let posted = Posted::new(bob.key(), letter(1, "x"), ExpiryClass::Days30);
        assert_eq!(posted, Err(CannotSeal::LongStay));
    }

    #[test]
    fn garbage_is_no_posted_letter() {
        bolero::check!().with_iterations(2_000).for_each(|bytes| {
            let bytes = Bytes::copy_from_slice(bytes);
            let _ = Posted::decode(&mut Reader::new(bytes.clone()));
            let _ = Owed::decode(&mut Reader::new(bytes));
        });
    }
}
