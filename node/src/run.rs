//! The life of one relay process: open the home, start what runs in it, wait for the end, stop it all.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use nix::time::{ClockId, clock_gettime};
use poste_link::network_file::NetworkFile;
use poste_link::{LinkConfig, LinkCount};
use swarm_proto::effects::{Command, Input, PeerChange};
use swarm_proto::id::NodeId;
use swarm_proto::limits;
use swarm_proto::members::{Address, Eligible};
use swarm_proto::network::Network;
use swarm_proto::pledge::OwnPledge;
use swarm_proto::relay::RelayState;
use swarm_proto::wire::refusal::name_of;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::Inbox;
use crate::config::{Config, Profile};
use crate::discovery::{Discovery, DiscoveryCommands, DiscoveryConfig, Found, Hint};
use crate::driver::{self, DriverFailure, Handle, Parts, Setup};
use crate::failure::RunFailure;
use crate::home::{Home, HomeLock};
use crate::keys::{Keys, Seed};
use crate::persona;
use crate::plot::keep::{Keeper, Progress};
use crate::plot::{Plot, Wish, wanted_class};
use crate::status::{
    self, CLOCK_WARN_MS, DrainSource, HoldsSource, NetworkStanding, Pledge, Repair, Sources,
    Standing, StandingSource, Status, StatusSource, Sweeps, Traffic, Verdict, Watching,
};
use crate::store::{StoreConfig, StoreFailure};
use crate::{puzzle, shutdown};

/// A relay's home, opened and checked.
#[derive(Debug)]
pub struct Site {
    /// The home.
    pub home: Home,
    /// Keeps others out of it.
    pub lock: HomeLock,
    /// The network.
    pub network: NetworkFile,
    /// The seed of the node key.
    pub seed: Seed,
}

impl Site {
    /// Opens a home that `init` made.
    ///
    /// # Errors
    /// [`RunFailure`] names the file that is missing or wrong.
    pub fn open(home: Home) -> Result<Self, RunFailure> {
        let seed = Keys::at(home.keys_dir()).node()?;
        let network = NetworkFile::read(&home.network_path())?;
        Ok(Self {
            lock: home.lock()?,
            home,
            network,
            seed,
        })
    }

    /// The sectors that the relay has pledged.
    pub fn plot(&self) -> Plot {
        let pledge = self.network.network.pledge;
        Plot::at(self.home.plot_dir(), self.seed.node_key(), pledge)
    }
}

/// Runs a relay until `stop`; ends within two seconds of it.
///
/// # Errors
/// [`RunFailure`] if it cannot start.
pub async fn run(
    config: Config,
    site: Site,
    parts: Parts,
    stop: CancellationToken,
) -> Result<(), RunFailure> {
    let tracker = TaskTracker::new();
    let ruin = CancellationToken::new();
    let mut outcome = start(&config, &site, parts, &tracker, &stop, &ruin);
    if outcome.is_ok() {
        tokio::select! {
            () = stop.cancelled() => tracing::info!("stopping"),
            () = ruin.cancelled() => outcome = Err(ruined(&site).into()),
        }
    }
    stop.cancel();
    if !shutdown::drain(&tracker).await {
        tracing::warn!("some tasks did not end in time");
    }
    outcome
}

fn start(
    config: &Config,
    site: &Site,
    parts: Parts,
    tracker: &TaskTracker,
    stop: &CancellationToken,
    ruin: &CancellationToken,
) -> Result<(), RunFailure> {
    let listen = SocketAddr::new(config.listen, config.port);
    let (plot, pledge, wish) = own_pledge(config, site)?;
    let setup = Setup {
        network: site.network.clone(),
        keys: Keys::at(site.home.keys_dir()),
        home: site.home.dir().to_owned(),
        listen,
        announce: config.announce,
        links: link_config(config),
        repair_bytes_per_s: config.repair_bytes_per_s,
        memory_bytes: config.memory_bytes,
        plot: plot.clone(),
        pledge,
        store_dir: site.home.store_path(),
        store: store_config(config, ruin),
    };
    let (relay, core) = driver::start(setup, parts, tracker, stop.clone())?;
    let progress = Arc::new(Progress::default());
    let keeper = Keeper {
        plot,
        pledge: site.network.network.pledge,
        wish,
        core: core.clone(),
        told: pledge.class,
        progress: Arc::clone(&progress),
        counted: None,
    };
    keeper
        .start(tracker, stop.clone())
        .map_err(DriverFailure::Thread)?;
    // A port that the system chose for letters is discovery's port too: others derive one from the other.
    let listen = relay
        .endpoint
        .local_addr()
        .map_or(listen, |bound| SocketAddr::new(listen.ip(), bound.port()));
    let discovery = DiscoveryConfig {
        network: site.network.network.clone(),
        seed: site.seed.clone(),
        listen,
        announce: config.announce,
        hints: hints(site),
        links_max: config.discovery_links_max,
    };
    let (discovery, found) = Discovery::start(discovery, tracker, stop.clone())?;
    tracker.spawn(tell_found(found, relay.clone(), core.clone(), stop.clone()));
    tracker.spawn(watch_clock(relay.clone(), core.clone(), stop.clone()));
    let persona_core = core.clone();
    if config.listen.is_unspecified() && config.announce.is_none() {
        tracker.spawn(tell_address(discovery.clone(), core, stop.clone()));
    }
    start_persona(config, site, &relay, persona_core, tracker, stop);
    let sources = Sources {
        holds: holds_source(relay.clone()),
        drain: drain_source(relay.clone()),
        standing: standing_source(relay.clone(), Arc::new(site.network.network.clone())),
        status: status_source(config, site, relay, discovery, progress),
    };
    status::serve(&site.home.socket_path(), sources, tracker, stop.clone())?;
    tracing::info!("relay {} runs", site.seed.node_key().node_id());
    Ok(())
}

