//! Outcome of a call. Needing consent is an outcome, never an error.

use serde_json::Value;

use super::authorization::AuthorizationName;
use super::event::CallOutcome;
use super::{AccountName, Failure, ProviderId, Scopes, Time, ToolName};

/// Outcome of a call.
///
/// A call that waits for the user in another way (a confirmation, a missing argument, a question of
/// another server) becomes a variant beside [`AuthorizationRequired`](Self::AuthorizationRequired).
/// Two matches decide what a client gets: `Handler::called` in `mcp/consent_rounds.rs`, and
/// `report_outcome` in `cli/tools.rs`.
#[derive(Clone, Debug)]
pub enum Outcome {
    Complete(ToolResult),
    Failed(Failure),
    /// The user must give a consent first.
    AuthorizationRequired(ConnectPrompt),
    /// A consent is needed but not requested, see [`UnaskedBecause`]; the user can still start it.
    Refused(Refused),
}

impl Outcome {
    /// Returns the outcome for the record.
    pub fn outcome(&self) -> CallOutcome {
        match self {
            Self::Complete(ToolResult { unfit: None, .. }) => CallOutcome::Ok,
            Self::Complete(ToolResult { unfit: Some(_), .. }) => CallOutcome::FilterFailed,
            Self::Failed(failure) => failure.kind.outcome(),
            Self::AuthorizationRequired(_) => CallOutcome::ConsentRequired,
            Self::Refused(refused) => match refused.because {
                UnaskedBecause::RefusedOften => CallOutcome::ConsentRefused,
                UnaskedBecause::LinkWithheld => CallOutcome::ConsentRequired,
            },
        }
    }
}

/// A needed consent that the server does not request.
#[derive(Clone, Debug)]
pub struct Refused {
    pub provider: ProviderId,
    /// The provider's name, for people.
    pub title: String,
    pub account: AccountName,
    pub tool: ToolName,
    pub scopes: Scopes,
    pub because: UnaskedBecause,
}

/// Why the server does not request a needed consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaskedBecause {
    /// The user has refused it too often of late to be asked again by a tool.
    RefusedOften,
    /// The caller shows no links.
    LinkWithheld,
}

/// Data that a tool returns.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    /// What the client shows, in order.
    pub content: Vec<ResultBlock>,
    /// The content's data as JSON, where the tool has an output schema.
    pub structured: Option<Value>,
    /// Remarks about the data that are not part of it.
    pub remarks: Vec<Remark>,
    /// The API whose data the content is, verbatim: its host, and the port if it is not the scheme's
    /// default. `None` if the content is ours.
    pub host: Option<String>,
    /// Set if the data is not what the tool's output schema promises. It is still shown: the
    /// request has succeeded, and a model that sees no data would repeat it.
    pub unfit: Option<Unfit>,
}

/// A block of a result's content.
///
/// An image, or a resource of another server, becomes a variant here. Each face renders a block in
/// one match: `mcp/render/result.rs` and `cli/tools.rs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultBlock {
    Text(String),
    /// The API has done it and returned no data. `who` is the API: the provider's title, or the
    /// host; `status` the HTTP status.
    Done {
        who: String,
        status: u16,
    },
}

/// A remark about the data of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// The JSON had these faults, each once, and was read without the faulty parts.
    Repaired(Vec<JsonFault>),
    /// It is declared as JSON, is not valid, and so is shown as a text.
    ShownAsText(InvalidJson),
    /// How much was cut and how to get the rest, as a JSON object. It is no value here, since its
    /// length counts as part of the tool's `max_chars`.
    Cut(String),
}

/// A fault in JSON that can be repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonFault {
    /// Half of a surrogate pair (RFC 8259 §8.2).
    Surrogate,
    /// Bytes that are not UTF-8 (RFC 8259 §8.1).
    Encoding,
    /// An unescaped control character (RFC 8259 §7).
    Control,
    /// An escape that JSON does not define.
    Escape,
    /// `NaN`, `Infinity`.
    NotANumber,
    /// A number beyond the range of a double.
    Range,
    /// A prefix that some services write before JSON, so that it cannot run as a script.
    Prefix,
}

/// Why a text is not valid JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidJson {
    Incomplete,
    /// The parser's message, which quotes nothing.
    Syntax(String),
}

/// Data that does not match the tool's output schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    pub problem: Misfit,
    /// Advice for the server's operator, as in [`Failure`].
    pub for_operator: Option<String>,
}

/// Why data does not match an output schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// The mismatch and its place, without the value.
    Schema(String),
    /// It matches, but not once it is cut to this many characters.
    Cut(usize),
}

/// Characters that frame an API's text, and are removed from the text itself.
pub const FRAME: [char; 2] = ['⟦', '⟧'];

impl ToolResult {
    /// A text without structured data, remarks and host.
    pub fn text(text: impl Into<String>) -> Self {
        Self::of(ResultBlock::Text(text.into()))
    }

    /// Returns the text of a result that is one text.
    pub fn into_text(self) -> Option<String> {
        match <[ResultBlock; 1]>::try_from(self.content) {
            Ok([ResultBlock::Text(text)]) => Some(text),
            Ok([ResultBlock::Done { .. }]) | Err(_) => None,
        }
    }

    /// One block without structured data, remarks and host.
    pub fn of(block: ResultBlock) -> Self {
        let (content, remarks) = (vec![block], Vec::new());
        Self { content, structured: None, remarks, host: None, unfit: None }
    }
}

/// Everything that the MCP or web layer needs to ask a user for a consent.
#[derive(Clone, Debug)]
pub struct ConnectPrompt {
    pub provider: ProviderId,
    /// The provider's name for people, e.g. `GitHub`.
    pub title: String,
    pub tool: Option<ToolName>,
    /// Scopes that the consent requests for the tool.
    pub scopes: Scopes,
    /// Descriptions of these scopes, where the catalogue has them.
    pub scope_words: Vec<String>,
    pub reason: PromptReason,
    /// Our own page. Never the provider's URL.
    pub url: String,
    /// Redirect URI to register at the provider. `None` if the user pastes a key or a password on
    /// our page instead.
    pub redirect_uri: Option<String>,
    /// Account that the consent is for.
    pub account: AccountName,
    /// Already usable accounts, as people know them, if a call may name one: a model that mistyped
    /// a name finds it here.
    pub connected: Vec<String>,
    pub authorization: AuthorizationName,
    pub expires_at: Time,
    /// Remaining lifetime of the link.
    pub lives_minutes: u64,
    /// Notice about the store that the user must see, e.g. that earlier consents are lost.
    pub notice: Option<Box<str>>,
    /// Whether the link stops working when this server ends, because nothing else on this machine
    /// answers it.
    pub ends_with_server: bool,
    /// Why the previous consent has ended, as a fragment:
    /// `expired 14:58 UTC; Acme gave no refresh token`.
    pub ended: Option<Box<str>>,
}

impl ConnectPrompt {
    /// Whether the person pastes a secret on our page, instead of approving at the provider.
    pub fn is_pasted(&self) -> bool {
        self.redirect_uri.is_none()
    }
}

/// Why a consent is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptReason {
    /// Nothing is connected yet.
    NotConnected,
    /// Connected, but not with these scopes.
    MoreScopes,
    /// The user was asked for these scopes and did not grant them.
    NotGranted,
    /// The provider does not honour the grant any more.
    Ended,
    /// The provider refuses to renew the grant, call after call, and does not say why.
    NotRenewed,
}
