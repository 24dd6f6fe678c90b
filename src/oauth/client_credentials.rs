//! Grants of the server itself, which need no consent of a user.

use secrecy::ExposeSecret as _;

use super::{Assertion, Issued, OAuthClient, TokenError};
use crate::model::Scopes;
use crate::model::consent_plan::ClientRegistration;

const JWT_BEARER_GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

impl OAuthClient {
    /// Gets a token for our own client credentials (RFC 6749 §4.4).
    ///
    /// # Errors
    /// [`TokenError`] if the request brings no token.
    pub async fn client_credentials(
        &self,
        client: &ClientRegistration,
        scopes: &Scopes,
    ) -> Result<Issued, TokenError> {
        let scope = scopes.join(" ");
        let fields = vec![("grant_type", "client_credentials")];
        self.own(client, fields, &scope).await
    }

    /// Gets a token for an assertion that we sign (RFC 7523 §2.1). A client with an id also
    /// authenticates itself; with an empty id, only the assertion does.
    ///
    /// # Errors
    /// [`TokenError`] if the assertion cannot be signed or the request brings no token.
    pub async fn jwt_bearer(
        &self,
        client: &ClientRegistration,
        assertion: &Assertion,
        scopes: &Scopes,
    ) -> Result<Issued, TokenError> {
        let signed = assertion.sign(scopes, self.clock.now())?;
        let scope = if assertion.claims_scope { String::new() } else { scopes.join(" ") };
        let fields =
            vec![("grant_type", JWT_BEARER_GRANT_TYPE), ("assertion", signed.expose_secret())];
        self.own(client, fields, &scope).await
    }

    async fn own<'a>(
        &self,
        client: &'a ClientRegistration,
        mut fields: Vec<(&'a str, &'a str)>,
        scope: &'a str,
    ) -> Result<Issued, TokenError> {
        if !scope.is_empty() {
            fields.push(("scope", scope));
        }
        let mut issued = self.ask(client, fields).await?;
        // A server may send a refresh token against RFC 6749 §4.4.3; the credentials themselves are
        // better.
        issued.tokens.refresh = None;
        Ok(issued)
    }
}
