//! A home that is open, with whom it belongs to and which network it writes in.
//!
//! Everything here works without the network; [`visit`] goes there on its behalf. What a caller was told
//! is durable.

pub mod failure;
mod pins;
pub mod road;
mod rosters;
pub mod visit;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use poste_link::network_file::NetworkFile;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use swarm_proto::address::AccountKey;
use swarm_proto::client::Source;
use swarm_proto::envelope::ExpiryClass;
use swarm_proto::id::{NodeKey, hex};
use swarm_proto::members::Address;
use swarm_proto::network::Network;
use swarm_proto::time::{Epoch, TimeScale, UnixTime};
use zeroize::Zeroizing;

pub use failure::{EXIT_USAGE, Failure};

use crate::account;
use crate::contacts::{self, Contact};
use crate::conversation::letter::{Content, Letter, LetterId};
use crate::home::{Change, Home, HomeError, Setting, Unlock, Work};
use crate::identity::{IDENTITY_KEY, Identity};
use crate::inbox::Received;
use crate::invitation::{Invitation, RELAYS_MAX, RelayAt};
use crate::outbox::Posted;
use poste_link::courier::unix_now;

/// An open home.
pub struct App {
    pub(crate) home: Home,
    pub(crate) identity: Identity,
    pub(crate) network: Arc<Network>,
    pub(crate) rng: ChaCha20Rng,
    file: NetworkFile,
}

/// What opens a home, owned.
pub enum Secret {
    /// A passphrase.
    Passphrase(Zeroizing<String>),
    /// What a key file holds.
    KeyFile(Zeroizing<[u8; 32]>),
}

impl Secret {
    fn unlock(&self) -> Unlock<'_> {
        match self {
            Self::Passphrase(passphrase) => Unlock::Passphrase(passphrase),
            Self::KeyFile(key) => Unlock::KeyFile(key),
        }
    }
}

impl App {
    /// Makes a home for a new account, or for the one of `seed`, in the network of a file, which is copied.
    ///
    /// # Errors
    /// [`Failure::Network`]; [`Failure::Home`], as [`HomeError::Exists`] if somebody lives there.
    pub fn create(
        folder: &Path,
        secret: &Secret,
        file: NetworkFile,
        seed: Option<&[u8; 32]>,
    ) -> Result<Self, Failure> {
        let home = create_home(folder, secret)?;
        let mut rng = rng()?;
        let copy = folder.join(NETWORK_FILE);
        file.write(&copy)
            .map_err(|source| Failure::Network { path: copy, source })?;
        let id = file.network.id();
        let identity = match seed {
            Some(seed) => Identity::restore(seed, id, &mut rng),
            None => Identity::draw(id, &mut rng),
        };
        // Letters to a restored account may lie in any epoch that relays keep.
        let birth = match seed {
            Some(_) => Epoch(0),
            None => file.network.scale.epoch_of(unix_now()),
        };
        home.change(|change| {
            change.put(&identity)?;
            put_number(change, BIRTH, u64::from(birth.0))
        })?;
        Ok(Self::of(home, identity, file, rng))
    }

    /// Opens the home in `folder`.
    ///
    /// # Errors
    /// [`Failure::Home`], [`Failure::Network`], [`Failure::ChangedNetwork`].
    pub fn open(folder: &Path, secret: &Secret) -> Result<Self, Failure> {
        let home = Home::open(folder, &secret.unlock())?;
        let identity = home.view()?.load::<Identity>(IDENTITY_KEY)?;
        let identity = identity.ok_or_else(|| HomeError::Missing(folder.to_owned()))?;
        let path = folder.join(NETWORK_FILE);
        let file = read_network(&path)?;
        if file.network.id() != identity.network {
            return Err(Failure::ChangedNetwork(path));
        }
        Ok(Self::of(home, identity, file, rng()?))
    }

