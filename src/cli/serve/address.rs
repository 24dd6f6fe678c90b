//! The argument of `--sse`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// Address to listen on; without a host, on this machine only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Address(pub(in crate::cli) SocketAddr);

/// Why the text is not an address to listen on, and the correct form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum NoAddress {
    #[error(
        "a port alone needs a colon before it: `:{0}` listens on this machine, `0.0.0.0:{0}` on all its addresses"
    )]
    PortAlone(u16),
    #[error("the port is missing: write it behind a colon, e.g. `:8080` or `127.0.0.1:8080`")]
    NoPort,
    #[error("`--sse` takes host and port without a scheme or path, e.g. `127.0.0.1:8080`")]
    Url,
    #[error(
        "the host is an IP address or `localhost`, e.g. `:8080`, `0.0.0.0:8080` or `[::1]:8080`; a name goes into `public_url` of [server]"
    )]
    HostName,
    #[error("a port is a number from 0 to 65535, e.g. `:8080`; 0 takes a free one")]
    Port,
}

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let local = |port: &str| {
            let port = port.parse().map_err(|_| NoAddress::Port)?;
            Ok(Self(SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
        };
        let port = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':'));
        // `::1` is an address and no port.
        if let Some(port) = port.filter(|port| !port.contains(':')) {
            return local(port);
        }
        text.parse().map(Self).map_err(|_| {
            let is_ip = text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
            match text.rsplit_once(':') {
                _ if text.contains('/') => NoAddress::Url,
                None => text.parse().map_or(NoAddress::NoPort, NoAddress::PortAlone),
                Some(_) if is_ip => NoAddress::NoPort,
                Some((host, _)) if host.trim_matches(['[', ']']).parse::<IpAddr>().is_err() => {
                    NoAddress::HostName
                }
                Some(_) => NoAddress::Port,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_host_it_is_this_machine() {
        for (text, address) in [
            (":8080", "127.0.0.1:8080"),
            ("localhost:0", "127.0.0.1:0"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:8080", "[::1]:8080"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().0.to_string(), address);
        }
        for (text, why) in [
            ("", NoAddress::NoPort),
            (":", NoAddress::Port),
            ("8080", NoAddress::PortAlone(8080)),
            ("host:80", NoAddress::HostName),
            (":65536", NoAddress::Port),
            ("10.0.0.7:http", NoAddress::Port),
            ("127.0.0.1", NoAddress::NoPort),
            ("::1", NoAddress::NoPort),
            ("[::1]", NoAddress::NoPort),
            ("http://127.0.0.1:80", NoAddress::Url),
        ] {
            assert_eq!(text.parse::<Address>(), Err(why), "{text}");
        }
    }
}
