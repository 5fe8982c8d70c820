//! Promises of taking letters in: with two people, each with a home on disk.

use swarm_proto::envelope::ExpiryClass;
use tempfile::TempDir;

use super::*;
use crate::conversation::tests::{Person, letter};
use crate::home::{Home, Unlock, Work};
use crate::outbox::{Owed, Posted, Progress};

struct AtHome {
    person: Person,
    home: Option<Home>,
    folder: TempDir,
    letters: u8,
}

const PASSPHRASE: Unlock<'static> = Unlock::Passphrase("p");

impl AtHome {
    fn new(person: Person) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let work = Work {
            memory_kib: 8,
            passes: 1,
        };
        let home = Home::create(folder.path(), &PASSPHRASE, work).unwrap();
        for contact in &person.contacts {
            home.change(|change| change.put(contact)).unwrap();
        }
        Self {
            person,
            home: Some(home),
            folder,
            letters: 100,
        }
    }

    fn home(&self) -> &Home {
        self.home.as_ref().unwrap()
    }

    /// As after a crash: everything but the file is gone.
    fn reopen(&mut self) {
        self.home = None;
        self.home = Some(Home::open(self.folder.path(), &PASSPHRASE).unwrap());
    }

    fn rows<R: Record>(&self) -> Vec<R> {
        self.home().view().unwrap().list().unwrap().rows
    }

    fn open(&self, envelope: &Envelope) -> Opened {
        let contacts = self.rows::<Contact>();
        let desk = self.person.desk();
        let today = desk.scale.epoch_of(self.person.now);
        let mailboxes = self.person.identity.mailboxes(&contacts, today).unwrap();
        let address = envelope.header().address;
        let mailbox = mailboxes.iter().find(|m| m.side.address() == address);
        desk.open(&contacts, mailbox.unwrap(), envelope).unwrap()
    }

    fn take(&mut self, envelope: &Envelope) -> Taken {
        let opened = self.open(envelope);
        let mut rng = self.person.rng.clone();
        let desk = self.person.desk();
        let now = self.person.now;
        let taken = self
            .home()
            .change(|change| take_in(change, &desk, envelope, &opened, now, &mut rng));
        self.person.rng = rng;
        taken.unwrap()
    }

    /// Queues, seals and keeps, as before a deposit.
    fn post(&mut self, mut posted: Posted) -> Envelope {
        let contact = self.contact(&posted.to);
        let mut rng = self.person.rng.clone();
        let (desk, now) = (self.person.desk(), self.person.now);
        posted.seal(&desk, &contact, now, &mut rng).unwrap();
        self.home().change(|change| change.put(&posted)).unwrap();
        self.person.rng = rng;
        let Progress::Sealed(sealed) = posted.progress else {
            panic!("not sealed")
        };
        sealed.envelope
    }

    fn write(&mut self, to: &Person, id: u8, text: &str) -> Envelope {
        let expiry = ExpiryClass::Days14;
        self.post(Posted::new(to.key(), letter(id, text), expiry).unwrap())
    }

    fn contact(&self, account: &AccountKey) -> Contact {
        let view = self.home().view().unwrap();
        view.load(account.as_bytes()).unwrap().unwrap()
    }

    /// Turns what is owed into an envelope, if anything is.
    fn acknowledge(&mut self, to: &Person) -> Option<Envelope> {
        self.letters += 1;
        let id = LetterId([self.letters; 16]);
        let contact = self.contact(&to.key());
        let now = self.person.now;
        let posted = self
            .home()
            .change(|change| outbox::acknowledge(change, &contact, id, now));
        posted.unwrap().map(|posted| self.post(posted))
    }

    fn progress(&self, id: u8) -> Progress {
        let view = self.home().view().unwrap();
        view.load::<Posted>(&[id; 16]).unwrap().unwrap().progress
    }
}

fn pair() -> (AtHome, AtHome) {
    let (ada, bob) = Person::pair();
    (AtHome::new(ada), AtHome::new(bob))
}

/// [LET-9] and [LET-11]: with a crash after each step.
#[test]
fn a_letter_is_delivered_through_crashes_at_every_step() {
    let (mut ada, mut bob) = pair();
    let hello = ada.write(&bob.person, 1, "hello");
    ada.reopen();
    assert!(matches!(ada.progress(1), Progress::Sealed(s) if s.envelope == hello));

    assert_eq!(bob.take(&hello), Taken::Letter);
    bob.reopen();
    assert_eq!(bob.take(&hello), Taken::Again);
    let received = bob.rows::<Received>();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].letter, letter(1, "hello"));
    assert!(!received[0].is_read);

    let answer = bob.acknowledge(&ada.person).unwrap();
    bob.reopen();
    assert!(bob.rows::<Owed>().is_empty());
    assert_eq!(bob.acknowledge(&ada.person), None);
    assert_eq!(ada.take(&answer), Taken::Delivered(vec![LetterId([1; 16])]));
    ada.reopen();
    assert_eq!(ada.progress(1), Progress::Delivered);
    // Acknowledgements are not acknowledged, or two programs would never stop.
    assert_eq!(ada.acknowledge(&bob.person), None);

    // Now both know where to write.
    let second = ada.write(&bob.person, 2, "in your bucket");
    assert_eq!(second.bytes().len(), 1_856);
    assert_eq!(bob.take(&second), Taken::Letter);
}

/// [LET-9].
#[test]
fn a_letter_in_two_envelopes_is_shown_once_and_acknowledged_twice() {
    let (mut ada, mut bob) = pair();
    let first = ada.write(&bob.person, 1, "hello");
    let again = ada.write(&bob.person, 1, "hello");
    assert_ne!(first.id(), again.id());
    assert_eq!(bob.take(&first), Taken::Letter);
    assert!(bob.acknowledge(&ada.person).is_some());
    assert_eq!(bob.take(&again), Taken::Repeated);
    assert!(bob.acknowledge(&ada.person).is_some());
    assert_eq!(bob.rows::<Received>().len(), 1);
}

