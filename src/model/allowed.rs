//! Host names and origins of `/mcp` besides the server's own: `allowed_hosts`, `allowed_origins`.

use url::{Host, Url};

/// The operator's allowlists, for a server whose callers carry their own credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    pub hosts: Vec<AllowedHost>,
    pub origins: Vec<AllowedOrigin>,
}

/// A host name that clients use inside a network, e.g. `countersign:8080`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    /// In lower case; an IPv6 address with its brackets.
    name: String,
    /// `None`: any port.
    port: Option<u16>,
}

/// An origin whose scripts may call (RFC 6454 §6.1), e.g. `https://chat.example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// In lower case.
    One(String),
    /// Every origin of a scheme that no web page has, e.g. `vscode-webview://*`: an editor gives
    /// each of its views a random host.
    Scheme(String),
}

/// An allowlist entry that is malformed or too broad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAllowed {
    #[error("this is no host name")]
    Host,
    #[error("this is no origin")]
    Origin,
    #[error("this would let the pages of every site call")]
    Everything,
}

impl AllowedHost {
    /// Reads `name` or `name:port`.
    ///
    /// # Errors
    /// [`BadAllowed::Everything`] for a `*`; [`BadAllowed::Host`] for other text that is not a host
    /// name with an optional port.
    pub fn parse(text: &str) -> Result<Self, BadAllowed> {
        if text.contains('*') {
            return Err(BadAllowed::Everything);
        }
        let (name, port) = split_port(text);
        let port = match port {
            Some(port) => Some(port.parse().map_err(|_| BadAllowed::Host)?),
            None => None,
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.[]:".contains(c);
        if name.is_empty() || !name.chars().all(is_plain) || Host::parse(name).is_err() {
            return Err(BadAllowed::Host);
        }
        Ok(Self { name: name.to_ascii_lowercase(), port })
    }

    /// Whether a `Host` header (RFC 9110 §7.2) names this host.
    pub fn is(&self, host: &str) -> bool {
        let (name, port) = split_port(host);
        let port_fits = match (self.port, port) {
            (None, port) => port.is_none_or(|port| port.parse::<u16>().is_ok()),
            (Some(own), Some(port)) => port.parse() == Ok(own),
            // A client leaves out the port that its scheme implies.
            (Some(own), None) => matches!(own, 80 | 443),
        };
        port_fits && self.name.eq_ignore_ascii_case(name)
    }
}

impl AllowedOrigin {
    /// Reads `scheme://host`, `scheme://host:port`, or `scheme://*` for a scheme other than the
    /// web's.
    ///
    /// # Errors
    /// [`BadAllowed::Everything`] for any other `*`; [`BadAllowed::Origin`] for text that is not an
    /// origin.
    pub fn parse(text: &str) -> Result<Self, BadAllowed> {
        if text == "*" {
            return Err(BadAllowed::Everything);
        }
        let (scheme, rest) = text.split_once("://").ok_or(BadAllowed::Origin)?;
        let scheme = scheme.to_ascii_lowercase();
        let is_web = matches!(&*scheme, "http" | "https" | "ws" | "wss" | "file");
        if rest == "*" {
            return if is_web { Err(BadAllowed::Everything) } else { Self::scheme(&scheme) };
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('*') {
            return Err(BadAllowed::Everything);
        }
        if rest.is_empty() || !rest.chars().all(|c| c.is_ascii_graphic() && !"/?#@\\,".contains(c))
        {
            return Err(BadAllowed::Origin);
        }
        if is_web {
            let url = Url::parse(text).map_err(|_| BadAllowed::Origin)?;
            // Serialized as browsers do it: without the scheme's default port.
            let origin = url.origin();
            return if origin.is_tuple() {
                Ok(Self::One(origin.ascii_serialization()))
            } else {
                Err(BadAllowed::Origin)
            };
        }
        Self::scheme(&scheme)?;
        Ok(Self::One(format!("{scheme}://{}", rest.to_ascii_lowercase())))
    }

    /// Checks the syntax of a scheme (RFC 3986 §3.1) and returns [`Self::Scheme`].
    fn scheme(scheme: &str) -> Result<Self, BadAllowed> {
        let is_fit = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        if is_fit { Ok(Self::Scheme(scheme.to_owned())) } else { Err(BadAllowed::Origin) }
    }

    /// Whether this entry allows the value of an `Origin` header.
    pub fn is(&self, origin: &str) -> bool {
        match self {
            Self::One(own) => own.eq_ignore_ascii_case(origin),
            Self::Scheme(own) => origin.split_once("://").is_some_and(|(scheme, rest)| {
                own.eq_ignore_ascii_case(scheme)
                    && !rest.is_empty()
                    && rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
            }),
        }
    }
}

/// Splits at the last colon, unless it stands inside the brackets of an IPv6 address.
fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_its_name_and_its_port_where_one_is_written() {
        let is = |written: &str, host: &str| AllowedHost::parse(written).unwrap().is(host);
        for host in ["countersign", "countersign:8080", "Countersign:1"] {
            assert!(is("countersign", host), "{host}");
        }
        for host in
            ["countersign.evil.example", "xcountersign", "countersign:", "countersign:x", ""]
        {
            assert!(!is("countersign", host), "{host}");
        }
        assert!(is("countersign:8080", "COUNTERSIGN:8080"));
        assert!(
            !is("countersign:8080", "countersign:8081") && !is("countersign:8080", "countersign")
        );
        assert!(is("tools.internal:443", "tools.internal"));
        assert!(is("[fd00::1]:8080", "[fd00::1]:8080") && is("[fd00::1]", "[fd00::1]:1"));
        for bad in ["", "*", "*:8080", "a b", "https://a", "a/b", "a:b", "a:70000", "a@b", ":80"] {
            assert!(AllowedHost::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_compared_whole() {
        let is = |written: &str, origin: &str| AllowedOrigin::parse(written).unwrap().is(origin);
        for (written, origin) in [
            ("https://chat.example.com", "https://chat.example.com"),
            ("https://chat.example.com:443/", "https://chat.example.com"),
            ("https://Chat.example.com:8443", "https://chat.example.com:8443"),
            ("http://localhost:6274", "http://localhost:6274"),
            ("chrome-extension://abc", "chrome-extension://abc"),
            ("vscode-webview://*", "vscode-webview://0f1e2d"),
        ] {
            assert!(is(written, origin), "{written} {origin}");
        }
        for other in [
            "http://chat.example.com",
            "https://chat.example.com:444",
            "https://chat.example.com.evil.example",
            "https://evil.example",
            "null",
            "",
        ] {
            assert!(!is("https://chat.example.com", other), "{other}");
        }
        for other in
            ["vscode-webview://", "vscode-webview2://a", "https://a", "vscode-webview://a, b"]
        {
            assert!(!is("vscode-webview://*", other), "{other}");
        }
        for bad in [
            "",
            "*",
            "null",
            "chat.example.com",
            "https://*",
            "https://*.example.com",
            "file://*",
            "https://a/b",
            "https://u@a",
            "https://",
            "chrome-extension://",
            "chrome-extension://a/b",
            "https://a b",
            "://a",
        ] {
            assert!(AllowedOrigin::parse(bad).is_err(), "{bad}");
        }
    }
}
