//! Ending a grant at the provider: RFC 7009, or the provider's own way.

use reqwest::{Method, Request};
use secrecy::ExposeSecret as _;
use serde_json::json;
use url::Url;

use super::message::{self, authorize, basic, send_json};
use crate::model::TokenSet;
use crate::model::authorization::ClientRegistration;
use crate::model::provider::Revocation;

/// The request that ends a grant; `None` where it cannot be written, e.g. for want of a secret.
pub(super) fn request(
    client: &ClientRegistration,
    revocation: &Revocation,
    tokens: &TokenSet,
) -> Option<Request> {
    let mut request = match revocation {
        Revocation::Rfc7009(url) => rfc7009(client, url, tokens)?,
        Revocation::Bearer(url) => {
            let mut request = Request::new(Method::POST, url.clone());
            let access = tokens.access.expose_secret();
            authorize(&mut request, &format!("Bearer {access}"))?;
            request
        }
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
    };
    *request.timeout_mut() = Some(super::TIME_LIMIT);
    Some(request)
}

/// The refresh token where there is one, else the access token (RFC 7009 §2.1): ending the former
/// ends what came of it.
fn rfc7009(client: &ClientRegistration, url: &Url, tokens: &TokenSet) -> Option<Request> {
    let token = tokens.refresh.as_ref().unwrap_or(&tokens.access).expose_secret();
    message::post(client, url, vec![("token", token)])
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;

    use super::*;
    use crate::model::Time;
    use crate::model::provider::{TokenAuth, TokenBody, TokenResponseShape};

    fn client(token_auth: TokenAuth, token_body: TokenBody) -> ClientRegistration {
        ClientRegistration {
            client_id: "our id".into(),
            client_secret: Some("a+b".into()),
            token_endpoint: "https://login.acme.example/token".parse().unwrap(),
            token_auth,
            token_body,
            response: TokenResponseShape::default(),
            revocation: None,
            learnt: false,
        }
    }

    fn tokens() -> TokenSet {
        TokenSet {
            access: "acc".into(),
            refresh: Some("ref".into()),
            expires_at: None,
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
    }
}
