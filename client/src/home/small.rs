//! Rows without a module of their own: the state of path choice, who may hold, and what the user chose.

use bytes::Bytes;
use swarm_proto::members::Roster;
use swarm_proto::time::UnixTime;
use swarm_proto::wire::codec::{Malformed, Reader, Writer};

use super::{Record, Table};

/// Guards and whatever else the choice of paths must remember, as its machine writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathState {
    /// Opaque here.
    pub bytes: Bytes,
}

impl PathState {
    /// A home has one.
    pub const KEY: &[u8] = b"path";
}

impl Record for PathState {
    const TABLE: Table = Table::Path;

    fn key(&self) -> Vec<u8> {
        Self::KEY.to_vec()
    }

    fn encode(&self, writer: &mut Writer) {
        writer.put(&self.bytes);
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            bytes: reader.rest(),
        })
    }
}

/// Who may hold mail of an epoch, as sources of the member list said at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRoster {
    /// The names.
    pub roster: Roster,
    /// When they were learned.
    pub at: UnixTime,
}

impl Record for KnownRoster {
    const TABLE: Table = Table::Rosters;

    fn key(&self) -> Vec<u8> {
        self.roster.epoch().0.to_be_bytes().to_vec()
    }

    fn encode(&self, writer: &mut Writer) {
        writer.u64(self.at.0);
        self.roster.encode(writer);
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            at: UnixTime(reader.u64("roster learned")?),
            roster: Roster::decode(reader)?,
        })
    }
}

/// Something the user chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name, at most 65,535 bytes.
    pub name: String,
    /// What was chosen, as the setting's owner writes it.
    pub value: Bytes,
}

impl Record for Setting {
    const TABLE: Table = Table::Settings;

    fn key(&self) -> Vec<u8> {
        self.name.as_bytes().to_vec()
    }

    fn encode(&self, writer: &mut Writer) {
        let name = self.name.as_bytes();
        writer.count(name.len()).put(name).put(&self.value);
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let length = reader.count("name", usize::from(u16::MAX))?;
        let name = reader.take("name", length)?;
        Ok(Self {
            name: String::from_utf8(name.to_vec()).map_err(|_| reader.wrong("name"))?,
            value: reader.rest(),
        })
    }
}
