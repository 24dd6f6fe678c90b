//! Runs the code of a tool, and turns its end into an answer.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::erased::{ErasedTool, RunError};
use super::error::Stop;
use super::panics::marked;
use super::progress::ProgressSink;
use super::reply::{HttpError, HttpProblem};
use super::resources::{CodeCall, HeldGrant, Resources};
use super::{Clarification, Context};
use crate::model::arguments::{ArgumentProblem, InvalidArguments, Mismatch};
use crate::model::clarification::ClarificationKind;
use crate::model::failure::{Answered, ApiRefusal, CodeFailure, Retry};
use crate::model::text::shown;
use crate::model::tool::{CodeAction, Effect};
use crate::model::{Failure, FailureKind, InputRequired, Outcome, Question, clarification};
use crate::upstream::Answer;
use crate::upstream::code::{CodeOutput, code_message};

/// Characters of a message about arguments; the rest is cut.
const MAX_WHY_CHARS: usize = 300;

/// A run of a tool that is code.
pub(in crate::broker) struct CodeRun<'a> {
    pub(in crate::broker) call: Arc<CodeCall>,
    pub(in crate::broker) code: &'a dyn ErasedTool,
    pub(in crate::broker) action: &'a CodeAction,
    pub(in crate::broker) resources: Arc<dyn Resources>,
    pub(in crate::broker) progress: Option<&'a ProgressSink>,
    pub(in crate::broker) arguments: Map<String, Value>,
    /// The grant that the tool declares.
    pub(in crate::broker) declared: Option<HeldGrant>,
}

/// End of a run.
pub(in crate::broker) struct CodeEnd {
    /// Answer, or the outcome of a call that has stopped for its user.
    pub(in crate::broker) answer: Result<Answer, Box<Outcome>>,
    /// Whether the run may be repeated with another token: it has changed nothing.
    pub(in crate::broker) may_repeat: bool,
}

