//! Which kind of credential a provider takes: `bearer`, `api_key` and `basic`, or OAuth.

use std::time::Duration;

use super::super::file::{ApiKeyTable, BasicTable, BearerEntry, ProviderTable};
use super::super::findings::Findings;
use super::super::span::{Span, Text};
use super::param::Params;
use super::request::{Api, Base};
use super::scope_rule::ScopeRule;
use super::secret::variable;
use super::{body, oauth, request, secret};
use crate::model::credential::{Asked, AskedFor, Credential, KeyPlace, Shared};
use crate::model::secret_ref::{SecretRef, Setting};
use crate::model::tool::{Action, Body, Effect, HttpAction, Input, Method};
use crate::model::{ProviderId, Scopes, Tool, ToolName};

/// Time limit for testing a pasted secret, while the user waits for the page.
const TEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Characters of the test response kept to explain a refusal.
const MAX_TEST_CHARS: usize = 1000;
/// Message about a user name with a colon (RFC 7617 §2).
const BASIC_COLON: &str = "a user of `basic` has no `:`, since that is where its password begins";

/// Kind of credential that the operator chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bearer,
    ApiKey,
    Basic,
    OAuth,
}

impl Kind {
    /// Returns the kind that a table names first, and reports any further kind.
    pub(super) fn of(id: &Text, written: &ProviderTable, find: &mut Findings<'_>) -> Option<Self> {
        let bearer = written.bearer.as_ref().map(|bearer| match bearer {
            BearerEntry::Reference(text) => &text.span,
            BearerEntry::Ask(table) => &table.span,
        });
        let oauth = written.client_id.as_ref().map(|text| ("client_id", &text.span));
        let oauth = oauth.or(written.oauth.as_ref().map(|table| ("oauth", &table.span)));
        let named = |name, span: Option<&'_ Span>| span.map(|span| (name, span.clone()));
        let said = [
            (Self::Bearer, named("bearer", bearer)),
            (Self::ApiKey, named("api_key", written.api_key.as_ref().map(|table| &table.span))),
            (Self::Basic, named("basic", written.basic.as_ref().map(|table| &table.span))),
            (Self::OAuth, oauth.map(|(name, span)| (name, span.clone()))),
        ];
        let mut said: Vec<_> =
            said.into_iter().filter_map(|(kind, place)| Some((kind, place?))).collect();
        said.sort_by_key(|(_, (_, span))| span.start);
        let mut said = said.into_iter();
        let (kind, (first, _)) = said.next()?;
        for (_, (other, span)) in said {
            find.error(
                "provider::credential",
                &span,
                format!("`{first}` and `{other}` both say how `{}` grants access", id.value),
            )
            .hint("keep one of them");
        }
        Some(kind)
    }
}

/// Removes from a built-in table the kinds that the operator did not choose.
pub(super) fn without_others(mut built_in: ProviderTable, kind: Option<Kind>) -> ProviderTable {
    let Some(kind) = kind else { return built_in };
    if kind != Kind::OAuth {
        built_in.oauth = None;
        built_in.client_id = None;
    }
    if kind != Kind::Bearer {
        built_in.bearer = None;
    }
    if kind != Kind::ApiKey {
        built_in.api_key = None;
    }
    if kind != Kind::Basic {
        built_in.basic = None;
    }
    built_in
}

pub(super) fn credential(
    id: &Text,
    table: &mut ProviderTable,
    is_built_in: bool,
    scopes: &ScopeRule,
    api: Api<'_>,
    find: &mut Findings<'_>,
) -> Option<Credential> {
    if let Some(entry) = table.bearer.take() {
        return bearer(id, entry, api, find);
    }
    if let Some(key) = table.api_key.take() {
        return api_key(id, key, api, find);
    }
    if let Some(table) = table.basic.take() {
        return basic(id, &table, api, find);
    }
    if table.oauth.is_none() && table.client_id.is_none() {
        // The kind may be in keys that could not be read.
        if !find.has_error_within(&find.table_at(table.span.start))
            && !find.is_damaged(table.span.start)
        {
            find.error(
                "provider::credential",
                &id.span,
                format!("nothing says how `{}` grants access", id.value),
            )
            .hint("add `client_id` and [providers.….oauth] with an `issuer`, or `bearer = \"env:…\"`, `api_key = { header = \"…\", value = \"env:…\" }`, `basic = { user = \"…\", password = \"env:…\" }`");
        }
        return None;
    }
    oauth::settings(id, table, api, is_built_in, scopes, find)
        .map(|settings| Credential::OAuth(Box::new(settings)))
}

