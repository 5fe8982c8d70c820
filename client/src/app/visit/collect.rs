//! Letters in: the own card renewed, every mailbox that may hold something read, what came taken in, and
//! acknowledgements put into the outbox ([CARD-4], [LET-11]).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand_core::Rng;
use swarm_proto::address::Context;
use swarm_proto::client::{Command, CommandId, Event};
use swarm_proto::envelope::{self, Envelope};
use swarm_proto::id::EnvelopeId;
use swarm_proto::kem::PureCrypto;
use swarm_proto::limits::EPOCHS_REMEMBERED;
use swarm_proto::mailbox::statements::Statements;
use swarm_proto::store::Cursor;
use swarm_proto::time::{Epoch, UnixTime};
use swarm_proto::wire::mailbox::CardPut;

use super::{Gathered, Stage, Visit, tell};
use crate::app::{App, BIRTH, Failure, POLLED, draw, epoch_before_grace, put_number};
use crate::contacts::Contact;
use crate::conversation::card::{self, CardTerms, CardText, Policy};
use crate::conversation::letter::LetterId;
use crate::conversation::{Desk, Via};
use crate::identity::{MailboxKind, OwnMailbox};
use crate::inbox::{self, Reading, Received, Taken};
use crate::outbox::{self, Owed};
use poste_link::courier::{Secrets, unix_now};

/// Mailboxes being read.
struct Round {
    waiting: VecDeque<OwnMailbox>,
    under: BTreeMap<CommandId, OwnMailbox>,
    card: Option<CommandId>,
    gathered: Gathered,
}

