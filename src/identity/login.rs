//! Signs a browser in at the issuer: we are its client (OpenID Connect Core §3.1).
//!
//! The result is the [`Person`] of an ID token, made in the same way as that of an access token.
//! The tokens themselves are dropped; no call uses them.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::{Denied, Issuer, Person, TokenFault};
use crate::model::server_auth::Client;
use crate::model::session::LoginAttempt;
use crate::oauth::{
    self, AuthorizationRequest, AuthorizationResponse, Issued, OAuthClient, TokenError, Verdict,
};

/// Signs browsers in at the issuer. Cheap to clone.
#[derive(Clone)]
pub struct Login {
    issuer: Arc<Issuer>,
    client: Client,
    oauth: OAuthClient,
    redirect_uri: String,
}

/// The issuer did not identify the user.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error(transparent)]
    Issuer(#[from] Denied),
    #[error("the issuer names no `authorization_endpoint`")]
    NoPage,
    #[error("the issuer handed out no token: {0}")]
    NoToken(#[from] TokenError),
    #[error("the issuer handed out no ID token")]
    NoIdToken,
    #[error("the issuer's word on who you are is not accepted: {0}")]
    Refused(TokenFault),
}

impl LoginError {
    /// Returns advice for the page; its reader can only try again or ask the operator.
    pub fn hint(&self) -> String {
        let operator = |what: &str| format!("the operator of this server must check {what}");
        match self {
            Self::Issuer(_) => "try again in a minute".into(),
            Self::NoPage | Self::NoIdToken => operator("`issuer` in [server.auth]"),
            Self::NoToken(error) => match error.verdict() {
                Verdict::Operator => operator("`client_id`, `client_secret` and the redirect URI"),
                Verdict::GrantEnded | Verdict::Unclear | Verdict::Passing => "try again".into(),
            },
            Self::Refused(TokenFault::NoPerson | TokenFault::Person(_)) => {
                operator("`user_claim` in [server.auth], and which claims the issuer tells")
            }
            Self::Refused(TokenFault::Unverified) => {
                "verify your e-mail address at the issuer, then sign in again".into()
            }
            Self::Refused(_) => "sign in again".into(),
        }
    }
}

impl Login {
    /// Creates the login. `origin` is where browsers reach us, without a slash at its end. `None`
    /// if the issuer does not know us.
    pub fn new(issuer: &Arc<Issuer>, oauth: OAuthClient, origin: &str) -> Option<Self> {
        Some(Self {
            issuer: Arc::clone(issuer),
            client: issuer.client()?.clone(),
            oauth,
            redirect_uri: format!("{origin}/signin/callback"),
        })
    }

    /// Host of the issuer, for the page.
    pub fn host(&self) -> &str {
        let name = self.issuer.name();
        name.split_once("://").map_or(name, |(_, host)| host)
    }

    /// Returns the authentication request (OpenID Connect Core §3.1.2.1).
    ///
    /// # Errors
    /// [`LoginError::Issuer`] if the issuer does not answer; [`LoginError::NoPage`] if it has no
    /// usable authorization endpoint.
    pub async fn authorization_url(
        &self,
        attempt: &LoginAttempt,
        state: &SecretString,
    ) -> Result<Url, LoginError> {
        let endpoint = self.issuer.metadata().await?.authorization_endpoint;
        let nonce = ("nonce".to_owned(), attempt.nonce.expose_secret().to_owned());
        oauth::authorization_url(&AuthorizationRequest {
            endpoint: &endpoint.ok_or(LoginError::NoPage)?,
            client_id: &self.client.id,
            redirect_uri: &self.redirect_uri,
            state,
            verifier: Some(&attempt.verifier),
            scope: ("scope", scope(self.issuer.user_claim()).to_owned()),
            params: &[nonce],
        })
        .map_err(|_| LoginError::NoPage)
    }

    /// Whether the issuer gave this answer, as far as it says so (RFC 9207).
    ///
    /// # Errors
    /// [`LoginError::Issuer`] if the issuer does not answer.
    pub async fn gave(&self, answer: &AuthorizationResponse) -> Result<bool, LoginError> {
        let metadata = self.issuer.metadata().await?;
        let required = metadata.authorization_response_iss_parameter_supported;
        Ok(answer.is_from(Some(&metadata.issuer), required))
    }

    /// Exchanges the code and returns the user.
    ///
    /// # Errors
    /// [`LoginError`] if the exchange fails, or the ID token is missing, invalid or names no user.
    pub async fn person(
        &self,
        attempt: &LoginAttempt,
        code: &SecretString,
    ) -> Result<Person, LoginError> {
        let client = self.issuer.registration().await?;
        let Issued { tokens, id_token, .. } =
            self.oauth.exchange(&client, code, &self.redirect_uri, Some(&attempt.verifier)).await?;
        let id_token = id_token.ok_or(LoginError::NoIdToken)?;
        let verified =
            self.issuer.verify_id_token(&id_token, &self.client.id, &attempt.nonce).await;
        let claims = verified.map_err(refused)?;
        let person = match self.issuer.person(&claims) {
            // Some issuers tell the claims of a scope at the userinfo endpoint only (§5.4).
            Err(TokenFault::NoPerson) => {
                let more = self.issuer.userinfo(&tokens.access, &claims).await.map_err(refused)?;
                self.issuer.person(&more)
            }
            person => person,
        };
        person.map_err(LoginError::Refused)
    }
}

fn refused(denied: Denied) -> LoginError {
    match denied {
        Denied::InvalidToken(fault) => LoginError::Refused(fault),
        other => LoginError::Issuer(other),
    }
}

/// Returns `openid` and the scope that requests a standard claim (OpenID Connect Core §5.4).
fn scope(user_claim: &str) -> &'static str {
    match user_claim {
        "email" => "openid email",
        "preferred_username" | "name" | "nickname" => "openid profile",
        "phone_number" => "openid phone",
        _ => "openid",
    }
}
