//! Who may keep a link to us: two pools, a cap for each neighbourhood, and a pause for those at fault.
//!
//! Members have a pool of their own and everybody else another, so that a crowd of clients never costs
//! a relay its siblings ([LNK-5]). When a pool or a neighbourhood is full, its longest idle link makes
//! room; a link with an open stream never does ([LNK-6]). Links of relays can be found here by their key, since
//! this side uses them too ([LNK-12]).

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn::{Connection, VarInt};
use swarm_proto::id::NodeKey;
use tokio::time::Instant;

use crate::config::LinkConfig;
use crate::counts::{LinkCount, LinkCounts};
use crate::link::Link;
use crate::subnet::Subnet;

/// The links that others keep to one endpoint.
#[derive(Debug)]
pub(crate) struct Admission {
    config: LinkConfig,
    counts: Arc<LinkCounts>,
    tags: RandomState,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    held: BTreeMap<u64, Held>,
    /// Those of `held` that relays keep and that were greeted.
    greeted: BTreeMap<NodeKey, BTreeMap<u64, Link>>,
    handshakes: BTreeMap<Subnet, usize>,
    kept_out: BTreeMap<Blamed, Instant>,
}

#[derive(Debug)]
struct Held {
    pool: Pool,
    connection: Connection,
    activity: Arc<Activity>,
}

/// Which pool a link is counted in, and by what within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pool {
    Member(NodeKey),
    Guest(Subnet),
}

/// Whom a fault is held against: a key if one was proven, else the neighbourhood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Blamed {
    Key(NodeKey),
    Subnet(Subnet),
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    Full,
    KeptOut,
}

impl Admission {
    pub(crate) fn new(config: LinkConfig, counts: Arc<LinkCounts>) -> Self {
        Self {
            config,
            counts,
            tags: RandomState::new(),
            state: Mutex::default(),
        }
    }

    /// A place among the handshakes under way; `None` if that neighbourhood has too many.
    pub(crate) fn handshake(self: &Arc<Self>, addr: SocketAddr) -> Option<Handshake> {
        let subnet = Subnet::of(addr);
        let most = self.config.handshakes_per_subnet_max;
        let mut state = self.state();
        let under_way = state.handshakes.entry(subnet).or_default();
        if most != 0 && *under_way >= most {
            return None;
        }
        *under_way += 1;
        Some(Handshake {
            admission: Arc::clone(self),
            subnet,
        })
    }

    /// Gives a link its place; it is free again when the place is dropped.
    pub(crate) fn admit(
        self: &Arc<Self>,
        connection: &Connection,
        key: Option<NodeKey>,
        member: bool,
    ) -> Result<Place, NoPlace> {
        let subnet = Subnet::of(connection.remote_address());
        let pool = match key {
            Some(key) if member => Pool::Member(key),
            Some(_) | None => Pool::Guest(subnet),
        };
        let blamed = key.map_or(Blamed::Subnet(subnet), Blamed::Key);
        let mut state = self.state();
        let now = Instant::now();
        state.kept_out.retain(|_, until| *until > now);
        if state.kept_out.contains_key(&blamed) {
            return Err(NoPlace::KeptOut);
        }
        self.make_room(&mut state, pool)?;
        let id = state.next;
        state.next = state.next.wrapping_add(1);
        let activity = Arc::new(Activity::default());
        state.held.insert(
            id,
            Held {
                pool,
                connection: connection.clone(),
                activity: Arc::clone(&activity),
            },
        );
        Ok(Place {
            admission: Arc::clone(self),
            id,
            subnet_tag: self.tags.hash_one(subnet),
            blamed,
            activity,
        })
    }

    /// The newest link that this relay keeps to us and that may be used.
    pub(crate) fn link_from(&self, key: &NodeKey) -> Option<Link> {
        let state = self.state();
        let greeted = state.greeted.get(key)?;
        greeted.values().rev().find(|link| link.is_open()).cloned()
    }

    /// Whether that peer is kept out at this moment.
    pub(crate) fn is_kept_out(&self, blamed: Blamed) -> bool {
        let until = self.state().kept_out.get(&blamed).copied();
        until.is_some_and(|until| until > Instant::now())
    }

    /// Links held in the pool of members and in the other one.
    pub(crate) fn held(&self) -> (usize, usize) {
        let state = self.state();
        let members = state.held.values().filter(|held| held.pool.is_member());
        let members = members.count();
        (members, state.held.len().saturating_sub(members))
    }

