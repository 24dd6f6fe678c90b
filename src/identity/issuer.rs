//! The issuer that we trust to identify users, by an access token or by an ID token.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::Semaphore;
use url::Url;

use super::claims::{Claims, MeantFor};
use super::denied::Denied;
use super::digest::Digest;
use super::issuer_cache::{Publication, Published};
use super::issuer_error::IssuerError;
use super::jws::Jws;
use super::remembered::Remembered;
use super::suspects::Suspects;
use super::token_fault::TokenFault;
use crate::model::consent_plan::ClientRegistration;
use crate::model::oauth::{TokenAuth, TokenBody, TokenResponseShape};
use crate::model::principal::{BrowserProof, NoBrowserProof};
use crate::model::server_auth::{Client, ResolvedIssuer};
use crate::model::{Caller, Clock, Principal, Time};
use crate::net::Net;
use crate::oauth::{Metadata, OAuthClient};

/// How long a valid JWT is not checked again. For an introspection answer, the operator decides.
const JWT_CACHE_TTL: Duration = Duration::from_mins(1);
/// How long a token that the issuer has called inactive is refused without asking again. Short,
/// because a new token may reach the issuer's replicas a moment after its client.
const REFUSAL_CACHE_TTL: Duration = Duration::from_secs(10);
/// Maximum concurrent introspections; further ones wait.
const MAX_CONCURRENT_INTROSPECTIONS: usize = 32;
/// How long a token may wait for its introspection; after that the request is refused as
/// [`IssuerError::Busy`].
const MAX_QUEUE_TIME: Duration = Duration::from_secs(5);

/// The issuer of access tokens and ID tokens.
pub struct Issuer {
    name: String,
    url: Url,
    audience: String,
    allowed_clients: Vec<String>,
    scopes: Vec<String>,
    client: Option<Client>,
    user_claim: String,
    groups_claim: String,
    introspects: bool,
    introspection_cache: Duration,
    publication: Publication,
    oauth: OAuthClient,
    clock: Clock,
    remembered: Remembered<Arc<Principal>>,
    refused: Remembered<TokenFault>,
    questions: Semaphore,
    suspects: Suspects,
}

/// A user that the issuer has named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub caller: Caller,
    pub groups: BTreeSet<String>,
}

impl Issuer {
    pub(super) fn new(issuer: ResolvedIssuer, resource: &Url, net: &Net, clock: &Clock) -> Self {
        let ResolvedIssuer { url, audience, allowed_clients, scopes, client, .. } = issuer;
        Self {
            name: spelled(&url),
            audience: audience.unwrap_or_else(|| resource.to_string()),
            publication: Publication::new(url.clone(), net.clone(), clock.clone()),
            url,
            allowed_clients,
            scopes,
            client,
            user_claim: issuer.user_claim,
            groups_claim: issuer.groups_claim,
            introspects: issuer.introspect,
            introspection_cache: issuer.introspection_cache,
            oauth: OAuthClient::new(net.clone(), clock.clone()),
            clock: clock.clone(),
            remembered: Remembered::default(),
            refused: Remembered::default(),
            questions: Semaphore::new(MAX_CONCURRENT_INTROSPECTIONS),
            suspects: Suspects::new(clock.clone()),
        }
    }

    /// Namespace for the issuer's users. It comes from `tools.toml` alone, so it is the same
    /// whether the issuer answers or not.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The claim that names the user.
    pub(super) fn user_claim(&self) -> &str {
        &self.user_claim
    }

    /// Scopes that clients request from the issuer.
    pub(super) fn scopes(&self) -> &[String] {
        &self.scopes
    }

