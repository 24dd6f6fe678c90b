//! Calls to an API on loopback: ordinary ones, and the faults that an API may have.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on should end"
)]

mod faults;
mod jq;
mod memory;
mod redirects;
mod words;

use std::time::Duration;

use countersign::model::credential::{Credential as ProviderCredential, KeyPlace, Shared};
use countersign::model::event::CallOutcome;
use countersign::model::hosts::Hosts;
use countersign::model::provider::FailureConvention;
use countersign::model::retention::Retention;
use countersign::model::secret_ref::SecretRef;
use countersign::model::tool::{
    Action, Body, Effect, Filter, HttpAction, Input, Method, Piece, Template,
};
use countersign::model::{Provider, ProviderId, Scopes, Tool, ToolName};
use countersign::net::{Net, Policy};
use countersign::upstream::jq::Jq;
use countersign::upstream::{Answer, Credential, Upstream};
use serde_json::{Map, Value, json};
use url::Url;

use crate::shown::Shown;
use crate::support::provider::{self, Server, json as json_answer};

const SECRET: &str = "canary-s3cr3t/token+42=";

fn upstream() -> Upstream {
    Upstream::new(Net::new(Policy::default()), Jq::new(env!("CARGO_BIN_EXE_countersign").into()))
}

/// A tool that reads `/x` of a server; each test changes what it is about.
fn tool(server: &Server) -> Tool {
    tool_of(HttpAction {
        method: Method::Get,
        origin: Url::parse(&server.origin).expect("a URL"),
        path: vec![Template(vec![Piece::Text("x".into())])],
        query: Vec::new(),
        headers: Vec::new(),
        body: Body::None,
        select: None,
        error: None,
        reply: None,
        timeout: Duration::from_secs(20),
        max_chars: 40_000,
        is_untrusted: false,
    })
}

fn tool_of(action: HttpAction) -> Tool {
    Tool {
        name: ToolName::new("acme_tool"),
        title: "Acme tool".into(),
        description: String::new(),
        input: Input::none(),
        accounts: false,
        effect: Effect::Read,
        idempotent: action.method.is_idempotent(),
        provider: None,
        scopes: Scopes::default(),
        action: Action::Http(action),
        allow: None,
        output: None,
        faces: countersign::model::face::FaceNames::default(),
        returns: countersign::model::tool::Returns::default(),
        confirm: None,
    }
}

fn with(tool: Tool, change: impl FnOnce(&mut HttpAction)) -> Tool {
    let Action::Http(mut action) = tool.action else { panic!("a request") };
    change(&mut action);
    let idempotent = action.method.is_idempotent();
    Tool { action: Action::Http(action), idempotent, ..tool }
}

fn provider(server: &Server) -> Provider {
    Provider {
        id: ProviderId::new("acme"),
        title: "Acme".into(),
        base_url: None,
        hosts: Hosts::new([server.origin.trim_start_matches("http://")]),
        headers: Vec::new(),
        credential: ProviderCredential::Shared(Shared::Key {
            place: KeyPlace::Query("key".into()),
            value: SecretRef::Env("ACME_KEY".into()),
        }),
        failure: FailureConvention::default(),
        console_url: None,
        scope_words: std::collections::BTreeMap::new(),
        known_scopes: Scopes::default(),
        accounts: false,
        retention: Retention::default(),
        guide: countersign::model::guide::Guide::default(),
    }
}

/// Returns the result of a call without a credential.
async fn call(tool: &Tool) -> Shown {
    let answer = upstream().execute(tool, None, &Map::new(), None).await;
    assert!(matches!(answer, Answer::Done(_) | Answer::Failed(_)), "{answer:?}");
    result_of(answer)
}

fn result_of(answer: Answer) -> Shown {
    match answer {
        Answer::Done(result) => result.into(),
        Answer::Failed(failure)
        | Answer::Unauthorized(failure)
        | Answer::InsufficientScope { failure, .. } => failure.into(),
    }
}

