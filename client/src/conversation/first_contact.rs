//! First contact: a letter to somebody whose account and card are known, and nothing else ([LET-7]).
//!
//! HPKE in base mode (RFC 9180) with X-Wing, HKDF-SHA256 and ChaCha20-Poly1305; info is the mailbox
//! address, associated data the envelope's header. The writer is authenticated inside, by a MAC under
//! what the two accounts share: the reader is convinced, and could have made it himself, so it proves nothing to
//! others. Whoever has the *reader's* account key can pose as anybody towards that reader.

use bytes::Bytes;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use swarm_proto::address::{Account, AccountKey};
use swarm_proto::envelope::{Envelope, EnvelopeHeader, SizeClass};
use swarm_proto::hash;
use swarm_proto::wire::codec::{Malformed, Reader, Writer};
use zeroize::Zeroizing;

use super::CannotOpen;
use super::letter::{BadLetter, Letter};
use crate::contacts::Reach;

/// What a first contact carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// Who writes; proven.
    pub from: AccountKey,
    /// Where the writer wants answers.
    pub reach: Reach,
    /// The writer's own inbox key, so that a first contact is possible in the other direction.
    pub inbox: InboxPublicKey,
    /// The letter.
    pub letter: Letter,
}

impl Introduction {
    /// The sealed body for an envelope with this header, from `sender` to the owner of `to` and `inbox`.
    ///
    /// # Errors
    /// [`CannotIntroduce`] if the letter is too long, the header's class is small, or sealing fails.
    pub fn seal(
        &self,
        sender: &Account,
        to: &AccountKey,
        inbox: &InboxPublicKey,
        header: &EnvelopeHeader,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, CannotIntroduce> {
        if header.size != SizeClass::Large {
            return Err(CannotIntroduce::Small);
        }
        let letter = Zeroizing::new(self.letter.fill(ROOM_BYTES)?);
        let tail = self.tail(&letter);
        let proof = prove(&sender.agree(to), sender.key(), to, header, &tail);
        let mut plain = Writer::with_capacity(PLAIN_BYTES);
        plain
            .u8(VERSION)
            .put(sender.key().as_bytes())
            .put(&proof)
            .put(&tail);
        let plain = Zeroizing::new(plain.finish());
        let key = public_key(inbox).ok_or(CannotIntroduce::Inbox)?;
        let (encapsulated, sealed) =
            hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
                &OpModeS::Base,
                &key,
                &header.address.0,
                &plain,
                &header.encode(),
                rng,
            )
            .map_err(|_| CannotIntroduce::Inbox)?;
        Ok([encapsulated.to_bytes().as_slice(), &sealed].concat())
    }

    /// The introduction in an envelope from the first-contact mailbox.
    ///
    /// # Errors
    /// [`CannotOpen::NotForThisKey`], [`CannotOpen::Malformed`], [`CannotOpen::NotProven`].
    pub fn open(
        recipient: &Account,
        inbox: &InboxKey,
        envelope: &Envelope,
    ) -> Result<Self, CannotOpen> {
        let header = envelope.header();
        let body = envelope.sealed_body();
        let (encapsulated, sealed) = body
            .split_at_checked(ENCAPSULATED_BYTES)
            .ok_or(CannotOpen::NotForThisKey)?;
        let encapsulated = <XWing as Kem>::EncappedKey::from_bytes(encapsulated)
            .map_err(|_| CannotOpen::NotForThisKey)?;
        let plain = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeR::Base,
            &inbox.secret,
            &encapsulated,
            &header.address.0,
            sealed,
            &header.encode(),
        )
        .map_err(|_| CannotOpen::NotForThisKey)?;
        Self::read(recipient, header, Bytes::from(plain))
    }

    fn read(
        recipient: &Account,
        header: &EnvelopeHeader,
        plain: Bytes,
    ) -> Result<Self, CannotOpen> {
        let mut reader = Reader::new(plain);
        if reader.u8("version")? != VERSION {
            return Err(reader.wrong("version").into());
        }
        let from = AccountKey::from_bytes(&reader.array("account key")?)
            .map_err(|_| reader.wrong("account key"))?;
        let proof: [u8; 32] = reader.array("proof")?;
        let tail = reader.rest();
        let expected = prove(
            &recipient.agree(&from),
            &from,
            recipient.key(),
            header,
            &tail,
        );
        if !bool::from(expected.ct_eq(&proof)) {
            return Err(CannotOpen::NotProven);
        }
        let mut reader = Reader::new(tail);
        let reach = Reach::decode(&mut reader)?;
        let inbox = InboxPublicKey::decode(&mut reader)?;
        let letter = Letter::read(reader.rest())?;
        Ok(Self {
            from,
            reach,
            inbox,
            letter,
        })
    }

    fn tail(&self, letter: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut tail = Writer::with_capacity(PLAIN_BYTES);
        self.reach.encode(&mut tail);
        tail.put(self.inbox.as_bytes()).put(letter);
        Zeroizing::new(tail.finish())
    }
}

/// The MAC that convinces the reader of who wrote, and nobody else. It covers both accounts, the header and
/// all that follows.
fn prove(
    shared: &[u8; 32],
    from: &AccountKey,
    to: &AccountKey,
    header: &EnvelopeHeader,
    tail: &[u8],
) -> [u8; 32] {
    let parts: [&[u8]; 5] = [
        shared,
        from.as_bytes(),
        to.as_bytes(),
        &header.encode(),
        tail,
    ];
    hash::derive("poste contact proof 1", &parts)
}

