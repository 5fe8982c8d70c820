//! Letters on their whole way: an envelope through three relays to a holder, on from there to its
//! siblings, three receipts back; and a mailbox read from three holders. Twelve relay processes on this
//! machine, one correspondent in this one, links and flushes as they are.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use poste_link::courier::{Courier, CourierConfig, Secrets};
use poste_link::network_file::NetworkFile;
use poste_node::devnet::{Devnet, DevnetLauncher, DevnetPlan};
use swarm_proto::address::{Account, Context, OwnerSide};
use swarm_proto::client::{Command, CommandId, Event, Pinned, Source};
use swarm_proto::crypto::SecretKey;
use swarm_proto::envelope::{Envelope, EnvelopeHeader, ExpiryClass, SizeClass};
use swarm_proto::hash::derive;
use swarm_proto::kem::PureCrypto;
use swarm_proto::mailbox::statements::Statements;
use swarm_proto::members::Address;
use swarm_proto::network::Network;
use swarm_proto::store::Cursor;
use swarm_proto::time::{Epoch, UnixTime};
use swarm_proto::wire::mailbox::Deposit;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::BenchFailure;
use crate::row::{Row, at_share, median};

/// The first argument of a process that is to be a relay.
pub const RELAY: &str = "__relay";

/// All rows about letters on their way; about `most` of wall time and a start. The relays are this
/// program, started with [`RELAY`]; call it from the main thread, or they end too early.
///
/// # Errors
/// [`BenchFailure`] if the relays do not start or a letter does not arrive.
pub async fn measure(folder: &Path, most: Duration) -> Result<Vec<Row>, BenchFailure> {
    let plan = DevnetPlan {
        nodes: RELAYS,
        dir: folder.join("devnet"),
        one_address: false,
        minute_ms: 100,
        readings: 0,
    };
    let launcher = DevnetLauncher {
        exe: std::env::current_exe()?,
        relay_args_prefix: vec![RELAY.into()],
    };
    let mut devnet = Devnet::start(&plan, launcher).await?;
    let rows = walk(devnet.network_path(), most).await;
    devnet.stop().await;
    rows
}

async fn walk(network: &Path, most: Duration) -> Result<Vec<Row>, BenchFailure> {
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let mut person = Person::start(network, &tracker, &stop)?;
    person.arrive().await?;
    let deposits = person.one_by_one(Kind::Deposit, most / 4).await?;
    let fetches = person.one_by_one(Kind::Fetch, most / 4).await?;
    let deposits_a_second = person.many(Kind::Deposit, most / 4).await?;
    let fetches_a_second = person.many(Kind::Fetch, most / 4).await?;
    stop.cancel();
    tracker.close();
    tracker.wait().await;
    let share = |values: &[f64]| at_share(values, 0.99);
    let of = |name, value, runs| Row {
        runs,
        ..Row::alone(name, "ms", &[value])
    };
    let (stored, read) = (deposits.len(), fetches.len());
    Ok(vec![
        of("road/deposit/p50", median(&deposits), stored),
        of("road/deposit/p99", share(&deposits), stored),
        Row::alone("road/deposit/12-in-flight", "1/s", &[deposits_a_second]),
        of("road/fetch/p50", median(&fetches), read),
        of("road/fetch/p99", share(&fetches), read),
        Row::alone("road/fetch/12-in-flight", "1/s", &[fetches_a_second]),
    ])
}

#[derive(Clone, Copy)]
enum Kind {
    Deposit,
    Fetch,
}

/// A correspondent who writes to itself.
struct Person {
    courier: Courier,
    events: mpsc::Receiver<Event>,
    network: Arc<Network>,
    account: Account,
    /// Mailboxes with something in them, to be read.
    filled: Vec<(u64, Epoch)>,
    next: u64,
}

