//! A correspondent without letters: an account, its mailboxes, and envelopes of random bytes.
//!
//! It uses the client's own courier, so that paths, onions, receipts and pages are those of the program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what only tests call fails as a test does"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use poste_link::courier::{Courier, CourierConfig, Secrets};
use poste_link::network_file::NetworkFile;
use swarm_proto::address::{Account, Context, OwnerSide};
use swarm_proto::client::{Command, CommandId, Event, Pinned, Source, Trouble};
use swarm_proto::crypto::SecretKey;
use swarm_proto::envelope::{Envelope, EnvelopeHeader, ExpiryClass, SizeClass};
use swarm_proto::id::{EnvelopeId, NodeId};
use swarm_proto::kem::PureCrypto;
use swarm_proto::mailbox::receipt::Receipt;
use swarm_proto::mailbox::statements::Statements;
use swarm_proto::members::{Address, Eligible, Snapshot};
use swarm_proto::network::Network;
use swarm_proto::place::{Place, Placement, cell_of};
use swarm_proto::store::{Cursor, MailboxKeys};
use swarm_proto::time::{Epoch, UnixTime};
use swarm_proto::wire::mailbox::Deposit;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Somebody with an account, linked to a network.
pub struct Correspondent {
    courier: Courier,
    network: Arc<Network>,
    account: Account,
    s: [u8; 32],
    ids: AtomicU64,
    waiting: Waiting,
    members: watch::Receiver<Option<Arc<Snapshot>>>,
    pinned: watch::Receiver<Pinned>,
    _stop: DropGuard,
}

type Waiting = Arc<Mutex<BTreeMap<CommandId, mpsc::Sender<Event>>>>;

/// A mailbox as its holders returned it.
#[derive(Debug)]
pub struct Fetched {
    /// The envelopes.
    pub envelopes: Vec<Envelope>,
    /// Whether enough holders were read.
    pub complete: bool,
    /// Holders read.
    pub holders: usize,
}

impl Correspondent {
    /// Comes online in the network of `file`; `seed` is who it is.
    pub fn new(file: &NetworkFile, seed: u8) -> Self {
        let sources = file.founders.iter().map(|founder| Source {
            key: founder.key,
            address: Address::new(founder.addr.ip(), founder.addr.port()).unwrap(),
        });
        let network = Arc::new(file.network.clone());
        let config = CourierConfig {
            network: Arc::clone(&network),
            sources: sources.collect(),
            pinned: Pinned::default(),
            rosters: Vec::new(),
            bind: SocketAddr::from(([127, 0, 1, seed], 0)),
        };
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let (courier, events) = Courier::start(config, &tracker, stop.clone()).unwrap();
        let waiting = Waiting::default();
        let (tell, members) = watch::channel(None);
        let (tell_pins, pinned) = watch::channel(Pinned::default());
        tracker.spawn(listen(events, Arc::clone(&waiting), tell, tell_pins));
        Self {
            courier,
            network,
            account: Account::from_seed(&[seed; 32]),
            s: [seed; 32],
            ids: AtomicU64::new(1),
            waiting,
            members,
            pinned,
            _stop: stop.drop_guard(),
        }
    }

    /// The epoch at this moment.
    pub fn epoch(&self) -> Epoch {
        self.network.scale.epoch_of(unix_now())
    }

    /// Its own mailbox of an epoch.
    pub fn mailbox(&self, epoch: Epoch) -> OwnerSide {
        self.account.mailbox(Context::Own, &self.s, epoch).unwrap()
    }

    /// An envelope of random bytes for its own mailbox, made at this moment.
    pub fn seal(&self, size: SizeClass, expiry: ExpiryClass) -> Arc<Deposit> {
        let now = unix_now();
        let made = self.network.scale.tick_of(now);
        let side = self.mailbox(made.epoch());
        let header = EnvelopeHeader {
            size,
            expiry,
            made,
            address: side.address(),
        };
        let envelope = Envelope::assemble(header, &random(size.body_bytes())).unwrap();
        let statements = Statements::new(&PureCrypto, self.network.id());
        Arc::new(Deposit {
            keys: side.keys,
            write_signature: statements.deposit(&side.write, &envelope.id()),
            long_stay: expiry
                .needs_leave()
                .then(|| statements.long_stay(&side.read, &envelope.id())),
            envelope,
        })
    }

