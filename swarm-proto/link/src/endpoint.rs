//! One program's place on the network: a UDP socket that dials, and at a relay is served too.

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use quinn::crypto::{CryptoError, HmacKey};
use quinn::{
    Connection, ConnectionError, EndpointConfig, IdleTimeout, NoneTokenStore, TokioRuntime,
    TransportConfig, VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;
use rustls::pki_types::CertificateDer;
use swarm_proto::hash;
use swarm_proto::id::{NetworkId, NodeKey};
use swarm_proto::wire::frames::{FrameKind, Speaker, Way};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accept::{self, Host, Serve};
use crate::admission::Admission;
use crate::config::LinkConfig;
use crate::counts::{LinkCount, LinkCounts};
use crate::frame::read_frame;
use crate::hello::{ClockHeard, Greeting, Hello};
use crate::identity::{self, Identity, Proven};
use crate::link::{Hold, Link, Refused, code, send_frame};
use crate::socket::Metered;

/// A program's endpoint; handles are cheap and all mean the same one.
#[derive(Clone)]
pub struct Endpoint {
    pub(crate) quinn: quinn::Endpoint,
    pub(crate) shared: Arc<Shared>,
    dial: quinn::ClientConfig,
    speaker: Speaker,
    pub(crate) admission: Option<Arc<Admission>>,
    /// Serves what comes in on links that were dialled; gone when the endpoint is closed.
    host: Option<Weak<dyn Host>>,
}

/// What every task of an endpoint knows.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) greeting: Greeting,
    pub(crate) config: LinkConfig,
    pub(crate) counts: Arc<LinkCounts>,
    /// Keys that were proven to this side, where it dialled and where it was dialled.
    dialled: Arc<Proven>,
    accepted: Arc<Proven>,
    pub(crate) tracker: TaskTracker,
    pub(crate) cancel: CancellationToken,
}

impl Shared {
    /// Whether the handshake that a peer has just made brought a signature of its key, or it has none.
    pub(crate) fn is_full(&self, key: Option<&NodeKey>) -> bool {
        key.is_none_or(|key| self.accepted.take(key))
    }

    /// Counts a handshake with what it cost up to this moment, the end of the hello.
    pub(crate) fn count_handshake(&self, connection: &Connection, full: bool) {
        let stats = connection.stats();
        let (count, bytes_in, bytes_out) = if full {
            use LinkCount::{FullBytesIn, FullBytesOut, HandshakeFull};
            (HandshakeFull, FullBytesIn, FullBytesOut)
        } else {
            use LinkCount::{HandshakeResumed, ResumedBytesIn, ResumedBytesOut};
            (HandshakeResumed, ResumedBytesIn, ResumedBytesOut)
        };
        self.counts.one(count);
        self.counts.add_wide(bytes_in, stats.udp_rx.bytes);
        self.counts.add_wide(bytes_out, stats.udp_tx.bytes);
    }
}

impl Endpoint {
    /// A relay's endpoint on `socket` (see [`bind`]): it shows `identity` to everybody and hands what
    /// comes in to `serve`. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`EndpointFailure`].
    pub fn relay<S: Serve>(
        socket: UdpSocket,
        identity: &Identity,
        greeting: Greeting,
        config: LinkConfig,
        serve: Arc<S>,
    ) -> Result<Self, EndpointFailure> {
        let accepted = Arc::default();
        let crypto = identity
            .server_crypto(&accepted)
            .map_err(|failure| EndpointFailure::Crypto(failure.to_string()))?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        server
            .transport_config(Arc::new(transport(&config, (config.asks_per_link_max, 0))))
            .migration(true)
            .max_incoming(config.handshakes_max)
            .incoming_buffer_size(INCOMING_BYTES_MAX)
            .incoming_buffer_size_total(INCOMING_BYTES_TOTAL_MAX);
        let served = Some((server, accepted));
        let mut endpoint = Self::start(socket, Some(identity), served, greeting, config)?;
        let (admission, host) = accept::start(endpoint.quinn.clone(), &endpoint.shared, serve);
        endpoint.admission = Some(admission);
        endpoint.host = Some(host);
        Ok(endpoint)
    }

    /// A correspondent's endpoint on `socket`: it shows no key, serves nobody and leaves no trace by
    /// which two of its links could be joined. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`EndpointFailure`].
    pub fn client(
        socket: UdpSocket,
        greeting: Greeting,
        config: LinkConfig,
    ) -> Result<Self, EndpointFailure> {
        Self::start(socket, None, None, greeting, config)
    }

