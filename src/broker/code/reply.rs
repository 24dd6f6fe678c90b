//! Responses to requests of a tool's code.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::FailureKind;
use crate::upstream::Answer;
use crate::upstream::code::{CodeContent, CodeReply};

/// Response of an API, read to its end and without the token that was sent.
#[derive(Debug)]
pub struct HttpResponse(CodeReply);

impl HttpResponse {
    pub(super) fn new(reply: CodeReply) -> Self {
        Self(reply)
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// Whether the API has carried out the request: a 2xx status, and a body that reports no failure
    /// by the provider's convention (`"ok": false`, GraphQL's `errors`).
    pub fn is_success(&self) -> bool {
        self.0.refusal.is_none()
    }

    /// A header's value, if it is plain text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers.get(name)?.to_str().ok()
    }

    /// Returns the response itself if the API has carried out the request.
    ///
    /// # Errors
    /// The refusal.
    pub fn success(mut self) -> Result<Self, HttpError> {
        match self.0.refusal.take() {
            Some(refusal) => Err(refusal.into()),
            None => Ok(self),
        }
    }

    /// Returns the JSON of a successful response.
    ///
    /// # Errors
    /// The refusal, or why the body is not of this type.
    pub fn json<T: DeserializeOwned>(self) -> Result<T, HttpError> {
        let Self(reply) = self.success()?;
        let value = match reply.content {
            CodeContent::Json(value) => value,
            CodeContent::Nothing => Value::Null,
            CodeContent::Text(_) | CodeContent::Binary(_) => {
                return Err(HttpProblem::Unread("it is not JSON".into()).into());
            }
        };
        serde_path_to_error::deserialize(value).map_err(|error| {
            let (place, why) = (error.path().to_string(), error.inner());
            HttpProblem::Unread(format!("`{place}`: {why}")).into()
        })
    }

    /// Returns the text of a successful response; JSON as it is written.
    ///
    /// # Errors
    /// The refusal, or the body is no text.
    pub fn text(self) -> Result<String, HttpError> {
        let Self(reply) = self.success()?;
        match reply.content {
            CodeContent::Nothing => Ok(String::new()),
            CodeContent::Json(value) => Ok(value.to_string()),
            CodeContent::Text(text) => Ok(text),
            CodeContent::Binary(what) => Err(HttpProblem::Unread(format!("it is {what}")).into()),
        }
    }
}

/// A request without the response that the code wants. With `?` it ends the run as it would end a
/// call of a tool in `tools.toml`.
pub struct HttpError(pub(super) Box<HttpProblem>);

/// Content of an [`HttpError`].
pub(super) enum HttpProblem {
    /// The request failed, or the API has refused it.
    Answer(Answer),
    /// The response is successful and not of the type that the code reads. Holds why.
    Unread(String),
}

impl HttpError {
    /// The status of the API's refusal; `None` if the request had no response.
    pub fn status(&self) -> Option<u16> {
        match &*self.0 {
            HttpProblem::Answer(
                Answer::Failed(failure)
                | Answer::Unauthorized(failure)
                | Answer::InsufficientScope { failure, .. },
            ) => match &failure.kind {
                FailureKind::Refused { answered, .. }
                | FailureKind::Redirected { answered, .. }
                | FailureKind::ReportedByApi(answered)
                | FailureKind::UnusableAnswer { answered, .. } => answered.status,
                _ => None,
            },
            HttpProblem::Answer(Answer::Done(_)) | HttpProblem::Unread(_) => None,
        }
    }

    /// Whether the thing does not exist, or the account cannot see it.
    pub fn is_not_found(&self) -> bool {
        matches!(self.status(), Some(404 | 410))
    }
}

impl From<Answer> for HttpError {
    fn from(answer: Answer) -> Self {
        HttpProblem::Answer(answer).into()
    }
}

impl From<HttpProblem> for HttpError {
    fn from(problem: HttpProblem) -> Self {
        Self(Box::new(problem))
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.0, self.status()) {
            (HttpProblem::Unread(why), _) => write!(f, "the API's answer cannot be read: {why}"),
            (_, Some(status)) => write!(f, "the API answered {status}"),
            (_, None) => f.write_str("the API was not asked, or gave no answer"),
        }
    }
}

impl fmt::Debug for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpError({self})")
    }
}

impl std::error::Error for HttpError {}
