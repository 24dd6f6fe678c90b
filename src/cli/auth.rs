//! `countersign auth`

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Subcommand;
use serde_json::{Value, json};
use tracing::level_filters::LevelFilter;

use super::local::Local;
use super::out::Out;
use super::report::{self, Hint, hinted};
use super::{Exit, block_on};
use crate::app::App;
use crate::broker::completion::Waited;
use crate::broker::grants::{Account, AccountState, Disconnected};
use crate::config::Config;
use crate::model::authorization::{AskedBy, LIFETIME};
use crate::model::text::nearest;
use crate::model::text::shown;
use crate::model::time::utc;
use crate::model::{AccountName, Caller, Provider, Scopes};
use crate::oauth::Revoked;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Connect an account: prints a link and waits until you have approved in a browser.
    Login {
        provider: String,
        /// What to ask for, instead of all that the configured tools need.
        #[arg(long, value_delimiter = ',', value_name = "SCOPE,…")]
        scopes: Option<Vec<String>>,
        #[command(flatten)]
        local: Local,
    },
    /// Show what is connected.
    Status {
        /// Write it as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        local: Local,
    },
    /// Disconnect: end the consent at the provider, then forget it.
    Revoke {
        #[arg(required_unless_present = "all")]
        provider: Option<String>,
        /// Disconnect everything.
        #[arg(long, conflicts_with = "provider")]
        all: bool,
        #[command(flatten)]
        local: Local,
    },
}

pub(super) fn run<W: Write>(
    command: Command,
    config: Config,
    out: &mut Out<W>,
) -> anyhow::Result<Exit> {
    block_on(LevelFilter::WARN, async move {
        match command {
            Command::Login { provider, scopes, local } => {
                let scopes = match scopes {
                    Some(scopes) => Scopes::new(scopes),
                    None => needed_by_tools(&config, &provider),
                };
                let app = local.app(config, "auth login")?;
                let exit = login(&app, &local.caller()?, &provider, &scopes, out).await;
                app.close().await;
                exit
            }
            Command::Status { json, local } => {
                let app = local.app(config, "auth status")?;
                status(&app, &local.caller()?, json, out).await
            }
            Command::Revoke { provider, all: _, local } => {
                let app = local.app(config, "auth revoke")?;
                revoke(&app, &local.caller()?, provider.as_deref(), out).await
            }
        }
    })
}

/// How long a browser may take to come for the page that says how it ended.
const RESULT_PAGE: Duration = Duration::from_secs(3);

/// Of a line with what a provider says.
const LONGEST: usize = 2000;

fn needed_by_tools(config: &Config, provider: &str) -> Scopes {
    config
        .tools
        .iter()
        .filter(|tool| tool.provider.as_ref().is_some_and(|id| id.as_str() == provider))
        .fold(Scopes::default(), |all, tool| all.union(&tool.scopes))
}

async fn login<W: Write>(
    app: &App,
    caller: &Caller,
    provider: &str,
    scopes: &Scopes,
    out: &mut Out<W>,
) -> anyhow::Result<Exit> {
    let provider = find(app, provider)?;
    let asked_by = AskedBy { client: Some("countersign auth login".into()), tool: None };
    let prompt = app
        .broker
        .begin(caller, provider, &AccountName::default(), scopes, asked_by)
        .await
        .map_err(hinted)?;
    report::note(&format!(
        "The app at {} must know this redirect URI: {}\nOpen this link in a browser on this computer; it works for {} minutes while this command waits:\n",
        provider.title, prompt.redirect_uri, prompt.lives_minutes
    ));
    out.line(&prompt.url)?;
    let shown_in_browser = app.broker.shown(&prompt.authorization);
    let waited = app.broker.wait(caller, &prompt.authorization, LIFETIME).await.map_err(hinted)?;
    if matches!(waited, Waited::Completed { .. } | Waited::Failed(_)) {
        // The page that says so comes from this process, so it stays until that is on its way.
        let _ = tokio::time::timeout(RESULT_PAGE, shown_in_browser).await;
    }
    match waited {
        Waited::Completed { refused } => {
            report::note(&format!("\n{} is connected.", provider.title));
            if !refused.is_empty() {
                report::note(&format!(
                    "Not granted: {}. Tools that need it will ask for it again.",
                    shown(&refused.join(", "), LONGEST)
                ));
            }
            Ok(Exit::Done)
        }
        Waited::Failed(why) => bail!("{} was not connected: {why}", provider.title),
        Waited::Pending | Waited::Over => {
            bail!("the link's time is over; run the command again for a new one")
        }
    }
}