impl Visit<'_> {
    /// Renews the card, reads every mailbox that may hold something, takes it in, and queues
    /// acknowledgements for [`Visit::send`].
    ///
    /// # Errors
    /// [`Failure::Unreached`] if no mailbox could be read at all; [`Failure::Home`].
    pub async fn collect(&mut self) -> Result<Gathered, Failure> {
        if let Some(reason) = self.members().await? {
            let text = format!("{reason}; check this machine's network and try again");
            return Err(Failure::Unreached(text));
        }
        let start = Instant::now();
        let began = unix_now();
        let mut round = Round {
            waiting: mailboxes(self.app, began)?.into(),
            under: BTreeMap::new(),
            card: Some(self.renew_card(began).await?),
            gathered: Gathered {
                complete: true,
                holders: usize::MAX,
                ..Gathered::default()
            },
        };
        while !self.read_on(&mut round).await? {}
        round.gathered.took = start.elapsed();
        let gathered = &mut round.gathered;
        if gathered.polled == 0 {
            let text = "no mailbox could be read: no holder answered; try again later";
            return Err(Failure::Unreached(text.to_owned()));
        }
        if gathered.complete {
            self.app
                .home
                .change(|change| put_number(change, POLLED, began.0))?;
        }
        self.keep_learned()?;
        self.acknowledge()?;
        Ok(round.gathered)
    }

    /// Asks what may be asked, takes in what is told. True when all is done.
    async fn read_on(&mut self, round: &mut Round) -> Result<bool, Failure> {
        while round.under.len() < FETCHES_MAX {
            let Some(mailbox) = round.waiting.pop_front() else {
                break;
            };
            let id = self.fetch(&mailbox).await?;
            round.under.insert(id, mailbox);
        }
        if round.under.is_empty() && round.card.is_none() {
            return Ok(true);
        }
        let left = round.under.len() + round.waiting.len();
        self.witness.stage(Stage::Mailboxes(left));
        let told = self.road.events(Instant::now() + SILENCE_MAX).await;
        if told.is_empty() {
            for id in round.under.keys().chain(&round.card) {
                self.road.cancel(*id).await;
            }
            round.gathered.complete = false;
            return Ok(true);
        }
        for event in told {
            self.take(round, event)?;
        }
        Ok(false)
    }

    fn take(&mut self, round: &mut Round, event: Event) -> Result<(), Failure> {
        match event {
            Event::Fetched {
                id,
                rows,
                holders,
                complete,
                ..
            } => {
                let Some(mailbox) = round.under.remove(&id) else {
                    return Ok(());
                };
                let gathered = &mut round.gathered;
                gathered.polled += 1;
                gathered.holders = gathered.holders.min(holders.len());
                gathered.complete &= complete;
                let came = take_in(self.app, &mailbox, &rows, complete, gathered)?;
                gathered.new += came.len();
                came.iter().for_each(|received| self.witness.came(received));
            }
            Event::Failed { id, why } => {
                if round.card == Some(id) {
                    tracing::warn!(why = tell(why), "the card is not renewed");
                    round.card = None;
                } else if round.under.remove(&id).is_some() {
                    tracing::warn!(why = tell(why), "a mailbox is not read");
                    round.gathered.complete = false;
                }
            }
            Event::Done { id } => {
                if round.card == Some(id) {
                    round.card = None;
                    round.gathered.card = true;
                }
            }
            Event::Members(_)
            | Event::NoMembers { .. }
            | Event::SourcesDiffer { .. }
            | Event::Roster { .. }
            | Event::Pinned(_)
            | Event::Stored { .. }
            | Event::Waiting { .. }
            | Event::Card { .. } => {}
        }
        Ok(())
    }

    async fn fetch(&mut self, mailbox: &OwnMailbox) -> Result<CommandId, Failure> {
        let address = mailbox.side.address();
        let reading = self.app.home.view()?.load::<Reading>(&address.0)?;
        let command = Command::Fetch {
            keys: mailbox.side.keys,
            epoch: mailbox.epoch,
            after: reading.map_or(Cursor::START, |reading| reading.after),
        };
        // Keys are never copied: the same one is made again.
        let (context, s) = match &mailbox.kind {
            MailboxKind::FirstContact => (Context::Pub, &self.app.identity.salt),
            MailboxKind::Bucket { s } => (Context::Pair, s),
        };
        let account = self.app.identity.account();
        let side = account.mailbox(context, s, mailbox.epoch);
        let side = side.map_err(|error| Failure::Bug(error.to_string()))?;
        let secrets = Secrets {
            read: Some(side.read),
            write: None,
        };
        Ok(self.road.give(command, secrets).await)
    }

    /// Leaves today's card. Its number is durable first, and never below the clock's seconds, so that an account
    /// restored from words outranks the cards of its earlier life ([CARD-3]).
    async fn renew_card(&mut self, now: UnixTime) -> Result<CommandId, Failure> {
        let identity = &mut self.app.identity;
        let next = identity.card_sequence.saturating_add(1);
        identity.card_sequence = next.max(now.0 / 1_000);
        self.app
            .home
            .change(|change| change.put(&self.app.identity))?;
        let nonce = draw(&mut self.app.rng);
        let App {
            identity, network, ..
        } = &*self.app;
        let text = CardText {
            inbox: identity.inbox().public().clone(),
            policy: if identity.answers_strangers {
                Policy::Welcome
            } else {
                Policy::Closed
            },
        };
        let terms = CardTerms {
            salt: &identity.salt,
            epoch: network.scale.epoch_of(now),
            sequence: identity.card_sequence,
            expires: card::expiry(now, network.scale),
        };
        let statements = Statements::new(&PureCrypto, identity.network);
        let sealed = text.seal(identity.account(), &terms, &statements, &nonce);
        let (keys, card) = sealed.map_err(|error| Failure::Bug(error.to_string()))?;
        let put = Arc::new(CardPut {
            epoch: terms.epoch,
            keys,
            card,
        });
        let command = Command::CardPut(put);
        Ok(self.road.give(command, Secrets::default()).await)
    }

    /// Turns everything that is owed into queued acknowledgements.
    fn acknowledge(&mut self) -> Result<(), Failure> {
        let now = unix_now();
        let rng = &mut self.app.rng;
        self.app.home.change(|change| {
            for owed in change.list::<Owed>()?.rows {
                let contact = change.load::<Contact>(owed.to.as_bytes())?;
                let Some(contact) = contact else { continue };
                let mut id = [0; 16];
                rng.fill_bytes(&mut id);
                while outbox::acknowledge(change, &contact, LetterId(id), now)?.is_some() {
                    rng.fill_bytes(&mut id);
                }
            }
            Ok(())
        })
    }
}

