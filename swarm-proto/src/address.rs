//! Accounts, and the mailbox addresses that they have: others for each epoch, and only those meant can
//! tell that two of them belong together ([ADR-1] to [ADR-8], `docs/spec/letters.md`).
//!
//! First stop of a letter's road. An account key A is blinded by a scalar that follows from A, a context,
//! 32 secret or public bytes and the epoch. Whoever knows these computes where to write; only the owner can
//! also sign as the reader. The blinding is that of Tor's v3 onion services (rend-spec-v3, appendix A) with
//! a uniform blind instead of a clamped one, and with the blinded key inside the nonce prefix.
//!
//! It decides nothing about relays and reads no clock. A read key never leaves this crate as a number,
//! since together with its blind it gives the account key away ([ADR-3]):
//!
//! ```compile_fail
//! # use swarm_proto::{address::{Account, Context}, time::Epoch};
//! let side = Account::from_seed(&[1; 32]).mailbox(Context::Pair, &[2; 32], Epoch(9)).unwrap();
//! let k = side.read.expanded().scalar;
//! ```

use core::cmp::Ordering;
use core::fmt;

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::hazmat::ExpandedSecretKey;
use zeroize::{Zeroize, Zeroizing};

use crate::crypto::SecretKey;
use crate::hash;
use crate::id::MailboxAddress;
use crate::store::MailboxKeys;
use crate::time::Epoch;

/// A person's long-term secret key. Erased from memory when dropped.
pub struct Account {
    secret: SecretKey,
    key: AccountKey,
}

impl Account {
    /// Expands the 32 bytes that the 24 words stand for, as RFC 8032 does ([ADR-1]).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let secret = SecretKey::from_seed(seed);
        let point = EdwardsPoint::mul_base(&secret.expanded().scalar);
        let key = AccountKey {
            bytes: *secret.public(),
            point,
        };
        Self { secret, key }
    }

    /// The public half.
    pub fn key(&self) -> &AccountKey {
        &self.key
    }

    /// The owner's side of a mailbox ([ADR-3]).
    ///
    /// # Errors
    /// [`NoMailbox`] if the epoch's blind is zero.
    pub fn mailbox(
        &self,
        context: Context,
        s: &[u8; 32],
        epoch: Epoch,
    ) -> Result<OwnerSide, NoMailbox> {
        let mut blind = self.key.blind(context, s, epoch)?;
        let expanded = self.secret.expanded();
        let read_public = (self.key.point * blind).compress().to_bytes();
        let read = SecretKey::from_expanded(ExpandedSecretKey {
            scalar: blind * expanded.scalar,
            hash_prefix: hash::derive(
                "poste mailbox nonce",
                &[&expanded.hash_prefix, &read_public],
            ),
        });
        blind.zeroize();
        let write = self.key.write_key(context, s, epoch);
        let keys = MailboxKeys {
            flags: context.flags(),
            read: read_public,
            write: *write.public(),
        };
        Ok(OwnerSide { keys, read, write })
    }

    /// What this account and `other` share without a word having passed between them: X25519 of the two
    /// account keys in Montgomery form. Both compute the same 32 bytes, so what is keyed with them convinces
    /// the other and nobody else ([ADR-8]).
    pub fn agree(&self, other: &AccountKey) -> Zeroizing<[u8; 32]> {
        let shared = other.point * self.secret.expanded().scalar;
        Zeroizing::new(shared.to_montgomery().to_bytes())
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({:?})", self.key)
    }
}

/// A person's long-term public key, checked. `Debug` shows four bytes, so that a log names nobody.
#[derive(Clone, Copy)]
pub struct AccountKey {
    bytes: [u8; 32],
    point: EdwardsPoint,
}

