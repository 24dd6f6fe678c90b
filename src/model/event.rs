//! Events: the server's log of what it does with users' access.
//!
//! An event names the user, the provider, the tool and, as an enum, the outcome. It never holds an
//! argument, a token, a code, a link or an account's name, so nothing in it needs to be masked.

use std::time::Duration;

use super::{Caller, ProviderId, ToolName};

/// Defines an enum whose variants each have a stable word for the log and for programs.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$about])* $variant,)*
        }

        impl $name {
            /// Stable word for programs, in snake case.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The end user. `None` if unknown, e.g. for a request without credentials.
    pub caller: Option<Caller>,
    pub provider: Option<ProviderId>,
    pub tool: Option<ToolName>,
    pub kind: EventKind,
    /// Duration, for events that take time.
    pub took: Option<Duration>,
}

/// The kind of an event and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A tool was called.
    Call(CallOutcome),
    /// A request was refused before it reached a tool.
    Refusal {
        reason: RefusalReason,
        /// HTTP status of the answer to the client.
        status: u16,
    },
    /// A consent link was made. Handing out an open link again is not an event.
    Link,
    /// A consent advanced or ended.
    Consent(ConsentOutcome),
    /// A user answered whether a call may run.
    Confirmation(ConfirmationOutcome),
    /// A token endpoint was asked for a new access token.
    Renewal(RenewalOutcome),
    /// A grant was deleted on request.
    End { by: EndedBy, outcome: EndOutcome },
    /// A browser signed in or out at this server.
    SignIn(SignInOutcome),
    /// An application got a user's access token.
    TokenHandedOut,
    /// Tokens that were obtained elsewhere were moved in.
    Deposit(DepositOutcome),
    /// An application was to be told of a change of a user's connection.
    Webhook(WebhookOutcome),
}

words! {
    /// How a call ended.
    CallOutcome {
        Ok = "ok",
        ConsentRequired = "consent_required",
        /// The user has declined this consent too often to be asked again by a tool.
        ConsentRefused = "consent_refused",
        /// The user must confirm the call first.
        ConfirmationRequired = "confirmation_required",
        /// The code of the tool asks the user.
        InputRequired = "input_required",
        /// The user has declined the call.
        NotConfirmed = "not_confirmed",
        UnknownTool = "unknown_tool",
        /// Scheduled, and no server ran it within an hour of its time.
        Missed = "missed",
        /// Scheduled with a key that is not accepted any more.
        KeyGone = "key_gone",
        /// Scheduled; the tool has been changed since.
        ToolChanged = "tool_changed",
        /// Scheduled; its user has disconnected the account before its time.
        Disconnected = "disconnected",
        /// Scheduled; the process that ran it has ended, so it is not known whether it ran.
        Lost = "lost",
        /// The client went away or cancelled.
        Cancelled = "cancelled",
        InvalidArguments = "invalid_arguments",
        /// A setting or secret of this server is missing or wrong.
        NotSetUp = "not_set_up",
        StoreUnavailable = "store_unavailable",
        /// No access token could be obtained.
        TokenUnavailable = "token_unavailable",
        NoLink = "no_link",
        /// The API gave no usable answer.
        NoAnswer = "no_answer",
        /// The API refused the credential, and a consent cannot help.
        CredentialRefused = "credential_refused",
        /// The API answered with a failure.
        ApiFailure = "api_failure",
        /// A jq filter of tools.toml gave no result.
        FilterFailed = "filter_failed",
        /// Any other failure.
        Failed = "failed",
    }
}

words! {
    /// Why a request was refused.
    RefusalReason {
        /// 421: meant for another host (DNS rebinding, or a proxy that rewrites `Host`).
        OtherHost = "other_host",
        /// 403: sent by another site's page.
        ForeignOrigin = "foreign_origin",
        /// 401: no credentials.
        NoCredentials = "no_credentials",
        /// 401: a token or key that is not accepted.
        InvalidToken = "invalid_token",
        /// 400: contradictory or unreadable.
        Malformed = "malformed",
        /// 429: too many tokens from the client's address were not accepted.
        TooManyFailures = "too_many_failures",
        /// 503: the issuer did not answer.
        IssuerUnavailable = "issuer_unavailable",
    }
}

words! {
    /// How a consent went.
    ConsentOutcome {
        /// The browser was redirected to the provider.
        SentToProvider = "sent_to_provider",
        Connected = "connected",
        /// The user refused, at the provider or here.
        Declined = "declined",
        /// The provider answered with an error.
        ProviderError = "provider_error",
        /// The token endpoint issued no token for the code.
        NoToken = "no_token",
        /// A pasted key or password did not work at the API.
        TestFailed = "test_failed",
        /// The callback came from another browser than the redirected one.
        OtherBrowser = "other_browser",
        /// The browser belongs to another user.
        OtherUser = "other_user",
        /// The callback came to another provider's address (RFC 9700 §4.4).
        OtherProvider = "other_provider",
        /// The callback came from another issuer (RFC 9207).
        OtherIssuer = "other_issuer",
        /// The consent is for another account than before; the user is asked to confirm the change.
        OtherAccount = "other_account",
        /// A consent for another account was dropped; the previous account stays connected.
        PreviousAccountKept = "previous_account_kept",
        /// Waits for the application to confirm the browser's user.
        AwaitsConfirmation = "awaits_confirmation",
        /// Time ran out.
        Expired = "expired",
        /// Granted, and held in memory: the store could not be written.
        Unsaved = "unsaved",
        /// Granted, never stored, and gone with this process.
        Lost = "lost",
    }
}

