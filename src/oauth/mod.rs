//! OAuth 2 client, often of many authorization servers (RFC 9700).
//!
//! The `oauth2` crate builds and reads the messages. This module sends them through [`Net`],
//! normalizes every response before the crate sees it, and turns the crate's errors, which may
//! quote a raw body, into [`TokenError`] at once.

mod assertion;
mod authorization_response;
mod client_credentials;
mod device;
mod error;
mod introspection;
mod metadata;
mod normalize;
mod request;
mod revocation;
mod userinfo;

use std::borrow::Cow;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use oauth2::basic::{
    BasicClient, BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
    BasicTokenType,
};
use oauth2::{
    AuthType, AuthorizationCode, ClientId, ClientSecret, CsrfToken, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, TokenResponse as _, TokenUrl,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::{Url, form_urlencoded};

pub use assertion::{Assertion, KeyError, ServiceAccount, SignError, Signer};
pub use authorization_response::{AnswerError, AuthorizationResponse, Denial};
pub use device::{DeviceCode, Poll};
pub use error::{TokenError, Verdict};
pub use metadata::{DiscoveryError, Metadata, discover};

use crate::model::consent_plan::ClientRegistration;
use crate::model::oauth::TokenAuth;
use crate::model::{Clock, Scopes, TokenSet};
use crate::net::{self, Cidr, Net, Policy, Trust};

/// Longest response body in bytes; a token response is a few kilobytes.
const MAX_RESPONSE_BYTES: usize = 256 * 1024;
/// Time limit for one request, including the response body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Client of authorization servers.
#[derive(Clone)]
pub struct OAuthClient {
    net: Net,
    clock: Clock,
}

/// Parameters of the authorization request that the browser takes to the provider.
pub struct AuthorizationRequest<'a> {
    pub endpoint: &'a Url,
    pub client_id: &'a str,
    pub redirect_uri: &'a str,
    pub state: &'a SecretString,
    /// PKCE code verifier (RFC 7636); `None` sends no challenge.
    pub verifier: Option<&'a SecretString>,
    /// The scope parameter's name and its value, already joined.
    pub scope: (&'a str, String),
    /// Further parameters of the query.
    pub params: &'a [(String, String)],
}

/// Successful response of a token endpoint.
#[derive(Debug)]
pub struct Issued {
    pub tokens: TokenSet,
    /// Granted scopes; `None` means those that were asked for (RFC 6749 §5.1).
    pub scopes: Option<Scopes>,
    /// The ID token, unread (OpenID Connect Core §3.1.3.3). It matters only where users sign in
    /// with it.
    pub id_token: Option<SecretString>,
}

/// Result of ending a grant at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    Yes,
    /// The provider has no way to do it, or none that we know.
    NoWay,
    /// The provider did not confirm.
    Failed,
    /// No connection to the provider could be made: nothing was sent.
    Unreachable,
}

/// Returns the URL of an authorization request (RFC 6749 §4.1.1), with PKCE S256 (RFC 7636 §4.3).
///
/// # Errors
/// If the redirect URI is no URL, which the configuration has excluded.
pub fn authorization_url(request: &AuthorizationRequest<'_>) -> Result<Url, url::ParseError> {
    let client = BasicClient::new(ClientId::new(request.client_id.to_owned()))
        .set_auth_uri(oauth2::AuthUrl::from_url(request.endpoint.clone()))
        .set_redirect_uri(RedirectUrl::new(request.redirect_uri.to_owned())?);
    let state = CsrfToken::new(request.state.expose_secret().to_owned());
    let mut url = client.authorize_url(|| state);
    let (name, scope) = &request.scope;
    if !scope.is_empty() {
        url = url.add_extra_param(*name, scope);
    }
    for (name, value) in request.params {
        url = url.add_extra_param(name, value);
    }
    if let Some(verifier) = request.verifier {
        url = url.set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(
            &PkceCodeVerifier::new(verifier.expose_secret().to_owned()),
        ));
    }
    Ok(url.url().0)
}

impl OAuthClient {
    /// Creates a client that sends through `net` and dates tokens by `clock`.
    pub fn new(net: Net, clock: Clock) -> Self {
        Self { net, clock }
    }

    /// Returns the blocks of private addresses that learnt endpoints may have, as
    /// [`Self::allowing`] reads them.
    pub fn allowed_blocks(&self) -> Vec<String> {
        self.net.policy().allow_private.iter().map(ToString::to_string).collect()
    }

    /// Returns a client for endpoints that another process has learnt and whose `tools.toml` allows
    /// them addresses in these blocks.
    #[must_use]
    pub fn allowing(&self, blocks: &[String]) -> Self {
        let allowed: Vec<Cidr> = blocks.iter().filter_map(|block| block.parse().ok()).collect();
        if allowed.is_empty() || allowed == self.net.policy().allow_private {
            return self.clone();
        }
        Self::new(Net::new(Policy { allow_private: allowed }), self.clock.clone())
    }

