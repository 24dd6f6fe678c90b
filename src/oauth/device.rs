//! The device flow (RFC 8628): a user types a code into a browser on any machine.
//!
//! No step of it can be bound to a browser: users who are shown a code and enter it give away their
//! own account. So a code is only for the terminal of the user who asked for it, and is never
//! passed through an agent (RFC 8628 §5.4).

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::normalize::{seconds, success};
use super::{Issued, MAX_RESPONSE_BYTES, OAuthClient, TokenError, Verdict, request, trust};
use crate::model::consent_plan::ClientRegistration;
use crate::model::oauth::TokenAuth;
use crate::model::{Scopes, Time, text};
use crate::net;

const DEVICE_CODE_GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Poll interval if the server states none (RFC 8628 §3.2).
const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Added to the poll interval at each `slow_down` (RFC 8628 §3.5).
const SLOW_DOWN_STEP: Duration = Duration::from_secs(5);
/// Longest poll interval; a longer one is cut to it.
const MAX_POLL_INTERVAL: Duration = Duration::from_mins(1);
/// Longest life of a code; a longer or missing one is set to it.
const MAX_CODE_LIFETIME: Duration = Duration::from_mins(30);
/// Most characters of a user code; further ones are cut. No user types more.
const MAX_USER_CODE_CHARS: usize = 64;

/// A device authorization response (RFC 8628 §3.2), fit to be shown on a terminal.
#[derive(Debug)]
pub struct DeviceCode {
    /// `device_code`, which each poll sends.
    secret: SecretString,
    /// Code that the user types.
    pub user_code: String,
    /// Page on which the user types it.
    pub verification_uri: Url,
    /// The page with the code filled in.
    pub verification_uri_complete: Option<Url>,
    pub expires_at: Time,
    /// How long to wait before each [`OAuthClient::poll`]; grows when the server asks for it or
    /// fails.
    pub interval: Duration,
}

/// Result of one poll of the token endpoint.
#[derive(Debug)]
pub enum Poll {
    Issued(Issued),
    /// Ask again after [`DeviceCode::interval`].
    Pending,
    /// The code has expired.
    Expired,
    /// The user refused.
    Denied,
}

impl OAuthClient {
    /// Asks for a code (RFC 8628 §3.1). `endpoint` is the operator's, or one that the issuer named
    /// beside its token endpoint, so it may get our secret.
    ///
    /// # Errors
    /// [`TokenError`] if the request fails or the response lacks a code or a usable page.
    pub async fn device_authorization(
        &self,
        client: &ClientRegistration,
        endpoint: &Url,
        scopes: &Scopes,
    ) -> Result<DeviceCode, TokenError> {
        let scope = scopes.join(" ");
        let mut fields = vec![("scope", scope.as_str())];
        fields.retain(|(_, value)| !value.is_empty());
        if client.token_auth == TokenAuth::Basic && client.client_secret.is_some() {
            // Also in the body: several servers look only there.
            fields.push(("client_id", &client.client_id));
        }
        let request = request::post(client, endpoint, fields)
            .ok_or(TokenError::Malformed("the request cannot be written"))?;
        let response = self.net.send_once(request, trust(client)).await?;
        let status = response.status();
        let body = net::read(response, MAX_RESPONSE_BYTES).await?;
        DeviceCode::read(&success(status, &body)?, endpoint, self.clock.now())
    }

    /// Asks once whether the user has finished (RFC 8628 §3.4). Call after
    /// [`DeviceCode::interval`], until the result is final.
    ///
    /// # Errors
    /// [`TokenError`] that another poll does not fix. A passing failure is [`Poll::Pending`] with a
    /// longer interval (RFC 8628 §3.5); the code's end bounds the number of polls.
    pub async fn poll(
        &self,
        client: &ClientRegistration,
        code: &mut DeviceCode,
    ) -> Result<Poll, TokenError> {
        if self.clock.now() >= code.expires_at {
            return Ok(Poll::Expired);
        }
        let secret = code.secret.clone();
        let fields =
            vec![("grant_type", DEVICE_CODE_GRANT_TYPE), ("device_code", secret.expose_secret())];
        match self.ask(client, fields).await {
            Ok(issued) => Ok(Poll::Issued(issued)),
            Err(error) => code.after(error),
        }
    }
}

