//! The identity puzzle at a relay: its own, solved once, and those of others, looked at once each.
//!
//! A look takes about 0.2 s and 64 MiB, so one is taken at a time, off the machine's loop, and what was found
//! right is kept in the home, so that a restart costs nothing. Source: `docs/spec/pledge.md` [PUZ-2].

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use swarm_proto::id::NodeKey;
use swarm_proto::limits;
use swarm_proto::network::Pledge;
use swarm_proto::pledge::Puzzle;
use swarm_proto::time::Instant;
use swarm_proto::wire::verify::Verified;
use tokio::sync::Semaphore;

use crate::driver::write_whole;

/// The nonce that solves the puzzle of this relay's key: the one kept at `path`, or else one that is searched
/// for, however long that takes. `tell` is told each try, and the search goes on where it was interrupted.
///
/// # Errors
/// If it cannot be kept.
pub(crate) fn solve(
    path: &Path,
    key: &NodeKey,
    pledge: &Pledge,
    mut tell: impl FnMut(u64),
) -> io::Result<u64> {
    let mut puzzle = Puzzle::new(pledge);
    if pledge.puzzle_bits == 0 {
        return Ok(0);
    }
    let mut from = match read(path) {
        Kept::Solved(nonce) if puzzle.holds(key, nonce) => return Ok(nonce),
        Kept::Next(nonce) => nonce,
        Kept::Solved(_) | Kept::Nothing => 0,
    };
    loop {
        let end = from.saturating_add(TRIES_BETWEEN_NOTES);
        let tried = puzzle.search(key, from, |nonce| {
            tell(nonce);
            nonce < end
        });
        match tried {
            Ok(nonce) => {
                write_whole(path, format!("solved {nonce}\n").as_bytes())?;
                return Ok(nonce);
            }
            Err(next) => {
                write_whole(path, format!("next {next}\n").as_bytes())?;
                from = next;
            }
        }
    }
}

/// The nonce that [`solve`] kept at `path`; 0 if there is none.
pub(crate) fn kept(path: &Path) -> u64 {
    match read(path) {
        Kept::Solved(nonce) => nonce,
        Kept::Next(_) | Kept::Nothing => 0,
    }
}

enum Kept {
    Solved(u64),
    Next(u64),
    Nothing,
}

fn read(path: &Path) -> Kept {
    let text = fs::read_to_string(path).unwrap_or_default();
    let number = |text: &str| text.trim().parse().ok();
    if let Some(nonce) = text.strip_prefix("solved ").and_then(number) {
        Kept::Solved(nonce)
    } else if let Some(nonce) = text.strip_prefix("next ").and_then(number) {
        Kept::Next(nonce)
    } else {
        Kept::Nothing
    }
}

/// Looks at the puzzles of others' records, once each.
#[derive(Debug)]
pub(crate) struct Puzzles {
    pledge: Pledge,
    path: PathBuf,
    right: Mutex<BTreeSet<(NodeKey, u64)>>,
    strangers: Mutex<Allowance>,
    /// Messages that may wait for a look.
    places: Semaphore,
    /// One look at a time.
    turn: Semaphore,
}

/// What peers that are no members may have looked at.
#[derive(Debug, Default)]
struct Allowance {
    used: u32,
    since: Instant,
}

impl Puzzles {
    /// What was found right before is kept at `path`; a damaged end only costs another look.
    pub(crate) fn open(path: PathBuf, pledge: Pledge) -> Self {
        Self {
            right: Mutex::new(read_right(&path).unwrap_or_default()),
            pledge,
            path,
            strangers: Mutex::default(),
            places: Semaphore::new(WAITING_MAX),
            turn: Semaphore::new(1),
        }
    }

    /// Takes those records out of a message that cannot be looked at now. `false` if one has a wrong nonce:
    /// then the peer that sent it is at fault ([PUZ-2]).
    pub(crate) async fn screen(
        &self,
        message: &mut Verified,
        is_member: bool,
        now: Instant,
    ) -> bool {
        if self.pledge.puzzle_bits == 0 {
            return true;
        }
        let unknown: BTreeSet<(NodeKey, u64)> = {
            let right = self.right();
            let asked = message.records().map(|record| (record.key, record.puzzle));
            asked.filter(|one| !right.contains(one)).collect()
        };
        if unknown.is_empty() {
            return true;
        }
        if let Ok(_place) = self.places.try_acquire() {
            for (key, nonce) in unknown {
                if !is_member && !self.strangers().take(now) {
                    break;
                }
                match self.look(key, nonce).await {
                    Some(true) => {}
                    Some(false) => return false,
                    None => break,
                }
            }
        }
        let right = self.right();
        message.keep_records(|record| right.contains(&(record.key, record.puzzle)));
        true
    }

