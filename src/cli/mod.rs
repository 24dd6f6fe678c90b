//! The command line: arguments in, exit code out. Takes no decision of its own.
//!
//! Results go to standard output through `stdout::Stdout`; everything else goes to standard error.

mod auth;
mod check;
mod env;
mod import;
mod keeper;
mod key;
mod log;
mod next_command;
mod providers;
mod report;
mod serve;
pub mod server;
mod stdout;
mod store;
mod store_options;
mod toolkits;
mod tools;
mod trust;
mod webhooks;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tracing::level_filters::LevelFilter;

use crate::broker::code::CodeTools;
use crate::config::environment::{self, Found, FoundBy};
use crate::config::{Config, Problems};
use next_command::NextCommand;
use stdout::Stdout;

/// How a command ended; the numbers are a contract with scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    /// Wrong arguments. clap uses it too.
    Usage = 2,
    /// A user has to give a consent first.
    ConsentNeeded = 4,
    ConfigInvalid = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Gives AI assistants tools that act with a user's own accounts.
///
/// The tools are declared in tools.toml and served over MCP. Each user approves each account once, in a
/// browser; the access is kept encrypted, and the assistant never sees it.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, max_term_width = 100)]
struct Cli {
    /// The file to use instead of COUNTERSIGN_CONFIG, the configuration folder's or ./tools.toml.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the tools to an MCP client.
    Serve(serve::Serve),
    /// Report everything that is wrong with a tools.toml, all at once.
    #[command(after_help = "Exits 0 when the file can be served, 5 when it cannot.")]
    Check {
        /// The file to look at, instead of the one that would be served.
        file: Option<PathBuf>,
        /// Write the findings as JSON.
        #[arg(long)]
        json: bool,
        /// Also ask the issuer of [server.auth] for what it publishes.
        #[arg(long)]
        online: bool,
    },
    /// Write the JSON Schema of tools.toml, for editors.
    #[command(
        after_help = "countersign schema > tools.schema.json, and `#:schema ./tools.schema.json` as the first line of tools.toml"
    )]
    Schema {
        /// Write the OpenAPI document of the REST API instead, which a server has at /openapi.json.
        #[arg(long)]
        openapi: bool,
    },
    /// Let a tools.toml that is found in its folder act in your name.
    #[command(
        after_help = "Trusts the file as it is now: after a change, look it over and trust it anew. Not needed for a file named with --config or COUNTERSIGN_CONFIG, or for the one in the configuration folder."
    )]
    Trust(trust::Trust),
    /// Look at the tools, or call one.
    Tools {
        #[command(subcommand)]
        command: tools::Command,
    },
    /// Make, look at and replace the keys that seal the store.
    Key {
        #[command(subcommand)]
        command: key::Command,
    },
    /// Back up, move or check the store.
    Store {
        #[command(subcommand)]
        command: store::Command,
    },
    /// See which providers are built in, and how to set one up.
    Providers {
        #[command(subcommand)]
        command: providers::Command,
    },
    /// See which tools are built in, by toolkit.
    Toolkits {
        #[command(subcommand)]
        command: toolkits::Command,
    },
    /// Move users in from another product, with the tokens that they have consented to there.
    #[command(
        after_help = "nango: what `GET /connections/{id}?provider_config_key=…&refresh_token=true` answers, one after the other or as a list.\ncomposio: what `GET /api/v3/connected_accounts/{id}` answers, with masking of tokens switched off.\narcade: exports no refresh tokens.\ncsv: a table with the columns user_id, provider, client_id, refresh_token, access_token, token_type, expires_at, scopes, account, connection_id, away.\n\nEach token is shown to its provider before it counts. Run it again after a failure: what is moved in stays. Exits 1 unless all entries are live or unproven."
    )]
    Import(import::Import),
    /// Print the variables with which a product's clients call this server.
    #[command(
        after_help = "eval \"$(countersign env arcade)\" sets them in a shell. Where tools.toml has [server.auth], they are its `public_url` and the key of its first application."
    )]
    Env(env::Env),
    /// See which events wait for the webhooks of applications, send a test event, send events again.
    Webhooks {
        #[command(subcommand)]
        command: webhooks::Command,
    },
    /// Answer open links; a server starts it.
    #[command(hide = true)]
    Keeper,
    /// Connect accounts, see which are connected, disconnect them.
    Auth {
        #[command(subcommand)]
        command: auth::Command,
    },
}

/// Program behind a command: its `tools.toml`, as `--config` names it, and its tools that are code.
#[derive(Clone, Default)]
pub(crate) struct Program {
    pub(crate) argument: Option<PathBuf>,
    pub(crate) code: CodeTools,
    /// Whether the server is part of a program with a `main` of its own. Started again, such a
    /// program would not know the command of the keeper, so it has none.
    pub(crate) is_embedded: bool,
}

/// Runs the program with these tools beside those of `tools.toml`. `config` is the file to use
/// unless `--config` names another one.
pub fn main(code: CodeTools, config: Option<PathBuf>) -> ExitCode {
    protect();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help is a result, so clap writes it to standard output; a broken pipe is ignored.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    match run(cli, code, config) {
        Ok(exit) => exit.into(),
        Err(error) => {
            report::failure(&error);
            exit_of(&error).into()
        }
    }
}

