//! A relay's signed description of itself: who it is, where it is reached, which onion keys it has.
//!
//! [`Record`] is what the bytes say; [`VerifiedRecord`] is what somebody checked, and the only thing a
//! list takes. A record's claims about reachability and disk are not judged here. Layout:
//! `docs/spec/formats.md`, "Member record"; rules: `docs/spec/members.md`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::crypto::{Crypto, Label, OnionPublicKey, SecretKey, Signature, statement};
use crate::hash;
use crate::id::{NetworkId, NodeId, NodeKey};
use crate::limits;
use crate::members::address::{Address, Subnet};
use crate::time::{Tick, TimeScale, UnixTime};
use crate::wire::codec::{Malformed, Reader, Writer};

/// Bytes of a record ([REC-1]).
pub const RECORD_BYTES: usize = 261;

/// A relay's description of itself, as decoded; nothing is checked but its layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The relay hands over what it holds and takes nothing more.
    pub leaving: bool,
    /// The relay passes onions on and holds no mail.
    pub relay_only: bool,
    /// The network that it belongs to.
    pub network: NetworkId,
    /// Its key.
    pub key: NodeKey,
    /// When it was issued; the higher of two holds ([REC-1]).
    pub sequence: Tick,
    /// When the relay issued its first record, by its own word.
    pub since: Tick,
    /// The generation of the current onion key.
    pub onion_generation: u32,
    /// [`onion_key_hash`] of the current onion key.
    pub onion_current: [u8; 32],
    /// [`onion_key_hash`] of the next generation's key, once it is made.
    pub onion_next: Option<[u8; 32]>,
    /// The operator's family by its own word; zero for none.
    pub family: [u8; 8],
    /// Where it is reached.
    pub addresses: [Option<Address>; 2],
    /// The class of its pledge; 0 for none.
    pub class: u8,
    /// The nonce of its identity puzzle.
    pub puzzle: u64,
    /// By its key, over [`Record::statement`].
    pub signature: Signature,
}

