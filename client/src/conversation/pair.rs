//! Letters between contacts: XChaCha20-Poly1305 under a secret of the pair ([LET-6]).
//!
//! The reader chose the secret and sent it with the first letter or the first acknowledgement. There is no
//! forward secrecy: whoever learns the secret opens every letter in that direction, old and coming.

use swarm_proto::address::AccountKey;
use swarm_proto::envelope::{Envelope, EnvelopeHeader, SizeClass};
use swarm_proto::seal;
use swarm_proto::store::MailboxKeys;
use zeroize::Zeroizing;

use super::CannotOpen;
use super::letter::{BadLetter, Letter};

/// Who writes to whom, and under what.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    /// The writer's account.
    pub writer: &'a AccountKey,
    /// The reader's account.
    pub reader: &'a AccountKey,
    /// The secret under which the reader wants this writer's letters.
    pub p: &'a [u8; 32],
    /// The reader's mailbox of the envelope's epoch.
    pub keys: &'a MailboxKeys,
}

impl Line<'_> {
    /// The sealed body for an envelope with this header. Nonces never repeat, being random.
    ///
    /// # Errors
    /// [`BadLetter`] if the letter does not fit the header's class.
    pub fn seal(
        &self,
        header: &EnvelopeHeader,
        letter: &Letter,
        nonce: &[u8; 24],
    ) -> Result<Vec<u8>, BadLetter> {
        let room = room(header.size);
        let plain = Zeroizing::new(letter.fill(room)?);
        let sealed = seal::seal(&self.key(), nonce, &header.encode(), &plain);
        sealed.ok_or(BadLetter::TooLong {
            bytes: plain.len(),
            bytes_max: room,
        })
    }

    /// The letter in an envelope.
    ///
    /// # Errors
    /// [`CannotOpen::NotForThisKey`] if a byte is wrong or it was sealed for somebody else;
    /// [`CannotOpen::Malformed`] if the writer's program is wrong.
    pub fn open(&self, envelope: &Envelope) -> Result<Letter, CannotOpen> {
        let aad = envelope.header().encode();
        let plain = seal::open(&self.key(), &aad, envelope.sealed_body());
        let mut plain = plain.ok_or(CannotOpen::NotForThisKey)?;
        let letter = Letter::read(std::mem::take(&mut *plain).into())?;
        Ok(letter)
    }

    fn key(&self) -> Zeroizing<[u8; 32]> {
        let direction = u8::from(self.writer > self.reader);
        seal::pair_key(self.p, direction, self.keys)
    }
}

/// Bytes that a letter with its padding has in an envelope of this class.
pub const fn room(size: SizeClass) -> usize {
    size.body_bytes() - seal::OVERHEAD_BYTES
}
