//! Errors of outbound requests, which never quote a URL's query.

use std::error::Error as _;
use std::io;

use url::Url;

use super::resolve::ResolveError;

/// A request that got no usable response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{host}` {phase}")]
pub struct NetError {
    /// Host, with the port unless it is the scheme's own.
    pub host: String,
    pub phase: Phase,
}

/// Step at which the request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Phase {
    #[error("may not be reached: {0}")]
    Refused(String),
    #[error("cannot be found: {0}")]
    Resolve(String),
    #[error("cannot be connected to: {0}")]
    Connect(String),
    #[error("cannot be spoken to securely: {0}")]
    Tls(String),
    #[error("did not answer in time")]
    TimedOut,
    #[error("broke the connection off: {0}")]
    Broken(String),
    #[error("sent more than {cap} bytes")]
    TooLarge { cap: usize },
    #[error("sent what cannot be read as HTTP: {0}")]
    Garbled(String),
    #[error("cannot be called: {0}")]
    Client(String),
}

impl NetError {
    pub(super) fn new(host: String, phase: Phase) -> Self {
        Self { host, phase }
    }

    pub(super) fn from_reqwest(host: String, error: &reqwest::Error) -> Self {
        Self { host, phase: phase(error) }
    }

    /// Whether the request certainly never reached the other side.
    pub fn is_before_sending(&self) -> bool {
        match self.phase {
            Phase::Refused(_)
            | Phase::Resolve(_)
            | Phase::Connect(_)
            | Phase::Tls(_)
            | Phase::Client(_) => true,
            Phase::TimedOut | Phase::Broken(_) | Phase::TooLarge { .. } | Phase::Garbled(_) => {
                false
            }
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_passing(&self) -> bool {
        match self.phase {
            Phase::Resolve(_) | Phase::Connect(_) | Phase::TimedOut | Phase::Broken(_) => true,
            Phase::Refused(_)
            | Phase::Tls(_)
            | Phase::TooLarge { .. }
            | Phase::Garbled(_)
            | Phase::Client(_) => false,
        }
    }

    /// Returns what the operator can do about it, if that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match &self.phase {
            Phase::Refused(_) => Some(
                "write the host in tools.toml if it is meant to be called; `allow_private` in \
                 [server] lists private addresses that hosts learnt from outside may have",
            ),
            Phase::Resolve(_) => Some("check the host's spelling and this machine's DNS"),
            Phase::Connect(_) => {
                Some("check that the service runs and that a firewall lets us out")
            }
            // These are rustls' words for certificate faults.
            Phase::Tls(why) if why.contains("UnknownIssuer") => Some(
                "its certificate is from an authority that this machine does not know: install the authority's certificate, or set SSL_CERT_FILE to a PEM file that holds it",
            ),
            Phase::Tls(why)
                if why.contains("not valid for name") || why.contains("NotValidForName") =>
            {
                Some("the host presents a certificate for another name: check the host's spelling")
            }
            Phase::Tls(why)
                if why.contains("xpired")
                    || why.contains("not valid yet")
                    || why.contains("NotValidYet") =>
            {
                Some("the host's certificate is out of date, or this machine's clock is wrong")
            }
            Phase::Tls(_) => {
                Some("check the host's certificate, this machine's clock and its root certificates")
            }
            Phase::TooLarge { .. } => Some("ask for less: a page size, a filter, fewer fields"),
            Phase::TimedOut | Phase::Broken(_) | Phase::Garbled(_) | Phase::Client(_) => None,
        }
    }
}

/// Returns `host:port`, or `host` if the port is the scheme's own.
pub fn host_of(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => "(no host)".to_owned(),
    }
}

/// Classifies a client error by its causes: its own `Display` quotes the URL with the query, which
/// may hold an API key.
fn phase(error: &reqwest::Error) -> Phase {
    let mut cause = error.source();
    let mut innermost = String::new();
    while let Some(inner) = cause {
        if let Some(resolve) = inner.downcast_ref::<ResolveError>() {
            return match resolve {
                ResolveError::Refused(reason) => Phase::Refused(reason.clone()),
                ResolveError::Lookup(_) | ResolveError::Nothing => {
                    Phase::Resolve(resolve.to_string())
                }
            };
        }
        if let Some(tls) = tls_cause(inner) {
            return Phase::Tls(tls);
        }
        innermost = inner.to_string();
        cause = inner.source();
    }
    if error.is_connect() {
        Phase::Connect(if error.is_timeout() { "no answer in 5 seconds".into() } else { innermost })
    } else if error.is_timeout() {
        Phase::TimedOut
    } else if is_garbled(error) {
        Phase::Garbled(innermost)
    } else {
        Phase::Broken(innermost)
    }
}

/// Returns rustls' error, which comes wrapped in I/O errors whose `source` skips the error they
/// wrap.
fn tls_cause(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut error = error;
    loop {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls.to_string());
        }
        error = error.downcast_ref::<io::Error>()?.get_ref()?;
    }
}

/// Whether the head is no HTTP, or the body does not match its `Content-Encoding`. The parser's own
/// error type cannot be named here, so its words are read.
fn is_garbled(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return matches!(io.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput);
        }
        let words = inner.to_string();
        if words.starts_with("invalid ") || words.starts_with("message head is too large") {
            return true;
        }
        cause = inner.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_not_accepted_has_the_hint_of_its_fault() {
        use rustls::CertificateError::{Expired, NotValidForName, NotValidYet, UnknownIssuer};
        for (fault, part) in [
            (UnknownIssuer, "SSL_CERT_FILE"),
            (NotValidForName, "spelling"),
            (Expired, "clock"),
            (NotValidYet, "clock"),
        ] {
            let why = rustls::Error::InvalidCertificate(fault).to_string();
            let hint = NetError::new("a.example".into(), Phase::Tls(why.clone())).hint();
            assert!(hint.is_some_and(|hint| hint.contains(part)), "{why}: {hint:?}");
        }
    }
}