/// [LET-4]: nobody marks a letter to somebody else as delivered.
#[test]
fn only_the_recipient_acknowledges() {
    let (mut ada, mut bob) = pair();
    let hello = ada.write(&bob.person, 1, "hello");
    let eve = Person::new(7);
    let delivered = ada
        .home()
        .change(|change| outbox::deliver(change, &eve.key(), &[LetterId([1; 16])]));
    assert_eq!(delivered.unwrap(), []);
    assert!(matches!(ada.progress(1), Progress::Sealed(_)));
    bob.take(&hello);
    let answer = bob.acknowledge(&ada.person).unwrap();
    ada.take(&answer);
    assert_eq!(ada.progress(1), Progress::Delivered);
}

/// [LET-9].
#[test]
fn a_stranger_is_not_answered_unless_the_user_wants() {
    let (mut ada, mut bob) = pair();
    bob.person.identity.answers_strangers = false;
    let hello = ada.write(&bob.person, 1, "hello");
    assert_eq!(bob.take(&hello), Taken::Letter);
    assert_eq!(bob.acknowledge(&ada.person), None);
    let mut contact = bob.contact(&ada.person.key());
    assert!(!contact.is_accepted && contact.petname.is_empty());
    contact.is_accepted = true;
    bob.home().change(|change| change.put(&contact)).unwrap();
    assert!(bob.acknowledge(&ada.person).is_some());
}

/// [LET-11]: an error on the way leaves nothing behind.
#[test]
fn a_letter_is_taken_in_whole_or_not_at_all() {
    let (mut ada, mut bob) = pair();
    let hello = ada.write(&bob.person, 1, "hello");
    let opened = bob.open(&hello);
    let mut rng = bob.person.rng.clone();
    let desk = bob.person.desk();
    let failed: Result<(), HomeError> = bob.home().change(|change| {
        take_in(change, &desk, &hello, &opened, bob.person.now, &mut rng)?;
        Err(HomeError::NoRandomness)
    });
    assert!(failed.is_err());
    assert!(bob.rows::<Received>().is_empty() && bob.rows::<Seen>().is_empty());
    assert!(bob.rows::<Contact>().is_empty() && bob.rows::<Owed>().is_empty());
    assert_eq!(bob.take(&hello), Taken::Letter);
}

#[test]
fn a_discarded_letter_does_not_come_back_and_the_past_is_forgotten() {
    let (mut ada, mut bob) = pair();
    let first = ada.write(&bob.person, 1, "hello");
    let again = ada.write(&bob.person, 1, "hello");
    bob.take(&first);
    let ada_key = ada.person.key();
    let discard = |bob: &AtHome| {
        let id = LetterId([1; 16]);
        let gone = bob
            .home()
            .change(|change| discard(change, &ada_key, id, Hour(u32::MAX)));
        gone.unwrap()
    };
    assert!(discard(&bob));
    assert!(!discard(&bob));
    assert_eq!(bob.take(&again), Taken::Repeated);
    assert!(bob.rows::<Received>().is_empty());

    let reading = Reading {
        address: first.header().address,
        after: Cursor::START,
        until: Hour(5),
    };
    bob.home().change(|change| change.put(&reading)).unwrap();
    let expires = first.header().expires(bob.person.desk().scale);
    let forgotten = |bob: &AtHome, hour| bob.home().change(|change| forget(change, hour)).unwrap();
    assert_eq!(forgotten(&bob, Hour(4)), 0);
    assert_eq!(forgotten(&bob, Hour(5)), 1);
    assert_eq!(forgotten(&bob, expires), 2);
    assert_eq!(bob.rows::<Seen>().len(), 1);
}

#[test]
fn an_envelope_without_a_letter_is_noted_once() {
    let (mut ada, bob) = pair();
    let hello = ada.write(&bob.person, 1, "hello");
    let desk = bob.person.desk();
    bob.home()
        .change(|change| pass_over(change, &desk, &hello))
        .unwrap();
    let key = Seen::envelope_key(hello.id());
    let seen: Option<Seen> = bob.home().view().unwrap().load(&key).unwrap();
    assert!(seen.is_some());
}

/// [LET-9]: more letters than one acknowledgement names.
#[test]
fn many_letters_are_acknowledged_together() {
    let (mut ada, mut bob) = pair();
    bob.take(&ada.write(&bob.person, 1, "hello"));
    let to = ada.person.key();
    bob.home()
        .change(|change| (2..=100).try_for_each(|id| outbox::owe(change, &to, LetterId([id; 16]))))
        .unwrap();
    let mut named = 0;
    while let Some(envelope) = bob.acknowledge(&ada.person) {
        assert_eq!(envelope.bytes().len(), 1_856);
        let Content::Acknowledgement { letters, .. } = ada.open(&envelope).letter.content else {
            panic!("not an acknowledgement")
        };
        named += letters.len();
    }
    assert_eq!(named, 100);
    // Beyond the bound the oldest are forgotten; their writer sends them again.
    let many = outbox::OWED_MAX + 7;
    bob.home()
        .change(|change| {
            (0..many).try_for_each(|at| {
                let mut id = [0; 16];
                id[..8].copy_from_slice(&at.to_be_bytes());
                outbox::owe(change, &to, LetterId(id))
            })
        })
        .unwrap();
    let owed = bob.rows::<Owed>().remove(0);
    assert_eq!(owed.letters.len(), outbox::OWED_MAX);
    assert_eq!(owed.letters[0].0[7], 7);
}