words! {
    /// How a deposit ended.
    DepositOutcome {
        /// The provider honours it.
        Live = "live",
        /// Kept; its first use shows whether the provider honours it.
        Unproven = "unproven",
        /// The provider does not honour it.
        Dead = "dead",
        /// The provider could not be asked, or refuses this server's client; a repeat continues.
        Undecided = "undecided",
        /// Refused for its account, its client, or what is there already.
        Refused = "refused",
    }
}

words! {
    /// A user's answer whether a call may run.
    ConfirmationOutcome {
        Confirmed = "confirmed",
        Declined = "declined",
    }
}

words! {
    /// How a renewal went.
    RenewalOutcome {
        Renewed = "renewed",
        /// The provider does not honour the refresh token any more.
        GrantEnded = "grant_ended",
        /// The provider refuses this server's client.
        ClientRefused = "client_refused",
        /// The token endpoint had trouble; the grant is kept.
        Failed = "failed",
        /// Renewed, and held in memory: the store could not be written.
        Unsaved = "unsaved",
        /// Renewed, never stored, and gone with this process.
        Lost = "lost",
    }
}

words! {
    /// Party that asked to end a grant.
    EndedBy {
        User = "user",
        /// On the command line.
        Operator = "operator",
        /// With an application's key.
        Application = "application",
    }
}

words! {
    /// The provider's reaction to a grant that was deleted here.
    EndOutcome {
        /// It ended the grant, or had ended it before (RFC 7009).
        Ended = "ended",
        /// It has no revocation endpoint.
        NoRevocation = "no_revocation",
        /// It did not confirm.
        RevocationFailed = "revocation_failed",
        /// It could not be reached.
        Unreachable = "unreachable",
        /// The grant belongs to another tools.toml, so the provider was not asked.
        OtherConfiguration = "other_configuration",
        /// It could not be asked: a setting is missing.
        NotSetUp = "not_set_up",
    }
}

words! {
    /// How a sign-in went.
    SignInOutcome {
        SignedIn = "signed_in",
        SignedOut = "signed_out",
        OtherBrowser = "other_browser",
        OtherIssuer = "other_issuer",
        UnknownKey = "unknown_key",
        /// The issuer refused.
        Denied = "denied",
    }
}

words! {
    /// Result of sending an event to a webhook.
    WebhookOutcome {
        Delivered = "delivered",
        /// Its attempts are used up.
        Parked = "parked",
    }
}

impl Event {
    /// Creates an event without caller, provider, tool and duration.
    pub fn new(kind: EventKind) -> Self {
        Self { caller: None, provider: None, tool: None, kind, took: None }
    }

    /// Sets the caller.
    #[must_use]
    pub fn of(self, caller: &Caller) -> Self {
        Self { caller: Some(caller.clone()), ..self }
    }

    /// Sets the provider.
    #[must_use]
    pub fn at(self, provider: &ProviderId) -> Self {
        Self { provider: Some(provider.clone()), ..self }
    }

    /// Sets the duration.
    #[must_use]
    pub fn took(self, took: Duration) -> Self {
        Self { took: Some(took), ..self }
    }
}

impl EventKind {
    /// Stable name of the kind.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Call(_) => "call",
            Self::Refusal { .. } => "refusal",
            Self::Link => "link",
            Self::Consent(_) => "consent",
            Self::Confirmation(_) => "confirmation",
            Self::Renewal(_) => "renewal",
            Self::End { .. } => "end",
            Self::SignIn(_) => "sign_in",
            Self::TokenHandedOut => "token",
            Self::Deposit(_) => "deposit",
            Self::Webhook(_) => "webhook",
        }
    }

    /// Stable word for the outcome.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Call(outcome) => outcome.word(),
            Self::Refusal { reason, .. } => reason.word(),
            Self::Link => "made",
            Self::Consent(outcome) => outcome.word(),
            Self::Confirmation(outcome) => outcome.word(),
            Self::Renewal(outcome) => outcome.word(),
            Self::End { outcome, .. } => outcome.word(),
            Self::SignIn(outcome) => outcome.word(),
            Self::TokenHandedOut => "handed_out",
            Self::Deposit(outcome) => outcome.word(),
            Self::Webhook(outcome) => outcome.word(),
        }
    }
}
