//! Ends a grant at the provider: RFC 7009, or the provider's own way.

use reqwest::{Method, Request};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use url::Url;

use super::request::{self, authorize, basic, bearer, send_json, set_fields};
use crate::model::TokenSet;
use crate::model::consent_plan::ClientRegistration;
use crate::model::oauth::{Revocation, RevocationRequest};

/// Builds the request that ends a grant; `None` if it cannot be written, e.g. without a secret.
pub(super) fn request(
    client: &ClientRegistration,
    revocation: &Revocation,
    tokens: &TokenSet,
) -> Option<Request> {
    let mut request = match revocation {
        // Revoking the refresh token also ends the tokens made from it (RFC 7009 §2.1).
        Revocation::Rfc7009(url) => {
            rfc7009(client, url, tokens.refresh.as_ref().unwrap_or(&tokens.access))?
        }
        Revocation::AccessToken(url) => rfc7009(client, url, &tokens.access)?,
        Revocation::Bearer(url) => by_itself(Method::POST, url, tokens)?,
        Revocation::Delete(url) => by_itself(Method::DELETE, url, tokens)?,
        Revocation::GitHub(api) => {
            let mut url = api.clone();
            // The id is a path segment and must stay one.
            url.path_segments_mut().ok()?.pop_if_empty().extend([
                "applications",
                &client.client_id,
                "token",
            ]);
            let mut request = Request::new(Method::DELETE, url);
            authorize(&mut request, &basic(client)?)?;
            let access = tokens.access.expose_secret();
            send_json(&mut request, &json!({ "access_token": access }));
            request
        }
        Revocation::Request(written) => as_written(client, written, tokens)?,
    };
    *request.timeout_mut() = Some(super::REQUEST_TIMEOUT);
    Some(request)
}

/// Fills in the placeholders of a provider's own request. Values only: no text of ours becomes a
/// name, a URL or a second header.
fn as_written(
    client: &ClientRegistration,
    written: &RevocationRequest,
    tokens: &TokenSet,
) -> Option<Request> {
    let secret = client.client_secret.as_ref().map(ExposeSecret::expose_secret);
    let fill = |text: &str| {
        if secret.is_none() && text.contains("{client_secret}") {
            return None;
        }
        Some(
            text.replace("{client_id}", &client.client_id)
                .replace("{client_secret}", secret.unwrap_or_default())
                .replace("{access_token}", tokens.access.expose_secret()),
        )
    };
    let mut request = Request::new(Method::POST, written.url.clone());
    if let Some(authorization) = &written.authorization {
        authorize(&mut request, &fill(authorization)?)?;
    }
    let filled = written.fields.iter().map(|(name, value)| Some((name.clone(), fill(value)?)));
    let filled: Vec<(String, String)> = filled.collect::<Option<_>>()?;
    set_fields(&mut request, written.body, &filled);
    Some(request)
}

/// Builds a request that the access token itself authorizes.
fn by_itself(method: Method, url: &Url, tokens: &TokenSet) -> Option<Request> {
    let mut request = Request::new(method, url.clone());
    authorize(&mut request, &bearer(&tokens.access))?;
    Some(request)
}

