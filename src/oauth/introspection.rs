//! Token introspection (RFC 7662): what an authorization server says of a token that is nobody's
//! but its own to read.

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::{LARGEST, OAuthClient, TokenError, message, trust};
use crate::model::authorization::ClientRegistration;
use crate::net;

impl OAuthClient {
    /// Asks about an access token (RFC 7662 §2.1). `endpoint` stands beside the token endpoint: it is
    /// given our secret and the token.
    ///
    /// # Errors
    /// [`TokenError`]: no answer. One that says `active: false` is an answer.
    pub async fn introspect(
        &self,
        client: &ClientRegistration,
        endpoint: &Url,
        token: &SecretString,
    ) -> Result<Map<String, Value>, TokenError> {
        let fields = vec![("token", token.expose_secret()), ("token_type_hint", "access_token")];
        let request = message::post(client, endpoint, fields)
            .ok_or(TokenError::Malformed("the request cannot be written"))?;
        let response = self.net.send(request, trust(client)).await?;
        claims(response).await
    }
}

/// A JSON object of claims that came with a success. A signed one (RFC 9701) is for whoever does not
/// trust the connection that it came over.
pub(super) async fn claims(response: reqwest::Response) -> Result<Map<String, Value>, TokenError> {
    let status = response.status();
    if !status.is_success() {
        let retry_after = net::retry_after(|name| response.headers().get(name)?.to_str().ok());
        return Err(TokenError::Status { status: status.as_u16(), retry_after });
    }
    let body = net::read(response, LARGEST).await?;
    serde_json::from_slice(&body).map_err(|_| TokenError::Malformed("it is no JSON object"))
}
