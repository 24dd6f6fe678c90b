//! `/docs`: the OpenAPI document as a page. It fetches nothing and runs no script.

use std::sync::LazyLock;

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::layout::html;
use crate::model::face::Face;
use crate::web::rest::openapi;

pub(in crate::web) const PATH: &str = "/docs";

#[derive(Template)]
#[template(path = "docs.html")]
struct DocsPage {
    document: &'static str,
    contracts: [Contract; 2],
    /// Name and JSON Schema of each type.
    schemas: Vec<(String, String)>,
}

/// The operations of a contract.
struct Contract {
    title: &'static str,
    operations: Vec<Entry>,
}

struct Entry {
    method: String,
    path: &'static str,
    summary: &'static str,
    /// The Operation Object.
    details: String,
}

static PAGE: LazyLock<DocsPage> = LazyLock::new(|| DocsPage {
    document: openapi::PATH,
    contracts: [
        Contract::new("For the clients of Arcade", Face::Arcade),
        Contract::new("For the clients of Portia", Face::Portia),
    ],
    schemas: schemas(),
});

impl Contract {
    fn new(title: &'static str, face: Face) -> Self {
        let operations = openapi::operations()
            .iter()
            .filter(|operation| operation.face == face)
            .map(|operation| Entry {
                method: operation.method.to_string(),
                path: operation.path,
                summary: operation.summary,
                details: pretty(&operation.describe()),
            })
            .collect();
        Self { title, operations }
    }
}

fn schemas() -> Vec<(String, String)> {
    let schemas = openapi::document().pointer("/components/schemas").and_then(Value::as_object);
    schemas.into_iter().flatten().map(|(name, schema)| (name.clone(), pretty(schema))).collect()
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

pub(in crate::web) async fn show() -> Response {
    html(StatusCode::OK, &*PAGE)
}
