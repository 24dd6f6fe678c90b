//! How a run ends without a result.

use std::error::Error;
use std::fmt;

use super::HttpError;
use crate::model::clarification::ClarificationKind;
use crate::model::{Outcome, chain};

/// Reason why a run ends without a result: a failure, a question to the user, or a consent that is
/// missing.
///
/// Every error converts with `?`. One of [`Context::http`](super::Context::http) keeps its meaning:
/// a rate limit is told with its end, a missing permission asks the user for a wider consent. Any
/// other error is a hard one whose text only the operator sees, since it may name addresses and
/// passwords. To tell the model something, say it with [`soft`](Self::soft) or
/// [`hard`](Self::hard):
///
/// ```
/// use countersign::prelude::*;
///
/// fn parse(limit: &str) -> Result<u8, ToolError> {
///     limit.parse().map_err(|_| ToolError::soft("`limit` is a number from 0 to 255"))
/// }
/// assert!(parse("ten").is_err());
///
/// fn read(text: &str) -> Result<Vec<u8>, ToolError> {
///     Ok(serde_json::from_str(text)?)
/// }
/// assert!(read("[1, 2").is_err());
/// ```
pub struct ToolError(pub(super) Box<Stop>);

/// Content of a [`ToolError`].
pub(in crate::broker) enum Stop {
    Soft(String),
    Hard(String),
    Unauthorized,
    Ask(Clarification),
    /// The end of the call, such as a missing consent.
    Outcome(Box<Outcome>),
    Http(HttpError),
    /// Text for the operator.
    Error(String),
}

impl ToolError {
    /// A failure after which the model may call again, with other arguments: a soft error of
    /// Portia's contract, `TOOL_RUNTIME_RETRY` in Arcade's.
    pub fn soft(message: impl Into<String>) -> Self {
        Stop::Soft(message.into()).into()
    }

    /// A failure that another call would repeat: a hard error of Portia's contract,
    /// `TOOL_RUNTIME_FATAL` in Arcade's.
    pub fn hard(message: impl Into<String>) -> Self {
        Stop::Hard(message.into()).into()
    }

    /// The declared provider has refused the token, and the run has changed nothing yet. The server
    /// renews the token and runs the tool once more; without a new token, it asks the user.
    ///
    /// Only for requests of your own client: [`Context::http`](super::Context::http) renews a
    /// refused token by itself.
    pub fn unauthorized() -> Self {
        Stop::Unauthorized.into()
    }
}

impl From<Stop> for ToolError {
    fn from(stop: Stop) -> Self {
        Self(Box::new(stop))
    }
}

impl From<Clarification> for ToolError {
    fn from(clarification: Clarification) -> Self {
        Stop::Ask(clarification).into()
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for ToolError {
    fn from(error: E) -> Self {
        let error: Box<dyn Error + Send + Sync> = Box::new(error);
        match error.downcast::<HttpError>() {
            Ok(error) => Stop::Http(*error).into(),
            Err(error) => Stop::Error(chain(error.as_ref())).into(),
        }
    }
}

impl fmt::Debug for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ToolError({self})")
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Stop::Soft(message) | Stop::Hard(message) | Stop::Error(message) => {
                f.write_str(message)
            }
            Stop::Unauthorized => f.write_str("the provider has refused the token"),
            Stop::Ask(asked) => write!(f, "the user is asked: {}", asked.guidance),
            Stop::Outcome(_) => f.write_str("the call waits for its user, or failed"),
            Stop::Http(error) => error.fmt(f),
        }
    }
}

/// A question to the user, which ends the run. The answer comes back as an argument of the next
/// call, which runs the tool from its start.
///
/// Portia's clients ask their user in a form of their own; other clients let their model ask.
///
/// ```
/// use countersign::prelude::*;
///
/// fn choose(repos: Vec<String>) -> Result<String, ToolError> {
///     match repos.as_slice() {
///         [only] => Ok(only.clone()),
///         _ => Err(Clarification::choice("repo", "Which repository?", repos).into()),
///     }
/// }
/// assert!(choose(vec!["a".into(), "b".into()]).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clarification {
    pub(super) guidance: String,
    pub(super) kind: ClarificationKind,
}

impl Clarification {
    /// Asks for the value of an argument.
    pub fn input(argument: impl Into<String>, guidance: impl Into<String>) -> Self {
        Self::new(guidance, ClarificationKind::Input { argument: argument.into() })
    }

    /// Asks for one of several values of an argument.
    pub fn choice<S: Into<String>>(
        argument: impl Into<String>,
        guidance: impl Into<String>,
        options: impl IntoIterator<Item = S>,
    ) -> Self {
        let options = options.into_iter().map(Into::into).collect();
        Self::new(guidance, ClarificationKind::Choice { argument: argument.into(), options })
    }

    /// Asks whether the value of an argument is meant. `guidance` names the value.
    pub fn confirm(argument: impl Into<String>, guidance: impl Into<String>) -> Self {
        Self::new(guidance, ClarificationKind::Confirm { argument: argument.into() })
    }

    /// Asks the user to act on the page at this URL.
    pub fn action(url: impl Into<String>, guidance: impl Into<String>) -> Self {
        Self::new(guidance, ClarificationKind::Action { url: url.into() })
    }

    fn new(guidance: impl Into<String>, kind: ClarificationKind) -> Self {
        Self { guidance: guidance.into(), kind }
    }
}
