//! Calls the APIs behind the tools: builds the request, sends it, reads the response and interprets
//! it.
//!
//! [`Upstream::execute`] always returns an [`Answer`]: a result, a [`Failure`], or the information
//! that a consent is needed. It writes no words for a model; a face does, from the failure.
//!
//! A response is untrusted data. It is read up to a size cap, parsed to a limited depth, filtered
//! within limits, scrubbed of our own secrets and of deceptive characters, and truncated.

pub mod jq;

mod budget;
pub mod code;
mod credential;
mod details;
mod exchange;
mod failure;
mod html;
mod lenient;
mod offload;
mod output;
mod path;
mod quotation;
mod redirect;
mod request;
mod response;
mod scrub;
mod share;
mod slow_down;
mod spellings;
#[cfg(test)]
mod testing;
mod truncate;
pub mod webhook;

use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::time::Instant;

pub use credential::{Basic, BasicError, Credential};

use crate::model::failure::{AnswerProblem, Answered, CodeFailure, FilterProblem, NotJson};
use crate::model::provider::Api;
use crate::model::result::{Remark, ResultBlock};
use crate::model::tool::{Filter, HttpAction, Input};
use crate::model::{Caller, Failure, FailureKind, Scopes, Tool, ToolResult};
use crate::net::{Net, NetError, Phase};
use budget::{Budget, Held, Weight, deadline};
use exchange::{Unanswered, exchange};
use failure::{Call, Refusal};
use jq::{Jq, JqError};
use output::Finish;
pub use output::Validators;
use response::{Content, Reply};
use scrub::Scrubber;

/// Maximum response size in bytes, after decompression; a larger response fails the call. A model
/// receives far less, but a filter may pick from all of it.
const MAX_RESPONSE_BYTES: usize = 10 * 1024 * 1024;

/// Whether a request limits the number of list items in the response, by a parameter or a fixed
/// value.
pub fn limits_its_list(input: &Input, action: &HttpAction) -> bool {
    truncate::Paging::is_limited(input, action)
}

/// Executes tools; one instance per process.
pub struct Upstream {
    net: Net,
    jq: Jq,
    validators: Arc<Validators>,
    budget: Budget,
}

/// Caller and deadline of a wait for shared memory or workers. The tool's `timeout` includes all
/// waiting.
pub(super) struct Turn<'a> {
    caller: &'a Caller,
    deadline: Instant,
}

/// Outcome of a call, before the broker decides whether a consent can help.
#[derive(Debug)]
pub enum Answer {
    Done(ToolResult),
    /// No credential can help.
    Failed(Failure),
    /// The API refused the credential. The failure counts if no other credential is available.
    Unauthorized(Failure),
    /// The credential lacks these scopes.
    InsufficientScope {
        needed: Scopes,
        failure: Failure,
    },
}

impl Upstream {
    /// Creates an executor that sends requests through `net` and runs filters with `jq`.
    pub fn new(net: Net, jq: Jq) -> Self {
        Self { net, jq, validators: Arc::default(), budget: Budget::default() }
    }

    /// Like [`execute_for`](Self::execute_for), with the server itself as the caller.
    pub async fn execute(
        &self,
        tool: &Tool,
        provider: Option<Api<'_>>,
        arguments: &Map<String, Value>,
        credential: Option<&Credential>,
    ) -> Answer {
        self.execute_for(&Caller::server(), tool, provider, arguments, credential).await
    }

    /// Runs a tool that is a request, with arguments that the registry has accepted. Memory and workers are shared
    /// fairly between `caller` and other callers.
    ///
    /// The credential is sent only to the provider's `hosts`; a tool that would send it to another
    /// host fails without a request.
    pub async fn execute_for(
        &self,
        caller: &Caller,
        tool: &Tool,
        provider: Option<Api<'_>>,
        arguments: &Map<String, Value>,
        credential: Option<&Credential>,
    ) -> Answer {
        let Some(action) = tool.action.request() else {
            let (tool, may_have_run) = (tool.name.clone(), false);
            let failure = CodeFailure::Error;
            let failed = FailureKind::ToolFailed { tool, failure, may_have_run };
            let failed = Failure::from(failed);
            return Answer::Failed(failed.for_operator("a tool that is code has no request"));
        };
        self.request(caller, tool, action, provider, arguments, credential).await
    }

