//! What a relay tells its operator: one snapshot, as JSON for scripts and as a table for people.
//!
//! It carries no mailbox, no envelope id and no address but the relay's own. The control socket that
//! carries it is in [`socket`](self::serve), where one may also ask which of some known envelopes are here.

mod socket;
mod table;
mod traffic;

pub(crate) use table::CLOCK_WARN_MS;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use swarm_proto::standing::{Certificate, Judgement};

pub use socket::{
    DrainSource, HoldsSource, SocketFailure, Sources, StandingSource, StatusSource, ask, ask_drain,
    ask_holds, ask_standing, serve,
};
pub use table::{standing_text, table};
pub use traffic::{Bytes, Handshakes, Traffic};

/// One snapshot. Fields that a relay does not know are zero or `null`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// The relay's node id, 64 hexadecimal digits.
    pub node_id: String,
    /// Its node key, 64 hexadecimal digits.
    pub node_key: String,
    /// The network's name.
    pub network: String,
    /// The network's id, 64 hexadecimal digits.
    pub network_id: String,
    /// The process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Processor time of all its threads in milliseconds, the system's part included.
    pub processor_ms: u64,
    /// Where it listens, `address:port`.
    pub listen: String,
    /// Whether others reach it.
    pub reach: Reach,
    /// The swarm as it knows it.
    pub members: Members,
    /// What it holds.
    pub held: Held,
    /// What siblings compare and send each other, so that every envelope stays at R relays.
    pub repair: Repair,
    /// What sweeps found.
    pub sweeps: Sweeps,
    /// How it watches others, and what watchers say together.
    pub watching: Watching,
    /// The disk that it has pledged, and what challenges came to.
    pub pledge: Pledge,
    /// What holders showed to its persona.
    pub readings: Readings,
    /// Its links.
    pub links: Links,
    /// What they have cost.
    pub traffic: Traffic,
    /// Onions that came.
    pub onions: Onions,
    /// Times a peer broke the protocol.
    pub faults: u64,
    /// How often it refused, by the name of the refusal.
    pub refusals: BTreeMap<String, u64>,
    /// Disk.
    pub store: StoreUse,
    /// Its clock against others'.
    pub clock: Clock,
    /// The discovery plane.
    pub discovery: DiscoveryStatus,
}

/// Whether others reach this relay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reach {
    /// The answer.
    pub verdict: Verdict,
    /// Relays that opened a discovery connection to this one.
    pub by_discovery: u64,
    /// Relays that opened a link to this one.
    pub by_links: u64,
    /// The address that others use, if confirmed or announced.
    pub address: Option<String>,
}

/// Do others reach this relay?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// At least one other relay opened a connection to this one.
    Yes,
    /// Others are known for a while, and none of them did.
    No,
    /// Too early to say, or nobody else is there.
    #[default]
    Unknown,
}

impl Verdict {
    /// The answer after `uptime_s` seconds with `known` others of whom `reached_by` came.
    pub fn of(reached_by: u64, known: u64, uptime_s: u64) -> Self {
        if reached_by > 0 {
            Self::Yes
        } else if known > 0 && uptime_s >= VERDICT_AFTER_S {
            Self::No
        } else {
            Self::Unknown
        }
    }
}

/// The swarm as this relay knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Members {
    /// Verified records.
    pub known: u64,
    /// Those that may hold in this epoch.
    pub eligible: u64,
    /// Names the list: equal at two relays that know the same records, 64 hexadecimal digits.
    pub hash: String,
}

/// What this relay holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Held {
    /// Live envelopes.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Mailboxes with anything in them.
    pub mailboxes: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Cards.
    pub cards: u64,
    /// Acknowledged deposits that not all holders have yet.
    pub copies_unfinished: u64,
    /// Deposits acknowledged as the first holder since the start.
    pub acknowledged: u64,
    /// Envelopes that expired since the start.
    pub expired: u64,
}

