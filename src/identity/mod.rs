//! Authentication: the users behind the credentials that requests and browsers present.
//!
//! | credentials after `Bearer` | user | namespace |
//! |---|---|---|
//! | nothing, on a server of one's own machine | the one local user | `local` |
//! | the token of `serve --token` | the one local user | `local` |
//! | a person's API key | the person it was written for | the issuer if there is one, else `key:<name>` |
//! | an application's API key | the end user that a header names | `key:<name>` |
//! | an access token of the issuer | the person in the token's claim | the issuer |
//!
//! [`Authenticator::authenticate`] reads the headers of one request and returns the user or the
//! reason for a refusal; [`Denied`] knows the HTTP answer. Static keys ([`keys`]) are known by
//! their hashes. A JWT ([`jws`]) is checked with the keys that the issuer publishes ([`issuer_cache`],
//! [`jwks`]) and then for its claims ([`claims`]); other tokens are introspected at the issuer, if
//! the operator wants that (RFC 7662). An accepted JWT is remembered for a minute at most, and an
//! introspection answer for as long as the operator says ([`remembered`]), so that a call does not
//! pay for it each time.
//!
//! The same issuer signs browsers in ([`login`]): [`Issuer::verify_id_token`] and
//! [`Issuer::person`] make the same [`Caller`] from an ID token as from the access token, which
//! proves that a browser is the caller's.

mod claims;
mod denied;
mod digest;
mod headers;
mod issuer;
mod issuer_cache;
mod issuer_error;
mod jwks;
mod jws;
mod keys;
mod login;
mod remembered;
mod resource;
mod rest;
mod suspects;
mod token_fault;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

pub use claims::Claims;
pub use denied::{Challenge, Denied, Malformed};
pub use headers::{PORTIA_DEFAULT_USER, named_user};
pub use issuer::{Issuer, Person};
pub use issuer_error::IssuerError;
pub use keys::{Application, KeyError};
pub use login::{Login, LoginError};
pub use resource::ResourceMetadata;
pub use rest::{RestCaller, RestPerson, UserProblem};
pub use token_fault::TokenFault;

use crate::model::scheduled::Voucher;
use crate::model::server_auth::ResolvedAuth;
use crate::model::{Caller, Clock, Principal, secret};
use crate::net::Net;
use digest::{Digest, Digester};
use keys::{Held, Keys};

/// Credentials that a request must carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    None,
    /// The token of `serve --token`.
    Token,
    /// A key of `[[server.auth.api_keys]]`.
    Key,
    /// An access token, or a key if there are any.
    AccessToken {
        issuer: String,
    },
}

/// Identifies callers. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator(Arc<Way>);

enum Way {
    /// For every process that reaches this machine's loopback address.
    Local(Arc<Principal>),
    /// For every process that also knows the token.
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
    /// For one user, without credentials: a server that only this machine reaches.
    pub fn local(principal: Principal) -> Self {
        Self(Arc::new(Way::Local(Arc::new(principal))))
    }

    /// For one user, who has the token.
    pub fn with_token(principal: Principal, token: &SecretString) -> Self {
        let digester = Digester::new();
        let digest = digester.digest(token.expose_secret());
        let fingerprint = secret::fingerprint(token.expose_secret());
        let principal = Arc::new(principal);
        Self(Arc::new(Way::Token { digester, digest, fingerprint, principal }))
    }

    /// For many users. `resource` is the address of `/mcp` as clients reach it: the audience of
    /// tokens (RFC 8707 §2), and the `resource` of RFC 9728. Sends no request yet.
    ///
    /// # Errors
    /// [`KeyError`] if keys cannot be told apart or cannot be sent.
    pub fn new(
        auth: ResolvedAuth,
        resource: Url,
        net: &Net,
        clock: &Clock,
    ) -> Result<Self, KeyError> {
        let ResolvedAuth { issuer, keys } = auth;
        let issuer = issuer.map(|issuer| Arc::new(Issuer::new(issuer, &resource, net, clock)));
        let vouching = issuer.as_ref().map(|issuer| (issuer.name(), issuer.browser_proof()));
        let digester = Digester::new();
        let keys = Keys::new(keys, vouching.as_ref(), &digester)?;
        Ok(Self(Arc::new(Way::Server(Box::new(Server { digester, keys, issuer, resource })))))
    }

