//! Who may send.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Networks that datagrams are taken from; empty: from everywhere.
///
/// It is the sender of the datagram that counts, not the agent address inside, which anybody can write
/// there. Neither is proof: UDP's sender can be made up as well, where the network lets that through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Vec<Network>);

impl AllowList {
    /// Networks of a list, each of which costs a datagram a nanosecond.
    pub const MAX: usize = 1_024;

    /// A list of networks.
    ///
    /// # Errors
    /// The first that is none, or that there are too many, for people.
    pub fn parse<S: AsRef<str>>(networks: &[S]) -> Result<Self, String> {
        if networks.len() > Self::MAX {
            return Err(format!(
                "{} networks are too many, give at most {}",
                networks.len(),
                Self::MAX
            ));
        }
        let networks = networks.iter().map(|text| text.as_ref().parse());
        networks.collect::<Result<_, _>>().map(Self)
    }

    /// Whether everybody may send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `sender` may.
    #[must_use]
    pub fn allows(&self, sender: IpAddr) -> bool {
        self.is_empty() || self.0.iter().any(|network| network.contains(sender))
    }
}

/// `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    /// The address in the upper bits of 128, zeros behind the prefix.
    bits: u128,
    mask: u128,
    is_v4: bool,
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        let (bits, is_v4) = upper_bits(address.to_canonical());
        is_v4 == self.is_v4 && bits & self.mask == self.bits
    }
}

fn upper_bits(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, true),
        IpAddr::V6(address) => (address.to_bits(), false),
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is no network; write 10.0.0.0/8, 2001:db8::/32 or one address");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |prefix| prefix.parse().map_err(|_| wrong()))?;
        if prefix > longest {
            return Err(wrong());
        }
        let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
        let (bits, is_v4) = upper_bits(address);
        let network = Self { bits, mask, is_v4 };
        if bits & !mask != 0 {
            let meant = Self {
                bits: bits & mask,
                ..network
            };
            return Err(format!("`{text}` names a host, its network is {meant}/{prefix}"));
        }
        Ok(network)
    }
}

/// Its address.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u32::try_from(self.bits >> 96) {
            Ok(bits) if self.is_v4 => std::net::Ipv4Addr::from_bits(bits).fmt(f),
            _ => std::net::Ipv6Addr::from_bits(self.bits).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(networks: &[&str], sender: &str) -> bool {
        AllowList::parse(networks)
            .unwrap()
            .allows(sender.parse().unwrap())
    }

    #[test]
    fn senders_are_told_by_their_network() {
        assert!(allows(&[], "192.0.2.1") && allows(&[], "2001:db8::1"));
        let some = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/33"];
        for sender in ["10.255.0.1", "192.0.2.7", "::ffff:10.0.0.1", "2001:db8:7fff::1"] {
            assert!(allows(&some, sender), "{sender}");
        }
        for sender in ["11.0.0.1", "192.0.2.8", "2001:db8:8000::1", "a00::1"] {
            assert!(!allows(&some, sender), "{sender}");
        }
        assert!(allows(&["0.0.0.0/0"], "1.2.3.4") && !allows(&["0.0.0.0/0"], "::1"));
        assert!(allows(&["::/0"], "::1") && !allows(&["::/0"], "1.2.3.4"));
    }

    #[test]
    fn what_is_no_network_is_said_so() {
        for text in [
            "",
            "10",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "::/129",
            "host",
            "10.0.0.0/8/8",
        ] {
            let error = AllowList::parse(&[text]).unwrap_err();
            assert!(error.contains("is no network"), "{text}: {error}");
        }
        let error = AllowList::parse(&["10.1.2.3/8"]).unwrap_err();
        assert_eq!(error, "`10.1.2.3/8` names a host, its network is 10.0.0.0/8");
        let error = AllowList::parse(&["2001:db8::1/32"]).unwrap_err();
        assert!(error.ends_with("its network is 2001:db8::/32"), "{error}");
        assert!(
            AllowList::parse(&vec!["::1"; 1_025])
                .unwrap_err()
                .contains("too many")
        );
    }
}
