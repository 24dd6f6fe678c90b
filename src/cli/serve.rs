//! `countersign serve`

mod address;
mod http;

use std::path::Path;

use anyhow::Context as _;
use clap::{ArgGroup, Args};
use tracing::level_filters::LevelFilter;

use super::local::Local;
use super::{Exit, block_on, exit_of, load, report};
use crate::app::App;
use crate::mcp::stdio::{self, Streams};
use crate::model::Caller;
use address::Address;

#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("transport").required(true).args(["stdio", "sse"]))]
pub(super) struct Serve {
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
    local: Local,
}

pub(super) fn run(serve: &Serve, config: Option<&Path>) -> anyhow::Result<Exit> {
    match serve.sse {
        Some(address) => block_on(LevelFilter::INFO, http::serve(serve, address, config)),
        None => block_on(LevelFilter::INFO, over_stdio(serve, config)),
    }
}

async fn over_stdio(serve: &Serve, config: Option<&Path>) -> anyhow::Result<Exit> {
    let streams = Streams::take().context("standard input and output cannot be used")?;
    let (app, caller) = match prepare(serve, config) {
        Ok(ready) => ready,
        Err(error) => {
            // A host shows what it is answered and hides what stands on standard error; so do both.
            report::failure(&error);
            let message = format!("countersign cannot start: {}", report::line(&error));
            stdio::refuse(streams, &message).await.context("the client could not be told")?;
            return Ok(exit_of(&error));
        }
    };
    tokio::select! {
        served = app.serve_stdio(caller, streams) => {
            served.context("the connection to the client broke")?;
        }
        () = ended() => app.close().await,
    }
    Ok(Exit::Done)
}

/// All that may keep the server from starting.
fn prepare(serve: &Serve, config: Option<&Path>) -> anyhow::Result<(App, Caller)> {
    let config = load(config)?;
    let caller = serve.local.caller()?;
    Ok((serve.local.app(config, "serve --stdio")?, caller))
}

/// Somebody asks the process to end.
pub(super) async fn ended() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut terminate) = signal(SignalKind::terminate()) else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }
    #[cfg(not(unix))]
    {
        let _ = tokio::signal::ctrl_c().await;
    }
}