/// How repair stands, and what it did since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Repair {
    /// Relays that could not be reached for a quarter of an hour.
    pub away: u64,
    /// Comparisons with siblings that wait or are under way.
    pub comparing: u64,
    /// Things that siblings lack, waiting to be sent.
    pub lacking: u64,
    /// Comparisons that came to their end.
    pub compared: u64,
    /// Of these, how many found a difference.
    pub differed: u64,
    /// Messages of comparisons.
    pub steps: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Things sent because a sibling lacked them.
    pub pushed: u64,
    /// Whether a relay that leaves has handed everything over; `null` for one that stays.
    pub drained: Option<bool>,
}

/// What sweeps found since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sweeps {
    /// Sweeps that this relay opened.
    pub opened: u64,
    /// Sweeps that others opened with it.
    pub answered: u64,
    /// Of both, how many showed that both sides have the same.
    pub equal: u64,
    /// How many did not.
    pub unequal: u64,
    /// How many were left without an answer.
    pub silent: u64,
    /// How many were broken off because the other side said what cannot be.
    pub broken: u64,
    /// Envelopes that other relays had had and lacked.
    pub missing: u64,
    /// Envelopes that were read and hashed.
    pub hashed: u64,
    /// Bytes of messages.
    pub bytes: u64,
    /// Relays that are not counted on because of what they lost.
    pub failed: u64,
}

/// Watching since the start, and what watchers say at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Watching {
    /// Relays that this one watches in this epoch.
    pub watched: u64,
    /// Testimonies that it has signed.
    pub testified: u64,
    /// Testimonies that were news.
    pub heard: u64,
    /// Reports sent and received.
    pub reports: u64,
    /// Bytes of all these.
    pub bytes: u64,
    /// Relays that a quorum of their watchers calls absent.
    pub absent: u64,
    /// Relays that a majority of their watchers wants suspended.
    pub condemned: u64,
}

/// How another relay stands with the network, as this one knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkStanding {
    /// Its watchers in this epoch.
    pub watchers: u64,
    /// How many of them have said something.
    pub said: u64,
    /// How many call it absent.
    pub absent: u64,
    /// How many want it suspended.
    pub suspend: u64,
    /// How many of them suspend it.
    pub majority: u64,
    /// The last certificate, if there is one.
    pub certificate: Option<Certified>,
    /// Epochs for which it is suspended.
    pub suspended_epochs: u8,
    /// Whether it signed two records with one number.
    pub signed_twice: bool,
    /// Whether it answered wrong about its pledge.
    pub pledged_wrong: bool,
    /// Whether it did so twice, which expels it.
    pub expelled: bool,
    /// Whether it is there so seldom that others take over what it holds.
    pub replaced: bool,
    /// Envelopes that it lost by its own signatures, as far as this relay watches it.
    pub proven_lost: u64,
    /// Whether it holds mail of this epoch.
    pub holds: bool,
}

/// What a quorum of watchers said at the end of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Certified {
    /// How many epochs ago.
    pub epochs_ago: u32,
    /// Certificates before it.
    pub age: u8,
    /// Of a hundred hours, how many it answered in; `null` if not known.
    pub available: Option<u8>,
    /// Its score for what it keeps and lets be read, of a hundred; `null` if not known.
    pub kept: Option<u8>,
    /// The class of its pledge.
    pub class: u8,
    /// Watchers that wanted it suspended.
    pub suspend: u8,
}

impl NetworkStanding {
    /// As the machine knows it.
    pub fn of(judged: &Judgement) -> Self {
        let number = |count: usize| count as u64;
        let certified = |(epochs_ago, one): (u32, Certificate)| Certified {
            epochs_ago,
            age: one.age,
            available: one.available,
            kept: one.kept,
            class: one.class,
            suspend: one.votes,
        };
        Self {
            watchers: number(judged.watchers),
            said: number(judged.said),
            absent: number(judged.absent),
            suspend: number(judged.suspend),
            majority: number(judged.majority),
            certificate: judged.certificate.map(certified),
            suspended_epochs: judged.suspended_for,
            signed_twice: judged.twice.is_some(),
            pledged_wrong: judged.wrong.is_some(),
            expelled: judged.expelled.is_some(),
            replaced: judged.rare,
            proven_lost: number(judged.lost),
            holds: judged.holds,
        }
    }
}

