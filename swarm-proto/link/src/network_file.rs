//! `network.toml`: how a program learns which network it belongs to and where its founders are.
//!
//! The file may name every parameter of a [`Network`]; what it leaves out is what a public network
//! has, so no default stands in two places. Founders' addresses are no part of the network id
//! ([NET-1]). A key that is not known, or a value that cannot be, is an error that says where.

use std::fmt::Write;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use swarm_proto::id::NodeKey;
use swarm_proto::network::{Caps, Network, Pledge, Reachability, Verdicts};
use swarm_proto::time::MINUTE_MS_MIN;
use swarm_proto::wire::standing::Past;
use toml::Spanned;

/// A network and where its founders are dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkFile {
    /// The parameters.
    pub network: Network,
    /// The founders, in the order of the file; their keys are those of the network.
    pub founders: Vec<Founder>,
}

/// One founder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Founder {
    /// Its node key.
    pub key: NodeKey,
    /// Where it is dialled: the UDP port of its links.
    pub addr: SocketAddr,
}

impl NetworkFile {
    /// A public network with this name and these founders.
    pub fn public(name: &str, founders: Vec<Founder>) -> Self {
        let keys: Vec<NodeKey> = founders.iter().map(|founder| founder.key).collect();
        Self {
            network: Network::public(name, &keys),
            founders,
        }
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`NetworkFileFailure`] naming the line and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, NetworkFileFailure> {
        let table: Table = toml::from_str(text).map_err(|failure| {
            let line = failure.span().map_or(1, |span| line_of(text, &span));
            let why = failure.message().to_owned();
            NetworkFileFailure::Wrong { line, why }
        })?;
        let check = Check { text };
        let founders = check.founders(&table)?;
        check.bounds("name", &table.name, table.name.get_ref().len(), 1, 255)?;
        let mut file = Self::public(table.name.get_ref(), founders);
        check.fill(&table, &mut file.network)?;
        Ok(file)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`NetworkFileFailure`].
    pub fn read(path: &Path) -> Result<Self, NetworkFileFailure> {
        Self::parse(&fs::read_to_string(path)?)
    }

    /// Writes a file with a comment for each value.
    ///
    /// # Errors
    /// [`NetworkFileFailure::File`] if the system does not take it.
    pub fn write(&self, path: &Path) -> Result<(), NetworkFileFailure> {
        Ok(fs::write(path, self.text())?)
    }

    /// The text of the file, with a comment for each value.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "# A Poste network. Its id is the hash of the name and the founders' keys; everybody\n\
             # else must have the same two.\n\n",
        );
        for (key, comment, value) in self.values() {
            // Writing to a string does not fail.
            let _never = write!(text, "# {comment}\n{key} = {value}\n");
        }
        for (table, comment, rows) in tables(&self.network) {
            let _never = write!(text, "\n# {comment}\n[{table}]\n");
            for (key, comment, value) in rows {
                let _never = write!(text, "# {comment}\n{key} = {value}\n");
            }
        }
        text.push_str("\n# The founders: node key and address (UDP). Addresses may change.\n");
        for founder in &self.founders {
            let (key, addr) = (founder.key.to_hex(), founder.addr);
            let _never = write!(text, "[[founder]]\nkey = \"{key}\"\naddr = \"{addr}\"\n");
        }
        text
    }

    /// Key, comment and value of everything that is no table.
    fn values(&self) -> [(&'static str, &'static str, String); 11] {
        let network = &self.network;
        let name = toml::Value::String(network.name.clone());
        let reachability = match network.reachability {
            Reachability::Proven => "proven",
            Reachability::Assume => "assume",
        };
        [
            (
                "name",
                "What people call it; 1 to 255 bytes.",
                name.to_string(),
            ),
            (
                "minute_ms",
                "Milliseconds of a minute, 10 to 60000; less than 60000 makes the whole calendar faster.",
                network.scale.minute_ms.to_string(),
            ),
            (
                "holders",
                "R: relays that hold each envelope, 1 to 16.",
                network.holders.to_string(),
            ),
            (
                "receipts",
                "W: durable copies that make a deposit stored, 1 to holders.",
                network.receipts.to_string(),
            ),
            (
                "spares",
                "Relays next in line to replace a holder, 0 to 16.",
                network.spares.to_string(),
            ),
            (
                "repair_below",
                "Fewer holders present than this: the next in rank take copies, 1 to 16.",
                network.repair_below.to_string(),
            ),
            (
                "sweep_hours",
                "Hours in which each copy is swept once, 1 to 720.",
                network.sweep_hours.to_string(),
            ),
            (
                "cell_bits",
                "Bits of an address that choose its cell, 0 to 16.",
                network.cell_bits.to_string(),
            ),
            (
                "guard_age_h",
                "Hours a relay is known before it may be a guard, 0 to 8760.",
                network.guard_age_h.to_string(),
            ),
            (
                "hold_age_h",
                "Hours a relay is known before it may hold, 0 to 8760.",
                network.hold_age_h.to_string(),
            ),
            (
                "reachability",
                "\"proven\": a relay is told of only after others reached it; \"assume\": at once.",
                format!("\"{reachability}\""),
            ),
        ]
    }
}

