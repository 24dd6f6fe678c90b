//! Kinds of failures in Arcade's contract.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::failure::{Answered, ApiRefusal, CodeFailure, Retry};
use crate::model::{Failure, FailureKind};

/// How long a client waits before it repeats a call whose trouble lasts a moment.
const IN_A_MOMENT: Duration = Duration::from_secs(2);
/// How long a client waits before it repeats a call whose trouble lasts minutes.
const IN_MINUTES: Duration = Duration::from_mins(1);

/// Kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorKind {
    ToolkitLoadFailed,
    ToolDefinitionBadDefinition,
    ToolDefinitionBadInputSchema,
    ToolDefinitionBadOutputSchema,
    ToolRequirementsNotMet,
    ToolRuntimeBadInputValue,
    ToolRuntimeBadOutputValue,
    ToolRuntimeRetry,
    ToolRuntimeContextRequired,
    ToolRuntimeFatal,
    ContextCheckFailed,
    ContextDenied,
    UpstreamRuntimeBadRequest,
    UpstreamRuntimeAuthError,
    UpstreamRuntimeNotFound,
    UpstreamRuntimeValidationError,
    UpstreamRuntimeRateLimit,
    UpstreamRuntimeServerError,
    UpstreamRuntimeUnmapped,
    NetworkTransportRuntimeTimeout,
    NetworkTransportRuntimeUnreachable,
    NetworkTransportRuntimeUnmapped,
    Unknown,
}

impl ErrorKind {
    /// Returns the kind of a failure.
    pub(super) fn of(kind: &FailureKind) -> Self {
        match kind {
            FailureKind::InvalidArguments(_) | FailureKind::Account(_) => {
                Self::ToolRuntimeBadInputValue
            }
            FailureKind::NotBuilt(problem) if problem.is_about_arguments() => {
                Self::ToolRuntimeBadInputValue
            }
            FailureKind::NotBuilt(_) | FailureKind::BrokenFilter { .. } => {
                Self::ToolDefinitionBadDefinition
            }
            FailureKind::UnknownProvider(_)
            | FailureKind::SharedSecret { .. }
            | FailureKind::StoredSecret { .. }
            | FailureKind::OAuthSetup { .. }
            | FailureKind::UnfinishedSetup { .. }
            | FailureKind::NoLink { .. } => Self::ToolRequirementsNotMet,
            FailureKind::Store { .. } | FailureKind::StoreUnavailable | FailureKind::Ending => {
                Self::Unknown
            }
            FailureKind::EndpointsUnknown { .. }
            | FailureKind::NotRenewed { .. }
            | FailureKind::NotIssued { .. }
            | FailureKind::RenewedElsewhere(_) => Self::UpstreamRuntimeAuthError,
            FailureKind::NotReached { .. } => Self::NetworkTransportRuntimeUnreachable,
            FailureKind::TimedOut { .. } => Self::NetworkTransportRuntimeTimeout,
            FailureKind::NoAnswer { .. } | FailureKind::Busy { answered: None, .. } => {
                Self::NetworkTransportRuntimeUnmapped
            }
            FailureKind::Busy { answered: Some(_), .. } | FailureKind::Redirected { .. } => {
                Self::UpstreamRuntimeUnmapped
            }
            FailureKind::TooLarge { .. }
            | FailureKind::UnusableAnswer { .. }
            | FailureKind::FilterFailed { .. } => Self::ToolRuntimeBadOutputValue,
            FailureKind::Refused { answered, refusal } => Self::of_refusal(answered, refusal),
            FailureKind::ReportedByApi(_) => Self::UpstreamRuntimeBadRequest,
            FailureKind::NotConfirmed { .. } => Self::ContextDenied,
            FailureKind::ToolFailed { failure: CodeFailure::Soft(_), .. } => Self::ToolRuntimeRetry,
            FailureKind::ToolFailed { .. } => Self::ToolRuntimeFatal,
        }
    }

