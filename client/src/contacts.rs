//! What one knows of somebody else, and how far the two have got with each other ([LET-7] to [LET-9]).
//!
//! A conversation goes through three states: *invited* (their card is not found yet), *waiting* (they were
//! written to at first contact and have not answered) and *connected* (they said where they want letters).
//! Sealing and opening are in [`crate::conversation`].

use std::fmt;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use swarm_proto::address::AccountKey;
use swarm_proto::time::UnixTime;
use swarm_proto::wire::codec::{Malformed, Reader, Writer};

use crate::conversation::Via;
use crate::conversation::first_contact::InboxPublicKey;
use crate::conversation::letter::{Content, Letter};
use crate::home::{Record, Table};

/// Where somebody wants letters of one other, and under what they are sealed. A secret of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Makes the `pair` mailboxes; shared by up to [`CONTACTS_PER_BUCKET_MAX`] contacts of its owner.
    pub s: [u8; 32],
    /// Seals; of this pair alone.
    pub p: [u8; 32],
}

impl Reach {
    /// Writes 64 bytes.
    pub fn encode(&self, writer: &mut Writer) {
        writer.put(&self.s).put(&self.p);
    }

    /// Reads 64 bytes.
    ///
    /// # Errors
    /// [`Malformed`] if fewer are left.
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            s: reader.array("s")?,
            p: reader.array("p")?,
        })
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reach")
    }
}

/// Somebody whom one writes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Their account.
    pub account: AccountKey,
    /// What the user calls them; empty for a stranger. Never sent.
    pub petname: String,
    /// Whether the user wants their letters; a stranger's wait in the request folder, unacknowledged.
    pub is_accepted: bool,
    /// Where we want their letters.
    pub ours: Reach,
    /// How far the two have got.
    pub state: State,
}

/// How far two people have got with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Their invitation is here; their card is not found yet. Nothing can be sealed.
    Invited {
        /// The invitation's salt.
        salt: [u8; 32],
    },
    /// Letters go to their first-contact mailbox until they answer.
    Waiting {
        /// The invitation's salt.
        salt: [u8; 32],
        /// From their card.
        inbox: InboxPublicKey,
    },
    /// They said where they want letters.
    Connected {
        /// Where.
        theirs: Reach,
        /// When they wrote the letter that said so, by their clock; an older one changes nothing.
        told: UnixTime,
        /// Whether a letter of theirs came where we want them; until then acknowledgements say where.
        know_ours: bool,
    },
}

impl Contact {
    /// Somebody whose invitation was handed over.
    pub fn invited(account: AccountKey, petname: String, salt: [u8; 32], ours: Reach) -> Self {
        Self {
            account,
            petname,
            is_accepted: true,
            ours,
            state: State::Invited { salt },
        }
    }

    /// A stranger who wrote first. [`Contact::take`] the letter next.
    pub fn stranger(account: AccountKey, ours: Reach, is_accepted: bool) -> Self {
        Self {
            account,
            petname: String::new(),
            is_accepted,
            ours,
            state: State::Invited { salt: [0; 32] },
        }
    }

    /// Their card was found: letters can be sealed. A renewed card replaces the earlier key.
    pub fn found(&mut self, card_inbox: InboxPublicKey) {
        match &self.state {
            State::Invited { salt } | State::Waiting { salt, .. } => {
                self.state = State::Waiting {
                    salt: *salt,
                    inbox: card_inbox,
                };
            }
            State::Connected { .. } => {}
        }
    }

    /// What a letter of theirs changes about the conversation.
    pub fn take(&mut self, via: &Via, letter: &Letter) {
        match via {
            Via::FirstContact { reach, .. } => {
                self.learn(*reach, letter.sent);
                // Who still writes to the first-contact mailbox has not heard of ours.
                self.set_know_ours(false);
            }
            Via::Bucket => {
                if let Content::Acknowledgement {
                    reach: Some(reach), ..
                } = &letter.content
                {
                    self.learn(*reach, letter.sent);
                }
                self.set_know_ours(true);
            }
        }
    }

    /// What an acknowledgement to them has to say about where we want letters.
    pub fn reach_to_tell(&self) -> Option<Reach> {
        match self.state {
            State::Connected {
                know_ours: true, ..
            } => None,
            State::Connected { .. } | State::Invited { .. } | State::Waiting { .. } => {
                Some(self.ours)
            }
        }
    }

