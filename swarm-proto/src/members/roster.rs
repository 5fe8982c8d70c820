//! M(e) as names alone: what correspondents are told of it, and keep ([ELI-10]).
//!
//! A name is the first half of a node id, which is all that ranks look at ([PLC-3]). Who the names belong to says
//! the member list; what to make of several rosters is `client/rosters.rs`.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::hash;
use crate::id::NodeId;
use crate::limits;
use crate::members::eligible::Eligible;
use crate::time::Epoch;
use crate::wire::codec::{Malformed, Reader, Writer};

/// The names of the members of an M(e), ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    epoch: Epoch,
    names: Vec<[u8; NAME_BYTES]>,
    hash: [u8; 32],
}

impl Roster {
    /// Names of an epoch; `None` if they do not ascend, or are more than a list has members.
    pub fn new(epoch: Epoch, names: Vec<[u8; NAME_BYTES]>) -> Option<Self> {
        let mut pairs = names.iter().zip(names.iter().skip(1));
        let fits = names.len() <= limits::MEMBERS_MAX && pairs.all(|(one, next)| one < next);
        fits.then(|| Self {
            epoch,
            hash: hash::derive("poste roster", &[&epoch.0.to_be_bytes(), &names.concat()]),
            names,
        })
    }

    /// The names of the members of `eligible`.
    pub(super) fn of(eligible: &Eligible) -> Self {
        // Two ids with one first half do not happen; if they did, one name stands for both.
        let mut names: Vec<[u8; NAME_BYTES]> = eligible.ids().map(|id| name_of(&id)).collect();
        names.dedup();
        names.truncate(limits::MEMBERS_MAX);
        let (epoch, bytes) = (eligible.epoch(), names.concat());
        Self {
            epoch,
            hash: hash::derive("poste roster", &[&epoch.0.to_be_bytes(), &bytes]),
            names,
        }
    }

    /// The epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The names, ascending.
    pub fn names(&self) -> &[[u8; NAME_BYTES]] {
        &self.names
    }

    /// `derive("poste roster", epoch (4) | names)`.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Whether a relay is named.
    pub fn has(&self, id: &NodeId) -> bool {
        self.names.binary_search(&name_of(id)).is_ok()
    }

    /// Writes epoch (4) and names (16 each), for the home of a correspondent.
    pub fn encode(&self, writer: &mut Writer) {
        writer.u32(self.epoch.0);
        for name in &self.names {
            writer.put(name);
        }
    }

    /// Reads what [`Self::encode`] wrote, up to the end.
    ///
    /// # Errors
    /// [`Malformed`]: it is not what this program writes.
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let epoch = Epoch(reader.u32("roster epoch")?);
        let wrong = reader.wrong("roster name");
        let bytes: Bytes = reader.rest();
        let names = bytes.chunks(NAME_BYTES).map(<[u8; NAME_BYTES]>::try_from);
        let names = names.collect::<Result<Vec<_>, _>>().map_err(|_| wrong)?;
        Self::new(epoch, names).ok_or(wrong)
    }
}

fn name_of(id: &NodeId) -> [u8; NAME_BYTES] {
    id.0.first_chunk().copied().unwrap_or([0; NAME_BYTES])
}

/// Bytes of a name.
pub const NAME_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::testing::{TODAY, list, network, record};

    /// [ELI-10]
    #[test]
    fn a_roster_names_the_members_in_one_way_only() {
        let eligible = Eligible::of(&network(), &list((0..40).map(record)).snapshot(), TODAY);
        let roster = eligible.roster();
        assert_eq!(roster.names().len(), 40);
        assert!(eligible.ids().all(|id| roster.has(&id)));
        assert!(!roster.has(&record(41).key.node_id()));
        let mut writer = Writer::default();
        roster.encode(&mut writer);
        let bytes = Bytes::from(writer.finish());
        assert_eq!(
            Roster::decode(&mut Reader::new(bytes.clone())),
            Ok(roster.clone())
        );
        assert!(Roster::decode(&mut Reader::new(bytes.slice(..bytes.len() - 1))).is_err());

        let mut names = roster.names().to_vec();
        assert_eq!(Roster::new(TODAY, names.clone()), Some(roster.clone()));
        let tomorrow = Roster::new(TODAY.plus(1), names.clone()).unwrap();
        assert_ne!(tomorrow.hash(), roster.hash());
        names.swap(3, 4);
        assert_eq!(Roster::new(TODAY, names), None);
        assert_eq!(Roster::new(TODAY, alloc::vec![[7; 16]; 2]), None);
    }
}