impl Record {
    /// Reads [`RECORD_BYTES`].
    ///
    /// # Errors
    /// [`Malformed`] for another length or version, unknown flags, or an address in more than one
    /// encoding.
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let record = Self::read(&mut reader)?;
        reader.end()?;
        Ok(record)
    }

    /// Reads the next [`RECORD_BYTES`] of a message.
    ///
    /// # Errors
    /// As [`Record::decode`].
    pub fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        if reader.u8("record version")? != VERSION {
            return Err(reader.wrong("record version"));
        }
        let flags = reader.u8("record flags")?;
        if flags & !(LEAVING | RELAY_ONLY) != 0 {
            return Err(reader.wrong("record flags"));
        }
        Ok(Self {
            leaving: flags & LEAVING != 0,
            relay_only: flags & RELAY_ONLY != 0,
            network: NetworkId(reader.array("network id")?),
            key: NodeKey(reader.array("node key")?),
            sequence: Tick(reader.u32("sequence")?),
            since: Tick(reader.u32("since")?),
            onion_generation: reader.u32("onion generation")?,
            onion_current: reader.array("onion key")?,
            onion_next: Some(reader.array("next onion key")?).filter(|hash| hash != &[0; 32]),
            family: reader.array("family")?,
            addresses: [Address::decode(reader)?, Address::decode(reader)?],
            class: reader.u8("class")?,
            puzzle: reader.u64("puzzle")?,
            signature: Signature(reader.array("signature")?),
        })
    }

    /// Writes [`RECORD_BYTES`].
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = self.unsigned();
        writer.put(&self.signature.0);
        writer.finish()
    }

    /// What the signature covers.
    pub fn statement(&self) -> Vec<u8> {
        statement(&Label::RECORD, &self.network, &[&self.unsigned().finish()])
    }

    /// The same record, signed.
    #[must_use]
    pub fn sign(mut self, crypto: &dyn Crypto, key: &SecretKey) -> Self {
        self.signature = crypto.sign(key, &self.statement());
        self
    }

    /// Checks what can be checked of a record by itself ([REC-3]). Whether it is valid at some time is
    /// [`Record::is_valid_at`].
    ///
    /// # Errors
    /// [`BadRecord`] says what is wrong.
    pub fn verify(
        self,
        crypto: &dyn Crypto,
        network: &NetworkId,
    ) -> Result<VerifiedRecord, BadRecord> {
        if self.network != *network {
            return Err(BadRecord::Network);
        }
        if self.since > self.sequence {
            return Err(BadRecord::Since);
        }
        if !crypto.verify(&self.key.0, &self.statement(), &self.signature) {
            return Err(BadRecord::Signature);
        }
        Ok(VerifiedRecord {
            id: self.key.node_id(),
            item: record_item(&self),
            record: self,
        })
    }

    /// Whether it holds at `unix`: for 24 hours from its sequence, and at most 30 minutes before
    /// ([REC-1], [REC-3]).
    pub fn is_valid_at(&self, scale: TimeScale, unix: UnixTime) -> bool {
        let grace = scale.minutes(limits::CLOCK_GRACE_MINUTES);
        scale.tick_start(self.sequence) <= unix.plus(grace) && unix < self.expires(scale)
    }

    /// When it stops being valid ([REC-1]).
    pub fn expires(&self, scale: TimeScale) -> UnixTime {
        let life = scale.minutes(limits::RECORD_LIFE_HOURS.saturating_mul(60));
        scale.tick_start(self.sequence).plus(life)
    }

    /// The subnets (/24, /48) of its addresses.
    pub fn subnets_small(&self) -> impl Iterator<Item = Subnet> + '_ {
        self.addresses.iter().flatten().map(Address::subnet_small)
    }

    fn unsigned(&self) -> Writer {
        let flags = |on: bool, bit: u8| if on { bit } else { 0 };
        let mut writer = Writer::with_capacity(RECORD_BYTES);
        writer
            .u8(VERSION)
            .u8(flags(self.leaving, LEAVING) | flags(self.relay_only, RELAY_ONLY))
            .put(&self.network.0)
            .put(&self.key.0)
            .u32(self.sequence.0)
            .u32(self.since.0)
            .u32(self.onion_generation)
            .put(&self.onion_current)
            .put(&self.onion_next.unwrap_or([0; 32]))
            .put(&self.family);
        for address in &self.addresses {
            Address::encode(address.as_ref(), &mut writer);
        }
        writer.u8(self.class).u64(self.puzzle);
        writer
    }
}

/// A record whose signature, network and dates were checked ([REC-3]); only [`Record::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRecord {
    record: Record,
    id: NodeId,
    item: [u8; 32],
}

impl VerifiedRecord {
    /// A record that the door let in, its signature checked there.
    pub(crate) fn admitted(record: Record) -> Self {
        let id = record.key.node_id();
        let item = record_item(&record);
        Self { record, id, item }
    }

    /// The record.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The relay's node id ([ID-1]).
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// What stands for this record in a reconciliation ([`record_item`]).
    pub fn item(&self) -> &[u8; 32] {
        &self.item
    }
}

/// What stands for a record in a reconciliation: the first 12 bytes of its node id, its sequence (4), and
/// 16 bytes of `derive("poste member item", record)` ([LST-3]). So whoever lacks it sees whether it is
/// newer than what he has.
pub fn record_item(record: &Record) -> [u8; 32] {
    let mut digest = [0; 16];
    hash::derive_into("poste member item", &[&record.encode()], &mut digest);
    let id = record.key.node_id();
    let sequence = record.sequence.0.to_be_bytes();
    let fields = id.0.into_iter().take(12).chain(sequence).chain(digest);
    let mut item = [0; 32];
    for (to, from) in item.iter_mut().zip(fields) {
        *to = from;
    }
    item
}

/// How a record names an onion key: `derive("poste onion key", public key)`.
pub fn onion_key_hash(key: &OnionPublicKey) -> [u8; 32] {
    hash::derive("poste onion key", &[key.0.as_slice()])
}

/// The onion keys that travel beside a record: those of the current and the next generation, as far as
/// they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnionKeys {
    /// Of the record's generation.
    pub current: Option<OnionPublicKey>,
    /// Of the generation after it.
    pub next: Option<OnionPublicKey>,
}

