//! Failures of calls, as data.
//!
//! A failure says what happened and with what: which provider, which status, which argument. It
//! holds no sentence for a model, a page or a terminal. Each face writes its own words from it.
//!
//! Text from outside (an API's message, an adapter's error) is scrubbed of our secrets and of
//! deceptive characters where it enters ([`crate::upstream`]), and is quoted, never spoken, by the
//! faces.

use std::time::Duration;

use super::event::CallOutcome;
use super::id::BadAccountName;
use super::request_problem::RequestProblem;
use super::result::Remark;
use super::unasked_place::UnaskedPlace;
use super::{AccountName, InvalidArguments, ProviderId, Scopes, ToolName};

/// A call that did not run, or whose API refused it. A missing consent is no failure, see
/// [`Outcome`](super::Outcome).
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub kind: FailureKind,
    /// The API that answered: its host, and the port if it is not the scheme's default. `None` if
    /// the failure is not about an answer.
    pub host: Option<String>,
    /// Advice for the server's operator, as a lower-case fragment. Neither the model nor its user
    /// can follow it, so code that shows it says that it is for the operator.
    pub for_operator: Option<String>,
}

/// Kind of a failure, with its data.
///
/// `cause` is always the message of an adapter's error: a lower-case fragment of facts.
#[derive(Clone, Debug, PartialEq)]
pub enum FailureKind {
    /// The arguments do not fit the tool.
    InvalidArguments(InvalidArguments),
    /// The account that the call means is unknown.
    Account(AccountProblem),
    /// The request cannot be built. The API was not asked.
    NotBuilt(RequestProblem),
    /// A jq filter of the tool does not compile. The API was not asked. `key` is its key in
    /// tools.toml.
    BrokenFilter { tool: ToolName, key: &'static str },
    /// tools.toml has no such provider.
    UnknownProvider(ProviderId),
    /// The server's own key or password for a provider cannot be used.
    SharedSecret { title: String, cause: String },
    /// The user's stored token, key or password cannot be used as the provider is configured now.
    StoredSecret { title: String, cause: String },
    /// The provider's OAuth setup is incomplete.
    OAuthSetup { cause: String },
    /// A setting for the provider is missing or wrong, and the caller is not the operator. `tool` is
    /// the tool that needs the provider, if one does.
    UnfinishedSetup { title: String, tool: Option<ToolName> },
    /// The store failed, and the caller is the operator.
    Store { cause: String },
    /// The store failed, and the caller is not the operator.
    StoreUnavailable,
    /// The provider's discovery document cannot be fetched at the moment.
    EndpointsUnknown { cause: String },
    /// The access token has expired, and the token endpoint issued no new one.
    NotRenewed { provider: ProviderId, refusal: Option<RenewalRefusal>, cause: String },
    /// The token endpoint issued no access token to the server itself.
    NotIssued { provider: ProviderId, is_refusal: bool, cause: String },
    /// Another process is renewing the access token.
    RenewedElsewhere(ProviderId),
    /// This server is ending.
    Ending,
    /// A consent is needed, and no link to it could be made. `tool` is the tool that needs it, if
    /// one does.
    NoLink { title: String, tool: Option<ToolName>, problem: LinkProblem },
    /// Other large answers hold the memory for answers. `status` is set if the API has answered.
    Busy { answered: Option<Answered>, may_have_run: bool },
    /// The request never reached the API.
    NotReached { is_passing: bool, cause: String },
    /// The API gave no complete answer to a request that was sent.
    NoAnswer { may_have_run: bool, cause: String },
    /// The API did not answer before the tool's timeout.
    TimedOut { may_have_run: bool, cause: String },
    /// The answer is larger than `limit` bytes.
    TooLarge { who: String, limit: usize, may_have_run: bool },
    /// The API refused the request.
    Refused { answered: Answered, refusal: ApiRefusal },
    /// The API answered with a redirect that is not followed.
    Redirected { answered: Answered, problem: NotFollowed },
    /// The tool's `error` filter took the message from the answer.
    ReportedByApi(Answered),
    /// The API's answer has a form that the tool cannot use.
    UnusableAnswer { answered: Answered, problem: AnswerProblem },
    /// A jq filter of the tool gave no result for an answer. `key` is its key in tools.toml.
    FilterFailed {
        answered: Answered,
        tool: ToolName,
        key: &'static str,
        problem: FilterProblem,
        cause: String,
    },
    /// The code of the tool reports a failure. `may_have_run`: it may have changed something before
    /// it failed.
    ToolFailed { tool: ToolName, failure: CodeFailure, may_have_run: bool },
    /// The tool runs only after the user has confirmed its arguments. Nothing was sent.
    NotConfirmed { tool: ToolName, because: NotConfirmedReason },
}

/// Failure that the code of a tool reports.
#[derive(Clone, Debug, PartialEq)]
pub enum CodeFailure {
    /// The model may call again, with other arguments. The text is the tool's own, fit to be quoted.
    Soft(String),
    /// Calling again does not help. The text is the tool's own, fit to be quoted.
    Hard(String),
    /// An error without words for the model; those are for the operator only, since the text of a
    /// program's error may hold addresses and passwords.
    Error,
    /// The code panicked.
    Panic,
    /// The run had changed something before this ended it.
    AfterEffect(Box<FailureKind>),
    /// The run had changed something before it asked its user for a consent or an answer. It would
    /// run again from its start then.
    AskedAfterEffect,
}

/// Why a call that the user has to confirm was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotConfirmedReason {
    Declined,
    /// The caller shows no links, so the user was not asked.
    LinkWithheld,
    /// No link to the page that asks could be made.
    NoLink(LinkProblem),
}

