//! What a persona promises: its letters are anybody's, and it charges nobody without cause.

use alloc::collections::BTreeSet;

use super::*;
use crate::crypto::Signature;
use crate::crypto::null::NullCrypto;
use crate::id::NodeKey;
use crate::time::Tick;

const ME: NodeId = NodeId([9; 32]);

/// A persona, a clock, and the commands that it has given.
struct Scene {
    persona: Persona,
    now: Now,
    crypto: NullCrypto,
}

/// What a persona wanted at one visit.
#[derive(Default)]
struct Wanted {
    deposits: Vec<(CommandId, Arc<Deposit>)>,
    fetches: Vec<(CommandId, crate::store::MailboxKeys, Epoch)>,
    readings: Vec<Reading>,
}

fn network(readings: u16) -> Arc<Network> {
    let mut network = Network::public("personas", &[]);
    network.verdicts.readings = readings;
    Arc::new(network)
}

fn scene(seed: u8) -> Scene {
    let mut scene = quiet(seed, 60);
    scene.tell(&Event::Members(Arc::new(crate::members::Snapshot::empty())));
    scene
}

fn quiet(seed: u8, readings: u16) -> Scene {
    Scene {
        persona: Persona::new(network(readings), ME, [seed; 32]),
        now: Now {
            mono: Instant(5_000_000),
            unix: UnixTime(1_800_000_000_000),
        },
        crypto: NullCrypto::new(),
    }
}

impl Scene {
    fn step(&mut self, input: Input<'_>) -> Wanted {
        let mut out = Vec::new();
        self.persona.step(self.now, input, &self.crypto, &mut out);
        let mut wanted = Wanted::default();
        for effect in out {
            match effect {
                Effect::Give {
                    id,
                    command: Command::Deposit(deposit),
                    read: None,
                } => wanted.deposits.push((id, deposit)),
                Effect::Give {
                    id,
                    command: Command::Fetch { keys, epoch, after },
                    read: Some(read),
                } => {
                    assert_eq!(*read.public(), keys.read);
                    assert_eq!(after, Cursor::START);
                    wanted.fetches.push((id, keys, epoch));
                }
                Effect::Give { command, .. } => panic!("{command:?}"),
                Effect::Report(readings) => wanted.readings.extend(readings),
            }
        }
        wanted
    }

    fn tell(&mut self, event: &Event) -> Wanted {
        self.step(Input::Told(event))
    }

    fn pass(&mut self, by: Duration) {
        self.now.mono = self.now.mono.plus(by);
        self.now.unix = self.now.unix.plus(by);
    }

    fn visit(&mut self) -> Wanted {
        let at = self.persona.deadline().unwrap();
        self.pass(at.since(self.now.mono));
        self.step(Input::Wake)
    }

    /// Visits until it has written; the letter is then stored with receipts of these holders.
    fn stored(&mut self, holders: &[u8]) -> (Arc<Deposit>, EnvelopeId) {
        let (id, deposit) = self.visit().deposits.pop().unwrap();
        self.tell(&Event::Stored {
            id,
            promise: Promise::of(&deposit.envelope, &self.persona.network),
            receipts: holders.iter().map(|holder| receipt(*holder)).collect(),
        });
        let envelope = deposit.envelope.id();
        (deposit, envelope)
    }

    /// Visits until the mailbox of a letter is read, other letters staying on their way.
    fn read(&mut self, deposit: &Deposit) -> CommandId {
        for _ in 0..500 {
            let fetches = self.visit().fetches;
            let of = |fetch: &&(CommandId, _, _)| fetch.1 == deposit.keys;
            if let Some((id, _, epoch)) = fetches.iter().find(of) {
                assert_eq!(*epoch, deposit.envelope.header().epoch());
                return *id;
            }
        }
        panic!("never read");
    }
}

fn holder(number: u8) -> NodeId {
    NodeKey([number; 32]).node_id()
}

fn receipt(number: u8) -> Receipt {
    Receipt {
        holder: NodeKey([number; 32]),
        time: Tick(0),
        signature: Signature([0; 64]),
    }
}

fn fetched(id: CommandId, read: &[(u8, &[EnvelopeId])], declined: &[u8]) -> Event {
    Event::Fetched {
        id,
        rows: Vec::new(),
        holders: read
            .iter()
            .map(|(number, ids)| (holder(*number), ids.to_vec()))
            .collect(),
        declined: declined.iter().map(|number| holder(*number)).collect(),
        complete: true,
    }
}

