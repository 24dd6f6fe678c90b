use serde_json::json;

use super::super::testing::{action, arguments, provider, template};
use super::*;
use crate::model::ProviderId;
use crate::model::request_problem::PathProblem;

fn built(action: &HttpAction, given: &Value) -> Result<Prepared, RequestProblem> {
    build(action, None, &arguments(given), None)
}

fn url(action: &HttpAction, given: &Value) -> Result<String, RequestProblem> {
    built(action, given).map(|prepared| prepared.url.to_string())
}

fn body_of(body: Body, given: &Value) -> String {
    let action = HttpAction { body, ..action(Method::Post, "https://api.acme.example/x") };
    let prepared = built(&action, given).expect("a request");
    String::from_utf8(prepared.body.expect("a body")).expect("text")
}

#[test]
fn arguments_fill_segments_and_nothing_else() {
    let star = action(Method::Put, "https://api.acme.example/user/starred/{owner}/{repo}");
    assert_eq!(
        url(&star, &json!({"owner": "rust-lang", "repo": "a/b?c#d@e"})).as_deref(),
        Ok("https://api.acme.example/user/starred/rust-lang/a%2Fb%3Fc%23d%40e")
    );
    for bad in ["", ".", "..", "%2e%2e", "a/../b", "a\\..\\b", "//evil.com", "a\0", "a\r\nX: y"] {
        let result = url(&star, &json!({"owner": bad, "repo": "x"}));
        let Err(RequestProblem::PathArgument { name, .. }) = result else {
            panic!("{bad}: {result:?}")
        };
        assert_eq!(name, "owner");
    }
    let missing = url(&star, &json!({"owner": "x", "repo": null}));
    assert_eq!(missing, Err(RequestProblem::MissingArgument("repo".into())));
}

#[test]
fn pieces_that_add_up_to_a_step_are_refused() {
    let dotted = action(Method::Delete, "https://api.acme.example/items/.{id}");
    assert_eq!(
        url(&dotted, &json!({"id": ".x"})).as_deref(),
        Ok("https://api.acme.example/items/..x")
    );
    assert_eq!(
        url(&dotted, &json!({"id": "."})),
        Err(RequestProblem::PathArgument { name: "id".into(), problem: PathProblem::DotSegment })
    );
    let encoded = action(Method::Delete, "https://api.acme.example/items/%2e%2e");
    assert_eq!(url(&encoded, &json!({})), Err(RequestProblem::Address));
}

#[test]
fn the_origin_stays_what_the_operator_wrote() {
    let local = action(Method::Get, "http://127.0.0.1:9000/{a}");
    assert_eq!(
        url(&local, &json!({"a": "@evil.com"})).as_deref(),
        Ok("http://127.0.0.1:9000/%40evil.com")
    );
    let root = action(Method::Get, "https://api.acme.example");
    assert_eq!(url(&root, &json!({})).as_deref(), Ok("https://api.acme.example/"));
}

#[test]
fn values_of_any_type_become_text() {
    let get = action(Method::Get, "https://api.acme.example/{n}/{b}");
    assert_eq!(
        url(&get, &json!({"n": 9_007_199_254_740_993_i64, "b": true})).as_deref(),
        Ok("https://api.acme.example/9007199254740993/true")
    );
}

#[test]
fn queries_are_form_encoded_and_absent_ones_dropped() {
    let mut get = action(Method::Get, "https://api.acme.example/search");
    get.query = vec![
        ("q".into(), template("{q}")),
        ("per_page".into(), template("{limit}")),
        ("label".into(), template("{labels}")),
        ("sort".into(), template("by-{sort}")),
        ("fixed".into(), template("a b")),
    ];
    assert_eq!(
        url(&get, &json!({"q": "x&admin=1#\u{0}", "labels": ["a", "b,c"], "sort": null}))
            .as_deref(),
        Ok("https://api.acme.example/search?q=x%26admin%3D1%23%00&label=a&label=b%2Cc&fixed=a+b")
    );
    get.query.truncate(2);
    assert_eq!(url(&get, &json!({})).as_deref(), Ok("https://api.acme.example/search"));
}

#[test]
fn json_bodies_keep_types_and_drop_what_is_absent() {
    let node = Node::Table(vec![
        (
            "items".into(),
            Node::List(vec![
                Node::Table(vec![
                    ("sku".into(), Node::Param("sku".into())),
                    ("quantity".into(), Node::Param("count".into())),
                ]),
                Node::Param("second".into()),
            ]),
        ),
        ("note".into(), Node::Param("note".into())),
        ("title".into(), Node::Text(template("For {sku}"))),
        ("by".into(), Node::Fixed(json!("agent"))),
    ]);
    let given = json!({"sku": "x\", \"admin\": true, \"y\": \"", "count": 3});
    assert_eq!(
        serde_json::from_str::<Value>(&body_of(Body::Json(node), &given)).expect("JSON"),
        json!({
            "items": [{"sku": "x\", \"admin\": true, \"y\": \"", "quantity": 3}],
            "title": "For x\", \"admin\": true, \"y\": \"",
            "by": "agent",
        })
    );
}

