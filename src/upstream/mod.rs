//! Calls the APIs behind the tools: builds the request, sends it, reads the response and interprets
//! it.
//!
//! [`Upstream::execute`] always returns an [`Answer`]: a result that a model can act on, or the
//! information that a consent is needed. It returns no `Err`, because a caller could do no better
//! with one.
//!
//! A response is untrusted data. It is read up to a size cap, parsed to a limited depth, filtered
//! within limits, scrubbed of our own secrets and of deceptive characters, and truncated.

pub mod select;

mod aside;
mod budget;
mod credential;
mod details;
mod exchange;
mod failure;
mod html;
mod lenient;
mod output;
mod path;
mod redirect;
mod request;
mod response;
mod retry_after;
mod scrub;
mod share;
mod slow_down;
mod spellings;
#[cfg(test)]
mod testing;
mod truncate;

use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::time::Instant;

pub use credential::{Basic, BasicError, Credential};

use crate::model::event::CallOutcome;
use crate::model::provider::Api;
use crate::model::tool::{Action, HttpAction};
use crate::model::{Caller, Scopes, Tool, ToolResult};
use crate::net::{Net, NetError, Phase};
use budget::{Budget, Weight, deadline};
use exchange::{Unanswered, exchange};
use failure::{Call, Refusal};
use output::{Finish, Validators};
use response::{Content, Reply};
use scrub::Scrubber;
use select::{Jq, JqError};

/// Maximum response size in bytes, after decompression; a larger response fails the call. A model
/// receives far less, but a filter may pick from all of it.
const LARGEST_ANSWER: usize = 10 * 1024 * 1024;

