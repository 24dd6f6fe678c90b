//! `countersign auth`

mod named_user;
mod revoked;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tracing::level_filters::LevelFilter;
use url::Url;

use super::next_command::{NextCommand, login as login_words};
use super::report::{self, Hint, Usage, hinted};
use super::stdout::{MAX_LINE_CHARS, Stdout};
use super::store_options::StoreOptions;
use super::{Exit, block_on, serve};
use crate::app::App;
use crate::broker::accounts::list::{Account, AccountState};
use crate::broker::consent::wait::Waited;
use crate::broker::users::EndedAccess;
use crate::config::Config;
use crate::mcp;
use crate::model::authorization::{Connected, LINK_LIFETIME};
use crate::model::event::EndedBy;
use crate::model::requester::AskedBy;
use crate::model::text::{nearest, shown};
use crate::model::time::utc;
use crate::model::{AccountName, Caller, Principal, Provider, ProviderId, Scopes, Time};
use crate::store::StoreError;
use named_user::{Among, NamedUser};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Connect an account: prints a link and waits until you have approved in a browser.
    #[command(
        after_help = "For the user of this machine. Users of a server with [server.auth] connect in a browser, at its /connections page or by the link that their application shows."
    )]
    Login {
        /// The provider, by its name in tools.toml, e.g. `github`.
        provider: String,
        /// A name of your choice for the account, where you connect several of this provider.
        #[arg(long, value_name = "NAME", value_parser = AccountName::parse)]
        account: Option<AccountName>,
        /// Approve on any other device: prints a code to enter there, instead of a link.
        #[arg(long)]
        device: bool,
        /// Scopes to ask for, instead of all that the configured tools need.
        #[arg(long, value_delimiter = ',', value_name = "SCOPE,…")]
        scopes: Option<Vec<String>>,
        #[command(flatten)]
        local: StoreOptions,
    },
    /// Show what is connected.
    #[command(
        after_help = "Exits 4 when no account is connected and a tool needs one, 0 otherwise."
    )]
    Status {
        /// Write it as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        local: StoreOptions,
    },
    /// Show which users have connected accounts, of all who use this server.
    #[command(
        after_help = "Each line is one user, as `auth status` and `auth revoke` take it: `--user ID --of NAMESPACE`."
    )]
    Users {
        /// Write it as JSON.
        #[arg(long)]
        json: bool,
        /// The folder that keeps grants, instead of the platform's data folder.
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
    /// Disconnect: end the consent at the provider, then forget it.
    #[command(
        override_usage = "countersign auth revoke [OPTIONS] <PROVIDER|--all>",
        after_help = "Exits 1 when the named user has nothing here to end."
    )]
    Revoke {
        /// The provider, by its name in tools.toml, e.g. `github`.
        #[arg(required_unless_present = "all")]
        provider: Option<String>,
        /// Only this account of the provider, by your name or the provider's for it.
        #[arg(long, value_name = "NAME", value_parser = AccountName::parse, requires = "provider")]
        account: Option<AccountName>,
        /// Disconnect everything, and end the user's open links and signed-in browsers.
        #[arg(long, conflicts_with = "provider")]
        all: bool,
        /// Write what has become of each as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        local: StoreOptions,
    },
}

#[derive(Clone, Debug, Args)]
pub(super) struct Of {
    /// The authority that vouches for the user: `local`, a key's name in [[server.auth.api_keys]],
    /// or `issuer`; as `auth users` shows it. Needed where several users have the same id.
    #[arg(long, value_name = "NAMESPACE")]
    of: Option<String>,
}

