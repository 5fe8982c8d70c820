//! Promises of the seam: what two people seal and open, and what nobody else does.

use std::boxed::Box;

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use swarm_proto::crypto::{
    self, ENCAPSULATION_SEED_BYTES, KemCiphertext, OnionKey, OnionPublicKey, SecretKey,
    SharedSecret,
};
use swarm_proto::id::NetworkId;

use super::letter::{Content, LetterId};
use super::*;
use crate::contacts::draw_reach;

pub(crate) struct Signatures;

impl Crypto for Signatures {
    fn verify(&self, key: &[u8; 32], statement: &[u8], signature: &Signature) -> bool {
        crypto::verify_strict(key, statement, signature)
    }

    fn sign(&self, key: &SecretKey, statement: &[u8]) -> Signature {
        crypto::sign(key, statement)
    }

    fn encapsulate(
        &self,
        _: &OnionPublicKey,
        _: &[u8; ENCAPSULATION_SEED_BYTES],
    ) -> Option<(Box<KemCiphertext>, SharedSecret)> {
        None
    }

    fn onion_key(&self, _: &[u8; 32]) -> OnionKey {
        panic!("letters need no onion keys")
    }
}

/// Somebody with an identity and contacts in memory.
pub(crate) struct Person {
    pub(crate) identity: Identity,
    pub(crate) contacts: Vec<Contact>,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) now: UnixTime,
}

impl Person {
    pub(crate) fn new(seed: u8) -> Self {
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        Self {
            identity: Identity::draw(NetworkId([9; 32]), &mut rng),
            contacts: Vec::new(),
            rng,
            now: UnixTime(1_790_000_000_000),
        }
    }

    /// Ada has Bob's invitation and card; Bob knows nothing of her.
    pub(crate) fn pair() -> (Self, Self) {
        let (mut ada, bob) = (Self::new(1), Self::new(2));
        let ours = draw_reach(&ada.contacts, &mut ada.rng);
        let mut contact = Contact::invited(bob.key(), "Bob".into(), bob.identity.salt, ours);
        contact.found(bob.identity.inbox().public().clone());
        ada.contacts.push(contact);
        (ada, bob)
    }

    pub(crate) fn key(&self) -> AccountKey {
        *self.identity.account().key()
    }

    pub(crate) fn desk(&self) -> Desk<'_> {
        Desk::new(&self.identity, &Signatures, TimeScale { minute_ms: 60_000 })
    }

    pub(crate) fn contact(&self, other: &Self) -> Contact {
        let key = other.key();
        let found = self.contacts.iter().find(|contact| contact.account == key);
        found.expect("a contact").clone()
    }

    pub(crate) fn seal(&mut self, to: &Self, letter: &Letter) -> Sealed {
        let contact = self.contact(to);
        let mut rng = self.rng.clone();
        let sealed = self
            .desk()
            .seal(&contact, letter, ExpiryClass::Days14, self.now, &mut rng);
        self.rng = rng;
        sealed.unwrap()
    }

    /// Opens in whichever mailbox of today it is addressed to.
    pub(crate) fn open(&self, envelope: &Envelope) -> Result<Opened, CannotOpen> {
        let desk = self.desk();
        let today = desk.scale.epoch_of(self.now);
        let mailboxes = self.identity.mailboxes(&self.contacts, today).unwrap();
        let mailbox = mailboxes
            .iter()
            .find(|mailbox| mailbox.side.address() == envelope.header().address);
        desk.open(
            &self.contacts,
            mailbox.ok_or(CannotOpen::WrongMailbox)?,
            envelope,
        )
    }

    /// Takes an opened letter into the contacts, as the inbox does.
    pub(crate) fn take(&mut self, opened: &Opened) {
        let known = self.contacts.iter().position(|c| c.account == opened.from);
        let at = known.unwrap_or_else(|| {
            let ours = draw_reach(&self.contacts, &mut self.rng);
            self.contacts
                .push(Contact::stranger(opened.from, ours, true));
            self.contacts.len() - 1
        });
        self.contacts[at].take(&opened.via, &opened.letter);
    }
}

