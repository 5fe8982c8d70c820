//! Letters out: seal, keep, deposit, count receipts, keep again ([LET-10]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use swarm_proto::address::AccountKey;
use swarm_proto::client::{Command, CommandId, Event, Trouble};
use swarm_proto::kem::PureCrypto;
use swarm_proto::mailbox::receipt::Promise;
use swarm_proto::time::UnixTime;
use swarm_proto::wire::mailbox::Deposit;

use super::{
    Outcome, PATIENCE, RETRY_DECLINED_MINUTES, RETRY_MINUTES, Settled, Stage, Visit, tell,
};
use crate::app::{App, Failure};
use crate::contacts::Contact;
use crate::conversation::letter::LetterId;
use crate::conversation::{CannotSeal, Desk, Sealed};
use crate::home::Record;
use crate::outbox::{Posted, Progress, Setback};
use poste_link::courier::{Secrets, unix_now};

/// A deposit that the machine works on.
struct Under {
    letter: LetterId,
    since: Instant,
    copies: usize,
    trouble: Option<Trouble>,
}

/// Letters on their way.
struct Sending {
    waiting: VecDeque<LetterId>,
    under: BTreeMap<CommandId, Under>,
    urgent: BTreeSet<LetterId>,
}

impl Visit<'_> {
    /// Deposits letters of the outbox, `urgent` ones first; ends when all are settled, or when nothing got
    /// better for a while. What is not stored stays in the outbox with the reason.
    ///
    /// # Errors
    /// [`Failure::Home`]; that the network does not answer is no error but a reason.
    pub async fn send(
        &mut self,
        urgent: Vec<LetterId>,
        others: Vec<LetterId>,
    ) -> Result<(), Failure> {
        let mut sending = Sending {
            urgent: urgent.iter().copied().collect(),
            waiting: VecDeque::from(urgent),
            under: BTreeMap::new(),
        };
        let others = others.into_iter();
        let others: Vec<_> = others.filter(|id| !sending.urgent.contains(id)).collect();
        sending.waiting.extend(others);
        if sending.waiting.is_empty() {
            return Ok(());
        }
        if let Some(reason) = self.members().await? {
            let all: Vec<_> = sending.waiting.into_iter().collect();
            return self.set_back(&all, &reason);
        }
        self.introduce(&mut sending.waiting).await?;
        let mut until = Instant::now() + PATIENCE;
        loop {
            self.begin(&mut sending).await?;
            if sending.under.is_empty() {
                return Ok(());
            }
            let left = sending.under.len() + sending.waiting.len();
            self.witness.stage(Stage::Letters(left));
            if sending.urgent.is_empty() {
                until = until.min(Instant::now() + PATIENCE_OTHERS);
            }
            let told = self.road.events(until).await;
            if told.is_empty() {
                return self.give_up(sending).await;
            }
            if self.settle(&mut sending, told)? {
                until = Instant::now() + PATIENCE;
            }
        }
    }

    /// Seals as many as may be under way, keeps them, and hands them to the machine.
    async fn begin(&mut self, sending: &mut Sending) -> Result<(), Failure> {
        while sending.under.len() < DEPOSITS_MAX && !sending.waiting.is_empty() {
            let room = DEPOSITS_MAX - sending.under.len();
            let some = room.min(sending.waiting.len());
            let batch: Vec<LetterId> = sending.waiting.drain(..some).collect();
            let now = unix_now();
            let (sealed, unsealable) = seal(self.app, &batch, now)?;
            for (letter, why) in unsealable {
                sending.urgent.remove(&letter);
                self.fail(letter, why.to_string(), Duration::ZERO)?;
            }
            for (letter, sealed) in sealed {
                let deposit = Arc::new(Deposit {
                    keys: sealed.keys,
                    write_signature: sealed.write_signature,
                    long_stay: None,
                    envelope: sealed.envelope,
                });
                let command = Command::Deposit(deposit);
                let id = self.road.give(command, Secrets::default()).await;
                let since = Instant::now();
                sending.under.insert(
                    id,
                    Under {
                        letter,
                        since,
                        copies: 0,
                        trouble: None,
                    },
                );
            }
        }
        Ok(())
    }

    /// Takes in what the machine told. True if a letter is stored.
    fn settle(&mut self, sending: &mut Sending, told: Vec<Event>) -> Result<bool, Failure> {
        let mut stored = Vec::new();
        for event in told {
            match event {
                Event::Stored {
                    id,
                    promise,
                    receipts,
                } => {
                    if let Some(under) = sending.under.remove(&id) {
                        let copies = u8::try_from(receipts.len()).unwrap_or(u8::MAX);
                        sending.urgent.remove(&under.letter);
                        stored.push((under, copies, promise));
                    }
                }
                Event::Waiting {
                    id, receipts, why, ..
                } => {
                    if let Some(under) = sending.under.get_mut(&id) {
                        under.copies = receipts;
                        under.trouble = Some(why);
                    }
                }
                Event::Failed {
                    id,
                    why: Trouble::TooLate,
                } => {
                    if let Some(under) = sending.under.remove(&id) {
                        sending.waiting.push_front(under.letter);
                    }
                }
                Event::Failed { id, why } => {
                    if let Some(under) = sending.under.remove(&id) {
                        sending.urgent.remove(&under.letter);
                        self.fail(under.letter, tell(why), under.since.elapsed())?;
                    }
                }
                Event::Members(_)
                | Event::NoMembers { .. }
                | Event::SourcesDiffer { .. }
                | Event::Roster { .. }
                | Event::Pinned(_)
                | Event::Fetched { .. }
                | Event::Card { .. }
                | Event::Done { .. } => {}
            }
        }
        self.keep_stored(&stored)?;
        Ok(!stored.is_empty())
    }

    /// Makes it durable that letters are stored, and only then says so.
    fn keep_stored(&mut self, stored: &[(Under, u8, Promise)]) -> Result<(), Failure> {
        let scale = self.app.scale();
        self.app.home.change(|change| {
            for (under, copies, promise) in stored {
                let Some(mut posted) = change.load::<Posted>(&under.letter.0)? else {
                    continue;
                };
                posted.stored(*copies, promise.expires);
                if posted.letter.is_from_a_person() {
                    change.put(&posted)?;
                } else {
                    // Nobody acknowledges an acknowledgement, so nothing is left to do.
                    change.remove::<Posted>(&posted.key())?;
                }
            }
            Ok::<(), Failure>(())
        })?;
        for (under, copies, promise) in stored {
            let until = scale.hour_start(promise.expires);
            self.witness.settled(&Settled {
                letter: under.letter,
                outcome: Outcome::Stored {
                    copies: *copies,
                    until,
                },
                took: under.since.elapsed(),
                envelope: Some(promise.id),
            });
        }
        Ok(())
    }

    /// Nothing gets better: the machine is told to stop, the outbox why.
    async fn give_up(&mut self, sending: Sending) -> Result<(), Failure> {
        for (id, under) in sending.under {
            self.road.cancel(id).await;
            let reason = match under.trouble {
                Some(Trouble::TooFewCopies) => {
                    format!("{} holders have it, too few yet", under.copies)
                }
                Some(trouble) => tell(trouble),
                None => tell(Trouble::Unreachable),
            };
            self.set_back_one(under.letter, reason, under.copies, under.since.elapsed())?;
        }
        let waiting: Vec<_> = sending.waiting.into_iter().collect();
        self.set_back(&waiting, "others before it are not stored yet")
    }

    /// Notes why letters are not stored yet.
    pub(super) fn set_back(&mut self, letters: &[LetterId], reason: &str) -> Result<(), Failure> {
        letters
            .iter()
            .try_for_each(|id| self.set_back_one(*id, reason.to_owned(), 0, Duration::ZERO))
    }

    fn set_back_one(
        &mut self,
        letter: LetterId,
        reason: String,
        copies: usize,
        took: Duration,
    ) -> Result<(), Failure> {
        let next = self.note(letter, &reason, RETRY_MINUTES)?;
        let outcome = Outcome::Queued {
            copies,
            reason,
            next,
        };
        self.witness.settled(&Settled {
            letter,
            outcome,
            took,
            envelope: None,
        });
        Ok(())
    }

    fn fail(&mut self, letter: LetterId, reason: String, took: Duration) -> Result<(), Failure> {
        let next = self.note(letter, &reason, RETRY_DECLINED_MINUTES)?;
        let outcome = Outcome::Failed { reason, next };
        self.witness.settled(&Settled {
            letter,
            outcome,
            took,
            envelope: None,
        });
        Ok(())
    }

    fn note(&self, letter: LetterId, reason: &str, minutes: u64) -> Result<UnixTime, Failure> {
        let next = unix_now().plus(self.app.scale().minutes(minutes));
        self.app.home.change(|change| {
            if let Some(mut posted) = change.load::<Posted>(&letter.0)? {
                posted.setback = Some(Setback {
                    reason: reason.to_owned(),
                    next,
                });
                change.put(&posted)?;
            }
            Ok::<(), Failure>(())
        })?;
        Ok(next)
    }
}