pub(super) fn run<W: Write>(
    command: Command,
    config: Config,
    next_command: &NextCommand,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    let auth = config.server.auth.clone();
    let serves_many = auth.is_some();
    let public_url = config.server.public_url.clone();
    block_on(LevelFilter::WARN, async move {
        match command {
            Command::Login { .. } if serves_many => Err(not_by_command(public_url.as_ref())),
            Command::Login { provider, account, device, scopes, local } => {
                let provider = Arc::clone(find(config.providers.values(), &provider)?);
                let account = wanted(&provider, account)?;
                let app = local.app(config, "auth login")?;
                let caller = local.caller()?;
                let scopes = match scopes {
                    Some(scopes) => Scopes::new(scopes),
                    None => needed_by_tools(&app, &caller, &provider),
                };
                let exit = if device {
                    tokio::select! {
                        exit = login_by_device(&app, &caller, &provider, &account, &scopes, out) => exit,
                        () = serve::ended() => Err(anyhow!("{} was not connected: stopped", provider.title)),
                    }
                } else {
                    login(&app, &caller, &provider, &account, &scopes, out).await
                };
                app.close().await;
                exit
            }
            Command::Users { json, data } => {
                // This machine's own user, whose records of earlier versions do not name them.
                let local = StoreOptions { user: None, data };
                let app = local.app(config, "auth users")?;
                app.only_look();
                named_user::list(&app, &local, json, out).await
            }
            Command::Status { json, of: Of { of }, local } => {
                let app = local.app(config, "auth status")?;
                app.only_look();
                let caller = match &of {
                    None if !serves_many => local.caller()?,
                    of => {
                        let among = Among::Connected;
                        named_user::find(&app, serves_many, &local, of.as_deref(), among)
                            .await?
                            .caller
                    }
                };
                let next = |provider: &str, account: &AccountName| {
                    let words = login_words(provider, account);
                    next_command
                        .local(&words.iter().map(String::as_str).collect::<Vec<_>>(), &local)
                };
                status(&app, &caller, next, json, out).await
            }
            Command::Revoke { provider, account, all: _, json, of: Of { of }, local } => {
                let app = local.app(config, "auth revoke")?;
                let of = of.as_deref();
                let found = match &provider {
                    Some(_) => {
                        named_user::find(&app, serves_many, &local, of, Among::Connected).await
                    }
                    None => named_user::find_to_end(&app, auth.as_ref(), &local, of).await,
                };
                let whom = match found {
                    Ok(whom) => whom,
                    Err(error) => {
                        // A mistyped provider is the more likely reason.
                        if let Some(name) = &provider {
                            find(app.broker.catalogue().providers(), name)?;
                        }
                        return Err(error);
                    }
                };
                let account = account.as_ref();
                revoke(&app, &whom, provider.as_deref(), account, json, out).await
            }
        }
    })
}

/// Refuses `auth login`, which connects accounts for the user of this machine: a server with
/// `[server.auth]` does not know that user.
fn not_by_command(public_url: Option<&Url>) -> anyhow::Error {
    let problem = "this tools.toml has [server.auth]: its users connect their accounts in a browser, and `auth login` would connect one for the user of this machine";
    let page = match public_url {
        Some(url) => {
            url.join("connections").map_or_else(|_| url.to_string(), |url| url.to_string())
        }
        None => "the server's /connections page".into(),
    };
    let hint = format!(
        "sign in at {page} and connect the account there; users of an application open the link that it shows"
    );
    anyhow!(Usage(problem.into())).context(Hint(hint))
}

/// How long the process waits for the browser to request the result page.
const RESULT_PAGE_TIMEOUT: Duration = Duration::from_secs(3);

fn needed_by_tools(app: &App, caller: &Caller, provider: &Provider) -> Scopes {
    let principal = Principal::local(caller.clone());
    app.broker.catalogue().registry().scopes_for(&principal, &provider.id).unwrap_or_default()
}

/// Returns the account to connect; only a provider with several accounts takes another than the
/// default.
fn wanted(provider: &Provider, account: Option<AccountName>) -> anyhow::Result<AccountName> {
    match account {
        Some(account) if !provider.takes(&account) => {
            let problem = format!("`{}` takes one account of each person", provider.id);
            let hint = format!("set `accounts = true` in [providers.{}]", provider.id);
            Err(anyhow!(Usage(problem)).context(Hint(hint)))
        }
        account => Ok(account.unwrap_or_default()),
    }
}

