use super::*;
use crate::model::arguments::Received;
use crate::model::id::BadAccountName;
use crate::model::result::{InvalidJson, Remark};
use crate::model::unasked_place::UnaskedPlace;
use crate::model::{AccountName, InvalidArguments, Scopes, ToolName};

fn text(kind: FailureKind) -> String {
    failure_text(&kind.into())
}

fn tool() -> ToolName {
    ToolName::new("acme_tool")
}

fn acme() -> String {
    "Acme".to_owned()
}

fn answered(status: u16) -> Answered {
    Answered { who: acme(), status: Some(status), message: None, details: None }
}

#[test]
fn arguments_and_accounts() {
    let (tool, received) = (tool(), Received::Null);
    let problem = InvalidArguments::NotAnObject { tool, received };
    let said = text(FailureKind::InvalidArguments(problem));
    assert!(said.starts_with("The arguments of acme_tool were not accepted"), "{said}");
    let account = |problem| text(FailureKind::Account(problem));
    assert_eq!(
        account(AccountProblem::BadName(BadAccountName)),
        "An account's name has 1 to 100 characters, all of which can be seen."
    );
    let connected = vec!["default (“ana”)".to_owned(), "work".to_owned()];
    assert_eq!(
        account(AccountProblem::Several { title: acme(), connected: connected.clone() }),
        "The user has connected several Acme accounts: default (“ana”), work. Call this tool again with the name of one of them as `account`; if it is not clear which is meant, ask the user."
    );
    assert_eq!(
        account(AccountProblem::Mistyped {
            unasked_place: UnaskedPlace::Command { user: None },
            title: acme(),
            name: AccountName::new("wrok"),
            nearest: "work".into(),
            connected,
        }),
        "There is no Acme account `wrok`. Did you mean `work`? Connected: default (“ana”), work. Call this tool again with one of these names as `account`. To connect another account under the name `wrok`, the user does so on this server's page /connections, or with Countersign's command `auth login`."
    );
}

#[test]
fn requests_that_cannot_be_built() {
    let (name, provider, host) = (|| "id".to_owned(), ProviderId::new("acme"), "evil.example");
    let path = |problem| RequestProblem::PathArgument { name: name(), problem };
    let header = |problem| RequestProblem::HeaderArgument { name: name(), problem };
    for (problem, words) in [
        (RequestProblem::MissingArgument(name()), "argument `id` is missing"),
        (
            path(PathProblem::Empty),
            "argument `id` must not be empty, since it is part of the address",
        ),
        (
            path(PathProblem::DotSegment),
            "argument `id` must not be or contain `.` or `..` as a step, since it is part of the address",
        ),
        (
            path(PathProblem::Slashes),
            "argument `id` must not begin or end with a slash or contain two in a row, since it is part of the address",
        ),
        (path(PathProblem::ControlCharacters), "argument `id` must not contain control characters"),
        (
            header(HeaderProblem::TooLong(8)),
            "argument `id` must not be longer than 8 KiB, since it is sent in a header",
        ),
        (
            header(HeaderProblem::ControlCharacters),
            "argument `id` must not contain line breaks or other control characters, since it is sent in a header",
        ),
        (
            header(HeaderProblem::NotAscii),
            "argument `id` must be plain ASCII, since it is sent in a header",
        ),
        (RequestProblem::Address, "the request's address cannot be built from these arguments"),
        (
            RequestProblem::ReservedHeader("host".into()),
            "the header `host` cannot be set by a tool; the operator must remove it from tools.toml",
        ),
        (
            RequestProblem::InvalidHeader("a b".into()),
            "the header `a b` in tools.toml has a name or value that HTTP does not allow",
        ),
        (
            RequestProblem::ForeignHost { provider, host: host.into() },
            "the credential of `acme` may not be sent to `evil.example`; if it is meant to be, the operator must add `evil.example` to `hosts` of [providers.acme] in tools.toml",
        ),
        (RequestProblem::NoProvider, "the tool has no provider to take a credential from"),
        (
            RequestProblem::InvalidCredential,
            "the credential contains characters that a header cannot hold",
        ),
    ] {
        let said = text(FailureKind::NotBuilt(problem));
        assert_eq!(said, format!("Nothing was sent: {words}."));
    }
}