/// A relay that can keep nothing any more ends, and does not look present meanwhile ([STO-11]).
fn ruined(site: &Site) -> DriverFailure {
    DriverFailure::Store {
        path: site.home.store_path(),
        source: StoreFailure::Ruined,
    }
}

/// The plot, what of it lies complete on the disk, and what is wanted of it ([PLG-8]).
fn own_pledge(config: &Config, site: &Site) -> Result<(Plot, OwnPledge, Wish), DriverFailure> {
    let pledge = site.network.network.pledge;
    let plot = site.plot();
    let wish = Wish {
        class: config.pledge_class,
        most: site.home.pledge_most_path(),
    };
    let complete = plot.complete().map_err(|source| DriverFailure::Plot {
        path: site.home.plot_dir(),
        source,
    })?;
    let class = plot.class_of(complete).min(wanted_class(&pledge, &wish));
    let puzzle = puzzle::kept(&site.home.puzzle_path());
    Ok((plot, OwnPledge { class, puzzle }, wish))
}

/// A relay without a persona is a relay: it serves, and judges less.
fn start_persona(
    config: &Config,
    site: &Site,
    relay: &Handle,
    core: Inbox,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) {
    let network = Arc::new(site.network.network.clone());
    let me = site.seed.node_key().node_id();
    let ends = (relay.clone(), core);
    if let Err(failure) = persona::start(network, me, config.listen, ends, tracker, stop.clone()) {
        tracing::warn!("this relay reads no letters of its own: {failure}");
    }
}

fn link_config(config: &Config) -> LinkConfig {
    let links = match config.profile {
        Profile::Vps => LinkConfig::default(),
        Profile::Home => LinkConfig::home(),
    };
    let number = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    LinkConfig {
        member_links_max: number(config.member_links_max),
        client_links_max: number(config.client_links_max),
        ..links
    }
}

fn store_config(config: &Config, ruin: &CancellationToken) -> StoreConfig {
    StoreConfig {
        ruin: ruin.clone(),
        cache_bytes: usize::try_from(config.cache_bytes).unwrap_or(usize::MAX),
        ballast_bytes: config.ballast_bytes,
        ..StoreConfig::with_budget(config.store_bytes)
    }
}

/// The founders, except this relay itself.
fn hints(site: &Site) -> Vec<Hint> {
    let own = site.seed.node_key();
    let founders = site.network.founders.iter();
    founders
        .filter(|founder| founder.key != own)
        .map(|founder| Hint {
            key: Some(founder.key),
            addr: founder.addr,
        })
        .collect()
}

/// Discovery finds; the core decides what to make of it.
async fn tell_found(
    mut found: mpsc::Receiver<Found>,
    relay: Handle,
    core: Inbox,
    stop: CancellationToken,
) {
    while let Some(Some(one)) = stop.run_until_cancelled(found.recv()).await {
        let (key, change) = match one {
            Found::Discovered { key, data_addr } => {
                relay.gate.book.add_found(key, data_addr);
                (key, PeerChange::Seen)
            }
            Found::Gone { key } => (key, PeerChange::Gone),
        };
        if !core
            .tell(Input::Peer {
                id: key.node_id(),
                change,
            })
            .await
        {
            return;
        }
    }
}

/// Others told this relay where they reach it.
async fn tell_address(discovery: DiscoveryCommands, core: Inbox, stop: CancellationToken) {
    let mut stats = discovery.watch();
    let mut told = None;
    while let Some(Ok(())) = stop.run_until_cancelled(stats.changed()).await {
        let confirmed = stats.borrow_and_update().confirmed;
        if confirmed == told {
            continue;
        }
        told = confirmed;
        let address = confirmed.and_then(|addr| Address::new(addr.ip(), addr.port()));
        let command = Command::Addresses([address, None]);
        if !core.tell(Input::Command(command)).await {
            return;
        }
    }
}

