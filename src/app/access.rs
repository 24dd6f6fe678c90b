//! The three ways to identify callers over HTTP.

use secrecy::SecretString;
use url::Url;

use crate::identity::{Authenticator, KeyError};
use crate::model::server_auth::ResolvedAuth;
use crate::model::{Caller, Clock, Principal};
use crate::net::Net;

/// Callers whose requests are answered.
pub enum Access {
    /// The one person on whose machine this runs; no other person reaches the server.
    Local(Caller),
    /// Like `Local`, but the person must also present this token.
    Token(Caller, SecretString),
    /// Many people, by `[server.auth]`. `resource` is the address of `/mcp` as clients reach it.
    Many { auth: Box<ResolvedAuth>, resource: Url },
}

impl Access {
    pub(super) fn authenticator(self, net: &Net, clock: &Clock) -> Result<Authenticator, KeyError> {
        match self {
            Self::Local(caller) => Ok(Authenticator::local(Principal::local(caller))),
            Self::Token(caller, token) => {
                Ok(Authenticator::with_token(Principal::local(caller), &token))
            }
            Self::Many { auth, resource } => Authenticator::new(*auth, resource, net, clock),
        }
    }
}