fn bearer(
    id: &Text,
    entry: BearerEntry,
    api: Api<'_>,
    find: &mut Findings<'_>,
) -> Option<Credential> {
    let place = KeyPlace::bearer();
    match entry {
        BearerEntry::Reference(text) => {
            let suggestion = format!("env:{}_TOKEN", variable(id.as_str()));
            let value = secret::secret(&text, &suggestion, find)?;
            Some(Credential::Shared(Shared::Key { place, value }))
        }
        BearerEntry::Ask(table) => {
            let ask =
                Ask { span: &table.span, words: table.ask.as_ref(), test: table.test.as_ref() };
            ask.of(AskedFor::Key(place), api, find)
        }
    }
}

fn api_key(
    id: &Text,
    key: ApiKeyTable,
    api: Api<'_>,
    find: &mut Findings<'_>,
) -> Option<Credential> {
    let ask = Ask { span: &key.span, words: key.ask.as_ref(), test: key.test.as_ref() };
    let suggestion = format!("env:{}_API_KEY", variable(id.as_str()));
    let whose = ask.whose("value", key.value.as_ref(), &suggestion, find);
    let place = match (key.query, key.header) {
        (Some(query), None) => {
            if let Some(prefix) = &key.prefix {
                find.error("provider::api_key", &prefix.span, "`prefix` is for headers")
                    .hint("remove it");
            }
            KeyPlace::Query(query.value)
        }
        (None, Some(header)) => {
            body::is_header_name(&header, find).then_some(())?;
            KeyPlace::Header {
                name: header.value,
                prefix: key.prefix.map(|prefix| prefix.value).unwrap_or_default(),
            }
        }
        _ => {
            find.error("provider::api_key", &key.span, "where does the key go?")
                .hint("write either `query = \"name\"` or `header = \"Name\"`");
            return None;
        }
    };
    match whose? {
        Whose::Everybodys(value) => Some(Credential::Shared(Shared::Key { place, value })),
        Whose::Asked => ask.of(AskedFor::Key(place), api, find),
    }
}

fn basic(
    id: &Text,
    table: &BasicTable,
    api: Api<'_>,
    find: &mut Findings<'_>,
) -> Option<Credential> {
    let ask = Ask { span: &table.span, words: table.ask.as_ref(), test: table.test.as_ref() };
    let suggestion = format!("env:{}_PASSWORD", variable(id.as_str()));
    let whose = ask.whose("password", table.password.as_ref(), &suggestion, find);
    let user = match &table.user {
        Some(text) => Some(user(text, find)?),
        None => None,
    };
    match whose? {
        Whose::Asked => ask.of(AskedFor::Basic { user }, api, find),
        Whose::Everybodys(password) => {
            let Some(user) = user else {
                find.missing(&table.span, "user", "write it, or a reference to it");
                return None;
            };
            Some(Credential::Shared(Shared::Basic { user, password }))
        }
    }
}

fn user(text: &Text, find: &mut Findings<'_>) -> Option<Setting> {
    let setting = secret::setting(text, "user", find)?;
    if matches!(&setting, Setting::Literal(user) if user.contains(':')) {
        // The text after the colon may be the password.
        secret::hide(text, find);
        find.error("provider::basic", &text.span, BASIC_COLON)
            .hint("write the password into `password`, as a reference");
        return None;
    }
    Some(setting)
}

/// Whether all users share a secret or each user pastes one.
enum Whose {
    Everybodys(SecretRef),
    Asked,
}