pub(crate) fn letter(id: u8, text: &str) -> Letter {
    Letter {
        id: LetterId([id; 16]),
        sent: UnixTime(1_790_000_000_000 + u64::from(id)),
        content: Content::Text(text.into()),
    }
}

fn acknowledgement(id: u8, of: u8, reach: Option<Reach>) -> Letter {
    Letter {
        content: Content::Acknowledgement {
            letters: vec![LetterId([of; 16])],
            reach,
        },
        ..letter(id, "")
    }
}

/// Two people who have exchanged a first contact and its acknowledgement.
fn connected() -> (Person, Person) {
    let (mut ada, mut bob) = Person::pair();
    let first = ada.seal(&bob, &letter(1, "hello"));
    let opened = bob.open(&first.envelope).unwrap();
    bob.take(&opened);
    let reach = bob.contact(&ada).reach_to_tell();
    let answer = bob.seal(&ada, &acknowledgement(2, 1, reach));
    let opened = ada.open(&answer.envelope).unwrap();
    ada.take(&opened);
    (ada, bob)
}

fn changed(envelope: &Envelope, at: usize) -> Option<Envelope> {
    let mut bytes = envelope.bytes().to_vec();
    bytes[at] ^= 0x40;
    Envelope::decode(Bytes::from(bytes)).ok()
}

/// [LET-7] to [LET-9]: the whole way from an invitation to two buckets.
#[test]
fn two_people_get_from_an_invitation_to_a_conversation() {
    let (mut ada, mut bob) = Person::pair();
    let first = ada.seal(&bob, &letter(1, "hello"));
    assert!(first.keys.is_open_lane());
    assert_eq!(first.envelope.header().size, SizeClass::Large);
    assert_eq!(first.envelope.header().expiry, ExpiryClass::Days3);
    let opened = bob.open(&first.envelope).unwrap();
    assert_eq!(
        (opened.from, &opened.letter),
        (ada.key(), &letter(1, "hello"))
    );
    bob.take(&opened);

    // Bob can write at once; Ada keeps to first contact until she has heard from him.
    let greeting = bob.seal(&ada, &letter(2, "welcome"));
    assert!(!greeting.keys.is_open_lane());
    assert_eq!(greeting.envelope.header().size, SizeClass::Small);
    assert_eq!(greeting.envelope.header().expiry, ExpiryClass::Days14);
    let opened = ada.open(&greeting.envelope).unwrap();
    ada.take(&opened);
    let second = ada.seal(&bob, &letter(3, "still there?"));
    assert!(second.keys.is_open_lane());
    bob.take(&bob.open(&second.envelope).unwrap());

    // His acknowledgement says where he wants letters.
    let reach = bob.contact(&ada).reach_to_tell();
    assert!(reach.is_some());
    let answer = bob.seal(&ada, &acknowledgement(4, 1, reach));
    let opened = ada.open(&answer.envelope).unwrap();
    ada.take(&opened);
    let third = ada.seal(&bob, &letter(5, "in your bucket"));
    assert!(!third.keys.is_open_lane());
    assert_eq!(third.envelope.header().size, SizeClass::Small);
    bob.take(&bob.open(&third.envelope).unwrap());
    assert_eq!(bob.contact(&ada).reach_to_tell(), None);
}

/// [LET-8]: both wrote first, and neither knew.
#[test]
fn two_first_contacts_that_cross_end_in_one_conversation() {
    let (mut ada, mut bob) = Person::pair();
    let ours = draw_reach(&bob.contacts, &mut bob.rng);
    let mut contact = Contact::invited(ada.key(), "Ada".into(), ada.identity.salt, ours);
    contact.found(ada.identity.inbox().public().clone());
    bob.contacts.push(contact);
    let one = ada.seal(&bob, &letter(1, "from Ada"));
    let two = bob.seal(&ada, &letter(2, "from Bob"));
    ada.take(&ada.open(&two.envelope).unwrap());
    bob.take(&bob.open(&one.envelope).unwrap());
    let there = ada.seal(&bob, &letter(3, "there"));
    let back = bob.seal(&ada, &letter(4, "back"));
    assert_eq!(
        bob.open(&there.envelope).unwrap().letter,
        letter(3, "there")
    );
    assert_eq!(ada.open(&back.envelope).unwrap().letter, letter(4, "back"));
}