    /// Deposits; done when enough holders have signed.
    ///
    /// # Errors
    /// What stood in the way when it was given up.
    pub async fn deposit(&self, deposit: Arc<Deposit>) -> Result<Vec<Receipt>, Trouble> {
        match self
            .ask(Command::Deposit(deposit), Secrets::default())
            .await
        {
            Event::Stored { receipts, .. } => Ok(receipts),
            Event::Failed { why, .. } => Err(why),
            other => panic!("no answer to a deposit: {other:?}"),
        }
    }

    /// Seals and deposits a small envelope that outlives the test; its id.
    ///
    /// # Errors
    /// What stood in the way when it was given up.
    pub async fn deposit_one(&self) -> Result<EnvelopeId, Trouble> {
        let (deposit, _) = self.deposit_sized(SizeClass::Small).await?;
        Ok(deposit.envelope.id())
    }

    /// Seals and deposits an envelope that outlives the test; when its epoch ends meanwhile it is sealed again, as
    /// the program does. What was deposited, and the receipts for it.
    ///
    /// # Errors
    /// What stood in the way when it was given up.
    pub async fn deposit_sized(
        &self,
        size: SizeClass,
    ) -> Result<(Arc<Deposit>, Vec<Receipt>), Trouble> {
        loop {
            let deposit = self.seal(size, ExpiryClass::Days7);
            match self.deposit(Arc::clone(&deposit)).await {
                Ok(receipts) => return Ok((deposit, receipts)),
                Err(Trouble::TooLate) => {}
                Err(why) => return Err(why),
            }
        }
    }

    /// Reads its mailbox of one epoch from the start.
    ///
    /// # Errors
    /// What stood in the way.
    pub async fn fetch(&self, epoch: Epoch) -> Result<Fetched, Trouble> {
        let side = self.mailbox(epoch);
        self.fetch_with(side.keys, epoch, side.read).await
    }

    /// Reads any mailbox, signing with any key.
    ///
    /// # Errors
    /// What stood in the way.
    pub async fn fetch_with(
        &self,
        keys: MailboxKeys,
        epoch: Epoch,
        read: SecretKey,
    ) -> Result<Fetched, Trouble> {
        let command = Command::Fetch {
            keys,
            epoch,
            after: Cursor::START,
        };
        let secrets = Secrets {
            read: Some(read),
            write: None,
        };
        match self.ask(command, secrets).await {
            Event::Fetched {
                rows,
                holders,
                complete,
                ..
            } => Ok(Fetched {
                envelopes: rows.into_iter().map(|(_, envelope)| envelope).collect(),
                complete,
                holders: holders.len(),
            }),
            Event::Failed { why, .. } => Err(why),
            other => panic!("no answer to a fetch: {other:?}"),
        }
    }

    /// Reads its mailbox of one epoch until a reading is complete: one that is not promises nothing, and the program
    /// makes another, too.
    pub async fn fetch_whole(&self, epoch: Epoch) -> Fetched {
        let start = Instant::now();
        loop {
            let fetched = self.fetch(epoch).await;
            match fetched {
                Ok(fetched) if fetched.complete => return fetched,
                _ => {}
            }
            if start.elapsed() > crate::net::PATIENCE {
                let members = self.members.borrow().as_ref().map_or(0, |list| list.len());
                let pinned = self.pinned.borrow().clone();
                panic!("{epoch:?}: {fetched:?}, of {members} members, by {pinned:?}")
            }
        }
    }

    /// All that is in its mailboxes from an epoch to the present one.
    pub async fn fetch_since(&self, first: Epoch) -> Vec<EnvelopeId> {
        let mut ids = Vec::new();
        for epoch in first.0..=self.epoch().0 {
            let fetched = self.fetch_whole(Epoch(epoch)).await;
            ids.extend(fetched.envelopes.iter().map(Envelope::id));
        }
        ids
    }

    /// The relays that it enters the network by, the one that it tries first in front.
    pub fn guards(&self) -> Vec<NodeId> {
        let pinned = self.pinned.borrow();
        pinned.guards.iter().map(|pin| pin.id).collect()
    }

    /// The members, once they are known.
    pub async fn members(&self) -> Arc<Snapshot> {
        let mut members = self.members.clone();
        let known = members.wait_for(Option::is_some).await.unwrap();
        Arc::clone(known.as_ref().unwrap())
    }

