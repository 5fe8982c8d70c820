//! The identity puzzle: what a key costs before anything is plotted for it.
//!
//! Keys are cheap, and somebody who wants a certain place in the swarm draws many. So each key needs a nonce
//! under which a memory-hard hash begins with zero bits: many tries for whoever makes a key, one for whoever
//! checks it. Source: `docs/spec/pledge.md`.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::id::NodeKey;
use crate::network::Pledge;

/// The puzzle of one network, with the memory that it works in.
pub struct Puzzle {
    bits: u32,
    work: Option<Work>,
}

struct Work {
    argon: Argon2<'static>,
    memory: Vec<Block>,
}

impl fmt::Debug for Puzzle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Puzzle").field("bits", &self.bits).finish()
    }
}

impl Puzzle {
    /// The puzzle of a network; takes its memory at once, unless nothing is asked for.
    pub fn new(pledge: &Pledge) -> Self {
        let work = || {
            let params = Params::new(pledge.puzzle_kib, PASSES, LANES, Some(32)).ok()?;
            let memory = vec![Block::new(); params.block_count()];
            let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            Some(Work { argon, memory })
        };
        let bits = u32::from(pledge.puzzle_bits);
        Self {
            bits,
            work: if bits == 0 { None } else { work() },
        }
    }

    /// Whether `nonce` solves the puzzle of `node` ([PUZ-1]). Takes as long as one hash.
    pub fn holds(&mut self, node: &NodeKey, nonce: u64) -> bool {
        if self.bits == 0 {
            return true;
        }
        let hash = self.hash(node, nonce);
        hash.is_some_and(|hash| zero_bits(&hash) >= self.bits)
    }

    /// Tries one nonce after the other until one solves it or `go_on`, which is told each, says no: then the
    /// nonce to go on with another time.
    ///
    /// # Errors
    /// The next nonce to try.
    pub fn search(
        &mut self,
        node: &NodeKey,
        from: u64,
        mut go_on: impl FnMut(u64) -> bool,
    ) -> Result<u64, u64> {
        let mut nonce = from;
        while go_on(nonce) {
            if self.holds(node, nonce) {
                return Ok(nonce);
            }
            nonce = nonce.wrapping_add(1);
        }
        Err(nonce)
    }

    /// `None` for parameters that Argon2 does not take: then nothing solves the puzzle.
    fn hash(&mut self, node: &NodeKey, nonce: u64) -> Option<[u8; 32]> {
        let work = self.work.as_mut()?;
        let mut asked = [0; 40];
        let fields = node.0.into_iter().chain(nonce.to_be_bytes());
        for (to, from) in asked.iter_mut().zip(fields) {
            *to = from;
        }
        let mut hash = [0; 32];
        let memory = work.memory.as_mut_slice();
        work.argon
            .hash_password_into_with_memory(&asked, SALT, &mut hash, memory)
            .ok()?;
        Some(hash)
    }
}

/// Zero bits before the first one.
fn zero_bits(hash: &[u8; 32]) -> u32 {
    let zeros = hash.iter().take_while(|byte| **byte == 0).count();
    let next = hash.get(zeros).map_or(0, |byte| byte.leading_zeros());
    8 * u32::try_from(zeros).unwrap_or(0) + next
}

/// One pass: the memory, not the passes, is what is dear to somebody with special machines.
const PASSES: u32 = 1;
const LANES: u32 = 1;
/// Tells this use of Argon2 from every other.
const SALT: &[u8] = b"poste puzzle 1\0";
