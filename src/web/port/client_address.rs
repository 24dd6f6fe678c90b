//! The client's address, as far as limits need it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, HeaderName};

use crate::net::Cidr;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// RFC 7239 §4. Only its presence counts, not its addresses: both headers may say the same.
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");

/// Returns the nearest address that is not one of our proxies; for IPv6, its network.
///
/// `X-Forwarded-For` is read from its end, where our own proxies write: the part before that comes
/// from the client.
pub(in crate::web) fn client_address(
    extensions: &Extensions,
    headers: &HeaderMap,
    proxies: &[Cidr],
) -> IpAddr {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    // All requests without a known peer share one limit.
    let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).to_canonical();
    client_network(nearest(peer, headers, proxies))
}

/// Returns the peer if it forwards for a client and is not a trusted proxy.
pub(in crate::web) fn untrusted_proxy(
    extensions: &Extensions,
    headers: &HeaderMap,
    proxies: &[Cidr],
) -> Option<IpAddr> {
    let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
    let peer = peer.ip().to_canonical();
    let forwards = headers.contains_key(FORWARDED_FOR) || headers.contains_key(FORWARDED);
    (forwards && !proxies.iter().any(|block| block.contains(peer))).then_some(peer)
}

/// The network that counts as one client. A customer of IPv6 has more addresses than can be
/// counted, and up to 2^16 networks of them: a /48 (RFC 6177 §2).
pub(in crate::web) fn client_network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 80)))
        }
    }
}

fn nearest(peer: IpAddr, headers: &HeaderMap, proxies: &[Cidr]) -> IpAddr {
    let is_ours = |address: IpAddr| proxies.iter().any(|block| block.contains(address));
    let mut nearest = peer;
    let values = headers.get_all(FORWARDED_FOR).iter().map(|value| value.to_str().unwrap_or("?"));
    let hops: Vec<&str> = values.flat_map(|value| value.split(',')).collect();
    for hop in hops.into_iter().rev() {
        if !is_ours(nearest) {
            break;
        }
        let Some(before) = hop_address(hop.trim()) else { break };
        nearest = before;
    }
    nearest
}

/// An address, with or without a port.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let address = hop.parse().or_else(|_| hop.parse::<SocketAddr>().map(|hop| hop.ip()));
    Some(address.ok()?.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_what_our_own_proxies_wrote_counts() {
        let proxies = ["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
        let seen = |peer: &str, forwarded: &[&'static str]| {
            let headers = forwarded
                .iter()
                .map(|value| (FORWARDED_FOR, HeaderValue::from_static(value)))
                .collect();
            nearest(peer.parse().unwrap(), &headers, &proxies).to_string()
        };
        assert_eq!(seen("192.0.2.1", &["198.51.100.1"]), "192.0.2.1", "no proxy of ours");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(seen("::1", &["192.0.2.9, 198.51.100.1 ,10.1.1.1"]), "198.51.100.1");
        assert_eq!(seen("10.0.0.1", &["192.0.2.9", "198.51.100.1"]), "198.51.100.1");
        assert_eq!(seen("10.0.0.1", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(seen("10.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(seen("10.0.0.1", &["198.51.100.1, unknown"]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["::ffff:198.51.100.1"]), "198.51.100.1");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let of = |text: &str| client_network(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1:2:3:4:5"), of("2001:db8::"));
        assert_ne!(of("2001:db8:1::"), of("2001:db8:2::"));
    }
}