/// Why the account that a call means is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountProblem {
    BadName(BadAccountName),
    /// The call names none, several are connected, and none of them is the default.
    Several {
        title: String,
        connected: Vec<String>,
    },
    /// No account has this name, and one has a similar name.
    Mistyped {
        title: String,
        name: AccountName,
        nearest: String,
        connected: Vec<String>,
        /// Place at which the user connects another one.
        unasked_place: UnaskedPlace,
    },
}

/// Why a token endpoint refuses to renew a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewalRefusal {
    /// It refuses this server's client, so a new consent cannot help.
    Client,
    /// It does not say whether the grant has ended or the client is not set up right.
    Unclear,
}

/// Why no link could be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkProblem {
    /// The store, the client, the port or a setting fails; the operator must act.
    Setup {
        cause: String,
    },
    /// The application of this name, which called, has no page that confirms its users; it must
    /// act.
    NoVerifier {
        application: String,
    },
    /// The provider does not say at the moment where users sign in. `cause` is `None` if the caller
    /// is not the operator.
    EndpointsUnknown {
        cause: Option<String>,
    },
    /// Other processes kept writing the same record.
    Contended,
    /// The user has as many links as one may get in an hour.
    TooMany,
    /// The open link asks for as many scopes as a link may, and would have to ask for more.
    TooManyScopes,
    /// The consent was given while the link was made.
    GrantedMeanwhile,
    Ending,
}

/// An API's answer, as far as it explains a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The API: the provider's title, or the host.
    pub who: String,
    /// HTTP status. `None` if a successful status came with a body that reports a failure.
    pub status: Option<u16>,
    /// The API's own message, shortened, on one line, without “ and ”, so that it can be quoted.
    pub message: Option<String>,
    /// List of problems, field by field: `“Issue.title: missing_field”`.
    pub details: Option<String>,
}

/// Meaning of an API's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiRefusal {
    RateLimited(Wait),
    /// 4xx: the arguments are wrong.
    InvalidArguments,
    /// A successful status with a body that reports a failure.
    Reported,
    /// 404 or 410: the thing does not exist, or the account cannot see it.
    NotFound,
    /// 403: the account may not do this.
    Forbidden,
    Conflict,
    /// The service has trouble of its own. `after` is when it wants to be asked again.
    Unavailable {
        after: Option<Duration>,
        may_have_run: bool,
    },
    /// 401, and the tool carries no credential.
    NoCredential,
    /// The credential is not accepted.
    CredentialRefused,
    /// The server's own token is not accepted, though it was issued a moment ago.
    NewTokenRefused,
    /// The credential lacks scopes that a consent could add.
    MissingScopes,
    /// The server's own token lacks these scopes; empty if the API wants none that it lacks.
    MissingServerScopes(Scopes),
    /// The credential lacks a permission that neither the tool nor the provider declares.
    UnknownPermission {
        tool: ToolName,
    },
    /// Any other status.
    Other,
}

/// When a rate limit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    After(Duration),
    /// The limit is counted by the day.
    ByTheDay,
    Unknown,
}

/// Why a redirect is not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotFollowed {
    /// The target has another scheme, host or port. Holds its host only: its path and query may
    /// hold a credential.
    OtherOrigin(String),
    /// The call has already followed this many.
    TooMany(usize),
    /// 301 or 302 for a request that is not a read. Some clients repeat it, others send a GET
    /// (RFC 9110 §15.4.2, §15.4.3), so it is unclear which one the API means.
    Ambiguous,
    /// The `Location` header is missing or not a URL.
    NoTarget,
}

