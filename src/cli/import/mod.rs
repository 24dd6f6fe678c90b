//! `countersign import`: moves in what users have consented to in another product.
//!
//! - [`mod@file`]: reads the file; [`csv`], [`nango`] and [`composio`] know the forms
//! - [`entry`]: one connection of a file
//! - [`report`]: what has become of each
//!
//! The file is read as a whole before anything is sent. Each connection is then deposited like those of
//! `POST /v1/connections`, so a run that was killed can be started again.

mod composio;
mod csv;
mod entry;
mod file;
mod nango;
mod report;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{anyhow, bail};
use clap::{Args, ValueEnum};
use futures_util::{StreamExt as _, stream};
use tracing::level_filters::LevelFilter;

use self::entry::{Defaults, Entry};
use self::report::{Report, Status};
use super::report::{Hint, Usage, note};
use super::stdout::Stdout;
use super::store_options::StoreOptions;
use super::{Exit, block_on, serve};
use crate::app::App;
use crate::broker::deposit::{DepositOutlook, Depositor};
use crate::config::Config;
use crate::model::server_auth::{KeyHolder, ServerAuth};
use crate::model::{Caller, Principal, Scopes};

/// Connections that are moved in at the same time.
const MAX_CONCURRENT: usize = 8;

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The product that the file comes from.
    product: Product,
    /// The file, or `-` for standard input.
    file: PathBuf,
    /// The application whose users they are, by the name of its key in [[server.auth.api_keys]].
    /// Without [server.auth]: users of this machine.
    #[arg(long, value_name = "KEY")]
    of: Option<String>,
    /// The provider in tools.toml, for all entries, or for those that the file calls THEIRS.
    #[arg(long, value_name = "[THEIRS=]PROVIDER")]
    provider: Vec<String>,
    /// The client id that the tokens were issued to, where the file does not say: for all entries, or
    /// for those of one provider.
    #[arg(long, value_name = "[PROVIDER=]ID")]
    client_id: Vec<String>,
    /// The column of the user id, or its place in JSON, e.g. `end_user.email`.
    #[arg(long, value_name = "NAME")]
    user_column: Option<String>,
    /// The scopes that users have consented to, where the file does not say.
    #[arg(long, value_delimiter = ',', value_name = "SCOPE,…")]
    scopes: Option<Vec<String>>,
    /// State that the users have agreed to calls that run while they are away.
    #[arg(long)]
    away: bool,
    /// Check everything that can be checked without showing a token to a provider. Change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Write the report as JSON.
    #[arg(long)]
    json: bool,
    /// The folder that keeps grants, instead of the platform's data folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Product {
    Nango,
    Composio,
    Arcade,
    Csv,
}

/// Message about the product that gives out no refresh token.
const ARCADE: &str = "Arcade exports no refresh tokens, neither by its API nor in its dashboard";
const ARCADE_HINT: &str = "let its users consent here, which `docs/from-arcade.md` describes; or write the access tokens that `GET /v1/auth/status` answers (`context.token`) to a CSV file, for connections that last until these expire";

pub(super) fn run<W: Write>(
    import: Import,
    config: Config,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    block_on(LevelFilter::ERROR, async move { import.run(config, out).await })
}

impl Import {
    async fn run<W: Write>(self, config: Config, out: &mut Stdout<W>) -> anyhow::Result<Exit> {
        let namespace = namespace(config.server.auth.as_ref(), self.of.as_deref())?;
        let entries = self.read()?;
        let app = StoreOptions { user: None, data: self.data.clone() }.app(config, "import")?;
        if self.dry_run {
            app.only_look();
        }
        let report = self.move_in(&app, &namespace, entries, out).await;
        app.close().await;
        report
    }

    fn read(&self) -> anyhow::Result<Vec<Entry>> {
        let defaults = Defaults {
            providers: pairs(&self.provider),
            client_ids: pairs(&self.client_id),
            user: self.user_column.clone(),
            scopes: self.scopes.clone().map(Scopes::new),
            away: self.away,
        };
        let read = match self.product {
            Product::Arcade => bail!(anyhow!(ARCADE).context(Hint(ARCADE_HINT.into()))),
            Product::Csv => csv::entries,
            Product::Nango => nango::entries,
            Product::Composio => composio::entries,
        };
        let text = file::text(&self.file)?;
        let mut entries = read(&text, &defaults)?;
        entry::refuse_repeated(&mut entries);
        if entries.is_empty() {
            bail!("`{}` has no connection", self.file.display());
        }
        Ok(entries)
    }

