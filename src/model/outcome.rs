//! Outcome of a call. Needing consent is an outcome, never an error.

use super::authorization::AuthorizationName;
use super::event::CallOutcome;
use super::unasked_place::UnaskedPlace;
use super::{
    AccountName, Failure, InputRequired, ProviderId, Question, Scopes, Time, ToolName, ToolResult,
};

/// Outcome of a call.
///
/// A question of another server becomes a variant beside
/// [`AuthorizationRequired`](Self::AuthorizationRequired). One match for each face decides what a
/// client gets: `Handler::called` in `mcp/consent_rounds.rs`, `report_outcome` in `cli/tools.rs`.
#[derive(Clone, Debug)]
pub enum Outcome {
    Complete(ToolResult),
    Failed(Failure),
    /// The user must give a consent first.
    AuthorizationRequired(ConnectPrompt),
    /// A consent is needed but not requested, see [`UnaskedBecause`]; the user can still start it.
    Refused(Refused),
    /// The user must answer a question first.
    InputRequired(InputRequired),
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
            Self::InputRequired(required) => match required.question {
                Question::Arguments(_) => CallOutcome::InvalidArguments,
                Question::Confirmation(_) => CallOutcome::ConfirmationRequired,
                Question::Clarification(_) => CallOutcome::InputRequired,
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
    pub unasked_place: UnaskedPlace,
}

/// Why the server does not request a needed consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaskedBecause {
    /// The user has refused it too often of late to be asked again by a tool.
    RefusedOften,
    /// The caller shows no links.
    LinkWithheld,
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
    pub unasked_place: UnaskedPlace,
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
    /// Connected, but not for calls that run while the user is away.
    WhileAway,
    /// Connected, but not for handing the access token to the application that asks.
    ForToken,
}
