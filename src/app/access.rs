//! The three ways in which it is known who calls over HTTP.

use secrecy::SecretString;
use url::Url;

use crate::identity::{
    Authenticator, ClientSettings, Holder, IssuerSettings, KeyError, KeySettings, Settings,
};
use crate::model::server_auth::{KeyHolder, ResolvedAuth, ResolvedIssuer, ResolvedKey};
use crate::model::{Caller, Clock, Principal};
use crate::net::Net;

/// Whose calls are answered.
pub enum Access {
    /// One person's, on whose machine this runs and whom nobody else reaches.
    Local(Caller),
    /// The same person's, who also has to show this token.
    Token(Caller, SecretString),
    /// Many people's, by `[server.auth]`. `resource` is the address of `/mcp` as clients reach it.
    Many { auth: ResolvedAuth, resource: Url },
}

impl Access {
    pub(super) fn authenticator(self, net: &Net, clock: &Clock) -> Result<Authenticator, KeyError> {
        match self {
            Self::Local(caller) => Ok(Authenticator::local(Principal::local(caller))),
            Self::Token(caller, token) => {
                Ok(Authenticator::with_token(Principal::local(caller), &token))
            }
            Self::Many { auth, resource } => {
                let issuer = auth.issuer.map(issuer);
                let keys = auth.keys.into_iter().map(key).collect();
                Authenticator::new(Settings { issuer, keys, resource }, net, clock)
            }
        }
    }
}

fn issuer(resolved: ResolvedIssuer) -> IssuerSettings {
    let ResolvedIssuer { issuer, client } = resolved;
    IssuerSettings {
        url: issuer.url,
        audience: issuer.audience,
        client: client.map(|client| ClientSettings { id: client.id, secret: client.secret }),
        user_claim: issuer.user_claim,
        groups_claim: issuer.groups_claim,
        introspect: issuer.introspect,
    }
}

fn key(resolved: ResolvedKey) -> KeySettings {
    let ResolvedKey { name, key, holder } = resolved;
    let holder = match holder {
        KeyHolder::Person(user) => Holder::Person(user),
        KeyHolder::Application { verifier_url } => Holder::Application { verifier_url },
    };
    KeySettings { name, key, holder }
}