fn rfc7009(client: &ClientRegistration, url: &Url, token: &SecretString) -> Option<Request> {
    request::post(client, url, vec![("token", token.expose_secret())])
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;

    use super::*;
    use crate::model::Time;
    use crate::model::oauth::{TokenAuth, TokenBody, TokenResponseShape};

    fn client(token_auth: TokenAuth, token_body: TokenBody) -> ClientRegistration {
        ClientRegistration {
            client_id: "our id".into(),
            client_secret: Some("a+b".into()),
            token_endpoint: "https://login.acme.example/token".parse().unwrap(),
            refresh_endpoint: None,
            token_params: Vec::new(),
            token_auth,
            token_body,
            response: TokenResponseShape::default(),
            revocation: None,
            learnt: false,
        }
    }

    fn tokens() -> TokenSet {
        TokenSet {
            user: None,
            access: "acc".into(),
            refresh: Some("ref".into()),
            expires_at: None,
            refresh_expires_at: None,
            received_at: Time::from_millis(0),
        }
    }

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn body(request: &Request) -> &str {
        std::str::from_utf8(request.body().unwrap().as_bytes().unwrap()).unwrap()
    }

    #[test]
    fn rfc_7009_sends_the_refresh_token_and_authenticates_as_at_the_token_endpoint() {
        let way = Revocation::Rfc7009(url("https://login.acme.example/revoke"));
        let basic = client(TokenAuth::Basic, TokenBody::Form);
        let sent = request(&basic, &way, &tokens()).unwrap();
        assert_eq!(body(&sent), "token=ref");
        // our+id:a%2Bb
        assert_eq!(sent.headers()[AUTHORIZATION], "Basic b3VyK2lkOmElMkJi");
        let post = client(TokenAuth::Post, TokenBody::Form);
        let sent = request(&post, &way, &tokens()).unwrap();
        assert_eq!(body(&sent), "token=ref&client_id=our+id&client_secret=a%2Bb");
        let way = Revocation::AccessToken(url("https://id.twitch.tv/oauth2/revoke"));
        let sent = request(&post, &way, &tokens()).unwrap();
        assert_eq!(body(&sent), "token=acc&client_id=our+id&client_secret=a%2Bb");
        let way = Revocation::Rfc7009(url("https://login.acme.example/revoke"));
        let bearer = request(&client(TokenAuth::Bearer, TokenBody::Form), &way, &tokens()).unwrap();
        assert_eq!(bearer.headers()[AUTHORIZATION], "Bearer a+b");
        assert_eq!(body(&bearer), "token=ref");
        let json = client(TokenAuth::Basic, TokenBody::Json);
        assert_eq!(body(&request(&json, &way, &tokens()).unwrap()), r#"{"token":"ref"}"#);
    }

    #[test]
    fn github_s_way_names_the_app_in_the_path() {
        let way = Revocation::GitHub(url("https://api.github.com"));
        let client = client(TokenAuth::Post, TokenBody::Form);
        let sent = request(&client, &way, &tokens()).unwrap();
        assert_eq!(sent.method(), Method::DELETE);
        assert_eq!(sent.url().as_str(), "https://api.github.com/applications/our%20id/token");
        assert_eq!(body(&sent), r#"{"access_token":"acc"}"#);
    }

    #[test]
    fn a_token_may_end_itself() {
        let way = Revocation::Bearer(url("https://slack.com/api/auth.revoke"));
        let client = client(TokenAuth::Post, TokenBody::Form);
        let sent = request(&client, &way, &tokens()).unwrap();
        assert_eq!(sent.headers()[AUTHORIZATION], "Bearer acc");
        let way = Revocation::Delete(url("https://acme.zendesk.com/api/v2/oauth/tokens/current"));
        let sent = request(&client, &way, &tokens()).unwrap();
        assert_eq!(sent.method(), Method::DELETE);
        assert_eq!(sent.headers()[AUTHORIZATION], "Bearer acc");
    }

    #[test]
    fn a_provider_s_own_way_is_filled_in() {
        let texts = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        let square = RevocationRequest {
            url: url("https://connect.squareup.com/oauth2/revoke"),
            authorization: Some("Client {client_secret}".into()),
            fields: texts(&[("access_token", "{access_token}"), ("client_id", "{client_id}")]),
            body: TokenBody::Json,
        };
        let post = client(TokenAuth::Post, TokenBody::Form);
        let sent = request(&post, &Revocation::Request(square.clone()), &tokens()).unwrap();
        assert_eq!(sent.headers()[AUTHORIZATION], "Client a+b");
        assert_eq!(body(&sent), r#"{"access_token":"acc","client_id":"our id"}"#);
        let form = RevocationRequest { body: TokenBody::Form, ..square.clone() };
        let sent = request(&post, &Revocation::Request(form), &tokens()).unwrap();
        assert_eq!(body(&sent), "access_token=acc&client_id=our+id");
        // Without a secret it cannot be written.
        let public = ClientRegistration { client_secret: None, ..post };
        assert!(request(&public, &Revocation::Request(square), &tokens()).is_none());
    }
}