impl OnionKeys {
    /// Checks the keys against the hashes in their record ([REC-5]).
    ///
    /// # Errors
    /// [`BadRecord::OnionKey`] if a key is there that the record does not name.
    pub fn check(&self, record: &Record) -> Result<(), BadRecord> {
        if self.matching(record) == *self {
            Ok(())
        } else {
            Err(BadRecord::OnionKey)
        }
    }

    /// Those of the keys that the record names.
    #[must_use]
    pub fn matching(&self, record: &Record) -> Self {
        let named = |key: &Option<OnionPublicKey>, hash: Option<[u8; 32]>| {
            key.clone()
                .filter(|key| hash.is_some_and(|hash| onion_key_hash(key) == hash))
        };
        Self {
            current: named(&self.current, Some(record.onion_current)),
            next: named(&self.next, record.onion_next),
        }
    }

    /// Reads what follows a record in a message: keys present (1: bit 0 current, bit 1 next), then the
    /// keys (1,216 each).
    ///
    /// # Errors
    /// [`Malformed`] for unknown bits or too few bytes.
    pub fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        let present = reader.u8("keys present")?;
        if present & !3 != 0 {
            return Err(reader.wrong("keys present"));
        }
        let mut key = |bit: u8| -> Result<Option<OnionPublicKey>, Malformed> {
            if present & bit == 0 {
                return Ok(None);
            }
            let bytes = reader.array("onion key")?;
            Ok(Some(OnionPublicKey(Arc::new(bytes))))
        };
        Ok(Self {
            current: key(1)?,
            next: key(2)?,
        })
    }

    /// Whether every key is here that the record names.
    pub fn are_all_of(&self, record: &Record) -> bool {
        self.current.is_some() && self.next.is_some() == record.onion_next.is_some()
    }

    /// Writes what [`OnionKeys::read`] reads.
    pub fn write(&self, writer: &mut Writer) {
        let present = u8::from(self.current.is_some()) | (u8::from(self.next.is_some()) << 1);
        writer.u8(present);
        for key in [&self.current, &self.next].into_iter().flatten() {
            writer.put(key.0.as_slice());
        }
    }
}

/// Why a record is not taken: its sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// It is another network's.
    #[error("record: of another network")]
    Network,
    /// It says that it was first issued after it was issued.
    #[error("record: since lies after sequence")]
    Since,
    /// The signature is not its key's.
    #[error("record: signature")]
    Signature,
    /// An onion key came with it that it does not name.
    #[error("record: onion key that it does not name")]
    OnionKey,
}

