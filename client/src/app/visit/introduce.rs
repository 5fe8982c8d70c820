//! Cards of people who have not answered yet: without one, no first letter can be sealed ([CARD-3],
//! [CARD-4]).

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use swarm_proto::address::AccountKey;
use swarm_proto::client::{Command, CommandId, Event};
use swarm_proto::kem::PureCrypto;
use swarm_proto::mailbox::statements::Statements;
use swarm_proto::store::Card;
use swarm_proto::time::Epoch;

use super::{PATIENCE, Stage, Visit};
use crate::app::Failure;
use crate::contacts::{Contact, State};
use crate::conversation::Desk;
use crate::conversation::card::{self, CardText, Policy};
use crate::conversation::letter::LetterId;
use crate::outbox::Posted;
use poste_link::courier::{Secrets, unix_now};

/// What a search for a card came to.
enum Search {
    Found(Box<CardText>),
    Nowhere,
    Unanswered,
}

impl Visit<'_> {
    /// Looks for the cards of those whom `letters` go to and who have not answered; letters that cannot be
    /// sealed without are set back and taken out.
    pub(super) async fn introduce(
        &mut self,
        letters: &mut VecDeque<LetterId>,
    ) -> Result<(), Failure> {
        let mut by_contact: BTreeMap<AccountKey, Vec<LetterId>> = BTreeMap::new();
        for id in letters.iter() {
            if let Some(posted) = self.app.home.view()?.load::<Posted>(&id.0)? {
                by_contact.entry(posted.to).or_default().push(*id);
            }
        }
        for (account, theirs) in by_contact {
            let contact = self.app.home.view()?.load::<Contact>(account.as_bytes())?;
            let Some(contact) = contact else { continue };
            if let Some(reason) = self.meet(contact).await? {
                letters.retain(|id| !theirs.contains(id));
                self.set_back(&theirs, &reason)?;
            }
        }
        Ok(())
    }

    /// Finds a contact's card if one is needed or may have been renewed; in words why it cannot be written to.
    async fn meet(&mut self, mut contact: Contact) -> Result<Option<String>, Failure> {
        let (salt, known) = match &contact.state {
            State::Connected { .. } => return Ok(None),
            State::Waiting { salt, .. } => (*salt, true),
            State::Invited { salt } => (*salt, false),
        };
        let name = contact.petname.clone();
        self.witness.stage(Stage::Card(&name));
        match self.search(&contact, &salt, known).await? {
            Search::Found(text) => match text.policy {
                Policy::Welcome => {
                    contact.found(text.inbox);
                    self.app.home.change(|change| change.put(&contact))?;
                    Ok(None)
                }
                Policy::Closed => Ok(Some("they take no first letters at present".to_owned())),
            },
            Search::Nowhere | Search::Unanswered if known => Ok(None),
            Search::Nowhere => Ok(Some(
                "their card was not found; they must visit the network once".to_owned(),
            )),
            Search::Unanswered => Ok(Some("no holder of their card answered".to_owned())),
        }
    }

    /// Today's mailbox first, then earlier ones; only the youngest for somebody whose card is `known`.
    async fn search(
        &mut self,
        contact: &Contact,
        salt: &[u8; 32],
        known: bool,
    ) -> Result<Search, Failure> {
        let today = self.app.scale().epoch_of(unix_now());
        let epochs: Vec<Epoch> = card::epochs_to_ask(today).collect();
        let rounds = if known { 1 } else { epochs.len() };
        let until = Instant::now() + PATIENCE;
        let mut answered = false;
        for some in epochs.chunks(EPOCHS_AT_ONCE).take(rounds) {
            let mut asked: BTreeMap<CommandId, Epoch> = BTreeMap::new();
            for epoch in some {
                asked.extend(self.ask_card(contact, *epoch).await?);
            }
            let mut cards: Vec<(Epoch, Card)> = Vec::new();
            while !asked.is_empty() {
                let told = self.road.events(until).await;
                if told.is_empty() {
                    for id in asked.into_keys() {
                        self.road.cancel(id).await;
                    }
                    return Ok(Search::Unanswered);
                }
                answered |= take_cards(&mut asked, told, &mut cards);
            }
            if let Some(text) = newest(self, contact, salt, cards) {
                return Ok(Search::Found(Box::new(text)));
            }
        }
        Ok(if answered {
            Search::Nowhere
        } else {
            Search::Unanswered
        })
    }

    async fn ask_card(
        &mut self,
        contact: &Contact,
        epoch: Epoch,
    ) -> Result<Option<(CommandId, Epoch)>, Failure> {
        let desk = Desk::new(&self.app.identity, &PureCrypto, self.app.network.scale);
        // An account without a mailbox in an epoch has none in 2^-250 of them.
        let Ok(side) = desk.writer_side(contact, epoch) else {
            return Ok(None);
        };
        let command = Command::CardAsk {
            keys: side.keys,
            epoch,
        };
        let secrets = Secrets {
            read: None,
            write: Some(side.write),
        };
        Ok(Some((self.road.give(command, secrets).await, epoch)))
    }
}

/// Sorts answers. True if a holder answered.
fn take_cards(
    asked: &mut BTreeMap<CommandId, Epoch>,
    told: Vec<Event>,
    cards: &mut Vec<(Epoch, Card)>,
) -> bool {
    let mut answered = false;
    for event in told {
        match event {
            Event::Card { id, card } => {
                if let Some(epoch) = asked.remove(&id) {
                    answered = true;
                    cards.extend(card.map(|card| (epoch, card)));
                }
            }
            Event::Failed { id, .. } => {
                asked.remove(&id);
            }
            Event::Members(_)
            | Event::NoMembers { .. }
            | Event::SourcesDiffer { .. }
            | Event::Roster { .. }
            | Event::Pinned(_)
            | Event::Stored { .. }
            | Event::Waiting { .. }
            | Event::Fetched { .. }
            | Event::Done { .. } => {}
        }
    }
    answered
}

/// The card that holds, of those that open.
fn newest(
    visit: &Visit<'_>,
    contact: &Contact,
    salt: &[u8; 32],
    mut cards: Vec<(Epoch, Card)>,
) -> Option<CardText> {
    let statements = Statements::new(&PureCrypto, visit.app.identity.network);
    cards.sort_by_key(|(epoch, card)| std::cmp::Reverse((card.sequence, *epoch)));
    cards.iter().find_map(|(epoch, card)| {
        CardText::open(&contact.account, salt, *epoch, card, &statements).ok()
    })
}

/// Epochs asked together: three holders each, as many questions as the machine has under way.
const EPOCHS_AT_ONCE: usize = 4;