fn of(number: u8, asked: u16, failed: u16) -> Reading {
    Reading {
        holder: holder(number),
        asked,
        failed,
    }
}

fn sorted(mut readings: Vec<Reading>) -> Vec<Reading> {
    readings.sort_unstable_by_key(|reading| reading.holder);
    readings
}

/// [CAN-1], [LET-6]: a letter of a persona, opened as a contact would open it, and what its holders see.
#[test]
fn its_letters_are_small_ordinary_ones_in_the_mailboxes_of_a_pair() {
    let mut scene = scene(1);
    let (deposit, _) = scene.stored(&[1, 2, 3]);
    let header = *deposit.envelope.header();
    assert_eq!(header.size, SizeClass::Small);
    assert_eq!(header.expiry, ExpiryClass::Days14);
    assert_eq!((deposit.keys.flags, deposit.long_stay), (0, None));
    assert_eq!(header.address, deposit.keys.address());
    let statements = Statements::new(&scene.crypto, scene.persona.network.id());
    assert!(statements.verify_deposit(&deposit.keys, &deposit.envelope, &deposit.write_signature));
    let opens = scene.persona.contacts.iter().filter(|contact| {
        let key = seal::pair_key(&contact.p, 0, &deposit.keys);
        seal::open(&key, &header.encode(), deposit.envelope.sealed_body()).is_some()
    });
    assert_eq!(opens.count(), 1);
}

/// [CAN-2], [CAN-3]: fourteen days of visits, all letters stored by three of five holders of whom three are read.
#[test]
fn it_makes_about_as_many_readings_as_the_network_wants_at_all_ages() {
    let mut scene = scene(2);
    let start = scene.now.unix;
    let (mut written, mut asked, mut fetches) = (0_u32, 0_u32, 0);
    let (mut ages, mut mailboxes) = (BTreeSet::new(), BTreeSet::new());
    let mut made: BTreeMap<Mailbox, UnixTime> = BTreeMap::new();
    while scene.now.unix < start.plus(Duration::from_secs(28 * 86_400)) {
        let wanted = scene.visit();
        let late = scene.now.unix > start.plus(Duration::from_secs(14 * 86_400));
        for (id, deposit) in wanted.deposits {
            let mailbox = scene.persona.writing.unwrap().1;
            made.insert(mailbox, scene.now.unix);
            mailboxes.insert(deposit.keys.address());
            written += u32::from(late);
            scene.tell(&Event::Stored {
                id,
                promise: Promise::of(&deposit.envelope, &scene.persona.network),
                receipts: [1, 2, 3].map(receipt).to_vec(),
            });
        }
        for (id, ..) in wanted.fetches {
            fetches += 1;
            let mailbox = scene.persona.reading[&id].mailbox;
            let hours = scene.now.unix.distance(made[&mailbox]).as_secs() / 3_600;
            ages.insert(hours.checked_ilog2());
            let read = [1, 4, 5].map(|number| (number, [].as_slice()));
            let told = scene.tell(&fetched(id, &read, &[]));
            asked += told
                .readings
                .iter()
                .map(|one| u32::from(one.asked))
                .sum::<u32>();
        }
        assert!(scene.persona.letters() < 300);
    }
    assert!(
        (200..360).contains(&written),
        "{written} letters in 14 days"
    );
    assert!(fetches < written * 2, "{fetches} readings of mailboxes");
    // One of three that were read had signed; in a network 1.8 of them have.
    let readings = f64::from(asked) * 1.8 / 28.0;
    assert!(
        (36.0..110.0).contains(&readings),
        "{readings} readings a day"
    );
    assert!(ages.len() >= 8, "{ages:?}");
    assert!(mailboxes.len() > 28 * 8, "{} mailboxes", mailboxes.len());
}