#[test]
fn what_the_operator_has_to_finish() {
    let cause = || "ACME_KEY is not set".to_owned();
    for (kind, words) in [
        (
            FailureKind::BrokenFilter { tool: tool(), key: "select" },
            "Nothing was sent: the jq filter `select` of acme_tool does not compile. Calling again will not help.",
        ),
        (
            FailureKind::UnknownProvider(ProviderId::new("acme")),
            "The provider `acme` is not configured.",
        ),
        (
            FailureKind::SharedSecret { title: acme(), cause: cause() },
            "Acme needs a key or password of this server: ACME_KEY is not set.",
        ),
        (
            FailureKind::StoredSecret { title: acme(), cause: cause() },
            "Acme cannot be called: ACME_KEY is not set.",
        ),
        (FailureKind::OAuthSetup { cause: cause() }, "ACME_KEY is not set."),
        (FailureKind::Store { cause: "the disk is full".into() }, "the disk is full."),
        (
            FailureKind::UnfinishedSetup { title: acme(), tool: Some(tool()) },
            "The operator of this server has to finish the setup of Acme before acme_tool can run. Calling again will not help; tell the user.",
        ),
        (
            FailureKind::StoreUnavailable,
            "This server cannot read or write what it keeps for you at the moment. Nothing is lost; call this tool again in a few minutes.",
        ),
    ] {
        assert_eq!(text(kind), words);
    }
}

#[test]
fn no_token() {
    let provider = || ProviderId::new("acme");
    let cause = || "status 503".to_owned();
    let renewed =
        |refusal| text(FailureKind::NotRenewed { provider: provider(), refusal, cause: cause() });
    let expired = "The access token of `acme` has expired and could not be renewed: status 503.";
    let again = "Nothing is lost; call this tool again in a moment.";
    assert_eq!(renewed(None), format!("{expired} {again}"));
    assert_eq!(
        renewed(Some(RenewalRefusal::Client)),
        format!("{expired} Connecting again will not help.")
    );
    assert_eq!(
        renewed(Some(RenewalRefusal::Unclear)),
        format!("{expired} {again} If it stays so, it asks the user to connect again.")
    );
    let issued = |is_refusal| {
        text(FailureKind::NotIssued { provider: provider(), is_refusal, cause: cause() })
    };
    let none = "`acme` has issued no access token to this server: status 503.";
    assert_eq!(issued(false), format!("{none} {again}"));
    assert_eq!(issued(true), format!("{none} Calling again will not help."));
    assert_eq!(
        text(FailureKind::RenewedElsewhere(provider())),
        format!(
            "Another Countersign on this machine is renewing the access token of `acme`. {again}"
        )
    );
    assert_eq!(
        text(FailureKind::Ending),
        "The server is ending. Call this tool again when it runs."
    );
    assert_eq!(
        text(FailureKind::EndpointsUnknown { cause: "no document".into() }),
        format!("no document. {again}")
    );
}

#[test]
fn no_link_could_be_made() {
    let cause = || "the reason".to_owned();
    for (problem, words) in [
        (LinkProblem::Setup { cause: cause() }, "but no link could be made: the reason."),
        (
            LinkProblem::NoVerifier { application: "shop".into() },
            "but no link could be made: the application `shop` has no `verifier_url`, so this server could not tell whose browser opens a link. Tell the user; calling again will not help.",
        ),
        (
            LinkProblem::EndpointsUnknown { cause: Some(cause()) },
            "but no link could be made: the reason. Call this tool again in a few minutes.",
        ),
        (
            LinkProblem::EndpointsUnknown { cause: None },
            "and Acme does not say at the moment where its users sign in. Call this tool again in a few minutes.",
        ),
        (
            LinkProblem::Contended,
            "but no link could be made: others change the store faster than this process can. Call this tool again.",
        ),
        (
            LinkProblem::TooMany,
            "but no link could be made: too many links were made for one person. Use one that is still open, or try again in a few minutes.",
        ),
        (
            LinkProblem::TooManyScopes,
            "but no link could be made: the link that is open asks for as many scopes as a link may. Use that one first, or try again in a few minutes.",
        ),
        (
            LinkProblem::GrantedMeanwhile,
            "but no link could be made: the consent has just been given. Try again.",
        ),
        (
            LinkProblem::Ending,
            "but no link could be made: the server is ending. Call this tool again when it runs.",
        ),
    ] {
        assert_eq!(
            text(FailureKind::NoLink { title: acme(), tool: Some(tool()), problem }),
            format!("Acme access is needed before acme_tool can run, {words}")
        );
    }
}

