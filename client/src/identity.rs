//! What one account has of its own: keys, the salt of its invitations, its mailboxes ([ADR-6], [ACC-3]).
//!
//! Account, salt and network can be restored from 24 words; the inbox key, contacts and letters cannot.

use rand_core::CryptoRng;
use swarm_proto::address::{Account, Context, NoMailbox, OwnerSide};
use swarm_proto::hash;
use swarm_proto::id::NetworkId;
use swarm_proto::time::Epoch;
use swarm_proto::wire::codec::{Malformed, Reader, Writer};
use zeroize::Zeroizing;

use crate::contacts::{self, Contact};
use crate::conversation::first_contact::InboxKey;
use crate::home::{Record, Table};
use crate::invitation::{Invitation, RelayAt};

/// An account with what belongs to it in one network.
#[derive(Debug)]
pub struct Identity {
    seed: Zeroizing<[u8; 32]>,
    account: Account,
    inbox: InboxKey,
    /// The network that it reads in.
    pub network: NetworkId,
    /// The salt of its first-contact mailbox and of its invitations.
    pub salt: [u8; 32],
    /// The number of the last card it published.
    pub card_sequence: u64,
    /// Whether somebody who wrote first is answered without the user being asked.
    pub answers_strangers: bool,
}

impl Identity {
    /// A new account.
    pub fn draw(network: NetworkId, rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut());
        Self::restore(&seed, network, rng)
    }

    /// The account of a seed, as 24 words give it: same account, same salt, so that invitations handed out
    /// stay valid; a fresh inbox key ([ACC-3]).
    pub fn restore(seed: &[u8; 32], network: NetworkId, rng: &mut impl CryptoRng) -> Self {
        let mut inbox_seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(inbox_seed.as_mut());
        Self {
            seed: Zeroizing::new(*seed),
            account: Account::from_seed(seed),
            inbox: InboxKey::from_seed(&inbox_seed),
            network,
            salt: hash::derive("poste invitation salt", &[seed]),
            card_sequence: 0,
            answers_strangers: true,
        }
    }

    /// What the 24 words stand for.
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The account.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The key that first contacts are sealed to.
    pub fn inbox(&self) -> &InboxKey {
        &self.inbox
    }

    /// An invitation to hand to others, with up to three relays to start from.
    pub fn invitation(&self, relays: &[RelayAt]) -> Invitation {
        Invitation {
            account: *self.account.key(),
            salt: self.salt,
            network: self.network,
            relays: relays.to_vec(),
        }
    }

    /// The mailbox for first contacts in an epoch.
    ///
    /// # Errors
    /// [`NoMailbox`].
    pub fn first_contact_mailbox(&self, epoch: Epoch) -> Result<OwnMailbox, NoMailbox> {
        Ok(OwnMailbox {
            kind: MailboxKind::FirstContact,
            epoch,
            side: self.account.mailbox(Context::Pub, &self.salt, epoch)?,
        })
    }

    /// All mailboxes to read in an epoch: first contact, then one for each bucket ([ADR-6]).
    ///
    /// # Errors
    /// [`NoMailbox`].
    pub fn mailboxes(
        &self,
        contacts: &[Contact],
        epoch: Epoch,
    ) -> Result<Vec<OwnMailbox>, NoMailbox> {
        let mut mailboxes = vec![self.first_contact_mailbox(epoch)?];
        for s in contacts::buckets(contacts) {
            mailboxes.push(OwnMailbox {
                kind: MailboxKind::Bucket { s },
                epoch,
                side: self.account.mailbox(Context::Pair, &s, epoch)?,
            });
        }
        Ok(mailboxes)
    }
}

/// A mailbox of ours in one epoch.
#[derive(Debug)]
pub struct OwnMailbox {
    /// Who writes to it.
    pub kind: MailboxKind,
    /// Of which epoch it is.
    pub epoch: Epoch,
    /// What reads it.
    pub side: OwnerSide,
}

/// Who writes to a mailbox of ours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum MailboxKind {
    /// Whoever has an invitation.
    FirstContact,
    /// The contacts of one bucket.
    Bucket {
        /// The bucket's secret.
        s: [u8; 32],
    },
}

impl std::fmt::Debug for MailboxKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::FirstContact => "FirstContact",
            Self::Bucket { .. } => "Bucket",
        })
    }
}

impl Record for Identity {
    const TABLE: Table = Table::Identity;

    fn key(&self) -> Vec<u8> {
        IDENTITY_KEY.to_vec()
    }

    fn encode(&self, writer: &mut Writer) {
        writer
            .put(self.seed.as_slice())
            .put(self.inbox.seed())
            .put(&self.network.0)
            .put(&self.salt)
            .u64(self.card_sequence)
            .u8(u8::from(self.answers_strangers));
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let seed = Zeroizing::new(reader.array("seed")?);
        let inbox_seed = Zeroizing::new(reader.array("inbox seed")?);
        Ok(Self {
            account: Account::from_seed(&seed),
            inbox: InboxKey::from_seed(&inbox_seed),
            seed,
            network: NetworkId(reader.array("network id")?),
            salt: reader.array("salt")?,
            card_sequence: reader.u64("card sequence")?,
            answers_strangers: reader.flag("answers strangers")?,
        })
    }
}

/// A home has one identity.
pub const IDENTITY_KEY: &[u8] = b"identity";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contacts::Reach;
    use bytes::Bytes;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    /// [ACC-3].
    #[test]
    fn words_restore_the_account_and_its_invitations_and_not_the_inbox_key() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let first = Identity::draw(NetworkId([2; 32]), &mut rng);
        let again = Identity::restore(first.seed(), first.network, &mut rng);
        assert_eq!(again.invitation(&[]), first.invitation(&[]));
        assert_ne!(again.inbox().public(), first.inbox().public());
        assert!(!format!("{first:?}").contains("seed: ["));
    }

    #[test]
    fn an_identity_comes_back() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let identity = Identity::draw(NetworkId([2; 32]), &mut rng);
        let encoded = |identity: &Identity| {
            let mut writer = Writer::default();
            identity.encode(&mut writer);
            writer.finish()
        };
        let mut reader = Reader::new(Bytes::from(encoded(&identity)));
        let again = Identity::decode(&mut reader).unwrap();
        assert_eq!(encoded(&again), encoded(&identity));
        assert_eq!(again.inbox().public(), identity.inbox().public());
    }

    /// [ADR-6].
    #[test]
    fn all_mailboxes_change_with_the_epoch() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let identity = Identity::draw(NetworkId([2; 32]), &mut rng);
        let contact = |fill: u8| {
            let ours = Reach {
                s: [fill; 32],
                p: [0; 32],
            };
            Contact::stranger(*identity.account().key(), ours, true)
        };
        let contacts = [contact(1), contact(2), contact(1)];
        let addresses = |epoch| -> Vec<_> {
            let mailboxes = identity.mailboxes(&contacts, Epoch(epoch)).unwrap();
            mailboxes
                .iter()
                .map(|mailbox| mailbox.side.address())
                .collect()
        };
        let mut all = [addresses(7), addresses(8)].concat();
        assert_eq!(all.len(), 6);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 6);
    }
}
