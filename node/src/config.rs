//! The operator's settings: few, each with a default, a unit, a range and a reason.
//!
//! One table (`NUMBERS`) feeds the parser, the range check and `config --print-default`, so that none
//! can disagree with the others. An unknown key is an error that names it. What a network agrees on is
//! not here but in its network file.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use serde::{Deserialize, Serialize};
use swarm_proto::limits::PLEDGE_CLASS_MAX;
use toml::Spanned;

/// The settings of one relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Which defaults apply.
    pub profile: Profile,
    /// The address that the relay listens on.
    pub listen: IpAddr,
    /// The port: UDP for letters, TCP of the same number for discovery. 0 lets the system choose.
    pub port: u16,
    /// The address that others are told, when it is not the one listened on.
    pub announce: Option<SocketAddr>,
    /// Bytes that envelopes may take on disk.
    pub store_bytes: u64,
    /// Bytes of the store's page cache.
    pub cache_bytes: u64,
    /// Bytes of the file that is given up when the disk is full.
    pub ballast_bytes: u64,
    /// Bytes a second that siblings may be sent because they lack them.
    pub repair_bytes_per_s: u32,
    /// Bytes of memory that messages under way may take.
    pub memory_bytes: u64,
    /// Threads that serve links.
    pub threads: usize,
    /// Links to other relays held open.
    pub member_links_max: u32,
    /// Links from correspondents held open.
    pub client_links_max: u32,
    /// Connections of the discovery plane.
    pub discovery_links_max: u32,
    /// The class of the pledge that is wanted; `None` for the lowest that may hold in its network.
    pub pledge_class: Option<u8>,
}

/// What kind of machine this is; chooses the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// A rented server with a fast line.
    Vps,
    /// A small board or a home server behind a home line.
    Home,
}

impl Config {
    /// The defaults of a profile.
    pub fn of(profile: Profile) -> Self {
        let default = |key: &str| {
            NUMBERS
                .iter()
                .find(|number| number.key == key)
                .map_or(0, |number| number.default(profile))
        };
        Self {
            profile,
            listen: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port: u16::try_from(default("port")).unwrap_or(0),
            announce: None,
            store_bytes: default("store_mib") * MIB,
            cache_bytes: default("cache_mib") * MIB,
            ballast_bytes: default("ballast_mib") * MIB,
            repair_bytes_per_s: bytes_per_s(default("repair_kib_s")),
            memory_bytes: default("memory_mib") * MIB,
            threads: usize::try_from(default("threads")).unwrap_or(1),
            member_links_max: u32::try_from(default("member_links_max")).unwrap_or(0),
            client_links_max: u32::try_from(default("client_links_max")).unwrap_or(0),
            discovery_links_max: u32::try_from(default("discovery_links_max")).unwrap_or(0),
            pledge_class: None,
        }
    }

    /// Reads the file at `path`; a missing file means the defaults of `home`.
    pub fn load(path: &Path) -> Result<Self, ConfigFailure> {
        let place = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &place),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::of(Profile::Home))
            }
            Err(source) => Err(ConfigFailure::Read { place, source }),
        }
    }

    /// Reads `text`; `place` names it in errors.
    pub fn parse(text: &str, place: &str) -> Result<Self, ConfigFailure> {
        let raw: Raw = toml::from_str(text).map_err(|error| ConfigFailure::Text {
            place: place.to_owned(),
            error: error.to_string(),
        })?;
        let profile = raw.profile.unwrap_or(Profile::Home);
        let check = |key: &str, given: &Option<Spanned<i64>>| {
            NUMBERS
                .iter()
                .find(|number| number.key == key)
                .map_or(Ok(0), |number| number.take(given, profile, text, place))
        };
        let small = |key: &str, given: &Option<Spanned<i64>>| {
            check(key, given).map(|value| u32::try_from(value).unwrap_or(u32::MAX))
        };
        Ok(Self {
            profile,
            listen: raw.listen.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            port: u16::try_from(check("port", &raw.port)?).unwrap_or(0),
            announce: raw.announce,
            store_bytes: check("store_mib", &raw.store_mib)? * MIB,
            cache_bytes: check("cache_mib", &raw.cache_mib)? * MIB,
            ballast_bytes: check("ballast_mib", &raw.ballast_mib)? * MIB,
            repair_bytes_per_s: bytes_per_s(check("repair_kib_s", &raw.repair_kib_s)?),
            memory_bytes: check("memory_mib", &raw.memory_mib)? * MIB,
            threads: usize::try_from(check("threads", &raw.threads)?).unwrap_or(1),
            member_links_max: small("member_links_max", &raw.member_links_max)?,
            client_links_max: small("client_links_max", &raw.client_links_max)?,
            discovery_links_max: small("discovery_links_max", &raw.discovery_links_max)?,
            pledge_class: class(&raw.pledge_class, text, place)?,
        })
    }

    /// A commented file with the defaults of `profile`; it parses back to them.
    pub fn default_text(profile: Profile) -> String {
        let name = match profile {
            Profile::Vps => "vps",
            Profile::Home => "home",
        };
        let mut text = format!(
            "# Settings of a poste-node. Every line may be left out; then its default holds.\n\n\
             # Which defaults apply: \"vps\" (a rented server) or \"home\" (a small machine).\n\
             profile = \"{name}\"\n\n\
             # The address to listen on; \"::\" also takes IPv4 on most systems.\n\
             listen = \"0.0.0.0\"\n\n\
             # What others are told when it differs from that, as behind a router that forwards\n\
             # the port: \"address:port\", the same port number in UDP and TCP. Default: none.\n\
             # announce = \"192.0.2.7:7676\"\n"
        );
        for number in NUMBERS {
            let _ = write!(
                text,
                "\n# {}\n# Unit: {}. Range: {} to {}. Default: {} (vps), {} (home).\n{} = {}\n",
                number.reason,
                number.unit,
                number.min,
                number.max,
                number.vps,
                number.home,
                number.key,
                number.default(profile),
            );
        }
        let _ = write!(
            text,
            "\n# {}\n# Unit: {}. Range: {} to {}. Default: the lowest class that may hold in the network.\n# {} = 3\n",
            PLEDGE_CLASS.reason,
            PLEDGE_CLASS.unit,
            PLEDGE_CLASS.min,
            PLEDGE_CLASS.max,
            PLEDGE_CLASS.key,
        );
        text
    }
}

