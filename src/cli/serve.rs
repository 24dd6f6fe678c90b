//! `countersign serve`

mod address;
mod http;
mod token_file;

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::{ArgGroup, Args};
use tracing::level_filters::LevelFilter;

use super::store_options::{Process, StoreOptions};
use super::{Exit, Program, block_on, exit_of, log, report, run_async};
use crate::app::App;
use crate::broker::events::TARGET as RECORD;
use crate::mcp::stdio;
use crate::mcp::stdio::Streams;
use crate::model::Caller;
use crate::model::text::escaped;
pub(super) use address::Address;
pub(super) use token_file::path as token_path;

#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("transport").required(true).args(["stdio", "sse"]))]
pub(crate) struct Serve {
    /// Serve one MCP client over standard input and output.
    #[arg(long)]
    stdio: bool,
    /// Serve over HTTP, at /mcp and, for older clients, /sse; `:8080` is port 8080 of this machine.
    #[arg(
        long,
        visible_alias = "http",
        value_name = "ADDRESS",
        num_args = 0..=1,
        default_missing_value = ":8080"
    )]
    sse: Option<Address>,
    /// Demand a bearer token, which is made and kept in a file beside the configuration.
    #[arg(long, requires = "sse", conflicts_with = "stdio")]
    token: bool,
    #[command(flatten)]
    local: StoreOptions,
}

impl Serve {
    /// Serves over standard input and output.
    pub(crate) fn over_stdio() -> Self {
        Self { stdio: true, sse: None, token: false, local: StoreOptions::default() }
    }

    /// Serves over HTTP at this address.
    pub(crate) fn at(address: SocketAddr) -> Self {
        let sse = Some(Address(address));
        Self { stdio: false, sse, token: false, local: StoreOptions::default() }
    }
}

pub(super) fn run(serve: &Serve, program: &Program) -> anyhow::Result<Exit> {
    if let Some(address) = serve.sse {
        return block_on(LevelFilter::INFO, http::serve(serve, address, program));
    }
    let log = log::begin(LevelFilter::INFO);
    run_async(over_stdio(serve, program, log))
}

/// Like [`run`], within the runtime of the program that embeds the server.
///
/// # Errors
/// The server cannot start, or its connection broke.
pub(crate) async fn embedded(serve: &Serve, program: &Program) -> anyhow::Result<Exit> {
    let log = log::begin(LevelFilter::INFO);
    match serve.sse {
        Some(address) => {
            log?;
            http::serve(serve, address, program).await
        }
        None => over_stdio(serve, program, log).await,
    }
}

async fn over_stdio(
    serve: &Serve,
    program: &Program,
    log: anyhow::Result<()>,
) -> anyhow::Result<Exit> {
    let streams = Streams::take().context("standard input and output cannot be used")?;
    let (app, caller) = match log.and_then(|()| prepare(serve, program)) {
        Ok(ready) => ready,
        Err(error) => {
            // A host shows the server's answer and hides its standard error, so write to both.
            report::failure(&error);
            let message = format!("countersign cannot start: {}", report::line(&error));
            stdio::refuse(streams, &message).await.context("the client could not be told")?;
            return Ok(exit_of(&error));
        }
    };
    let callers = format!("one user, {}", escaped(caller.user.as_str()));
    started(&app, &callers);
    let served = tokio::select! {
        served = app.serve_stdio(caller, streams) => served,
        () = ended() => {
            tracing::info!(target: RECORD, "draining");
            app.close().await;
            Ok(())
        }
    };
    tracing::info!(target: RECORD, "ended");
    served.context("the connection to the client broke")?;
    Ok(Exit::Done)
}

/// Performs every step that may keep the server from starting.
fn prepare(serve: &Serve, program: &Program) -> anyhow::Result<(App, Caller)> {
    let config = program.load()?;
    let caller = serve.local.caller()?;
    let code = &program.code;
    let app = serve.local.server(config, code, "serve --stdio", None, Process::OfHost)?;
    Ok((app, caller))
}

/// Writes the event log's first line: what serves, with what, for which callers.
fn started(app: &App, callers: &str) {
    tracing::info!(
        target: RECORD,
        version = env!("CARGO_PKG_VERSION"),
        file = %app.file().display(),
        tools = app.broker.catalogue().registry().entries().len(),
        data = %app.data_folder().display(),
        callers,
        "started",
    );
}

/// Returns when the process is asked to end: SIGTERM, SIGINT, or SIGHUP (the terminal closes).
pub(super) async fn ended() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut terminate) = signal(SignalKind::terminate()) else {
            return std::future::pending().await;
        };
        let hangup = async {
            // A handler would undo what `nohup` has asked for.
            match (!ignores_hangup()).then(|| signal(SignalKind::hangup())) {
                Some(Ok(mut hangup)) => hangup.recv().await,
                Some(Err(_)) | None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = hangup => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }
    #[cfg(not(unix))]
    {
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// Whether this process was started with SIGHUP ignored, as by `nohup`. Only Linux tells; elsewhere
/// this returns `true`, so that the signal keeps the handling that it was started with.
#[cfg(unix)]
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Bit 0 is signal 1 (proc_pid_status(5)).
    ignored
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_none_or(|mask| mask & 1 == 1)
}