    /// Every link held, for tests that misuse one.
    #[cfg(test)]
    pub(crate) fn connections(&self) -> Vec<Connection> {
        let state = self.state();
        state
            .held
            .values()
            .map(|held| held.connection.clone())
            .collect()
    }

    fn make_room(&self, state: &mut State, newcomer: Pool) -> Result<(), NoPlace> {
        let (own_max, pool_max) = match newcomer {
            Pool::Member(_) => (
                self.config.links_per_member_max,
                self.config.member_links_max,
            ),
            Pool::Guest(_) => (
                self.config.client_links_per_subnet_max,
                self.config.client_links_max,
            ),
        };
        self.room_among(state, own_max, |pool| pool == newcomer)?;
        self.room_among(state, pool_max, |pool| {
            pool.is_member() == newcomer.is_member()
        })
    }

    fn room_among(
        &self,
        state: &mut State,
        most: usize,
        same: impl Fn(Pool) -> bool,
    ) -> Result<(), NoPlace> {
        let like = || state.held.iter().filter(|(_, held)| same(held.pool));
        if most == 0 || like().count() < most {
            return Ok(());
        }
        let idle = like()
            .filter_map(|(id, held)| held.activity.idle_since().map(|since| (since, *id)))
            .min();
        let (_, id) = idle.ok_or(NoPlace::Full)?;
        if let Some(held) = state.held.remove(&id) {
            self.counts.one(LinkCount::MadeRoom);
            held.connection
                .close(VarInt::from_u32(0), b"room for another");
        }
        Ok(())
    }

    /// Keeps a peer out for a while.
    pub(crate) fn keep_out(&self, blamed: Blamed) {
        let mut state = self.state();
        if state.kept_out.len() >= KEPT_OUT_MAX {
            let first = state.kept_out.iter().min_by_key(|(_, until)| **until);
            if let Some(first) = first.map(|(blamed, _)| *blamed) {
                state.kept_out.remove(&first);
            }
        }
        let until = Instant::now() + self.config.fault_pause;
        state.kept_out.insert(blamed, until);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    fn is_member(self) -> bool {
        match self {
            Self::Member(_) => true,
            Self::Guest(_) => false,
        }
    }
}

/// A handshake under way; ends when dropped.
#[derive(Debug)]
pub(crate) struct Handshake {
    admission: Arc<Admission>,
    subnet: Subnet,
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut state = self.admission.state();
        if let Some(under_way) = state.handshakes.get_mut(&self.subnet) {
            *under_way = under_way.saturating_sub(1);
            if *under_way == 0 {
                state.handshakes.remove(&self.subnet);
            }
        }
    }
}

/// A link's place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    id: u64,
    subnet_tag: u64,
    blamed: Blamed,
    activity: Arc<Activity>,
}

impl Place {
    /// Names the link for as long as it is open, and never again.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Stands for the neighbourhood; the same for two links of one, and meaningless elsewhere.
    pub(crate) fn subnet_tag(&self) -> u64 {
        self.subnet_tag
    }

    /// Whom faults on this link are held against.
    pub(crate) fn blamed(&self) -> Blamed {
        self.blamed
    }

    /// Streams of this link, whoever opens them.
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// From now on this side may use the link too; it was greeted.
    pub(crate) fn offer(&self, link: Link) {
        let mut state = self.admission.state();
        state
            .greeted
            .entry(link.node_key())
            .or_default()
            .insert(self.id, link);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.admission.state();
        state.held.remove(&self.id);
        let Blamed::Key(key) = self.blamed else {
            return;
        };
        if let Some(greeted) = state.greeted.get_mut(&key) {
            greeted.remove(&self.id);
            if greeted.is_empty() {
                state.greeted.remove(&key);
            }
        }
    }
}

/// Whether streams are open on a link, and since when none is.
#[derive(Debug)]
pub(crate) struct Activity {
    open: AtomicUsize,
    since: Mutex<Instant>,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            open: AtomicUsize::new(0),
            since: Mutex::new(Instant::now()),
        }
    }
}

impl Activity {
    /// Marks a stream as open until the mark is dropped.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.open.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// `None` while a stream is open.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        (self.open.load(Ordering::Relaxed) == 0).then_some(since)
    }
}

/// A stream is open on a link.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut since = self.0.since.lock().unwrap_or_else(PoisonError::into_inner);
        *since = Instant::now();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Peers kept out at once; the one whose pause ends first is let in early.
const KEPT_OUT_MAX: usize = 1_024;
