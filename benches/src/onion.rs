//! What an onion costs: a relay's peel beside the bare key exchange that it cannot avoid and beside
//! another format, and a sender's build. One thread, no links. Source: docs/spec/onion.md.
//!
//! A peel is all that a relay does: decapsulation, MAC, slots, the memory of replays, payload.

use std::time::Duration;

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, ML_KEM_768};
use poste_node::kem::AwsCrypto;
use swarm_proto::crypto::{Crypto, KemCiphertext, OnionKey};
use swarm_proto::id::NodeId;
use swarm_proto::kem::{Expanded, PureCrypto, split};
use swarm_proto::limits::{ONION_HEADER_BYTES, ONION_LARGE_BYTES, ONION_SMALL_BYTES};
use swarm_proto::onion::build::{Draft, Hop, Shape};
use swarm_proto::onion::replay::Replay;
use swarm_proto::onion::{Command, Generation, SizeClass, expire, peel};
use swarm_proto::time::{TimeScale, UnixTime};

use crate::cpu::{take_turns, time_each};
use crate::failure::BenchFailure;
use crate::row::Row;
use crate::sphinx::Sphinx;

/// Four relays and what it takes to write to them.
pub struct Onions {
    keys: Vec<OnionKey>,
}

impl Default for Onions {
    fn default() -> Self {
        Self {
            keys: (0..4).map(|n| AwsCrypto.onion_key(&[n; 32])).collect(),
        }
    }
}

impl Onions {
    /// Wraps a payload of this length for the four relays; other seeds give other onions.
    pub fn build(&self, payload_bytes: usize, seed: [u8; 32]) -> Option<Vec<u8>> {
        let ids = (1..).map(|n| NodeId([n; 32]));
        let hops = ids.zip(&self.keys).map(|(id, key)| Hop {
            id,
            key: &key.public,
        });
        let hops: Vec<Hop<'_>> = hops.collect();
        let draft = Draft::new(&PureCrypto, &hops, SHAPE, &seed).ok()?;
        let sealed = draft.seal_payload(
            Command::Deliver,
            expire(SCALE, NOW),
            &vec![0; payload_bytes],
        );
        Some(sealed.0)
    }

    /// Takes off the first relay's layer; whether that worked.
    pub fn peel(&self, onion: Vec<u8>, replay: &mut Replay) -> bool {
        let Some(guard) = self.keys.first() else {
            return false;
        };
        let opened = peel::open(&*guard.secret, &NodeId([1; 32]), onion).ok();
        let admitted = opened.and_then(|opened| replay.admit(NOW, opened).ok());
        admitted.is_some_and(|admitted| admitted.act().is_ok())
    }

    /// The first relay's decapsulation with the combiner, as a peel does it; whether that worked.
    pub fn decapsulate(&self, ciphertext: &KemCiphertext) -> bool {
        let guard = self.keys.first();
        guard.is_some_and(|guard| guard.secret.decapsulate(ciphertext).is_some())
    }

    /// Something to decapsulate for the first relay.
    pub fn ciphertext(&self) -> Option<Box<KemCiphertext>> {
        let guard = self.keys.first()?;
        PureCrypto
            .encapsulate(&guard.public, &[9; 64])
            .map(|(sent, _)| sent)
    }
}

/// A memory that admits the onions of [`Onions::build`].
pub fn empty_replay() -> Replay {
    Replay::new(SCALE, UnixTime(0), usize::MAX)
}

/// The two decapsulations and nothing else, by the same library with the same cached keys.
pub struct Floor {
    ml_kem: DecapsulationKey,
    x25519: PrivateKey,
}

impl Floor {
    /// Of the first relay of [`Onions`]. `None` if the library refuses the keys.
    pub fn new() -> Option<Self> {
        let expanded = Expanded::from_seed(&[0; 32]);
        Some(Self {
            ml_kem: DecapsulationKey::new(&ML_KEM_768, &*expanded.ml_kem_secret()).ok()?,
            x25519: PrivateKey::from_private_key(&X25519, &*expanded.x25519_secret()).ok()?,
        })
    }

    /// Both decapsulations; the first bytes of both secrets.
    pub fn decapsulate(&self, ciphertext: &KemCiphertext) -> Option<[u8; 2]> {
        let (lattice, curve) = split(ciphertext);
        let curve = UnparsedPublicKey::new(&X25519, &curve[..]);
        let first = |secret: &[u8]| secret.first().copied().ok_or(());
        let shared_x = agreement::agree(&self.x25519, curve, (), first).ok()?;
        let shared_m = self.ml_kem.decapsulate(Ciphertext::from(&lattice[..]));
        Some([shared_x, first(shared_m.ok()?.as_ref()).ok()?])
    }
}

/// All rows about onions; about `most` of wall time.
///
/// # Errors
/// [`BenchFailure`] if something refuses its input.
pub fn measure(most: Duration) -> Result<Vec<Row>, BenchFailure> {
    let (onions, sphinx) = (Onions::default(), Sphinx::default());
    let mut rows = peels(&onions, &sphinx, most * 2 / 3)?;
    rows.extend(builds(&onions, &sphinx, most / 3)?);
    Ok(rows)
}

