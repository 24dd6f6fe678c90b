//! Claims that an issuer gives for an access token instead of in the ID token.

use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

use super::introspection::claims;
use super::{OAuthClient, REQUEST_TIMEOUT, TokenError, request};
use crate::net::Trust;

impl OAuthClient {
    /// Asks for the user's claims (OpenID Connect Core §5.3). `endpoint` must be that of an issuer
    /// which the operator configured: it gets the token.
    ///
    /// # Errors
    /// [`TokenError`] if the request fails or the response is no JSON object.
    pub async fn userinfo(
        &self,
        endpoint: &Url,
        access: &SecretString,
    ) -> Result<Map<String, Value>, TokenError> {
        let mut request = reqwest::Request::new(reqwest::Method::GET, endpoint.clone());
        *request.timeout_mut() = Some(REQUEST_TIMEOUT);
        request::authorize(&mut request, &request::bearer(access))
            .ok_or(TokenError::Malformed("the request cannot be written"))?;
        claims(self.net.send_read(request, Trust::Written).await?).await
    }
}
