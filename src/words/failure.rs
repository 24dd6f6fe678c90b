//! Writes failures for a model: what happened, and what to do.
//!
//! An API's own message is untrusted data. It stands between “ and ”, which it cannot hold itself.

use std::fmt::Write as _;
use std::time::Duration;

use http::StatusCode;

use super::arguments;
use super::consent::place;
use super::remark::remark;
use crate::model::failure::{
    AccountProblem, AnswerProblem, Answered, ApiRefusal, CodeFailure, FilterProblem, LinkProblem,
    NotConfirmedReason, NotFollowed, NotJson, RenewalRefusal, Unreadable, Wait,
};
use crate::model::request_problem::{HeaderProblem, PathProblem, RequestProblem};
use crate::model::text::sentence;
use crate::model::unasked_place::UnaskedPlace;
use crate::model::{Failure, FailureKind, ProviderId, ToolName};
use crate::net::status_words;

const IN_A_MOMENT: &str = "Nothing is lost; call this tool again in a moment.";
const BUSY: &str = "this server has no memory left for a large answer, because other large answers \
                    are being read. Ask for less if you can: a smaller page, a filter.";
const STORE_UNAVAILABLE: &str = "This server cannot read or write what it keeps for you at the \
                                 moment. Nothing is lost; call this tool again in a few minutes.";
const FINAL_ADDRESS: &str = "the operator must write the final address in tools.toml.";

/// Returns the words for a failure, without the advice for the operator.
pub fn failure_text(failure: &Failure) -> String {
    match &failure.kind {
        FailureKind::InvalidArguments(problem) => arguments::text(problem),
        FailureKind::Account(problem) => account(problem),
        FailureKind::NotBuilt(problem) => format!("Nothing was sent: {}.", not_built(problem)),
        FailureKind::BrokenFilter { tool, key } => format!(
            "Nothing was sent: the jq filter `{key}` of {tool} does not compile. Calling again will not help."
        ),
        FailureKind::UnknownProvider(provider) => {
            format!("The provider `{provider}` is not configured.")
        }
        FailureKind::SharedSecret { title, cause } => {
            format!("{title} needs a key or password of this server: {cause}.")
        }
        FailureKind::StoredSecret { title, cause } => format!("{title} cannot be called: {cause}."),
        FailureKind::OAuthSetup { cause } | FailureKind::Store { cause } => format!("{cause}."),
        FailureKind::UnfinishedSetup { title, tool } => format!(
            "The operator of this server has to finish the setup of {title}{}. Calling again will not help; tell the user.",
            before(tool.as_ref())
        ),
        FailureKind::StoreUnavailable => STORE_UNAVAILABLE.to_owned(),
        FailureKind::EndpointsUnknown { cause } => format!("{cause}. {IN_A_MOMENT}"),
        FailureKind::NotRenewed { provider, refusal, cause } => {
            not_renewed(provider, *refusal, cause)
        }
        FailureKind::NotIssued { provider, is_refusal, cause } => {
            let then = if *is_refusal { "Calling again will not help." } else { IN_A_MOMENT };
            format!("`{provider}` has issued no access token to this server: {cause}. {then}")
        }
        FailureKind::RenewedElsewhere(provider) => renewed_elsewhere(provider),
        FailureKind::Ending => "The server is ending. Call this tool again when it runs.".into(),
        FailureKind::NoLink { title, tool, problem } => no_link(title, tool.as_ref(), problem),
        FailureKind::Busy { answered, may_have_run } => busy(answered.as_ref(), *may_have_run),
        FailureKind::NotReached { is_passing, cause } => not_reached(*is_passing, cause),
        FailureKind::NotConfirmed { tool, because } => not_confirmed(tool, because),
        FailureKind::NoAnswer { may_have_run, cause }
        | FailureKind::TimedOut { may_have_run, cause } => {
            format!("{cause}. {}", again(*may_have_run))
        }
        FailureKind::TooLarge { who, limit, may_have_run } => too_large(who, *limit, *may_have_run),
        FailureKind::Refused { answered, refusal } => {
            let advice = refused(refusal).map(|advice| format!(" {advice}"));
            format!("{}{}", quoting(answered), advice.unwrap_or_default())
        }
        FailureKind::Redirected { answered, problem } => {
            format!("{}, {}", with_status(answered), not_followed(problem))
        }
        FailureKind::ReportedByApi(answered) => quoting(answered),
        FailureKind::ToolFailed { tool, failure: code, may_have_run } => {
            tool_failed(tool, code, *may_have_run, failure)
        }
        FailureKind::UnusableAnswer { answered, problem } => unusable(answered, problem),
        FailureKind::FilterFailed { answered, tool, key, problem, cause } => format!(
            "{}, so the request succeeded; do not repeat it if it changes anything. But `{key}` of [tools.{tool}] in tools.toml gave no result: {cause}; {}.",
            with_status(answered),
            filter_advice(*problem)
        ),
    }
}