    /// Whether the nonce is right; `None` if this machine cannot tell now.
    async fn look(&self, key: NodeKey, nonce: u64) -> Option<bool> {
        let _turn = self.turn.acquire().await.ok()?;
        if self.right().contains(&(key, nonce)) {
            return Some(true);
        }
        let pledge = self.pledge;
        let look = move || Puzzle::new(&pledge).holds(&key, nonce);
        let holds = tokio::task::spawn_blocking(look).await.ok()?;
        if holds && let Err(failure) = self.keep(key, nonce) {
            tracing::warn!(%failure, "a solved puzzle cannot be kept: it is looked at again after a restart");
        }
        Some(holds)
    }

    fn keep(&self, key: NodeKey, nonce: u64) -> io::Result<()> {
        let mut right = self.right();
        let is_full = right.len() >= RIGHT_MAX;
        if is_full {
            right.clear();
        }
        right.insert((key, nonce));
        let mut file = OpenOptions::new()
            .create(true)
            .append(!is_full)
            .write(true)
            .truncate(is_full)
            .open(&self.path)?;
        file.write_all(&[&key.0[..], &nonce.to_be_bytes()].concat())
    }

    fn right(&self) -> MutexGuard<'_, BTreeSet<(NodeKey, u64)>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn strangers(&self) -> MutexGuard<'_, Allowance> {
        self.strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Allowance {
    /// One more look, if there is one left.
    fn take(&mut self, now: Instant) -> bool {
        let passed = now.since(self.since).as_millis() / STRANGERS_PAUSE.as_millis();
        if passed > 0 {
            self.used = self
                .used
                .saturating_sub(u32::try_from(passed).unwrap_or(u32::MAX));
            self.since = now;
        }
        let has_one = self.used < STRANGERS_MAX;
        self.used += u32::from(has_one);
        has_one
    }
}

/// Cuts off what a crash left half written.
fn read_right(path: &Path) -> io::Result<BTreeSet<(NodeKey, u64)>> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    let (whole, torn) = bytes.as_chunks::<40>();
    if !torn.is_empty() {
        let length = bytes.len() - torn.len();
        OpenOptions::new()
            .write(true)
            .open(path)?
            .set_len(length as u64)?;
    }
    let one = |row: &[u8; 40]| {
        let (key, nonce) = (row.first_chunk()?, row.last_chunk()?);
        Some((NodeKey(*key), u64::from_be_bytes(*nonce)))
    };
    Ok(whole.iter().filter_map(one).take(RIGHT_MAX).collect())
}

/// A search notes how far it is every few seconds.
const TRIES_BETWEEN_NOTES: u64 = 16;
/// Twice the members that a list can have: 2 MiB at most.
const RIGHT_MAX: usize = 2 * limits::MEMBERS_MAX;
/// Messages that wait for a look, of up to 12 records each; what finds no place is asked for again.
const WAITING_MAX: usize = 64;
/// Looks at once for peers that are no members: enough for a relay that comes, and what it brings.
const STRANGERS_MAX: u32 = 16;
/// One more after this: a tenth of one core.
const STRANGERS_PAUSE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_proto::crypto::null::NullCrypto;
    use swarm_proto::crypto::{Crypto, SecretKey, Signature};
    use swarm_proto::id::NetworkId;
    use swarm_proto::id::NodeId;
    use swarm_proto::members::{OnionKeys, Record};
    use swarm_proto::time::Tick;
    use swarm_proto::wire::Message;
    use swarm_proto::wire::members::RecordWithKeys;
    use swarm_proto::wire::verify::{Judge, Via};

    fn pledge() -> Pledge {
        let mut pledge = swarm_proto::network::Network::public("puzzles", &[]).pledge;
        (pledge.puzzle_kib, pledge.puzzle_bits) = (16, 3);
        pledge
    }

    /// A message with one record for each nonce, by relays of their own.
    fn records(nonces: &[u64]) -> Verified {
        let crypto = NullCrypto::new();
        let network = NetworkId([1; 32]);
        let record = |(at, nonce): (usize, &u64)| {
            let secret = SecretKey::from_seed(&[u8::try_from(at).unwrap(); 32]);
            let record = Record {
                leaving: false,
                relay_only: false,
                network,
                key: NodeKey(*secret.public()),
                sequence: Tick(9),
                since: Tick(1),
                onion_generation: 1,
                onion_current: [0; 32],
                onion_next: None,
                family: [0; 8],
                addresses: [None, None],
                class: 1,
                puzzle: *nonce,
                signature: Signature([0; 64]),
            };
            let signature = crypto.sign(&secret, &record.statement());
            RecordWithKeys {
                record: Record {
                    signature,
                    ..record
                },
                keys: OnionKeys::default(),
            }
        };
        let judge = Judge {
            crypto: &crypto,
            network,
            me: NodeId([2; 32]),
        };
        let message = Message::Records(nonces.iter().enumerate().map(record).collect());
        judge.admit(message, Via::Relay(key(0))).unwrap()
    }