/// Whether the tool's request limits the number of list items in the response, by a parameter or a
/// fixed value.
pub fn limits_its_list(tool: &Tool) -> bool {
    truncate::Paging::is_limited(tool)
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

/// Message to the model when a call gave up waiting for memory.
const BUSY: &str = "this server had no memory to spare for a large answer, since other large \
                    answers are being read. Ask for less if you can: a smaller page, a filter.";

/// Outcome of a call, before the broker decides whether a consent can help.
#[derive(Debug)]
pub enum Answer {
    Done(ToolResult),
    /// The API refused the credential. `result` is shown if no other credential is available.
    Unauthorized {
        result: ToolResult,
    },
    /// The credential lacks these scopes.
    InsufficientScope {
        needed: Scopes,
        result: ToolResult,
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

    /// Runs a tool with arguments that the registry has accepted. Memory and workers are shared
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
        let Action::Http(action) = &tool.action;
        let scrubber = Arc::new(Scrubber::new(credential));
        let host = action.origin.host_str().unwrap_or_default();
        let turn = Turn { caller, deadline: deadline(action.timeout) };
        let call = Call {
            tool,
            provider,
            authorized: credential.is_some(),
            who: provider.map_or(host, |provider| provider.title),
        };
        if let Some(broken) = self.broken_filter(&call, action) {
            return Answer::Done(broken);
        }
        let build = || request::build(action, provider, arguments, credential);
        let prepared = match build() {
            Ok(prepared) => prepared,
            Err(problem) => {
                let text = format!("Nothing was sent: {problem}.");
                return failed(&scrubber, &text, CallOutcome::InvalidArguments);
            }
        };
        let room = self.budget.room(caller);
        let sent = exchange(&self.net, prepared, build, action, credential, room, turn.deadline);
        let reply = match sent.await {
            Ok(reply) => reply,
            Err(Unanswered::Net(error)) => {
                return Answer::Done(unanswered(&scrubber, &call, &error));
            }
            Err(Unanswered::Busy) => {
                let text = format!("{BUSY} {}", call.again());
                return failed(&scrubber, &text, CallOutcome::NoAnswer);
            }
        };
        let refused = |text: &str, outcome| {
            let origin = Some(call.origin(false));
            ToolResult { origin, ..failure_of(&scrubber, text) }.because(outcome)
        };
        match self.interpret(&call, &turn, action, reply, arguments, &scrubber).await {
            Ok(result) => Answer::Done(result),
            Err(Refusal::Failed(text)) => Answer::Done(refused(&text, CallOutcome::ApiFailure)),
            Err(Refusal::Filter(text)) => Answer::Done(refused(&text, CallOutcome::FilterFailed)),
            Err(Refusal::Unauthorized(text)) => {
                Answer::Unauthorized { result: refused(&text, CallOutcome::CredentialRefused) }
            }
            Err(Refusal::InsufficientScope(needed, text)) => {
                let result = refused(&text, CallOutcome::CredentialRefused);
                Answer::InsufficientScope { needed, result }
            }
        }
    }

    /// Returns a failure if one of the tool's filters does not compile. This is checked before
    /// sending: if a request made a change and its response were then lost, the caller would repeat
    /// it.
    fn broken_filter(&self, call: &Call<'_>, action: &HttpAction) -> Option<ToolResult> {
        let filters = [("select", &action.select), ("error", &action.error)];
        let (key, filter, problem) = filters.into_iter().find_map(|(key, filter)| {
            let filter = filter.as_ref()?;
            Some((key, filter, self.jq.compile(&filter.text).err()?))
        })?;
        let tool = &call.tool.name;
        Some(
            ToolResult::failure(format!(
                "Nothing was sent: the jq filter `{key}` of {tool} does not compile. Calling again \
                 will not help."
            ))
            .because(CallOutcome::FilterFailed)
            .for_operator(format!(
                "line {} of tools.toml, `{key}` of [tools.{tool}]: {problem}; `countersign check` \
                 shows the place",
                filter.line
            )),
        )
    }

    async fn interpret(
        &self,
        call: &Call<'_>,
        turn: &Turn<'_>,
        action: &HttpAction,
        reply: Reply,
        arguments: &Map<String, Value>,
        scrubber: &Arc<Scrubber>,
    ) -> Result<ToolResult, Refusal> {
        let (size, scrub) = (reply.body.len(), Arc::clone(scrubber));
        let (mut reply, weight) = aside::run(size, move || {
            let weight = Weight::of(&reply.body);
            (reply, weight)
        })
        .await;
        let Some(_work) = self.budget.work(turn.caller, weight, turn.deadline).await else {
            return Err(Refusal::Failed(format!(
                "{} answered {}, but {BUSY} {}",
                call.who,
                failure::words(reply.status),
                call.again()
            )));
        };
        let (reply, content, note) = aside::run(size, move || {
            let (content, note) = reply.content(weight);
            let content = scrub.content(content, &reply.body);
            (reply.body, reply.held) = Default::default();
            (reply, content, note)
        })
        .await;
        if !reply.status.is_success() {
            return Err(call.refusal(&reply, &content));
        }
        let status = failure::words(reply.status);
        let value = match content {
            Content::Json(value) => {
                let value = Arc::new(value);
                if let Some(refusal) = call.disguised(&value) {
                    return Err(refusal);
                }
                if let Some(filter) = &action.error {
                    let outputs = self.jq.run_for(turn, &filter.text, &value, size).await;
                    let outputs =
                        outputs.map_err(|error| filter_failed("error", &error, call, &status))?;
                    let message = outputs.iter().find_map(Value::as_str);
                    if let Some(message) = message.filter(|message| !message.trim().is_empty()) {
                        return Err(Refusal::Failed(message.to_owned()));
                    }
                }
                Some(value)
            }
            Content::Nothing => None,
            Content::Unreadable(why) => {
                let then = if call.tool.idempotent {
                    "Ask for less: a smaller page, a filter."
                } else {
                    "The request itself succeeded; do not repeat it."
                };
                return Err(Refusal::Failed(format!(
                    "{} answered {status}, but the answer cannot be read: {why}. {then}",
                    call.who
                )));
            }
            other if action.reply.is_none() => {
                Some(Arc::new(plain(call, action, other, &status, note.as_deref())?))
            }
            _ => None,
        };
        // A tool with an output schema returns the data instead of its fixed `reply`.
        if let (Some(reply), None) = (&action.reply, &call.tool.output) {
            let text = request::render(reply, arguments).unwrap_or_else(|| "Done.".to_owned());
            return Ok(ToolResult::text(scrubber.text(&text)));
        }
        let Some(value) = value else {
            if call.tool.output.is_some() {
                return Err(Refusal::Failed(format!(
                    "{} answered {status} without the data that this tool promises. The request \
                     itself succeeded; do not repeat it.",
                    call.who
                )));
            }
            return Ok(ToolResult::text(format!("Done: {} answered {status}.", call.who)));
        };
        let value = match &action.select {
            Some(filter) => {
                let outputs = self.jq.run_for(turn, &filter.text, &value, size).await;
                melt(outputs.map_err(|error| filter_failed("select", &error, call, &status))?)
            }
            None => Arc::unwrap_or_clone(value),
        };
        let finish = Finish {
            scrubber: Arc::clone(scrubber),
            validators: Arc::clone(&self.validators),
            schema: call.tool.output.clone(),
            max_chars: action.max_chars,
            // Needed only if the result may have to be truncated.
            paging: if size > action.max_chars {
                truncate::Paging::of(call.tool)
            } else {
                truncate::Paging::default()
            },
            tool: call.tool.name.clone(),
            note,
            origin: call.origin(true),
            is_filtered: action.select.is_some(),
        };
        Ok(aside::run(size, move || finish.result(value)).await)
    }
}

/// Returns a response that is not JSON as a string; fails if `select` expects JSON.
fn plain(
    call: &Call<'_>,
    action: &HttpAction,
    content: Content,
    status: &str,
    note: Option<&str>,
) -> Result<Value, Refusal> {
    let (kind, text) = match content {
        Content::Html { title, text } => {
            let title = title.map_or(String::new(), |title| format!("{title}\n\n"));
            ("a web page", format!("{title}{text}"))
        }
        Content::Text(text) => ("plain text", text),
        Content::Binary(what) => {
            ("binary data", format!("{} answered with {what}, not shown.", call.who))
        }
        Content::Json(_) | Content::Nothing | Content::Unreadable(_) => return Ok(Value::Null),
    };
    if action.select.is_none() {
        return Ok(Value::String(text));
    }
    Err(Refusal::Failed(format!(
        "{} answered {status} with {kind} where this tool expects JSON{} {}",
        call.who,
        failure::quotation(&text),
        note.unwrap_or_default(),
    )))
}

/// Returns a single output as it is, and any other number of outputs as a list.
fn melt(mut outputs: Vec<Value>) -> Value {
    match outputs.len() {
        1 => outputs.pop().unwrap_or_default(),
        _ => Value::Array(outputs),
    }
}

fn failed(scrubber: &Scrubber, text: &str, outcome: CallOutcome) -> Answer {
    Answer::Done(failure_of(scrubber, text).because(outcome))
}

fn failure_of(scrubber: &Scrubber, text: &str) -> ToolResult {
    ToolResult::failure(scrubber.text(text))
}

/// Result for a request without a complete response. The model learns whether to try again; only
/// the operator can change settings such as the tool's timeout.
fn unanswered(scrubber: &Scrubber, call: &Call<'_>, error: &NetError) -> ToolResult {
    let what = match &error.phase {
        Phase::TooLarge { cap } => {
            let done =
                if call.tool.idempotent { "" } else { " It may have happened all the same." };
            let text = format!(
                "{} answered with more than {} MiB.{done} Ask for less: a smaller page, a filter.",
                call.who,
                cap / (1024 * 1024)
            );
            return failure_of(scrubber, &text).because(CallOutcome::NoAnswer);
        }
        _ => error.to_string(),
    };
    let then = match (error.is_before_sending(), error.is_passing()) {
        (true, true) => "Nothing was sent. Try again in a minute.",
        (true, false) => "Nothing was sent, and trying again will not help; tell the user.",
        (false, _) => call.again(),
    };
    let failure = failure_of(scrubber, &format!("{what}. {then}")).because(CallOutcome::NoAnswer);
    match error.hint() {
        Some(hint) => failure.for_operator(hint),
        None => failure,
    }
}

/// Refusal for a request that succeeded but whose response a filter could not process.
fn filter_failed(key: &str, error: &JqError, call: &Call<'_>, status: &str) -> Refusal {
    // Log only the kind of error: the filter's own message quotes the response.
    let (tool, why) = (&call.tool.name, error.word());
    tracing::warn!(%tool, filter = key, why, "a jq filter of tools.toml gave no result");
    let then = match error {
        JqError::Busy => "other filters were running; ask for less, or call again later",
        JqError::TimedOut | JqError::Crashed => "ask for less, or the operator simplifies it",
        JqError::Invalid(_) | JqError::Failed(_) | JqError::Unavailable(_) => {
            "the operator must mend it"
        }
    };
    Refusal::Filter(format!(
        "{} answered {status}, so the request succeeded; do not repeat it if it changes anything. \
         But `{key}` of [tools.{}] in tools.toml gave no result: {error}; {then}.",
        call.who, call.tool.name
    ))
}