/// Tells the core again and again how this relay's clock stands to the other members', and the operator when
/// it is off.
async fn watch_clock(relay: Handle, core: Inbox, stop: CancellationToken) {
    let mut warned = false;
    while stop
        .run_until_cancelled(tokio::time::sleep(CLOCK_PAUSE))
        .await
        .is_some()
    {
        let (ahead_ms, compared) = relay.gate.clock_ahead_ms();
        let command = Command::Clocks { ahead_ms, compared };
        if !core.tell(Input::Command(command)).await {
            return;
        }
        let off =
            compared >= limits::CLOCKS_COMPARED_MIN && ahead_ms.unsigned_abs() > CLOCK_WARN_MS;
        if off && !warned {
            tracing::warn!(
                "this machine's clock is off: others are {ahead_ms} ms ahead (median of {compared}); set it by NTP"
            );
        }
        warned = off;
    }
}

fn status_source(
    config: &Config,
    site: &Site,
    relay: Handle,
    discovery: DiscoveryCommands,
    progress: Arc<Progress>,
) -> StatusSource {
    let key = site.seed.node_key();
    let network = Arc::new(site.network.network.clone());
    let mut fixed = Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node_id: key.node_id().to_hex(),
        node_key: key.to_hex(),
        network: network.name.clone(),
        network_id: network.id().to_hex(),
        pid: shutdown::own_pid(),
        listen: SocketAddr::new(config.listen, config.port).to_string(),
        ..Status::default()
    };
    fixed.links.members_max = u64::from(config.member_links_max);
    fixed.links.clients_max = u64::from(config.client_links_max);
    fixed.store.budget_bytes = config.store_bytes;
    fixed.pledge.sector_bytes = site.plot().file_bytes();
    let started = Instant::now();
    Arc::new(move || {
        let mut status = fixed.clone();
        status.uptime_s = started.elapsed().as_secs();
        status.processor_ms = processor_ms();
        fill_links(&mut status, &relay);
        fill_members(&mut status, &relay, &network);
        fill_discovery(&mut status, &discovery);
        status.pledge.complete = progress.complete.load(Ordering::Relaxed);
        status.pledge.wanted = progress.wanted.load(Ordering::Relaxed);
        let relay = relay.clone();
        Box::pin(async move {
            fill_store(&mut status, &relay).await;
            status
        })
    })
}

fn holds_source(relay: Handle) -> HoldsSource {
    Arc::new(move |ids| {
        let relay = relay.clone();
        Box::pin(async move {
            let asked = tokio::time::timeout(USAGE_WAIT, relay.holds(ids)).await;
            asked.ok().flatten()
        })
    })
}

fn standing_source(relay: Handle, network: Arc<Network>) -> StandingSource {
    Arc::new(move |prefix| {
        let (relay, network) = (relay.clone(), Arc::clone(&network));
        Box::pin(async move {
            let members = relay.gate.book.members();
            let ids = members.iter().flat_map(|members| members.iter());
            let ids = ids.map(|member| member.id().to_hex());
            let named: Vec<String> = ids.filter(|id| id.starts_with(&prefix)).collect();
            let node = match named.as_slice() {
                [one] => one.clone(),
                [] => return Err(format!("no member's id begins with {prefix}")),
                many => return Err(format!("{} members' ids begin with {prefix}", many.len())),
            };
            let id = NodeId::from_hex(&node).ok_or("not a node id")?;
            let known = relay.standing(id).await;
            let (score, judged) = known.ok_or("the relay is stopping")?;
            let score = score.unwrap_or_default();
            let last = network.scale.tick_start(score.at).0;
            Ok(Standing {
                node,
                share: (score.ranges > 0).then(|| score.share()),
                ranges: score.ranges,
                ranges_needed: limits::SWEEPS_BEFORE_JUDGED,
                missing: score.missing,
                last_ms: (score.ranges > 0).then_some(last),
                is_counted_on: !score.is_failed() && !judged.is_condemned(),
                network: NetworkStanding::of(&judged),
            })
        })
    })
}

fn drain_source(relay: Handle) -> DrainSource {
    Arc::new(move || {
        let relay = relay.clone();
        Box::pin(async move { relay.drain().await })
    })
}

/// Processor time of this process; 0 where the system does not tell.
fn processor_ms() -> u64 {
    let used = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID);
    used.map_or(0, |used| {
        u64::try_from(Duration::from(used).as_millis()).unwrap_or(u64::MAX)
    })
}