/// [CAN-4], [CAN-5], [CAN-7]
#[test]
fn who_signed_and_shows_nothing_or_declines_has_failed_and_nobody_else() {
    let mut scene = scene(3);
    let (deposit, id) = scene.stored(&[1, 2, 3, 9]);
    // Another one is on its way from here on, so that nothing else is stored.
    let look = scene.read(&deposit);
    // 1 shows it, 2 does not, 3 declines; 4 shows nothing and has not signed; 5 declines and has not signed.
    let told = fetched(look, &[(1, &[id]), (2, &[]), (4, &[])], &[3, 5]);
    let readings = scene.tell(&told).readings;
    assert_eq!(
        sorted(readings),
        sorted(vec![of(1, 1, 0), of(2, 1, 1), of(3, 1, 1)])
    );
    // The answer counts once.
    assert_eq!(scene.tell(&told).readings, []);
}

/// [CAN-5]: its own relay is not its to judge.
#[test]
fn it_does_not_judge_the_relay_beside_it() {
    let mut scene = quiet(4, 60);
    scene.persona = Persona::new(network(60), holder(1), [4; 32]);
    scene.tell(&Event::Members(Arc::new(crate::members::Snapshot::empty())));
    let (deposit, _) = scene.stored(&[1, 2]);
    let look = scene.read(&deposit);
    let readings = scene.tell(&fetched(look, &[(1, &[]), (2, &[])], &[]));
    assert_eq!(readings.readings, [of(2, 1, 1)]);
}

/// [CAN-6]
#[test]
fn a_letter_that_is_young_or_about_to_end_charges_nobody() {
    let hour = Duration::from_secs(3_600);
    for (age, failed) in [
        (hour * 59 / 60, None),
        (hour, Some(1)),
        (hour * (14 * 24 - 2), Some(1)),
        (hour * 14 * 24, None),
    ] {
        let mut scene = scene(5);
        let (_, id) = scene.stored(&[1]);
        scene.pass(age);
        let mailbox = scene.persona.letters[&id].mailbox;
        let begun = scene.now.unix;
        scene
            .persona
            .reading
            .insert(CommandId(77), Look { mailbox, begun });
        let readings = scene
            .tell(&fetched(CommandId(77), &[(1, &[])], &[]))
            .readings;
        let is = readings.first().map(|reading| reading.failed);
        assert_eq!(is, failed, "at {age:?}");
    }
}

/// [CAN-5]: whoever did not answer, or could not be asked, is not among those who are judged.
#[test]
fn a_reading_that_fails_as_a_whole_charges_nobody() {
    let mut scene = scene(6);
    let (deposit, id) = scene.stored(&[1, 2, 3]);
    let look = scene.read(&deposit);
    assert_eq!(scene.persona.letters[&id].due, None);
    let why = crate::client::Trouble::Unreachable;
    assert_eq!(scene.tell(&Event::Failed { id: look, why }).readings, []);
    assert!(scene.persona.reading.is_empty());
}

/// [CAN-2]
#[test]
fn it_is_still_without_members_or_without_a_wish_for_readings() {
    let mut scene = quiet(7, 60);
    assert_eq!(scene.persona.deadline(), None);
    scene.tell(&Event::Members(Arc::new(crate::members::Snapshot::empty())));
    assert!(scene.persona.deadline().is_some());

    let mut scene = quiet(7, 0);
    scene.tell(&Event::Members(Arc::new(crate::members::Snapshot::empty())));
    assert_eq!(scene.persona.deadline(), None);
}

/// [CAN-2]: one letter at a time, and no more of them than are remembered.
#[test]
fn what_it_remembers_is_bounded() {
    let mut scene = quiet(8, 10_000);
    scene.tell(&Event::Members(Arc::new(crate::members::Snapshot::empty())));
    let (id, deposit) = scene.visit().deposits.pop().unwrap();
    assert!(scene.visit().deposits.is_empty());
    let promise = Promise::of(&deposit.envelope, &scene.persona.network);
    let stored = |id| Event::Stored {
        id,
        promise,
        receipts: [1, 2, 3].map(receipt).to_vec(),
    };
    scene.tell(&stored(id));
    while scene.persona.letters() < limits::PERSONA_LETTERS_MAX {
        let number = scene.persona.letters().to_be_bytes();
        let mut letter = [0; 32];
        letter[..number.len()].copy_from_slice(&number);
        let now = scene.now;
        let promise = Promise {
            id: EnvelopeId(letter),
            ..promise
        };
        scene.persona.keep(now, (0, promise.epoch), &promise, &[]);
    }
    assert!(scene.visit().deposits.is_empty());
    assert!(scene.persona.reading.len() <= LOOKS_MAX);
}