/// The mailboxes that may hold something that was not read: of today, of every epoch back to the last complete
/// visit or the account's birth, and of tomorrow when others' clocks may say so.
fn mailboxes(app: &App, now: UnixTime) -> Result<Vec<OwnMailbox>, Failure> {
    let scale = app.scale();
    let today = scale.epoch_of(now);
    let since = match app.number(POLLED)? {
        0 => Epoch(u32::try_from(app.number(BIRTH)?).unwrap_or(0)),
        polled => epoch_before_grace(scale, UnixTime(polled)),
    };
    let oldest = since.max(today.minus(EPOCHS_REMEMBERED.saturating_sub(1)));
    let newest = scale.epoch_of(now.plus(envelope::grace(scale)));
    let contacts = app.contacts()?;
    let mut mailboxes = Vec::new();
    for epoch in (oldest.0..=newest.0.max(today.0)).rev() {
        let own = app.identity.mailboxes(&contacts, Epoch(epoch));
        mailboxes.extend(own.map_err(|error| Failure::Bug(error.to_string()))?);
    }
    Ok(mailboxes)
}

/// Takes in the rows of one mailbox by one change; the letters that are new.
fn take_in(
    app: &mut App,
    mailbox: &OwnMailbox,
    rows: &[(Cursor, Envelope)],
    complete: bool,
    gathered: &mut Gathered,
) -> Result<Vec<Received>, Failure> {
    let now = unix_now();
    let App {
        home,
        identity,
        network,
        rng,
        ..
    } = app;
    let desk = Desk::new(identity, &PureCrypto, network.scale);
    let mut delivered = 0;
    let came = home.change(|change| {
        let mut came = Vec::new();
        let mut contacts = change.list::<Contact>()?.rows;
        for (_, envelope) in rows {
            let seen = inbox::Seen::envelope_key(envelope.id());
            if change.load::<inbox::Seen>(&seen)?.is_some() {
                continue;
            }
            let Ok(opened) = desk.open(&contacts, mailbox, envelope) else {
                inbox::pass_over(change, &desk, envelope)?;
                continue;
            };
            match inbox::take_in(change, &desk, envelope, &opened, now, rng)? {
                Taken::Letter => came.push(Received {
                    from: opened.from,
                    arrived: now,
                    is_read: false,
                    letter: opened.letter,
                }),
                Taken::Delivered(letters) => delivered += letters.len(),
                Taken::Again | Taken::FromNobody | Taken::Repeated => {}
            }
            if matches!(opened.via, Via::FirstContact { .. }) {
                contacts = change.list::<Contact>()?.rows;
            }
        }
        if let Some((last, _)) = rows.last().filter(|_| complete) {
            change.put(&reading(mailbox, *last, network, now))?;
        }
        Ok::<_, Failure>(came)
    })?;
    gathered.delivered += delivered;
    Ok(came)
}

/// How far a mailbox counts as read: what is younger than two repairs may still be brought to a holder under an
/// earlier tick, so it is always listed again.
fn reading(
    mailbox: &OwnMailbox,
    last: Cursor,
    network: &swarm_proto::network::Network,
    now: UnixTime,
) -> Reading {
    let scale = network.scale;
    let settled = Cursor {
        arrival: scale.tick_of(now).minus(LISTED_AGAIN_TICKS),
        id: EnvelopeId([0; 32]),
    };
    let end = scale.epoch_start(mailbox.epoch.plus(KEPT_EPOCHS));
    Reading {
        address: mailbox.side.address(),
        after: last.min(settled),
        until: scale.hour_of(end).plus(1),
    }
}

/// Mailboxes read at once: three holders each, as many questions as the machine has under way.
const FETCHES_MAX: usize = 4;
/// The longest silence before a reading is given up: a question's whole life and the pause after it.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Two repair intervals of an hour.
const LISTED_AGAIN_TICKS: u32 = 12;
/// An epoch's mailbox is empty after the longest expiry class.
const KEPT_EPOCHS: u32 = 32;