    /// Runs a tool that is one HTTP request.
    async fn request(
        &self,
        caller: &Caller,
        tool: &Tool,
        action: &HttpAction,
        provider: Option<Api<'_>>,
        arguments: &Map<String, Value>,
        credential: Option<&Credential>,
    ) -> Answer {
        let scrubber = Arc::new(Scrubber::new(credential));
        let host = action.origin.host_str().unwrap_or_default();
        let turn = Turn { caller, deadline: deadline(action.timeout) };
        let call = Call {
            tool,
            action,
            provider,
            authorized: credential.is_some(),
            who: provider.map_or(host, |provider| provider.title),
            scrubber: &scrubber,
        };
        if let Some(broken) = self.broken_filter(&call) {
            return Answer::Failed(broken);
        }
        let build = || request::build(action, provider, arguments, credential);
        let prepared = match build() {
            Ok(prepared) => prepared,
            Err(problem) => {
                let problem = request::scrubbed(problem, &scrubber);
                return Answer::Failed(FailureKind::NotBuilt(problem).into());
            }
        };
        let room = self.budget.room(caller);
        let sent = exchange(&self.net, prepared, build, &call, credential, room, turn.deadline);
        let reply = match sent.await {
            Ok(reply) => reply,
            Err(Unanswered::Net(error)) => return Answer::Failed(unanswered(&call, &error)),
            Err(Unanswered::Busy) => {
                let may_have_run = call.may_have_run();
                return Answer::Failed(FailureKind::Busy { answered: None, may_have_run }.into());
            }
        };
        match self.interpret(&call, &turn, reply, arguments).await {
            Ok(result) => Answer::Done(result),
            Err(refusal) => refusal.answer(call.host()),
        }
    }

    /// Returns a failure if one of the tool's filters does not compile. This is checked before
    /// sending: if a request made a change and its response were then lost, the caller would repeat
    /// it.
    fn broken_filter(&self, call: &Call<'_>) -> Option<Failure> {
        let filters = [("select", &call.action.select), ("error", &call.action.error)];
        let (key, filter, problem) = filters.into_iter().find_map(|(key, filter)| {
            let filter = filter.as_ref()?;
            Some((key, filter, self.jq.compile(&filter.text).err()?))
        })?;
        let tool = &call.tool.name;
        let failure = Failure::from(FailureKind::BrokenFilter { tool: tool.clone(), key });
        Some(failure.for_operator(format!(
            "line {} of tools.toml, `{key}` of [tools.{tool}]: {problem}; `countersign check` \
             shows the place",
            filter.line
        )))
    }

    /// Turns a response into a result.
    async fn interpret(
        &self,
        call: &Call<'_>,
        turn: &Turn<'_>,
        reply: Reply,
        arguments: &Map<String, Value>,
    ) -> Result<ToolResult, Refusal> {
        let size = reply.body.len();
        let Read { reply, content, remark, work: _work } = self.read(call, turn, reply).await?;
        if !reply.status.is_success() {
            return Err(call.refusal(&reply, &content));
        }
        let answered = call.answered(reply.status);
        let filters = Filters { jq: &self.jq, call, turn, size, answered: &answered };
        let value = match content {
            Content::Json(value) => {
                let value = Arc::new(value);
                filters.check_success(&value).await?;
                Some(value)
            }
            Content::Nothing => None,
            Content::Unreadable(because) => {
                let is_repeatable = call.tool.idempotent;
                let problem = AnswerProblem::Unreadable { is_repeatable, because };
                return Err(FailureKind::UnusableAnswer { answered, problem }.into());
            }
            other if call.action.reply.is_none() => {
                let (content, text) = not_json(call.who, other);
                if call.action.select.is_some() {
                    let answered = Answered { message: call.message(&text), ..answered.clone() };
                    let problem = AnswerProblem::NotJson { content, remark };
                    return Err(FailureKind::UnusableAnswer { answered, problem }.into());
                }
                Some(Arc::new(Value::String(text)))
            }
            _ => None,
        };
        // A tool with an output schema returns the data instead of its fixed `reply`.
        if let (Some(reply), None) = (&call.action.reply, &call.tool.output) {
            let text = request::render(reply, arguments).unwrap_or_else(|| "Done.".to_owned());
            return Ok(ToolResult::text(call.scrubbed(&text)));
        }
        let Some(value) = value else {
            if call.tool.output.is_some() {
                let problem = AnswerProblem::Empty;
                return Err(FailureKind::UnusableAnswer { answered, problem }.into());
            }
            let (who, status) = (call.who.to_owned(), reply.status.as_u16());
            return Ok(ToolResult::of(ResultBlock::Done { who, status }));
        };
        let value = match &call.action.select {
            Some(filter) => melt(filters.run("select", filter, &value).await?),
            None => Arc::unwrap_or_clone(value),
        };
        let finish = self.finish(call, size, remark);
        Ok(offload::run(size, move || finish.result(value)).await)
    }

    /// Parses and scrubs a response, within the memory for such work.
    async fn read(&self, call: &Call<'_>, turn: &Turn<'_>, reply: Reply) -> Result<Read, Refusal> {
        let (size, scrub) = (reply.body.len(), Arc::clone(call.scrubber));
        let (mut reply, weight) = offload::run(size, move || {
            let weight = Weight::of(&reply.body);
            (reply, weight)
        })
        .await;
        let Some(work) = self.budget.work(turn.caller, weight, turn.deadline).await else {
            let (answered, may_have_run) = (call.answered(reply.status), call.may_have_run());
            return Err(FailureKind::Busy { answered: Some(answered), may_have_run }.into());
        };
        Ok(offload::run(size, move || {
            let (content, remark) = reply.content(weight);
            let content = scrub.content(content, &reply.body);
            (reply.body, reply.held) = Default::default();
            Read { reply, content, remark, work }
        })
        .await)
    }

