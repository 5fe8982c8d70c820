//! The bounds of one program's links: numbers that a volunteer may turn, with the reason for each.
//!
//! Bounds of the protocol itself (what a frame weighs) are in `swarm_proto`.

use std::time::Duration;

/// Bounds of an endpoint and its pool. Counts are at least 1 unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    /// Links that members keep to us. A home relay has 256; a rented one 1,024.
    pub member_links_max: usize,
    /// Links that clients and relays that are no members keep to us; a pool of its own, so that
    /// neither crowds out the other.
    pub client_links_max: usize,
    /// Links of that second pool from one /24 (IPv4) or /56 (IPv6); zero lifts the cap.
    pub client_links_per_subnet_max: usize,
    /// Links that one member keeps to us; two, so that a restarted one need not wait for its old link
    /// to time out.
    pub links_per_member_max: usize,
    /// Handshakes under way at once; half of them make newcomers prove their address first.
    pub handshakes_max: usize,
    /// Handshakes under way at once from one subnet; zero lifts the cap.
    pub handshakes_per_subnet_max: usize,
    /// Requests that a peer has open on one link.
    pub asks_per_link_max: u32,
    /// Messages that a relay has open on one link.
    pub tells_per_link_max: u32,
    /// Bodies that are read at once on one link.
    pub bodies_per_link_max: usize,
    /// Silence after which a link is closed: longer than the five minutes between two probes of a watcher
    /// ([STD-3]): else each of thousands of probes a day would cost a handshake.
    pub idle_max: Duration,
    /// Time for a handshake and for the hello after it, each.
    pub handshake_wait: Duration,
    /// Time in which a relay that is dialled has to answer; a first try and two repetitions.
    pub dial_wait: Duration,
    /// Silence after a question that means that nobody is there: a peer that lives acknowledges at once,
    /// however long its answer takes.
    pub silence_max: Duration,
    /// Time for one frame to come in or go out whole; a peer that is slower is cut off.
    pub frame_wait: Duration,
    /// How often a dialled link says that it is there; `None` leaves it silent, as relays do.
    pub keep_alive: Option<Duration>,
    /// Faults of one link before it is closed and its peer kept out for [`Self::fault_pause`].
    pub faults_per_link_max: u32,
    /// How long a peer is kept out after too many faults.
    pub fault_pause: Duration,
    /// Links that [`crate::Links`] keeps open; the one unused for longest goes first.
    pub pool_links_max: usize,
    /// Relays whose last resumption ticket is kept; the one kept for longest goes first. More than a network of
    /// 2,000 has, since each pair of them meets about once a day; under a KiB each.
    pub tickets_max: usize,
    /// Messages waiting for one peer; the next is dropped and counted.
    pub tells_per_peer_max: usize,
    /// Bytes of all waiting messages together; the next is dropped and counted.
    pub tells_bytes_max: usize,
    /// First pause after a failed dial; doubles up to [`Self::dial_pause_max`].
    pub dial_pause_min: Duration,
    /// Longest pause after failed dials.
    pub dial_pause_max: Duration,
    /// Bytes of the socket's buffers, each way; the system may grant less.
    pub socket_buffer_bytes: usize,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            member_links_max: 1_024,
            client_links_max: 256,
            client_links_per_subnet_max: 4,
            links_per_member_max: 2,
            handshakes_max: 128,
            handshakes_per_subnet_max: 16,
            asks_per_link_max: 16,
            tells_per_link_max: 16,
            bodies_per_link_max: 4,
            idle_max: Duration::from_secs(420),
            handshake_wait: Duration::from_secs(10),
            dial_wait: Duration::from_secs(5),
            silence_max: Duration::from_secs(3),
            frame_wait: Duration::from_secs(30),
            keep_alive: None,
            faults_per_link_max: 8,
            fault_pause: Duration::from_secs(60),
            pool_links_max: 1_024,
            tickets_max: 4_096,
            tells_per_peer_max: 64,
            tells_bytes_max: 32 * 1024 * 1024,
            dial_pause_min: Duration::from_millis(500),
            dial_pause_max: Duration::from_secs(60),
            socket_buffer_bytes: 1024 * 1024,
        }
    }
}

impl LinkConfig {
    /// What a relay on a small machine at home affords: a quarter of the links.
    pub fn home() -> Self {
        Self {
            member_links_max: 256,
            client_links_max: 64,
            pool_links_max: 256,
            tells_bytes_max: 8 * 1024 * 1024,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [LNK-7]
    #[test]
    fn a_link_outlives_the_pause_between_two_probes() {
        let probes = Duration::from_secs(5 * 60);
        for config in [LinkConfig::default(), LinkConfig::home()] {
            assert!(config.idle_max >= probes + config.dial_wait + config.dial_pause_max);
        }
    }
}
