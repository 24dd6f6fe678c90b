//! Requests and results of tools that are code. A request goes the same way as that of a tool in
//! `tools.toml`: built by the same rules, to the same hosts, within the same budget, and its
//! response is scrubbed and interpreted alike.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::exchange::{Unanswered, exchange};
use super::failure::Call;
use super::output::Finish;
use super::quotation::quotable;
use super::response::Content;
use super::scrub::Scrubber;
use super::{Answer, Credential, Read, Turn, Upstream, request, truncate, unanswered};
use crate::model::failure::AnswerProblem;
use crate::model::provider::Api;
use crate::model::tool::{CodeAction, HttpAction};
use crate::model::{Caller, FailureKind, Tool, ToolResult};

/// Characters of a message of a tool's code; the rest is cut.
const MAX_MESSAGE_CHARS: usize = 1000;

/// A request that the code of a tool makes.
pub struct CodeRequest<'a> {
    pub caller: &'a Caller,
    pub tool: &'a Tool,
    /// The request. Its hosts count as untrusted ([`HttpAction::is_untrusted`]) unless the operator
    /// or the program names them.
    pub action: &'a HttpAction,
    pub arguments: &'a Map<String, Value>,
    /// The provider whose credential it carries, if any.
    pub provider: Option<Api<'a>>,
    pub credential: Option<&'a Credential>,
    /// End of the run.
    pub deadline: Instant,
}

/// A response to a tool's code, without our secrets.
#[derive(Debug)]
pub struct CodeReply {
    pub status: u16,
    pub headers: HeaderMap,
    pub content: CodeContent,
    /// How a tool in `tools.toml` would take the response, if it is a refusal or cannot be read.
    pub refusal: Option<Answer>,
}

/// Body of a response.
#[derive(Debug, PartialEq)]
pub enum CodeContent {
    Nothing,
    Json(Value),
    Text(String),
    /// Data that is neither text nor JSON; holds its media type and size.
    Binary(String),
}

/// Data that a tool's code returns.
pub struct CodeOutput<'a> {
    pub tool: &'a Tool,
    pub action: &'a CodeAction,
    pub value: Value,
    /// Hosts that the code has asked.
    pub host: Option<String>,
    /// Credentials of the run.
    pub secrets: &'a [Credential],
}

impl Upstream {
    /// Sends a request of a tool's code and reads the response.
    ///
    /// # Errors
    /// The answer, if the request cannot be built or has no complete response.
    pub async fn send_for_code(&self, asked: CodeRequest<'_>) -> Result<CodeReply, Box<Answer>> {
        let CodeRequest { caller, tool, action, arguments, provider, credential, deadline } = asked;
        let scrubber = Arc::new(Scrubber::new(credential));
        let host = action.origin.host_str().unwrap_or_default();
        let call = Call {
            tool,
            action,
            provider,
            authorized: credential.is_some(),
            who: provider.map_or(host, |provider| provider.title),
            scrubber: &scrubber,
        };
        let failed = |kind: FailureKind| Box::new(Answer::Failed(kind.into()));
        let build = || request::build(action, provider, arguments, credential);
        let prepared = build().map_err(|problem| {
            failed(FailureKind::NotBuilt(request::scrubbed(problem, &scrubber)))
        })?;
        let turn = Turn { caller, deadline };
        let room = self.budget.room(caller);
        let sent = exchange(&self.net, prepared, build, &call, credential, room, deadline).await;
        let reply = match sent {
            Ok(reply) => reply,
            Err(Unanswered::Net(error)) => {
                return Err(Box::new(Answer::Failed(unanswered(&call, &error))));
            }
            Err(Unanswered::Busy) => {
                let may_have_run = call.may_have_run();
                return Err(failed(FailureKind::Busy { answered: None, may_have_run }));
            }
        };
        let read = self.read(&call, &turn, reply).await;
        let read = read.map_err(|refusal| Box::new(refusal.answer(call.host())))?;
        Ok(interpreted(&call, read))
    }

    /// Turns the data that a tool's code returns into a result.
    pub fn code_result(&self, output: CodeOutput<'_>) -> ToolResult {
        let CodeOutput { tool, action, value, host, secrets } = output;
        if value.is_null() && tool.output.is_none() {
            return ToolResult::text("Done.");
        }
        let is_own = host.is_none();
        let finish = Finish {
            scrubber: Arc::new(Scrubber::of(secrets)),
            validators: Arc::clone(&self.validators),
            schema: tool.output.clone(),
            max_chars: action.max_chars,
            paging: truncate::Paging::of_params(tool.input.params()),
            tool: tool.name.clone(),
            remark: None,
            host: host.unwrap_or_default(),
            // The code may have assembled a secret, as a filter may.
            is_filtered: true,
        };
        let result = finish.result(value);
        if is_own { ToolResult { host: None, ..result } } else { result }
    }
}

/// Returns a message of a tool's code without the secrets of its run, fit to be quoted.
pub fn code_message(text: &str, secrets: &[Credential]) -> String {
    // Scrubbed first: of a secret that is cut in half, the first half would not be found.
    quotable(&Scrubber::of(secrets).text(text), MAX_MESSAGE_CHARS)
}

fn interpreted(call: &Call<'_>, read: Read) -> CodeReply {
    let Read { mut reply, content, .. } = read;
    let refusal = if reply.status.is_success() {
        content.json().and_then(|value| call.disguised(value))
    } else {
        Some(call.refusal(&reply, &content))
    };
    let mut refusal = refusal.map(|refusal| refusal.answer(call.host()));
    let content = match content {
        Content::Nothing => CodeContent::Nothing,
        Content::Json(value) => CodeContent::Json(value),
        Content::Html { title: Some(title), text } => {
            CodeContent::Text(format!("{title}\n\n{text}"))
        }
        Content::Text(text) | Content::Html { title: None, text } => CodeContent::Text(text),
        Content::Binary(what) => CodeContent::Binary(what),
        Content::Unreadable(because) => {
            let answered = call.answered(reply.status);
            let is_repeatable = call.tool.idempotent;
            let problem = AnswerProblem::Unreadable { is_repeatable, because };
            let kind = FailureKind::UnusableAnswer { answered, problem };
            refusal = refusal.or_else(|| Some(Answer::Failed(kind.into())));
            CodeContent::Nothing
        }
    };
    let headers = std::mem::take(&mut reply.headers);
    CodeReply { status: reply.status.as_u16(), headers, content, refusal }
}