impl CodeRun<'_> {
    /// Runs the code once.
    pub(in crate::broker) async fn run(mut self) -> CodeEnd {
        let deadline = Instant::now() + self.action.timeout;
        let context = self.context(deadline);
        let arguments = std::mem::take(&mut self.arguments);
        let run = AssertUnwindSafe(marked(self.code.run_erased(&context, arguments)));
        let ended = tokio::time::timeout_at(deadline, run.catch_unwind()).await;
        match ended {
            Ok(Ok(Ok(value))) => self.done(&context, value).into(),
            Ok(Ok(Err(error))) => self.stopped(&context, error),
            Ok(Err(panic)) => {
                let may_have_run = self.may_have_run();
                // A panic may quote a URL or a header with a token.
                let message = code_message(&message_of(&*panic), &context.secrets.lock());
                self.tool_failed(CodeFailure::Panic, may_have_run, Some(message)).into()
            }
            Err(_) => {
                let (tool, seconds) = (&self.call.tool.name, self.action.timeout.as_secs());
                let cause = format!("`{tool}` did not end within {seconds} s");
                let may_have_run = self.may_have_run();
                Answer::Failed(FailureKind::TimedOut { may_have_run, cause }.into()).into()
            }
        }
    }

    fn context(&mut self, deadline: Instant) -> Context {
        let cancelled = CancellationToken::new();
        let mut context = Context {
            call: Arc::clone(&self.call),
            resources: Arc::clone(&self.resources),
            progress: self.progress.cloned(),
            deadline,
            declared: None,
            held: Mutex::default(),
            secrets: Mutex::default(),
            hosts: Mutex::default(),
            has_changed: AtomicBool::new(false),
            _end: cancelled.clone().drop_guard(),
            cancelled,
        };
        context.declared = self.declared.take().map(|held| context.keep(held));
        context
    }

    fn done(&self, context: &Context, value: Value) -> Answer {
        let hosts = context.hosts.lock().clone();
        let output = CodeOutput {
            tool: &self.call.tool,
            action: self.action,
            value,
            host: (!hosts.is_empty()).then(|| hosts.join(", ")),
            secrets: &context.secrets.lock(),
        };
        Answer::Done(self.resources.upstream().code_result(output))
    }

    fn stopped(&self, context: &Context, error: RunError) -> CodeEnd {
        let stop = match error {
            RunError::Stopped(stop) => *stop,
            RunError::Unread { place, why } => return self.unread(&place, &why).into(),
        };
        let secrets = context.secrets.lock();
        let quoted = |message: &str| code_message(message, &secrets);
        let may_have_run = self.may_have_run();
        // The effect that the code does not tell: a repeat would have it twice.
        let has_changed = may_have_run && context.has_changed.load(Ordering::Relaxed);
        match stop {
            Stop::Soft(message) => {
                self.tool_failed(CodeFailure::Soft(quoted(&message)), has_changed, None).into()
            }
            Stop::Hard(message) => {
                self.tool_failed(CodeFailure::Hard(quoted(&message)), may_have_run, None).into()
            }
            Stop::Error(why) => {
                self.tool_failed(CodeFailure::Error, may_have_run, Some(quoted(&why))).into()
            }
            Stop::Http(HttpError(problem)) => match *problem {
                HttpProblem::Answer(answer) if has_changed => self.after_effect(answer).into(),
                HttpProblem::Answer(answer) => {
                    let may_repeat = self.call.tool.effect == Effect::Read;
                    CodeEnd { answer: Ok(answer), may_repeat }
                }
                HttpProblem::Unread(why) => {
                    self.tool_failed(CodeFailure::Error, may_have_run, Some(quoted(&why))).into()
                }
            },
            Stop::Unauthorized => {
                CodeEnd { answer: Ok(self.unauthorized(context)), may_repeat: true }
            }
            Stop::Ask(_) | Stop::Outcome(_) if has_changed => {
                let why =
                    "it asked its user after a request that may have changed something; ask first";
                self.tool_failed(CodeFailure::AskedAfterEffect, true, Some(why.into())).into()
            }
            Stop::Ask(asked) => CodeEnd {
                answer: Err(Box::new(Outcome::InputRequired(InputRequired {
                    tool: self.call.tool.name.clone(),
                    title: self.call.tool.title.clone(),
                    question: Question::Clarification(clarification_of(asked, &quoted)),
                }))),
                may_repeat: false,
            },
            Stop::Outcome(outcome) => CodeEnd { answer: Err(outcome), may_repeat: false },
        }
    }

    /// Failure of a run whose earlier requests may have changed something.
    fn after_effect(&self, answer: Answer) -> Answer {
        let (Answer::Failed(failure)
        | Answer::Unauthorized(failure)
        | Answer::InsufficientScope { failure, .. }) = answer
        else {
            return answer;
        };
        if failure.kind.retry() == Retry::LookFirst {
            return Answer::Failed(failure);
        }
        let (tool, kind) = (self.call.tool.name.clone(), Box::new(failure.kind));
        let code = CodeFailure::AfterEffect(kind);
        let kind = FailureKind::ToolFailed { tool, failure: code, may_have_run: true };
        Answer::Failed(Failure { kind, ..failure })
    }

    /// Failure of arguments that fit the schema and not the type.
    fn unread(&self, place: &str, why: &str) -> Answer {
        let name = if place == "." { String::new() } else { shown(place, MAX_WHY_CHARS) };
        let mismatch = Mismatch::Schema { why: shown(why, MAX_WHY_CHARS) };
        let problems = vec![ArgumentProblem { name, mismatch }];
        let problem = InvalidArguments::Unfit { tool: self.call.tool.name.clone(), problems };
        Answer::Failed(FailureKind::InvalidArguments(problem).into())
    }

    fn unauthorized(&self, context: &Context) -> Answer {
        let provider = context.declared.as_ref().map(|held| held.provider.title.clone());
        let who = provider.unwrap_or_else(|| self.call.tool.title.clone());
        let answered = Answered { who, status: Some(401), message: None, details: None };
        let refusal = ApiRefusal::CredentialRefused;
        Answer::Unauthorized(FailureKind::Refused { answered, refusal }.into())
    }

    fn may_have_run(&self) -> bool {
        self.call.tool.effect != Effect::Read && !self.call.tool.idempotent
    }

    fn tool_failed(
        &self,
        failure: CodeFailure,
        may_have_run: bool,
        for_operator: Option<String>,
    ) -> Answer {
        let tool = self.call.tool.name.clone();
        let for_operator = for_operator.map(|why| format!("the code of `{tool}` said: {why}"));
        let kind = FailureKind::ToolFailed { tool, failure, may_have_run };
        Answer::Failed(Failure { for_operator, ..kind.into() })
    }
}

impl From<Answer> for CodeEnd {
    fn from(answer: Answer) -> Self {
        Self { answer: Ok(answer), may_repeat: false }
    }
}

/// Returns a question with texts that are fit to be quoted.
fn clarification_of(
    Clarification { guidance, kind }: Clarification,
    quoted: &impl Fn(&str) -> String,
) -> clarification::Clarification {
    let kind = match kind {
        ClarificationKind::Choice { argument, options } => {
            let options = options.iter().map(|option| quoted(option)).collect();
            ClarificationKind::Choice { argument, options }
        }
        ClarificationKind::Action { url } => ClarificationKind::Action { url: quoted(&url) },
        other => other,
    };
    clarification::Clarification { guidance: quoted(&guidance), kind }
}

/// Returns the message of a panic.
fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("it panicked: {}", text.unwrap_or_default())
}
