//! An invitation: the text that one person hands another so that the other can write first ([INV-1]).
//!
//! It carries the account, the salt of its first-contact mailbox, the network, and up to three relays
//! to start from. Whoever has it can write a first letter and can recognise that mailbox, so it is for those
//! meant, not for a public page. It proves nothing about who handed it over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use swarm_proto::address::{AccountKey, BadAccountKey};
use swarm_proto::id::{NetworkId, NodeKey};
use swarm_proto::wire::codec::{Malformed, Reader, Writer};

/// What an invitation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Whom one may write to.
    pub account: AccountKey,
    /// The salt of their first-contact mailbox.
    pub salt: [u8; 32],
    /// The network they read in.
    pub network: NetworkId,
    /// Where to start, at most [`RELAYS_MAX`].
    pub relays: Vec<RelayAt>,
}

/// A relay and where it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayAt {
    /// Whom to expect there.
    pub key: NodeKey,
    /// UDP.
    pub at: SocketAddr,
}

/// Relays in one invitation.
pub const RELAYS_MAX: usize = 3;

impl Invitation {
    /// The text ([INV-1]). Relays beyond the third are left out.
    pub fn to_text(&self) -> String {
        let mut writer = Writer::with_capacity(98 + RELAYS_MAX * 51);
        let count = self.relays.len().min(RELAYS_MAX);
        writer
            .u8(VERSION)
            .put(self.account.as_bytes())
            .put(&self.salt)
            .put(&self.network.0)
            .u8(u8::try_from(count).unwrap_or(0));
        for relay in self.relays.iter().take(RELAYS_MAX) {
            writer.put(&relay.key.0);
            write_address(&mut writer, relay.at);
        }
        format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&writer.finish()))
    }

    /// Reads the text; white space around and inside it is ignored, since mail programs break long lines
    /// ([INV-1]).
    ///
    /// # Errors
    /// [`BadInvitation`] says which part is wrong.
    pub fn from_text(text: &str) -> Result<Self, BadInvitation> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(BadInvitation::TooLong);
        }
        let text: String = text.split_whitespace().collect();
        let coded = text.strip_prefix(PREFIX).ok_or(BadInvitation::Prefix)?;
        let bytes = BASE64URL_NOPAD
            .decode(coded.as_bytes())
            .map_err(|_| BadInvitation::Coding)?;
        let mut reader = Reader::new(Bytes::from(bytes));
        let version = reader.u8("version")?;
        if version != VERSION {
            return Err(BadInvitation::Version(version));
        }
        let account = AccountKey::from_bytes(&reader.array("account key")?)?;
        let salt = reader.array("salt")?;
        let network = NetworkId(reader.array("network id")?);
        let count = usize::from(reader.u8("number of relays")?);
        if count > RELAYS_MAX {
            return Err(reader.wrong("number of relays").into());
        }
        let mut relays = Vec::with_capacity(count);
        for _ in 0..count {
            relays.push(RelayAt {
                key: NodeKey(reader.array("node key")?),
                at: read_address(&mut reader)?,
            });
        }
        reader.end()?;
        Ok(Self {
            account,
            salt,
            network,
            relays,
        })
    }
}

