//! Servers of programs that bring tools of their own: the builder behind
//! [`prelude`](crate::prelude).

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use super::serve::{self, Serve};
use super::{Program, report};
use crate::broker::code::{CodeTools, Tool};
use crate::config::Problems;
use crate::model::declared_tool::ToolProblem;
use crate::upstream::jq::{WORKER_ARGUMENT, worker_main};

/// A server of tools: those of a `tools.toml`, and those that are code of this program.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use countersign::prelude::*;
///
/// struct Now;
///
/// impl Tool for Now {
///     type Args = NoArgs;
///     type Output = String;
///
///     fn name(&self) -> &str {
///         "now"
///     }
///
///     fn description(&self) -> &str {
///         "Tells the time."
///     }
///
///     async fn run(&self, _ctx: &Context, _args: NoArgs) -> Result<String, ToolError> {
///         Ok(format!("{:?}", std::time::SystemTime::now()))
///     }
/// }
///
/// fn main() -> ExitCode {
///     Server::builder().tool(Now).main()
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Server {}

impl Server {
    /// Begins to build a server. Call it first in `main`: the server starts this program again to
    /// run jq filters, and such a process does its work here and ends.
    pub fn builder() -> ServerBuilder {
        if std::env::args_os().nth(1).is_some_and(|word| word == WORKER_ARGUMENT) {
            let end = worker_main();
            std::process::exit(i32::from(end != ExitCode::SUCCESS));
        }
        ServerBuilder { code: CodeTools::default(), config: None }
    }
}

/// Builds a [`Server`].
#[derive(Debug)]
#[must_use = "a builder serves nothing until `main`, `serve_stdio` or `serve` is called"]
pub struct ServerBuilder {
    code: CodeTools,
    config: Option<PathBuf>,
}

impl ServerBuilder {
    /// Names the `tools.toml`. Without it, the file is searched like that of the command
    /// `countersign`, and none is needed.
    pub fn config(self, path: impl Into<PathBuf>) -> Self {
        Self { config: Some(path.into()), ..self }
    }

    /// Adds a tool. A table `[tools.NAME]` without `request` may say in `tools.toml` who may use
    /// it, with `allow`, and set `title`, `ids`, `timeout`, `max_chars` and `disabled`.
    pub fn tool(self, tool: impl Tool) -> Self {
        Self { code: self.code.with(tool), ..self }
    }

    /// Runs the whole command line of `countersign` with these tools: `serve`, `check`, `tools`,
    /// `auth` and all others. Reports every mistake on standard error.
    pub fn main(self) -> ExitCode {
        super::main(self.code, self.config)
    }

    /// Checks the configuration together with the tools.
    ///
    /// # Errors
    /// [`ServerError::Tool`] and [`ServerError::Config`].
    pub fn check(&self) -> Result<(), ServerError> {
        self.program().load().map(drop).map_err(ServerError::of)
    }

    /// Serves one MCP client over standard input and output until it hangs up. Links to consents
    /// work only while it runs; with [`main`](Self::main), they outlive it.
    ///
    /// # Errors
    /// [`ServerError`]
    pub async fn serve_stdio(self) -> Result<(), ServerError> {
        self.serve_as(Serve::over_stdio()).await
    }

    /// Serves over HTTP at this address, until the process is asked to end: MCP at `/mcp`, and the
    /// REST faces. Who may call, and the public address, are settings of `tools.toml`.
    ///
    /// # Errors
    /// [`ServerError`]
    pub async fn serve(self, address: impl Into<SocketAddr>) -> Result<(), ServerError> {
        self.serve_as(Serve::at(address.into())).await
    }

    async fn serve_as(self, serve: Serve) -> Result<(), ServerError> {
        super::protect();
        let served = serve::embedded(&serve, &self.program()).await;
        served.map(drop).map_err(ServerError::of)
    }

    fn program(&self) -> Program {
        Program { argument: self.config.clone(), code: self.code.clone(), is_embedded: true }
    }
}

/// Why a server does not start, or has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A tool that is code cannot be served. If there are several, the first one; `check` of the
    /// command line shows all.
    #[error("{0}; help: {hint}", hint = .0.hint())]
    Tool(ToolProblem),
    /// The `tools.toml` cannot be served. Holds the first mistake with its place and its fix.
    #[error("{0}")]
    Config(String),
    /// A port, a pipe or a file failed.
    #[error("{message}")]
    Io {
        /// The failure, and what to do about it.
        message: String,
        /// The cause.
        source: io::Error,
    },
    /// Any other reason: a missing setting or key, or a store that cannot be used. Holds the reason
    /// and what to do about it.
    #[error("{0}")]
    Start(String),
}

impl ServerError {
    fn of(error: anyhow::Error) -> Self {
        let message = report::line(&error);
        match error.downcast::<Problems>() {
            Ok(mut problems) if !problems.tools.is_empty() => Self::Tool(problems.tools.remove(0)),
            Ok(problems) => Self::Config(problems.first_line()),
            Err(error) => match error.downcast::<io::Error>() {
                Ok(source) => Self::Io { message, source },
                Err(_) => Self::Start(message),
            },
        }
    }
}
