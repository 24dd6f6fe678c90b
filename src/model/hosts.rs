//! Hosts that a credential may be sent to.

use serde::{Deserialize, Serialize};
use url::Url;

/// A set of `host` or `host:port`, where a leading `*.` stands for any subdomain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// Patterns as written, compared in lower case.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Self {
        let mut hosts: Vec<String> =
            patterns.into_iter().map(|host| host.as_ref().to_ascii_lowercase()).collect();
        hosts.sort();
        hosts.dedup();
        Self(hosts)
    }

    /// The patterns, in lower case and in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a credential may be sent to this URL.
    ///
    /// A pattern without a port means the scheme's default port: a token for `api.example.com` is
    /// not for other services on that machine.
    pub fn admit(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        self.iter().any(|pattern| {
            let (name, port) = split_port(pattern);
            let port_fits = match port {
                Some(port) => url.port_or_known_default() == Some(port),
                None => url.port().is_none(),
            };
            port_fits
                && match name.strip_prefix("*.") {
                    Some(suffix) => host
                        .strip_suffix(suffix)
                        .is_some_and(|front| front.len() > 1 && front.ends_with('.')),
                    None => host == name,
                }
        })
    }

    /// Whether `wider` has every pattern of this set.
    pub fn is_subset(&self, wider: &Hosts) -> bool {
        self.iter().all(|host| wider.0.iter().any(|known| known == host))
    }
}

fn split_port(pattern: &str) -> (&str, Option<u16>) {
    match pattern.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && !name.ends_with(':') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (pattern, None),
        },
        _ => (pattern, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(pattern: &str, url: &str) -> bool {
        Hosts::new([pattern]).admit(&Url::parse(url).expect("a URL"))
    }

    #[test]
    fn a_host_admits_itself_on_its_default_port_only() {
        assert!(admit("api.example.com", "https://api.example.com/x"));
        assert!(!admit("api.example.com", "https://api.example.com:8443/x"));
        assert!(!admit("api.example.com", "https://api.example.com.evil.com/x"));
        assert!(!admit("api.example.com", "https://evil.com/api.example.com"));
        assert!(!admit("api.example.com", "https://api.example.com@evil.com/"));
    }

    #[test]
    fn a_port_is_part_of_the_pattern() {
        assert!(admit("127.0.0.1:9000", "http://127.0.0.1:9000/x"));
        assert!(!admit("127.0.0.1:9000", "http://127.0.0.1:9001/x"));
        assert!(admit("[::1]:9000", "http://[::1]:9000/x"));
    }

    #[test]
    fn a_star_stands_for_subdomains_and_not_for_the_domain() {
        assert!(admit("*.googleapis.com", "https://gmail.googleapis.com/x"));
        assert!(admit("*.googleapis.com", "https://a.b.googleapis.com/x"));
        assert!(!admit("*.googleapis.com", "https://googleapis.com/x"));
        assert!(!admit("*.googleapis.com", "https://evilgoogleapis.com/x"));
        assert!(!admit("*.googleapis.com", "https://.googleapis.com/x"));
    }
}