/// The disk that a relay has pledged, and what challenges came to since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pledge {
    /// The class that it answers for.
    pub class: u8,
    /// Sectors that are complete.
    pub complete: u32,
    /// Sectors that are wanted.
    pub wanted: u32,
    /// Bytes of a sector on the disk.
    pub sector_bytes: u64,
    /// Challenges that it answered.
    pub answered: u64,
    /// Challenges that it could not answer, because a page could not be read.
    pub failed: u64,
    /// Challenges that it did not take.
    pub declined: u64,
    /// Challenges to others.
    pub asked: u64,
    /// Of these, how many were answered right.
    pub shown: u64,
    /// How many were answered wrong.
    pub wrong: u64,
    /// How many were not answered in time.
    pub silent: u64,
}

/// What the holders of its persona's letters showed since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Readings {
    /// Letters that holders who had signed for them were asked for.
    pub asked: u64,
    /// Of these, how many were not shown.
    pub failed: u64,
}

/// How another relay was found to keep what it had.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Its node id.
    pub node: String,
    /// The share that it keeps, 0 to 1; `null` if it was never swept by this relay.
    pub share: Option<f64>,
    /// Ranges that were swept.
    pub ranges: u32,
    /// Ranges after which it is judged.
    pub ranges_needed: u32,
    /// Envelopes that it had had and lacked.
    pub missing: u64,
    /// The last time, in milliseconds since 1970.
    pub last_ms: Option<u64>,
    /// Whether this relay counts on it.
    pub is_counted_on: bool,
    /// What its watchers say.
    #[serde(default)]
    pub network: NetworkStanding,
}

/// Onions that came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Onions {
    /// Passed on to the next relay.
    pub forwarded: u64,
    /// For this relay.
    pub delivered: u64,
    /// Not for this relay, changed on the way, or seen before.
    pub rejected: u64,
}

/// Links held open and how many may be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Links {
    /// With relays.
    pub members: u64,
    /// Most with relays.
    pub members_max: u64,
    /// From correspondents.
    pub clients: u64,
    /// Most from correspondents.
    pub clients_max: u64,
}

/// Disk used and allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreUse {
    /// Bytes on disk.
    pub used_bytes: u64,
    /// Bytes allowed.
    pub budget_bytes: u64,
    /// Whether deposits are refused for lack of room.
    pub full: bool,
    /// Letters that the disk damaged since the start; they were dropped, and other holders have them ([STO-10]).
    pub damaged: u64,
    /// Whether the store did not answer in time: then all that is told of it and of the relay's work is zero.
    pub late: bool,
}

/// This relay's clock against its neighbours'.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Clock {
    /// Median of the neighbours' clocks minus this one, in milliseconds.
    pub offset_ms_median: Option<i64>,
    /// Neighbours compared.
    pub compared: u64,
}

/// The discovery plane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiscoveryStatus {
    /// Relays found and still there.
    pub known: u64,
    /// Peers connected at this moment.
    pub connected: u64,
    /// Connections of other networks turned away.
    pub foreign: u64,
    /// Relays left out for their subnet's cap.
    pub subnet_full: u64,
}

/// Others look a newcomer up within a few rounds; a relay nobody called for this long is shut off.
const VERDICT_AFTER_S: u64 = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_says_no_only_after_others_had_time_to_come() {
        assert_eq!(Verdict::of(0, 0, 9_999), Verdict::Unknown);
        assert_eq!(Verdict::of(0, 5, 10), Verdict::Unknown);
        assert_eq!(Verdict::of(0, 5, 120), Verdict::No);
        assert_eq!(Verdict::of(1, 5, 1), Verdict::Yes);
    }

    #[test]
    fn a_status_comes_back_from_json_and_old_ones_are_read() {
        let mut status = Status {
            version: "0.1.0".into(),
            ..Status::default()
        };
        status.refusals.insert("disk full".into(), 3);
        status.clock.offset_ms_median = Some(-4);
        status.held.envelopes = 1;
        let text = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
        let old: Status = serde_json::from_str(r#"{"version":"0.0.1"}"#).unwrap();
        assert_eq!(old.reach.verdict, Verdict::Unknown);
    }
}