    fn of(home: Home, identity: Identity, file: NetworkFile, rng: ChaCha20Rng) -> Self {
        Self {
            home,
            identity,
            network: Arc::new(file.network.clone()),
            rng,
            file,
        }
    }

    /// The account's id.
    pub fn account(&self) -> String {
        account::id_of(self.identity.account().key())
    }

    /// The 24 words.
    ///
    /// # Errors
    /// None that can happen.
    pub fn words(&self) -> Result<Zeroizing<String>, Failure> {
        Ok(account::words_of(self.identity.seed())?)
    }

    /// The invitation to hand out; always the same for one account and network file, so that two copies
    /// can be compared. Which founders it names depends on the account, so that not all name the same.
    pub fn invitation(&self) -> String {
        let founders = &self.file.founders;
        let [.., last] = self.identity.account().key().as_bytes();
        let start = usize::from(*last).checked_rem(founders.len()).unwrap_or(0);
        let turn = founders.iter().cycle().skip(start).take(founders.len());
        let relays: Vec<RelayAt> = turn
            .take(RELAYS_MAX)
            .map(|founder| RelayAt {
                key: founder.key,
                at: founder.addr,
            })
            .collect();
        self.identity.invitation(&relays).to_text()
    }

    /// The network's calendar.
    pub fn scale(&self) -> TimeScale {
        self.network.scale
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// All contacts.
    ///
    /// # Errors
    /// [`Failure::Home`].
    pub fn contacts(&self) -> Result<Vec<Contact>, Failure> {
        Ok(self.home.view()?.list::<Contact>()?.rows)
    }

    /// The contact of that name or account id.
    ///
    /// # Errors
    /// [`Failure::NoContact`].
    pub fn contact(&self, name: &str) -> Result<Contact, Failure> {
        let contacts = self.contacts()?;
        let account = account::account_of(name).ok();
        let found = contacts.into_iter().find(|contact| {
            contact.petname == name || account.is_some_and(|account| account == contact.account)
        });
        found.ok_or_else(|| Failure::NoContact(name.to_owned()))
    }

    /// Adds somebody by their invitation, or names somebody known by invitation or account id.
    ///
    /// # Errors
    /// [`Failure`] says what is wrong with the name or the invitation.
    pub fn add_contact(&mut self, name: &str, invitation: &str) -> Result<Contact, Failure> {
        if !contacts::is_petname(name) {
            return Err(Failure::Petname);
        }
        let mut known = self.contacts()?;
        let (account, invited) = if let Ok(account) = account::account_of(invitation) {
            (account, None)
        } else {
            let invited = Invitation::from_text(invitation)?;
            (invited.account, Some(invited))
        };
        let taken = |contact: &Contact| contact.petname == name && contact.account != account;
        if known.iter().any(taken) {
            return Err(Failure::NameTaken(name.to_owned()));
        }
        if account == *self.identity.account().key() {
            return Err(Failure::OwnAccount);
        }
        if let Some(invited) = &invited
            && invited.network != self.identity.network
        {
            return Err(Failure::OtherNetwork);
        }
        let at = known.iter().position(|contact| contact.account == account);
        let mut contact = match (at, &invited) {
            (Some(at), _) => known.swap_remove(at),
            (None, Some(invited)) => {
                let ours = contacts::draw_reach(&known, &mut self.rng);
                Contact::invited(account, name.to_owned(), invited.salt, ours)
            }
            (None, None) => return Err(Failure::NoContact(invitation.to_owned())),
        };
        name.clone_into(&mut contact.petname);
        contact.is_accepted = true;
        self.home.change(|change| {
            change.put(&contact)?;
            put_relays(
                change,
                invited.map_or_else(Vec::new, |invited| invited.relays),
            )
        })?;
        Ok(contact)
    }

    /// What people call an account here: its name, or its id.
    pub fn name_of(&self, contacts: &[Contact], account: &AccountKey) -> String {
        let contact = contacts.iter().find(|contact| contact.account == *account);
        contact
            .map(|contact| contact.petname.clone())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| account::id_of(account))
    }

