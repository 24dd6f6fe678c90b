//! Claims that an issuer gives for an access token instead of writing them into the ID token.

use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

use super::introspection::claims;
use super::{OAuthClient, TIME_LIMIT, TokenError, message};
use crate::net::Trust;

impl OAuthClient {
    /// Asks for the person's claims (OpenID Connect Core §5.3). `endpoint` stands beside an issuer
    /// that the operator wrote: it is given the token.
    ///
    /// # Errors
    /// [`TokenError`]
    pub async fn userinfo(
        &self,
        endpoint: &Url,
        access: &SecretString,
    ) -> Result<Map<String, Value>, TokenError> {
        let mut request = reqwest::Request::new(reqwest::Method::GET, endpoint.clone());
        *request.timeout_mut() = Some(TIME_LIMIT);
        message::authorize(&mut request, &message::bearer(access))
            .ok_or(TokenError::Malformed("the request cannot be written"))?;
        claims(self.net.send(request, Trust::Written).await?).await
    }
}