    fn of_refusal(answered: &Answered, refusal: &ApiRefusal) -> Self {
        match refusal {
            ApiRefusal::RateLimited(_) => Self::UpstreamRuntimeRateLimit,
            ApiRefusal::InvalidArguments if answered.status == Some(422) => {
                Self::UpstreamRuntimeValidationError
            }
            ApiRefusal::InvalidArguments | ApiRefusal::Reported | ApiRefusal::Conflict => {
                Self::UpstreamRuntimeBadRequest
            }
            ApiRefusal::NotFound => Self::UpstreamRuntimeNotFound,
            ApiRefusal::Forbidden
            | ApiRefusal::NoCredential
            | ApiRefusal::CredentialRefused
            | ApiRefusal::NewTokenRefused
            | ApiRefusal::MissingScopes
            | ApiRefusal::MissingServerScopes(_)
            | ApiRefusal::UnknownPermission { .. } => Self::UpstreamRuntimeAuthError,
            ApiRefusal::Unavailable { .. } => Self::UpstreamRuntimeServerError,
            ApiRefusal::Other => Self::UpstreamRuntimeUnmapped,
        }
    }
}

/// Whether the same call may be repeated, perhaps with other arguments.
pub(super) fn can_retry(retry: Retry) -> bool {
    match retry {
        Retry::Soon | Retry::InMinutes | Retry::After(_) | Retry::AfterChange => true,
        Retry::Never | Retry::LookFirst => false,
    }
}

/// How long to wait before the same call is repeated; `None` if time changes nothing.
pub(super) fn retry_after(retry: Retry) -> Option<Duration> {
    match retry {
        Retry::Soon => Some(IN_A_MOMENT),
        Retry::InMinutes => Some(IN_MINUTES),
        Retry::After(wait) => Some(wait),
        Retry::AfterChange | Retry::Never | Retry::LookFirst => None,
    }
}

