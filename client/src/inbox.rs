//! Letters from others ([LET-9], [LET-11]).
//!
//! One change takes an opened envelope in: the letter, what it says about its writer, what it acknowledges, what
//! is now owed, and that the envelope was seen. Only after that is anybody told, and only after that may a
//! cursor move on.

use rand_core::CryptoRng;
use swarm_proto::address::AccountKey;
use swarm_proto::envelope::Envelope;
use swarm_proto::id::{EnvelopeId, MailboxAddress};
use swarm_proto::store::Cursor;
use swarm_proto::time::{Hour, Tick, UnixTime};
use swarm_proto::wire::codec::{Malformed, Reader, Writer};

use crate::contacts::{self, Contact};
use crate::conversation::letter::{Content, Letter, LetterId};
use crate::conversation::{Desk, Opened, Via};
use crate::home::{Change, HomeError, Record, Table};
use crate::outbox;

/// A letter that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Who wrote it.
    pub from: AccountKey,
    /// When it was taken in, by our clock.
    pub arrived: UnixTime,
    /// Whether the user has seen it.
    pub is_read: bool,
    /// The letter.
    pub letter: Letter,
}

/// What taking in an envelope came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The envelope had been taken in before; nothing changed.
    Again,
    /// Its writer is no contact any more; nothing but the envelope is noted.
    FromNobody,
    /// A new letter.
    Letter,
    /// A letter that came before in another envelope: it is acknowledged again and not shown again.
    Repeated,
    /// An acknowledgement: these letters are delivered.
    Delivered(Vec<LetterId>),
}

/// Takes in an opened envelope within one change ([LET-11]).
///
/// # Errors
/// Those of the home; nothing of it happened then.
pub fn take_in(
    change: &mut Change<'_>,
    desk: &Desk<'_>,
    envelope: &Envelope,
    opened: &Opened,
    now: UnixTime,
    rng: &mut impl CryptoRng,
) -> Result<Taken, HomeError> {
    let seen = Seen::envelope(envelope.id(), envelope.header().expires(desk.scale));
    if change.load::<Seen>(&seen.key())?.is_some() {
        return Ok(Taken::Again);
    }
    change.put(&seen)?;
    let Some(mut contact) = writer_of(change, desk, opened, rng)? else {
        return Ok(Taken::FromNobody);
    };
    contact.take(&opened.via, &opened.letter);
    change.put(&contact)?;
    let letter = &opened.letter;
    match &letter.content {
        Content::Acknowledgement { letters, .. } => {
            let delivered = outbox::deliver(change, &opened.from, letters)?;
            Ok(Taken::Delivered(delivered))
        }
        Content::Text(_) | Content::File { .. } => {
            outbox::owe(change, &opened.from, letter.id)?;
            let key = letter_key(&opened.from, letter.id);
            let came_before = change.load::<Received>(&key)?.is_some()
                || change.load::<Seen>(&seen_letter_key(&key))?.is_some();
            if came_before {
                return Ok(Taken::Repeated);
            }
            change.put(&Received {
                from: opened.from,
                arrived: now,
                is_read: false,
                letter: letter.clone(),
            })?;
            Ok(Taken::Letter)
        }
    }
}

/// Notes an envelope that cannot be opened, so that it is not tried again.
///
/// # Errors
/// Those of the home.
pub fn pass_over(
    change: &mut Change<'_>,
    desk: &Desk<'_>,
    envelope: &Envelope,
) -> Result<(), HomeError> {
    let expires = envelope.header().expires(desk.scale);
    change.put(&Seen::envelope(envelope.id(), expires))
}

/// Removes a letter for good; if it is sent again it is not shown again until `until`.
///
/// # Errors
/// Those of the home.
pub fn discard(
    change: &mut Change<'_>,
    from: &AccountKey,
    letter: LetterId,
    until: Hour,
) -> Result<bool, HomeError> {
    let key = letter_key(from, letter);
    let existed = change.remove::<Received>(&key)?;
    if existed {
        let name = seen_letter_key(&key);
        change.put(&Seen { name, until })?;
    }
    Ok(existed)
}

