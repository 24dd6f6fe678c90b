//! `countersign auth`

mod login;
mod named_user;
mod provider;
mod revoke;
mod revoked;
mod status;

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use tracing::level_filters::LevelFilter;

use super::next_command::NextCommand;
use super::report::hinted;
use super::stdout::Stdout;
use super::store_options::StoreOptions;
use super::{Exit, block_on};
use crate::config::Config;
use crate::store::StoreError;
use login::Login;
use revoke::Revoke;
use status::Status;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Connect an account: prints a link and waits until you have approved in a browser.
    #[command(
        after_help = "For the user of this machine. Users of a server with [server.auth] connect in a browser, at its /connections page or by the link that their application shows."
    )]
    Login(Login),
    /// Show what is connected.
    #[command(
        after_help = "Exits 4 when no account is connected and a tool needs one, 0 otherwise."
    )]
    Status(Status),
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
    Revoke(Revoke),
}

#[derive(Clone, Debug, Args)]
struct Of {
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
    block_on(LevelFilter::WARN, async move {
        match command {
            Command::Login(login) => login.run(config, out).await,
            Command::Status(status) => status.run(config, next_command, out).await,
            Command::Users { json, data } => {
                // This machine's own user, whose records of earlier versions do not name them.
                let local = StoreOptions { user: None, data };
                let app = local.app(config, "auth users")?;
                app.only_look();
                named_user::list(&app, &local, json, out).await
            }
            Command::Revoke(revoke) => revoke.run(config, out).await,
        }
    })
}

/// Returns the result, or an empty one if there is no store yet.
fn or_none<T: Default>(found: Result<T, StoreError>) -> anyhow::Result<T> {
    match found {
        Err(StoreError::Empty) => Ok(T::default()),
        found => found.map_err(hinted),
    }
}
