//! Where a relay is reached, and which subnets that counts against.
//!
//! An address here is a network address; a mailbox's address is [`crate::address`]'s. Whether anybody
//! can reach it is not judged here. Layout: `docs/spec/formats.md`, "Member record".

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::wire::codec::{Malformed, Reader, Writer};

/// Bytes of an encoded address: family (1), address (16), port (2).
pub const ADDRESS_BYTES: usize = 19;

/// An IPv4 or IPv6 address with its port, fit to be connected to ([REC-4]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    ip: IpAddr,
    port: u16,
}

impl Address {
    /// Joins an IP address and a port. `None` for port 0, for an unspecified or multicast address and
    /// for IPv4 in the clothes of IPv6, which would count against another subnet ([REC-4]).
    pub fn new(ip: IpAddr, port: u16) -> Option<Self> {
        let mapped = match ip {
            IpAddr::V4(_) => false,
            IpAddr::V6(ip) => ip.to_ipv4_mapped().is_some(),
        };
        let fit = port != 0 && !ip.is_unspecified() && !ip.is_multicast() && !mapped;
        fit.then_some(Self { ip, port })
    }

    /// The IP address.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The UDP port of links.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is an IPv4 address.
    pub fn is_v4(&self) -> bool {
        self.ip.is_ipv4()
    }

    /// The /24 (IPv6: /48) that it lies in: usually one owner.
    pub fn subnet_small(&self) -> Subnet {
        match self.ip {
            IpAddr::V4(ip) => Subnet::of(&ip.octets(), 24),
            IpAddr::V6(ip) => Subnet::of(&ip.octets(), 48),
        }
    }

    /// The /16 (IPv6: /32) that it lies in: usually one provider.
    pub fn subnet_large(&self) -> Subnet {
        match self.ip {
            IpAddr::V4(ip) => Subnet::of(&ip.octets(), 16),
            IpAddr::V6(ip) => Subnet::of(&ip.octets(), 32),
        }
    }

    /// Reads [`ADDRESS_BYTES`]; `None` for the family 0, "no address".
    ///
    /// # Errors
    /// [`Malformed`] for an unknown family, bytes that must be zero and are not, or an address that
    /// [`Address::new`] refuses.
    pub fn decode(reader: &mut Reader) -> Result<Option<Self>, Malformed> {
        let family = reader.u8("address family")?;
        let bytes: [u8; 16] = reader.array("address")?;
        let port = reader.u16("address port")?;
        let [a, b, c, d, rest @ ..] = bytes;
        let ip = match family {
            0 if bytes == [0; 16] && port == 0 => return Ok(None),
            4 if rest == [0; 12] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            6 => IpAddr::V6(Ipv6Addr::from(bytes)),
            _ => return Err(reader.wrong("address")),
        };
        let address = Self::new(ip, port).ok_or_else(|| reader.wrong("address"))?;
        Ok(Some(address))
    }

    /// Writes [`ADDRESS_BYTES`]: this address, or "no address".
    pub fn encode(address: Option<&Self>, writer: &mut Writer) {
        let Some(address) = address else {
            writer.put(&[0; ADDRESS_BYTES]);
            return;
        };
        match address.ip {
            IpAddr::V4(ip) => writer.u8(4).put(&ip.octets()).put(&[0; 12]),
            IpAddr::V6(ip) => writer.u8(6).put(&ip.octets()),
        };
        writer.u16(address.port);
    }
}

impl From<Address> for SocketAddr {
    fn from(address: Address) -> Self {
        Self::new(address.ip, address.port)
    }
}

impl TryFrom<SocketAddr> for Address {
    type Error = Unfit;