/// Why a successful answer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerProblem {
    /// It cannot be read.
    Unreadable { is_repeatable: bool, because: Unreadable },
    /// It is empty, and the tool promises data.
    Empty,
    /// It is not JSON, which the tool's filter needs.
    NotJson { content: NotJson, remark: Option<Remark> },
}

/// Why an answer cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is compressed by this method, which the request did not offer.
    Compressed(String),
    /// Its JSON has more than this many values.
    TooManyValues(usize),
    /// Its JSON nests more than this many levels.
    TooDeep(usize),
}

/// Content that is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotJson {
    WebPage,
    PlainText,
    Binary,
}

/// Why a jq filter gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterProblem {
    /// Other filters were running.
    Busy,
    /// It took too much time or memory.
    TooHeavy,
    /// It fails for this answer, or cannot run at all.
    Broken,
}

/// Whether the same call may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Not before a person has changed something.
    Never,
    /// In a few seconds.
    Soon,
    /// In a minute or a few.
    InMinutes,
    /// After this time.
    After(Duration),
    /// With other arguments.
    AfterChange,
    /// The call may have had its effect; look at the current state first.
    LookFirst,
}

impl From<FailureKind> for Failure {
    fn from(kind: FailureKind) -> Self {
        Self { kind, host: None, for_operator: None }
    }
}

impl Failure {
    /// Sets the advice for the operator.
    #[must_use]
    pub fn for_operator(self, hint: impl Into<String>) -> Self {
        Self { for_operator: Some(hint.into()), ..self }
    }
}

impl FailureKind {
    /// Returns the outcome for the record.
    pub fn outcome(&self) -> CallOutcome {
        match self {
            Self::InvalidArguments(_) | Self::Account(_) | Self::NotBuilt(_) => {
                CallOutcome::InvalidArguments
            }
            Self::BrokenFilter { .. } | Self::FilterFailed { .. } => CallOutcome::FilterFailed,
            Self::UnknownProvider(_) | Self::ToolFailed { .. } => CallOutcome::Failed,
            Self::SharedSecret { .. }
            | Self::StoredSecret { .. }
            | Self::OAuthSetup { .. }
            | Self::UnfinishedSetup { .. } => CallOutcome::NotSetUp,
            Self::Store { .. } | Self::StoreUnavailable => CallOutcome::StoreUnavailable,
            Self::EndpointsUnknown { .. }
            | Self::NotRenewed { .. }
            | Self::NotIssued { .. }
            | Self::RenewedElsewhere(_)
            | Self::Ending => CallOutcome::TokenUnavailable,
            Self::NoLink { .. } => CallOutcome::NoLink,
            Self::NotConfirmed { because: NotConfirmedReason::NoLink(_), .. } => {
                CallOutcome::NoLink
            }
            Self::NotConfirmed { because: NotConfirmedReason::Declined, .. } => {
                CallOutcome::NotConfirmed
            }
            Self::NotConfirmed { because: NotConfirmedReason::LinkWithheld, .. } => {
                CallOutcome::ConfirmationRequired
            }
            Self::Busy { answered: None, .. }
            | Self::NotReached { .. }
            | Self::NoAnswer { .. }
            | Self::TimedOut { .. }
            | Self::TooLarge { .. } => CallOutcome::NoAnswer,
            Self::Refused { refusal, .. } => refusal.outcome(),
            Self::Busy { answered: Some(_), .. }
            | Self::Redirected { .. }
            | Self::ReportedByApi(_)
            | Self::UnusableAnswer { .. } => CallOutcome::ApiFailure,
        }
    }