    /// Dials the relay `key` at `addr`, checks that it is that relay, and greets it.
    ///
    /// # Errors
    /// [`LinkFailure`].
    pub async fn link(&self, key: NodeKey, addr: SocketAddr) -> Result<Link, LinkFailure> {
        let linked = self.dial(key, addr).await;
        self.shared.counts.one(match &linked {
            Ok(_) => LinkCount::Dialled,
            Err(_) => LinkCount::DialFailed,
        });
        linked
    }

    /// What happened on this endpoint's links.
    pub fn counts(&self) -> &Arc<LinkCounts> {
        &self.shared.counts
    }

    /// Links open or opening, both ways.
    pub fn open_links(&self) -> usize {
        self.quinn.open_connections()
    }

    /// Links that others keep to this endpoint: those of members, and all others.
    pub fn held_links(&self) -> (usize, usize) {
        self.admission
            .as_ref()
            .map_or((0, 0), |admission| admission.held())
    }

    /// The socket's address.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.quinn.local_addr()
    }

    /// Moves to another socket, as after a change of network; links that were dialled stay.
    ///
    /// # Errors
    /// If the system does not take the socket; the old one stays then.
    pub fn rebind(&self, socket: UdpSocket) -> io::Result<()> {
        let socket = Metered::new(socket, &self.shared.counts)?;
        self.quinn.rebind_abstract(socket)
    }

    /// Closes every link and waits for the endpoint's tasks, at most a second.
    pub async fn close(&self) {
        self.shared.cancel.cancel();
        self.shared.tracker.close();
        self.quinn.close(VarInt::from_u32(0), b"closing");
        let quiet = async {
            self.shared.tracker.wait().await;
            self.quinn.wait_idle().await;
        };
        if timeout(CLOSE_WAIT, quiet).await.is_err() {
            tracing::debug!("links were still closing when the endpoint stopped waiting");
        }
    }

    fn start(
        socket: UdpSocket,
        identity: Option<&Identity>,
        served: Option<(quinn::ServerConfig, Arc<Proven>)>,
        greeting: Greeting,
        config: LinkConfig,
    ) -> Result<Self, EndpointFailure> {
        tune(&socket, config.socket_buffer_bytes);
        let (server, accepted) = served.unzip();
        let dialled = Arc::default();
        let crypto = identity::client_crypto(identity, config.tickets_max, &dialled)
            .map_err(|failure| EndpointFailure::Crypto(failure.to_string()))?;
        let mut dial = quinn::ClientConfig::new(Arc::new(crypto));
        // The relay that answers may open streams too, if this is one; a correspondent is asked by nobody.
        let streams = identity.map_or((0, 0), |_| {
            (config.asks_per_link_max, config.tells_per_link_max)
        });
        dial.transport_config(Arc::new(transport(&config, streams)));
        if identity.is_none() {
            dial.token_store(Arc::new(NoneTokenStore));
        }
        let endpoint_config = identity.map_or_else(EndpointConfig::default, lasting);
        let runtime = Arc::new(TokioRuntime);
        let counts = Arc::default();
        let socket = Metered::new(socket, &counts)?;
        Ok(Self {
            quinn: quinn::Endpoint::new_with_abstract_socket(
                endpoint_config,
                server,
                socket,
                runtime,
            )?,
            shared: Arc::new(Shared {
                greeting,
                config,
                counts,
                dialled,
                accepted: accepted.unwrap_or_default(),
                tracker: TaskTracker::new(),
                cancel: CancellationToken::new(),
            }),
            dial,
            speaker: match identity {
                Some(_) => Speaker::Relay,
                None => Speaker::Client,
            },
            admission: None,
            host: None,
        })
    }

    /// The link that this relay keeps to us, if there is one that may be used.
    pub(crate) fn link_from(&self, key: &NodeKey) -> Option<Link> {
        self.admission.as_ref()?.link_from(key)
    }

    async fn dial(&self, key: NodeKey, addr: SocketAddr) -> Result<Link, LinkFailure> {
        // What an earlier dial left behind that came to nothing after its handshake.
        let _stale = self.shared.dialled.take(&key);
        let connection = self.connect(key, addr).await?;
        let full = self.shared.dialled.take(&key);
        let wait = self.shared.config.handshake_wait;
        let link = timeout(wait, self.greet(connection, key))
            .await
            .map_err(|_late| LinkFailure::NoHello)??;
        self.shared.count_handshake(&link.connection, full);
        if let Some(host) = self.host.as_ref().and_then(Weak::upgrade) {
            host.serve(&link);
        }
        Ok(link)
    }

    /// The handshake alone.
    pub(crate) async fn connect(
        &self,
        key: NodeKey,
        addr: SocketAddr,
    ) -> Result<Connection, LinkFailure> {
        let name = identity::server_name(&key);
        let connecting = self
            .quinn
            .connect_with(self.dial.clone(), addr, &name)
            .map_err(|failure| LinkFailure::Undialable(failure.to_string()))?;
        let connection = timeout(self.shared.config.dial_wait, connecting)
            .await
            .map_err(|_late| LinkFailure::Unreachable)??;
        if peer_key(&connection) != Some(key) {
            return Err(LinkFailure::WrongKey);
        }
        Ok(connection)
    }

    async fn greet(&self, connection: Connection, key: NodeKey) -> Result<Link, LinkFailure> {
        let shared = &self.shared;
        let ours = Hello::of(&shared.greeting);
        let asked = Instant::now();
        let (send, mut receive) = connection.open_bi().await?;
        // A relay that turns us away closes the link meanwhile; the reason is read below.
        let hello = ours.frame();
        let _unsent = send_frame(send, &hello).await;
        shared.counts.sent(&hello);
        let answer = match read_frame(&mut receive, Speaker::Relay, Way::Answer).await {
            Ok(answer) => answer,
            Err(_fault) => {
                return Err(match connection.close_reason() {
                    Some(reason) => reason.into(),
                    None => LinkFailure::NoHello,
                });
            }
        };
        shared.counts.received(&answer);
        if answer.kind == FrameKind::Refusal {
            return Err(turned_away(Refused::read(answer.body).ok()));
        }
        let theirs = (answer.kind == FrameKind::Hello)
            .then(|| Hello::read(answer.body).ok())
            .flatten()
            .ok_or(LinkFailure::NoHello)?;
        if theirs.network != ours.network {
            return Err(LinkFailure::WrongNetwork {
                theirs: Some(theirs.network),
            });
        }
        let version = ours
            .versions
            .common(theirs.versions)
            .ok_or(LinkFailure::WrongVersion {
                theirs_highest: theirs.versions.highest,
            })?;
        let at = Instant::now();
        let half = at.duration_since(asked) / 2;
        Ok(Link {
            hold: Some(Arc::new(Hold(connection.clone()))),
            activity: Arc::default(),
            connection,
            counts: Arc::clone(&shared.counts),
            key,
            speaker: self.speaker,
            version,
            clock: ClockHeard {
                theirs: theirs.time.plus(half),
                at,
                error: half,
            },
            frame_wait: shared.config.frame_wait,
            silence_max: shared.config.silence_max,
        })
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("speaker", &self.speaker)
            .field("open_links", &self.open_links())
            .finish_non_exhaustive()
    }
}