    fn try_from(address: SocketAddr) -> Result<Self, Unfit> {
        Self::new(address.ip(), address.port()).ok_or(Unfit)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

/// A socket address that no relay can be reached at ([`Address::new`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no address that a relay can be reached at")]
pub struct Unfit;

/// A subnet, as a number: its prefix length and up to 48 bits of prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subnet(u64);

impl Subnet {
    /// The first `bits` (16, 24, 32 or 48) of an address.
    fn of(octets: &[u8], bits: u8) -> Self {
        let prefix = octets
            .iter()
            .take(usize::from(bits / 8))
            .fold(0_u64, |sum, octet| (sum << 8) | u64::from(*octet));
        Self((u64::from(bits) << 56) | prefix)
    }

    /// The length of its prefix in bits: 16 or 24 (IPv4), 32 or 48 (IPv6).
    pub fn bits(self) -> u8 {
        u8::try_from(self.0 >> 56).unwrap_or(0)
    }

    /// The subnet as eight bytes: prefix length, then the prefix, right-aligned.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// The subnet that [`Self::to_bytes`] gave; `None` for what it never gives.
    pub fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        let subnet = Self(u64::from_be_bytes(bytes));
        let bits = subnet.bits();
        let prefix = subnet.0 & 0x00ff_ffff_ffff_ffff;
        (matches!(bits, 16 | 24 | 32 | 48) && prefix >> bits == 0).then_some(subnet)
    }
}

impl fmt::Debug for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = self.0 & 0x00ff_ffff_ffff_ffff;
        write!(f, "Subnet({prefix:x}/{})", self.bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn address(text: &str) -> Option<Address> {
        text.parse::<SocketAddr>()
            .ok()
            .and_then(|address| Address::try_from(address).ok())
    }

    /// [REC-4]
    #[test]
    fn an_address_comes_back_and_one_that_nobody_can_reach_is_refused() {
        for text in ["192.0.2.7:4000", "[2001:db8:1:2::7]:65535", "127.16.0.1:1"] {
            let mut writer = Writer::default();
            Address::encode(address(text).as_ref(), &mut writer);
            let bytes = writer.finish();
            assert_eq!(bytes.len(), ADDRESS_BYTES);
            let again = Address::decode(&mut Reader::new(Bytes::from(bytes))).unwrap();
            assert_eq!(again, address(text));
            assert_eq!(alloc::format!("{}", again.unwrap()), text);
        }
        for text in [
            "192.0.2.7:0",
            "0.0.0.0:1",
            "224.0.0.1:1",
            "[::]:1",
            "[::ffff:192.0.2.7]:1",
            "[ff02::1]:1",
        ] {
            assert_eq!(address(text), None, "{text}");
        }
    }

    /// [REC-4]
    #[test]
    fn every_address_has_one_encoding() {
        let none = [0; ADDRESS_BYTES];
        assert_eq!(
            Address::decode(&mut Reader::new(Bytes::copy_from_slice(&none))),
            Ok(None)
        );
        for (at, value) in [(0, 4), (0, 5), (0, 6), (3, 1), (18, 1)] {
            let mut bytes = none;
            bytes[at] = value;
            assert!(Address::decode(&mut Reader::new(Bytes::copy_from_slice(&bytes))).is_err());
        }
        let mut padded = [0; ADDRESS_BYTES];
        padded[..5].copy_from_slice(&[4, 192, 0, 2, 7]);
        padded[18] = 1;
        assert!(Address::decode(&mut Reader::new(Bytes::copy_from_slice(&padded))).is_ok());
        padded[9] = 1;
        assert!(Address::decode(&mut Reader::new(Bytes::copy_from_slice(&padded))).is_err());
    }

    #[test]
    fn neighbours_share_a_subnet_and_families_never_do() {
        let at = |text: &str| address(text).unwrap();
        let (a, b, c) = (at("192.0.2.7:1"), at("192.0.2.250:9"), at("192.0.3.7:1"));
        assert_eq!(a.subnet_small(), b.subnet_small());
        assert_ne!(a.subnet_small(), c.subnet_small());
        let bytes = a.subnet_small().to_bytes();
        assert_eq!(Subnet::from_bytes(bytes), Some(a.subnet_small()));
        for wrong in [[0; 8], [24, 0, 0, 0, 1, 0, 0, 0], [25, 0, 0, 0, 0, 0, 0, 1]] {
            assert_eq!(Subnet::from_bytes(wrong), None);
        }
        assert_eq!(a.subnet_large(), c.subnet_large());
        let (d, e, f) = (
            at("[2001:db8:1:2::7]:1"),
            at("[2001:db8:1:3::7]:1"),
            at("[2001:db8:2::7]:1"),
        );
        assert_eq!(d.subnet_small(), e.subnet_small());
        assert_ne!(d.subnet_small(), f.subnet_small());
        assert_eq!(d.subnet_large(), f.subnet_large());
        assert_ne!(
            at("0.0.1.2:1").subnet_small(),
            at("[0:0:1::7]:1").subnet_small()
        );
    }
}
