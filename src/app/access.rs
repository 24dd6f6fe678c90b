//! The three ways in which it is known who calls over HTTP.

use secrecy::SecretString;
use url::Url;

use crate::identity::{Authenticator, KeyError};
use crate::model::server_auth::ResolvedAuth;
use crate::model::{Caller, Clock, Principal};
use crate::net::Net;

/// Whose calls are answered.
pub enum Access {
    /// One person's, on whose machine this runs and whom nobody else reaches.
    Local(Caller),
    /// The same person's, who also has to show this token.
    Token(Caller, SecretString),
    /// Many people's, by `[server.auth]`. `resource` is the address of `/mcp` as clients reach it.
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