    fn meant_for_us(&self) -> MeantFor<'_> {
        MeantFor { audience: &self.audience, clients: &self.allowed_clients }
    }

    /// Our registration at the issuer.
    pub fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// How a browser is proven to be a user's.
    pub(super) fn browser_proof(&self) -> Result<BrowserProof, NoBrowserProof> {
        self.client.as_ref().map(|_| BrowserProof::SignedIn).ok_or(NoBrowserProof::NoClientId)
    }

    /// The issuer's own spelling, once it has published it: a slash at the end may make the
    /// difference.
    pub(super) fn spelling(&self) -> String {
        self.publication
            .last()
            .map_or_else(|| self.name.clone(), |last| last.metadata.issuer.clone())
    }

    /// Returns the issuer's endpoints.
    ///
    /// # Errors
    /// [`Denied::Unavailable`] if the issuer does not answer.
    pub async fn metadata(&self) -> Result<Metadata, Denied> {
        Ok(self.published().await?.metadata.clone())
    }

    /// Returns our registration, as token requests need it.
    ///
    /// # Errors
    /// [`Denied::Unavailable`] if the issuer does not answer, or this server has no `client_id`
    /// there.
    pub async fn registration(&self) -> Result<ClientRegistration, Denied> {
        let published = self.published().await?;
        self.registered(&published.metadata).map_err(unavailable)
    }

    /// Returns the user that the claims name. Access tokens and ID tokens are read alike, so a
    /// browser's user either is the caller or is not.
    ///
    /// # Errors
    /// [`TokenFault::NoPerson`], [`TokenFault::Person`] or [`TokenFault::Unverified`] if the claims
    /// do not name a user.
    pub fn person(&self, claims: &Claims) -> Result<Person, TokenFault> {
        let user = claims.user(&self.user_claim)?;
        Ok(Person {
            caller: Caller { namespace: self.name.clone(), user },
            groups: claims.groups(&self.groups_claim),
        })
    }

    /// Checks an ID token from the token endpoint, which must repeat `nonce`.
    ///
    /// # Errors
    /// [`Denied::InvalidToken`] if it is not valid; [`Denied::Unavailable`] if the issuer does not
    /// answer.
    pub async fn verify_id_token(
        &self,
        token: &SecretString,
        client_id: &str,
        nonce: &SecretString,
    ) -> Result<Claims, Denied> {
        let jws = Jws::read(secrecy::ExposeSecret::expose_secret(token))?;
        let jws = jws.ok_or(TokenFault::NotSigned)?;
        if jws.kind.as_deref().is_some_and(|kind| kind != "jwt") {
            return Err(TokenFault::NotIdentity.into());
        }
        let published = self.signer(&jws).await?;
        let claims = Claims::new(jws.claims()?);
        let issuer = &published.metadata.issuer;
        claims.check_identity(issuer, client_id, nonce, self.clock.now())?;
        Ok(claims)
    }

    /// Asks the userinfo endpoint for more claims, for an ID token in which [`Self::person`] found
    /// no user.
    ///
    /// # Errors
    /// [`Denied::Unavailable`] if the issuer does not answer; [`TokenFault::NoPerson`] if the
    /// answer is about another subject, or the issuer has no such endpoint on its own origin.
    pub async fn userinfo(
        &self,
        access: &SecretString,
        identity: &Claims,
    ) -> Result<Claims, Denied> {
        let published = self.published().await?;
        let endpoint = published.metadata.userinfo_endpoint.as_ref();
        let endpoint =
            endpoint.filter(|url| url.origin() == self.url.origin()).ok_or(TokenFault::NoPerson)?;
        let claims = self.oauth.userinfo(endpoint, access).await;
        let claims =
            Claims::new(claims.map_err(|error| unavailable(IssuerError::Userinfo(error)))?);
        // OpenID Connect Core §5.3.2: otherwise another user's token would make their claims ours.
        if claims.subject().is_none() || claims.subject() != identity.subject() {
            return Err(TokenFault::NoPerson.into());
        }
        Ok(claims)
    }

    /// Returns the user of an access token. `from` is the client's address.
    pub(super) async fn principal(
        &self,
        token: &str,
        digest: Digest,
        from: IpAddr,
    ) -> Result<Arc<Principal>, Denied> {
        let now = self.clock.now();
        if let Some(principal) = self.remembered.recall(&digest, now) {
            return Ok(principal);
        }
        let (claims, believed) = match Jws::read(token)? {
            Some(jws) => (self.access_token(&jws, now).await?, JWT_CACHE_TTL),
            None if self.introspects => {
                (self.asked_about(token, digest, from).await?, self.introspection_cache)
            }
            None => return Err(TokenFault::Opaque.into()),
        };
        let Person { caller, groups } = self.person(&claims)?;
        let principal = Arc::new(Principal::new(caller, groups, self.browser_proof()));
        let until = now.after(believed);
        let until = claims.expires_at().map_or(until, |end| end.min(until));
        self.remembered.keep(digest, Arc::clone(&principal), now, until);
        Ok(principal)
    }

    async fn access_token(&self, jws: &Jws<'_>, now: Time) -> Result<Claims, Denied> {
        let published = self.signer(jws).await?;
        let claims = Claims::new(jws.claims()?);
        // RFC 9068 §2.1 names the kind. At other issuers an ID token looks alike, and every client
        // that the user has ever signed in to has seen one.
        let is_known = jws.kind.as_deref() == Some("at+jwt");
        let is_access = match jws.kind.as_deref() {
            Some("at+jwt") => true,
            Some("jwt") | None => !claims.is_no_access_token(),
            Some(_) => false,
        };
        if !is_access {
            return Err(TokenFault::NotAccess.into());
        }
        let issuer = &published.metadata.issuer;
        claims.check_access(issuer, &self.meant_for_us(), is_known, now)?;
        Ok(claims)
    }

    /// Introspects a token, within limits: an invented token does not cost one request each time,
    /// and one address cannot take every turn.
    async fn asked_about(
        &self,
        token: &str,
        digest: Digest,
        from: IpAddr,
    ) -> Result<Claims, Denied> {
        if let Some(fault) = self.refused.recall(&digest, self.clock.now()) {
            return Err(fault.into());
        }
        let suspect = self.suspects.of(from);
        let busy = || unavailable(IssuerError::Busy);
        let turn = tokio::time::timeout(MAX_QUEUE_TIME, suspect.turn()).await;
        let _turn = turn.map_err(|_| busy())?.ok_or(Denied::TooManyFailures)?;
        let now = self.clock.now();
        // Another request may have introspected this token during the wait.
        if let Some(fault) = self.refused.recall(&digest, now) {
            return Err(fault.into());
        }
        let introspected = self.introspected(token, now).await;
        if let Err(Denied::InvalidToken(fault)) = &introspected {
            let now = self.clock.now();
            self.refused.keep(digest, *fault, now, now.after(REFUSAL_CACHE_TTL));
            suspect.failed();
        }
        introspected
    }

    /// Finds the key that signed it. An unknown key may be new; while the issuer does not answer,
    /// that stays unknown, and on `invalid_token` a client would throw a good token away.
    async fn signer(&self, jws: &Jws<'_>) -> Result<Arc<Published>, Denied> {
        let published = self.published().await?;
        if published.keys.verify(jws) {
            return Ok(published);
        }
        match self.publication.newer(&published).await.map_err(Denied::Unavailable)? {
            Some(newer) if newer.keys.verify(jws) => Ok(newer),
            _ => Err(TokenFault::Signature.into()),
        }
    }

    async fn introspected(&self, token: &str, now: Time) -> Result<Claims, Denied> {
        let published = self.published().await?;
        let metadata = &published.metadata;
        let client = self.registered(metadata).map_err(unavailable)?;
        // It receives our secret, so it must be on the token endpoint's origin.
        let endpoint = metadata.introspection_endpoint.as_ref();
        let endpoint = endpoint
            .filter(|url| url.origin() == client.token_endpoint.origin())
            .ok_or_else(|| unavailable(IssuerError::NoEndpoint("introspection_endpoint")))?;
        let turn = tokio::time::timeout(MAX_QUEUE_TIME, self.questions.acquire()).await;
        let _turn = turn.map_err(|_| unavailable(IssuerError::Busy))?;
        let answer = self.oauth.introspect(&client, endpoint, &token.into()).await;
        let answer = answer.map_err(|error| unavailable(IssuerError::Introspection(error)))?;
        let claims = Claims::new(answer);
        claims.check_answer(&metadata.issuer, &self.meant_for_us(), now)?;
        Ok(claims)
    }

    /// Fetches what the issuer publishes, before a caller has to wait for it.
    ///
    /// # Errors
    /// [`IssuerError`] if the issuer does not answer; the next caller asks it again.
    pub async fn look_up(&self) -> Result<(), Arc<IssuerError>> {
        self.publication.current().await.map(drop)
    }

    async fn published(&self) -> Result<Arc<Published>, Denied> {
        self.publication.current().await.map_err(Denied::Unavailable)
    }

    fn registered(&self, metadata: &Metadata) -> Result<ClientRegistration, IssuerError> {
        let client = self.client.as_ref().ok_or(IssuerError::NoClient)?;
        let token_endpoint = metadata.token_endpoint.clone();
        Ok(ClientRegistration {
            client_id: client.id.clone(),
            token_auth: match client.secret {
                Some(_) => metadata.token_auth(),
                None => TokenAuth::None,
            },
            client_secret: client.secret.clone(),
            learnt: token_endpoint.origin() != self.url.origin(),
            token_endpoint,
            refresh_endpoint: None,
            token_params: Vec::new(),
            token_body: TokenBody::Form,
            response: TokenResponseShape::default(),
            revocation: None,
        })
    }
}

fn unavailable(error: IssuerError) -> Denied {
    Denied::Unavailable(Arc::new(error))
}

/// Returns the issuer's URL without the slash that [`Url`] adds to an empty path.
fn spelled(url: &Url) -> String {
    let text = url.as_str();
    if url.path() == "/" { text.trim_end_matches('/').to_owned() } else { text.to_owned() }
}