    fn learn(&mut self, reach: Reach, sent: UnixTime) {
        let (is_news, know_ours) = match &self.state {
            State::Invited { .. } | State::Waiting { .. } => (true, false),
            State::Connected {
                told, know_ours, ..
            } => (*told <= sent, *know_ours),
        };
        if is_news {
            self.state = State::Connected {
                theirs: reach,
                told: sent,
                know_ours,
            };
        }
    }

    fn set_know_ours(&mut self, known: bool) {
        if let State::Connected { know_ours, .. } = &mut self.state {
            *know_ours = known;
        }
    }
}

/// Where a further contact may be told to write: a bucket of ours that has room, or a fresh one, with a
/// fresh secret of the pair ([LET-8]).
pub fn draw_reach(contacts: &[Contact], rng: &mut impl CryptoRng) -> Reach {
    let users = |s: &[u8; 32]| contacts.iter().filter(|c| is_same(&c.ours.s, s)).count();
    let with_room = contacts
        .iter()
        .map(|contact| contact.ours.s)
        .find(|s| users(s) < CONTACTS_PER_BUCKET_MAX);
    let mut fresh = Reach {
        s: [0; 32],
        p: [0; 32],
    };
    rng.fill_bytes(&mut fresh.s);
    rng.fill_bytes(&mut fresh.p);
    Reach {
        s: with_room.unwrap_or(fresh.s),
        ..fresh
    }
}

/// Each bucket of ours once, ascending: the secrets of the mailboxes to read.
pub fn buckets(contacts: &[Contact]) -> Vec<[u8; 32]> {
    let mut buckets: Vec<[u8; 32]> = contacts.iter().map(|contact| contact.ours.s).collect();
    buckets.sort_unstable();
    buckets.dedup();
    buckets
}

/// Whether a name is one to 64 characters without control characters.
pub fn is_petname(name: &str) -> bool {
    (1..=PETNAME_CHARS_MAX).contains(&name.chars().count()) && !name.contains(char::is_control)
}

fn is_same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    bool::from(a.ct_eq(b))
}

impl Record for Contact {
    const TABLE: Table = Table::Contacts;

    fn key(&self) -> Vec<u8> {
        self.account.as_bytes().to_vec()
    }

    fn encode(&self, writer: &mut Writer) {
        writer.put(self.account.as_bytes());
        writer
            .count(self.petname.len())
            .put(self.petname.as_bytes());
        writer.u8(u8::from(self.is_accepted));
        self.ours.encode(writer);
        match &self.state {
            State::Invited { salt } => {
                writer.u8(INVITED).put(salt);
            }
            State::Waiting { salt, inbox } => {
                writer.u8(WAITING).put(salt).put(inbox.as_bytes());
            }
            State::Connected {
                theirs,
                told,
                know_ours,
            } => {
                writer.u8(CONNECTED);
                theirs.encode(writer);
                writer.u64(told.0).u8(u8::from(*know_ours));
            }
        }
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let account = AccountKey::from_bytes(&reader.array("account key")?)
            .map_err(|_| reader.wrong("account key"))?;
        let length = reader.count("petname", PETNAME_CHARS_MAX * 4)?;
        let petname = String::from_utf8(reader.take("petname", length)?.to_vec())
            .map_err(|_| reader.wrong("petname"))?;
        let is_accepted = reader.flag("accepted")?;
        let ours = Reach::decode(reader)?;
        let state = match reader.u8("state")? {
            INVITED => State::Invited {
                salt: reader.array("salt")?,
            },
            WAITING => State::Waiting {
                salt: reader.array("salt")?,
                inbox: InboxPublicKey::decode(reader)?,
            },
            CONNECTED => State::Connected {
                theirs: Reach::decode(reader)?,
                told: UnixTime(reader.u64("told")?),
                know_ours: reader.flag("know ours")?,
            },
            _ => return Err(reader.wrong("state")),
        };
        Ok(Self {
            account,
            petname,
            is_accepted,
            ours,
            state,
        })
    }
}

/// Contacts that share one of our buckets: one poll for all of them, and few enough to move when one of them
/// misbehaves.
pub const CONTACTS_PER_BUCKET_MAX: usize = 32;
/// Characters of a petname: what fits beside a letter on a screen.
pub const PETNAME_CHARS_MAX: usize = 64;

