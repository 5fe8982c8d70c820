//! The relay's own correspondent in the relay's process: an anonymous client with links of its own.
//!
//! One task owns the machine ([`Persona`]), another the ordinary client's
//! ([`Courier`](poste_link::courier::Courier)). It begins an hour of the network after its relay, when the relay
//! has compared its member list with others', takes that list and asks nobody for one ([CAN-9]). Account and
//! letters are in memory only ([CAN-8]). Source: `docs/spec/canaries.md`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use poste_link::courier::{Courier, CourierConfig, CourierFailure, Secrets};
use swarm_proto::client::persona::{Effect, Input as Told, Persona};
use swarm_proto::client::{Event, Pinned};
use swarm_proto::effects::{Command, Input};
use swarm_proto::id::NodeId;
use swarm_proto::kem::PureCrypto;
use swarm_proto::network::Network;
use swarm_proto::time::HOUR_MINUTES;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use crate::budget::Inbox;
use crate::driver::{Clock, Handle};

/// The persona's loop and what it talks to.
struct Driver {
    persona: Persona,
    courier: Courier,
    relay: Handle,
    core: Inbox,
    clock: Clock,
}

/// Why a relay goes without a persona.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PersonaFailure {
    #[error(transparent)]
    Courier(#[from] CourierFailure),
    #[error("the system gives no randomness")]
    Random,
}

/// Starts the persona of the relay `me`, if its network wants readings; it sends from `bind` and ends with
/// `stop`.
pub(crate) fn start(
    network: Arc<Network>,
    me: NodeId,
    bind: IpAddr,
    (relay, core): (Handle, Inbox),
    tracker: &TaskTracker,
    stop: CancellationToken,
) -> Result<(), PersonaFailure> {
    if network.verdicts.readings == 0 {
        return Ok(());
    }
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|_| PersonaFailure::Random)?;
    let config = CourierConfig {
        network: Arc::clone(&network),
        sources: Vec::new(),
        pinned: Pinned::default(),
        rosters: Vec::new(),
        bind: SocketAddr::new(bind, 0),
    };
    let (courier, events) = Courier::start(config, tracker, stop.clone())?;
    let driver = Driver {
        persona: Persona::new(Arc::clone(&network), me, *seed),
        courier,
        relay,
        core,
        clock: Clock::system(),
    };
    let settling = network.scale.minutes(HOUR_MINUTES);
    tracker.spawn(async move {
        let living = driver.run(settling, events);
        let _stopped = stop.run_until_cancelled(living).await;
    });
    Ok(())
}

impl Driver {
    async fn run(mut self, settling: Duration, mut events: mpsc::Receiver<Event>) {
        tokio::time::sleep(settling).await;
        loop {
            let wait = self.persona.deadline().map_or(LOOK_PAUSE, |at| {
                at.since(self.clock.read().mono).min(WAIT_MAX)
            });
            let goes_on = tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.step(Told::Told(&event)).await,
                    None => false,
                },
                () = tokio::time::sleep(wait) => self.wake().await,
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Its relay's list as it is now, and a visit if one is due. False if somebody has stopped.
    async fn wake(&mut self) -> bool {
        let now = self.clock.read().mono;
        let is_due = self.persona.deadline().is_none_or(|at| at <= now);
        if !is_due {
            return true;
        }
        if let Some(members) = self.relay.gate.book.members()
            && !self.courier.members(members).await
        {
            return false;
        }
        self.step(Told::Wake).await
    }

    async fn step(&mut self, input: Told<'_>) -> bool {
        let mut out = Vec::new();
        self.persona
            .step(self.clock.read(), input, &PureCrypto, &mut out);
        for effect in out {
            let taken = match effect {
                Effect::Give { id, command, read } => {
                    let secrets = Arc::new(Secrets { read, write: None });
                    self.courier.command(id, command, secrets).await
                }
                Effect::Report(readings) => {
                    let command = Command::Readings(readings);
                    self.core.tell(Input::Command(command)).await
                }
            };
            if !taken {
                return false;
            }
        }
        true
    }
}

/// How often it looks for members while there are none.
const LOOK_PAUSE: Duration = Duration::from_secs(5);
/// Longest sleep: a machine that was suspended is late by no more than this.
const WAIT_MAX: Duration = Duration::from_secs(600);