async fn status<W: Write>(
    app: &App,
    caller: &Caller,
    as_json: bool,
    out: &mut Out<W>,
) -> anyhow::Result<Exit> {
    let accounts = app.broker.accounts(caller).await.map_err(hinted)?;
    if as_json {
        let accounts: Vec<Value> = accounts.iter().map(describe).collect();
        let status = json!({ "version": 1, "user": caller.user, "accounts": accounts });
        out.line(&serde_json::to_string_pretty(&status)?)?;
        return Ok(Exit::Done);
    }
    if accounts.is_empty() {
        report::note("Nothing is connected. Next: countersign auth login PROVIDER");
    }
    for account in &accounts {
        out.line(&format!("{} {} ({})", sign(account), account.title, account.provider))?;
        out.line(&format!("  {}", words(account)))?;
        if !account.scopes.is_empty() {
            let scopes = shown(&account.scopes.to_string(), LONGEST);
            out.line(&format!("  scopes: {scopes}"))?;
        }
    }
    Ok(Exit::Done)
}

fn sign(account: &Account) -> char {
    if account.state == AccountState::Connected { '✓' } else { '✗' }
}

fn words(account: &Account) -> String {
    let since = utc(account.connected_at);
    match (&account.state, account.expires_at) {
        (AccountState::Ended(why), _) => {
            format!("ended: {why}; next: countersign auth login {}", account.provider)
        }
        (AccountState::OtherConfiguration, _) => {
            format!("connected since {since} for another tools.toml, of no use to this one")
        }
        (AccountState::NotSetUp(why), _) => {
            format!("connected since {since}, but of no use now: {why}")
        }
        (AccountState::Connected, Some(end)) if !account.renews => {
            format!("connected since {since}, until {}", utc(end))
        }
        (AccountState::Connected, _) => format!("connected since {since}"),
    }
}

fn describe(account: &Account) -> Value {
    let (state, why) = match &account.state {
        AccountState::Connected => ("connected", None),
        AccountState::Ended(why) => ("ended", Some(why)),
        AccountState::OtherConfiguration => ("other_configuration", None),
        AccountState::NotSetUp(why) => ("not_set_up", Some(why)),
    };
    json!({
        "provider": account.provider,
        "title": account.title,
        "state": state,
        "reason": why,
        "scopes": account.scopes,
        "connected_at": utc(account.connected_at),
        "refreshed_at": account.refreshed_at.map(utc),
        "expires_at": account.expires_at.map(utc),
        "renews": account.renews,
    })
}

async fn revoke<W: Write>(
    app: &App,
    caller: &Caller,
    provider: Option<&str>,
    out: &mut Out<W>,
) -> anyhow::Result<Exit> {
    let names = if let Some(name) = provider {
        BTreeSet::from([name.to_owned()])
    } else {
        let accounts = app.broker.accounts(caller).await.map_err(hinted)?;
        accounts.into_iter().map(|account| account.provider).collect()
    };
    for name in names {
        let ends = app.broker.revoke(caller, &name).await.map_err(hinted)?;
        let title = if ends.is_empty() {
            &find(app, &name)?.title
        } else {
            app.broker.provider(&name).map_or(&name, |provider| &provider.title)
        };
        if ends.is_empty() {
            out.line(&format!("{title} was not connected."))?;
        }
        for end in &ends {
            out.line(&how(title, end))?;
        }
    }
    Ok(Exit::Done)
}

fn how(title: &str, end: &Disconnected) -> String {
    let why = match end {
        Disconnected::AtProvider(Revoked::Yes) => return format!("{title} is disconnected."),
        Disconnected::AtProvider(Revoked::NoWay) => {
            "it has no way for us to end the consent there".to_owned()
        }
        Disconnected::AtProvider(Revoked::Failed) => {
            "it did not confirm the end of the consent".to_owned()
        }
        Disconnected::OtherConfiguration => {
            "the consent was given for another tools.toml, so it was not ended there".to_owned()
        }
        Disconnected::NotSetUp(why) => format!("the consent could not be ended there: {why}"),
    };
    format!("{title} is forgotten here, but {why}. Remove the app in your {title} settings.")
}

fn find<'a>(app: &'a App, name: &str) -> anyhow::Result<&'a Arc<Provider>> {
    if let Some(provider) = app.broker.provider(name) {
        return Ok(provider);
    }
    let known = app.broker.providers().map(|provider| provider.id.as_str());
    match nearest(name, known) {
        Some(near) => bail!("there is no provider `{name}`; did you mean `{near}`?"),
        None => Err(anyhow!("there is no provider `{name}` in this tools.toml"))
            .context(Hint("name it in a tool, or give it a [providers] table".into())),
    }
}
