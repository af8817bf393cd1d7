//! Where a worker may connect to. The kernel can be told TCP ports, but no addresses: those are held against this list once
//! the source's name has been resolved, and the address that passed is the one that is connected to.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where clouds tell machines their secrets, to whoever asks from within.
const METADATA: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254))];

/// Networks and ports that sources may be in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Networks. Loopback and link-local addresses count only where a network of theirs is listed, not as part of a larger one.
    pub networks: Vec<IpNet>,
    /// Ports; empty: any.
    pub ports: Vec<u16>,
}

impl Default for Reach {
    /// The private networks (RFC 1918, RFC 4193), any port.
    fn default() -> Self {
        let network = |address: [u8; 4], length| IpNet::new_assert(Ipv4Addr::from(address).into(), length);
        let unique_local = IpNet::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0).into(), 7);
        let networks =
            vec![network([10, 0, 0, 0], 8), network([172, 16, 0, 0], 12), network([192, 168, 0, 0], 16), unique_local];
        Self { networks, ports: vec![] }
    }
}

impl Reach {
    /// The same with loopback addresses.
    pub fn with_loopback(mut self) -> Self {
        self.networks.extend([
            IpNet::new_assert(Ipv4Addr::new(127, 0, 0, 0).into(), 8),
            IpNet::new_assert(Ipv6Addr::LOCALHOST.into(), 128),
        ]);
        self
    }

    /// Those of `addresses` that may be connected to.
    ///
    /// # Errors
    /// If there is none: which rule the first one breaks, and the setting that says so.
    pub fn permitted(&self, addresses: &[SocketAddr]) -> Result<Vec<SocketAddr>, String> {
        let permitted: Vec<_> = addresses.iter().copied().filter(|address| self.check(*address).is_ok()).collect();
        match addresses.first() {
            Some(first) if permitted.is_empty() => self.check(*first).map(|()| permitted),
            _ => Ok(permitted),
        }
    }

    fn check(&self, address: SocketAddr) -> Result<(), String> {
        // An IPv4 address within IPv6 is the same machine.
        let (ip, port) = (address.ip().to_canonical(), address.port());
        if METADATA.contains(&ip) {
            return Err(format!("the source is at {ip}, where clouds keep secrets: never connected to"));
        }
        if !self.ports.is_empty() && !self.ports.contains(&port) {
            return Err(format!("the source is at port {port}, which sources.ports does not list"));
        }
        let is_special = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified() || is_link_local(ip);
        let holds = |network: &IpNet| {
            network.contains(&ip) && (!is_special(ip) || is_special(network.network()) && network.prefix_len() >= 8)
        };
        if self.networks.iter().any(holds) {
            return Ok(());
        }
        let what = match ip {
            ip if ip.is_loopback() || ip.is_unspecified() => "a loopback address",
            ip if is_link_local(ip) => "a link-local address",
            _ => "an address",
        };
        Err(format!("the source is at {ip}, {what} that sources.allow does not list: add its network there"))
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(networks: &[&str]) -> Reach {
        Reach { networks: networks.iter().map(|network| network.parse().unwrap()).collect(), ports: vec![] }
    }

    fn may(reach: &Reach, address: &str) -> bool {
        reach.check(address.parse().unwrap()).is_ok()
    }

    #[test]
    fn private_networks_are_open_and_nothing_else() {
        let reach = Reach::default();
        for open in ["10.1.2.3:554", "172.31.0.1:1", "192.168.1.10:80", "[fd12::1]:554", "[::ffff:192.168.1.10]:80"] {
            assert!(may(&reach, open), "{open}");
        }
        for closed in [
            "8.8.8.8:554",
            "172.32.0.1:1",
            "127.0.0.1:80",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
            "0.0.0.0:80",
            "169.254.1.1:80",
            "[fe80::1]:80",
            "[2001:db8::1]:80",
        ] {
            assert!(!may(&reach, closed), "{closed}");
        }
        assert!(may(&reach.with_loopback(), "127.0.0.53:80"));
    }

    #[test]
    fn what_is_special_is_listed_for_itself() {
        let everywhere = reach(&["0.0.0.0/0", "::/0"]);
        assert!(may(&everywhere, "8.8.8.8:1") && may(&everywhere, "[2001:db8::1]:1"));
        for closed in ["127.0.0.1:1", "[::1]:1", "169.254.7.7:1", "[fe80::1]:1", "0.0.0.0:1"] {
            assert!(!may(&everywhere, closed), "{closed}");
        }
        let local = reach(&["127.0.0.0/8", "169.254.0.0/16", "fe80::/10"]);
        assert!(may(&local, "127.0.0.1:1") && may(&local, "169.254.7.7:1") && may(&local, "[fe80::1]:1"));
    }

    #[test]
    fn metadata_is_never_reached() {
        let reach = reach(&["169.254.0.0/16", "169.254.169.254/32", "fd00::/8"]);
        for secret in ["169.254.169.254:80", "[::ffff:169.254.169.254]:80", "[fd00:ec2::254]:80"] {
            assert!(reach.check(secret.parse().unwrap()).unwrap_err().contains("never"), "{secret}");
        }
    }

    #[test]
    fn of_several_addresses_the_permitted_are_left() {
        let reach = Reach { ports: vec![80], ..Reach::default() };
        let addresses = ["8.8.8.8:80", "10.0.0.1:80"].map(|address| address.parse().unwrap());
        assert_eq!(reach.permitted(&addresses).unwrap(), [addresses[1]]);
        assert!(reach.permitted(&addresses[..1]).unwrap_err().contains("sources.allow"));
        assert!(reach.permitted(&["10.0.0.1:81".parse().unwrap()]).unwrap_err().contains("sources.ports"));
    }
}