    fn finish(&self, call: &Call<'_>, size: usize, remark: Option<Remark>) -> Finish {
        let Call { tool, action, .. } = call;
        Finish {
            scrubber: Arc::clone(call.scrubber),
            validators: Arc::clone(&self.validators),
            schema: tool.output.clone(),
            max_chars: action.max_chars,
            // Needed only if the result may have to be truncated.
            paging: if size > action.max_chars {
                truncate::Paging::of(&tool.input, action)
            } else {
                truncate::Paging::default()
            },
            tool: tool.name.clone(),
            remark,
            host: call.host(),
            is_filtered: action.select.is_some(),
        }
    }
}

/// The tool's filters, for one response.
struct Filters<'a> {
    jq: &'a Jq,
    call: &'a Call<'a>,
    turn: &'a Turn<'a>,
    /// Bytes of the response.
    size: usize,
    /// The response, for a failure.
    answered: &'a Answered,
}

impl Filters<'_> {
    /// Refuses a body that reports a failure under a successful status, by the provider's
    /// convention or the tool's `error` filter.
    async fn check_success(&self, value: &Arc<Value>) -> Result<(), Refusal> {
        if let Some(refusal) = self.call.disguised(value) {
            return Err(refusal);
        }
        let Some(filter) = &self.call.action.error else { return Ok(()) };
        let outputs = self.run("error", filter, value).await?;
        let message = outputs.iter().find_map(Value::as_str);
        let Some(message) = message.and_then(|text| self.call.message(text)) else {
            return Ok(());
        };
        let answered = Answered { status: None, message: Some(message), ..self.answered.clone() };
        Err(FailureKind::ReportedByApi(answered).into())
    }

    /// Runs a filter; `key` is its key in tools.toml.
    async fn run(
        &self,
        key: &'static str,
        filter: &Filter,
        value: &Arc<Value>,
    ) -> Result<Vec<Value>, Refusal> {
        let outputs = self.jq.run_for(self.turn, &filter.text, value, self.size).await;
        outputs.map_err(|error| filter_failed(key, &error, self.call, self.answered))
    }
}

/// A response with its content.
struct Read {
    /// Without its body.
    reply: Reply,
    content: Content,
    remark: Option<Remark>,
    /// Memory for the content, held until the result is made.
    work: Held,
}

/// Returns a response that is not JSON as a text.
fn not_json(who: &str, content: Content) -> (NotJson, String) {
    match content {
        Content::Html { title, text } => {
            let title = title.map_or(String::new(), |title| format!("{title}\n\n"));
            (NotJson::WebPage, format!("{title}{text}"))
        }
        Content::Binary(what) => {
            (NotJson::Binary, format!("{who} answered with {what}, not shown."))
        }
        Content::Text(text) => (NotJson::PlainText, text),
        Content::Json(_) | Content::Nothing | Content::Unreadable(_) => {
            (NotJson::PlainText, String::new())
        }
    }
}

/// Returns a single output as it is, and any other number of outputs as a list.
fn melt(mut outputs: Vec<Value>) -> Value {
    match outputs.len() {
        1 => outputs.pop().unwrap_or_default(),
        _ => Value::Array(outputs),
    }
}

/// Failure of a request without a complete response.
fn unanswered(call: &Call<'_>, error: &NetError) -> Failure {
    let (cause, may_have_run) = (call.scrubbed(&error.to_string()), call.may_have_run());
    let kind = match error.phase {
        Phase::TooLarge { cap: limit } => {
            let who = call.who.to_owned();
            // Only the caller can ask for less, so there is no advice for the operator.
            return FailureKind::TooLarge { who, limit, may_have_run }.into();
        }
        Phase::TimedOut => FailureKind::TimedOut { may_have_run, cause },
        _ if error.is_before_sending() => {
            FailureKind::NotReached { is_passing: error.is_passing(), cause }
        }
        _ => FailureKind::NoAnswer { may_have_run, cause },
    };
    let for_operator = error.hint().map(str::to_owned);
    Failure { kind, host: None, for_operator }
}

/// Refusal for a request that succeeded but whose response a filter could not process.
fn filter_failed(
    key: &'static str,
    error: &JqError,
    call: &Call<'_>,
    answered: &Answered,
) -> Refusal {
    // Log only the kind of error: the filter's own message quotes the response.
    let (tool, why) = (&call.tool.name, error.word());
    tracing::warn!(%tool, filter = key, why, "a jq filter of tools.toml gave no result");
    let problem = match error {
        JqError::Busy => FilterProblem::Busy,
        JqError::TimedOut | JqError::Crashed => FilterProblem::TooHeavy,
        JqError::Invalid(_) | JqError::Failed(_) | JqError::Unavailable(_) => FilterProblem::Broken,
    };
    let (answered, tool, cause) =
        (answered.clone(), tool.clone(), call.scrubbed(&error.to_string()));
    FailureKind::FilterFailed { answered, tool, key, problem, cause }.into()
}