impl Person {
    fn start(
        network: &Path,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, BenchFailure> {
        let file = NetworkFile::read(network)?;
        let source = |founder: &poste_link::network_file::Founder| {
            Some(Source {
                key: founder.key,
                address: Address::new(founder.addr.ip(), founder.addr.port())?,
            })
        };
        let network = Arc::new(file.network);
        let config = CourierConfig {
            network: Arc::clone(&network),
            sources: file.founders.iter().filter_map(source).collect(),
            pinned: Pinned::default(),
            rosters: Vec::new(),
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        let (courier, events) = Courier::start(config, tracker, stop.clone())?;
        Ok(Self {
            courier,
            events,
            network,
            account: Account::from_seed(&[8; 32]),
            filled: Vec::new(),
            next: 0,
        })
    }

    /// Deposits until that works: relays that have just started take no onions for a while.
    async fn arrive(&mut self) -> Result<(), BenchFailure> {
        let until = Instant::now() + ARRIVE_MAX;
        while Instant::now() < until {
            let id = self.begin(Kind::Deposit).await?;
            if self.end_of(id, until).await? {
                return Ok(());
            }
        }
        Err(BenchFailure::Wrong("no letter arrived in a minute"))
    }

    /// Milliseconds of each, one after the other.
    async fn one_by_one(&mut self, kind: Kind, most: Duration) -> Result<Vec<f64>, BenchFailure> {
        let (begun, mut waits) = (Instant::now(), Vec::new());
        while begun.elapsed() < most && waits.len() < SAMPLES_MAX {
            let start = Instant::now();
            let id = self.begin(kind).await?;
            if !self.end_of(id, start + WAIT_MAX).await? {
                return Err(BenchFailure::Wrong("a letter did not arrive"));
            }
            waits.push(start.elapsed().as_secs_f64() * 1e3);
        }
        Ok(waits)
    }

    /// How many a second end while twelve are under way.
    async fn many(&mut self, kind: Kind, most: Duration) -> Result<f64, BenchFailure> {
        let mut under_way = BTreeMap::new();
        let (begun, mut ended) = (Instant::now(), 0);
        while begun.elapsed() < most {
            while under_way.len() < IN_FLIGHT {
                under_way.insert(self.begin(kind).await?, ());
            }
            let Some((id, good)) = self.next_end(Instant::now() + WAIT_MAX).await? else {
                return Err(BenchFailure::Wrong("a letter did not arrive"));
            };
            if under_way.remove(&id).is_some() && good {
                ended += 1;
            }
        }
        let a_second = f64::from(ended) / begun.elapsed().as_secs_f64();
        while !under_way.is_empty() {
            match self.next_end(Instant::now() + WAIT_MAX).await? {
                Some((id, _)) => under_way.remove(&id),
                None => break,
            };
        }
        Ok(a_second)
    }

    async fn begin(&mut self, kind: Kind) -> Result<CommandId, BenchFailure> {
        self.next += 1;
        let id = CommandId(self.next);
        let (command, secrets) = match kind {
            Kind::Deposit => (self.deposit(self.next)?, Secrets::default()),
            Kind::Fetch => {
                let count = u64::try_from(self.filled.len()).unwrap_or(1).max(1);
                let at = usize::try_from(self.next % count).unwrap_or(0);
                let filled = self.filled.get(at).copied();
                let (mailbox, epoch) = filled.ok_or(BenchFailure::Wrong("nothing to read"))?;
                let side = self.side(mailbox, epoch)?;
                let command = Command::Fetch {
                    keys: side.keys,
                    epoch,
                    after: Cursor::START,
                };
                (command, secrets_of(side.read))
            }
        };
        match self.courier.command(id, command, Arc::new(secrets)).await {
            true => Ok(id),
            false => Err(GONE),
        }
    }

    fn deposit(&mut self, number: u64) -> Result<Command, BenchFailure> {
        let made = self.network.scale.tick_of(unix_now());
        let epoch = made.epoch();
        let side = self.side(number, epoch)?;
        let header = EnvelopeHeader {
            size: SizeClass::Small,
            expiry: ExpiryClass::Day,
            made,
            address: side.address(),
        };
        let envelope = Envelope::assemble(header, &vec![0x5a; SizeClass::Small.body_bytes()])?;
        let statements = Statements::new(&PureCrypto, self.network.id());
        self.filled.push((number, epoch));
        Ok(Command::Deposit(Arc::new(Deposit {
            keys: side.keys,
            write_signature: statements.deposit(&side.write, &envelope.id()),
            long_stay: None,
            envelope,
        })))
    }

    /// A mailbox of its own for each letter, so that they meet all relays.
    fn side(&self, mailbox: u64, epoch: Epoch) -> Result<OwnerSide, BenchFailure> {
        let s = derive("poste bench", &[&mailbox.to_be_bytes()]);
        let side = self.account.mailbox(Context::Pair, &s, epoch);
        side.map_err(|_| BenchFailure::Wrong("no such mailbox"))
    }

    /// Whether that command ended well before `until`.
    async fn end_of(&mut self, wanted: CommandId, until: Instant) -> Result<bool, BenchFailure> {
        while let Some((id, good)) = self.next_end(until).await? {
            if id == wanted {
                return Ok(good);
            }
        }
        Ok(false)
    }

    /// The next command that ends, and whether well; `None` if none does before `until`.
    async fn next_end(
        &mut self,
        until: Instant,
    ) -> Result<Option<(CommandId, bool)>, BenchFailure> {
        loop {
            let event = tokio::time::timeout_at(until.into(), self.events.recv());
            let Ok(event) = event.await else {
                return Ok(None);
            };
            match event.ok_or(GONE)? {
                Event::Stored { id, .. } => return Ok(Some((id, true))),
                Event::Fetched {
                    id, rows, complete, ..
                } => return Ok(Some((id, complete && !rows.is_empty()))),
                Event::Failed { id, .. } => return Ok(Some((id, false))),
                Event::Members(_)
                | Event::NoMembers { .. }
                | Event::SourcesDiffer { .. }
                | Event::Roster { .. }
                | Event::Pinned(_)
                | Event::Waiting { .. }
                | Event::Card { .. }
                | Event::Done { .. } => {}
            }
        }
    }
}

fn secrets_of(read: SecretKey) -> Secrets {
    Secrets {
        read: Some(read),
        write: None,
    }
}

fn unix_now() -> UnixTime {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixTime(unix.map_or(0, |unix| u64::try_from(unix.as_millis()).unwrap_or(0)))
}

const GONE: BenchFailure = BenchFailure::Wrong("the courier is gone");
/// Enough for five holders and paths that share no relay with them.
const RELAYS: usize = 12;
/// A client asks so many questions at once.
const IN_FLIGHT: usize = 12;
/// Enough for one of a hundred.
const SAMPLES_MAX: usize = 300;
/// After a start relays take no onions for half a minute.
const ARRIVE_MAX: Duration = Duration::from_secs(60);
/// No letter takes longer on one machine, however busy.
const WAIT_MAX: Duration = Duration::from_secs(30);
