//! One visit to the network: letters out, letters in, the own card renewed ([LET-10], [LET-11], [CARD-4]).
//!
//! Several letters are sealed, stored and taken in by one change each, since every change is a sync of the
//! disk. Nothing is told before it is durable. Which relay is asked and when is the machine's to decide.

mod collect;
mod introduce;
mod send;

use std::time::{Duration, Instant};

use swarm_proto::client::Trouble;
use swarm_proto::id::EnvelopeId;
use swarm_proto::time::UnixTime;
use swarm_proto::wire::refusal::{Refusal, name_of};

use super::road::Road;
use super::{App, Failure, rosters};
use crate::conversation::letter::LetterId;
use crate::home::Record;
use crate::inbox::Received;
use crate::outbox::{Posted, Progress};
use poste_link::courier::unix_now;

/// A visit of one account.
pub struct Visit<'a> {
    app: &'a mut App,
    road: &'a mut Road,
    witness: &'a mut dyn Witness,
}

/// Who is told what a visit does; all of it is durable by then.
pub trait Witness {
    /// What is being waited for.
    fn stage(&mut self, stage: Stage<'_>);
    /// A letter has got as far as it gets in this visit.
    fn settled(&mut self, settled: &Settled);
    /// A letter came.
    fn came(&mut self, received: &Received);
}

/// What a visit waits for.
#[derive(Clone, Copy, Debug)]
pub enum Stage<'a> {
    /// The member list, from so many relays.
    Members(usize),
    /// The card of somebody.
    Card(&'a str),
    /// So many letters to be stored.
    Letters(usize),
    /// So many mailboxes to be read.
    Mailboxes(usize),
}

/// How far a letter has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Which.
    pub letter: LetterId,
    /// How far.
    pub outcome: Outcome,
    /// How long it took from handing the envelope to the machine.
    pub took: Duration,
    /// The envelope that holders keep, if they do.
    pub envelope: Option<EnvelopeId>,
}

/// How far a letter has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Durable at W holders at least.
    Stored {
        /// Receipts that were verified.
        copies: u8,
        /// Until when.
        until: UnixTime,
    },
    /// Not yet.
    Queued {
        /// Receipts so far.
        copies: usize,
        /// What stands in the way.
        reason: String,
        /// When it is due again.
        next: UnixTime,
    },
    /// Relays declined it for a reason that stays.
    Failed {
        /// Which.
        reason: String,
        /// When it is due again all the same.
        next: UnixTime,
    },
}

/// What a visit found in the mailboxes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// Mailboxes that were read.
    pub polled: usize,
    /// Letters that came.
    pub new: usize,
    /// Letters of ours that were acknowledged.
    pub delivered: usize,
    /// Whether every mailbox was read from enough holders that nothing durable was missed.
    pub complete: bool,
    /// From the first question to the last answer.
    pub took: Duration,
    /// Holders that were read to the end, of the mailbox with the fewest.
    pub holders: usize,
    /// Whether the card is renewed.
    pub card: bool,
}

impl<'a> Visit<'a> {
    /// A visit of an open home on an open road.
    pub fn new(app: &'a mut App, road: &'a mut Road, witness: &'a mut dyn Witness) -> Self {
        Self { app, road, witness }
    }

    /// Waits for the member list; in words why there is none.
    async fn members(&mut self) -> Result<Option<String>, Failure> {
        if self.road.members.is_none() {
            self.witness.stage(Stage::Members(self.road.sources));
        }
        let ready = self.road.ready(Instant::now() + PATIENCE).await;
        self.keep_learned()?;
        Ok((!ready).then(|| {
            let why = self.road.unready.clone();
            why.unwrap_or_else(|| "no relay gave the member list".to_owned())
        }))
    }

    /// Keeps what the machine chose and learned of the network since it was last asked.
    fn keep_learned(&mut self) -> Result<(), Failure> {
        let (pins, learned) = (self.road.take_pins(), self.road.take_rosters());
        if pins.is_none() && learned.is_empty() {
            return Ok(());
        }
        let today = self.app.scale().epoch_of(unix_now());
        Ok(self.app.home.change(|change| {
            if let Some(pins) = pins {
                change.put(&pins)?;
            }
            rosters::keep(change, &learned, today)
        })?)
    }

    /// Letters and acknowledgements that are not stored, the oldest first. `all`: also those that are not to be
    /// tried by themselves yet.
    pub fn due(&self, all: bool) -> Result<Vec<LetterId>, Failure> {
        let now = unix_now();
        let due = |posted: &Posted| match posted.progress {
            Progress::Queued | Progress::Sealed(_) => {
                let next = posted.setback.as_ref().map(|setback| setback.next);
                all || next.is_none_or(|next| next <= now)
            }
            Progress::Stored { .. } | Progress::Delivered | Progress::Expired => false,
        };
        let outbox = self.app.outbox()?;
        let due = outbox.into_iter().filter(due);
        Ok(due.map(|posted| posted.letter.id).collect())
    }

    /// Marks what relays have dropped, and forgets what cannot come again.
    pub fn tidy(&mut self) -> Result<(), Failure> {
        let hour = self.app.scale().hour_of(unix_now());
        self.app.home.change(|change| {
            for mut posted in change.list::<Posted>()?.rows {
                let before = posted.progress.clone();
                posted.expire(hour);
                if posted.progress == before {
                    continue;
                }
                if posted.letter.is_from_a_person() {
                    change.put(&posted)?;
                } else {
                    change.remove::<Posted>(&posted.key())?;
                }
            }
            crate::inbox::forget(change, hour)?;
            Ok(())
        })
    }
}

/// What stands in the way, for people.
fn tell(trouble: Trouble) -> String {
    match trouble {
        Trouble::NoMembers => "there is no member list".to_owned(),
        Trouble::NoPath => "no path of four relays in different networks was found".to_owned(),
        Trouble::NoGuard => {
            "none of the relays that you always enter the network by can be reached".to_owned()
        }
        Trouble::Unreachable => "no holder answered".to_owned(),
        Trouble::TooFewCopies => "too few holders have it yet".to_owned(),
        Trouble::TooLate => "its day is over; it is sealed again".to_owned(),
        Trouble::Refused(Refusal::MailboxFull) => {
            "their mailbox is full until they fetch or letters expire".to_owned()
        }
        Trouble::Refused(Refusal::OpenLaneFull) => {
            "their mailbox for first letters is full; they must fetch first".to_owned()
        }
        Trouble::Refused(Refusal::Clock { .. }) => {
            "relays say that this machine's clock is wrong".to_owned()
        }
        Trouble::Refused(refusal) => format!("holders declined: {}", name_of(refusal.code())),
    }
}

/// How long a visit waits without anything getting better.
const PATIENCE: Duration = Duration::from_secs(10);
/// Network minutes until a letter that is not stored is due again by itself.
const RETRY_MINUTES: u64 = 10;
/// Network minutes until a letter that holders declined for good is due again.
const RETRY_DECLINED_MINUTES: u64 = 60;
