//! A tool: what the model sees of it, what it needs, and what it does.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::face::FaceNames;
use super::hosts::Hosts;
use super::input_schema::{ReadSchema, SchemaInput};
pub use super::param::{Item, Kind, Param, json_number};
use super::{Principal, ProviderId, Scopes, ToolName, UserId};

/// Name of the server's own tool that says what is connected.
pub const CONNECTIONS: &str = "connections";

/// Names of the server's own tools, now and in later versions. No tool of a `tools.toml` may have
/// one: a client could not tell the two apart.
pub const BUILT_IN_TOOLS: [&str; 3] = [CONNECTIONS, "find_tools", "call_tool"];

/// A configured tool.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tool {
    pub name: ToolName,
    /// For people; made from the name where `tools.toml` has none.
    pub title: String,
    pub description: String,
    // The name in records of earlier versions.
    #[serde(rename = "params")]
    pub input: Input,
    /// Whether it takes, beside its input, [`ACCOUNT`]: one of the user's accounts to act
    /// with.
    pub accounts: bool,
    pub effect: Effect,
    /// Whether a repeated call changes nothing more (RFC 9110 §9.2.2).
    pub idempotent: bool,
    /// The provider whose credential the call carries; `None` for a tool that needs none.
    pub provider: Option<ProviderId>,
    /// The scopes that this tool needs, with the prefix filled in.
    pub scopes: Scopes,
    pub action: Action,
    /// Callers who may see and call it, if the server tells callers apart; `None`: all.
    pub allow: Option<Vec<Allowed>>,
    /// JSON Schema of the result; then the result is also `structuredContent`.
    pub output: Option<Arc<Map<String, Value>>>,
    /// The tool's names in other products' contracts.
    #[serde(default)]
    pub faces: FaceNames,
    /// Type and description of the result, for clients that are told them.
    #[serde(default)]
    pub returns: Returns,
    /// Question to the user, who must answer it before each call runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Template>,
}

/// Result of a tool's call, as `tools.toml` describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returns {
    /// Type in a word, e.g. `list`; `None`: made from the output schema.
    pub kind: Option<String>,
    pub description: Option<String>,
    /// Whether clients summarize a long result for the model.
    pub should_summarize: bool,
}

/// A user or a group that may use a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Allowed {
    User(UserId),
    /// All users who belong to it, as stated by the issuer.
    Group(String),
}

impl Tool {
    /// Whether this user may see and call it, at the path of their request. The owner of a local server may use every tool in
    /// their own file.
    pub fn admits(&self, principal: &Principal) -> bool {
        if !principal.offered.has(&self.name) {
            return false;
        }
        let Some(allow) = &self.allow else { return true };
        principal.is_local()
            || allow.iter().any(|allowed| match allowed {
                Allowed::User(user) => *user == principal.caller.user,
                Allowed::Group(group) => principal.groups.contains(group),
            })
    }
}

/// The argument of a tool with [`Tool::accounts`] that names an account.
pub const ACCOUNT: &str = "account";

/// Grant that a tool needs before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationRequirement {
    pub provider: ProviderId,
    pub scopes: Scopes,
}

/// How much a call may change, for the annotation hints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    Read,
    /// Adds or changes, in a way that can be undone.
    Write,
    Destroy,
}

/// Action of a tool, run by each call.
///
/// Several requests, or a tool of another server, become variants here. `broker/call/send.rs` runs
/// each variant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "almost every tool is a request")]
pub enum Action {
    Http(HttpAction),
    /// Code of the program that serves the tool, which is found by the tool's name.
    Code(CodeAction),
}

impl Action {
    /// Returns the request of a tool that is one.
    pub fn request(&self) -> Option<&HttpAction> {
        match self {
            Self::Http(action) => Some(action),
            Self::Code(_) => None,
        }
    }

    /// Like [`Self::request`], to change it.
    pub fn request_mut(&mut self) -> Option<&mut HttpAction> {
        match self {
            Self::Http(action) => Some(action),
            Self::Code(_) => None,
        }
    }
}

/// Limits of a tool that is code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CodeAction {
    /// Time limit of one run.
    pub timeout: Duration,
    /// Maximum characters of the result text; the rest is cut.
    pub max_chars: usize,
    /// Hosts that the code names, beside those of its provider. They get no credential, and may be
    /// private like hosts in `tools.toml`.
    pub hosts: Hosts,
}