async fn login<W: Write>(
    app: &App,
    caller: &Caller,
    provider: &Arc<Provider>,
    account: &AccountName,
    scopes: &Scopes,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    let principal = Principal::local(caller.clone());
    let asked_by = AskedBy::default();
    let prompt =
        app.broker.begin(&principal, provider, account, scopes, asked_by).await.map_err(hinted)?;
    let title = &provider.title;
    report::note(&match &prompt.redirect_uri {
        Some(uri) => format!(
            "The app at {title} must know this redirect URI: {uri}\nOpen this link in a browser on this computer:\n"
        ),
        None => format!(
            "Open this link in a browser on this computer and paste your key or password for {title} on that page:\n"
        ),
    });
    out.line(&prompt.url)?;
    report::note(&format!(
        "\nWaiting for your approval, for at most {} minutes. The link works only while this command runs; Ctrl-C ends it.",
        prompt.lives_minutes
    ));
    let shown_in_browser = app.broker.consents().shown(&prompt.authorization.id);
    let waited = app
        .broker
        .consents()
        .wait(caller, &prompt.authorization.id, LINK_LIFETIME)
        .await
        .map_err(hinted)?;
    if matches!(waited, Waited::Completed { .. } | Waited::Failed(_)) && app.serves_browsers() {
        // This process serves the result page, so it waits until the browser has requested it.
        let _ = tokio::time::timeout(RESULT_PAGE_TIMEOUT, shown_in_browser).await;
    }
    match waited {
        Waited::Completed(kept) => Ok(connected(app, provider, &kept)),
        Waited::Failed(why) => {
            bail!("{title} was not connected: {}", mcp::not_connected(title, &why))
        }
        Waited::Pending | Waited::Over => {
            bail!("the link's time is over; run the command again for a new one")
        }
    }
}

/// Connects by a code that the user enters in any browser.
async fn login_by_device<W: Write>(
    app: &App,
    caller: &Caller,
    provider: &Arc<Provider>,
    account: &AccountName,
    scopes: &Scopes,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    let login = app.broker.begin_device_login(caller, provider, account, scopes).await;
    let login = login.map_err(hinted)?;
    report::note("Open this page in a browser on any device:\n");
    out.line(login.page().as_str())?;
    report::note("\nEnter this code there, and nothing that somebody else gave you:\n");
    out.line(login.code())?;
    if let Some(page) = login.page_with_code() {
        report::note(&format!("\nWith the code filled in, the page is {page}"));
    }
    let minutes = app.broker.device_login_lives(&login).as_secs().div_ceil(60);
    report::note(&format!(
        "\nWaiting for your approval, for at most {minutes} minutes. Ctrl-C ends it."
    ));
    let kept = app.broker.finish_device_login(login).await.map_err(hinted)?;
    Ok(connected(app, provider, &kept))
}

/// Reports the connection, the scopes that were not granted, and the end of the access.
fn connected(app: &App, provider: &Provider, kept: &Connected) -> Exit {
    let title = &provider.title;
    let Connected { connected_as, refused, ungranted, ends } = kept;
    report::note(&match connected_as {
        Some(account) => format!("\n{title} is connected as {}.", shown(account, MAX_LINE_CHARS)),
        None => format!("\n{title} is connected."),
    });
    if !ungranted.is_empty() {
        let again =
            if refused.is_empty() { "" } else { " Tools that need it will ask for it again." };
        let scopes = shown(&ungranted.join(", "), MAX_LINE_CHARS);
        report::note(&format!("Not granted: {scopes}.{again}"));
    }
    if let Some(ends) = ends {
        report::note(&ends.words(title, app.broker.now()));
    }
    Exit::Done
}

async fn status<W: Write>(
    app: &App,
    caller: &Caller,
    next: impl Fn(&str, &AccountName) -> String,
    as_json: bool,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    let accounts = or_none(app.broker.accounts(caller).await)?;
    let keeper = or_none(app.keeper().await)?;
    // The exit code tells a script that a tool needs a consent and there is none.
    let catalogue = app.broker.catalogue();
    let is_wanting = accounts.is_empty() && !connectable(catalogue.providers()).is_empty();
    let exit = if is_wanting { Exit::ConsentNeeded } else { Exit::Done };
    if as_json {
        let describe = |account: &Account| describe(account, app.broker.now());
        let accounts: Vec<Value> = accounts.iter().map(describe).collect();
        let keeper = keeper.map(|(pid, until)| json!({ "pid": pid, "until": utc(until) }));
        let status = json!({
            "version": 1, "user": caller.user, "accounts": accounts, "keeper": keeper,
        });
        out.line(&serde_json::to_string_pretty(&status)?)?;
        return Ok(exit);
    }
    let now = app.broker.now();
    if accounts.is_empty() {
        let next = |provider: &str| next(provider, &AccountName::default());
        report::note(&match &*connectable(catalogue.providers()) {
            [] => "Nothing is connected, and no tool needs it.".into(),
            [only] => format!("Nothing is connected. Next: {}", next(only)),
            [first, rest @ ..] => {
                let rest = rest.join(", ");
                format!("Nothing is connected. Next: {} (or {rest})", next(first))
            }
        });
    }
    for account in &accounts {
        let Account { title, provider, .. } = account;
        let name = name(account, accounts.iter().filter(|it| it.provider == *provider).count());
        out.line(&format!("{} {title} ({provider}){name}", sign(account)))?;
        out.line(&format!("  {}", words(account, &next)))?;
        if let Some(ends) = &account.ends {
            out.line(&format!("  {}", shown(&ends.words(title, now), MAX_LINE_CHARS)))?;
        }
        if !account.scopes.is_empty() {
            let scopes = shown(&account.scopes.to_string(), MAX_LINE_CHARS);
            out.line(&format!("  scopes: {scopes}"))?;
        }
        if !account.ungranted.is_empty() {
            let scopes = shown(&account.ungranted.to_string(), MAX_LINE_CHARS);
            out.line(&format!("  not granted: {scopes}"))?;
        }
    }
    if let Some((pid, until)) = keeper {
        out.line(&format!(
            "A keeper (process {pid}) answers open links; it ends with the last one, at {} at the latest.",
            utc(until)
        ))?;
    }
    Ok(exit)
}