    /// Puts letters to one contact into the outbox, all of them or none; durable when this returns.
    ///
    /// # Errors
    /// [`Failure::Letter`] if one cannot be sent, [`Failure::Home`].
    pub fn post(
        &mut self,
        to: &Contact,
        contents: Vec<Content>,
        expiry: ExpiryClass,
    ) -> Result<Vec<Posted>, Failure> {
        let now = unix_now();
        let mut posted = Vec::with_capacity(contents.len());
        for (nth, content) in (0_u64..).zip(contents) {
            // A millisecond apart, so that letters written together keep their order.
            let sent = UnixTime(now.0.saturating_add(nth));
            let id = LetterId(draw(&mut self.rng));
            let letter = Letter { id, sent, content };
            posted.push(Posted::new(to.account, letter, expiry)?);
        }
        self.home
            .change(|change| posted.iter().try_for_each(|posted| change.put(posted)))?;
        Ok(posted)
    }

    /// Everything in the outbox, the oldest first; what relays have dropped by now is marked.
    ///
    /// # Errors
    /// [`Failure::Home`].
    pub fn outbox(&self) -> Result<Vec<Posted>, Failure> {
        let hour = self.scale().hour_of(unix_now());
        let mut posted = self.home.view()?.list::<Posted>()?.rows;
        for one in &mut posted {
            one.expire(hour);
        }
        posted.sort_by_key(|posted| (posted.letter.sent, posted.letter.id));
        Ok(posted)
    }

    /// Everything in the inbox, the oldest first.
    ///
    /// # Errors
    /// [`Failure::Home`].
    pub fn inbox(&self) -> Result<Vec<Received>, Failure> {
        let mut received = self.home.view()?.list::<Received>()?.rows;
        received.sort_by_key(|one| (one.arrived, one.letter.sent, one.letter.id));
        Ok(received)
    }

    /// The letter whose id begins with `id`.
    ///
    /// # Errors
    /// [`Failure::NoLetter`], [`Failure::ManyLetters`].
    pub fn received(&self, id: &str) -> Result<Received, Failure> {
        let wanted = id.to_lowercase();
        let begins = |one: &Received| hex(&one.letter.id.0).starts_with(&wanted);
        let mut found: Vec<Received> = self.inbox()?.into_iter().filter(begins).collect();
        match (found.pop(), found.is_empty(), wanted.is_empty()) {
            (Some(one), true, false) => Ok(one),
            (Some(_), _, false) => Err(Failure::ManyLetters(id.to_owned())),
            (_, _, true) | (None, _, _) => Err(Failure::NoLetter(id.to_owned())),
        }
    }

    /// Notes that the user has seen a letter.
    ///
    /// # Errors
    /// [`Failure::Home`].
    pub fn mark_read(&self, received: &Received) -> Result<(), Failure> {
        let mut received = received.clone();
        received.is_read = true;
        Ok(self.home.change(|change| change.put(&received))?)
    }

    /// Relays that give the member list: founders, and those that invitations named.
    pub(crate) fn sources(&self) -> Result<Vec<Source>, Failure> {
        let mut sources = BTreeMap::new();
        for setting in self.home.view()?.list::<Setting>()?.rows {
            if let Some((key, addr)) = read_relay(&setting) {
                sources.insert(key, addr);
            }
        }
        // A founder is where the network file says.
        sources.extend(self.file.founders.iter().map(|one| (one.key, one.addr)));
        let source = |(key, addr): (NodeKey, SocketAddr)| {
            let address = Address::new(addr.ip(), addr.port())?;
            Some(Source { key, address })
        };
        Ok(sources.into_iter().filter_map(source).collect())
    }

    /// A number among the settings; 0 if it was never written.
    pub(crate) fn number(&self, name: &str) -> Result<u64, Failure> {
        let setting = self.home.view()?.load::<Setting>(name.as_bytes())?;
        let bytes = setting.and_then(|setting| <[u8; 8]>::try_from(&*setting.value).ok());
        Ok(bytes.map_or(0, u64::from_be_bytes))
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("App")
    }
}