/// Makes files that this process writes accessible to its owner only, and keeps its memory, which
/// holds tokens, out of core dumps.
pub(crate) fn protect() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit, umask};
        umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
        // If the limit cannot be set, the platform has none.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
}

fn run(cli: Cli, code: CodeTools, config: Option<PathBuf>) -> anyhow::Result<Exit> {
    let mut out = Stdout::lock();
    let next_command = NextCommand::new(cli.config.clone());
    let program = Program { argument: cli.config.or(config), code, is_embedded: false };
    match cli.command {
        Command::Serve(serve) => serve::run(&serve, &program),
        Command::Check { file, json, online } => {
            let program = Program { argument: file.or(program.argument.clone()), ..program };
            check::run(&program, json, online, &mut out)
        }
        Command::Schema { openapi } => {
            let schema = if openapi {
                serde_json::to_string_pretty(crate::web::rest::openapi::document())?
            } else {
                serde_json::to_string_pretty(&crate::config::file::schema())?
            };
            out.line(&schema)?;
            Ok(Exit::Done)
        }
        Command::Trust(command) => trust::run(&command, &program, &mut out),
        Command::Tools { command } => {
            tools::run(command, program.load()?, &program.code, &next_command, &mut out)
        }
        Command::Key { command } => key::run(command, &program, &mut out),
        Command::Store { command } => store::run(command, &program, &mut out),
        Command::Providers { command } => {
            let config = program.attempt(&next_command)?;
            providers::run(command, config.as_ref(), &next_command, &mut out)
        }
        Command::Toolkits { command } => toolkits::run(command, &mut out),
        Command::Env(env) => {
            let config = program.attempt(&next_command)?;
            env::run(&env, config.as_ref(), &mut out)
        }
        Command::Import(import) => {
            let config = program.load()?;
            import::run(import, config, &mut out)
        }
        Command::Webhooks { command } => webhooks::run(command, program.load()?, &mut out),
        Command::Keeper => keeper::run(),
        Command::Auth { command } => auth::run(command, program.load()?, &next_command, &mut out),
    }
}

/// Returns the exit code for a failure.
fn exit_of(error: &anyhow::Error) -> Exit {
    let is_of_the_file = error.is::<Problems>()
        || error.is::<environment::NotFound>()
        || error.is::<report::Missing>();
    if is_of_the_file {
        Exit::ConfigInvalid
    } else if error.is::<report::Usage>() {
        Exit::Usage
    } else {
        Exit::Failed
    }
}

/// Runs a command that uses the store or the network; `usual` is its default log level.
fn block_on<T>(
    usual: LevelFilter,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    log::begin(usual)?;
    run_async(work)
}

fn run_async<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    // One thread: a call is a chain of waits, and every hand-over to another thread costs more
    // than the work in between. Blocking work has threads of its own, and so has the served port.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the runtime did not start")?;
    let done = runtime.block_on(work);
    // A thread may still hang in a read of standard input; there is nothing more to wait for.
    runtime.shutdown_background();
    log::flush();
    done
}

impl Program {
    /// Finds the file to use and names it on standard error.
    fn find(&self) -> anyhow::Result<Found> {
        let found = environment::find(self.argument.as_deref()).map_err(report::hinted)?;
        report::note(&format!("using {} ({})", found.path.display(), found.by.words()));
        if found.by == FoundBy::Platform && Path::new(environment::FILE_NAME).exists() {
            report::note(
                "not using ./tools.toml: name it with `--config ./tools.toml` to use it instead",
            );
        }
        Ok(found)
    }

    /// Loads the configuration for commands that help to write it. `None` if there is no file, or
    /// it has mistakes or is not trusted; these commands then know less.
    fn attempt(&self, next_command: &NextCommand) -> anyhow::Result<Option<Config>> {
        let error = match self.load() {
            Ok(config) => return Ok(Some(config)),
            Err(error) => error,
        };
        let has_mistakes = error
            .downcast_ref::<Problems>()
            .is_some_and(|found| found.errors().all(|problem| problem.code != "config::file"));
        let is_untrusted = error
            .downcast_ref::<Problems>()
            .is_some_and(|found| found.errors().all(|problem| problem.code == "config::trust"));
        if is_untrusted {
            report::note(&format!(
                "it is not trusted and counts for nothing here; read it, then run `{}`",
                next_command.command(&["trust"])
            ));
        } else if has_mistakes {
            report::note(&format!(
                "it has mistakes, which `{}` shows, and counts for nothing here",
                next_command.command(&["check"])
            ));
        } else if self.argument.is_some() || !error.is::<environment::NotFound>() {
            return Err(error);
        }
        Ok(None)
    }

    /// Loads the configuration. A program with tools of its own needs no file.
    ///
    /// # Errors
    /// [`environment::NotFound`] if there is no file, [`Problems`] if it is not valid; see
    /// [`exit_of`].
    pub(crate) fn load(&self) -> anyhow::Result<Config> {
        let declared = self.code.declared();
        let mut config = match self.find() {
            Err(error) if self.is_enough_without_file(&error) => {
                crate::config::without_file(&declared)?
            }
            found => crate::config::load_with(found?, &declared)?,
        };
        config.server.keeper &= !self.is_embedded;
        Ok(config)
    }

    fn is_enough_without_file(&self, error: &anyhow::Error) -> bool {
        self.argument.is_none() && !self.code.is_empty() && error.is::<environment::NotFound>()
    }
}