/// Forgets what cannot come again since its hour has come, and cursors of mailboxes that are empty by then.
///
/// # Errors
/// Those of the home; unreadable rows are left alone.
pub fn forget(change: &mut Change<'_>, hour: Hour) -> Result<u64, HomeError> {
    let mut forgotten = 0;
    for seen in change.list::<Seen>()?.rows {
        if seen.until <= hour {
            change.remove::<Seen>(&seen.key())?;
            forgotten += 1;
        }
    }
    for reading in change.list::<Reading>()?.rows {
        if reading.until <= hour {
            change.remove::<Reading>(&reading.key())?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

fn writer_of(
    change: &Change<'_>,
    desk: &Desk<'_>,
    opened: &Opened,
    rng: &mut impl CryptoRng,
) -> Result<Option<Contact>, HomeError> {
    if let Some(contact) = change.load::<Contact>(opened.from.as_bytes())? {
        return Ok(Some(contact));
    }
    match opened.via {
        Via::Bucket => Ok(None),
        Via::FirstContact { .. } => {
            let ours = contacts::draw_reach(&change.list::<Contact>()?.rows, rng);
            let is_accepted = desk.identity.answers_strangers;
            Ok(Some(Contact::stranger(opened.from, ours, is_accepted)))
        }
    }
}

/// Something that came and is not to be taken in again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// 0 and an envelope's id, or 1, an account key and a letter's id.
    name: Vec<u8>,
    /// When it cannot come again.
    pub until: Hour,
}

impl Seen {
    /// An envelope that was taken in.
    pub fn envelope(id: EnvelopeId, until: Hour) -> Self {
        Self {
            name: Self::envelope_key(id),
            until,
        }
    }

    /// The key of an envelope's row.
    pub fn envelope_key(id: EnvelopeId) -> Vec<u8> {
        [&[0], id.0.as_slice()].concat()
    }
}

/// How far a mailbox was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The mailbox.
    pub address: MailboxAddress,
    /// The last row that was taken in.
    pub after: Cursor,
    /// When nothing is left in it.
    pub until: Hour,
}

/// The key of a letter's row.
pub fn letter_key(from: &AccountKey, letter: LetterId) -> Vec<u8> {
    [from.as_bytes().as_slice(), &letter.0].concat()
}

fn seen_letter_key(key: &[u8]) -> Vec<u8> {
    [&[1], key].concat()
}

impl Record for Received {
    const TABLE: Table = Table::Inbox;

    fn key(&self) -> Vec<u8> {
        letter_key(&self.from, self.letter.id)
    }

    fn encode(&self, writer: &mut Writer) {
        writer.put(self.from.as_bytes()).u64(self.arrived.0);
        writer.u8(u8::from(self.is_read));
        // It was decoded or encoded before, so this does not fail.
        writer.put(&self.letter.encode().unwrap_or_default());
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            from: AccountKey::from_bytes(&reader.array("from")?)
                .map_err(|_| reader.wrong("from"))?,
            arrived: UnixTime(reader.u64("arrived")?),
            is_read: reader.flag("read")?,
            letter: Letter::read(reader.rest())?,
        })
    }
}

impl Record for Seen {
    const TABLE: Table = Table::Seen;

    fn key(&self) -> Vec<u8> {
        self.name.clone()
    }

    fn encode(&self, writer: &mut Writer) {
        writer.u32(self.until.0).put(&self.name);
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            until: Hour(reader.u32("until")?),
            name: reader.rest().to_vec(),
        })
    }
}

impl Record for Reading {
    const TABLE: Table = Table::Cursors;

    fn key(&self) -> Vec<u8> {
        self.address.0.to_vec()
    }

    fn encode(&self, writer: &mut Writer) {
        writer.put(&self.address.0).u32(self.after.arrival.0);
        writer.put(&self.after.id.0).u32(self.until.0);
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            address: MailboxAddress(reader.array("address")?),
            after: Cursor {
                arrival: Tick(reader.u32("arrival")?),
                id: EnvelopeId(reader.array("envelope id")?),
            },
            until: Hour(reader.u32("until")?),
        })
    }
}

#[cfg(test)]
mod tests;
