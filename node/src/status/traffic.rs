//! What a relay's links have cost since it started: bytes, handshakes, and which frames they carried.
//!
//! Sums over all links; no line tells whose one was.

use std::collections::BTreeMap;

use poste_link::{LinkCount, LinkCounts};
use serde::{Deserialize, Serialize};
use swarm_proto::wire::frames::FrameKind;

use super::table::{bytes, duration};

/// What went through the data port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Seconds for which it was counted.
    pub since_s: u64,
    /// All bytes of UDP, those of IP and UDP headers left out.
    pub udp: Bytes,
    /// Datagrams; each has 28 bytes of headers under IPv4 and 48 under IPv6.
    pub datagrams: Bytes,
    /// Handshakes in which keys were proven anew.
    pub full: Handshakes,
    /// Handshakes that went on from an earlier one.
    pub resumed: Handshakes,
    /// Frames, whatever their type.
    pub frames_in_all: Bytes,
    /// Bytes of frames by their type; types that never came or went are left out.
    pub frames: BTreeMap<String, Bytes>,
}

/// Bytes, datagrams or frames, each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bytes {
    /// Received.
    pub received: u64,
    /// Sent.
    pub sent: u64,
}

/// Handshakes of one kind, dialled and taken in, up to the end of the hello.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Handshakes {
    /// How many.
    pub count: u64,
    /// Their bytes of UDP.
    pub udp: Bytes,
}

impl Bytes {
    fn of(counts: &LinkCounts, received: LinkCount, sent: LinkCount) -> Self {
        Self {
            received: counts.of(received),
            sent: counts.of(sent),
        }
    }

    fn both(self) -> u64 {
        self.received.saturating_add(self.sent)
    }
}

impl Traffic {
    /// What an endpoint has counted in so many seconds.
    pub fn of(counts: &LinkCounts, since_s: u64) -> Self {
        use LinkCount::{
            DatagramsIn, DatagramsOut, FramesIn, FramesOut, FullBytesIn, FullBytesOut,
            HandshakeFull, HandshakeResumed, ResumedBytesIn, ResumedBytesOut, UdpBytesIn,
            UdpBytesOut,
        };
        let travelled = counts
            .kinds()
            .filter(|(_, received, sent)| *received + *sent > 0);
        Self {
            since_s,
            udp: Bytes::of(counts, UdpBytesIn, UdpBytesOut),
            datagrams: Bytes::of(counts, DatagramsIn, DatagramsOut),
            full: Handshakes {
                count: counts.of(HandshakeFull),
                udp: Bytes::of(counts, FullBytesIn, FullBytesOut),
            },
            resumed: Handshakes {
                count: counts.of(HandshakeResumed),
                udp: Bytes::of(counts, ResumedBytesIn, ResumedBytesOut),
            },
            frames_in_all: Bytes::of(counts, FramesIn, FramesOut),
            frames: travelled
                .map(|(kind, received, sent)| (name_of(kind), Bytes { received, sent }))
                .collect(),
        }
    }

    /// In one line.
    pub(super) fn line(&self) -> String {
        let handshakes = self.full.udp.both().saturating_add(self.resumed.udp.both());
        format!(
            "{} in, {} out since {}; {} of it {} handshakes ({} resumed)",
            bytes(self.udp.received),
            bytes(self.udp.sent),
            duration(self.since_s),
            bytes(handshakes),
            self.full.count.saturating_add(self.resumed.count),
            self.resumed.count
        )
    }
}

/// `OnionSmall` is told as `onion small`.
fn name_of(kind: FrameKind) -> String {
    let mut name = String::new();
    for letter in format!("{kind:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push(' ');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_of_all_were_handshakes() {
        let traffic = Traffic {
            since_s: 10_800,
            udp: Bytes {
                received: 12_897_485,
                sent: 12_478_100,
            },
            full: Handshakes {
                count: 26,
                udp: Bytes {
                    received: 100_000,
                    sent: 90_000,
                },
            },
            resumed: Handshakes {
                count: 998,
                udp: Bytes {
                    received: 2_600_000,
                    sent: 2_557_738,
                },
            },
            ..Traffic::default()
        };
        assert_eq!(
            traffic.line(),
            "12.3 MiB in, 11.9 MiB out since 3 h 0 min; 5.1 MiB of it 1024 handshakes (998 resumed)"
        );
    }

    #[test]
    fn every_type_of_frame_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<String> =
            FrameKind::ALL.into_iter().map(name_of).collect();
        assert_eq!(names.len(), FrameKind::ALL.len());
        assert_eq!(name_of(FrameKind::OnionAnswerSmall), "onion answer small");
    }
}
