//! The argument of `--sse`.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// Where to listen; without a host, on this machine alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address(pub(super) SocketAddr);

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this is no address to listen on; write e.g. `:8080`, `127.0.0.1:0` or `[::1]:8080`")]
pub(super) struct NoAddress;

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let local = |port: &str| {
            let port = port.parse().map_err(|_| NoAddress)?;
            Ok(Self(SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
        };
        if let Some(port) = text.strip_prefix(':').or_else(|| text.strip_prefix("localhost:")) {
            return local(port);
        }
        text.parse().map(Self).map_err(|_| NoAddress)
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
        for text in ["", ":", "8080", "host:80", ":65536", "127.0.0.1", "http://127.0.0.1:80"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
