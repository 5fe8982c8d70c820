//! The way into the network that one program keeps open: the courier, and what it has told.
//!
//! It outlives single visits, so that somebody who follows the inbox links to the guard once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use swarm_proto::client::{Command, CommandId, Event, Pinned};
use swarm_proto::members::Roster;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{App, Failure, pins};
use crate::home::{KnownRoster, PathState};
use poste_link::courier::{Courier, CourierConfig, Secrets};

/// An open way into the network.
pub struct Road {
    courier: Courier,
    events: mpsc::Receiver<Event>,
    tracker: TaskTracker,
    stop: CancellationToken,
    next_command: u64,
    /// Relays that were asked for the member list.
    pub(super) sources: usize,
    /// Members that are known; `None` until the list is complete.
    pub(super) members: Option<usize>,
    /// In words why there is no list that can be used, when that was last found out.
    pub(super) unready: Option<String>,
    pinned: Option<Pinned>,
    /// Eligible lists that are not kept yet; as many as epochs that mail lives.
    learned: Vec<KnownRoster>,
}

impl Road {
    /// Starts the courier of a home; within a tokio runtime.
    ///
    /// # Errors
    /// [`Failure::Courier`]; [`Failure::Unreached`] if no relay at all is known.
    pub fn open(app: &App, bind: Option<IpAddr>) -> Result<Self, Failure> {
        let sources = app.sources()?;
        if sources.is_empty() {
            let text = "no relay is known: neither the network file nor an invitation names one";
            return Err(Failure::Unreached(text.to_owned()));
        }
        let ip = bind.unwrap_or(if sources.iter().all(|source| source.address.is_v4()) {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        } else {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        });
        let state = app.home.view()?.load::<PathState>(PathState::KEY)?;
        // Pins of another version are drawn anew.
        let pinned = state.and_then(|state| pins::read(&state).ok());
        // One that cannot be read is asked for again.
        let known = app.home.view()?.list::<KnownRoster>()?.rows;
        let rosters = known.into_iter().map(|known| (known.roster, known.at));
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let config = CourierConfig {
            network: Arc::clone(&app.network),
            pinned: pinned.unwrap_or_default(),
            rosters: rosters.collect(),
            bind: SocketAddr::new(ip, 0),
            sources: sources.clone(),
        };
        let (courier, events) = Courier::start(config, &tracker, stop.clone())?;
        Ok(Self {
            courier,
            events,
            tracker,
            stop,
            next_command: 0,
            sources: sources.len(),
            members: None,
            unready: None,
            pinned: None,
            learned: Vec::new(),
        })
    }

    /// Ends the courier and waits a moment until its links are closed.
    pub async fn close(self) {
        self.stop.cancel();
        self.tracker.close();
        let _late = tokio::time::timeout(CLOSE_WAIT, self.tracker.wait()).await;
    }

    /// Hands a command to the machine.
    pub(super) async fn give(&mut self, command: Command, secrets: Secrets) -> CommandId {
        let id = CommandId(self.next_command);
        self.next_command = self.next_command.wrapping_add(1);
        // If the loop has ended, no event comes, and whoever waits for one gives up.
        let _ended = self.courier.command(id, command, Arc::new(secrets)).await;
        id
    }

    /// Takes a command back.
    pub(super) async fn cancel(&mut self, id: CommandId) {
        let secrets = Arc::new(Secrets::default());
        let _ended = self.courier.command(id, Command::Cancel, secrets).await;
    }

    /// What is told about commands until `until`: at least one event and whatever came with it; nothing if
    /// the time is over.
    pub(super) async fn events(&mut self, until: Instant) -> Vec<Event> {
        let mut told = Vec::new();
        while told.is_empty() {
            let first = tokio::time::timeout_at(until.into(), self.events.recv()).await;
            let Ok(Some(first)) = first else { break };
            self.hear(first, &mut told);
            while let Ok(more) = self.events.try_recv() {
                self.hear(more, &mut told);
            }
        }
        told
    }

    /// Waits until the member list is complete. False if the time is over.
    pub(super) async fn ready(&mut self, until: Instant) -> bool {
        while self.members.is_none() {
            let told = tokio::time::timeout_at(until.into(), self.events.recv()).await;
            let Ok(Some(event)) = told else { return false };
            // No command is under way before the list is here, so nothing is told of one.
            self.hear(event, &mut Vec::new());
        }
        true
    }

    /// Pins that changed and are not kept yet.
    pub(super) fn take_pins(&mut self) -> Option<PathState> {
        self.pinned.take().map(|pinned| pins::keep(&pinned))
    }

    /// Eligible lists that were learned and are not kept yet.
    pub(super) fn take_rosters(&mut self) -> Vec<KnownRoster> {
        std::mem::take(&mut self.learned)
    }

    fn hear(&mut self, event: Event, told: &mut Vec<Event>) {
        match event {
            Event::Members(members) => self.members = Some(members.len()),
            Event::NoMembers { answered, needed } => {
                self.unready = Some(format!(
                    "the member list came from {answered} relays, {needed} are needed"
                ));
            }
            Event::SourcesDiffer {
                sources,
                named,
                shared,
            } => {
                self.unready = Some(format!(
                    "{sources} relays gave member lists that differ too much to choose guards: of {named} members \
                     {shared} are in all of them"
                ));
            }
            Event::Roster { roster, at } => {
                let epoch = roster.epoch();
                self.learned.retain(|one| one.roster.epoch() != epoch);
                self.learned.push(KnownRoster {
                    roster: Roster::clone(&roster),
                    at,
                });
            }
            Event::Pinned(pinned) => self.pinned = Some(pinned),
            Event::Stored { .. }
            | Event::Waiting { .. }
            | Event::Failed { .. }
            | Event::Fetched { .. }
            | Event::Card { .. }
            | Event::Done { .. } => told.push(event),
        }
    }
}

impl std::fmt::Debug for Road {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Road")
    }
}

/// How long closing links may take: a farewell to the guard, no more.
const CLOSE_WAIT: Duration = Duration::from_millis(500);
