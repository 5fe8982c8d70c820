//! The network neighbourhood of an address: what a cap on links counts by.

use std::net::{IpAddr, SocketAddr};

/// A /24 of IPv4 or a /56 of IPv6: about what one household or one rented machine has ([LNK-6]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Subnet {
    family: u8,
    prefix: [u8; 7],
}

impl Subnet {
    pub(crate) fn of(addr: SocketAddr) -> Self {
        match addr.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Self {
                    family: 4,
                    prefix: [a, b, c, 0, 0, 0, 0],
                }
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, ..] = ip.octets();
                Self {
                    family: 6,
                    prefix: [a, b, c, d, e, f, g],
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(addr: &str) -> Subnet {
        Subnet::of(addr.parse().unwrap())
    }

    /// [LNK-6]
    #[test]
    fn neighbours_share_a_subnet_and_strangers_do_not() {
        assert!(subnet("192.0.2.1:1") == subnet("192.0.2.200:2"));
        assert!(subnet("192.0.2.1:1") != subnet("192.0.3.1:1"));
        assert!(subnet("[2001:db8:0:100::1]:1") == subnet("[2001:db8:0:1ff::2]:1"));
        assert!(subnet("[2001:db8:0:100::1]:1") != subnet("[2001:db8:0:200::1]:1"));
        assert!(subnet("[::ffff:192.0.2.1]:1") == subnet("192.0.2.9:1"));
    }
}