/// Returns the result, or an empty one if there is no store yet.
fn or_none<T: Default>(found: Result<T, StoreError>) -> anyhow::Result<T> {
    match found {
        Err(StoreError::Empty) => Ok(T::default()),
        found => found.map_err(hinted),
    }
}

fn sign(account: &Account) -> char {
    if account.state == AccountState::Connected { '✓' } else { '✗' }
}

/// Returns `, account work: octocat`. The default account is named only if the provider has
/// several.
fn name(account: &Account, of_the_provider: usize) -> String {
    let mut words = match &account.account {
        _ if account.is_of_the_server => return String::new(),
        name if !name.is_default() => format!(", account {name}"),
        _ if of_the_provider > 1 => ", default account".into(),
        _ => String::new(),
    };
    if let Some(label) = &account.label {
        words.push_str(": ");
        words.push_str(label);
    }
    words
}

fn words(account: &Account, next: impl Fn(&str, &AccountName) -> String) -> String {
    let since = utc(account.connected_at);
    if account.is_of_the_server && account.state == AccountState::Connected {
        return format!("this server's own, for all its users, since {since}");
    }
    match (&account.state, account.expires_at) {
        (AccountState::Ended(why), _) => {
            format!("{why}; next: {}", next(&account.provider, &account.account))
        }
        (AccountState::OtherConfiguration, _) => {
            format!("connected since {since} for another tools.toml, of no use to this one")
        }
        (AccountState::NotSetUp(why), _) => {
            format!("connected since {since}, but of no use now: {why}")
        }
        (AccountState::Connected, Some(end)) if !account.renews => {
            format!("connected since {since}, until {}{}", utc(end), used(account))
        }
        (AccountState::Connected, _) => format!("connected since {since}{}", used(account)),
    }
}

fn used(account: &Account) -> String {
    account.last_used.map(|at| format!(", last used {}", utc(at))).unwrap_or_default()
}

fn describe(account: &Account, now: Time) -> Value {
    let (state, why) = match &account.state {
        AccountState::Connected => ("connected", None),
        AccountState::Ended(why) => ("ended", Some(why)),
        AccountState::OtherConfiguration => ("other_configuration", None),
        AccountState::NotSetUp(why) => ("not_set_up", Some(why)),
    };
    json!({
        "provider": account.provider,
        "title": account.title,
        "account": (!account.is_of_the_server).then_some(&account.account),
        "label": account.label,
        "state": state,
        "reason": why,
        "scopes": account.scopes,
        "connected_at": utc(account.connected_at),
        "refreshed_at": account.refreshed_at.map(utc),
        "last_used_at": account.last_used.map(utc),
        "ungranted": account.ungranted,
        "expires_at": account.expires_at.map(utc),
        "ends_at": account.ends.as_ref().map(|ends| utc(ends.at)),
        "ends_because": account.ends.as_ref().map(|ends| ends.words(&account.title, now)),
        "renews": account.renews,
        "of_the_server": account.is_of_the_server,
    })
}