fn tool_failed(
    tool: &ToolName,
    failure: &CodeFailure,
    may_have_run: bool,
    whole: &Failure,
) -> String {
    match failure {
        CodeFailure::Soft(message) if may_have_run => {
            format!("{tool} reports: “{message}”. {}", had_changed(tool))
        }
        CodeFailure::AfterEffect(kind) => {
            let earlier = Failure { kind: (**kind).clone(), ..whole.clone() };
            format!("{} {}", failure_text(&earlier), had_changed(tool))
        }
        CodeFailure::AskedAfterEffect => format!(
            "{tool} needs an answer of its user, which it should have asked for before. {} Tell the user.",
            had_changed(tool)
        ),
        CodeFailure::Soft(message) => {
            format!("{tool} reports: “{message}”. You may call it again with other arguments.")
        }
        CodeFailure::Hard(message) => {
            format!("{tool} failed: “{message}”. Calling it again will not help; tell the user.")
        }
        CodeFailure::Error | CodeFailure::Panic => format!(
            "{tool} failed for a reason that the operator of this server finds in its log. Calling it again will not help; tell the user."
        ),
    }
}

/// Overrides what was said before about calling again.
fn had_changed(tool: &ToolName) -> String {
    format!("But {tool} had changed something before that: look at it before you call again.")
}

fn renewed_elsewhere(provider: &ProviderId) -> String {
    format!(
        "Another Countersign on this machine is renewing the access token of `{provider}`. {IN_A_MOMENT}"
    )
}

/// Continues `access is needed`.
fn before(tool: Option<&ToolName>) -> String {
    tool.map(|tool| format!(" before {tool} can run")).unwrap_or_default()
}

fn account(problem: &AccountProblem) -> String {
    match problem {
        AccountProblem::BadName(problem) => sentence(&problem.to_string()),
        AccountProblem::Several { title, connected } => format!(
            "The user has connected several {title} accounts: {}. Call this tool again with the name of one of them as `account`; if it is not clear which is meant, ask the user.",
            connected.join(", ")
        ),
        AccountProblem::Mistyped { title, name, nearest, connected, unasked_place } => format!(
            "There is no {title} account `{name}`. Did you mean `{nearest}`? Connected: {}. Call this tool again with one of these names as `account`. To connect another account under the name `{name}`, the user does so {}.",
            connected.join(", "),
            places(unasked_place)
        ),
    }
}

/// Names all places where a user connects one more account.
fn places(other: &UnaskedPlace) -> String {
    let page = place(&UnaskedPlace::ConnectionsPage);
    match other {
        UnaskedPlace::ConnectionsPage => page,
        UnaskedPlace::Command { .. } => format!("{page}, or {}", place(other)),
    }
}

