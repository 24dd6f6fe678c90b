//! `countersign serve`

use anyhow::Context as _;
use clap::Args;
use tracing::level_filters::LevelFilter;

use super::local::Local;
use super::{Exit, find, log, report};
use crate::config;
use crate::mcp::stdio::{self, Streams};

#[derive(Clone, Debug, Args)]
pub(super) struct Serve {
    /// Serve one MCP client over standard input and output.
    #[arg(long, required = true)]
    stdio: bool,
    #[command(flatten)]
    local: Local,
}

pub(super) fn run(serve: &Serve, config: Option<&std::path::Path>) -> anyhow::Result<Exit> {
    // One thread: a call is a chain of waits, and every hand-over to another thread costs more
    // than the work in between. Blocking work has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime did not start")?;
    let exit = runtime.block_on(over_stdio(serve, config));
    // A thread may still hang in a read of standard input; there is nothing more to wait for.
    runtime.shutdown_background();
    exit
}

async fn over_stdio(serve: &Serve, config: Option<&std::path::Path>) -> anyhow::Result<Exit> {
    let streams = Streams::take().context("standard input and output cannot be used")?;
    log::begin(LevelFilter::INFO);
    let loaded = find(config).and_then(|found| Ok(config::load(found)?));
    let config = match loaded {
        Ok(config) => config,
        Err(error) => {
            // A host shows what it is answered and hides what stands on standard error; so do both.
            match error.downcast_ref::<config::Problems>() {
                Some(problems) => report::problems_to_stderr(problems),
                None => report::failure(&error),
            }
            stdio::refuse(streams, &format!("countersign cannot start: {error:#}"))
                .await
                .context("the client could not be told")?;
            return Ok(Exit::ConfigInvalid);
        }
    };
    let caller = serve.local.caller()?;
    let app = serve.local.app(config, "serve --stdio")?;
    tokio::select! {
        served = app.serve_stdio(caller, streams) => {
            served.context("the connection to the client broke")?;
        }
        () = ended() => app.close().await,
    }
    Ok(Exit::Done)
}

/// Somebody asks the process to end.
async fn ended() {
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