    fn key(at: u8) -> NodeKey {
        NodeKey(*SecretKey::from_seed(&[at; 32]).public())
    }

    fn solved(at: u8) -> u64 {
        Puzzle::new(&pledge())
            .search(&key(at), 0, |_| true)
            .unwrap()
    }

    fn wrong(at: u8) -> u64 {
        let mut puzzle = Puzzle::new(&pledge());
        (0..).find(|nonce| !puzzle.holds(&key(at), *nonce)).unwrap()
    }

    /// [PUZ-2]
    #[tokio::test]
    async fn a_record_is_taken_if_its_puzzle_is_solved_and_faults_its_sender_if_not() {
        let dir = tempfile::tempdir().unwrap();
        let puzzles = Puzzles::open(dir.path().join("puzzles"), pledge());
        let mut good = records(&[solved(0), solved(1)]);
        assert!(puzzles.screen(&mut good, true, Instant(0)).await);
        assert_eq!(good.records().count(), 2);
        let mut bad = records(&[solved(0), wrong(1)]);
        assert!(!puzzles.screen(&mut bad, true, Instant(0)).await);
        // Nothing is asked for where a network asks for nothing.
        let mut free = pledge();
        free.puzzle_bits = 0;
        let free = Puzzles::open(dir.path().join("none"), free);
        assert!(free.screen(&mut bad, true, Instant(0)).await);
        assert_eq!(bad.records().count(), 2);
    }

    /// [PUZ-2]
    #[tokio::test]
    async fn what_was_found_right_is_known_after_a_restart_also_after_a_torn_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("puzzles");
        let puzzles = Puzzles::open(path.clone(), pledge());
        let mut message = records(&[solved(0), solved(1)]);
        puzzles.screen(&mut message, true, Instant(0)).await;
        fs::write(&path, &fs::read(&path).unwrap()[..79]).unwrap();
        let again = Puzzles::open(path.clone(), pledge());
        assert_eq!(again.right().len(), 1);
        puzzles_know_both(&again, &path).await;
    }

    async fn puzzles_know_both(puzzles: &Puzzles, path: &Path) {
        let mut message = records(&[solved(0), solved(1)]);
        assert!(puzzles.screen(&mut message, true, Instant(0)).await);
        assert_eq!(read_right(path).unwrap().len(), 2);
    }

    /// [PUZ-2]: what strangers may have looked at is bounded; the rest is left out and is nobody's fault.
    #[tokio::test]
    async fn strangers_have_few_records_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let puzzles = Puzzles::open(dir.path().join("puzzles"), pledge());
        let most = u8::try_from(STRANGERS_MAX).unwrap();
        let nonces: Vec<u64> = (0..most + 4).map(solved).collect();
        let mut message = records(&nonces);
        assert!(puzzles.screen(&mut message, false, Instant(0)).await);
        assert_eq!(message.records().count(), usize::from(most));
        let later = Instant(0).plus(STRANGERS_PAUSE);
        let mut message = records(&nonces);
        assert!(puzzles.screen(&mut message, false, later).await);
        assert_eq!(message.records().count(), usize::from(most) + 1);
        let mut message = records(&nonces);
        assert!(puzzles.screen(&mut message, true, later).await);
        assert_eq!(message.records().count(), nonces.len());
    }

    /// [PUZ-1]
    #[test]
    fn the_own_puzzle_is_solved_once_and_taken_up_where_it_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("puzzle");
        let right = solved(7);
        fs::write(&path, format!("next {right}\n")).unwrap();
        let mut tries = Vec::new();
        let found = solve(&path, &key(7), &pledge(), |nonce| tries.push(nonce)).unwrap();
        assert_eq!((found, tries), (right, vec![right]));
        let mut again = 0;
        assert_eq!(
            solve(&path, &key(7), &pledge(), |_| again += 1).unwrap(),
            right
        );
        assert_eq!((again, kept(&path)), (0, right));
        // A nonce for another key does not do.
        assert_eq!(solve(&path, &key(8), &pledge(), |_| {}).unwrap(), solved(8));
    }
}
