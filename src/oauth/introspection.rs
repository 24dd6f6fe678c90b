//! Token introspection (RFC 7662): asks an authorization server about a token that only it can
//! read.

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::{MAX_RESPONSE_BYTES, OAuthClient, TokenError, request, trust};
use crate::model::consent_plan::ClientRegistration;
use crate::net;

impl OAuthClient {
    /// Asks about an access token (RFC 7662 §2.1). `endpoint` must be as trusted as the token
    /// endpoint: it gets our secret and the token.
    ///
    /// # Errors
    /// [`TokenError`] if the request fails or the response is no JSON object; `active: false` is no
    /// error.
    pub async fn introspect(
        &self,
        client: &ClientRegistration,
        endpoint: &Url,
        token: &SecretString,
    ) -> Result<Map<String, Value>, TokenError> {
        let fields = vec![("token", token.expose_secret()), ("token_type_hint", "access_token")];
        let request = request::post(client, endpoint, fields)
            .ok_or(TokenError::Malformed("the request cannot be written"))?;
        let response = self.net.send_once(request, trust(client)).await?;
        claims(response).await
    }
}

/// Reads the JSON object of claims in a successful response. Signed ones (RFC 9701) are for clients
/// that do not trust the connection, and are not read.
pub(super) async fn claims(response: reqwest::Response) -> Result<Map<String, Value>, TokenError> {
    let status = response.status();
    if !status.is_success() {
        let retry_after = net::retry_after(|name| response.headers().get(name)?.to_str().ok());
        return Err(TokenError::Status { status: status.as_u16(), retry_after });
    }
    let body = net::read(response, MAX_RESPONSE_BYTES).await?;
    serde_json::from_slice(&body).map_err(|_| TokenError::Malformed("it is no JSON object"))
}
