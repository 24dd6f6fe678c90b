//! Information for operators who set up a provider or write tools for it. No decision depends on
//! it.

use serde::Serialize;

/// Notes for people, in whole sentences; empty where there is nothing to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Guide {
    /// Short description, e.g. `code hosting`.
    pub about: String,
    /// How to register an app, beyond the provider's own instructions.
    pub register: String,
    /// How long its tokens live.
    pub tokens: String,
    /// Surprising behaviour.
    pub notes: Vec<String>,
    pub paginate: Option<Paginate>,
}

/// Pagination of an API, where all its lists work alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Paginate {
    /// By the `Link` header (RFC 8288), relation `next`.
    Link,
    /// The query parameter that takes a cursor, and the jq path to the next one in an answer.
    Cursor { param: String, next: String },
    /// The query parameter that takes the page number.
    Page(String),
}
