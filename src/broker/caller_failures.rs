//! Failures as the caller may see them. The user of a shared server sees no name of a variable or a
//! file: they cannot act on it, and the log has it.

use super::ConnectError;
use super::grant::access::AccessError;
use crate::model::failure::{LinkProblem, NotConfirmedReason};
use crate::model::principal::NoBrowserProof;
use crate::model::{Failure, FailureKind, Principal, Provider, ToolName};
use crate::store::StoreError;

/// Failure if the caller's access cannot be determined right now.
pub(super) fn no_access(error: &AccessError, principal: &Principal) -> Failure {
    match error {
        AccessError::Store(_) if !principal.is_local() => FailureKind::StoreUnavailable.into(),
        error => error.failure(),
    }
}

/// Failure if a consent is needed and no link to it could be made. `tool` is the tool that needs
/// it, if one does.
pub(super) fn no_link(
    error: &ConnectError,
    principal: &Principal,
    provider: &Provider,
    tool: Option<&ToolName>,
) -> Failure {
    let (title, tool) = (provider.title.clone(), tool.cloned());
    unlinked(error, principal, |problem| FailureKind::NoLink { title, tool, problem })
}

/// Failure if the user has to confirm a call, and no link to the confirmation could be made.
pub(super) fn not_asked(error: &ConnectError, principal: &Principal, tool: &ToolName) -> Failure {
    let tool = tool.clone();
    unlinked(error, principal, |problem| {
        let because = NotConfirmedReason::NoLink(problem);
        FailureKind::NotConfirmed { tool, because }
    })
}

fn unlinked(
    error: &ConnectError,
    principal: &Principal,
    kind: impl FnOnce(LinkProblem) -> FailureKind,
) -> Failure {
    let is_local = principal.is_local();
    let problem = match error {
        ConnectError::Store(error) if !is_local && !matches!(error, StoreError::Contended) => {
            return FailureKind::StoreUnavailable.into();
        }
        ConnectError::NoBrowserProof(NoBrowserProof::NoVerifier { key }) if !is_local => {
            LinkProblem::NoVerifier { application: key.clone() }
        }
        ConnectError::Setup(error) if error.is_passing() => {
            LinkProblem::EndpointsUnknown { cause: is_local.then(|| error.to_string()) }
        }
        ConnectError::TooManyLinks => LinkProblem::TooMany,
        ConnectError::TooManyScopes => LinkProblem::TooManyScopes,
        ConnectError::GrantedMeanwhile => LinkProblem::GrantedMeanwhile,
        ConnectError::Ending => LinkProblem::Ending,
        // All but the first are about a link that was opened or refused; here none was made.
        ConnectError::Store(StoreError::Contended)
        | ConnectError::Unknown
        | ConnectError::Exhausted
        | ConnectError::NotYours(_)
        | ConnectError::Changed
        | ConnectError::RefusedOften => LinkProblem::Contended,
        ConnectError::Store(_)
        | ConnectError::Setup(_)
        | ConnectError::Origin(_)
        | ConnectError::NoBrowserProof(_)
        | ConnectError::Address(_) => LinkProblem::Setup { cause: error.to_string() },
    };
    let is_for_operator = match &problem {
        LinkProblem::Setup { .. } => true,
        LinkProblem::EndpointsUnknown { cause } => cause.is_some(),
        LinkProblem::NoVerifier { .. }
        | LinkProblem::Contended
        | LinkProblem::TooMany
        | LinkProblem::TooManyScopes
        | LinkProblem::GrantedMeanwhile
        | LinkProblem::Ending => false,
    };
    let for_operator = is_for_operator.then(|| error.hint());
    Failure { for_operator, ..Failure::from(kind(problem)) }
}

/// Removes what is for the operator only: names of variables and files, and hints at settings.
/// Logs it instead.
pub(super) fn for_user(
    failure: Failure,
    provider: Option<&Provider>,
    tool: Option<&ToolName>,
) -> Failure {
    let Failure { kind, host, for_operator: Some(hint) } = failure else { return failure };
    let name = tool.map(tracing::field::display);
    let kind = match kind {
        FailureKind::SharedSecret { cause, .. }
        | FailureKind::StoredSecret { cause, .. }
        | FailureKind::OAuthSetup { cause }
        | FailureKind::NoLink { problem: LinkProblem::Setup { cause }, .. }
            if let Some(provider) = provider =>
        {
            tracing::warn!(tool = name, provider = %provider.id, cause, hint, "the setup of a provider is not finished");
            let title = provider.title.clone();
            FailureKind::UnfinishedSetup { title, tool: tool.cloned() }
        }
        FailureKind::NotConfirmed {
            tool,
            because: NotConfirmedReason::NoLink(LinkProblem::Setup { cause }),
        } => {
            tracing::warn!(%tool, cause, hint, "the setup of the pages for users is not finished");
            FailureKind::UnfinishedSetup { title: "its own pages".into(), tool: Some(tool) }
        }
        // The cause names the store's files and what is wrong with them.
        FailureKind::Store { cause } => {
            tracing::warn!(tool = name, cause, hint, "a tool could not use the store");
            FailureKind::StoreUnavailable
        }
        kind => {
            log_for_operator(tool, &hint);
            kind
        }
    };
    Failure { kind, host, for_operator: None }
}

/// Logs advice that only the operator can follow.
pub(super) fn log_for_operator(tool: Option<&ToolName>, hint: &str) {
    let name = tool.map(tracing::field::display);
    tracing::warn!(tool = name, hint, "a tool failed, and its operator can mend it");
}