/// Binds a UDP socket for an endpoint.
///
/// # Errors
/// If the system refuses the address.
pub fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::bind(addr)
}

/// The key that the other side proved; `None` if it showed none.
pub(crate) fn peer_key(connection: &Connection) -> Option<NodeKey> {
    let shown = connection.peer_identity()?;
    let shown = shown.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    match shown.as_slice() {
        [key] => identity::shown_key(key),
        _ => None,
    }
}

fn turned_away(refused: Option<Refused>) -> LinkFailure {
    match refused.map(|refused| (refused.code, refused.detail)) {
        Some((code::WRONG_NETWORK, _)) => LinkFailure::WrongNetwork { theirs: None },
        Some((code::WRONG_VERSION, highest)) => LinkFailure::WrongVersion {
            theirs_highest: u16::try_from(highest).unwrap_or(u16::MAX),
        },
        Some((code::BUSY, _)) => LinkFailure::Busy,
        Some(_) | None => LinkFailure::NoHello,
    }
}

/// `asks_max` and `tells_max` are what the other side may have open on such a link.
///
/// Datagrams stay at the 1,200 bytes that every path carries: to find out whether a path carries more takes ten
/// datagrams of up to 1,452 bytes, more than the whole handshake of a link over which a few small messages go.
fn transport(config: &LinkConfig, (asks_max, tells_max): (u32, u32)) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle_ms = u32::try_from(config.idle_max.as_millis()).unwrap_or(u32::MAX);
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(asks_max))
        .max_concurrent_uni_streams(VarInt::from_u32(tells_max))
        .mtu_discovery_config(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(LINK_WINDOW_BYTES))
        .send_window(u64::from(LINK_WINDOW_BYTES))
        .datagram_receive_buffer_size(None)
        .allow_spin(false)
        .keep_alive_interval(config.keep_alive)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle_ms))));
    transport
}

/// Connection ids and stateless resets that depend on the seed alone: after a restart a relay knows
/// the ids of its former links as its own and tells those peers at once that they are gone ([LNK-7]).
fn lasting(identity: &Identity) -> EndpointConfig {
    let reset_key = identity.reset_key();
    let id_key = reset_key
        .iter()
        .fold(0_u64, |key, byte| key.rotate_left(8) ^ u64::from(*byte));
    let mut config = EndpointConfig::new(Arc::new(ResetKey(reset_key)));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
    config
}