/// The status that the API answered with, if a failure is about one.
pub(super) fn status_code(Failure { kind, .. }: &Failure) -> Option<u16> {
    match kind {
        FailureKind::Refused { answered, refusal: ApiRefusal::RateLimited(_) } => {
            Some(answered.status.unwrap_or(429))
        }
        FailureKind::Busy { answered: Some(answered), .. }
        | FailureKind::Refused { answered, .. }
        | FailureKind::Redirected { answered, .. }
        | FailureKind::ReportedByApi(answered)
        | FailureKind::UnusableAnswer { answered, .. }
        | FailureKind::FilterFailed { answered, .. } => answered.status,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::failure::{
        AnswerProblem, FilterProblem, LinkProblem, NotConfirmedReason, NotFollowed, RenewalRefusal,
        Wait,
    };
    use crate::model::request_problem::RequestProblem;
    use crate::model::{InvalidArguments, ProviderId, Scopes, ToolName};

    fn answered(status: u16) -> Answered {
        Answered { who: "Acme".into(), status: Some(status), message: None, details: None }
    }

    fn refused(status: u16, refusal: ApiRefusal) -> FailureKind {
        FailureKind::Refused { answered: answered(status), refusal }
    }

    /// Every kind of the contract, with the failures that have it.
    #[test]
    #[expect(clippy::too_many_lines, reason = "one line for each failure")]
    fn each_kind_has_these_failures() {
        let (cause, title) = (String::new, || "Acme".to_owned());
        let (tool, acme) = (|| ToolName::new("tool"), || ProviderId::new("acme"));
        let sent = true;
        let never = Vec::new;
        let kinds: [(ErrorKind, &str, Vec<FailureKind>); 23] = [
            (ErrorKind::ToolkitLoadFailed, "TOOLKIT_LOAD_FAILED", never()),
            (
                ErrorKind::ToolDefinitionBadDefinition,
                "TOOL_DEFINITION_BAD_DEFINITION",
                vec![
                    FailureKind::NotBuilt(RequestProblem::NoProvider),
                    FailureKind::BrokenFilter { tool: tool(), key: "select" },
                ],
            ),
            (ErrorKind::ToolDefinitionBadInputSchema, "TOOL_DEFINITION_BAD_INPUT_SCHEMA", never()),
            (
                ErrorKind::ToolDefinitionBadOutputSchema,
                "TOOL_DEFINITION_BAD_OUTPUT_SCHEMA",
                never(),
            ),
            (
                ErrorKind::ToolRequirementsNotMet,
                "TOOL_REQUIREMENTS_NOT_MET",
                vec![
                    FailureKind::UnknownProvider(acme()),
                    FailureKind::SharedSecret { title: title(), cause: cause() },
                    FailureKind::StoredSecret { title: title(), cause: cause() },
                    FailureKind::OAuthSetup { cause: cause() },
                    FailureKind::UnfinishedSetup { title: title(), tool: Some(tool()) },
                    FailureKind::NoLink {
                        title: title(),
                        tool: Some(tool()),
                        problem: LinkProblem::TooMany,
                    },
                ],
            ),
            (
                ErrorKind::ToolRuntimeBadInputValue,
                "TOOL_RUNTIME_BAD_INPUT_VALUE",
                vec![
                    FailureKind::InvalidArguments(InvalidArguments::Unfit {
                        tool: tool(),
                        problems: Vec::new(),
                    }),
                    FailureKind::NotBuilt(RequestProblem::Address),
                ],
            ),
            (
                ErrorKind::ToolRuntimeBadOutputValue,
                "TOOL_RUNTIME_BAD_OUTPUT_VALUE",
                vec![
                    FailureKind::TooLarge { who: title(), limit: 1, may_have_run: sent },
                    FailureKind::UnusableAnswer {
                        answered: answered(200),
                        problem: AnswerProblem::Empty,
                    },
                    FailureKind::FilterFailed {
                        answered: answered(200),
                        tool: tool(),
                        key: "select",
                        problem: FilterProblem::Broken,
                        cause: cause(),
                    },
                ],
            ),
            (ErrorKind::ToolRuntimeRetry, "TOOL_RUNTIME_RETRY", never()),
            (ErrorKind::ToolRuntimeContextRequired, "TOOL_RUNTIME_CONTEXT_REQUIRED", never()),
            (ErrorKind::ToolRuntimeFatal, "TOOL_RUNTIME_FATAL", never()),
            (ErrorKind::ContextCheckFailed, "CONTEXT_CHECK_FAILED", never()),
            (
                ErrorKind::ContextDenied,
                "CONTEXT_DENIED",
                vec![FailureKind::NotConfirmed {
                    tool: tool(),
                    because: NotConfirmedReason::Declined,
                }],
            ),
            (
                ErrorKind::UpstreamRuntimeBadRequest,
                "UPSTREAM_RUNTIME_BAD_REQUEST",
                vec![
                    refused(400, ApiRefusal::InvalidArguments),
                    refused(200, ApiRefusal::Reported),
                    refused(409, ApiRefusal::Conflict),
                    FailureKind::ReportedByApi(answered(200)),
                ],
            ),
            (
                ErrorKind::UpstreamRuntimeAuthError,
                "UPSTREAM_RUNTIME_AUTH_ERROR",
                vec![
                    FailureKind::EndpointsUnknown { cause: cause() },
                    FailureKind::NotRenewed {
                        provider: acme(),
                        refusal: Some(RenewalRefusal::Client),
                        cause: cause(),
                    },
                    FailureKind::NotIssued { provider: acme(), is_refusal: true, cause: cause() },
                    FailureKind::RenewedElsewhere(acme()),
                    refused(403, ApiRefusal::Forbidden),
                    refused(401, ApiRefusal::NoCredential),
                    refused(401, ApiRefusal::CredentialRefused),
                    refused(401, ApiRefusal::NewTokenRefused),
                    refused(403, ApiRefusal::MissingScopes),
                    refused(403, ApiRefusal::MissingServerScopes(Scopes::none())),
                    refused(403, ApiRefusal::UnknownPermission { tool: tool() }),
                ],
            ),
            (
                ErrorKind::UpstreamRuntimeNotFound,
                "UPSTREAM_RUNTIME_NOT_FOUND",
                vec![refused(404, ApiRefusal::NotFound)],
            ),
            (
                ErrorKind::UpstreamRuntimeValidationError,
                "UPSTREAM_RUNTIME_VALIDATION_ERROR",
                vec![refused(422, ApiRefusal::InvalidArguments)],
            ),
            (
                ErrorKind::UpstreamRuntimeRateLimit,
                "UPSTREAM_RUNTIME_RATE_LIMIT",
                vec![refused(429, ApiRefusal::RateLimited(Wait::Unknown))],
            ),
            (
                ErrorKind::UpstreamRuntimeServerError,
                "UPSTREAM_RUNTIME_SERVER_ERROR",
                vec![refused(503, ApiRefusal::Unavailable { after: None, may_have_run: sent })],
            ),
            (
                ErrorKind::UpstreamRuntimeUnmapped,
                "UPSTREAM_RUNTIME_UNMAPPED",
                vec![
                    refused(418, ApiRefusal::Other),
                    FailureKind::Redirected {
                        answered: answered(302),
                        problem: NotFollowed::NoTarget,
                    },
                    FailureKind::Busy { answered: Some(answered(200)), may_have_run: sent },
                ],
            ),
            (
                ErrorKind::NetworkTransportRuntimeTimeout,
                "NETWORK_TRANSPORT_RUNTIME_TIMEOUT",
                vec![FailureKind::TimedOut { may_have_run: sent, cause: cause() }],
            ),
            (
                ErrorKind::NetworkTransportRuntimeUnreachable,
                "NETWORK_TRANSPORT_RUNTIME_UNREACHABLE",
                vec![FailureKind::NotReached { is_passing: true, cause: cause() }],
            ),
            (
                ErrorKind::NetworkTransportRuntimeUnmapped,
                "NETWORK_TRANSPORT_RUNTIME_UNMAPPED",
                vec![
                    FailureKind::NoAnswer { may_have_run: sent, cause: cause() },
                    FailureKind::Busy { answered: None, may_have_run: false },
                ],
            ),
            (
                ErrorKind::Unknown,
                "UNKNOWN",
                vec![
                    FailureKind::Store { cause: cause() },
                    FailureKind::StoreUnavailable,
                    FailureKind::Ending,
                ],
            ),
        ];
        for (kind, word, failures) in kinds {
            assert_eq!(serde_json::to_value(kind).unwrap(), word);
            for failure in failures {
                assert_eq!(ErrorKind::of(&failure), kind, "{failure:?}");
            }
        }
    }

    #[test]
    fn a_client_is_told_when_to_repeat() {
        let wait = Duration::from_secs(7);
        for (retry, can, after) in [
            (Retry::Never, false, None),
            (Retry::LookFirst, false, None),
            (Retry::AfterChange, true, None),
            (Retry::Soon, true, Some(IN_A_MOMENT)),
            (Retry::InMinutes, true, Some(IN_MINUTES)),
            (Retry::After(wait), true, Some(wait)),
        ] {
            assert_eq!((can_retry(retry), retry_after(retry)), (can, after), "{retry:?}");
        }
    }

    #[test]
    fn the_status_is_the_api_s() {
        let status = |kind: FailureKind| status_code(&kind.into());
        assert_eq!(status(refused(403, ApiRefusal::Forbidden)), Some(403));
        let unknown = Answered { status: None, ..answered(200) };
        let limited = |answered| {
            let refusal = ApiRefusal::RateLimited(Wait::Unknown);
            FailureKind::Refused { answered, refusal }
        };
        assert_eq!(status(limited(unknown.clone())), Some(429));
        assert_eq!(status(limited(answered(403))), Some(403));
        assert_eq!(status(FailureKind::ReportedByApi(unknown)), None);
        assert_eq!(status(FailureKind::Ending), None);
    }
}