/// The secret key that first contacts are sealed to. Random and not part of the 24 words: who finds those later
/// does not open what was recorded earlier.
pub struct InboxKey {
    seed: Zeroizing<[u8; 32]>,
    secret: <XWing as Kem>::PrivateKey,
    public: InboxPublicKey,
}

impl InboxKey {
    /// The key of a 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let (secret, public) = XWing::derive_keypair(seed);
        Self {
            seed: Zeroizing::new(*seed),
            secret,
            public: InboxPublicKey(public.to_bytes().to_vec().into()),
        }
    }

    /// What it is kept as.
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// What a card shows.
    pub fn public(&self) -> &InboxPublicKey {
        &self.public
    }
}

impl std::fmt::Debug for InboxKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InboxKey")
    }
}

/// The public key that first contacts are sealed to: X-Wing, [`INBOX_KEY_BYTES`], checked.
#[derive(Clone, PartialEq, Eq)]
pub struct InboxPublicKey(Bytes);

impl InboxPublicKey {
    /// Reads [`INBOX_KEY_BYTES`] bytes.
    ///
    /// # Errors
    /// [`Malformed`] if they are fewer or no key.
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let key = Self(reader.take("inbox key", INBOX_KEY_BYTES)?);
        match public_key(&key) {
            Some(_) => Ok(key),
            None => Err(reader.wrong("inbox key")),
        }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for InboxPublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InboxPublicKey")
    }
}

fn public_key(key: &InboxPublicKey) -> Option<<XWing as Kem>::PublicKey> {
    <XWing as Kem>::PublicKey::from_bytes(key.as_bytes()).ok()
}

/// Why a first contact cannot be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotIntroduce {
    /// The letter.
    #[error(transparent)]
    Letter(#[from] BadLetter),
    /// First contacts are always large, so that they are alike.
    #[error("a first contact takes a large envelope")]
    Small,
    /// The inbox key is unusable.
    #[error("the inbox key on their card is unusable")]
    Inbox,
}

const VERSION: u8 = 1;
/// Bytes of an X-Wing public key.
pub const INBOX_KEY_BYTES: usize = 1_216;
const ENCAPSULATED_BYTES: usize = 1_120;
const TAG_BYTES: usize = 16;
const PLAIN_BYTES: usize = SizeClass::Large.body_bytes() - ENCAPSULATED_BYTES - TAG_BYTES;
/// Bytes that a letter with its padding has: the rest is version, account, proof, reach and inbox key.
pub const ROOM_BYTES: usize = PLAIN_BYTES - 1 - 32 - 32 - 64 - INBOX_KEY_BYTES;

#[cfg(test)]
impl Introduction {
    /// The plain text of somebody who writes another's name with their own key.
    pub(super) fn forge(&self, liar: &Account, to: &AccountKey, header: &EnvelopeHeader) -> Bytes {
        self.plain_with(&liar.agree(to), to, header)
    }

    /// The plain text that the reader makes for himself, in the writer's name.
    pub(super) fn forge_as_reader(&self, reader: &Account, header: &EnvelopeHeader) -> Bytes {
        self.plain_with(&reader.agree(&self.from), reader.key(), header)
    }

    pub(super) fn read_for_test(
        recipient: &Account,
        header: &EnvelopeHeader,
        plain: Bytes,
    ) -> Result<Self, CannotOpen> {
        Self::read(recipient, header, plain)
    }

    fn plain_with(&self, shared: &[u8; 32], to: &AccountKey, header: &EnvelopeHeader) -> Bytes {
        let tail = self.tail(&self.letter.fill(ROOM_BYTES).unwrap());
        let proof = prove(shared, &self.from, to, header, &tail);
        [&[VERSION], self.from.as_bytes().as_slice(), &proof, &tail]
            .concat()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;
    use swarm_proto::crypto::Crypto;
    use swarm_proto::kem::PureCrypto;

    const VECTORS: &str = include_str!("../../../docs/spec/vectors/published.txt");

    fn vector(name: &str) -> Vec<u8> {
        let mut lines = VECTORS.lines().filter_map(|line| line.split_once(" = "));
        let found = lines.find(|(found, _)| *found == name);
        let hex = found.unwrap_or_else(|| panic!("no vector {name}")).1;
        HEXLOWER.decode(hex.as_bytes()).unwrap()
    }

    /// [LET-7]: the suite is the one of the vectors for HPKE; the encapsulated key is made from theirs by the
    /// protocol's own KEM.
    #[test]
    fn a_message_sealed_by_another_implementation_of_hpke_opens() {
        let key = vector("hpke secret key");
        let secret = <XWing as Kem>::PrivateKey::from_bytes(&key).unwrap();
        let to = PureCrypto.onion_key(&key.try_into().unwrap()).public;
        assert_eq!(XWing::sk_to_pk(&secret).to_bytes()[..], to.0[..]);
        let seed = vector("hpke encapsulation seed").try_into().unwrap();
        let (sent, shared) = PureCrypto.encapsulate(&to, &seed).unwrap();
        assert_eq!(shared[..], vector("hpke kem secret"));
        let open = |associated: &[u8]| {
            hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
                &OpModeR::Base,
                &secret,
                &<XWing as Kem>::EncappedKey::from_bytes(&sent[..]).unwrap(),
                &vector("hpke info"),
                &vector("hpke sealed"),
                associated,
            )
        };
        assert_eq!(
            open(&vector("hpke associated")).unwrap(),
            vector("hpke plain")
        );
        assert!(open(b"something else").is_err());
    }
}