const VERSION: u8 = 1;
const LEAVING: u8 = 1;
const RELAY_ONLY: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::hex;
    use crate::members::testing::{Signing, at, check_vectors, network, record, tick_at};
    use core::net::{IpAddr, Ipv6Addr};

    const VECTORS: &str = include_str!("../../../docs/spec/vectors/record.txt");

    fn full() -> (Record, SecretKey) {
        let secret = SecretKey::from_seed(&[5; 32]);
        let v6 = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, 6));
        let full = Record {
            leaving: true,
            relay_only: true,
            key: NodeKey(*secret.public()),
            onion_next: Some([2; 32]),
            family: *b"gardener",
            addresses: [record(1).addresses[0], Address::new(v6, 4_001)],
            ..record(1)
        };
        (full.sign(&Signing, &secret), secret)
    }

    /// [REC-1]
    #[test]
    fn a_record_has_the_bytes_of_the_vectors_and_comes_back() {
        let (record, _) = full();
        let bytes = record.encode();
        assert_eq!(bytes.len(), RECORD_BYTES);
        assert_eq!(
            Record::decode(Bytes::from(bytes.clone())),
            Ok(record.clone())
        );

        let verified = record.verify(&Signing, &network().id()).unwrap();
        check_vectors(
            VECTORS,
            &[
                ("record", hex(&bytes)),
                ("statement", hex(&verified.record().statement())),
                ("node id", verified.id().to_hex()),
                ("item", hex(verified.item())),
            ],
        );
    }

    /// [REC-3]
    #[test]
    fn a_record_with_any_bit_changed_is_refused() {
        let (record, _) = full();
        let good = record.encode();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            let taken = Record::decode(Bytes::from(bytes))
                .is_ok_and(|record| record.verify(&Signing, &network().id()).is_ok());
            assert!(!taken, "byte {at}");
        }
        assert!(Record::decode(Bytes::from(good[..260].to_vec())).is_err());
        assert!(Record::decode(Bytes::from([good, alloc::vec![0]].concat())).is_err());
    }

    /// [REC-3]
    #[test]
    fn each_reason_against_a_record_is_named() {
        let (record, secret) = full();
        let verify = |record: Record| record.verify(&Signing, &network().id()).err();
        let foreign = Record {
            network: NetworkId([9; 32]),
            ..record.clone()
        };
        assert_eq!(
            verify(foreign.sign(&Signing, &secret)),
            Some(BadRecord::Network)
        );
        let backwards = Record {
            since: record.sequence.plus(1),
            ..record.clone()
        };
        assert_eq!(
            verify(backwards.sign(&Signing, &secret)),
            Some(BadRecord::Since)
        );
        let stranger = SecretKey::from_seed(&[6; 32]);
        assert_eq!(
            verify(record.sign(&Signing, &stranger)),
            Some(BadRecord::Signature)
        );
    }

    /// [REC-1], [REC-3]
    #[test]
    fn a_record_holds_for_a_day_and_at_most_half_an_hour_early() {
        let scale = network().scale;
        let early = |minutes| at(0).minus(scale.minutes(minutes));
        let record = record(1);
        assert_eq!(record.sequence, tick_at(0));
        assert!(!record.is_valid_at(scale, early(31)));
        assert!(record.is_valid_at(scale, early(30)));
        assert!(record.is_valid_at(scale, at(24).minus(scale.minutes(1))));
        assert!(!record.is_valid_at(scale, at(24)));
    }

    /// [REC-5]
    #[test]
    fn an_onion_key_counts_only_beside_a_record_that_names_it() {
        let key = |byte: u8| OnionPublicKey(Arc::new([byte; 1_216]));
        let record = Record {
            onion_current: onion_key_hash(&key(1)),
            onion_next: Some(onion_key_hash(&key(2))),
            ..record(1)
        };
        let keys = |current: Option<u8>, next: Option<u8>| OnionKeys {
            current: current.map(key),
            next: next.map(key),
        };
        for good in [
            keys(None, None),
            keys(Some(1), None),
            keys(None, Some(2)),
            keys(Some(1), Some(2)),
        ] {
            assert_eq!(good.check(&record), Ok(()));
            let mut writer = Writer::default();
            good.write(&mut writer);
            let mut reader = Reader::new(Bytes::from(writer.finish()));
            assert_eq!(OnionKeys::read(&mut reader), Ok(good));
            assert_eq!(reader.left(), 0);
        }
        let swapped = keys(Some(2), Some(2));
        assert_eq!(swapped.check(&record), Err(BadRecord::OnionKey));
        assert_eq!(swapped.matching(&record), keys(None, Some(2)));
        assert!(OnionKeys::read(&mut Reader::new(Bytes::from_static(&[4]))).is_err());
    }

    #[test]
    fn any_bytes_are_no_record_or_the_one_encoding_of_it() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let bytes = Bytes::copy_from_slice(bytes);
            if let Ok(record) = Record::decode(bytes.clone()) {
                assert_eq!(record.encode(), bytes);
            }
            let _ = OnionKeys::read(&mut Reader::new(bytes));
        });
    }

    proptest::proptest! {
        #[test]
        fn a_record_with_bytes_of_ones_choice_has_one_encoding(
            at in 0_usize..261, value: u8, other in 0_usize..261, value_there: u8,
        ) {
            let mut bytes = full().0.encode();
            bytes[at] = value;
            bytes[other] = value_there;
            if let Ok(record) = Record::decode(Bytes::from(bytes.clone())) {
                proptest::prop_assert_eq!(record.encode(), bytes);
            }
        }
    }
}
