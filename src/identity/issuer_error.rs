//! Why the issuer could not be asked.

use crate::net::{NetError, Phase};
use crate::oauth::{DiscoveryError, TokenError};

/// The issuer could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    #[error("the issuer `{issuer}` did not answer in time")]
    Slow { issuer: String },
    #[error("the issuer's keys could not be fetched: {0}")]
    Keys(#[source] NetError),
    #[error("the issuer's keys could not be fetched (status {status})")]
    NoKeys { status: u16 },
    #[error("the issuer's key set is not usable: {0}")]
    BadKeys(&'static str),
    #[error("the issuer names no `{0}` on its own origin")]
    NoEndpoint(&'static str),
    #[error("this server has no `client_id` at the issuer")]
    NoClient,
    /// Invented tokens are introspected like others.
    #[error("too many tokens wait to be asked about")]
    Busy,
    #[error("the issuer did not say what a token is: {0}")]
    Introspection(#[source] TokenError),
    #[error("the issuer did not say whose a token is: {0}")]
    Userinfo(#[source] TokenError),
}

impl IssuerError {
    /// Returns what the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Discovery(error) => match error {
                DiscoveryError::OtherIssuer { .. } => error.hint(),
                DiscoveryError::Unreachable { source, .. }
                    if matches!(source.phase, Phase::Tls(_)) =>
                {
                    error.hint()
                }
                _ => "check `issuer` in [server.auth] and that its host can be reached from here",
            },
            Self::Slow { .. } | Self::NoKeys { .. } | Self::BadKeys(_) => {
                "look at the issuer's own log; it is asked again by itself"
            }
            Self::Keys(error) => error.hint().unwrap_or(
                "check that the host of the issuer's `jwks_uri` can be reached from here",
            ),
            Self::NoEndpoint(_) => "leave `introspect` out if the issuer's access tokens are JWTs",
            Self::Busy => "the issuer is slow, or a client sends tokens that it did not issue",
            Self::NoClient => {
                "register this server at the issuer and write its `client_id` in [server.auth]"
            }
            Self::Introspection(TokenError::Status { status: 401 | 403, .. }) => {
                "check `client_id` and `client_secret` in [server.auth], and that the issuer lets this client introspect"
            }
            Self::Introspection(_) | Self::Userinfo(_) => "look at the issuer's own log",
        }
    }
}