/// A table of numbers: its name, what it is about, and its rows.
type NumberTable = (&'static str, &'static str, Rows);

/// Key, comment and value of each number.
type Rows = Vec<(&'static str, &'static str, u32)>;

fn tables(network: &Network) -> [NumberTable; 3] {
    [
        (
            "caps",
            "Relays that one subnet may contribute; 0 lifts a cap.",
            caps_rows(&network.caps),
        ),
        (
            "pledge",
            "What an identity costs.",
            pledge_rows(&network.pledge),
        ),
        (
            "verdicts",
            "Who judges a relay, and when a verdict counts.",
            verdicts_rows(&network.verdicts),
        ),
    ]
}

fn caps_rows(caps: &Caps) -> Rows {
    vec![
        (
            "v4_24",
            "Per IPv4 /24 in the eligible list.",
            caps.v4_24.into(),
        ),
        (
            "v4_16",
            "Per IPv4 /16 in the eligible list.",
            caps.v4_16.into(),
        ),
        (
            "v6_48",
            "Per IPv6 /48 in the eligible list.",
            caps.v6_48.into(),
        ),
        (
            "v6_32",
            "Per IPv6 /32 in the eligible list.",
            caps.v6_32.into(),
        ),
        (
            "per_set",
            "Per /24 (/48) among the holders of one cell.",
            caps.per_set.into(),
        ),
        (
            "per_path",
            "Per /16 (/32) on one path.",
            caps.per_path.into(),
        ),
    ]
}

fn pledge_rows(pledge: &Pledge) -> Rows {
    vec![
        (
            "puzzle_kib",
            "Memory of the identity puzzle in KiB, 8 to 1048576.",
            pledge.puzzle_kib,
        ),
        (
            "puzzle_bits",
            "Leading zero bits that it wants, 0 to 32; 0 for no puzzle.",
            pledge.puzzle_bits.into(),
        ),
        (
            "labels",
            "Labels of 32 bytes in a sector, 128 to 16777216; a multiple of 128.",
            pledge.labels,
        ),
        (
            "layers",
            "Layers that are computed, of which the last is kept, 1 to 64.",
            pledge.layers.into(),
        ),
        (
            "parents",
            "Labels of the layer below that a label rests on besides its neighbours, 0 to 6.",
            pledge.parents.into(),
        ),
        (
            "class_sectors",
            "Sectors of class 1, 1 to 65536; each further class has twice as many.",
            pledge.class_sectors,
        ),
        (
            "class_min",
            "The lowest class that may hold, 0 to 8; 0 if no pledge is needed.",
            pledge.class_min.into(),
        ),
    ]
}