    /// Returns the user who sent a request with these headers. `from` is the client's address, as
    /// limits see it.
    ///
    /// # Errors
    /// [`Denied`] if the credentials are missing or not accepted, or the issuer does not answer.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        from: IpAddr,
    ) -> Result<Arc<Principal>, Denied> {
        match &*self.0 {
            Way::Server(server) => server.authenticate(headers, from).await,
            Way::Local(principal) | Way::Token { principal, .. } => {
                self.check_token(headers)?;
                headers::only(&principal.caller.user, headers)?;
                Ok(Arc::clone(principal))
            }
        }
    }

    /// Returns the user who sent a request to a gateway: as [`Self::authenticate`], but a header may
    /// name any user of one's own machine, as in the REST faces.
    ///
    /// # Errors
    /// As [`Self::authenticate`].
    pub async fn at_gateway(
        &self,
        headers: &HeaderMap,
        from: IpAddr,
    ) -> Result<Arc<Principal>, Denied> {
        match &*self.0 {
            Way::Server(server) => server.authenticate(headers, from).await,
            Way::Local(served) | Way::Token { principal: served, .. } => {
                self.check_token(headers)?;
                Ok(match headers::end_user(headers)? {
                    None => Arc::clone(served),
                    Some(user) => Arc::new(rest::user_of_machine(served, user)),
                })
            }
        }
    }

    /// Checks the token of `serve --token`, where there is one.
    fn check_token(&self, headers: &HeaderMap) -> Result<(), Denied> {
        match &*self.0 {
            Way::Token { digester, digest, .. }
                if digester.digest(headers::bearer(headers)?) != *digest =>
            {
                Err(TokenFault::OtherToken.into())
            }
            _ => Ok(()),
        }
    }

    /// Returns the one user who needs no credentials.
    pub fn only_person(&self) -> Option<&Arc<Principal>> {
        match &*self.0 {
            Way::Local(principal) => Some(principal),
            Way::Token { .. } | Way::Server(_) => None,
        }
    }

    /// Whether it distinguishes several users.
    pub fn is_for_many(&self) -> bool {
        matches!(&*self.0, Way::Server(_))
    }

    /// Returns the credentials that a request must carry.
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

    /// Returns the user of a personal key; `None` for any other key.
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

    /// Whether there are users with a key of their own.
    pub fn has_personal_keys(&self) -> bool {
        match &*self.0 {
            Way::Local(_) => false,
            Way::Token { .. } => true,
            Way::Server(server) => server.keys.people().next().is_some(),
        }
    }

    /// Whether the authority behind a session of this user still vouches for them: the key of this
    /// fingerprint, or (`None`) the issuer.
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

    /// Returns the principal of a user for whom a call was scheduled, if the authority that vouched
    /// for them then still does.
    pub fn principal_behind(&self, caller: &Caller, voucher: &Voucher) -> Option<Principal> {
        match (&*self.0, voucher) {
            (Way::Local(served) | Way::Token { principal: served, .. }, Voucher::Machine) => {
                let is_of_machine = served.caller.namespace == caller.namespace;
                is_of_machine.then(|| rest::user_of_machine(served, caller.user.clone()))
            }
            (Way::Server(server), Voucher::Key(key)) => server.keys.principal(caller, key),
            (Way::Local(_) | Way::Token { .. }, Voucher::Key(_))
            | (Way::Server(_), Voucher::Machine) => None,
        }
    }

    /// Returns, by name, the applications that can confirm a browser's user.
    pub fn applications(&self) -> BTreeMap<&str, &Application> {
        let Way::Server(server) = &*self.0 else { return BTreeMap::new() };
        let confirming = server.keys.applications().filter(|it| it.verifier().is_some());
        confirming.map(|it| (it.name.as_str(), it)).collect()
    }

    /// Issuer at which browsers sign in.
    pub fn issuer(&self) -> Option<&Arc<Issuer>> {
        match &*self.0 {
            Way::Server(server) => server.issuer.as_ref(),
            Way::Local(_) | Way::Token { .. } => None,
        }
    }

    /// Returns the metadata for clients without a token (RFC 9728); `None` if there is no issuer.
    pub fn resource_metadata(&self) -> Option<ResourceMetadata> {
        let Way::Server(server) = &*self.0 else { return None };
        let issuer = server.issuer.as_ref()?;
        let scopes = issuer.scopes().to_vec();
        Some(ResourceMetadata::new(server.resource.clone(), issuer.spelling(), scopes))
    }
}

impl Server {
    /// Returns the caller of a REST face who has this key or access token.
    async fn rest(&self, key: &str, from: IpAddr) -> Result<RestCaller, Denied> {
        let digest = self.digester.digest(key);
        match (self.keys.find(&digest), &self.issuer) {
            (Some(Held::Application(application)), _) => {
                Ok(RestCaller::Application(application.clone()))
            }
            (Some(Held::Person(principal)), _) => {
                let (principal, key) = (Arc::clone(principal), Some(secret::fingerprint(key)));
                Ok(RestCaller::Person(RestPerson { principal, key }))
            }
            (None, Some(issuer)) => {
                let principal = issuer.principal(key, digest, from).await?;
                Ok(RestCaller::Person(RestPerson { principal, key: None }))
            }
            (None, None) => Err(TokenFault::Unknown.into()),
        }
    }

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