impl DeviceCode {
    fn read(answer: &Map<String, Value>, endpoint: &Url, now: Time) -> Result<Self, TokenError> {
        let field = |name: &str| answer.get(name).and_then(Value::as_str);
        let device_code = field("device_code")
            .filter(|code| !code.is_empty())
            .ok_or(TokenError::Malformed("it has no device_code"))?;
        let user_code = text::shown(field("user_code").unwrap_or_default(), MAX_USER_CODE_CHARS);
        if user_code.trim().is_empty() {
            return Err(TokenError::Malformed("it has no user_code"));
        }
        // Google's name for it is older than the RFC.
        let verification_uri = field("verification_uri")
            .or(field("verification_url"))
            .and_then(|written| page(written, endpoint))
            .ok_or(TokenError::Malformed("it has no usable verification_uri"))?;
        let complete = field("verification_uri_complete")
            .and_then(|written| page(written, endpoint))
            .filter(|complete| complete.origin() == verification_uri.origin());
        let span = |name: &str, usual: Duration, longest: Duration| {
            let given = answer.get(name).and_then(seconds).map(Duration::from_secs);
            given.unwrap_or(usual).min(longest)
        };
        let life = span("expires_in", MAX_CODE_LIFETIME, MAX_CODE_LIFETIME);
        Ok(Self {
            secret: SecretString::from(device_code.to_owned()),
            user_code,
            verification_uri,
            verification_uri_complete: complete,
            expires_at: now.after(life),
            interval: span("interval", DEFAULT_POLL_INTERVAL, MAX_POLL_INTERVAL),
        })
    }

    /// Handles an answer without a token.
    fn after(&mut self, error: TokenError) -> Result<Poll, TokenError> {
        let code = match &error {
            TokenError::Refused { code } => code.as_str(),
            _ if matches!(error.verdict(), Verdict::Passing | Verdict::Unclear) => {
                return Ok(self.wait_longer());
            }
            _ => return Err(error),
        };
        match code {
            "authorization_pending" => Ok(Poll::Pending),
            "slow_down" => {
                self.interval = (self.interval + SLOW_DOWN_STEP).min(MAX_POLL_INTERVAL);
                Ok(Poll::Pending)
            }
            // RFC 6749 §4.1.2.1 and §5.2 define them for other requests; they say nothing about the
            // code.
            "temporarily_unavailable" | "server_error" => Ok(self.wait_longer()),
            // Some servers forget an expired code: RFC 6749 §5.2, GitHub, Microsoft.
            "expired_token"
            | "invalid_grant"
            | "incorrect_device_code"
            | "bad_verification_code" => Ok(Poll::Expired),
            // The second is Microsoft's.
            "access_denied" | "authorization_declined" => Ok(Poll::Denied),
            _ => Err(error),
        }
    }

    fn wait_longer(&mut self) -> Poll {
        self.interval = (self.interval * 2).min(MAX_POLL_INTERVAL);
        Poll::Pending
    }
}

/// Returns a page that a user may be sent to. `Url` leaves no character in it that could control a
/// terminal. Plain HTTP is accepted only on the origin of `endpoint`, which the operator's
/// configuration allows.
fn page(written: &str, endpoint: &Url) -> Option<Url> {
    let url = Url::parse(written).ok()?;
    let is_safe = url.scheme() == "https" || url.origin() == endpoint.origin();
    let is_plain = url.username().is_empty() && url.password().is_none();
    (is_safe && is_plain && url.has_host() && url.as_str().len() <= 2048).then_some(url)
}