/// Continues `Nothing was sent: `.
fn not_built(problem: &RequestProblem) -> String {
    match problem {
        RequestProblem::MissingArgument(name) => format!("argument `{name}` is missing"),
        RequestProblem::PathArgument { name, problem } => {
            let reason = match problem {
                PathProblem::Empty => "must not be empty, since it is part of the address",
                PathProblem::DotSegment => {
                    "must not be or contain `.` or `..` as a step, since it is part of the address"
                }
                PathProblem::Slashes => {
                    "must not begin or end with a slash or contain two in a row, since it is part of the address"
                }
                PathProblem::ControlCharacters => "must not contain control characters",
            };
            format!("argument `{name}` {reason}")
        }
        RequestProblem::HeaderArgument { name, problem } => {
            let limit = match problem {
                HeaderProblem::TooLong(kib) => format!("must not be longer than {kib} KiB"),
                HeaderProblem::ControlCharacters => {
                    "must not contain line breaks or other control characters".to_owned()
                }
                HeaderProblem::NotAscii => "must be plain ASCII".to_owned(),
            };
            format!("argument `{name}` {limit}, since it is sent in a header")
        }
        RequestProblem::Address => {
            "the request's address cannot be built from these arguments".to_owned()
        }
        RequestProblem::ReservedHeader(name) => format!(
            "the header `{name}` cannot be set by a tool; the operator must remove it from tools.toml"
        ),
        RequestProblem::InvalidHeader(name) => format!(
            "the header `{name}` in tools.toml has a name or value that HTTP does not allow"
        ),
        RequestProblem::ForeignHost { provider, host } => format!(
            "the credential of `{provider}` may not be sent to `{host}`; if it is meant to be, the operator must add `{host}` to `hosts` of [providers.{provider}] in tools.toml"
        ),
        RequestProblem::NoProvider => {
            "the tool has no provider to take a credential from".to_owned()
        }
        RequestProblem::InvalidCredential => {
            "the credential contains characters that a header cannot hold".to_owned()
        }
    }
}

fn not_renewed(provider: &ProviderId, refusal: Option<RenewalRefusal>, cause: &str) -> String {
    let then = match refusal {
        None => IN_A_MOMENT.to_owned(),
        Some(RenewalRefusal::Client) => "Connecting again will not help.".to_owned(),
        Some(RenewalRefusal::Unclear) => {
            format!("{IN_A_MOMENT} If it stays so, it asks the user to connect again.")
        }
    };
    format!(
        "The access token of `{provider}` has expired and could not be renewed: {cause}. {then}"
    )
}

fn no_link(title: &str, tool: Option<&ToolName>, problem: &LinkProblem) -> String {
    unlinked(&format!("{title} access is needed{}", before(tool)), title, problem)
}

/// `needed` is what the link is for, as the beginning of a sentence.
fn unlinked(needed: &str, title: &str, problem: &LinkProblem) -> String {
    let why = match problem {
        LinkProblem::Setup { cause } => format!("{cause}."),
        LinkProblem::EndpointsUnknown { cause: None } => {
            return format!(
                "{needed}, and {title} does not say at the moment where its users sign in. Call this tool again in a few minutes."
            );
        }
        LinkProblem::EndpointsUnknown { cause: Some(cause) } => {
            format!("{cause}. Call this tool again in a few minutes.")
        }
        LinkProblem::NoVerifier { application } => format!(
            "the application `{application}` has no `verifier_url`, so this server could not tell whose browser opens a link. Tell the user; calling again will not help."
        ),
        LinkProblem::Contended => {
            "others change the store faster than this process can. Call this tool again.".into()
        }
        LinkProblem::TooMany => {
            "too many links were made for one person. Use one that is still open, or try again in a few minutes.".into()
        }
        LinkProblem::TooManyScopes => {
            "the link that is open asks for as many scopes as a link may. Use that one first, or try again in a few minutes.".into()
        }
        LinkProblem::GrantedMeanwhile => "the consent has just been given. Try again.".into(),
        LinkProblem::Ending => {
            "the server is ending. Call this tool again when it runs.".into()
        }
    };
    format!("{needed}, but no link could be made: {why}")
}

fn busy(answered: Option<&Answered>, may_have_run: bool) -> String {
    let advice = again(may_have_run);
    match answered {
        None => format!("{BUSY} {advice}"),
        Some(answered) => format!("{}, but {BUSY} {advice}", with_status(answered)),
    }
}