#[test]
fn no_answer() {
    let cause = || "`api.acme.example` did not answer in time".to_owned();
    let look = "It may have happened all the same: look before trying again.";
    for (kind, words) in [
        (
            FailureKind::Busy { answered: None, may_have_run: false },
            "this server has no memory left for a large answer, because other large answers are being read. Ask for less if you can: a smaller page, a filter. Try again in a minute.".to_owned(),
        ),
        (
            FailureKind::Busy { answered: Some(answered(200)), may_have_run: true },
            format!("Acme answered 200 OK, but this server has no memory left for a large answer, because other large answers are being read. Ask for less if you can: a smaller page, a filter. {look}"),
        ),
        (
            FailureKind::NotReached { is_passing: true, cause: cause() },
            format!("{}. Nothing was sent. Try again in a minute.", cause()),
        ),
        (
            FailureKind::NotReached { is_passing: false, cause: cause() },
            format!("{}. Nothing was sent, and trying again will not help; tell the user.", cause()),
        ),
        (
            FailureKind::NoAnswer { may_have_run: true, cause: cause() },
            format!("{}. {look}", cause()),
        ),
        (
            FailureKind::TimedOut { may_have_run: false, cause: cause() },
            format!("{}. Try again in a minute.", cause()),
        ),
        (
            FailureKind::TooLarge { who: acme(), limit: 10 << 20, may_have_run: false },
            "Acme answered with more than 10 MiB. Ask for less: a smaller page, a filter.".to_owned(),
        ),
        (
            FailureKind::TooLarge { who: acme(), limit: 10 << 20, may_have_run: true },
            "Acme answered with more than 10 MiB. It may have happened all the same. Ask for less: a smaller page, a filter.".to_owned(),
        ),
    ] {
        assert_eq!(text(kind), words);
    }
}

#[test]
fn each_refusal_says_what_to_do() {
    let trouble = |may_have_run| ApiRefusal::Unavailable { after: None, may_have_run };
    let lacking =
        |scopes: &[&str]| ApiRefusal::MissingServerScopes(Scopes::new(scopes.iter().copied()));
    for (status, refusal, words) in [
        (
            400,
            ApiRefusal::InvalidArguments,
            "400 Bad Request. Change the arguments before calling again.",
        ),
        (
            422,
            ApiRefusal::InvalidArguments,
            "422 Unprocessable Entity. Change the arguments before calling again.",
        ),
        (
            404,
            ApiRefusal::NotFound,
            "404 Not Found. What the arguments name does not exist, or this account cannot see it. Check them before calling again.",
        ),
        (
            403,
            ApiRefusal::Forbidden,
            "403 Forbidden. The account may not do this. Calling again will not help; tell the user.",
        ),
        (
            409,
            ApiRefusal::Conflict,
            "409 Conflict. It conflicts with the current state. Look at that state before calling again.",
        ),
        (
            500,
            trouble(true),
            "500 Internal Server Error. The service has an internal problem. It may have happened all the same: look before trying again.",
        ),
        (
            502,
            trouble(false),
            "502 Bad Gateway. The service has an internal problem. Try again in a minute.",
        ),
        (
            401,
            ApiRefusal::NoCredential,
            "401 Unauthorized. It requires a credential, and this tool has none: the operator must set `provider` in tools.toml.",
        ),
        (401, ApiRefusal::CredentialRefused, "401 Unauthorized."),
        (
            401,
            ApiRefusal::NewTokenRefused,
            "401 Unauthorized. The token is this server's, and new.",
        ),
        (403, ApiRefusal::MissingScopes, "403 Forbidden. A permission is missing."),
        (
            403,
            lacking(&["a", "b"]),
            "403 Forbidden. A permission is missing. This server's token lacks `a`, `b`. Calling again will not help.",
        ),
        (403, lacking(&[]), "403 Forbidden. A permission is missing. Calling again will not help."),
        (
            403,
            ApiRefusal::UnknownPermission { tool: tool() },
            "403 Forbidden. A permission is missing that tools.toml does not mention. Calling again will not help; the operator must add it to `scopes` of [tools.acme_tool].",
        ),
        (
            418,
            ApiRefusal::Other,
            "418 I'm a teapot. Calling again with the same arguments will not help.",
        ),
        (799, ApiRefusal::Other, "799. Calling again with the same arguments will not help."),
    ] {
        let answered = answered(status);
        let said = text(FailureKind::Refused { answered, refusal });
        assert_eq!(said, format!("Acme answered {words}"));
    }
}

