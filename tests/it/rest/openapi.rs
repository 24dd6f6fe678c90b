//! The OpenAPI document, and the page about it.

use serde_json::Value;

use crate::command::{countersign, run};
use crate::http::wire::Served;
use crate::snapshot::Snapshot;

#[test]
fn the_document_is_as_it_was() {
    let (exit, document, _) = run(countersign().args(["schema", "--openapi"]));
    assert_eq!(exit, 0);
    let mut snapshot = Snapshot::new("openapi");
    snapshot.add(&document);
    snapshot.hold(&[]);
}

#[test]
fn a_server_has_the_document_and_a_page_about_it() {
    let served = Served::over("");
    let answer = served.ask("GET /openapi.json", &[], b"");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let document: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let page = served.ask("GET /docs", &[("Accept", "text/html")], b"");
    assert_eq!(page.status, 200, "{page:?}");
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(page.body.contains(path.as_str()), "{path}");
    }
    // Nothing is fetched: the policy forbids it, and the page asks for nothing.
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    for word in ["<script", "<img", "<link", "src=", "url(", "@import"] {
        assert!(!page.body.contains(word), "{word}");
    }
}