impl AccountKey {
    /// Takes 32 bytes from outside ([ADR-2]).
    ///
    /// # Errors
    /// [`BadAccountKey`] says which check failed.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, BadAccountKey> {
        let point = CompressedEdwardsY(*bytes)
            .decompress()
            .filter(|point| point.compress().as_bytes() == bytes)
            .ok_or(BadAccountKey::NotCanonical)?;
        if point.is_small_order() {
            return Err(BadAccountKey::SmallOrder);
        }
        if !point.is_torsion_free() {
            return Err(BadAccountKey::Torsion);
        }
        Ok(Self {
            bytes: *bytes,
            point,
        })
    }

    /// The 32 bytes, as in an account id.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// A writer's side of a mailbox of this account ([ADR-3]).
    ///
    /// # Errors
    /// [`NoMailbox`] if the epoch's blind is zero.
    pub fn mailbox(
        &self,
        context: Context,
        s: &[u8; 32],
        epoch: Epoch,
    ) -> Result<WriterSide, NoMailbox> {
        let blind = self.blind(context, s, epoch)?;
        let write = self.write_key(context, s, epoch);
        let keys = MailboxKeys {
            flags: context.flags(),
            read: (self.point * blind).compress().to_bytes(),
            write: *write.public(),
        };
        Ok(WriterSide { keys, write })
    }

    /// h = derive-64("poste mailbox blind", ...) mod l ([ADR-3]). All 64 bytes are reduced, so h is uniform;
    /// a clamped blind would keep a torsion component, which the check on import excludes anyway.
    fn blind(&self, context: Context, s: &[u8; 32], epoch: Epoch) -> Result<Scalar, NoMailbox> {
        let mut wide = Zeroizing::new([0; 64]);
        self.derive_into("poste mailbox blind", context, s, epoch, wide.as_mut());
        let blind = Scalar::from_bytes_mod_order_wide(&wide);
        if blind == Scalar::ZERO {
            Err(NoMailbox)
        } else {
            Ok(blind)
        }
    }

    fn write_key(&self, context: Context, s: &[u8; 32], epoch: Epoch) -> SecretKey {
        let mut seed = Zeroizing::new([0; 32]);
        self.derive_into("poste mailbox write", context, s, epoch, seed.as_mut());
        SecretKey::from_seed(&seed)
    }

    fn derive_into(
        &self,
        label: &str,
        context: Context,
        s: &[u8; 32],
        epoch: Epoch,
        out: &mut [u8],
    ) {
        let name = context.name();
        let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
        let epoch = epoch.0.to_be_bytes();
        hash::derive_into(label, &[&self.bytes, &[length], name, s, &epoch], out);
    }
}

impl PartialEq for AccountKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for AccountKey {}

impl PartialOrd for AccountKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for AccountKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.bytes.first_chunk::<4>().copied().unwrap_or_default();
        write!(f, "AccountKey({})", crate::id::hex(&start))
    }
}

/// What a mailbox is for; different contexts never share an address ([ADR-3]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Context {
    /// First contact: `s` is the salt of an invitation.
    Pub,
    /// Letters of up to 32 contacts: `s` was sent to them inside a letter.
    Pair,
    /// The owner's own devices.
    Own,
    /// A group's own key pair.
    Group,
}

impl Context {
    /// The bytes that enter the derivations.
    pub const fn name(self) -> &'static [u8] {
        match self {
            Self::Pub => b"pub",
            Self::Pair => b"pair",
            Self::Own => b"self",
            Self::Group => b"grp",
        }
    }

    /// The flags of its mailboxes ([ADR-5]): strangers may write to the first; nobody deletes from the last,
    /// since any member could erase the others' letters.
    pub const fn flags(self) -> u8 {
        match self {
            Self::Pub => MailboxKeys::OPEN_LANE,
            Self::Pair | Self::Own => 0,
            Self::Group => MailboxKeys::NO_DELETE,
        }
    }
}

/// What somebody who may write to a mailbox holds.
#[derive(Debug)]
pub struct WriterSide {
    /// K, W and the flags.
    pub keys: MailboxKeys,
    /// Signs deposits.
    pub write: SecretKey,
}

impl WriterSide {
    /// The mailbox's address.
    pub fn address(&self) -> MailboxAddress {
        self.keys.address()
    }
}

/// What the owner of a mailbox holds.
#[derive(Debug)]
pub struct OwnerSide {
    /// K, W and the flags.
    pub keys: MailboxKeys,
    /// Signs fetches, deletions and cards.
    pub read: SecretKey,
    /// Signs deposits.
    pub write: SecretKey,
}

impl OwnerSide {
    /// The mailbox's address.
    pub fn address(&self) -> MailboxAddress {
        self.keys.address()
    }
}

/// Why 32 bytes are no account key ([ADR-2]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAccountKey {
    /// No point of the curve, or not its only encoding.
    #[error("account key: not the canonical encoding of a point")]
    NotCanonical,
    /// One of the eight points that every signature verifies under.
    #[error("account key: a point of small order")]
    SmallOrder,
    /// Two accounts that differ by such a point would share their mailboxes.
    #[error("account key: not in the prime-order group")]
    Torsion,
}

/// An account without a mailbox for one epoch: its blind is zero. Expected once in 2^252 epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this epoch's blind is zero; the account has no mailbox in it")]
pub struct NoMailbox;

#[cfg(test)]
mod tests;