#[test]
fn a_limit_tells_when_to_come_back() {
    let limited = |wait| {
        let refusal = ApiRefusal::RateLimited(wait);
        text(FailureKind::Refused { answered: answered(429), refusal })
    };
    let says = "Acme answered 429 Too Many Requests.";
    let after = |seconds| limited(Wait::After(Duration::from_secs(seconds)));
    for (seconds, words) in [
        (0, "now"),
        (1, "in 1 second"),
        (30, "in 30 seconds"),
        (600, "in 10 minutes"),
        (7200, "in 2 hours"),
        (99_999, "in more than a day"),
    ] {
        assert_eq!(after(seconds), format!("{says} Try again {words}."));
    }
    assert_eq!(
        limited(Wait::Unknown),
        format!("{says} Too many requests: wait a minute, then try again.")
    );
    assert_eq!(
        limited(Wait::ByTheDay),
        format!("{says} The limit is per day: trying again soon will not help; tell the user.")
    );
    let after = Some(Duration::from_mins(2));
    let refusal = ApiRefusal::Unavailable { after, may_have_run: true };
    assert_eq!(
        text(FailureKind::Refused { answered: answered(503), refusal }),
        "Acme answered 503 Service Unavailable. Try again in 2 minutes."
    );
}

#[test]
fn the_api_is_quoted() {
    let message = Some("Validation Failed".to_owned());
    let details = Some("“title: missing”".to_owned());
    let quoted = Answered { message: message.clone(), details: details.clone(), ..answered(422) };
    assert_eq!(
        text(FailureKind::Refused { answered: quoted, refusal: ApiRefusal::InvalidArguments }),
        "Acme answered 422 Unprocessable Entity: “Validation Failed”. Details: “title: missing”. Change the arguments before calling again."
    );
    let reported = Answered { who: acme(), status: None, message, details };
    assert_eq!(
        text(FailureKind::Refused { answered: reported, refusal: ApiRefusal::Reported }),
        "Acme answered with a failure: “Validation Failed”. Details: “title: missing”. Fix the reported problem before calling again."
    );
    let message = Some("Out of stock".to_owned());
    let filtered = Answered { who: acme(), status: None, message, details: None };
    assert_eq!(
        text(FailureKind::ReportedByApi(filtered)),
        "Acme answered with a failure: “Out of stock”."
    );
}