    /// Asks an issuer for its endpoints.
    ///
    /// # Errors
    /// [`DiscoveryError`], as [`discover()`].
    pub async fn discover(&self, issuer: &Url) -> Result<Metadata, DiscoveryError> {
        discover(&self.net, issuer).await
    }

    /// Exchanges a code for tokens (RFC 6749 §4.1.3). `redirect_uri` is that of the authorization
    /// request, byte for byte.
    ///
    /// # Errors
    /// [`TokenError`] if the request brings no token.
    pub async fn exchange(
        &self,
        client: &ClientRegistration,
        code: &SecretString,
        redirect_uri: &str,
        verifier: Option<&SecretString>,
    ) -> Result<Issued, TokenError> {
        let redirect = RedirectUrl::new(redirect_uri.to_owned())
            .map_err(|_| TokenError::Malformed("the redirect URI is no URL"))?;
        let oauth = basic(client).set_redirect_uri(redirect);
        let mut request =
            oauth.exchange_code(AuthorizationCode::new(code.expose_secret().to_owned()));
        if let Some(verifier) = verifier {
            let verifier = PkceCodeVerifier::new(verifier.expose_secret().to_owned());
            request = request.set_pkce_verifier(verifier);
        }
        let courier = self.courier(client, &client.token_endpoint);
        self.issued(request.request_async(&courier).await)
    }

    /// Exchanges a refresh token for a new access token (RFC 6749 §6). If the response has no new
    /// refresh token, the result holds the one that was sent.
    ///
    /// # Errors
    /// [`TokenError`] if the request brings no token.
    pub async fn refresh(
        &self,
        client: &ClientRegistration,
        refresh: &SecretString,
    ) -> Result<Issued, TokenError> {
        let oauth = basic(client);
        let token = RefreshToken::new(refresh.expose_secret().to_owned());
        let endpoint = client.refresh_endpoint.as_ref().unwrap_or(&client.token_endpoint);
        let courier = Courier { is_refresh: true, ..self.courier(client, endpoint) };
        let answer = oauth.exchange_refresh_token(&token).request_async(&courier).await;
        let mut issued = self.issued(answer)?;
        issued.tokens.refresh.get_or_insert_with(|| refresh.clone());
        Ok(issued)
    }

    /// Ends a grant at the provider.
    pub async fn revoke(&self, client: &ClientRegistration, tokens: &TokenSet) -> Revoked {
        let Some(way) = &client.revocation else { return Revoked::NoWay };
        let Some(request) = revocation::request(client, way, tokens) else {
            return Revoked::Failed;
        };
        match self.net.send_once(request, trust(client)).await {
            Ok(answer) if answer.status().is_success() => Revoked::Yes,
            // GitHub answers 404 for a token that is gone already.
            Ok(answer) if answer.status() == http::StatusCode::NOT_FOUND => Revoked::Yes,
            Err(error) if error.is_before_sending() => Revoked::Unreachable,
            Ok(_) | Err(_) => Revoked::Failed,
        }
    }

    fn courier<'a>(&'a self, client: &'a ClientRegistration, endpoint: &'a Url) -> Courier<'a> {
        Courier { net: &self.net, clock: &self.clock, client, endpoint, is_refresh: false }
    }

    fn issued<T: oauth2::ErrorResponse>(
        &self,
        answer: Result<TokenResponse, RequestTokenError<TokenError, T>>,
    ) -> Result<Issued, TokenError> {
        let answer = answer.map_err(|error| match error {
            RequestTokenError::Request(error) => error,
            // `Parse` carries the raw body, which goes no further.
            RequestTokenError::ServerResponse(_)
            | RequestTokenError::Parse(..)
            | RequestTokenError::Other(_) => TokenError::Malformed("it is not a token response"),
        })?;
        Ok(self.issue(&answer))
    }

    fn issue(&self, answer: &TokenResponse) -> Issued {
        let now = self.clock.now();
        let secret = |text: &str| SecretString::from(text.to_owned());
        Issued {
            tokens: TokenSet {
                user: None,
                access: secret(answer.access_token().secret()),
                refresh: answer.refresh_token().map(|token| secret(token.secret())),
                expires_at: answer.expires_in().map(|life| now.after(life)),
                refresh_expires_at: answer
                    .extra_fields()
                    .refresh_token_expires_in
                    .filter(|_| answer.refresh_token().is_some())
                    .map(|life| now.after(Duration::from_secs(life))),
                received_at: now,
            },
            scopes: answer
                .scopes()
                .map(|scopes| Scopes::new(scopes.iter().map(|scope| scope.as_str()))),
            id_token: answer
                .extra_fields()
                .id_token
                .as_ref()
                .and_then(|it| it.as_str())
                .map(secret),
        }
    }

    /// Sends a token request that the `oauth2` crate does not build.
    async fn ask<'a>(
        &self,
        client: &'a ClientRegistration,
        mut fields: Vec<(&'a str, &'a str)>,
    ) -> Result<Issued, TokenError> {
        let params = client.token_params.iter();
        fields.extend(params.map(|(name, value)| (name.as_str(), value.as_str())));
        let request = request::post(client, &client.token_endpoint, fields)
            .ok_or(TokenError::Malformed("the request cannot be written"))?;
        let regular = self.courier(client, &client.token_endpoint).carry(request).await?;
        let answer = serde_json::from_value(serde_json::Value::Object(regular))
            .map_err(|_| TokenError::Malformed("it is not a token response"))?;
        Ok(self.issue(&answer))
    }
}