    /// Returns whether and when the same call may be repeated.
    pub fn retry(&self) -> Retry {
        match self {
            Self::InvalidArguments(_)
            | Self::Account(_)
            | Self::ToolFailed { failure: CodeFailure::Soft(_), may_have_run: false, .. }
            | Self::TooLarge { may_have_run: false, .. } => Retry::AfterChange,
            Self::NotBuilt(problem) if problem.is_about_arguments() => Retry::AfterChange,
            Self::Busy { may_have_run, .. }
            | Self::NoAnswer { may_have_run, .. }
            | Self::TimedOut { may_have_run, .. } => again(*may_have_run),
            Self::NotReached { is_passing: true, .. } | Self::StoreUnavailable => Retry::InMinutes,
            Self::EndpointsUnknown { .. }
            | Self::NotRenewed { refusal: None | Some(RenewalRefusal::Unclear), .. }
            | Self::NotIssued { is_refusal: false, .. }
            | Self::RenewedElsewhere(_)
            | Self::Ending => Retry::Soon,
            Self::NoLink { problem, .. }
            | Self::NotConfirmed { because: NotConfirmedReason::NoLink(problem), .. } => {
                problem.retry()
            }
            Self::Refused { refusal, .. } => refusal.retry(),
            Self::UnusableAnswer { problem, .. } => problem.retry(),
            Self::TooLarge { may_have_run: true, .. }
            | Self::ToolFailed { may_have_run: true, .. }
            | Self::FilterFailed { .. }
            | Self::ReportedByApi(_) => Retry::LookFirst,
            Self::NotBuilt(_)
            | Self::ToolFailed { .. }
            | Self::Redirected { .. }
            | Self::BrokenFilter { .. }
            | Self::UnknownProvider(_)
            | Self::SharedSecret { .. }
            | Self::StoredSecret { .. }
            | Self::OAuthSetup { .. }
            | Self::UnfinishedSetup { .. }
            | Self::Store { .. }
            | Self::NotRenewed { refusal: Some(RenewalRefusal::Client), .. }
            | Self::NotIssued { is_refusal: true, .. }
            | Self::NotReached { is_passing: false, .. }
            | Self::NotConfirmed {
                because: NotConfirmedReason::Declined | NotConfirmedReason::LinkWithheld,
                ..
            } => Retry::Never,
        }
    }
}

impl LinkProblem {
    fn retry(&self) -> Retry {
        match self {
            Self::Setup { .. } | Self::NoVerifier { .. } => Retry::Never,
            Self::EndpointsUnknown { .. } | Self::TooMany | Self::TooManyScopes => Retry::InMinutes,
            Self::Contended | Self::GrantedMeanwhile | Self::Ending => Retry::Soon,
        }
    }
}

impl ApiRefusal {
    fn outcome(&self) -> CallOutcome {
        match self {
            Self::CredentialRefused
            | Self::NewTokenRefused
            | Self::MissingScopes
            | Self::MissingServerScopes(_) => CallOutcome::CredentialRefused,
            Self::RateLimited(_)
            | Self::InvalidArguments
            | Self::Reported
            | Self::NotFound
            | Self::Forbidden
            | Self::Conflict
            | Self::Unavailable { .. }
            | Self::NoCredential
            | Self::UnknownPermission { .. }
            | Self::Other => CallOutcome::ApiFailure,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Unavailable { after: None, may_have_run } => again(*may_have_run),
            Self::Unavailable { may_have_run: true, .. } | Self::Conflict => Retry::LookFirst,
            Self::RateLimited(Wait::After(after))
            | Self::Unavailable { after: Some(after), may_have_run: false } => Retry::After(*after),
            Self::RateLimited(Wait::Unknown) => Retry::InMinutes,
            Self::InvalidArguments | Self::Reported | Self::NotFound => Retry::AfterChange,
            Self::RateLimited(Wait::ByTheDay)
            | Self::Forbidden
            | Self::NoCredential
            | Self::CredentialRefused
            | Self::NewTokenRefused
            | Self::MissingScopes
            | Self::MissingServerScopes(_)
            | Self::UnknownPermission { .. }
            | Self::Other => Retry::Never,
        }
    }
}

impl AnswerProblem {
    fn retry(&self) -> Retry {
        match self {
            Self::Unreadable { is_repeatable: true, .. } => Retry::AfterChange,
            Self::Unreadable { is_repeatable: false, .. } | Self::Empty | Self::NotJson { .. } => {
                Retry::LookFirst
            }
        }
    }
}

/// For a request whose fate is unknown.
fn again(may_have_run: bool) -> Retry {
    if may_have_run { Retry::LookFirst } else { Retry::InMinutes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_when_to_call_again() {
        let retry = |refusal| {
            let who = "Acme".to_owned();
            let answered = Answered { who, status: Some(403), message: None, details: None };
            FailureKind::Refused { answered, refusal }.retry()
        };
        let wait = Duration::from_secs(30);
        let trouble = |after, may_have_run| ApiRefusal::Unavailable { after, may_have_run };
        assert_eq!(retry(ApiRefusal::RateLimited(Wait::After(wait))), Retry::After(wait));
        assert_eq!(retry(ApiRefusal::RateLimited(Wait::ByTheDay)), Retry::Never);
        assert_eq!(retry(trouble(Some(wait), false)), Retry::After(wait));
        assert_eq!(retry(trouble(Some(wait), true)), Retry::LookFirst);
        assert_eq!(retry(trouble(None, true)), Retry::LookFirst);
        assert_eq!(retry(trouble(None, false)), Retry::InMinutes);
        assert_eq!(retry(ApiRefusal::InvalidArguments), Retry::AfterChange);
        assert_eq!(retry(ApiRefusal::Forbidden), Retry::Never);
    }
}
