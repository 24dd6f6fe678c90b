//! MCP over standard input and output.

mod lines;
mod streams;

use std::io;

use rmcp::{ServiceExt as _, service::QuitReason};

use super::Handler;
use lines::Lines;

pub use streams::Streams;

/// Serves one client until it closes its end of the pipe.
///
/// # Errors
/// An I/O error if the task that serves the client fails.
pub async fn serve(handler: Handler, streams: Streams) -> io::Result<()> {
    let lines = handler.completion_notices().watch(Lines::new(streams));
    let running = match Box::pin(handler.serve(lines)).await {
        Ok(running) => running,
        // A client that disconnects before the handshake is no failure of ours.
        Err(error) => {
            tracing::debug!(%error, "the client disconnected before the handshake");
            return Ok(());
        }
    };
    match running.waiting().await {
        Ok(QuitReason::Closed | QuitReason::Cancelled) => Ok(()),
        Ok(reason) => {
            tracing::warn!(?reason, "the protocol ended");
            Ok(())
        }
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Answers the first request with an error and returns, so that the host can show why the server
/// does not start.
///
/// # Errors
/// An I/O error if reading or writing fails.
pub async fn refuse(streams: Streams, message: &str) -> io::Result<()> {
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
    /// Most bytes read, enough for any first request; beyond it, the client gets no answer.
    const MAX_REQUEST_BYTES: u64 = 1 << 20;
    let (input, mut output) = streams.into_parts();
    let mut lines = BufReader::new(input.take(MAX_REQUEST_BYTES)).lines();
    while let Some(line) = lines.next_line().await? {
        let Ok(request) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        let Some(id) = request.get("id").filter(|_| request.get("method").is_some()) else {
            continue;
        };
        let answer = serde_json::json!({
            "jsonrpc": "2.0",
            "id": id,
            "error": { "code": -32603, "message": message },
        });
        output.write_all(format!("{answer}\n").as_bytes()).await?;
        return output.flush().await;
    }
    Ok(())
}
