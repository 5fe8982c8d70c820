//! Resumption tickets: those that other relays gave to this one, and the key that seals those it gives.
//!
//! Two relays of a network meet about once a day, so tickets must outlive days and a restart of a link, and
//! there must be room for every relay. A ticket saves the proof of both keys and nothing else: the key
//! exchange is made anew each time ([LNK-2]), so that who steals a ticket's key reads nothing of before.
//! That key is random and in memory only. One made from the node's seed would outlive a restart, but whoever
//! stole the seed could then pose as *any* relay to its owner, which signatures do not let him do; what a restart
//! costs instead is one full handshake a peer, and that weighs no more bytes ([LNK-11]).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::server::ProducesTickets;
use rustls::{Error, NamedGroup};
use swarm_proto::id::NodeKey;

use crate::identity::named_key;

/// The last ticket of each relay that was dialled; the one kept for longest makes room.
pub(crate) struct TicketsKept {
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    next: u64,
    by_key: BTreeMap<NodeKey, (u64, Tls13ClientSessionValue)>,
    by_age: BTreeMap<u64, NodeKey>,
}

impl TicketsKept {
    /// Room for the tickets of `most` relays.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            kept: Mutex::default(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn take(&mut self, key: &NodeKey) -> Option<Tls13ClientSessionValue> {
        let (age, ticket) = self.by_key.remove(key)?;
        self.by_age.remove(&age);
        Some(ticket)
    }

    fn put(&mut self, key: NodeKey, ticket: Tls13ClientSessionValue, most: usize) {
        self.take(&key);
        if self.by_key.len() >= most
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_key.remove(&oldest);
        }
        self.by_age.insert(self.next, key);
        self.by_key.insert(key, (self.next, ticket));
        self.next += 1;
    }
}

impl ClientSessionStore for TicketsKept {
    fn set_kx_hint(&self, _name: ServerName<'static>, _group: NamedGroup) {}

    fn kx_hint(&self, _name: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _name: ServerName<'static>, _value: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _name: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        if let Some(key) = named_key(&name)
            && self.most > 0
        {
            self.kept().put(key, value, self.most);
        }
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.kept().take(&named_key(name)?)
    }
}

impl fmt::Debug for TicketsKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketsKept")
            .field("relays", &self.kept().by_key.len())
            .finish()
    }
}

/// Seals the tickets that this relay gives: they carry what it would have to remember.
pub(crate) struct TicketSealer {
    life: Duration,
    keys: Mutex<Keys>,
}

struct Keys {
    current: XChaCha20Poly1305,
    previous: Option<XChaCha20Poly1305>,
    since: Instant,
}

impl TicketSealer {
    /// A new key each `life`; the one before still opens what it has sealed.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub(crate) fn new(life: Duration) -> Result<Self, Error> {
        let current = random_key().ok_or(Error::FailedToGetRandomBytes)?;
        Ok(Self {
            life,
            keys: Mutex::new(Keys {
                current,
                previous: None,
                since: Instant::now(),
            }),
        })
    }

    /// The keys of a moment. `None` if one is due and there is no randomness for it.
    fn keys_at(&self, now: Instant) -> Option<MutexGuard<'_, Keys>> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.saturating_duration_since(keys.since);
        if age >= self.life {
            let before = std::mem::replace(&mut keys.current, random_key()?);
            keys.previous = (age < 2 * self.life).then_some(before);
            keys.since = now;
        }
        Some(keys)
    }
}

impl ProducesTickets for TicketSealer {
    fn enabled(&self) -> bool {
        true
    }

    /// In seconds. Those that are sealed at the end of a key's time last half as long; whoever shows one that
    /// is over makes a full handshake.
    fn lifetime(&self) -> u32 {
        u32::try_from((2 * self.life).as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal_at(Instant::now(), plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open_at(Instant::now(), ticket)
    }
}

impl TicketSealer {
    fn seal_at(&self, now: Instant, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).ok()?;
        let mut text = plain.to_vec();
        let keys = self.keys_at(now)?;
        let text_in_place = text.as_mut_slice().into();
        let sealed = keys
            .current
            .encrypt_inout_detached(&nonce.into(), b"", text_in_place);
        let mac = sealed.ok()?;
        Some([&nonce[..], &text, &mac].concat())
    }

    fn open_at(&self, now: Instant, ticket: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = ticket.split_first_chunk::<NONCE_BYTES>()?;
        let (text, mac) = rest.split_last_chunk::<MAC_BYTES>()?;
        let keys = self.keys_at(now)?;
        let open = |key: &XChaCha20Poly1305| {
            let mut plain = text.to_vec();
            let text_in_place = plain.as_mut_slice().into();
            key.decrypt_inout_detached(&(*nonce).into(), b"", text_in_place, &(*mac).into())
                .ok()
                .map(|()| plain)
        };
        open(&keys.current).or_else(|| keys.previous.as_ref().and_then(open))
    }
}

impl fmt::Debug for TicketSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketSealer")
    }
}

fn random_key() -> Option<XChaCha20Poly1305> {
    let mut key = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(&mut *key).ok()?;
    Some(XChaCha20Poly1305::new(&(*key).into()))
}

/// Bytes of the nonce before a ticket: random ones never meet.
const NONCE_BYTES: usize = 24;
/// Bytes of its seal.
const MAC_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// [LNK-11]
    #[test]
    fn a_ticket_is_good_for_two_days_and_not_for_a_week() {
        let day = Duration::from_secs(24 * 3_600);
        let sealer = TicketSealer::new(2 * day).unwrap();
        let start = Instant::now();
        let days = |count: u32| start + count * day;
        let first = sealer.seal_at(days(0), b"first").unwrap();
        let second = sealer.seal_at(days(1), b"second").unwrap();
        assert_eq!(sealer.open_at(days(2), &first).unwrap(), b"first");
        assert_eq!(sealer.open_at(days(3), &second).unwrap(), b"second");
        assert_eq!(sealer.open_at(days(7), &second), None);
        assert_eq!(sealer.lifetime(), 4 * 24 * 3_600);
    }

    /// [LNK-11]
    #[test]
    fn a_ticket_that_was_changed_or_is_anothers_opens_nothing() {
        let [ours, theirs] = [1, 2].map(|_| TicketSealer::new(Duration::from_secs(60)).unwrap());
        let ticket = ours.encrypt(b"somebody").unwrap();
        assert_eq!(theirs.decrypt(&ticket), None);
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(ours.decrypt(&changed), None);
            assert_eq!(ours.decrypt(&ticket[..at]), None);
        }
    }
}