    /// The holders of its mailbox of an epoch.
    pub async fn holders(&self, epoch: Epoch) -> Vec<NodeId> {
        self.placement(epoch).await.holders().to_vec()
    }

    /// The relays around the cell of its mailbox of an epoch.
    pub async fn placement(&self, epoch: Epoch) -> Placement {
        let eligible = Eligible::of(&self.network, self.members().await.as_ref(), epoch);
        let cell = cell_of(&self.mailbox(epoch).address(), self.network.cell_bits);
        let place = Place::new(epoch, cell);
        Placement::of(&self.network, &eligible, &place)
    }

    /// How much of the epoch is left.
    pub fn epoch_left(&self) -> Duration {
        let end = self.network.scale.epoch_start(self.epoch().plus(1));
        end.distance(unix_now())
    }

    /// Deposits, and gives up at the first sign of trouble.
    ///
    /// # Errors
    /// The trouble.
    pub async fn try_deposit(&self, deposit: Arc<Deposit>) -> Result<Vec<Receipt>, Trouble> {
        let (id, mut told) = self
            .begin(Command::Deposit(deposit), Secrets::default())
            .await;
        match next(&mut told).await {
            Event::Stored { receipts, .. } => Ok(receipts),
            Event::Failed { why, .. } => Err(why),
            Event::Waiting { why, .. } => {
                let secrets = Arc::new(Secrets::default());
                self.courier.command(id, Command::Cancel, secrets).await;
                lock(&self.waiting).remove(&id);
                Err(why)
            }
            other => panic!("no answer to a deposit: {other:?}"),
        }
    }

    async fn ask(&self, command: Command, secrets: Secrets) -> Event {
        let (_, mut told) = self.begin(command, secrets).await;
        loop {
            let event = next(&mut told).await;
            if !matches!(event, Event::Waiting { .. }) {
                return event;
            }
        }
    }

    async fn begin(
        &self,
        command: Command,
        secrets: Secrets,
    ) -> (CommandId, mpsc::Receiver<Event>) {
        let id = CommandId(self.ids.fetch_add(1, Ordering::Relaxed));
        let (tell, told) = mpsc::channel(EVENTS_MAX);
        lock(&self.waiting).insert(id, tell);
        assert!(self.courier.command(id, command, Arc::new(secrets)).await);
        (id, told)
    }
}

async fn next(told: &mut mpsc::Receiver<Event>) -> Event {
    let event = tokio::time::timeout(crate::net::PATIENCE, told.recv()).await;
    event
        .expect("an answer in time")
        .expect("a running courier")
}

async fn listen(
    mut events: mpsc::Receiver<Event>,
    waiting: Waiting,
    members: watch::Sender<Option<Arc<Snapshot>>>,
    pinned: watch::Sender<Pinned>,
) {
    while let Some(event) = events.recv().await {
        let (id, over) = match &event {
            Event::Stored { id, .. }
            | Event::Failed { id, .. }
            | Event::Fetched { id, .. }
            | Event::Card { id, .. }
            | Event::Done { id } => (*id, true),
            Event::Waiting { id, .. } => (*id, false),
            Event::Members(known) => {
                members.send_replace(Some(Arc::clone(known)));
                continue;
            }
            Event::Pinned(pins) => {
                pinned.send_replace(pins.clone());
                continue;
            }
            Event::NoMembers { .. } | Event::SourcesDiffer { .. } | Event::Roster { .. } => {
                continue;
            }
        };
        let mut waiting = lock(&waiting);
        if let Some(tell) = waiting.get(&id) {
            // Room for every try that a test has patience for; who gave up hears nothing.
            let _given_up = tell.try_send(event);
        }
        if over {
            waiting.remove(&id);
        }
    }
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, BTreeMap<CommandId, mpsc::Sender<Event>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes that nobody has seen before.
pub fn random(bytes: usize) -> Vec<u8> {
    static TURN: AtomicU64 = AtomicU64::new(0);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&unix_now().0.to_be_bytes());
    hasher.update(&std::process::id().to_be_bytes());
    hasher.update(&TURN.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let mut out = vec![0; bytes];
    hasher.finalize_xof().fill(&mut out);
    out
}

/// The system's clock.
pub fn unix_now() -> UnixTime {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixTime(u64::try_from(unix.unwrap().as_millis()).unwrap())
}

/// Events of one command: tries of a test's patience, and the last.
const EVENTS_MAX: usize = 1_024;
