//! Classifies IP addresses for the outbound policy. Pure.
//!
//! Sources: RFC 6890 and the IANA special-purpose registries; the transition mechanisms of RFC 6052
//! (NAT64), RFC 3056 (6to4) and RFC 4380 (Teredo), each of which carries an IPv4 address that would
//! otherwise slip past a check of the IPv6 one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A block of addresses, e.g. `10.1.0.0/16`; a lone address is a block of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

/// A text that is no block of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a block of addresses like `10.1.0.0/16`")]
pub struct CidrError(String);

impl Cidr {
    /// Whether the block is larger than `10.0.0.0/8` or `fc00::/7`, the largest private networks
    /// (RFC 1918, RFC 4193).
    pub fn is_wider_than_a_network(&self) -> bool {
        self.prefix < if self.network.is_ipv4() { 8 } else { 7 }
    }

    /// Whether the block is larger than a /28, or a /120 of IPv6: more addresses than the proxies
    /// in front of one server are likely to have.
    pub fn is_wider_than_proxies(&self) -> bool {
        self.prefix < if self.network.is_ipv4() { 28 } else { 120 }
    }

    /// Whether the block contains this address. An IPv4 block contains no IPv6 address, not even an
    /// IPv4-mapped one.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let kept = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                network.to_bits() & kept == address.to_bits() & kept
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let kept = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                network.to_bits() & kept == address.to_bits() & kept
            }
            _ => false,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let wrong = || CidrError(text.into());
        let (network, prefix) = match text.split_once('/') {
            Some((network, prefix)) => (network, Some(prefix)),
            None => (text, None),
        };
        let network: IpAddr = network.trim().parse().map_err(|_| wrong())?;
        let most = if network.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.trim().parse().map_err(|_| wrong())?,
            None => most,
        };
        if prefix > most { Err(wrong()) } else { Ok(Self { network, prefix }) }
    }
}

/// Class of an address in the outbound policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Reachable from anywhere.
    Public,
    /// This machine or this network: loopback, private, shared (CGNAT), unique local.
    Private,
    /// 169.254/16 and fe80::/10: where clouds keep the metadata service that hands out the
    /// machine's own credentials.
    LinkLocal,
    /// No single machine's address: unspecified, multicast, broadcast, documentation, benchmarking.
    Special,
}

impl Class {
    /// Returns the class in words, for messages.
    pub fn words(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::Special => "reserved",
        }
    }
}

