//! `countersign auth revoke`

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::named_user::{self, Among, NamedUser};
use super::{Of, provider, revoked};
use crate::app::App;
use crate::broker::users::EndedAccess;
use crate::cli::Exit;
use crate::cli::report::{self, hinted};
use crate::cli::stdout::{MAX_LINE_CHARS, Stdout};
use crate::cli::store_options::StoreOptions;
use crate::config::Config;
use crate::model::event::EndedBy;
use crate::model::server_auth::ServerAuth;
use crate::model::text::shown;
use crate::model::{AccountName, Provider, ProviderId};

#[derive(Debug, Args)]
pub(in crate::cli) struct Revoke {
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
}

impl Revoke {
    pub(super) async fn run<W: Write>(
        self,
        config: Config,
        out: &mut Stdout<W>,
    ) -> anyhow::Result<Exit> {
        let auth = config.server.auth.clone();
        let app = self.local.app(config, "auth revoke")?;
        let user = self.user(&app, auth.as_ref()).await?;
        let ended = self.end(&app, &user).await?;
        let missing = match &self.provider {
            Some(name) if ended.accounts.is_empty() => {
                Some(Arc::clone(provider::find(app.broker.catalogue().providers(), name)?))
            }
            _ => None,
        };
        if self.json {
            let shown = self.as_json(&user, &ended, missing.as_deref());
            out.line(&serde_json::to_string_pretty(&shown)?)?;
        } else {
            self.write(&user, &ended, missing.as_deref(), out)?;
        }
        Ok(Exit::Done)
    }

    /// Finds the user whose accounts to disconnect.
    async fn user(&self, app: &App, auth: Option<&ServerAuth>) -> anyhow::Result<NamedUser> {
        let (local, of) = (&self.local, self.of.of.as_deref());
        let Some(name) = &self.provider else {
            return named_user::find_to_end(app, auth, local, of).await;
        };
        let found = named_user::find(app, auth.is_some(), local, of, Among::Connected).await;
        if found.is_err() {
            // A mistyped provider is the more likely reason.
            provider::find(app.broker.catalogue().providers(), name)?;
        }
        found
    }

    /// Ends the requested accounts. The user of this machine may also end the server's own.
    async fn end(
        &self,
        app: &App,
        NamedUser { caller, is_named }: &NamedUser,
    ) -> anyhow::Result<EndedAccess> {
        let (broker, account) = (&app.broker, self.account.as_ref());
        let of_provider = |accounts| EndedAccess { accounts, ..EndedAccess::default() };
        match self.provider.as_deref() {
            Some(name) if *is_named => {
                let provider = ProviderId::new(name);
                let ends = broker.accounts().end_at(caller, &provider, account, EndedBy::Operator);
                ends.await.map(of_provider).map_err(hinted)
            }
            Some(name) => broker
                .accounts()
                .revoke(caller, name, account)
                .await
                .map(of_provider)
                .map_err(hinted),
            None => {
                let mut accounts = Vec::new();
                broker.users().cut_off(caller).await.map_err(hinted)?;
                if !is_named {
                    let connected = broker.accounts().list(caller).await.map_err(hinted)?;
                    let names: BTreeSet<_> = connected.into_iter().map(|it| it.provider).collect();
                    for name in names {
                        accounts.extend(
                            broker.accounts().revoke(caller, &name, None).await.map_err(hinted)?,
                        );
                    }
                }
                let ended =
                    broker.users().end_access(caller, EndedBy::Operator).await.map_err(hinted)?;
                accounts.extend(ended.accounts);
                Ok(EndedAccess { accounts, ..ended })
            }
        }
    }

    /// Returns the result for programs. `missing` is the provider if no account of it was
    /// connected.
    fn as_json(&self, user: &NamedUser, ended: &EndedAccess, missing: Option<&Provider>) -> Value {
        let EndedAccess { accounts, links, sessions, documents, scheduled } = ended;
        let mut entries: Vec<Value> = accounts.iter().map(revoked::json).collect();
        entries.extend(missing.map(|provider| {
            json!({ "provider": provider.id, "title": provider.title, "account": self.account, "label": null, "state": "not_connected" })
        }));
        let caller = &user.caller;
        let mut shown = json!({ "version": 1, "user": caller.user, "accounts": entries });
        if let (Some(shown), None) = (shown.as_object_mut(), &self.provider) {
            shown.insert("links".into(), (*links).into());
            shown.insert("sessions".into(), (*sessions).into());
            shown.insert("runs".into(), documents.runs.into());
            shown.insert("documents".into(), documents.others.into());
            shown.insert("scheduled".into(), (*scheduled).into());
        }
        if let (Some(shown), true) = (shown.as_object_mut(), !caller.is_local()) {
            shown.insert("of".into(), named_user::word(caller).into());
        }
        shown
    }

    /// Writes the result for people. `missing` is the provider if no account of it was connected.
    fn write<W: Write>(
        &self,
        user: &NamedUser,
        ended: &EndedAccess,
        missing: Option<&Provider>,
        out: &mut Stdout<W>,
    ) -> anyhow::Result<()> {
        let EndedAccess { accounts, links, sessions, documents, scheduled } = ended;
        if let Some(provider) = missing {
            let account = self.account.as_ref();
            let account = account.map(|account| format!(" account {account}")).unwrap_or_default();
            out.line(&format!("{}{account} was not connected.", provider.title))?;
        }
        for account in accounts {
            out.line(&revoked::words(account))?;
        }
        for (count, what) in [(*links, "open link"), (*sessions, "signed-in browser")] {
            if count > 0 {
                let plural = if count == 1 { " is" } else { "s are" };
                out.line(&format!("{count} {what}{plural} ended."))?;
            }
        }
        for (count, what) in [
            (documents.runs, "plan run"),
            (documents.others, "other document"),
            (*scheduled, "scheduled call"),
        ] {
            if count > 0 {
                let plural = if count == 1 { " is" } else { "s are" };
                out.line(&format!("{count} {what}{plural} deleted."))?;
            }
        }
        if self.provider.is_none() && ended.is_nothing() {
            out.line("Nothing was connected.")?;
        }
        if self.provider.is_none() && user.is_named {
            report::note(&format!(
                "{} can connect again for as long as {} vouches for them.",
                shown(user.caller.user.as_str(), MAX_LINE_CHARS),
                named_user::word(&user.caller)
            ));
        }
        Ok(())
    }
}