fn verdicts_rows(verdicts: &Verdicts) -> Rows {
    vec![
        (
            "watchers",
            "Watchers of a relay in an epoch, 0 to 15; fewer than 8 give no verdicts.",
            verdicts.watchers.into(),
        ),
        (
            "reporters",
            "Relays of different subnets whose reports a watcher needs, 1 to 255.",
            verdicts.reporters.into(),
        ),
        (
            "certificates",
            "Certificates of different epochs before a relay holds, 0 to 255.",
            verdicts.certificates.into(),
        ),
        (
            "suspend_window",
            "Of so many epochs in a row, 1 to 8, ...",
            verdicts.suspend_window.into(),
        ),
        (
            "suspend_epochs",
            "... in so many a quorum must want a relay suspended, 1 to suspend_window.",
            verdicts.suspend_epochs.into(),
        ),
        (
            "forget_epochs",
            "Epochs after a suspension until it is forgotten, 1 to 191.",
            verdicts.forget_epochs.into(),
        ),
        (
            "available_min",
            "Of a hundred hours a relay must be there in so many to get new mail, 0 to 100.",
            verdicts.available_min.into(),
        ),
        (
            "replaced_below",
            "In fewer than so many, others take over what it holds, 0 to available_min.",
            verdicts.replaced_below.into(),
        ),
        (
            "readings",
            "Readings of its own letters by which a relay tries others in an epoch, 0 to 10000.",
            verdicts.readings.into(),
        ),
    ]
}