/// Larger buffers than the system's own keep a burst of large onions from being dropped in the kernel;
/// where the system refuses, the smaller ones do.
fn tune(socket: &UdpSocket, bytes: usize) {
    let socket = socket2::SockRef::from(socket);
    let tuned = socket
        .set_recv_buffer_size(bytes)
        .and_then(|()| socket.set_send_buffer_size(bytes));
    if let Err(failure) = tuned {
        tracing::debug!(%failure, "the socket keeps the system's buffers");
    }
}

/// Signs stateless resets with the one hash of the protocol.
struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, message: &[u8], signature: &mut [u8]) {
        hash::derive_into("poste link reset token", &[&self.0, message], signature);
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let mut expected = [0; 32];
        self.sign(message, &mut expected);
        let differing = expected
            .iter()
            .zip(signature)
            .fold(0, |differing, (a, b)| differing | (a ^ b));
        if differing == 0 && signature.len() == expected.len() {
            Ok(())
        } else {
            Err(CryptoError)
        }
    }
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointFailure {
    /// The socket cannot be used.
    #[error("the socket cannot be used: {0}")]
    Socket(#[from] io::Error),
    /// The TLS library refused the identity.
    #[error("the identity cannot be used: {0}")]
    Crypto(String),
}

/// Why there is no link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkFailure {
    /// The address cannot be dialled from here, or the endpoint is closed.
    #[error("cannot dial: {0}")]
    Undialable(String),
    /// Nothing answered.
    #[error("nothing answers there")]
    Unreachable,
    /// Somebody answered who is not the relay that was meant.
    #[error("the relay there has another key")]
    WrongKey,
    /// The relay belongs to another network.
    #[error("the relay belongs to another network{}", .theirs.map(|id| format!(" ({id})")).unwrap_or_default())]
    WrongNetwork {
        /// Which one, if it said so.
        theirs: Option<NetworkId>,
    },
    /// The relay speaks none of our versions.
    #[error("the relay speaks no version of ours; its highest is {theirs_highest}")]
    WrongVersion {
        /// The highest version that it speaks.
        theirs_highest: u16,
    },
    /// The relay has no room, or keeps us out.
    #[error("the relay has no room for this link")]
    Busy,
    /// The relay did not greet as it must.
    #[error("the relay did not greet")]
    NoHello,
    /// The last dial failed a moment ago; the next waits a little.
    #[error("not dialled again so soon after a failure")]
    Pausing,
    /// The handshake or the link broke.
    #[error("the link broke: {0}")]
    Broken(ConnectionError),
}

impl From<ConnectionError> for LinkFailure {
    fn from(reason: ConnectionError) -> Self {
        match &reason {
            ConnectionError::TimedOut => Self::Unreachable,
            ConnectionError::TransportError(error)
                if u64::from(error.code) == TLS_ACCESS_DENIED =>
            {
                Self::WrongKey
            }
            ConnectionError::ApplicationClosed(close)
                if close.error_code == VarInt::from_u32(u32::from(code::BUSY)) =>
            {
                Self::Busy
            }
            ConnectionError::ConnectionClosed(close)
                if u64::from(close.error_code) == QUIC_CONNECTION_REFUSED =>
            {
                Self::Busy
            }
            _ => Self::Broken(reason),
        }
    }
}

/// One stream's receive window: a large onion and its header flow without waiting for credit.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;

/// One link's receive and send window: what a peer that is not read, or does not read, can make us
/// hold.
const LINK_WINDOW_BYTES: u32 = 256 * 1024;

/// Bytes held for one link that is not yet taken in.
const INCOMING_BYTES_MAX: u64 = 16 * 1024;

/// Bytes held for all of them.
const INCOMING_BYTES_TOTAL_MAX: u64 = 1024 * 1024;

/// How long [`Endpoint::close`] waits.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// RFC 9001, section 4.8: 0x100 and the TLS alert, here *access denied*, which the pin raises.
const TLS_ACCESS_DENIED: u64 = 0x100 + 49;

/// RFC 9000, section 20.1: the server refuses a new connection.
const QUIC_CONNECTION_REFUSED: u64 = 0x2;

const _: () = {
    assert!(STREAM_WINDOW_BYTES as usize > swarm_proto::limits::FRAME_BYTES_MAX + 6);
    assert!(LINK_WINDOW_BYTES >= 4 * STREAM_WINDOW_BYTES);
};
