//! The page of all accounts.

use std::sync::Arc;

use askama::Template;

use crate::broker::Broker;
use crate::broker::accounts::list::{Account, AccountSource, AccountState, MovedIn};
use crate::model::scope::in_words;
use crate::model::text::sentence;
use crate::model::time::{ago, date, utc};
use crate::model::{AccountName, Provider, Time};
use crate::web::pages::layout::{MAX_LISTED_SCOPES, PageKind, ScopeLine, scope_line};
use crate::web::pages::person::PageUser;

/// Scopes that are listed at once; a longer list is folded away.
const MAX_UNFOLDED_SCOPES: usize = MAX_LISTED_SCOPES + 1;

#[derive(Template)]
#[template(path = "accounts.html")]
pub(super) struct List {
    name: String,
    problem: Option<String>,
    accounts: Vec<Shown>,
    /// Whether an application gets the token of one of them.
    hands_out: bool,
    offers: Vec<ConnectOffer>,
    csrf: String,
    /// Token of the form that signs out, if the person can sign out.
    signout: Option<String>,
}

/// A connected account.
struct Shown {
    title: String,
    label: Option<String>,
    /// The person's own name for it.
    name: Option<String>,
    /// Name of the account on its buttons, which tells it from the others.
    called: String,
    kind: PageKind,
    state: String,
    scopes: Vec<ScopeLine>,
    since: Moment,
    used: Option<Moment>,
    lasts: Option<String>,
    /// Warning that the access ends within a day.
    warning: Option<String>,
    /// How it came here, if the person consented elsewhere.
    moved_in: Option<String>,
    /// The application that gets the access token itself.
    hands_out_to: Option<String>,
    is_over: bool,
    /// Permitted use, if no scopes describe it.
    unscoped: String,
    is_of_the_server: bool,
    reconnects: bool,
    digest: String,
}

/// An account that can be connected.
struct ConnectOffer {
    id: String,
    title: String,
    /// One account is connected already, so this one needs a name.
    is_another: bool,
}

/// A time, for `<time>`.
struct Moment {
    datetime: String,
    words: String,
}

impl List {
    pub(super) fn of(
        broker: &Broker,
        person: &PageUser,
        accounts: &[Account],
        csrf: String,
        signout: Option<String>,
        problem: Option<&str>,
    ) -> Self {
        Self {
            name: person.principal.caller.user.to_string(),
            problem: problem.map(str::to_owned),
            offers: offers(broker, person, accounts),
            accounts: accounts.iter().map(|account| shown(broker, person, account)).collect(),
            hands_out: accounts.iter().any(|account| account.hands_out_to.is_some()),
            csrf,
            signout,
        }
    }
}

fn offers(broker: &Broker, person: &PageUser, accounts: &[Account]) -> Vec<ConnectOffer> {
    let has_default = |id: &str| {
        accounts
            .iter()
            .any(|it| it.provider == id && it.account.is_default() && !it.is_of_the_server)
    };
    let offer = |provider: &Arc<Provider>| {
        let is_another = has_default(provider.id.as_str());
        (provider.accounts || !is_another).then(|| ConnectOffer {
            id: provider.id.to_string(),
            title: provider.title.clone(),
            is_another,
        })
    };
    broker.accounts().connectable(&person.principal).iter().filter_map(offer).collect()
}

fn shown(broker: &Broker, person: &PageUser, account: &Account) -> Shown {
    let provider = broker.provider(&account.provider);
    let provider = provider.as_deref();
    let stated = provider.map(|provider| &provider.scope_words);
    let is_openid = provider
        .map_or_else(|| account.scopes.is_openid(), |provider| provider.is_openid(&account.scopes));
    let (kind, state) = state(account, person.principal.is_local());
    let now = broker.now();
    let soon = account.ends.as_ref().filter(|ends| ends.is_soon(account.connected_at, now));
    let warning = soon.map(|ends| ends.words(&account.title, now));
    Shown {
        title: account.title.clone(),
        label: account.label.clone(),
        name: (!account.account.is_default()).then(|| account.account.to_string()),
        called: called(&account.title, &account.account, account.label.as_deref()),
        kind,
        state,
        scopes: account
            .scopes
            .iter()
            .map(|scope| scope_line(scope, in_words(stated, scope, is_openid)))
            .collect(),
        since: at(account.connected_at),
        used: account
            .last_used
            .map(|used| Moment { datetime: utc(used), words: ago(broker.now().since(used)) }),
        lasts: lasts(account, broker.now()),
        is_over: account.state != AccountState::Connected || warning.is_some(),
        warning,
        moved_in: account.moved_in.as_ref().map(moved_in),
        hands_out_to: account.hands_out_to.clone(),
        is_of_the_server: account.is_of_the_server,
        unscoped: match account.source {
            AccountSource::Pasted => "everything that this key allows".into(),
            AccountSource::Token => format!("what {} grants to every app", account.title),
        },
        reconnects: account.reconnects,
        digest: account.digest.clone(),
    }
}

/// Name of an account, such as `GitHub` or `GitHub work (octocat)`.
pub(super) fn called(title: &str, account: &AccountName, label: Option<&str>) -> String {
    let mut words = title.to_owned();
    if !account.is_default() {
        words = format!("{words} {account}");
    }
    match label {
        Some(label) => format!("{words} ({label})"),
        None => words,
    }
}

/// State of an account in words. `is_local`: the operator reads it.
fn state(account: &Account, is_local: bool) -> (PageKind, String) {
    match &account.state {
        AccountState::Connected => (PageKind::Good, "Connected".into()),
        AccountState::Ended(why) => (PageKind::Bad, sentence(why)),
        AccountState::OtherConfiguration => (
            PageKind::Bad,
            "Not usable now: it was connected under other settings of this server.".into(),
        ),
        AccountState::NotSetUp(why) if is_local => {
            (PageKind::Bad, format!("Not usable now: {}", sentence(why)))
        }
        AccountState::NotSetUp(_) => (
            PageKind::Bad,
            "Not usable now: the operator of this server must fix its settings.".into(),
        ),
    }
}

/// Origin of an account whose person consented elsewhere, in words.
fn moved_in(MovedIn { by, at, is_proven, away }: &MovedIn) -> String {
    let by = by.as_deref().unwrap_or("the operator of this server");
    let unproven = if *is_proven { "" } else { "; not used yet" };
    let away = if *away { ", also for calls while you are away" } else { "" };
    format!("by {by}, {}{away}{unproven}", date(*at))
}

fn lasts(account: &Account, now: Time) -> Option<String> {
    match (&account.state, account.expires_at) {
        _ if account.is_of_the_server => None,
        (AccountState::Ended(_), _) => None,
        (_, Some(end)) if !account.renews => {
            let why =
                account.ends.as_ref().map(|ends| format!(". {}", ends.words(&account.title, now)));
            Some(format!(
                "until {}, then you are asked again{}",
                date(end),
                why.unwrap_or_default()
            ))
        }
        _ if account.ends.is_some() => {
            account.ends.as_ref().map(|ends| ends.words(&account.title, now))
        }
        (_, Some(_)) => Some("until you end it; it renews itself".into()),
        (_, None) => Some("until you end it".into()),
    }
}

fn at(time: Time) -> Moment {
    Moment { datetime: utc(time), words: date(time) }
}
