//! `countersign auth status`

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use super::named_user::{self, Among};
use super::provider::connectable;
use super::{Of, or_none};
use crate::app::App;
use crate::broker::accounts::list::{Account, AccountState};
use crate::cli::Exit;
use crate::cli::next_command::{NextCommand, login as login_words};
use crate::cli::report;
use crate::cli::stdout::{MAX_LINE_CHARS, Stdout};
use crate::cli::store_options::StoreOptions;
use crate::config::Config;
use crate::model::text::shown;
use crate::model::time::utc;
use crate::model::{AccountName, Caller, Time};

#[derive(Debug, Args)]
pub(in crate::cli) struct Status {
    /// Write it as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    of: Of,
    #[command(flatten)]
    local: StoreOptions,
}

impl Status {
    pub(super) async fn run<W: Write>(
        self,
        config: Config,
        next_command: &NextCommand,
        out: &mut Stdout<W>,
    ) -> anyhow::Result<Exit> {
        let serves_many = config.server.auth.is_some();
        let app = self.local.app(config, "auth status")?;
        app.only_look();
        let caller = self.caller(&app, serves_many).await?;
        let accounts = or_none(app.broker.accounts().list(&caller).await)?;
        let keeper = or_none(app.keeper().await)?;
        if self.json {
            let status = as_json(&caller, &accounts, keeper, app.broker.now());
            out.line(&serde_json::to_string_pretty(&status)?)?;
        } else {
            let next = |provider: &str, account: &AccountName| {
                let words = login_words(provider, account);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                next_command.local(&words, &self.local)
            };
            write(&app, &accounts, next, out)?;
            if let Some((pid, until)) = keeper {
                out.line(&format!(
                    "A keeper (process {pid}) answers open links; it ends with the last one, at {} at the latest.",
                    utc(until)
                ))?;
            }
        }
        // The exit code tells a script that a tool needs a consent and there is none.
        let needs_consent =
            accounts.is_empty() && !connectable(app.broker.catalogue().providers()).is_empty();
        Ok(if needs_consent { Exit::ConsentNeeded } else { Exit::Done })
    }

    /// Returns the user whose accounts to show.
    async fn caller(&self, app: &App, serves_many: bool) -> anyhow::Result<Caller> {
        match self.of.of.as_deref() {
            None if !serves_many => self.local.caller(),
            of => {
                let among = Among::Connected;
                Ok(named_user::find(app, serves_many, &self.local, of, among).await?.caller)
            }
        }
    }
}

/// Writes the accounts for people. `next` is the command that connects an account.
fn write<W: Write>(
    app: &App,
    accounts: &[Account],
    next: impl Fn(&str, &AccountName) -> String,
    out: &mut Stdout<W>,
) -> anyhow::Result<()> {
    if accounts.is_empty() {
        let next = |provider: &str| next(provider, &AccountName::default());
        report::note(&match &*connectable(app.broker.catalogue().providers()) {
            [] => "Nothing is connected, and no tool needs it.".into(),
            [only] => format!("Nothing is connected. Next: {}", next(only)),
            [first, rest @ ..] => {
                let rest = rest.join(", ");
                format!("Nothing is connected. Next: {} (or {rest})", next(first))
            }
        });
    }
    let now = app.broker.now();
    for account in accounts {
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
    Ok(())
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

/// Returns the status for programs. `keeper` is its process id and the end of the last link.
fn as_json(caller: &Caller, accounts: &[Account], keeper: Option<(u32, Time)>, now: Time) -> Value {
    let accounts: Vec<Value> = accounts.iter().map(|account| describe(account, now)).collect();
    let keeper = keeper.map(|(pid, until)| json!({ "pid": pid, "until": utc(until) }));
    json!({ "version": 1, "user": caller.user, "accounts": accounts, "keeper": keeper })
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
