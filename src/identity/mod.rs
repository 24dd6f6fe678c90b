//! Who calls: the outside world of credentials that others present to us.
//!
//! | what stands after `Bearer` | who it is | kept apart by |
//! |---|---|---|
//! | nothing, on a server of one's own machine | the one local person | `local` |
//! | the token of `serve --token` | the same | `local` |
//! | a person's API key | the person it was written for | the issuer if there is one, else `key:<name>` |
//! | an application's API key | the end user that a header names | `key:<name>` |
//! | an access token of the issuer | the person in the token's claim | the issuer |
//!
//! [`Authenticator::authenticate`] reads the headers of one request and says who it is or why not;
//! [`Denied`] knows what HTTP says about that, and the face says it. Static keys ([`keys`]) are known
//! by their hashes. A JWT ([`jws`]) is checked with the keys that the issuer publishes
//! ([`published`], [`jwks`]) and then for what it claims ([`claims`]); a token that is no JWT is asked
//! about at the issuer, where the operator wants that (RFC 7662). What was found good is remembered
//! for a minute at most ([`remembered`]), so that a call does not pay for it each time.
//!
//! The same issuer signs browsers in ([`login`]): [`Issuer::verify_id_token`] and [`Issuer::person`]
//! make of an ID token the very [`Caller`] that the access token made, which is how a
//! browser is known to be the caller's.

mod claims;
mod denied;
mod digest;
mod headers;
mod issuer;
mod jwks;
mod jws;
mod keys;
mod login;
mod published;
mod remembered;
mod resource;
mod suspects;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

pub use claims::Claims;
pub use denied::{Challenge, Denied, Malformed, TokenFault};
pub use issuer::{Issuer, IssuerError, Person};
pub use keys::{Application, KeyError};
pub use login::{Login, LoginError};
pub use resource::ResourceMetadata;

use crate::model::server_auth::ResolvedAuth;
use crate::model::{Caller, Clock, Principal, secret};
use crate::net::Net;
use digest::{Digest, Digester};
use keys::{Held, Keys};

/// What a request has to carry to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    None,
    /// The token of `serve --token`.
    Token,
    /// A key of `[[server.auth.api_keys]]`.
    Key,
    /// Such a token, or a key where there are any.
    AccessToken {
        issuer: String,
    },
}

/// Knows who calls. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator(Arc<Way>);

enum Way {
    /// Whoever reaches this machine's loopback address.
    Local(Arc<Principal>),
    /// Whoever also knows the token.
    Token {
        digester: Digester,
        digest: Digest,
        fingerprint: String,
        principal: Arc<Principal>,
    },
    Server(Box<Server>),
}

/// `[server.auth]`.
struct Server {
    digester: Digester,
    keys: Keys,
    issuer: Option<Arc<Issuer>>,
    resource: Url,
}

impl Authenticator {
    /// For one person, without credentials: a server that only this machine reaches.
    pub fn local(principal: Principal) -> Self {
        Self(Arc::new(Way::Local(Arc::new(principal))))
    }

    /// For one person, who has the token.
    pub fn with_token(principal: Principal, token: &SecretString) -> Self {
        let digester = Digester::new();
        let digest = digester.digest(token.expose_secret());
        let fingerprint = secret::fingerprint(token.expose_secret());
        let principal = Arc::new(principal);
        Self(Arc::new(Way::Token { digester, digest, fingerprint, principal }))
    }

    /// For many people. `resource` is the address of `/mcp` as clients reach it: what tokens are for
    /// (RFC 8707 §2), and the `resource` of RFC 9728. Asks nobody anything yet.
    ///
    /// # Errors
    /// [`KeyError`]: keys that cannot be told apart.
    pub fn new(
        auth: ResolvedAuth,
        resource: Url,
        net: &Net,
        clock: &Clock,
    ) -> Result<Self, KeyError> {
        let ResolvedAuth { issuer, keys } = auth;
        let issuer = issuer.map(|issuer| Arc::new(Issuer::new(issuer, &resource, net, clock)));
        let vouching = issuer.as_ref().map(|issuer| (issuer.name(), issuer.opener()));
        let digester = Digester::new();
        let keys = Keys::new(keys, vouching.as_ref(), &digester)?;
        Ok(Self(Arc::new(Way::Server(Box::new(Server { digester, keys, issuer, resource })))))
    }