fn not_reached(is_passing: bool, cause: &str) -> String {
    if is_passing {
        format!("{cause}. Nothing was sent. Try again in a minute.")
    } else {
        format!("{cause}. Nothing was sent, and trying again will not help; tell the user.")
    }
}

fn not_confirmed(tool: &ToolName, because: &NotConfirmedReason) -> String {
    match because {
        NotConfirmedReason::Declined => format!(
            "The user has declined this call of {tool}; nothing was done. Do not call it again unless the user wants to."
        ),
        NotConfirmedReason::LinkWithheld => format!(
            "The user has to confirm this call of {tool} on a page of this server first, to which only a running server leads; nothing was done."
        ),
        NotConfirmedReason::NoLink(problem) => {
            let needed = format!("The user has to confirm this call of {tool} first");
            unlinked(&needed, "this server", problem)
        }
    }
}

/// `limit` is in bytes.
fn too_large(who: &str, limit: usize, may_have_run: bool) -> String {
    let effect = if may_have_run { " It may have happened all the same." } else { "" };
    let mib = limit / (1024 * 1024);
    format!(
        "{who} answered with more than {mib} MiB.{effect} Ask for less: a smaller page, a filter."
    )
}

/// Says what an API's refusal means and what to do; `None` if the API's message says it all.
fn refused(refusal: &ApiRefusal) -> Option<String> {
    let advice = match refusal {
        ApiRefusal::CredentialRefused => return None,
        ApiRefusal::RateLimited(Wait::After(after))
        | ApiRefusal::Unavailable { after: Some(after), .. } => {
            return Some(format!("Try again {}.", when(*after)));
        }
        ApiRefusal::Unavailable { after: None, may_have_run } => {
            return Some(format!("The service has an internal problem. {}", again(*may_have_run)));
        }
        ApiRefusal::UnknownPermission { tool } => {
            return Some(format!(
                "A permission is missing that tools.toml does not mention. Calling again will not help; the operator must add it to `scopes` of [tools.{tool}]."
            ));
        }
        ApiRefusal::MissingServerScopes(scopes) if !scopes.is_empty() => {
            return Some(format!(
                "A permission is missing. This server's token lacks `{}`. Calling again will not help.",
                scopes.join("`, `")
            ));
        }
        ApiRefusal::RateLimited(Wait::ByTheDay) => {
            "The limit is per day: trying again soon will not help; tell the user."
        }
        ApiRefusal::RateLimited(Wait::Unknown) => {
            "Too many requests: wait a minute, then try again."
        }
        ApiRefusal::InvalidArguments => "Change the arguments before calling again.",
        ApiRefusal::Reported => "Fix the reported problem before calling again.",
        ApiRefusal::NotFound => {
            "What the arguments name does not exist, or this account cannot see it. Check them before calling again."
        }
        ApiRefusal::Forbidden => {
            "The account may not do this. Calling again will not help; tell the user."
        }
        ApiRefusal::Conflict => {
            "It conflicts with the current state. Look at that state before calling again."
        }
        ApiRefusal::NoCredential => {
            "It requires a credential, and this tool has none: the operator must set `provider` in tools.toml."
        }
        ApiRefusal::NewTokenRefused => "The token is this server's, and new.",
        ApiRefusal::MissingScopes => "A permission is missing.",
        ApiRefusal::MissingServerScopes(_) => {
            "A permission is missing. Calling again will not help."
        }
        ApiRefusal::Other => "Calling again with the same arguments will not help.",
    };
    Some(advice.to_owned())
}