const INVITED: u8 = 0;
const WAITING: u8 = 1;
const CONNECTED: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::first_contact::InboxKey;
    use crate::conversation::letter::LetterId;
    use bytes::Bytes;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;
    use swarm_proto::address::Account;

    fn reach(fill: u8) -> Reach {
        Reach {
            s: [fill; 32],
            p: [fill + 1; 32],
        }
    }

    fn bob() -> Contact {
        let account = *Account::from_seed(&[2; 32]).key();
        Contact::invited(account, "Bob".into(), [3; 32], reach(10))
    }

    fn acknowledgement(sent: u64, reach: Option<Reach>) -> Letter {
        Letter {
            id: LetterId([0; 16]),
            sent: UnixTime(sent),
            content: Content::Acknowledgement {
                letters: Vec::new(),
                reach,
            },
        }
    }

    /// [LET-8] and [LET-9].
    #[test]
    fn a_conversation_goes_from_invited_over_waiting_to_connected() {
        let inbox = InboxKey::from_seed(&[4; 32]).public().clone();
        let mut bob = bob();
        bob.found(inbox);
        assert!(matches!(bob.state, State::Waiting { salt, .. } if salt == [3; 32]));
        assert_eq!(bob.reach_to_tell(), Some(reach(10)));

        // A letter that does not say where he wants ours changes nothing.
        bob.take(&Via::Bucket, &acknowledgement(5, None));
        assert!(matches!(bob.state, State::Waiting { .. }));
        bob.take(&Via::Bucket, &acknowledgement(6, Some(reach(20))));
        let State::Connected {
            theirs, know_ours, ..
        } = bob.state
        else {
            panic!("{:?}", bob.state)
        };
        assert_eq!((theirs, know_ours), (reach(20), true));
        assert_eq!(bob.reach_to_tell(), None);
    }

    /// [LET-9].
    #[test]
    fn an_older_letter_does_not_undo_where_letters_go() {
        let inbox = InboxKey::from_seed(&[4; 32]).public().clone();
        let mut bob = bob();
        bob.take(&Via::Bucket, &acknowledgement(6, Some(reach(20))));
        let first_contact = |fill| Via::FirstContact {
            reach: reach(fill),
            inbox: inbox.clone(),
        };
        bob.take(&first_contact(30), &acknowledgement(5, None));
        assert!(matches!(bob.state, State::Connected { theirs, .. } if theirs == reach(20)));
        // Whoever lost his home starts again, and is told again where to write.
        bob.take(&first_contact(40), &acknowledgement(7, None));
        assert!(matches!(bob.state, State::Connected { theirs, .. } if theirs == reach(40)));
        assert_eq!(bob.reach_to_tell(), Some(reach(10)));
    }

    /// [LET-8].
    #[test]
    fn a_bucket_is_shared_by_32_contacts_and_a_pair_secret_by_none() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let mut contacts: Vec<Contact> = Vec::new();
        for _ in 0..70 {
            let ours = draw_reach(&contacts, &mut rng);
            contacts.push(Contact { ours, ..bob() });
        }
        let all = buckets(&contacts);
        assert_eq!(all.len(), 3);
        for s in &all {
            let users = contacts.iter().filter(|c| &c.ours.s == s).count();
            assert!(users <= CONTACTS_PER_BUCKET_MAX);
        }
        let mut secrets: Vec<_> = contacts.iter().map(|c| c.ours.p).collect();
        secrets.sort_unstable();
        secrets.dedup();
        assert_eq!(secrets.len(), 70);
    }

    #[test]
    fn a_contact_comes_back_in_every_state() {
        let inbox = InboxKey::from_seed(&[4; 32]).public().clone();
        let invited = bob();
        let mut waiting = bob();
        waiting.found(inbox);
        let mut connected = bob();
        connected.take(&Via::Bucket, &acknowledgement(6, Some(reach(20))));
        for contact in [invited, waiting, connected] {
            let mut writer = Writer::default();
            contact.encode(&mut writer);
            let mut reader = Reader::new(Bytes::from(writer.finish()));
            assert_eq!(Contact::decode(&mut reader), Ok(contact));
            assert_eq!(reader.end(), Ok(()));
        }
    }

    #[test]
    fn garbage_is_no_contact() {
        bolero::check!().with_iterations(2_000).for_each(|bytes| {
            let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
            let _ = Contact::decode(&mut reader);
        });
        assert!(is_petname("Zoë"));
        for name in ["", "a\nb", &"x".repeat(65)] {
            assert!(!is_petname(name));
        }
    }
}
