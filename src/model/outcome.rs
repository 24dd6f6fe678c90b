//! What a call comes to. Needing consent is an outcome, never an error.

use serde_json::Value;

use super::authorization::AuthorizationName;
use super::event::CallOutcome;
use super::{AccountName, ProviderId, Scopes, Time, ToolName};

#[derive(Clone, Debug)]
pub enum Outcome {
    Complete(ToolResult),
    AuthorizationRequired(ConnectPrompt),
    /// A consent is needed and not asked for, see [`UnaskedBecause`]; the user can still begin it
    /// themselves.
    Refused(Refused),
}

impl Outcome {
    /// For the record.
    pub fn outcome(&self) -> CallOutcome {
        match self {
            Self::Complete(result) => result.outcome,
            Self::AuthorizationRequired(_) => CallOutcome::ConsentRequired,
            Self::Refused(refused) => match refused.because {
                UnaskedBecause::RefusedOften => CallOutcome::ConsentRefused,
                UnaskedBecause::LinkWithheld => CallOutcome::ConsentRequired,
            },
        }
    }
}

/// A consent that is not asked for.
#[derive(Clone, Debug)]
pub struct Refused {
    pub provider: ProviderId,
    /// The provider for people.
    pub title: String,
    pub account: AccountName,
    pub tool: ToolName,
    pub scopes: Scopes,
    pub because: UnaskedBecause,
}

/// Why a consent is not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaskedBecause {
    /// The user has refused it too often of late to be asked again by a tool.
    RefusedOften,
    /// The caller shows no links.
    LinkWithheld,
}

/// What a tool answers to the model.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    pub text: String,
    /// The same data as the text, where the tool has an output schema.
    pub structured: Option<Value>,
    /// Something about the data that is no part of it: how much of it was cut.
    pub note: Option<String>,
    pub is_error: bool,
    /// How the call ended, for the record.
    pub outcome: CallOutcome,
    /// The API whose data this is, or whose words it quotes.
    pub origin: Option<Origin>,
    /// What the operator of the server can do about a failure, as a fragment. Neither the model nor
    /// the person behind it can, so whoever shows it says for whom it is.
    pub for_operator: Option<String>,
}

/// Where a result comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Host, and port where it is not the scheme's own.
    pub host: String,
    /// Whether the text is the API's own, and not ours about it.
    pub is_verbatim: bool,
}

/// What frames the texts of an API, and is taken out of them.
pub const FRAME: [char; 2] = ['⟦', '⟧'];

impl ToolResult {
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            structured: None,
            note: None,
            is_error: false,
            outcome: CallOutcome::Ok,
            origin: None,
            for_operator: None,
        }
    }

    /// A failure that the model can act on.
    pub fn failure(text: impl Into<String>) -> Self {
        Self { is_error: true, outcome: CallOutcome::Failed, ..Self::text(text) }
    }

    /// For the record.
    #[must_use]
    pub fn because(self, outcome: CallOutcome) -> Self {
        Self { outcome, ..self }
    }

    #[must_use]
    pub fn for_operator(self, hint: impl Into<String>) -> Self {
        Self { for_operator: Some(hint.into()), ..self }
    }
}

/// All that a face needs to ask a person for a consent.
#[derive(Clone, Debug)]
pub struct ConnectPrompt {
    pub provider: ProviderId,
    /// The provider for people, e.g. `GitHub`.
    pub title: String,
    pub tool: Option<ToolName>,
    /// What the consent will be asked for beyond what is granted, and what the tool needs of it.
    pub scopes: Scopes,
    /// The same in words, where the catalogue has them.
    pub scope_words: Vec<String>,
    pub reason: PromptReason,
    /// Our own page. Never the provider's URL.
    pub url: String,
    /// What must be registered at the provider. `None` where no provider is gone to: the person
    /// pastes a key or a password on our page.
    pub redirect_uri: Option<String>,
    /// Which account it is for.
    pub account: AccountName,
    /// The accounts that can be used already, where a call may name one, as people know them: a model
    /// that mistyped a name finds it here.
    pub connected: Vec<String>,
    pub authorization: AuthorizationName,
    pub expires_at: Time,
    /// How long the link still lives.
    pub lives_minutes: u64,
    /// Something about the store that people must know, e.g. that earlier consents are lost.
    pub notice: Option<Box<str>>,
    /// Whether the link stops working when this server ends, because nothing else on this machine
    /// answers it.
    pub ends_with_server: bool,
    /// Why the consent before this one is of no use any more, as a fragment:
    /// `expired 14:58 UTC; Acme gave no refresh token`.
    pub ended: Option<Box<str>>,
}

impl ConnectPrompt {
    /// Whether the person pastes a secret on our page, instead of approving at the provider.
    pub fn is_pasted(&self) -> bool {
        self.redirect_uri.is_none()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptReason {
    /// Nothing is connected yet.
    NotConnected,
    /// Connected, but not with these scopes.
    MoreScopes,
    /// The person was asked for these scopes and did not grant them.
    NotGranted,
    /// The provider does not honour the grant any more.
    Ended,
    /// The provider refuses to renew the grant, call after call, and does not say why.
    NotRenewed,
}