/// Continues `Acme answered 301 Moved Permanently, `.
fn not_followed(problem: &NotFollowed) -> String {
    match problem {
        NotFollowed::OtherOrigin(host) => format!(
            "which points to `{host}`. Redirects to another scheme, host or port are not followed, so that no credential leaves its origin: {FINAL_ADDRESS}"
        ),
        NotFollowed::TooMany(followed) => format!(
            "after {followed} redirects already. Calling again will not help; tell the user."
        ),
        NotFollowed::Ambiguous => format!(
            "which points to another address of the same host. A request that may change something is not repeated after this status: {FINAL_ADDRESS}"
        ),
        NotFollowed::NoTarget => {
            "which does not say where to go instead. Calling again will not help; tell the user."
                .to_owned()
        }
    }
}

fn unusable(answered: &Answered, problem: &AnswerProblem) -> String {
    let says = with_status(answered);
    match problem {
        AnswerProblem::Unreadable { is_repeatable, because } => {
            let then = if *is_repeatable {
                "Ask for less: a smaller page, a filter."
            } else {
                "The request itself succeeded; do not repeat it."
            };
            let cause = unreadable(because);
            format!("{says}, but the answer cannot be read: {cause}. {then}")
        }
        AnswerProblem::Empty => format!(
            "{says} without the data that the tool's output schema requires. The request itself succeeded; do not repeat it."
        ),
        AnswerProblem::NotJson { content, remark: format } => {
            let content = match content {
                NotJson::WebPage => "a web page",
                NotJson::PlainText => "plain text",
                NotJson::Binary => "binary data",
            };
            format!(
                "{says} with {content} where this tool expects JSON{} {}",
                quotation(answered),
                format.as_ref().map(remark).unwrap_or_default()
            )
        }
    }
}

/// Continues `the answer cannot be read: `.
fn unreadable(because: &Unreadable) -> String {
    match because {
        Unreadable::Compressed(method) => format!("it is compressed as `{method}`"),
        Unreadable::TooManyValues(values) => format!("its JSON has more than {values} values"),
        Unreadable::TooDeep(levels) => format!("its JSON nests more than {levels} levels"),
    }
}

/// Continues `gave no result: …; `.
fn filter_advice(problem: FilterProblem) -> &'static str {
    match problem {
        FilterProblem::Busy => "other filters were running; ask for less, or call again later",
        FilterProblem::TooHeavy => "ask for less, or the operator must simplify it",
        FilterProblem::Broken => "the operator must fix it",
    }
}

/// Returns `Acme answered 404 Not Found`.
fn with_status(Answered { who, status, .. }: &Answered) -> String {
    match status {
        Some(status) => format!("{who} answered {}", status_text(*status)),
        None => format!("{who} answered with a failure"),
    }
}

/// Returns a status and its name: `404 Not Found`.
pub(super) fn status_text(status: u16) -> String {
    StatusCode::from_u16(status).map_or_else(|_| status.to_string(), status_words)
}

/// Returns `Acme answered 404 Not Found: “message”. Details: “field: message”.`
fn quoting(answered: &Answered) -> String {
    let mut text = format!("{}{}", with_status(answered), quotation(answered));
    if let Some(details) = &answered.details {
        let _ = write!(text, " Details: {details}.");
    }
    text
}

/// Returns `: “message”.`, or a full stop if there is no message.
fn quotation(answered: &Answered) -> String {
    match &answered.message {
        Some(message) => format!(": “{message}”."),
        None => ".".to_owned(),
    }
}

/// Advice on trying again when it is unknown whether the request took effect.
fn again(may_have_run: bool) -> &'static str {
    if may_have_run {
        "It may have happened all the same: look before trying again."
    } else {
        "Try again in a minute."
    }
}

/// Returns a wait in the unit that fits, such as `in 30 seconds`.
fn when(wait: Duration) -> String {
    match wait.as_secs() {
        0 => "now".to_owned(),
        1 => "in 1 second".to_owned(),
        seconds @ 2..=119 => format!("in {seconds} seconds"),
        seconds @ 120..=7199 => format!("in {} minutes", seconds.div_ceil(60)),
        seconds @ 7200..=86_400 => format!("in {} hours", seconds.div_ceil(3600)),
        _ => "in more than a day".to_owned(),
    }
}

#[cfg(test)]
mod tests;
