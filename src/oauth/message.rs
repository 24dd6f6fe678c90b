//! Messages that the `oauth2` crate does not write: a POST with the client's authentication.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, Request};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::model::authorization::ClientRegistration;
use crate::model::provider::{TokenAuth, TokenBody};

/// A message to an endpoint that authenticates clients as the token endpoint does; `None` where the
/// authentication cannot be written.
pub(super) fn post<'a>(
    client: &'a ClientRegistration,
    url: &Url,
    mut fields: Vec<(&'a str, &'a str)>,
) -> Option<Request> {
    let mut request = Request::new(Method::POST, url.clone());
    *request.timeout_mut() = Some(super::TIME_LIMIT);
    // GitHub answers in form encoding to whoever does not ask for JSON.
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    match (client.token_auth, &client.client_secret) {
        (TokenAuth::Basic, Some(_)) => authorize(&mut request, &basic(client)?)?,
        (TokenAuth::Post, Some(secret)) => {
            fields.push(("client_id", &client.client_id));
            fields.push(("client_secret", secret.expose_secret()));
        }
        // An assertion may come from a client that says nothing of itself (RFC 7523 §3.1).
        (_, None) | (TokenAuth::None, _) if client.client_id.is_empty() => {}
        (_, None) | (TokenAuth::None, _) => fields.push(("client_id", &client.client_id)),
    }
    match client.token_body {
        TokenBody::Form => {
            let form =
                form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            set_body(&mut request, "application/x-www-form-urlencoded", form);
        }
        TokenBody::Json => {
            let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
            send_json(&mut request, &Value::Object(fields.collect()));
        }
    }
    Some(request)
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

/// RFC 6749 §2.3.1: both parts are form-encoded before they are joined.
pub(super) fn basic(client: &ClientRegistration) -> Option<String> {
    let secret = client.client_secret.as_ref()?.expose_secret();
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(&client.client_id), encode(secret));
    Some(format!("Basic {}", STANDARD.encode(pair)))
}
