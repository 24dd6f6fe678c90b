//! What whoever sets a provider up, or writes tools for it, is told about it. Nothing here decides.

use serde::Serialize;

/// For people, in whole sentences; empty where there is nothing to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Guide {
    /// What it is, in a few words, e.g. `code hosting`.
    pub about: String,
    /// How to register an app, beyond the provider's own instructions.
    pub register: String,
    /// How long its tokens live.
    pub tokens: String,
    /// What surprises.
    pub notes: Vec<String>,
    pub paginate: Option<Paginate>,
}

/// How an API hands out long lists, where all its lists are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Paginate {
    /// By the `Link` header (RFC 8288), relation `next`.
    Link,
    /// The query parameter that takes a cursor, and the jq path to the next one in an answer.
    Cursor { param: String, next: String },
    /// The query parameter that takes a page's number.
    Page(String),
}