type SealedLetters = Vec<(LetterId, Sealed)>;
type Unsealable = Vec<(LetterId, CannotSeal)>;

/// Seals letters and keeps their envelopes by one change; those that are stored by now are left out.
fn seal(
    app: &mut App,
    letters: &[LetterId],
    now: UnixTime,
) -> Result<(SealedLetters, Unsealable), Failure> {
    let App {
        home,
        identity,
        network,
        rng,
        ..
    } = app;
    let desk = Desk::new(identity, &PureCrypto, network.scale);
    home.change(|change| {
        let (mut sealed, mut unsealable) = (Vec::new(), Vec::new());
        let mut contacts: BTreeMap<AccountKey, Contact> = BTreeMap::new();
        for id in letters {
            let Some(mut posted) = change.load::<Posted>(&id.0)? else {
                continue;
            };
            if !contacts.contains_key(&posted.to) {
                let contact = change.load::<Contact>(posted.to.as_bytes())?;
                contacts.extend(contact.map(|contact| (posted.to, contact)));
            }
            let Some(contact) = contacts.get(&posted.to) else {
                unsealable.push((*id, CannotSeal::NoCard));
                continue;
            };
            match posted.seal(&desk, contact, now, rng) {
                Ok(()) => change.put(&posted)?,
                Err(why) => unsealable.push((*id, why)),
            }
            match posted.progress {
                Progress::Sealed(envelope) => sealed.push((*id, *envelope)),
                Progress::Queued
                | Progress::Stored { .. }
                | Progress::Delivered
                | Progress::Expired => {}
            }
        }
        Ok((sealed, unsealable))
    })
}

/// Deposits under way: as many as the machine asks at once, so that none waits inside it.
const DEPOSITS_MAX: usize = swarm_proto::limits::ASKS_IN_FLIGHT_MAX;
/// How long letters that nobody waits for may keep a visit open.
const PATIENCE_OTHERS: Duration = Duration::from_secs(3);