    async fn move_in<W: Write>(
        &self,
        app: &App,
        namespace: &str,
        entries: Vec<Entry>,
        out: &mut Stdout<W>,
    ) -> anyhow::Result<Exit> {
        let mut report = Report::new(self.dry_run, entries.len());
        let each = entries.into_iter().map(|entry| self.one(app, namespace, entry));
        let mut done = stream::iter(each).buffered(MAX_CONCURRENT);
        let mut stopped = std::pin::pin!(serve::ended());
        loop {
            let line = tokio::select! {
                line = done.next() => line,
                // Running deposits end in `App::close`, so that no new token is lost.
                () = &mut stopped => break,
            };
            let Some(line) = line else { break };
            if !self.json {
                out.line(&line.words())?;
            }
            report.add(line);
        }
        drop(done);
        if self.json {
            out.line(&serde_json::to_string_pretty(&report.as_json())?)?;
        }
        note(&report.totals());
        Ok(if report.is_good() { Exit::Done } else { Exit::Failed })
    }

    async fn one(&self, app: &App, namespace: &str, entry: Entry) -> report::Line {
        let line = entry.line();
        let fields = match entry.fields {
            Ok(fields) => fields,
            Err((why, help)) => return line.of(Status::refused(why, help)),
        };
        let caller = Caller { namespace: namespace.to_owned(), user: fields.user };
        let principal = Principal::local(caller);
        let name = fields.provider.as_str();
        let provider = match app.broker.provider_named(namespace, &[name], None).await {
            Ok(provider) => provider,
            Err(error) => return line.of(Status::unknown_provider(&error)),
        };
        let by = Depositor::Operator;
        let status = if self.dry_run {
            let outlook =
                app.broker.look_at_deposit(&principal, by, &provider, fields.tokens).await;
            match outlook {
                Ok(DepositOutlook::There(there)) => Status::kept(&there),
                Ok(DepositOutlook::New | DepositOutlook::Begun) => Status::Ready,
                Err(error) => Status::failed(&error),
            }
        } else {
            match app.broker.deposit(&principal, by, &provider, fields.tokens).await {
                Ok(deposited) => Status::kept(&deposited),
                Err(error) => Status::failed(&error),
            }
        };
        line.of(status)
    }
}

/// Reads `[KEY=]VALUE` options.
fn pairs(written: &[String]) -> Vec<(Option<String>, String)> {
    let pair = |written: &String| match written.split_once('=') {
        Some((key, value)) => (Some(key.to_owned()), value.to_owned()),
        None => (None, written.clone()),
    };
    written.iter().map(pair).collect()
}

/// Namespace of the users that a file names: those of this machine, or of one application's key.
fn namespace(auth: Option<&ServerAuth>, of: Option<&str>) -> anyhow::Result<String> {
    let Some(auth) = auth else {
        return match of {
            None | Some(Caller::LOCAL) => Ok(Caller::LOCAL.into()),
            Some(_) => {
                let problem =
                    "this tools.toml has no [server.auth], so there are only users of this machine";
                Err(anyhow!(Usage(problem.into())).context(Hint("leave `--of` out".into())))
            }
        };
    };
    let applications = auth.keys.iter().filter_map(|key| {
        matches!(key.holder, KeyHolder::Application(_)).then_some(key.name.as_str())
    });
    let names: Vec<&str> = applications.collect();
    match of {
        Some(of) if names.contains(&of) => Ok(Caller::namespace_of_key(of)),
        _ => {
            let problem = match of {
                Some(of) => format!("no application's key is named `{of}`"),
                None => "whose users are they?".into(),
            };
            let hint = match names.join("`, `") {
                none if none.is_empty() => {
                    "only users of an application's key can be moved in; write one in [[server.auth.api_keys]]".into()
                }
                all => format!("write `--of` and the name of their application's key: `{all}`"),
            };
            Err(anyhow!(Usage(problem)).context(Hint(hint)))
        }
    }
}
