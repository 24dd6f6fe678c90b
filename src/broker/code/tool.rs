//! The trait of tools that are code.

use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Context, ToolError};
use crate::model::tool::Effect;

/// Time limit of one run, unless the tool sets another one.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A tool that models can call, written in Rust.
///
/// Only [`name`](Self::name), [`description`](Self::description) and [`run`](Self::run) have to be
/// written. The types of the arguments and of the result describe themselves: doc comments on their
/// fields are what a model reads.
///
/// ```
/// use countersign::prelude::*;
///
/// /// Arguments of `Greet`.
/// #[derive(Deserialize, JsonSchema)]
/// struct Greeting {
///     /// Name of the person to greet
///     name: String,
/// }
///
/// struct Greet;
///
/// impl Tool for Greet {
///     type Args = Greeting;
///     type Output = String;
///
///     fn name(&self) -> &str {
///         "greet"
///     }
///
///     fn description(&self) -> &str {
///         "Greets a person."
///     }
///
///     async fn run(&self, _ctx: &Context, args: Greeting) -> Result<String, ToolError> {
///         Ok(format!("Hello, {}!", args.name))
///     }
/// }
/// ```
///
/// # Runs that stop
///
/// A run stops at a missing consent ([`Context::token`]) and at a question to the user
/// ([`Clarification`](super::Clarification)), and the call runs again from its start once the user
/// has answered. So read first, and change something only after the last token and the last
/// question. The need that [`authorization`](Self::authorization) declares is met before the run
/// begins.
pub trait Tool: Send + Sync + 'static {
    /// Arguments, a struct with named fields; [`NoArgs`] for none.
    ///
    /// What a model gets wrong in form (a number in quotes, a name in another spelling) is
    /// corrected before the run, and what it gets wrong in meaning never reaches it.
    type Args: DeserializeOwned + JsonSchema + Send + 'static;

    /// Result. A struct is also structured content for MCP clients, with its schema as the tool's
    /// output schema; `()` is told as “Done.”.
    type Output: Serialize + JsonSchema + Send + 'static;

    /// Name that models call it by, unique among the server's tools: 1 to 64 letters, digits, `_`
    /// and `-`, e.g. `github_star_repo`. Its first word is the toolkit for Arcade's clients.
    fn name(&self) -> &str;

    /// Tells models what the tool does and when to use it; at most 1,024 characters.
    fn description(&self) -> &str;

    /// Name for people. `None`: made from [`name`](Self::name).
    fn title(&self) -> Option<&str> {
        None
    }

    /// Id in Portia's contract, e.g. `portia:github::star_repo`. `None`: made from
    /// [`name`](Self::name).
    fn id(&self) -> Option<&str> {
        None
    }

    /// How much a run may change. Hosts ask their user before tools that may destroy, so say
    /// [`Effect::Read`] where that is true.
    fn effect(&self) -> Effect {
        Effect::Destroy
    }

    /// Whether a repeated run with the same arguments changes nothing more. A tool that only reads
    /// always is.
    fn idempotent(&self) -> bool {
        false
    }

    /// Grant that every run needs. It is there before the run begins, and several tools of one
    /// provider are asked for with one link.
    fn authorization(&self) -> Option<Authorization> {
        None
    }

    /// Hosts that the code names, beside those of its provider, e.g. `127.0.0.1:9000`. They get no
    /// credential. Any other host must be public and spoken to by https.
    fn hosts(&self) -> Vec<String> {
        Vec::new()
    }

    /// Type of the result in a word, e.g. `list`, and its description, for clients that are told
    /// them. `None`: made from [`Output`](Self::Output).
    fn output(&self) -> Option<(String, String)> {
        None
    }

    /// Whether Portia's clients summarize a long result.
    fn should_summarize(&self) -> bool {
        false
    }

    /// Time limit of one run. Waiting for a user's consent does not count.
    fn timeout(&self) -> Duration {
        DEFAULT_TIMEOUT
    }

    /// Runs the tool.
    ///
    /// The future is dropped if the client cancels or goes away, or at [`timeout`](Self::timeout).
    /// Work that it has spawned goes on unless it watches [`Context::cancellation`].
    ///
    /// # Errors
    /// [`ToolError`]: a failure, a question to the user, or a consent that is missing.
    fn run(
        &self,
        ctx: &Context,
        args: Self::Args,
    ) -> impl Future<Output = Result<Self::Output, ToolError>> + Send;
}

/// Grant that every run of a tool needs: a provider and the scopes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    pub(super) provider: String,
    pub(super) scopes: Vec<String>,
}

impl Authorization {
    /// Creates a need of this provider: one of `tools.toml`, or a built-in one such as `github`.
    /// Scopes are written as in `tools.toml`, so that `gmail.readonly` is enough for Google.
    ///
    /// ```
    /// use countersign::prelude::*;
    ///
    /// let stars = Authorization::new("github", ["public_repo"]);
    /// let no_scope_needed = Authorization::new("linear", []);
    /// ```
    pub fn new<const N: usize>(provider: &str, scopes: [&str; N]) -> Self {
        let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        Self { provider: provider.to_owned(), scopes }
    }
}

/// Arguments of a tool that takes none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoArgs {}