    /// Who sent a request with these headers. `from` is the client's address, as far as limits know it.
    ///
    /// # Errors
    /// [`Denied`]
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        from: IpAddr,
    ) -> Result<Arc<Principal>, Denied> {
        let principal = match &*self.0 {
            Way::Local(principal) => Arc::clone(principal),
            Way::Token { digester, digest, principal, .. } => {
                if digester.digest(headers::bearer(headers)?) != *digest {
                    return Err(TokenFault::OtherToken.into());
                }
                Arc::clone(principal)
            }
            Way::Server(server) => return server.authenticate(headers, from).await,
        };
        headers::only(&principal.caller.user, headers)?;
        Ok(principal)
    }

    /// The one person who needs no credentials.
    pub fn only_person(&self) -> Option<&Arc<Principal>> {
        match &*self.0 {
            Way::Local(principal) => Some(principal),
            Way::Token { .. } | Way::Server(_) => None,
        }
    }

    /// Whether it knows several people apart.
    pub fn is_for_many(&self) -> bool {
        matches!(&*self.0, Way::Server(_))
    }

    /// What a request has to carry.
    pub fn credentials(&self) -> Credentials {
        match &*self.0 {
            Way::Local(_) => Credentials::None,
            Way::Token { .. } => Credentials::Token,
            Way::Server(server) => match &server.issuer {
                Some(issuer) => Credentials::AccessToken { issuer: issuer.spelling() },
                None => Credentials::Key,
            },
        }
    }

    /// Whose personal key this is; `None` for any other.
    pub fn person_of_key(&self, key: &SecretString) -> Option<Caller> {
        let server = match &*self.0 {
            Way::Local(_) => return None,
            Way::Token { digester, digest, principal, .. } => {
                let is_it = digester.digest(key.expose_secret()) == *digest;
                return is_it.then(|| principal.caller.clone());
            }
            Way::Server(server) => server,
        };
        match server.keys.find(&server.digester.digest(key.expose_secret()))? {
            Held::Person(principal) => Some(principal.caller.clone()),
            Held::Application(_) => None,
        }
    }

    /// Whether there are people who are known by a key of their own.
    pub fn has_personal_keys(&self) -> bool {
        match &*self.0 {
            Way::Local(_) => false,
            Way::Token { .. } => true,
            Way::Server(server) => server.keys.people().next().is_some(),
        }
    }

    /// Whether what vouched for a session of this person still does: the key of this fingerprint, or
    /// (`None`) the issuer.
    pub fn vouches_for(&self, caller: &Caller, key: Option<&str>) -> bool {
        match (&*self.0, key) {
            (Way::Local(_), _) | (Way::Token { .. }, None) => false,
            (Way::Token { fingerprint, principal, .. }, Some(key)) => {
                principal.caller == *caller && secret::same(fingerprint, key)
            }
            (Way::Server(server), None) => {
                server.issuer.as_ref().is_some_and(|issuer| issuer.name() == caller.namespace)
            }
            (Way::Server(server), Some(key)) => server.keys.vouches_for(caller, key),
        }
    }

    /// The applications that can confirm who sits at a browser, by name.
    pub fn applications(&self) -> BTreeMap<&str, &Application> {
        let Way::Server(server) = &*self.0 else { return BTreeMap::new() };
        let confirming = server.keys.applications().filter(|it| it.verifier().is_some());
        confirming.map(|it| (it.name.as_str(), it)).collect()
    }

    /// The application whose key came with a request that names its end user elsewhere than in a
    /// header.
    ///
    /// # Errors
    /// [`Denied`]
    pub fn application(&self, headers: &HeaderMap) -> Result<Application, Denied> {
        let token = headers::bearer(headers)?;
        let Way::Server(server) = &*self.0 else { return Err(Denied::NotAnApplication) };
        match server.keys.find(&server.digester.digest(token)) {
            Some(Held::Application(application)) => Ok(application.clone()),
            Some(Held::Person(_)) => Err(Denied::NotAnApplication),
            None => Err(TokenFault::Unknown.into()),
        }
    }

    /// Where people's browsers sign in.
    pub fn issuer(&self) -> Option<&Arc<Issuer>> {
        match &*self.0 {
            Way::Server(server) => server.issuer.as_ref(),
            Way::Local(_) | Way::Token { .. } => None,
        }
    }

    /// What clients without a token are told (RFC 9728); `None` where there is no issuer to send
    /// them to.
    pub fn resource_metadata(&self) -> Option<ResourceMetadata> {
        let Way::Server(server) = &*self.0 else { return None };
        let issuer = server.issuer.as_ref()?;
        let scopes = issuer.scopes().to_vec();
        Some(ResourceMetadata::new(server.resource.clone(), issuer.spelling(), scopes))
    }
}

impl Server {
    async fn authenticate(
        &self,
        headers: &HeaderMap,
        from: IpAddr,
    ) -> Result<Arc<Principal>, Denied> {
        let token = headers::bearer(headers)?;
        let digest = self.digester.digest(token);
        let principal = match (self.keys.find(&digest), &self.issuer) {
            (Some(Held::Application(application)), _) => {
                let user = headers::end_user(headers)?.ok_or(Malformed::NoUser)?;
                return Ok(Arc::new(application.principal(user)));
            }
            (Some(Held::Person(principal)), _) => Arc::clone(principal),
            (None, Some(issuer)) => issuer.principal(token, digest, from).await?,
            (None, None) => return Err(TokenFault::Unknown.into()),
        };
        headers::only(&principal.caller.user, headers)?;
        Ok(principal)
    }
}
