//! Numbers that tell how links fare and what they cost, without telling whose they are.

use std::sync::atomic::{AtomicU64, Ordering};

use swarm_proto::wire::frames::FrameKind;

use crate::frame::Frame;

macro_rules! counts {
    ($($(#[$doc:meta])* $variant:ident $name:literal,)*) => {
        /// One of the numbers in [`LinkCounts`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum LinkCount {
            $($(#[$doc])* $variant,)*
        }

        impl LinkCount {
            /// Every count.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in metrics: lower case and underscores.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

counts! {
    /// Links dialled and greeted.
    Dialled "links_dialled",
    /// Dials that came to nothing.
    DialFailed "dials_failed",
    /// Links taken in.
    Accepted "links_accepted",
    /// Incoming handshakes that came to nothing.
    HandshakeFailed "handshakes_failed",
    /// Newcomers told to prove their address first.
    Retried "handshakes_retried",
    /// Links turned away because a pool or a subnet was full.
    TurnedAway "links_turned_away",
    /// Idle links closed to make room for a newcomer.
    MadeRoom "links_made_room",
    /// Links turned away because of earlier faults.
    KeptOut "links_kept_out",
    /// Hellos for another network.
    WrongNetwork "hellos_wrong_network",
    /// Hellos without a version in common.
    WrongVersion "hellos_wrong_version",
    /// Breaches of the protocol by peers.
    Fault "faults",
    /// Links closed for faults.
    ClosedForFaults "links_closed_for_faults",
    /// Frames of unknown type, or of a type that this peer may not send.
    UnknownFrame "frames_unknown",
    /// Frames longer than their type allows.
    OverLength "frames_over_length",
    /// Frames that did not come in or go out in time.
    Late "frames_late",
    /// Frames received whole.
    FramesIn "frames_in",
    /// Frames sent.
    FramesOut "frames_out",
    /// Bytes of frames received.
    BytesIn "frame_bytes_in",
    /// Bytes of frames sent.
    BytesOut "frame_bytes_out",
    /// Messages dropped because a queue was full.
    TellDropped "tells_dropped",
    /// Messages that could not be brought to the peer.
    TellFailed "tells_failed",
    /// Pooled links given up for others.
    PoolEvicted "pool_links_evicted",
    /// Handshakes, dialled or taken in, in which keys were proven anew.
    HandshakeFull "handshakes_full",
    /// Handshakes, dialled or taken in, that went on from an earlier one by its ticket.
    HandshakeResumed "handshakes_resumed",
    /// Bytes of UDP received in full handshakes, up to the end of the hello.
    FullBytesIn "handshakes_full_bytes_in",
    /// Bytes of UDP sent in them.
    FullBytesOut "handshakes_full_bytes_out",
    /// Bytes of UDP received in resumed handshakes, up to the end of the hello.
    ResumedBytesIn "handshakes_resumed_bytes_in",
    /// Bytes of UDP sent in them.
    ResumedBytesOut "handshakes_resumed_bytes_out",
    /// Bytes of UDP received, whatever they were.
    UdpBytesIn "udp_bytes_in",
    /// Bytes of UDP sent.
    UdpBytesOut "udp_bytes_out",
    /// Datagrams received.
    DatagramsIn "datagrams_in",
    /// Datagrams sent.
    DatagramsOut "datagrams_out",
}

/// Counts since the start of an endpoint.
#[derive(Debug)]
pub struct LinkCounts {
    counts: [AtomicU64; LinkCount::ALL.len()],
    kinds: [Traffic; FrameKind::ALL.len()],
}

/// Bytes of the frames of one type.
#[derive(Debug, Default)]
struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Default for LinkCounts {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            kinds: std::array::from_fn(|_| Traffic::default()),
        }
    }
}

impl LinkCounts {
    /// How often it happened (or how many bytes).
    pub fn of(&self, count: LinkCount) -> u64 {
        self.cell(count)
            .map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    /// Every count with its name, for metrics.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        LinkCount::ALL
            .iter()
            .map(|count| (count.name(), self.of(*count)))
    }

    /// Bytes of frames of each type, headers included, received and sent.
    pub fn kinds(&self) -> impl Iterator<Item = (FrameKind, u64, u64)> + '_ {
        FrameKind::ALL
            .into_iter()
            .zip(&self.kinds)
            .map(|(kind, traffic)| {
                let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
                (kind, read(&traffic.received), read(&traffic.sent))
            })
    }

    pub(crate) fn add(&self, count: LinkCount, by: usize) {
        self.add_wide(count, u64::try_from(by).unwrap_or(u64::MAX));
    }

    pub(crate) fn add_wide(&self, count: LinkCount, by: u64) {
        if let Some(cell) = self.cell(count) {
            cell.fetch_add(by, Ordering::Relaxed);
        }
    }

    pub(crate) fn one(&self, count: LinkCount) {
        self.add(count, 1);
    }

    /// A frame came in whole.
    pub(crate) fn received(&self, frame: &Frame) {
        self.one(LinkCount::FramesIn);
        self.add(LinkCount::BytesIn, frame.wire_bytes());
        add_frame(self.traffic(frame.kind).map(|one| &one.received), frame);
    }

    /// A frame was sent.
    pub(crate) fn sent(&self, frame: &Frame) {
        self.one(LinkCount::FramesOut);
        self.add(LinkCount::BytesOut, frame.wire_bytes());
        add_frame(self.traffic(frame.kind).map(|one| &one.sent), frame);
    }

    fn traffic(&self, kind: FrameKind) -> Option<&Traffic> {
        let at = FrameKind::ALL.into_iter().position(|one| one == kind)?;
        self.kinds.get(at)
    }

    fn cell(&self, count: LinkCount) -> Option<&AtomicU64> {
        self.counts.get(count as usize)
    }
}

fn add_frame(cell: Option<&AtomicU64>, frame: &Frame) {
    if let Some(cell) = cell {
        let bytes = u64::try_from(frame.wire_bytes()).unwrap_or(u64::MAX);
        cell.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_is_its_own() {
        let counts = LinkCounts::default();
        for (at, count) in LinkCount::ALL.iter().enumerate() {
            counts.add(*count, at);
        }
        let values: Vec<u64> = counts.all().map(|(_, value)| value).collect();
        assert_eq!(values, (0..values.len() as u64).collect::<Vec<_>>());
    }

    #[test]
    fn bytes_are_counted_for_the_type_that_they_belong_to() {
        let counts = LinkCounts::default();
        for (at, kind) in FrameKind::ALL.into_iter().enumerate() {
            let frame = Frame::new(kind, vec![0; at.min(kind.body_bytes_max())]);
            counts.received(&frame);
            counts.sent(&frame);
            counts.sent(&frame);
        }
        for (kind, received, sent) in counts.kinds() {
            assert!(received >= 6 && sent == 2 * received, "{kind:?}");
        }
        let all: u64 = counts.kinds().map(|(_, received, _)| received).sum();
        assert_eq!(all, counts.of(LinkCount::BytesIn));
    }
}
