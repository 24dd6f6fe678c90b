//! The request that finds out whose account at a provider a token is for.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::face::FaceNames;
use super::tool::{
    Action, Body, Effect, HttpAction, Input, Method, Node, Piece, Returns, Template,
};
use super::{ProviderId, Scopes, Tool, ToolName};

/// Timeout of the identity request: the user waits for the page, and the account can also stay
/// unidentified.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(8);
/// Maximum characters of the identity response. Enough for any profile; a cut one would not be JSON
/// any more.
const MAX_IDENTITY_CHARS: usize = 1_000_000;

/// Request that asks the provider whose token this is. It carries the provider's fixed headers and
/// the access token, like any call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub method: Method,
    pub url: Url,
    pub headers: Vec<(String, String)>,
    /// A JSON body, e.g. a GraphQL query.
    pub body: Option<Value>,
    /// JSON pointer (RFC 6901) to the account's stable id.
    pub id: String,
    /// JSON pointers to the account's label; the first that finds a value wins.
    pub label: Vec<String>,
    /// Whether an application named the URL over REST; then it counts as learnt.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_learnt: bool,
}

impl Identity {
    /// A userinfo endpoint (OpenID Connect Core §5.3).
    pub fn openid(userinfo: Url) -> Self {
        Self {
            method: Method::Get,
            url: userinfo,
            headers: Vec::new(),
            body: None,
            id: "/sub".into(),
            label: ["/email", "/preferred_username", "/name"].map(str::to_owned).to_vec(),
            is_learnt: false,
        }
    }

    /// Returns the request as a tool, which no client ever sees.
    pub fn tool(&self, provider: &ProviderId) -> Tool {
        let text = |text: &str| Template(vec![Piece::Text(text.to_owned())]);
        let segments = self.url.path_segments().into_iter().flatten();
        let decoded = |segment: &str| percent_decode_str(segment).decode_utf8_lossy().into_owned();
        let mut origin = self.url.clone();
        origin.set_path("");
        origin.set_query(None);
        Tool {
            name: ToolName::new(format!("{provider}_identity")),
            title: String::new(),
            description: String::new(),
            input: Input::none(),
            accounts: false,
            effect: Effect::Read,
            idempotent: true,
            provider: Some(provider.clone()),
            scopes: Scopes::default(),
            action: Action::Http(HttpAction {
                method: self.method,
                origin,
                path: segments.map(|segment| text(&decoded(segment))).collect(),
                query: self
                    .url
                    .query_pairs()
                    .map(|(name, value)| (name.into_owned(), text(&value)))
                    .collect(),
                headers: self
                    .headers
                    .iter()
                    .map(|(name, value)| (name.clone(), text(value)))
                    .collect(),
                body: self.body.clone().map_or(Body::None, |body| Body::Json(Node::Fixed(body))),
                select: None,
                error: None,
                reply: None,
                timeout: IDENTITY_TIMEOUT,
                max_chars: MAX_IDENTITY_CHARS,
                is_untrusted: self.is_learnt,
            }),
            allow: None,
            output: None,
            faces: FaceNames::default(),
            returns: Returns::default(),
            confirm: None,
        }
    }

    /// Returns the account's stable id from the provider's answer; `None` if the answer has none,
    /// and then the account is unidentified.
    pub fn id_in(&self, answer: &Value) -> Option<String> {
        text_at(answer, &self.id)
    }

    /// Returns the account's label, for people: a text from outside.
    pub fn label_in(&self, answer: &Value) -> Option<String> {
        self.label.iter().find_map(|pointer| text_at(answer, pointer))
    }
}

/// Returns a string or a number: ids are numbers at some providers.
fn text_at(answer: &Value, pointer: &str) -> Option<String> {
    match answer.pointer(pointer)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_a_stable_id_and_the_first_label_found() {
        let identity = Identity {
            id: "/id".into(),
            label: vec!["/login".into(), "/email".into()],
            ..Identity::openid(Url::parse("https://api.example.com/me").expect("a URL"))
        };
        let answer = serde_json::json!({"id": 7, "login": " ", "email": "ana@example.com"});
        assert_eq!(identity.id_in(&answer).as_deref(), Some("7"));
        assert_eq!(identity.label_in(&answer).as_deref(), Some("ana@example.com"));
        assert_eq!(identity.id_in(&serde_json::json!({"id": null})), None);
    }
}