async fn revoke<W: Write>(
    app: &App,
    whom: &NamedUser,
    provider: Option<&str>,
    account: Option<&AccountName>,
    as_json: bool,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    let caller = &whom.caller;
    let EndedAccess { accounts: ends, links, sessions } =
        ends(app, whom, provider, account).await?;
    let missing = match provider {
        Some(name) if ends.is_empty() => {
            Some(Arc::clone(find(app.broker.catalogue().providers(), name)?))
        }
        _ => None,
    };
    if as_json {
        let mut told: Vec<Value> = ends.iter().map(revoked::json).collect();
        told.extend(missing.map(|provider| {
            json!({ "provider": provider.id, "title": provider.title, "account": account, "label": null, "state": "not_connected" })
        }));
        let mut shown = json!({ "version": 1, "user": caller.user, "accounts": told });
        if let (Some(shown), None) = (shown.as_object_mut(), provider) {
            shown.insert("links".into(), links.into());
            shown.insert("sessions".into(), sessions.into());
        }
        if let (Some(shown), true) = (shown.as_object_mut(), !caller.is_local()) {
            shown.insert("of".into(), named_user::word(caller).into());
        }
        out.line(&serde_json::to_string_pretty(&shown)?)?;
        return Ok(Exit::Done);
    }
    if let Some(provider) = missing {
        let account = account.map(|account| format!(" account {account}")).unwrap_or_default();
        out.line(&format!("{}{account} was not connected.", provider.title))?;
    }
    for end in &ends {
        out.line(&revoked::words(end))?;
    }
    for (count, what) in [(links, "open link"), (sessions, "signed-in browser")] {
        if count > 0 {
            let plural = if count == 1 { " is" } else { "s are" };
            out.line(&format!("{count} {what}{plural} ended."))?;
        }
    }
    if provider.is_none() && ends.is_empty() && links + sessions == 0 {
        out.line("Nothing was connected.")?;
    }
    if provider.is_none() && whom.is_named {
        let user = shown(caller.user.as_str(), MAX_LINE_CHARS);
        report::note(&format!(
            "{user} can connect again for as long as {} vouches for them.",
            named_user::word(caller)
        ));
    }
    Ok(Exit::Done)
}

/// Ends the requested accounts. The user of this machine may also end the server's own.
async fn ends(
    app: &App,
    NamedUser { caller, is_named }: &NamedUser,
    provider: Option<&str>,
    account: Option<&AccountName>,
) -> anyhow::Result<EndedAccess> {
    let broker = &app.broker;
    let of_provider = |accounts| EndedAccess { accounts, links: 0, sessions: 0 };
    match provider {
        Some(name) if *is_named => {
            let provider = ProviderId::new(name);
            let ends = broker.end_accounts(caller, &provider, account, EndedBy::Operator);
            ends.await.map(of_provider).map_err(hinted)
        }
        Some(name) => broker.revoke(caller, name, account).await.map(of_provider).map_err(hinted),
        None => {
            let mut accounts = Vec::new();
            broker.cut_off(caller).await.map_err(hinted)?;
            if !is_named {
                let connected = broker.accounts(caller).await.map_err(hinted)?;
                let names: BTreeSet<_> = connected.into_iter().map(|it| it.provider).collect();
                for name in names {
                    accounts.extend(broker.revoke(caller, &name, None).await.map_err(hinted)?);
                }
            }
            let ended = broker.end_access(caller, EndedBy::Operator).await.map_err(hinted)?;
            accounts.extend(ended.accounts);
            Ok(EndedAccess { accounts, ..ended })
        }
    }
}

fn find<'p>(
    providers: impl Iterator<Item = &'p Arc<Provider>> + Clone,
    name: &str,
) -> anyhow::Result<&'p Arc<Provider>> {
    if let Some(provider) = providers.clone().find(|provider| provider.id.as_str() == name) {
        return Ok(provider);
    }
    let hint = match nearest(name, providers.clone().map(|provider| provider.id.as_str())) {
        Some(near) => format!("did you mean `{near}`?"),
        None => match connectable(providers).join(", ") {
            none if none.is_empty() => "name it in a tool, or give it a [providers] table".into(),
            all => format!("those that can be connected are {all}"),
        },
    };
    let problem = format!("there is no provider `{name}` in this tools.toml");
    Err(anyhow!(Usage(problem)).context(Hint(hint)))
}

/// Returns the providers that need a user's consent.
fn connectable<'p>(providers: impl Iterator<Item = &'p Arc<Provider>>) -> Vec<&'p str> {
    providers
        .filter(|provider| provider.is_by_consent())
        .map(|provider| provider.id.as_str())
        .collect()
}