/// The class of the pledge, if one is set: its default is the network's.
fn class(
    given: &Option<Spanned<i64>>,
    text: &str,
    place: &str,
) -> Result<Option<u8>, ConfigFailure> {
    if given.is_none() {
        return Ok(None);
    }
    let value = PLEDGE_CLASS.take(given, Profile::Home, text, place)?;
    Ok(u8::try_from(value).ok())
}

/// One number that an operator may set.
#[derive(Clone, Copy, Debug)]
struct Number {
    key: &'static str,
    unit: &'static str,
    min: u64,
    max: u64,
    vps: u64,
    home: u64,
    reason: &'static str,
}

impl Number {
    fn default(&self, profile: Profile) -> u64 {
        match profile {
            Profile::Vps => self.vps,
            Profile::Home => self.home,
        }
    }

    fn take(
        &self,
        given: &Option<Spanned<i64>>,
        profile: Profile,
        text: &str,
        place: &str,
    ) -> Result<u64, ConfigFailure> {
        let Some(given) = given else {
            return Ok(self.default(profile));
        };
        let value = *given.as_ref();
        match u64::try_from(value) {
            Ok(value) if (self.min..=self.max).contains(&value) => Ok(value),
            _ => Err(ConfigFailure::Range {
                place: place.to_owned(),
                line: text
                    .bytes()
                    .take(given.span().start)
                    .filter(|byte| *byte == b'\n')
                    .count()
                    + 1,
                key: self.key,
                value,
                min: self.min,
                max: self.max,
                unit: self.unit,
            }),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    profile: Option<Profile>,
    listen: Option<IpAddr>,
    announce: Option<SocketAddr>,
    port: Option<Spanned<i64>>,
    store_mib: Option<Spanned<i64>>,
    cache_mib: Option<Spanned<i64>>,
    ballast_mib: Option<Spanned<i64>>,
    repair_kib_s: Option<Spanned<i64>>,
    memory_mib: Option<Spanned<i64>>,
    threads: Option<Spanned<i64>>,
    member_links_max: Option<Spanned<i64>>,
    client_links_max: Option<Spanned<i64>>,
    discovery_links_max: Option<Spanned<i64>>,
    pledge_class: Option<Spanned<i64>>,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFailure {
    /// The file cannot be read.
    #[error("{place}: {source}")]
    Read {
        /// Which file.
        place: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong kind; the text names key and line.
    #[error("{place}: {error}")]
    Text {
        /// Which file.
        place: String,
        /// What is wrong.
        error: String,
    },
    /// A number outside its range.
    #[error("{place}, line {line}: {key} = {value} is outside {min} to {max} ({unit})")]
    Range {
        /// Which file.
        place: String,
        /// Counted from 1.
        line: usize,
        /// The setting.
        key: &'static str,
        /// What was given.
        value: i64,
        /// The least allowed.
        min: u64,
        /// The most allowed.
        max: u64,
        /// Of all three.
        unit: &'static str,
    },
}

fn bytes_per_s(kib: u64) -> u32 {
    u32::try_from(kib.saturating_mul(1024)).unwrap_or(u32::MAX)
}

const MIB: u64 = 1024 * 1024;

/// The one number whose default the network says.
const PLEDGE_CLASS: Number = Number {
    key: "pledge_class",
    unit: "class",
    min: 0,
    max: PLEDGE_CLASS_MAX as u64,
    vps: 0,
    home: 0,
    reason: "Disk kept filled as a pledge: in a public network 4 GiB for class 1, twice as much for each further one. 0: none.",
};

/// Every number, in the order of the printed file.
const NUMBERS: &[Number] = &[
    Number {
        key: "port",
        unit: "port",
        min: 0,
        max: 65_535,
        vps: 7_676,
        home: 7_676,
        reason: "UDP for letters and TCP of the same number for discovery; open both. 0: any free one.",
    },
    Number {
        key: "store_mib",
        unit: "MiB",
        min: 16,
        max: 4 * 1024 * 1024,
        vps: 20_480,
        home: 4_096,
        reason: "Disk for envelopes; when it is full deposits are refused and reading goes on.",
    },
    Number {
        key: "cache_mib",
        unit: "MiB",
        min: 4,
        max: 4_096,
        vps: 64,
        home: 16,
        reason: "Memory of the store's cache; more makes reading old mail faster, nothing else.",
    },
    Number {
        key: "ballast_mib",
        unit: "MiB",
        min: 1,
        max: 4_096,
        vps: 256,
        home: 64,
        reason: "A file given up when the disk is full, so that expired mail can still be removed.",
    },
    Number {
        key: "repair_kib_s",
        unit: "KiB/s",
        min: 8,
        max: 1024 * 1024,
        vps: 4_096,
        home: 256,
        reason: "Sent to relays that lack copies, at most; about a quarter of the line's upload.",
    },
    Number {
        key: "memory_mib",
        unit: "MiB",
        min: 16,
        max: 65_536,
        vps: 256,
        home: 96,
        reason: "Memory for messages under way; a flood is refused beyond it.",
    },
    Number {
        key: "threads",
        unit: "threads",
        min: 1,
        max: 64,
        vps: 2,
        home: 1,
        reason: "Threads that serve links; more than one only helps a relay that is busy all the time.",
    },
    Number {
        key: "member_links_max",
        unit: "links",
        min: 16,
        max: 8_192,
        vps: 1_024,
        home: 256,
        reason: "Links with other relays held open; about 40 KiB each, idle ones are closed first.",
    },
    Number {
        key: "client_links_max",
        unit: "links",
        min: 0,
        max: 65_536,
        vps: 4_096,
        home: 256,
        reason: "Links from correspondents held open; never taken from the other relays' share.",
    },
    Number {
        key: "discovery_links_max",
        unit: "links",
        min: 8,
        max: 1_024,
        vps: 128,
        home: 64,
        reason: "Connections of the discovery plane; they are short, about 60 KiB each.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_default_parses_back_to_the_default() {
        for profile in [Profile::Vps, Profile::Home] {
            let text = Config::default_text(profile);
            let parsed = Config::parse(&text, "printed").unwrap();
            assert_eq!(parsed, Config::of(profile));
            for number in NUMBERS {
                let default = number.default(profile);
                assert!((number.min..=number.max).contains(&default));
                assert!(text.contains(&format!("\n{} = {default}\n", number.key)));
            }
        }
    }

    #[test]
    fn every_number_can_be_set() {
        let at_max = |number: &Number| format!("{} = {}\n", number.key, number.max);
        let text: String = NUMBERS.iter().map(at_max).collect();
        let config = Config::parse(&text, "max").unwrap();
        assert_eq!(config.port, 65_535);
        assert_eq!(config.store_bytes, 4 << 40);
        assert_eq!(config.cache_bytes, 4 << 30);
        assert_eq!(config.ballast_bytes, 4 << 30);
        assert_eq!(config.repair_bytes_per_s, 1 << 30);
        assert_eq!(config.memory_bytes, 64 << 30);
        assert_eq!(config.member_links_max, 8_192);
        assert_eq!(config.client_links_max, 65_536);
        assert_eq!(config.discovery_links_max, 1_024);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = Config::parse("port = 1\nstore_gib = 4\n", "config.toml")
            .unwrap_err()
            .to_string();
        assert!(error.contains("store_gib"), "{error}");
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_number_out_of_range_is_told_with_place_line_and_range() {
        let error = Config::parse("# one\n\ncache_mib = 3\n", "config.toml").unwrap_err();
        assert_eq!(
            error.to_string(),
            "config.toml, line 3: cache_mib = 3 is outside 4 to 4096 (MiB)"
        );
        assert!(Config::parse("port = -1", "x").is_err());
        assert!(Config::parse("port = 65536", "x").is_err());
    }

    #[test]
    fn a_missing_file_means_the_defaults_of_a_home_machine() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::load(&dir.path().join("config.toml")).unwrap();
        assert_eq!(config, Config::of(Profile::Home));
    }
}