/// Returns the class of an address, or of the IPv4 address that it wraps.
pub fn classify(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

fn classify_v4(address: Ipv4Addr) -> Class {
    match address.octets() {
        [169, 254, ..] => Class::LinkLocal,
        [10 | 127, ..] | [192, 168, ..] | [172, 16..=31, ..] | [100, 64..=127, ..] => {
            Class::Private
        }
        // "this network" (connects to loopback on Linux), protocol assignments, documentation,
        // the retired 6to4 relay, benchmarking, multicast, reserved and broadcast.
        [0 | 224..=255, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Class::Special,
        _ => Class::Public,
    }
}

fn classify_v6(address: Ipv6Addr) -> Class {
    if address.is_loopback() {
        return Class::Private;
    }
    if address.is_unspecified() {
        return Class::Special;
    }
    match address.segments() {
        // IPv4-compatible, IPv4-mapped and NAT64 addresses end in the IPv4 address.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            classify_v4(embedded(high, low))
        }
        // Local-use NAT64 (RFC 8215): not public, even if it translates to a public address.
        [0x64, 0xff9b, 1, .., high, low] => worse(Class::Private, classify_v4(embedded(high, low))),
        // 6to4: the IPv4 address follows the prefix.
        [0x2002, high, low, ..] => classify_v4(embedded(high, low)),
        // Teredo: the server's address, and the client's with all bits inverted.
        [0x2001, 0, server_high, server_low, .., high, low] => worse(
            classify_v4(embedded(server_high, server_low)),
            classify_v4(embedded(!high, !low)),
        ),
        [0xfe80..=0xfebf, ..] => Class::LinkLocal,
        // Unique local, and the site-local addresses that it replaced.
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Class::Private,
        // Multicast; discard-only; benchmarking; ORCHID and documentation; documentation.
        [0xff00..=0xffff, ..]
        | [0x100, 0, 0, 0, ..]
        | [0x2001, 2, 0, ..]
        | [0x2001, 0x10..=0x2f | 0xdb8, ..]
        | [0x3fff, 0..=0xfff, ..] => Class::Special,
        _ => Class::Public,
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

/// Returns the class that more rules refuse.
fn worse(a: Class, b: Class) -> Class {
    let rank = |class| match class {
        Class::Public => 0,
        Class::Private => 1,
        Class::Special => 2,
        Class::LinkLocal => 3,
    };
    if rank(a) >= rank(b) { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_its_class() {
        use Class::{LinkLocal, Private, Public, Special};
        let table = [
            ("1.1.1.1", Public),
            ("93.184.216.34", Public),
            ("172.15.0.1", Public),
            ("172.32.0.1", Public),
            ("100.63.0.1", Public),
            ("100.128.0.1", Public),
            ("127.0.0.1", Private),
            ("127.255.255.254", Private),
            ("10.0.0.1", Private),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("192.168.1.1", Private),
            ("100.64.0.1", Private),
            ("169.254.169.254", LinkLocal),
            ("169.254.0.1", LinkLocal),
            ("0.0.0.0", Special),
            ("0.1.2.3", Special),
            ("192.0.0.8", Special),
            ("192.0.2.1", Special),
            ("192.88.99.1", Special),
            ("198.18.0.1", Special),
            ("198.51.100.1", Special),
            ("203.0.113.1", Special),
            ("224.0.0.1", Special),
            ("240.0.0.1", Special),
            ("255.255.255.255", Special),
            ("2606:4700:4700::1111", Public),
            ("::1", Private),
            ("::", Special),
            ("::127.0.0.1", Private),
            ("::ffff:127.0.0.1", Private),
            ("::ffff:169.254.169.254", LinkLocal),
            ("::ffff:8.8.8.8", Public),
            ("64:ff9b::a9fe:a9fe", LinkLocal),
            ("64:ff9b::10.0.0.1", Private),
            ("64:ff9b::8.8.8.8", Public),
            ("64:ff9b:1::8.8.8.8", Private),
            ("64:ff9b:1::169.254.169.254", LinkLocal),
            ("2002:7f00:1::", Private),
            ("2002:a9fe:a9fe::1", LinkLocal),
            ("2002:808:808::1", Public),
            // Teredo with the server 65.54.227.120 and the client 127.0.0.1, then 192.0.2.45.
            ("2001:0:4136:e378:8000:63bf:80ff:fffe", Private),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", Special),
            ("2001:0:a9fe:a9fe:8000:63bf:f7f7:f7f7", LinkLocal),
            ("fe80::1", LinkLocal),
            ("febf::1", LinkLocal),
            ("fc00::1", Private),
            ("fd00:ec2::254", Private),
            ("fec0::1", Private),
            ("ff02::1", Special),
            ("100::1", Special),
            ("2001:2::1", Special),
            ("2001:db8::1", Special),
            ("3fff::1", Special),
        ];
        for (address, class) in table {
            let parsed: IpAddr = address.parse().expect("an address");
            assert_eq!(classify(parsed), class, "{address}");
        }
    }

    #[test]
    fn a_block_contains_its_addresses_and_no_others() {
        let block: Cidr = "10.1.0.0/16".parse().expect("a block");
        assert!(block.contains("10.1.255.255".parse().expect("an address")));
        assert!(!block.contains("10.2.0.0".parse().expect("an address")));
        assert!(!block.contains("::ffff:10.1.0.1".parse().expect("an address")));
        let all: Cidr = "::/0".parse().expect("a block");
        assert!(all.contains("fd00::1".parse().expect("an address")));
        let one: Cidr = "127.0.0.1".parse().expect("a block");
        assert!(!one.contains("127.0.0.2".parse().expect("an address")));
        for wrong in ["", "10.0.0.0/33", "10.0.0.0/", "ten/8", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
    }
}