/// HTTP client for the crate's messages to one endpoint of an authorization server.
struct Courier<'a> {
    net: &'a Net,
    clock: &'a Clock,
    client: &'a ClientRegistration,
    endpoint: &'a Url,
    /// Whether a refresh token is sent: only then can the response say that it has ended.
    is_refresh: bool,
}

impl<'c> oauth2::AsyncHttpClient<'c> for Courier<'_> {
    type Error = TokenError;
    type Future = BoxFuture<'c, Result<oauth2::HttpResponse, TokenError>>;

    fn call(&'c self, request: oauth2::HttpRequest) -> Self::Future {
        self.post(request).boxed()
    }
}

impl Courier<'_> {
    /// Sends one POST to a token endpoint and normalizes the response.
    async fn post(&self, request: oauth2::HttpRequest) -> Result<oauth2::HttpResponse, TokenError> {
        let client = self.client;
        let (head, body) = request.into_parts();
        let mut out = reqwest::Request::new(head.method, self.endpoint.clone());
        *out.headers_mut() = head.headers;
        *out.timeout_mut() = Some(REQUEST_TIMEOUT);
        let mut fields: Vec<(String, String)> =
            form_urlencoded::parse(&body).into_owned().chain(client.token_params.clone()).collect();
        if let (TokenAuth::Bearer, Some(secret)) = (client.token_auth, &client.client_secret) {
            request::authorize(&mut out, &request::bearer(secret))
                .ok_or(TokenError::Malformed("the request cannot be written"))?;
            // The secret identifies us; Stripe refuses a parameter that it does not expect.
            fields.retain(|(name, _)| name != "client_id");
        }
        request::set_fields(&mut out, client.token_body, &fields);
        let regular = self.carry(out).await?;
        let body = serde_json::to_vec(&regular)
            .map_err(|_| TokenError::Malformed("it could not be written as JSON"))?;
        http::Response::builder()
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|_| TokenError::Malformed("it could not be passed on"))
    }

    /// Sends a token request and normalizes the response.
    async fn carry(
        &self,
        request: reqwest::Request,
    ) -> Result<serde_json::Map<String, serde_json::Value>, TokenError> {
        let response = self.net.send_once(request, trust(self.client)).await?;
        let status = response.status();
        let retry_after = net::retry_after(|name| response.headers().get(name)?.to_str().ok());
        let body = net::read(response, MAX_RESPONSE_BYTES).await?;
        let mut shape = Cow::Borrowed(&self.client.response);
        if !self.is_refresh {
            shape.to_mut().refresh_ended.clear();
        }
        normalize::normalize(status, &body, &shape, self.clock.now())
            .map_err(|error| with_retry_after(error, retry_after))
    }
}

fn with_retry_after(error: TokenError, retry_after: Option<Duration>) -> TokenError {
    match error {
        TokenError::Status { status, .. } => TokenError::Status { status, retry_after },
        other => other,
    }
}

/// A token response with the fields that OpenID Connect and providers add to it.
type TokenResponse = oauth2::StandardTokenResponse<Extras, BasicTokenType>;

#[derive(Debug, Serialize, Deserialize)]
struct Extras {
    /// Any JSON: a malformed ID token must not fail a server that users do not sign in with.
    id_token: Option<serde_json::Value>,
    /// Seconds; see [`normalize`].
    refresh_token_expires_in: Option<u64>,
}

impl oauth2::ExtraTokenFields for Extras {}

type Basic = oauth2::Client<
    BasicErrorResponse,
    TokenResponse,
    BasicTokenIntrospectionResponse,
    oauth2::StandardRevocableToken,
    BasicRevocationErrorResponse,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointSet,
>;

fn basic(client: &ClientRegistration) -> Basic {
    let mut oauth = oauth2::Client::new(ClientId::new(client.client_id.clone()))
        .set_token_uri(TokenUrl::from_url(client.token_endpoint.clone()))
        .set_auth_type(match client.token_auth {
            TokenAuth::Basic => AuthType::BasicAuth,
            TokenAuth::Post | TokenAuth::Bearer | TokenAuth::None => AuthType::RequestBody,
        });
    if let (Some(secret), TokenAuth::Basic | TokenAuth::Post) =
        (&client.client_secret, client.token_auth)
    {
        oauth = oauth.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned()));
    }
    oauth
}

fn trust(client: &ClientRegistration) -> Trust {
    if client.learnt { Trust::Learnt } else { Trust::Written }
}