#[test]
fn a_redirect_is_not_followed() {
    let moved = |problem| text(FailureKind::Redirected { answered: answered(302), problem });
    let says = "Acme answered 302 Found,";
    assert_eq!(
        moved(NotFollowed::OtherOrigin("login.example".into())),
        format!(
            "{says} which points to `login.example`. Redirects to another scheme, host or port are not followed, so that no credential leaves its origin: the operator must write the final address in tools.toml."
        )
    );
    assert_eq!(
        moved(NotFollowed::TooMany(5)),
        format!("{says} after 5 redirects already. Calling again will not help; tell the user.")
    );
    assert_eq!(
        moved(NotFollowed::Ambiguous),
        format!(
            "{says} which points to another address of the same host. A request that may change something is not repeated after this status: the operator must write the final address in tools.toml."
        )
    );
    assert_eq!(
        moved(NotFollowed::NoTarget),
        format!(
            "{says} which does not say where to go instead. Calling again will not help; tell the user."
        )
    );
}

#[test]
fn an_answer_that_cannot_be_used() {
    let unusable = |problem| {
        let message = Some("Sign in".to_owned());
        let answered = Answered { message, ..answered(200) };
        text(FailureKind::UnusableAnswer { answered, problem })
    };
    let unreadable = |is_repeatable| {
        let because = Unreadable::Compressed("br".into());
        unusable(AnswerProblem::Unreadable { is_repeatable, because })
    };
    let says = "Acme answered 200 OK";
    assert_eq!(
        unreadable(true),
        format!(
            "{says}, but the answer cannot be read: it is compressed as `br`. Ask for less: a smaller page, a filter."
        )
    );
    assert_eq!(
        unreadable(false),
        format!(
            "{says}, but the answer cannot be read: it is compressed as `br`. The request itself succeeded; do not repeat it."
        )
    );
    assert_eq!(
        unusable(AnswerProblem::Empty),
        format!(
            "{says} without the data that the tool's output schema requires. The request itself succeeded; do not repeat it."
        )
    );
    let not_json = |content, remark| unusable(AnswerProblem::NotJson { content, remark });
    assert_eq!(
        not_json(NotJson::WebPage, None),
        format!("{says} with a web page where this tool expects JSON: “Sign in”. ")
    );
    assert_eq!(
        not_json(NotJson::PlainText, Some(Remark::ShownAsText(InvalidJson::Incomplete))),
        format!(
            "{says} with plain text where this tool expects JSON: “Sign in”. It is shown as a text, because its JSON is incomplete."
        )
    );
    assert_eq!(
        not_json(NotJson::Binary, None),
        format!("{says} with binary data where this tool expects JSON: “Sign in”. ")
    );
    for (because, words) in [
        (Unreadable::TooManyValues(500_000), "its JSON has more than 500000 values"),
        (Unreadable::TooDeep(128), "its JSON nests more than 128 levels"),
    ] {
        let said = unusable(AnswerProblem::Unreadable { is_repeatable: false, because });
        assert!(said.contains(words), "{said}");
    }
    for (problem, then) in [
        (FilterProblem::Busy, "other filters were running; ask for less, or call again later"),
        (FilterProblem::TooHeavy, "ask for less, or the operator must simplify it"),
        (FilterProblem::Broken, "the operator must fix it"),
    ] {
        let (tool, cause) = (tool(), "the filter took too long".to_owned());
        let answered = answered(200);
        let key = "select";
        assert_eq!(
            text(FailureKind::FilterFailed { answered, tool, key, problem, cause }),
            format!(
                "{says}, so the request succeeded; do not repeat it if it changes anything. But `select` of [tools.acme_tool] in tools.toml gave no result: the filter took too long; {then}."
            )
        );
    }
}

#[test]
fn a_declined_call_is_not_repeated() {
    let said = |because| text(FailureKind::NotConfirmed { tool: tool(), because });
    assert_eq!(
        said(NotConfirmedReason::Declined),
        "The user has declined this call of acme_tool; nothing was done. Do not call it again unless the user wants to."
    );
    assert_eq!(
        said(NotConfirmedReason::LinkWithheld),
        "The user has to confirm this call of acme_tool on a page of this server first, to which only a running server leads; nothing was done."
    );
    assert_eq!(
        said(NotConfirmedReason::NoLink(LinkProblem::Contended)),
        "The user has to confirm this call of acme_tool first, but no link could be made: others change the store faster than this process can. Call this tool again."
    );
}