/// `ask` and `test`: a secret that each user pastes.
struct Ask<'a> {
    span: &'a Span,
    words: Option<&'a Text>,
    test: Option<&'a Text>,
}

impl Ask<'_> {
    /// Reads the secret under `key`, or that each user is asked for one; reports both and neither.
    fn whose(
        &self,
        key: &str,
        shared: Option<&Text>,
        suggestion: &str,
        find: &mut Findings<'_>,
    ) -> Option<Whose> {
        match (shared, self.words) {
            (Some(text), None) => {
                if let Some(test) = self.test {
                    find.error("provider::ask", &test.span, "`test` is for what people paste")
                        .hint("remove it, or ask each person with `ask`");
                }
                secret::secret(text, suggestion, find).map(Whose::Everybodys)
            }
            (None, Some(_)) => Some(Whose::Asked),
            (Some(text), Some(words)) => {
                secret::secret(text, suggestion, find);
                find.error(
                    "provider::ask",
                    &words.span,
                    format!("`{key}` is for everybody, and `ask` asks each person"),
                )
                .hint("keep one of them");
                None
            }
            (None, None) => {
                find.missing(
                    self.span,
                    key,
                    format!("write a reference, e.g. `{key} = \"{suggestion}\"`, or ask each person with `ask` and `test`"),
                );
                None
            }
        }
    }

    fn of(&self, what: AskedFor, api: Api<'_>, find: &mut Findings<'_>) -> Option<Credential> {
        // A mistyped key is one mistake, not two.
        if (self.words.is_none() || self.test.is_none()) && find.has_error_within(self.span) {
            return None;
        }
        let words = self.words(find);
        let Some(test) = self.test else {
            find.missing(
                self.span,
                "test",
                "name a request that only a good one passes, e.g. `test = \"GET /me\"`",
            );
            return None;
        };
        let test = test_request(test, api, find)?;
        Some(Credential::Asked(Asked { what, words: words?, test: Box::new(test) }))
    }

    fn words(&self, find: &mut Findings<'_>) -> Option<String> {
        let Some(words) = self.words else {
            find.missing(self.span, "ask", "say what to paste and where to find it");
            return None;
        };
        if words.value.trim().is_empty() || words.value.chars().any(char::is_control) {
            find.error("provider::ask", &words.span, "these are no words that a page could show")
                .hint("say on one line what to paste and where to find it");
            return None;
        }
        Some(words.value.clone())
    }
}

/// Reads the request that tests a secret. It is sent whenever a user pastes one, so it must change
/// nothing. Some APIs have such requests by POST only (Slack's `auth.test`, Dropbox's
/// `users/get_current_account`); for those the operator is responsible.
fn test_request(text: &Text, api: Api<'_>, find: &mut Findings<'_>) -> Option<Tool> {
    let line = request::line(text, Base::Provider(api), &mut Params::none(), find)?;
    if !matches!(line.method, Method::Get | Method::Head | Method::Post) {
        find.error("provider::test", &text.span, "a test changes nothing")
            .hint("use GET or HEAD, or POST where the API has no other");
        return None;
    }
    Some(Tool {
        name: ToolName::new(format!("{}_test", api.id)),
        title: format!("Test of {}", api.id),
        description: String::new(),
        input: Input::none(),
        accounts: false,
        effect: Effect::Read,
        idempotent: line.method.is_idempotent(),
        provider: Some(ProviderId::new(api.id)),
        scopes: Scopes::default(),
        action: Action::Http(HttpAction {
            method: line.method,
            origin: line.origin,
            path: line.path,
            query: line.query,
            headers: Vec::new(),
            body: Body::None,
            select: None,
            error: None,
            reply: None,
            timeout: TEST_TIMEOUT,
            max_chars: MAX_TEST_CHARS,
            is_untrusted: false,
        }),
        allow: None,
        output: None,
        faces: crate::model::face::FaceNames::default(),
        returns: crate::model::tool::Returns::default(),
        confirm: None,
    })
}