/// [LET-6]: any byte changed, and a small envelope does not open.
#[test]
fn a_changed_byte_spoils_a_letter_between_contacts() {
    let (mut ada, bob) = connected();
    let sealed = ada.seal(&bob, &letter(5, "hello"));
    assert!(bob.open(&sealed.envelope).is_ok());
    for at in 0..sealed.envelope.bytes().len() {
        if let Some(other) = changed(&sealed.envelope, at) {
            assert!(bob.open(&other).is_err(), "byte {at}");
        }
    }
}

/// [LET-7]: the same for a first contact; every byte of header and key, every 97th of the rest.
#[test]
fn a_changed_byte_spoils_a_first_contact() {
    let (mut ada, bob) = Person::pair();
    let sealed = ada.seal(&bob, &letter(1, "hello"));
    assert!(bob.open(&sealed.envelope).is_ok());
    let length = sealed.envelope.bytes().len();
    for at in (0..60).chain((60..length).step_by(97)).chain([length - 1]) {
        if let Some(other) = changed(&sealed.envelope, at) {
            assert!(bob.open(&other).is_err(), "byte {at}");
        }
    }
}

/// [LET-6] and [LET-7].
#[test]
fn nobody_but_the_two_opens_a_letter() {
    let (mut ada, bob) = Person::pair();
    let first = ada.seal(&bob, &letter(1, "hello"));
    // Somebody with Bob's account but not his inbox key, as after restoring from words.
    let mut restored = Person::new(3);
    restored.identity =
        Identity::restore(bob.identity.seed(), bob.identity.network, &mut restored.rng);
    assert_eq!(
        restored.open(&first.envelope),
        Err(CannotOpen::NotForThisKey)
    );

    let (mut ada, mut bob) = connected();
    let sealed = ada.seal(&bob, &letter(5, "hello"));
    // Another contact of the same bucket holds s, W and K, and not p.
    let at = bob
        .contacts
        .iter()
        .position(|c| c.account == ada.key())
        .unwrap();
    let mut other = bob.contacts[at].clone();
    other.ours.p = [0; 32];
    bob.contacts = vec![other.clone()];
    assert_eq!(bob.open(&sealed.envelope), Err(CannotOpen::NotForThisKey));
    // The right secret with somebody else's name on it: the direction or the writer differs.
    let own = ada.open(&sealed.envelope);
    assert_eq!(own, Err(CannotOpen::WrongMailbox));
}

/// [LET-7]: inside the seal stands a name, and the name must be proven.
#[test]
fn a_first_contact_in_somebody_elses_name_is_refused() {
    let (ada, bob) = Person::pair();
    let mallory = Person::new(4);
    let contact = ada.contact(&bob);
    let side = ada
        .desk()
        .writer_side(&contact, ada.desk().scale.epoch_of(ada.now))
        .unwrap();
    let header = EnvelopeHeader {
        size: SizeClass::Large,
        expiry: ExpiryClass::Days3,
        made: ada.desk().scale.tick_of(ada.now),
        address: side.address(),
    };
    let introduction = Introduction {
        from: ada.key(),
        reach: contact.ours,
        inbox: ada.identity.inbox().public().clone(),
        letter: letter(1, "I am Ada"),
    };
    let sealed_by = |account: &swarm_proto::address::Account| {
        let mut rng = ChaCha20Rng::from_seed([5; 32]);
        let inbox = bob.identity.inbox().public();
        let body = introduction.seal(account, &bob.key(), inbox, &header, &mut rng);
        bob.open(&Envelope::assemble(header, &body.unwrap()).unwrap())
    };
    assert_eq!(sealed_by(ada.identity.account()).unwrap().from, ada.key());
    // Mallory's program writes her own name: it is her letter and nobody else's.
    let own = sealed_by(mallory.identity.account()).unwrap();
    assert_eq!(own.from, mallory.key());
    // Her program writes Ada's name: the proof fails.
    let forged = introduction.forge(mallory.identity.account(), &bob.key(), &header);
    let read = Introduction::read_for_test(bob.identity.account(), &header, forged);
    assert_eq!(read, Err(CannotOpen::NotProven));
    // Bob himself could have written it: that is what deniable means.
    let deniable = introduction.forge_as_reader(bob.identity.account(), &header);
    let read = Introduction::read_for_test(bob.identity.account(), &header, deniable);
    assert_eq!(read.unwrap().from, ada.key());
}