/// Why a text is no invitation ([INV-1]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadInvitation {
    /// It does not start with `poste:invite/1/`.
    #[error("an invitation starts with {PREFIX}")]
    Prefix,
    /// More than any invitation has.
    #[error("the text is longer than any invitation")]
    TooLong,
    /// A character that cannot be in it, or one missing.
    #[error("the invitation has a wrong or missing character")]
    Coding,
    /// A version that this program does not know.
    #[error("the invitation has version {0}; this program knows version 1")]
    Version(u8),
    /// It was cut off or changed.
    #[error("the invitation is damaged: {0}")]
    Malformed(#[from] Malformed),
    /// Its account is unusable.
    #[error(transparent)]
    Account(#[from] BadAccountKey),
}

fn write_address(writer: &mut Writer, at: SocketAddr) {
    match at.ip() {
        IpAddr::V4(ip) => writer.u8(4).put(&ip.octets()).put(&[0; 12]),
        IpAddr::V6(ip) => writer.u8(6).put(&ip.octets()),
    };
    writer.u16(at.port());
}

fn read_address(reader: &mut Reader) -> Result<SocketAddr, Malformed> {
    let family = reader.u8("address family")?;
    let bytes: [u8; 16] = reader.array("address")?;
    let port = reader.u16("port")?;
    let ip = match (family, bytes) {
        (4, [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) => {
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        (6, bytes) => IpAddr::V6(Ipv6Addr::from(bytes)),
        _ => return Err(reader.wrong("address")),
    };
    Ok(SocketAddr::new(ip, port))
}

/// What every invitation starts with; the digit is the version of the text form.
const PREFIX: &str = "poste:invite/1/";
/// The version byte inside.
const VERSION: u8 = 1;
/// Characters of a text that is looked at: three times the longest invitation, for line breaks and quotes.
const TEXT_BYTES_MAX: usize = 1_100;

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_proto::address::Account;

    fn invitation() -> Invitation {
        let relay = |key, at: &str| RelayAt {
            key: NodeKey([key; 32]),
            at: at.parse().unwrap(),
        };
        Invitation {
            account: *Account::from_seed(&[1; 32]).key(),
            salt: [2; 32],
            network: NetworkId([3; 32]),
            relays: vec![
                relay(4, "127.16.0.1:4000"),
                relay(5, "[2001:db8::7]:65535"),
                relay(6, "203.0.113.9:1"),
            ],
        }
    }

    /// [INV-1].
    #[test]
    fn an_invitation_comes_back_even_from_broken_lines() {
        for count in 0..=RELAYS_MAX {
            let mut sent = invitation();
            sent.relays.truncate(count);
            let text = sent.to_text();
            assert_eq!(Invitation::from_text(&text).as_ref(), Ok(&sent));
            let broken = format!("  {}\r\n {}\n", &text[..40], &text[40..]);
            assert_eq!(Invitation::from_text(&broken), Ok(sent));
        }
    }

    /// [INV-1].
    #[test]
    fn each_wrong_part_is_named() {
        let text = invitation().to_text();
        let read = Invitation::from_text;
        assert_eq!(read(&text[6..]), Err(BadInvitation::Prefix));
        assert_eq!(read(""), Err(BadInvitation::Prefix));
        assert!(read(&text[..text.len() - 1]).is_err());
        assert_eq!(read(&format!("{text}=")), Err(BadInvitation::Coding));
        assert_eq!(read(&text.replace('A', "+")), Err(BadInvitation::Coding));
        assert!(matches!(
            read(&text[..text.len() - 4]),
            Err(BadInvitation::Malformed(_))
        ));
        assert!(matches!(
            read(&format!("{text}AAAA")),
            Err(BadInvitation::Malformed(_))
        ));
        assert_eq!(read(&"x".repeat(1_101)), Err(BadInvitation::TooLong));
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let coded = text.strip_prefix(PREFIX).unwrap();
            let mut bytes = BASE64URL_NOPAD.decode(coded.as_bytes()).unwrap();
            change(&mut bytes);
            read(&format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes)))
        };
        assert_eq!(with(&|b| b[0] = 2), Err(BadInvitation::Version(2)));
        assert!(
            matches!(with(&|b| b[97] = 4), Err(BadInvitation::Malformed(m)) if m.field == "number of relays")
        );
        assert!(
            matches!(with(&|b| b[130] = 5), Err(BadInvitation::Malformed(m)) if m.field == "address")
        );
        assert!(
            matches!(with(&|b| b[146] = 1), Err(BadInvitation::Malformed(m)) if m.field == "address")
        );
        let weak = with(&|b| {
            b[1..33].fill(0);
            b[1] = 1;
        });
        assert_eq!(weak, Err(BadInvitation::Account(BadAccountKey::SmallOrder)));
    }

    #[test]
    fn garbage_is_refused_and_whatever_is_taken_comes_back() {
        bolero::check!().with_iterations(4_000).for_each(|bytes| {
            let text = String::from_utf8_lossy(bytes);
            assert!(Invitation::from_text(&text).is_err() || text.contains(PREFIX));
            let coded = format!("{PREFIX}{}", BASE64URL_NOPAD.encode(bytes));
            if let Ok(taken) = Invitation::from_text(&coded) {
                assert_eq!(taken.to_text(), coded);
            }
        });
    }
}
