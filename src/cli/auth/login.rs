//! `countersign auth login`

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::Args;
use url::Url;

use super::provider;
use crate::app::App;
use crate::broker::consent::wait::Waited;
use crate::cli::report::{self, Hint, Usage, hinted};
use crate::cli::stdout::{MAX_LINE_CHARS, Stdout};
use crate::cli::store_options::StoreOptions;
use crate::cli::{Exit, serve};
use crate::config::Config;
use crate::model::authorization::{Connected, LINK_LIFETIME};
use crate::model::requester::AskedBy;
use crate::model::text::shown;
use crate::model::{AccountName, Caller, Principal, Provider, Scopes};
use crate::words::not_connected;

/// How long the process waits for the browser to request the result page.
const RESULT_PAGE_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub(in crate::cli) struct Login {
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
}

impl Login {
    pub(super) async fn run<W: Write>(
        self,
        config: Config,
        out: &mut Stdout<W>,
    ) -> anyhow::Result<Exit> {
        if config.server.auth.is_some() {
            return Err(not_by_command(config.server.public_url.as_ref()));
        }
        let provider = Arc::clone(provider::find(config.providers.values(), &self.provider)?);
        let account = account_of(&provider, self.account)?;
        let app = self.local.app(config, "auth login")?;
        let caller = self.local.caller()?;
        let scopes = match self.scopes {
            Some(scopes) => Scopes::new(scopes),
            None => needed_by_tools(&app, &caller, &provider),
        };
        let wanted = Wanted { caller, provider, account, scopes };
        let exit = if self.device {
            tokio::select! {
                exit = wanted.connect_by_code(&app, out) => exit,
                () = serve::ended() => {
                    Err(anyhow!("{} was not connected: stopped", wanted.provider.title))
                }
            }
        } else {
            wanted.connect_by_link(&app, out).await
        };
        app.close().await;
        exit
    }
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

/// Returns the account to connect; only a provider with several accounts takes another than the
/// default.
fn account_of(provider: &Provider, account: Option<AccountName>) -> anyhow::Result<AccountName> {
    match account {
        Some(account) if !provider.takes(&account) => {
            let problem = format!("`{}` takes one account of each person", provider.id);
            let hint = format!("set `accounts = true` in [providers.{}]", provider.id);
            Err(anyhow!(Usage(problem)).context(Hint(hint)))
        }
        account => Ok(account.unwrap_or_default()),
    }
}

fn needed_by_tools(app: &App, caller: &Caller, provider: &Provider) -> Scopes {
    let principal = Principal::local(caller.clone());
    app.broker.catalogue().registry().scopes_for(&principal, &provider.id).unwrap_or_default()
}

/// The consent to get: whose, for which account, with which scopes.
struct Wanted {
    caller: Caller,
    provider: Arc<Provider>,
    account: AccountName,
    scopes: Scopes,
}

impl Wanted {
    /// Connects by a link that the user opens in a browser on this computer.
    async fn connect_by_link<W: Write>(
        &self,
        app: &App,
        out: &mut Stdout<W>,
    ) -> anyhow::Result<Exit> {
        let Self { caller, provider, account, scopes } = self;
        let (principal, title) = (Principal::local(caller.clone()), &provider.title);
        let asked_by = AskedBy::default();
        let prompt =
            app.broker.consents().begin(&principal, provider, account, scopes, asked_by).await;
        let prompt = prompt.map_err(hinted)?;
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
        match self.wait(app, &prompt.authorization.id).await? {
            Waited::Completed(kept) => Ok(self.connected(app, &kept)),
            Waited::Failed(why) => {
                bail!("{title} was not connected: {}", not_connected(title, &why))
            }
            Waited::Pending | Waited::Over => {
                bail!("the link's time is over; run the command again for a new one")
            }
        }
    }

    /// Waits for the end of the authorization with this id, and for the browser to request the page
    /// that shows it.
    async fn wait(&self, app: &App, id: &str) -> anyhow::Result<Waited> {
        let consents = app.broker.consents();
        let shown_in_browser = consents.shown(id);
        let waited = consents.wait(&self.caller, id, LINK_LIFETIME).await.map_err(hinted)?;
        let is_decided = matches!(waited, Waited::Completed { .. } | Waited::Failed(_));
        // This process serves the result page.
        if is_decided && app.serves_browsers() {
            let _ = tokio::time::timeout(RESULT_PAGE_TIMEOUT, shown_in_browser).await;
        }
        Ok(waited)
    }

    /// Connects by a code that the user enters in any browser.
    async fn connect_by_code<W: Write>(
        &self,
        app: &App,
        out: &mut Stdout<W>,
    ) -> anyhow::Result<Exit> {
        let Self { caller, provider, account, scopes } = self;
        let login =
            app.broker.consents().begin_device_login(caller, provider, account, scopes).await;
        let login = login.map_err(hinted)?;
        report::note("Open this page in a browser on any device:\n");
        out.line(login.page().as_str())?;
        report::note("\nEnter this code there, and no code that another person gave you:\n");
        out.line(login.code())?;
        if let Some(page) = login.page_with_code() {
            report::note(&format!("\nWith the code filled in, the page is {page}"));
        }
        let minutes = app.broker.consents().device_login_lives(&login).as_secs().div_ceil(60);
        report::note(&format!(
            "\nWaiting for your approval, for at most {minutes} minutes. Ctrl-C ends it."
        ));
        let kept = app.broker.consents().finish_device_login(login).await.map_err(hinted)?;
        Ok(self.connected(app, &kept))
    }

    /// Reports the connection, the scopes that were not granted, and the end of the access.
    fn connected(&self, app: &App, kept: &Connected) -> Exit {
        let title = &self.provider.title;
        let Connected { connected_as, refused, ungranted, ends } = kept;
        report::note(&match connected_as {
            Some(account) => {
                format!("\n{title} is connected as {}.", shown(account, MAX_LINE_CHARS))
            }
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
}