/// [LET-1]: within a class nothing of the content shows.
#[test]
fn every_letter_of_a_class_has_the_same_size() {
    let (mut ada, bob) = connected();
    for (text, size) in [
        (0, SizeClass::Small),
        (1, SizeClass::Small),
        (letter::TEXT_SMALL_BYTES_MAX, SizeClass::Small),
        (letter::TEXT_SMALL_BYTES_MAX + 1, SizeClass::Large),
        (letter::TEXT_LARGE_BYTES_MAX, SizeClass::Large),
    ] {
        let written = letter(6, &"x".repeat(text));
        let sealed = ada.seal(&bob, &written);
        assert_eq!(sealed.envelope.bytes().len(), size.envelope_bytes());
        assert_eq!(bob.open(&sealed.envelope).unwrap().letter, written);
    }
    let (mut ada, bob) = Person::pair();
    for text in [0, letter::TEXT_LARGE_BYTES_MAX] {
        let sealed = ada.seal(&bob, &letter(7, &"x".repeat(text)));
        assert_eq!(sealed.envelope.header().size, SizeClass::Large);
        assert!(bob.open(&sealed.envelope).is_ok());
    }
}

/// [LET-6]: two seals of one letter share nothing that shows.
#[test]
fn the_same_letter_sealed_twice_looks_different() {
    let (mut ada, bob) = connected();
    let one = ada.seal(&bob, &letter(5, "hello"));
    let two = ada.seal(&bob, &letter(5, "hello"));
    assert_ne!(one.envelope.sealed_body(), two.envelope.sealed_body());
    assert_eq!(bob.open(&one.envelope), bob.open(&two.envelope));
}

#[test]
fn a_deposit_carries_the_writers_leave() {
    let (mut ada, bob) = connected();
    let sealed = ada.seal(&bob, &letter(5, "hello"));
    let statements = bob.desk().statements;
    assert!(statements.verify_deposit(&sealed.keys, &sealed.envelope, &sealed.write_signature));
}

#[test]
fn what_cannot_be_sealed_is_said() {
    let (mut ada, bob) = Person::pair();
    let mut contact = ada.contact(&bob);
    let now = ada.now;
    let mut rng = ada.rng.clone();
    let mut seal = |ada: &Person, contact: &Contact, text: &str, expiry| {
        let sealed = ada
            .desk()
            .seal(contact, &letter(1, text), expiry, now, &mut rng);
        sealed.unwrap_err().to_string()
    };
    let long = "x".repeat(29_962);
    assert!(seal(&ada, &contact, &long, ExpiryClass::Day).contains("29965"));
    assert!(seal(&ada, &contact, "x", ExpiryClass::Days30).contains("14 days"));
    contact.state = State::Invited { salt: [0; 32] };
    assert!(seal(&ada, &contact, "x", ExpiryClass::Day).contains("card"));
    ada.contacts.clear();
}

#[test]
fn garbage_in_a_mailbox_is_passed_over() {
    let (ada, _) = connected();
    let today = ada.desk().scale.epoch_of(ada.now);
    let mailboxes = ada.identity.mailboxes(&ada.contacts, today).unwrap();
    bolero::check!().with_iterations(64).for_each(|bytes| {
        let desk = ada.desk();
        for mailbox in &mailboxes {
            for size in [SizeClass::Small, SizeClass::Large] {
                let header = EnvelopeHeader {
                    size,
                    expiry: ExpiryClass::Day,
                    made: desk.scale.tick_of(ada.now),
                    address: mailbox.side.address(),
                };
                let mut body = bytes.to_vec();
                body.resize(size.body_bytes(), 7);
                let envelope = Envelope::assemble(header, &body).unwrap();
                let opened = desk.open(&ada.contacts, mailbox, &envelope);
                assert_eq!(opened, Err(CannotOpen::NotForThisKey));
            }
        }
    });
}
