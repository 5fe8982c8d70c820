//! Numbers that tell how links fare, without telling whose they are.

use std::sync::atomic::{AtomicU64, Ordering};

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
}

/// Counts since the start of an endpoint.
#[derive(Debug)]
pub struct LinkCounts([AtomicU64; LinkCount::ALL.len()]);

impl Default for LinkCounts {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
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

    pub(crate) fn add(&self, count: LinkCount, by: usize) {
        if let Some(cell) = self.cell(count) {
            cell.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    pub(crate) fn one(&self, count: LinkCount) {
        self.add(count, 1);
    }

    fn cell(&self, count: LinkCount) -> Option<&AtomicU64> {
        self.0.get(count as usize)
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
}