/// One HTTP request, as a template.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HttpAction {
    pub method: Method,
    /// Scheme, host, port and nothing else: no argument can ever reach these.
    pub origin: Url,
    /// Path segments in order, `["repos", "{owner}"]` for `/repos/{owner}`.
    pub path: Vec<Template>,
    /// Query parameters written in the request or in `query`, in order.
    pub query: Vec<(String, Template)>,
    pub headers: Vec<(String, Template)>,
    pub body: Body,
    /// Filter for the answer's JSON.
    pub select: Option<Filter>,
    /// Filter that detects failures: if it yields a string, the call fails with that message.
    pub error: Option<Filter>,
    /// A fixed answer for endpoints that return nothing worth reading.
    pub reply: Option<Template>,
    pub timeout: Duration,
    /// Maximum characters of the result text; the rest is cut.
    pub max_chars: usize,
    /// Whether the file was found in the working folder and the user has not trusted it. Its hosts
    /// must then be public, like hosts learnt from outside: a cloned repository must not reach
    /// services on this machine or network, where a request without a credential may act in the
    /// user's name.
    #[serde(default)]
    pub is_untrusted: bool,
}

/// A jq filter, compiled when it is first needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    pub text: String,
    /// Line in `tools.toml`, counted from 1.
    pub line: usize,
}

impl Filter {
    /// Creates a filter; `line` counts from 1.
    pub fn new(text: impl Into<String>, line: usize) -> Self {
        Self { text: text.into(), line }
    }
}

/// Headers that decide where a message ends and which server receives it. The HTTP client writes
/// them itself; a tool that could set them could smuggle a second request into the first.
pub const FRAMING_HEADERS: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// HTTP method (RFC 9110 §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// Returns the method's name, in upper case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether a request has a body, which then takes the parameters without a placeholder.
    pub fn has_body(self) -> bool {
        matches!(self, Self::Post | Self::Put | Self::Patch)
    }

    /// Default effect of a request with this method (RFC 9110 §9.2.1).
    pub fn effect(self) -> Effect {
        match self {
            Self::Get | Self::Head => Effect::Read,
            Self::Post | Self::Put | Self::Patch | Self::Delete => Effect::Destroy,
        }
    }

    /// Whether repeating a request changes nothing more (RFC 9110 §9.2.2).
    pub fn is_idempotent(self) -> bool {
        !matches!(self, Self::Post | Self::Patch)
    }
}

/// Body of a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Body {
    None,
    Json(Node),
    /// `application/x-www-form-urlencoded`
    Form(Vec<(String, Template)>),
}

/// A JSON value with placeholders. Arguments enter as values, never as JSON text, so that no
/// argument can break out of its quotes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Node {
    Fixed(Value),
    /// A string that is exactly one placeholder: the argument keeps its type, and an absent
    /// optional one drops its key or item.
    Param(String),
    /// Text around placeholders.
    Text(Template),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
}

/// Text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template(pub Vec<Piece>);

/// Part of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    Text(String),
    /// The parameter's name.
    Param(String),
}

impl Template {
    /// Names of the parameters that occur in it.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Param(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }
}

/// Arguments that a tool takes.
///
/// Three places depend on the form: the schema for clients (`registry/schema.rs`), the acceptance
/// of arguments (`registry/arguments/mod.rs`), and the fingerprint of a scheduled call's tool
/// (`model/scheduled.rs`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Input {
    /// Named parameters, in the order of `tools.toml`.
    Params(Vec<Param>),
    /// A JSON Schema that says more than parameters can.
    Schema(Box<SchemaInput>),
}

impl Input {
    /// Takes no arguments.
    pub fn none() -> Self {
        Self::Params(Vec::new())
    }

    /// Reads the JSON Schema of an object. `None` if its root is no object with properties.
    pub fn of_schema(schema: Map<String, Value>) -> Option<Self> {
        Some(match ReadSchema::of(schema)? {
            ReadSchema::Params(params) => Self::Params(params),
            ReadSchema::Whole(input) => Self::Schema(Box::new(input)),
        })
    }

    /// The parameters; for a schema, its properties, as far as parameters can describe them.
    pub fn params(&self) -> &[Param] {
        match self {
            Self::Params(params) => params,
            Self::Schema(input) => input.params(),
        }
    }
}
