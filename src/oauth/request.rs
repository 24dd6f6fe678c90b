//! Requests that the `oauth2` crate does not build: a POST with the client's authentication.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, Request};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::model::consent_plan::ClientRegistration;
use crate::model::oauth::{TokenAuth, TokenBody};

/// Builds a POST to an endpoint that authenticates clients as the token endpoint does; `None` if
/// the authentication cannot be written.
pub(super) fn post<'a>(
    client: &'a ClientRegistration,
    url: &Url,
    mut fields: Vec<(&'a str, &'a str)>,
) -> Option<Request> {
    let mut request = Request::new(Method::POST, url.clone());
    *request.timeout_mut() = Some(super::REQUEST_TIMEOUT);
    // GitHub answers in form encoding unless the client asks for JSON.
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    match (client.token_auth, &client.client_secret) {
        (TokenAuth::Basic, Some(_)) => authorize(&mut request, &basic(client)?)?,
        (TokenAuth::Post, Some(secret)) => {
            fields.push(("client_id", &client.client_id));
            fields.push(("client_secret", secret.expose_secret()));
        }
        // The secret identifies us; Stripe refuses a parameter that it does not expect.
        (TokenAuth::Bearer, Some(secret)) => authorize(&mut request, &bearer(secret))?,
        // An assertion may come from a client that does not identify itself (RFC 7523 §3.1).
        (_, None) | (TokenAuth::None, _) if client.client_id.is_empty() => {}
        (_, None) | (TokenAuth::None, _) => fields.push(("client_id", &client.client_id)),
    }
    set_fields(&mut request, client.token_body, &fields);
    Some(request)
}

pub(super) fn set_fields<N: AsRef<str>, V: AsRef<str>>(
    request: &mut Request,
    body: TokenBody,
    fields: &[(N, V)],
) {
    match body {
        TokenBody::Form => {
            let form =
                form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            set_body(request, "application/x-www-form-urlencoded", form);
        }
        TokenBody::Json => {
            let fields = fields
                .iter()
                .map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().into()));
            send_json(request, &Value::Object(fields.collect()));
        }
    }
}

pub(super) fn send_json(request: &mut Request, body: &Value) {
    set_body(request, "application/json", body.to_string());
}

fn set_body(request: &mut Request, kind: &'static str, body: String) {
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    *request.body_mut() = Some(body.into());
}

pub(super) fn authorize(request: &mut Request, value: &str) -> Option<()> {
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, value);
    Some(())
}

/// Returns Bearer credentials (RFC 6750 §2.1).
pub(super) fn bearer(secret: &SecretString) -> String {
    format!("Bearer {}", secret.expose_secret())
}

/// Returns Basic credentials; both parts are form-encoded before they are joined (RFC 6749 §2.3.1).
pub(super) fn basic(client: &ClientRegistration) -> Option<String> {
    let secret = client.client_secret.as_ref()?.expose_secret();
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(&client.client_id), encode(secret));
    Some(format!("Basic {}", STANDARD.encode(pair)))
}
