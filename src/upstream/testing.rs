//! Tools and providers for the unit tests of this module.

use std::time::Duration;

use serde_json::{Map, Value};
use url::Url;

use crate::model::credential::Credential;
use crate::model::hosts::Hosts;
use crate::model::oauth::{
    Endpoints, GrantType, LoopbackRule, OAuthSettings, TokenBody, TokenResponseShape,
};
use crate::model::provider::FailureConvention;
use crate::model::retention::Retention;
use crate::model::scope::Implied;
use crate::model::secret_ref::Setting;
use crate::model::tool::{Action, Body, Effect, HttpAction, Input, Method, Piece, Template};
use crate::model::{Provider, ProviderId, Scopes, Tool, ToolName};

/// Parses a template such as `a{b}c`.
pub(super) fn template(text: &str) -> Template {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').expect("a closing brace");
        if !before.is_empty() {
            pieces.push(Piece::Text(before.into()));
        }
        pieces.push(Piece::Param(name.into()));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.into()));
    }
    Template(pieces)
}

/// Returns an action for a URL such as `https://api.acme.example/user/{a}/x`.
pub(super) fn action(method: Method, url: &str) -> HttpAction {
    let (scheme, rest) = url.split_once("://").expect("a scheme");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    HttpAction {
        method,
        origin: Url::parse(&format!("{scheme}://{host}")).expect("an origin"),
        path: segments.map(template).collect(),
        query: Vec::new(),
        headers: Vec::new(),
        body: Body::None,
        select: None,
        error: None,
        reply: None,
        timeout: Duration::from_secs(5),
        max_chars: 40_000,
        is_untrusted: false,
    }
}

pub(super) fn tool(action: HttpAction) -> Tool {
    Tool {
        name: ToolName::new("acme_tool"),
        title: "Acme tool".into(),
        description: String::new(),
        input: Input::none(),
        accounts: false,
        effect: Effect::Write,
        idempotent: action.method.is_idempotent(),
        provider: Some(ProviderId::new("acme")),
        scopes: Scopes::new(["notes:write"]),
        action: Action::Http(action),
        allow: None,
        output: None,
        faces: crate::model::face::FaceNames::default(),
        returns: crate::model::tool::Returns::default(),
        confirm: None,
    }
}

pub(super) fn provider(hosts: &[&str]) -> Provider {
    Provider {
        id: ProviderId::new("acme"),
        title: "Acme".into(),
        base_url: None,
        hosts: Hosts::new(hosts),
        headers: Vec::new(),
        credential: Credential::OAuth(Box::new(OAuthSettings {
            refresh_life: None,
            offline_prompt: false,
            grant: GrantType::Code,
            endpoints: Endpoints {
                issuer: None,
                authorize: None,
                token: None,
                refresh: None,
                revoke: None,
                device: None,
            },
            client_id: Some(Setting::Literal("c".into())),
            client_secret: None,
            token_auth: None,
            token_body: TokenBody::Form,
            scopes: Scopes::default(),
            scope_separator: " ".into(),
            scope_parameter: "scope".into(),
            implied: Implied::from([("repo".into(), vec!["public_repo".into()])]),
            pkce: true,
            params: Vec::new(),
            token_params: Vec::new(),
            token_header: None,
            identity: None,
            response: TokenResponseShape::default(),
            loopback: LoopbackRule::default(),
            is_learnt: false,
        })),
        failure: FailureConvention::default(),
        console_url: None,
        scope_words: std::collections::BTreeMap::new(),
        known_scopes: Scopes::default(),
        accounts: false,
        retention: Retention::default(),
        guide: crate::model::guide::Guide::default(),
    }
}

pub(super) fn arguments(value: &Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}
