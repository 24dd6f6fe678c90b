//! A tool as the code of a program declares it, before the configuration of the server is known.

use std::time::Duration;

use serde_json::{Map, Value};

use super::text::shown;
use super::tool::{Effect, Returns};

/// Most characters of a tool's description, which is the limit of OpenAI's function calls.
pub const MAX_DESCRIPTION_CHARS: usize = 1024;

/// Most characters of a name that a message repeats.
const MAX_SHOWN_CHARS: usize = 64;

/// Declaration of a tool whose code is part of the program.
#[derive(Clone, Debug)]
pub struct DeclaredTool {
    pub name: String,
    /// For people; `None`: made from the name.
    pub title: Option<String>,
    pub description: String,
    /// JSON Schema of the arguments.
    pub input: Map<String, Value>,
    /// JSON Schema of the result.
    pub output: Map<String, Value>,
    pub returns: Returns,
    pub effect: Effect,
    /// Whether a repeated call changes nothing more.
    pub idempotent: bool,
    /// Provider and scopes that every run needs, as in `tools.toml`.
    pub need: Option<DeclaredNeed>,
    /// Hosts that the code names, beside those of its provider.
    pub hosts: Vec<String>,
    pub timeout: Duration,
    /// The tool's id in Portia's contract; `None`: made from the name.
    pub portia_id: Option<String>,
}

/// Grant that every run of a tool needs.
#[derive(Clone, Debug)]
pub struct DeclaredNeed {
    pub provider: String,
    pub scopes: Vec<String>,
}

/// Why a tool that is code cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ToolProblem {
    /// The description is empty, or longer than [`MAX_DESCRIPTION_CHARS`].
    #[error(
        "InvalidToolDescription: the description of `{tool}` has {chars} characters, and 1 to {MAX_DESCRIPTION_CHARS} are allowed"
    )]
    InvalidToolDescription {
        /// The tool's name.
        tool: String,
        /// Characters of the description, without white space around it.
        chars: usize,
    },
    /// Model APIs do not take the name.
    #[error("`{tool}` is no name of a tool")]
    InvalidName {
        /// The name, shortened.
        tool: String,
    },
    /// Another tool of the program or of `tools.toml` has the name.
    #[error("`{tool}` is the name of {of} already")]
    NameTaken {
        /// The name.
        tool: String,
        /// The other tool.
        of: String,
    },
    /// The id, or a name that clients of another product cannot tell apart, is taken.
    #[error("`{tool}` and `{other}` are one tool to {product}'s clients")]
    IdTaken {
        /// The tool's name.
        tool: String,
        /// The other tool's name.
        other: String,
        /// The product whose clients cannot tell them apart.
        product: &'static str,
    },
    /// The id has characters that Portia's clients do not take.
    #[error("`{tool}` has an id that Portia's clients do not take")]
    InvalidId {
        /// The tool's name.
        tool: String,
    },
    /// Neither `tools.toml` nor the catalogue of providers has the provider.
    #[error("`{tool}` needs the provider `{provider}`, which does not exist")]
    UnknownProvider {
        /// The tool's name.
        tool: String,
        /// The provider's name.
        provider: String,
        /// The most similar name of a provider.
        nearest: Option<String>,
    },
    /// A scope is no scope token (RFC 6749 §3.3), or the provider's credential has no scopes.
    #[error("`{tool}` asks `{provider}` for scopes that it cannot have")]
    InvalidScopes {
        /// The tool's name.
        tool: String,
        /// The provider's name.
        provider: String,
    },
    /// The arguments are no object with named properties, or one of them is called `account` and
    /// the provider has several accounts.
    #[error("the arguments of `{tool}` {problem}")]
    InvalidArguments {
        /// The tool's name.
        tool: String,
        /// Continues the sentence.
        problem: &'static str,
    },
}

impl ToolProblem {
    /// Returns a problem with a name.
    pub(crate) fn name(tool: &str) -> Self {
        Self::InvalidName { tool: shown(tool, MAX_SHOWN_CHARS) }
    }

    /// Stable, short identifier, e.g. `code::description`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidToolDescription { .. } => "code::description",
            Self::InvalidName { .. } | Self::NameTaken { .. } => "code::name",
            Self::IdTaken { .. } | Self::InvalidId { .. } => "code::id",
            Self::UnknownProvider { .. } => "code::provider",
            Self::InvalidScopes { .. } => "code::scopes",
            Self::InvalidArguments { .. } => "code::arguments",
        }
    }

    /// Returns the fix, as a lower-case fragment.
    pub fn hint(&self) -> String {
        match self {
            Self::InvalidToolDescription { .. } => format!(
                "return what it does and when to use it from `description`, in at most {MAX_DESCRIPTION_CHARS} characters"
            ),
            Self::InvalidName { .. } => {
                "return 1 to 64 letters, digits, `_` and `-` from `name`, e.g. `github_star_repo`"
                    .into()
            }
            Self::NameTaken { tool, .. } => format!(
                "return another `name`, or rename the other tool; [tools.{tool}] may stay if it has no `request`"
            ),
            Self::IdTaken { tool, product, .. } => format!(
                "return another `name` or `id`, or write `ids.{}` in [tools.{tool}] of tools.toml",
                product.to_ascii_lowercase()
            ),
            Self::InvalidId { .. } => {
                "return 1 to 200 letters, digits, `:`, `_` and `-` from `id`, e.g. `portia:github::star_repo`".into()
            }
            Self::UnknownProvider { nearest: Some(near), .. } => format!("did you mean `{near}`?"),
            Self::UnknownProvider { provider, .. } => {
                format!("describe it in [providers.{provider}] of tools.toml")
            }
            Self::InvalidScopes { .. } => {
                "return one scope in each text of `authorization`, and none for a provider with a key or password".into()
            }
            Self::InvalidArguments { .. } => {
                "let `Args` be a struct with named fields, or `NoArgs`, and call no field `account`".into()
            }
        }
    }
}
