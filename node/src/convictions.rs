//! The file of what convicts other relays, so that no conviction ends when all relays stop at once ([EVD-6]).
//!
//! Proofs are added as they come and read at the start, when those that are over are left out. What is cut short by a
//! crash is the last one, which the others have. It judges nothing: the machine does.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use swarm_proto::limits;
use swarm_proto::time::Epoch;
use swarm_proto::wire::proof::Conviction;

use crate::driver::write_whole;

/// The file.
#[derive(Debug)]
pub(crate) struct Convictions {
    path: PathBuf,
}

impl Convictions {
    /// That at `path`; nothing is touched.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Reads what counts on in `today`, and leaves the rest out of the file. A damaged file is read up to the damage.
    ///
    /// # Errors
    /// Of the file, unless it is not there.
    pub(crate) fn read(&self, today: Epoch) -> io::Result<Vec<Conviction>> {
        let found = match fs::read(&self.path) {
            Ok(found) => found,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(other) => return Err(other),
        };
        let mut kept = decoded(&found);
        kept.retain(|one| !one.is_over(today));
        let whole: Vec<u8> = kept.iter().flat_map(written).collect();
        if whole != found {
            write_whole(&self.path, &whole)?;
        }
        Ok(kept)
    }

    /// Adds one; when the file is full, it is left out until the next start has made room.
    ///
    /// # Errors
    /// Of the file.
    pub(crate) fn keep(&self, conviction: &Conviction) -> io::Result<()> {
        let bytes = written(conviction);
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)?;
        if file.metadata()?.len() > FILE_BYTES_MAX {
            return Ok(());
        }
        file.write_all(&bytes)?;
        file.sync_data()
    }
}

/// Length (4) and bytes of one.
fn written(conviction: &Conviction) -> Vec<u8> {
    let bytes = conviction.encode();
    let length = u32::try_from(bytes.len()).unwrap_or(0);
    let mut written = length.to_be_bytes().to_vec();
    written.extend(bytes);
    written
}

fn decoded(mut rest: &[u8]) -> Vec<Conviction> {
    let mut read = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((bytes, after)) = after.split_at_checked(length) else {
            break;
        };
        let Ok(conviction) = Conviction::decode(bytes.to_vec().into()) else {
            break;
        };
        read.push(conviction);
        rest = after;
    }
    read
}

/// Twice what a machine keeps, 3 KiB each at most: some take the place of others before the next start.
const FILE_BYTES_MAX: u64 = 2 * 3 * 1024 * limits::PROOFS_MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_proto::crypto::Signature;
    use swarm_proto::id::{NodeId, NodeKey};
    use swarm_proto::pledge::Evidence;
    use swarm_proto::wire::pledge::ChallengeAnswer;
    use swarm_proto::wire::proof::Proof;

    fn conviction(since: u32, nonce: u8) -> Conviction {
        let answer = ChallengeAnswer {
            nonce: [nonce; 32],
            class: 1,
            tags: vec![[nonce; 8]; 200],
            signature: Signature([nonce; 64]),
        };
        let evidence = Evidence {
            subject: NodeKey([1; 32]),
            watcher: NodeId([2; 32]),
            answer,
            page: 3,
        };
        Conviction {
            since: Epoch(since),
            proof: Proof::Pledge(Box::new(evidence)),
        }
    }

    /// [EVD-6]
    #[test]
    fn what_was_kept_is_read_in_its_order_until_it_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = Convictions::at(dir.path().join("convictions"));
        let read = |today: u32| file.read(Epoch(today)).unwrap();
        assert!(read(100).is_empty());
        let all = [conviction(80, 1), conviction(100, 2), conviction(100, 3)];
        for one in &all {
            file.keep(one).unwrap();
        }
        assert_eq!(read(110), all);
        assert_eq!(read(111), all[1..], "the first is over");
        assert_eq!(read(100), all[1..], "and gone");
        file.keep(&all[0]).unwrap();
        assert_eq!(read(100).len(), 3);
        let bound = FILE_BYTES_MAX / 2 / limits::PROOFS_MAX as u64;
        assert!((written(&all[0]).len() as u64) < bound);
    }

    /// [EVD-6]: a crash while one is written costs that one.
    #[test]
    fn a_file_that_was_cut_short_is_read_up_to_the_cut_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("convictions");
        let file = Convictions::at(path.clone());
        let read = || file.read(Epoch(100)).unwrap();
        let all = [conviction(99, 1), conviction(100, 2)];
        let whole: Vec<u8> = all.iter().flat_map(written).collect();
        let first = written(&all[0]).len();
        for cut in [0, 3, first - 1, first, first + 3, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(read(), all[..usize::from(cut >= first)], "{cut}");
            file.keep(&all[1]).unwrap();
            assert_eq!(read().last(), Some(&all[1]), "{cut}");
        }
    }
}