#[tokio::test]
async fn an_answer_is_filtered_and_shown() {
    let server = Server::saying(json_answer(r#"{"items": [{"id": 1, "x": 0}, {"id": 2}]}"#)).await;
    let tool =
        with(tool(&server), |action| action.select = Some(Filter::new("[.items[] | {id}]", 3)));
    assert_eq!(call(&tool).await, Shown::text(r#"[{"id":1},{"id":2}]"#));
}

#[tokio::test]
async fn a_credential_travels_in_its_header() {
    let server = Server::saying(json_answer("{}")).await;
    let token = Credential::Bearer(SECRET.into());
    let answer = upstream()
        .execute(&tool(&server), Some(provider(&server).api()), &Map::new(), Some(&token))
        .await;
    assert!(!result_of(answer).is_error);
    let request = server.requests().pop().expect("a request");
    assert!(request.contains(&format!("authorization: Bearer {SECRET}")), "{request}");
    assert!(request.contains("user-agent: countersign/"), "{request}");
    assert!(!request.contains("referer"), "{request}");
}

#[tokio::test]
async fn a_credential_is_never_sent_to_another_host() {
    let server = Server::saying(json_answer("{}")).await;
    let elsewhere = Provider { hosts: Hosts::new(["api.acme.example"]), ..provider(&server) };
    let token = Credential::Bearer(SECRET.into());
    let answer =
        upstream().execute(&tool(&server), Some(elsewhere.api()), &Map::new(), Some(&token)).await;
    let result = result_of(answer);
    assert!(result.is_error && result.text.contains("`hosts`"), "{}", result.text);
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn connections_are_kept() {
    let server = Server::saying(json_answer("{}")).await;
    let (upstream, tool) = (upstream(), tool(&server));
    for _ in 0..5 {
        let answer = upstream.execute(&tool, None, &Map::new(), None).await;
        assert!(!result_of(answer).is_error);
    }
    assert_eq!((server.connections(), server.requests().len()), (1, 5));
}

#[tokio::test]
async fn a_body_is_sent_and_a_fixed_reply_given() {
    let server = Server::saying(provider::answer("204 No Content", "", "")).await;
    let mut tool = with(tool(&server), |action| {
        action.method = Method::Post;
        action.body = Body::Json(countersign::model::tool::Node::Param("note".into()));
    });
    let arguments: Map<String, Value> =
        json!({"note": {"a": "\u{1b}[1m"}}).as_object().expect("an object").clone();
    let answer = upstream().execute(&tool, None, &arguments, None).await;
    assert_eq!(result_of(answer), Shown::text("Done: 127.0.0.1 answered 204 No Content."));
    let request = server.requests().pop().expect("a request");
    assert!(request.ends_with(r#"{"a":"\u001b[1m"}"#), "{request}");

    tool = with(tool, |action| {
        action.reply = Some(Template(vec![
            Piece::Text("Noted ".into()),
            Piece::Param("who".into()),
            Piece::Text(".".into()),
        ]));
    });
    let arguments = json!({"who": "ana\u{202e}"}).as_object().expect("an object").clone();
    let answer = upstream().execute(&tool, None, &arguments, None).await;
    assert_eq!(result_of(answer), Shown::text("Noted ana."));
}

#[tokio::test]
async fn a_post_without_a_body_says_so() {
    let server = Server::saying(json_answer("{}")).await;
    let tool = with(tool(&server), |action| action.method = Method::Post);
    assert!(!call(&tool).await.is_error);
    let request = server.requests().pop().expect("a request").to_ascii_lowercase();
    assert!(request.contains("content-length: 0"), "{request}");
}

#[tokio::test]
async fn an_error_filter_makes_a_failure() {
    let server =
        Server::saying(json_answer(r#"{"status": "rejected", "reason": "Out of stock"}"#)).await;
    let filter = r#"if .status == "rejected" then .reason else empty end"#;
    let tool = with(tool(&server), |action| action.error = Some(Filter::new(filter, 3)));
    let result = call(&tool).await;
    assert_eq!((result.is_error, result.outcome), (true, CallOutcome::ApiFailure));
    let words = "answered with a failure: “Out of stock”.";
    assert!(result.text.ends_with(words), "{}", result.text);
}

#[tokio::test]
async fn structured_content_is_the_same_data_and_fits_its_schema() {
    let schema = json!({"type": "object", "properties": {"id": {"type": "string"}}});
    let output = Some(std::sync::Arc::new(schema.as_object().expect("an object").clone()));
    let server = Server::saying(json_answer(r#"{"id": "a", "more": 1}"#)).await;
    let tool = Tool { output, ..tool(&server) };
    let result = call(&tool).await;
    assert_eq!(result.structured, Some(json!({"id": "a", "more": 1})));
    assert_eq!(result.text, r#"{"id":"a","more":1}"#);

    let tool = with(tool, |action| action.select = Some(Filter::new("{id: 5}", 3)));
    let result = call(&tool).await;
    assert!(result.is_error && result.structured.is_none());
    assert_eq!(result.text, r#"{"id":5}"#);
    assert!(result.note.is_some_and(|note| note.contains("do not repeat it")));
    assert!(result.for_operator.is_some_and(|hint| hint.contains("`output`")));
}

#[tokio::test]
async fn a_long_list_is_cut_at_its_items() {
    let items: Vec<Value> = (0..5000).map(|n| json!({"id": n})).collect();
    let server = Server::saying(json_answer(json!({"items": items}).to_string())).await;
    let result = call(&with(tool(&server), |action| action.max_chars = 2000)).await;
    assert!(!result.is_error && result.text.chars().count() <= 2000);
    assert!(result.text.contains(" of 5000 shown"), "{}", result.text);
}

#[tokio::test]
async fn a_wider_consent_is_asked_for_by_the_broker() {
    let challenge = "WWW-Authenticate: Bearer error=\"insufficient_scope\", scope=\"a b c\"\r\n";
    let server = Server::saying(provider::answer("403 Forbidden", challenge, "")).await;
    let token = Credential::Bearer(SECRET.into());
    let tool = Tool { scopes: Scopes::new(["a"]), ..tool(&server) };
    let provider = Provider { known_scopes: Scopes::new(["b"]), ..provider(&server) };
    let answer = upstream().execute(&tool, Some(provider.api()), &Map::new(), Some(&token)).await;
    let Answer::InsufficientScope { needed, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(needed, Scopes::new(["a", "b"]));
}

/// The environment is set once per process, so the test runs itself again in a process whose
/// environment names a proxy; the marker tells the second run from the first.
#[tokio::test]
async fn a_proxy_in_the_environment_is_not_asked() {
    const MARKER: &str = "COUNTERSIGN_TEST_SECOND_RUN";
    if std::env::vars_os().any(|(name, _)| name == MARKER) {
        let server = Server::saying(json_answer("{}")).await;
        assert!(!call(&tool(&server)).await.is_error);
        assert!(server.requests()[0].starts_with("GET /x HTTP/1.1"));
        return;
    }
    let proxy = Server::saying(json_answer("{}")).await;
    let mut command =
        tokio::process::Command::new(std::env::current_exe().expect("this executable"));
    command.args(["--exact", "upstream::a_proxy_in_the_environment_is_not_asked"]);
    command.env(MARKER, "1");
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
        command.env(name, &proxy.origin);
    }
    let output = command.output().await.expect("it ran");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(proxy.connections(), 0);
}