#[test]
fn form_bodies_are_encoded() {
    let form = Body::Form(vec![
        ("text".into(), template("{text}")),
        ("tag".into(), template("{tags}")),
        ("none".into(), template("{none}")),
    ]);
    assert_eq!(
        body_of(form, &json!({"text": "a&b=c d", "tags": [1, 2]})),
        "text=a%26b%3Dc+d&tag=1&tag=2"
    );
}

#[test]
fn header_arguments_cannot_become_headers_of_their_own() {
    let mut get = action(Method::Get, "https://api.acme.example/x");
    get.headers = vec![("X-Trace".into(), template("t-{id}"))];
    let prepared = built(&get, &json!({"id": "7"})).expect("a request");
    assert_eq!(prepared.headers.get("x-trace").expect("set"), "t-7");
    assert!(!built(&get, &json!({})).expect("a request").headers.contains_key("x-trace"));
    let long = "x".repeat(64 * 1024);
    for bad in ["a\r\nX-Admin: 1", "a\nb", "a\0b", "a\tb", "grüß", &long] {
        let result = built(&get, &json!({"id": bad}));
        assert!(
            matches!(result, Err(RequestProblem::HeaderArgument { ref name, .. }) if name == "id")
        );
    }
}

#[test]
fn a_tool_does_not_set_headers_that_decide() {
    for name in ["Authorization", "HOST", "cookie", "Content-Length", "transfer-encoding"] {
        let mut get = action(Method::Get, "https://api.acme.example/x");
        get.headers = vec![(name.into(), template("x"))];
        assert_eq!(
            built(&get, &json!({})).expect_err("reserved"),
            RequestProblem::ReservedHeader(name.into())
        );
    }
}

#[test]
fn a_credential_goes_to_the_provider_s_hosts_only() {
    let get = action(Method::Get, "https://api.acme.example/x");
    let token = Credential::Bearer("canary".into());
    let ours = provider(&["api.acme.example"]);
    let prepared = build(&get, Some(ours.api()), &Map::new(), Some(&token)).expect("a request");
    let value = prepared.headers.get("authorization").expect("attached");
    assert_eq!(value, "Bearer canary");
    assert!(value.is_sensitive());
    assert!(!format!("{prepared:?} {token:?}").contains("canary"));

    let mut own_header = provider(&["api.acme.example"]);
    if let crate::model::credential::Credential::OAuth(settings) = &mut own_header.credential {
        settings.token_header = Some("X-Acme-Token".into());
    }
    let prepared =
        build(&get, Some(own_header.api()), &Map::new(), Some(&token)).expect("a request");
    assert_eq!(prepared.headers.get("x-acme-token").expect("attached"), "canary");
    assert!(prepared.headers.get("authorization").is_none());

    let theirs = provider(&["other.example"]);
    let refused = build(&get, Some(theirs.api()), &Map::new(), Some(&token)).expect_err("refused");
    let (acme, host) = (ProviderId::new("acme"), "api.acme.example".to_owned());
    assert_eq!(refused, RequestProblem::ForeignHost { provider: acme, host });
    let none = build(&get, None, &Map::new(), Some(&token)).expect_err("refused");
    assert_eq!(none, RequestProblem::NoProvider);
}

#[test]
fn keys_go_where_the_provider_wants_them() {
    let mut get = action(Method::Get, "https://api.acme.example/x");
    get.query = vec![("q".into(), template("Oslo"))];
    let ours = provider(&["api.acme.example"]);
    let key = Credential::Query { name: "appid".into(), value: "k&y".into() };
    let prepared = build(&get, Some(ours.api()), &Map::new(), Some(&key)).expect("a request");
    assert_eq!(prepared.url.query(), Some("q=Oslo&appid=k%26y"));
    let key = Credential::Header { name: "X-Key".into(), value: "k".into() };
    let prepared = build(&get, Some(ours.api()), &Map::new(), Some(&key)).expect("a request");
    assert_eq!(prepared.headers.get("x-key").expect("attached"), "k");
    let broken = Credential::Header { name: "X-Key".into(), value: "canary\n".into() };
    let error =
        build(&get, Some(ours.api()), &Map::new(), Some(&broken)).expect_err("a line break");
    assert!(!format!("{error:?}").contains("canary"));
}

#[test]
fn a_tool_s_headers_win_over_the_provider_s() {
    let mut get = action(Method::Get, "https://api.acme.example/x");
    get.headers = vec![("acme-version".into(), template("2"))];
    let mut ours = provider(&["api.acme.example"]);
    ours.headers = vec![("Acme-Version".into(), "1".into()), ("X-Other".into(), "o".into())];
    let prepared = build(&get, Some(ours.api()), &Map::new(), None).expect("a request");
    assert_eq!(prepared.headers.get("acme-version").expect("set"), "2");
    assert_eq!(prepared.headers.get("x-other").expect("set"), "o");
}