/// Reads a network file.
///
/// # Errors
/// [`Failure::Network`] with its path.
pub fn read_network(path: &Path) -> Result<NetworkFile, Failure> {
    NetworkFile::read(path).map_err(|source| Failure::Network {
        path: path.to_owned(),
        source,
    })
}

/// A home without an identity is one whose making was cut off: it is taken up again.
fn create_home(folder: &Path, secret: &Secret) -> Result<Home, Failure> {
    match Home::create(folder, &secret.unlock(), Work::DEFAULT) {
        Err(HomeError::Exists(path)) => {
            let opened = Home::open(folder, &secret.unlock());
            let empty = opened.ok().filter(|home| {
                let identity = home
                    .view()
                    .and_then(|view| view.load::<Identity>(IDENTITY_KEY));
                matches!(identity, Ok(None))
            });
            empty.ok_or(Failure::Home(HomeError::Exists(path)))
        }
        other => Ok(other?),
    }
}

pub(crate) fn put_number(
    change: &mut Change<'_>,
    name: &str,
    number: u64,
) -> Result<(), HomeError> {
    change.put(&Setting {
        name: name.to_owned(),
        value: Bytes::copy_from_slice(&number.to_be_bytes()),
    })
}

fn put_relays(change: &mut Change<'_>, relays: Vec<RelayAt>) -> Result<(), HomeError> {
    let listing = change.list::<Setting>()?;
    let known = listing.rows.iter().filter(|row| read_relay(row).is_some());
    let room = RELAYS_KEPT_MAX.saturating_sub(known.count());
    for relay in relays.into_iter().take(room) {
        change.put(&Setting {
            name: format!("{RELAY}{}", relay.key.to_hex()),
            value: Bytes::from(relay.at.to_string()),
        })?;
    }
    Ok(())
}

fn read_relay(setting: &Setting) -> Option<(NodeKey, SocketAddr)> {
    let key = NodeKey::from_hex(setting.name.strip_prefix(RELAY)?)?;
    let addr = std::str::from_utf8(&setting.value).ok()?.parse().ok()?;
    Some((key, addr))
}

fn rng() -> Result<ChaCha20Rng, HomeError> {
    Ok(ChaCha20Rng::from_seed(crate::home::random()?))
}

fn draw<const N: usize>(rng: &mut ChaCha20Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rand_core::Rng::fill_bytes(rng, &mut bytes);
    bytes
}

/// Writes a letter's file durably; never over another one.
///
/// # Errors
/// [`Failure::File`].
pub fn write_new(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let failed = |source| Failure::File {
        path: path.to_owned(),
        source,
    };
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(failed)?;
    std::io::Write::write_all(&mut file, content).map_err(failed)?;
    file.sync_all().map_err(failed)
}

/// The oldest epoch that may have got letters since a visit at `then`.
pub(crate) fn epoch_before_grace(scale: TimeScale, then: UnixTime) -> Epoch {
    scale.epoch_of(then.minus(scale.minutes(LATE_MINUTES)))
}

/// The home's copy of the network file.
const NETWORK_FILE: &str = "network.toml";
/// Setting: the epoch in which the account was made; 0 if that is not known.
pub(crate) const BIRTH: &str = "birth";
/// Setting: when every mailbox was last read completely, in milliseconds.
pub(crate) const POLLED: &str = "polled";
/// Settings that begin so: a relay of an invitation.
const RELAY: &str = "relay ";
/// Relays of invitations that are remembered: many more than a look at the member list asks.
const RELAYS_KEPT_MAX: usize = 64;
/// An epoch is read until two hours after its end, and once after that: relays take letters for it half an hour
/// longer, and what only spares had is repaired within two intervals of an hour.
const LATE_MINUTES: u64 = 120;