fn peels(onions: &Onions, sphinx: &Sphinx, most: Duration) -> Result<Vec<Row>, BenchFailure> {
    let floor = Floor::new().ok_or(BenchFailure::Wrong("no keys for the floor"))?;
    let sent = onions.ciphertext();
    let sent = sent.ok_or(BenchFailure::Wrong("nothing to decapsulate"))?;
    let theirs = sphinx.build().ok_or(REFUSED)?;
    let makes = |bytes| {
        let onion = move |n: u8| onions.build(bytes, [n; 32]).ok_or(REFUSED);
        (0..BATCH).map(onion).collect::<Result<Vec<_>, _>>()
    };
    let peel = |made: &[Vec<u8>]| {
        let mut replay = empty_replay();
        let mut peeled = true;
        let took = time_each(made.to_vec(), |onion| {
            peeled &= onions.peel(onion, &mut replay);
        });
        if peeled { took } else { Err(REFUSED) }
    };
    let (kib, small, large) = (makes(1_024)?, makes(SMALL_BYTES)?, makes(LARGE_BYTES)?);
    let refs = |n: u8| vec![(); usize::from(n)];
    let results = take_turns(
        &mut [
            &mut || time_each(refs(BATCH), |()| floor.decapsulate(&sent)),
            &mut || peel(&kib),
            &mut || time_each(refs(BATCH), |()| sphinx.peel(&theirs)),
            &mut || time_each(refs(BATCH), |()| onions.decapsulate(&sent)),
            &mut || peel(&small),
            &mut || peel(&large),
        ],
        TURNS,
        most,
    )?;
    let [bare, kib, theirs, combined, small, large] = results.as_slice() else {
        return Err(REFUSED);
    };
    Ok(vec![
        Row::beside("onion/peel/1k/sphinx-packet", CPU, kib, theirs),
        Row::beside("onion/peel/1k/floor", CPU, kib, bare),
        Row::beside("onion/peel/1k/floor-with-combiner", CPU, kib, combined),
        Row::beside("onion/peel/small/floor", CPU, small, bare),
        Row::beside("onion/peel/large/floor", CPU, large, bare),
    ])
}

fn builds(onions: &Onions, sphinx: &Sphinx, most: Duration) -> Result<Vec<Row>, BenchFailure> {
    let build = |bytes: usize| {
        let seeds: Vec<[u8; 32]> = (0..BUILDS).map(|n| [n; 32]).collect();
        let mut built = true;
        let took = time_each(seeds, |seed| built &= onions.build(bytes, seed).is_some());
        if built { took } else { Err(REFUSED) }
    };
    let results = take_turns(
        &mut [
            &mut || build(1_024),
            &mut || time_each(vec![(); usize::from(BUILDS)], |()| sphinx.build()),
            &mut || build(SMALL_BYTES),
            &mut || build(LARGE_BYTES),
        ],
        TURNS,
        most,
    )?;
    let [kib, theirs, small, large] = results.as_slice() else {
        return Err(REFUSED);
    };
    Ok(vec![
        Row::beside("onion/create/1k/sphinx-packet", CPU, kib, theirs),
        Row::alone("onion/create/small", CPU, small),
        Row::alone("onion/create/large", CPU, large),
    ])
}

/// Payload of a small onion.
pub const SMALL_BYTES: usize = ONION_SMALL_BYTES - ONION_HEADER_BYTES;
/// Payload of a large onion.
pub const LARGE_BYTES: usize = ONION_LARGE_BYTES - ONION_HEADER_BYTES;

const CPU: &str = "us of CPU";
const REFUSED: BenchFailure = BenchFailure::Wrong("an onion was refused");
/// A few milliseconds of peels: short beside the swings of a busy machine.
const BATCH: u8 = 24;
/// Builds take longer than peels.
const BUILDS: u8 = 6;
/// Enough for a median that other programs hardly move.
const TURNS: usize = 301;

const SCALE: TimeScale = TimeScale { minute_ms: 60_000 };
const NOW: UnixTime = UnixTime(1_790_000_100_000);
const SHAPE: Shape = Shape {
    class: SizeClass::Small,
    answer: SizeClass::Small,
    generation: Generation(0),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_works() {
        let (onions, sphinx) = (Onions::default(), Sphinx::default());
        let mut replay = empty_replay();
        let onion = onions.build(1_024, [1; 32]).unwrap();
        assert!(onions.peel(onion.clone(), &mut replay));
        assert!(!onions.peel(onion, &mut replay), "twice");
        assert!(sphinx.peel(&sphinx.build().unwrap()));
        let sent = onions.ciphertext().unwrap();
        assert!(onions.decapsulate(&sent));
        assert!(Floor::new().unwrap().decapsulate(&sent).is_some());
    }
}