fn fill_links(status: &mut Status, relay: &Handle) {
    let (members, clients) = relay.endpoint.held_links();
    status.links.members = number(members);
    status.links.clients = number(clients);
    let counts = relay.endpoint.counts();
    status.reach.by_links = number(members);
    status.traffic = Traffic::of(counts, status.uptime_s);
    status.faults = counts.of(LinkCount::Fault);
    status.onions.forwarded = relay.gate.counts.forwarded.load(Ordering::Relaxed);
    status.onions.delivered = relay.gate.counts.delivered.load(Ordering::Relaxed);
    status.onions.rejected = relay.gate.counts.rejected.load(Ordering::Relaxed);
    let (median, compared) = relay.gate.clock_ahead_ms();
    status.clock.compared = number(compared);
    status.clock.offset_ms_median = (compared > 0).then_some(median);
    let refused = relay
        .tally
        .refused
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    status.refusals = refused
        .iter()
        .map(|(code, count)| (name_of(*code).to_owned(), *count))
        .collect();
}

fn fill_members(status: &mut Status, relay: &Handle, network: &Network) {
    let Some(members) = relay.gate.book.members() else {
        return;
    };
    let epoch = network.scale.epoch_of(relay.gate.clock.read().unix);
    status.members.known = number(members.len());
    status.members.hash = HEXLOWER.encode(members.hash());
    status.members.eligible = number(Eligible::of(network, &members, epoch).len());
}

async fn fill_store(status: &mut Status, relay: &Handle) {
    let asked = tokio::time::timeout(USAGE_WAIT, relay.usage()).await;
    let Ok(Some((usage, state))) = asked else {
        status.store.late = true;
        return;
    };
    status.held.envelopes = usage.envelopes;
    status.held.bytes = usage.bytes;
    status.held.mailboxes = usage.mailboxes;
    status.held.tombstones = usage.tombstones;
    status.held.cards = usage.cards;
    status.held.copies_unfinished = number(state.unfinished_copies);
    status.held.acknowledged = relay.tally.acknowledged.load(Ordering::Relaxed);
    status.held.expired = relay.tally.expired.load(Ordering::Relaxed);
    let (repair, sweeps, standing) = (state.repair, state.sweeps, state.standing);
    status.repair = Repair {
        away: number(repair.away),
        comparing: number(repair.comparing),
        lacking: number(repair.lacking),
        compared: repair.counts.compared,
        differed: repair.counts.differed,
        steps: repair.counts.steps,
        bytes: repair.counts.bytes,
        pushed: repair.counts.pushed,
        drained: repair.drained,
    };
    status.sweeps = Sweeps {
        opened: sweeps.opened,
        answered: sweeps.answered,
        equal: sweeps.equal,
        unequal: sweeps.unequal,
        silent: sweeps.silent,
        broken: sweeps.broken,
        missing: sweeps.missing,
        hashed: sweeps.hashed,
        bytes: sweeps.bytes,
        failed: number(state.failed),
    };
    status.watching = Watching {
        watched: standing.watched,
        testified: standing.testified,
        heard: standing.heard,
        reports: standing.reports,
        bytes: standing.bytes,
        absent: standing.absent,
        condemned: standing.condemned,
    };
    fill_pledge(&mut status.pledge, &state);
    status.readings.asked = state.readings.asked;
    status.readings.failed = state.readings.failed;
    status.store.used_bytes = usage.weight();
    status.store.damaged = usage.damaged;
    status.store.full = status.store.used_bytes >= status.store.budget_bytes;
}

fn fill_pledge(to: &mut Pledge, state: &RelayState) {
    let counts = state.pledge;
    *to = Pledge {
        class: state.pledge_class,
        answered: counts.answered,
        failed: counts.failed,
        declined: counts.declined,
        asked: counts.asked,
        shown: counts.shown,
        wrong: counts.wrong,
        silent: counts.silent,
        ..*to
    };
}

/// Writes what discovery knows into a status.
pub fn fill_discovery(status: &mut Status, discovery: &DiscoveryCommands) {
    let stats = discovery.stats();
    status.discovery.known = number(stats.known);
    status.discovery.connected = number(stats.connected);
    status.discovery.foreign = stats.foreign;
    status.discovery.subnet_full = stats.subnet_full;
    status.reach.by_discovery = number(stats.reached_by);
    status.reach.address = stats.confirmed.map(|addr| addr.to_string());
    if let Some(listening) = stats.listening.first() {
        status.listen = listening.to_string();
    }
    let reached_by = status.reach.by_discovery.max(status.reach.by_links);
    status.reach.verdict = Verdict::of(reached_by, status.discovery.known, status.uptime_s);
}

fn number(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// How often the clock is compared with others': soon after a step, and a median costs microseconds.
const CLOCK_PAUSE: Duration = Duration::from_secs(2);
/// How long a status waits for the store before it is told without.
const USAGE_WAIT: Duration = Duration::from_secs(2);