/// What the text says, before it is judged.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: Spanned<String>,
    minute_ms: Option<Spanned<i64>>,
    holders: Option<Spanned<i64>>,
    receipts: Option<Spanned<i64>>,
    spares: Option<Spanned<i64>>,
    repair_below: Option<Spanned<i64>>,
    sweep_hours: Option<Spanned<i64>>,
    cell_bits: Option<Spanned<i64>>,
    guard_age_h: Option<Spanned<i64>>,
    hold_age_h: Option<Spanned<i64>>,
    reachability: Option<Spanned<String>>,
    #[serde(default)]
    caps: CapsTable,
    #[serde(default)]
    pledge: PledgeTable,
    #[serde(default)]
    verdicts: VerdictsTable,
    #[serde(default)]
    founder: Vec<FounderTable>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CapsTable {
    v4_24: Option<Spanned<i64>>,
    v4_16: Option<Spanned<i64>>,
    v6_48: Option<Spanned<i64>>,
    v6_32: Option<Spanned<i64>>,
    per_set: Option<Spanned<i64>>,
    per_path: Option<Spanned<i64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PledgeTable {
    puzzle_kib: Option<Spanned<i64>>,
    puzzle_bits: Option<Spanned<i64>>,
    labels: Option<Spanned<i64>>,
    layers: Option<Spanned<i64>>,
    parents: Option<Spanned<i64>>,
    class_sectors: Option<Spanned<i64>>,
    class_min: Option<Spanned<i64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct VerdictsTable {
    watchers: Option<Spanned<i64>>,
    reporters: Option<Spanned<i64>>,
    certificates: Option<Spanned<i64>>,
    suspend_window: Option<Spanned<i64>>,
    suspend_epochs: Option<Spanned<i64>>,
    forget_epochs: Option<Spanned<i64>>,
    available_min: Option<Spanned<i64>>,
    replaced_below: Option<Spanned<i64>>,
    readings: Option<Spanned<i64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FounderTable {
    key: Spanned<String>,
    addr: Spanned<String>,
}

/// Judges values, with the text at hand to say where.
struct Check<'a> {
    text: &'a str,
}

impl Check<'_> {
    fn founders(&self, table: &Table) -> Result<Vec<Founder>, NetworkFileFailure> {
        let mut founders: Vec<Founder> = Vec::with_capacity(table.founder.len());
        for entry in &table.founder {
            let key = NodeKey::from_hex(entry.key.get_ref()).ok_or_else(|| {
                self.wrong(
                    &entry.key,
                    "a founder's key is 64 hexadecimal digits".into(),
                )
            })?;
            let addr = entry.addr.get_ref().parse().map_err(|_| {
                let why = "a founder's addr is an IP address and a port, as in \"192.0.2.1:7700\"";
                self.wrong(&entry.addr, why.into())
            })?;
            if founders.iter().any(|founder| founder.key == key) {
                return Err(self.wrong(&entry.key, "this founder stands here twice".into()));
            }
            founders.push(Founder { key, addr });
        }
        if founders.len() > usize::from(u16::MAX) {
            let why = format!("{} founders; at most 65535", founders.len());
            return Err(NetworkFileFailure::Wrong { line: 1, why });
        }
        Ok(founders)
    }

    fn fill_caps(&self, caps: &CapsTable, to: &mut Caps) -> Result<(), NetworkFileFailure> {
        let Caps {
            v4_24,
            v4_16,
            v6_48,
            v6_32,
            per_set,
            per_path,
        } = to;
        let most = i64::from(u16::MAX);
        self.set("caps.v4_24", &caps.v4_24, v4_24, 0, most)?;
        self.set("caps.v4_16", &caps.v4_16, v4_16, 0, most)?;
        self.set("caps.v6_48", &caps.v6_48, v6_48, 0, most)?;
        self.set("caps.v6_32", &caps.v6_32, v6_32, 0, most)?;
        self.set("caps.per_set", &caps.per_set, per_set, 0, most)?;
        self.set("caps.per_path", &caps.per_path, per_path, 0, most)
    }

    fn fill_pledge(&self, from: &PledgeTable, to: &mut Pledge) -> Result<(), NetworkFileFailure> {
        let Pledge {
            puzzle_kib,
            puzzle_bits,
            labels,
            layers,
            parents,
            class_sectors,
            class_min,
        } = to;
        let (kib, bits) = (&from.puzzle_kib, &from.puzzle_bits);
        self.set("pledge.puzzle_kib", kib, puzzle_kib, 8, 1 << 20)?;
        self.set("pledge.puzzle_bits", bits, puzzle_bits, 0, 32)?;
        self.set("pledge.labels", &from.labels, labels, 128, 1 << 24)?;
        if let Some(value) = &from.labels
            && value.get_ref() % 128 != 0
        {
            let why = format!("pledge.labels is {}: no multiple of 128", value.get_ref());
            return Err(self.wrong(value, why));
        }
        self.set("pledge.layers", &from.layers, layers, 1, 64)?;
        self.set("pledge.parents", &from.parents, parents, 0, 6)?;
        let sectors = &from.class_sectors;
        self.set("pledge.class_sectors", sectors, class_sectors, 1, 1 << 16)?;
        self.set("pledge.class_min", &from.class_min, class_min, 0, 8)
    }

    fn fill_verdicts(
        &self,
        from: &VerdictsTable,
        to: &mut Verdicts,
    ) -> Result<(), NetworkFileFailure> {
        let Verdicts {
            watchers,
            reporters,
            certificates,
            suspend_window,
            suspend_epochs,
            forget_epochs,
            available_min,
            replaced_below,
            readings,
        } = to;
        let (window, epochs) = (&from.suspend_window, &from.suspend_epochs);
        self.set("verdicts.watchers", &from.watchers, watchers, 0, 15)?;
        self.set("verdicts.reporters", &from.reporters, reporters, 1, 255)?;
        let needed = &from.certificates;
        self.set("verdicts.certificates", needed, certificates, 0, 255)?;
        self.set("verdicts.suspend_window", window, suspend_window, 1, 8)?;
        let most = i64::from(*suspend_window);
        self.set("verdicts.suspend_epochs", epochs, suspend_epochs, 1, most)?;
        *suspend_epochs = (*suspend_epochs).min(*suspend_window);
        let most = Past::CLEAN_MAX.into();
        let forget = &from.forget_epochs;
        self.set("verdicts.forget_epochs", forget, forget_epochs, 1, most)?;
        let (least, below) = (&from.available_min, &from.replaced_below);
        self.set("verdicts.available_min", least, available_min, 0, 100)?;
        let most = i64::from(*available_min);
        self.set("verdicts.replaced_below", below, replaced_below, 0, most)?;
        *replaced_below = (*replaced_below).min(*available_min);
        self.set("verdicts.readings", &from.readings, readings, 0, 10_000)
    }

    fn fill(&self, table: &Table, network: &mut Network) -> Result<(), NetworkFileFailure> {
        let scale = &mut network.scale;
        self.set(
            "minute_ms",
            &table.minute_ms,
            &mut scale.minute_ms,
            MINUTE_MS_MIN.into(),
            60_000,
        )?;
        self.set("holders", &table.holders, &mut network.holders, 1, 16)?;
        self.set("receipts", &table.receipts, &mut network.receipts, 1, 16)?;
        self.set("spares", &table.spares, &mut network.spares, 0, 16)?;
        self.set(
            "repair_below",
            &table.repair_below,
            &mut network.repair_below,
            1,
            16,
        )?;
        let month_h = 720;
        self.set(
            "sweep_hours",
            &table.sweep_hours,
            &mut network.sweep_hours,
            1,
            month_h,
        )?;
        self.set("cell_bits", &table.cell_bits, &mut network.cell_bits, 0, 16)?;
        let year_h = 8_760;
        self.set(
            "guard_age_h",
            &table.guard_age_h,
            &mut network.guard_age_h,
            0,
            year_h,
        )?;
        self.set(
            "hold_age_h",
            &table.hold_age_h,
            &mut network.hold_age_h,
            0,
            year_h,
        )?;
        self.fill_caps(&table.caps, &mut network.caps)?;
        self.fill_pledge(&table.pledge, &mut network.pledge)?;
        self.fill_verdicts(&table.verdicts, &mut network.verdicts)?;
        if let Some(named) = &table.reachability {
            network.reachability = match named.get_ref().as_str() {
                "proven" => Reachability::Proven,
                "assume" => Reachability::Assume,
                _ => {
                    let why = "reachability is \"proven\" or \"assume\"";
                    return Err(self.wrong(named, why.into()));
                }
            };
        }
        if network.receipts > network.holders {
            let why = format!(
                "receipts ({}) cannot be more than holders ({})",
                network.receipts, network.holders
            );
            let value = table.receipts.as_ref().or(table.holders.as_ref());
            return Err(match value {
                Some(value) => self.wrong(value, why),
                None => NetworkFileFailure::Wrong { line: 1, why },
            });
        }
        Ok(())
    }

    /// Sets `to` if the file has a value for it.
    fn set<T: TryFrom<i64>>(
        &self,
        name: &str,
        value: &Option<Spanned<i64>>,
        to: &mut T,
        least: i64,
        most: i64,
    ) -> Result<(), NetworkFileFailure> {
        let Some(value) = value else { return Ok(()) };
        self.bounds(name, value, *value.get_ref(), least, most)?;
        if let Ok(value) = T::try_from(*value.get_ref()) {
            *to = value;
        }
        Ok(())
    }

    fn bounds<T, V>(
        &self,
        name: &str,
        at: &Spanned<T>,
        value: V,
        least: V,
        most: V,
    ) -> Result<(), NetworkFileFailure>
    where
        V: PartialOrd + std::fmt::Display,
    {
        if value < least || value > most {
            let why = format!("{name} is {value}; it must be from {least} to {most}");
            return Err(self.wrong(at, why));
        }
        Ok(())
    }

    fn wrong<T>(&self, at: &Spanned<T>, why: String) -> NetworkFileFailure {
        NetworkFileFailure::Wrong {
            line: line_of(self.text, &at.span()),
            why,
        }
    }
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    let before = text.as_bytes().iter().take(span.start);
    1 + before.filter(|byte| **byte == b'\n').count()
}

/// Why a network file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NetworkFileFailure {
    /// The file cannot be read or written.
    #[error("the network file cannot be used: {0}")]
    File(#[from] io::Error),
    /// The text is wrong.
    #[error("network file, line {line}: {why}")]
    Wrong {
        /// Where, counted from 1.
        line: usize,
        /// What, and what would be right.
        why: String,
    },
}

#[cfg(test)]
mod tests;
