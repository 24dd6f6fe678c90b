//! One JSON-RPC message per line, and an answer to every line that is none.
//!
//! rmcp's own transport skips a line that it cannot parse, and the client waits for ever. This one
//! answers as JSON-RPC 2.0 §5.1 says, and the session goes on. Notifications and responses are
//! never answered (§4.1), however wrong they are.

use std::io;
use std::sync::Arc;

use futures_util::StreamExt as _;
use rmcp::service::{RoleServer, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;
use tokio_util::bytes::{Buf as _, BytesMut};
use tokio_util::codec::{Decoder, FramedRead};

use super::streams::{Reader, Streams, Writer};
use crate::mcp::malformed::Malformed;

/// Longest line in bytes, so that an endless one does not fill the memory; a longer one is refused
/// once and skipped.
const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;
/// Most bad lines in a row that are answered; further ones are ignored. A peer that puts our
/// answers into its own complaints would otherwise keep both sides busy for ever.
const MAX_ERRORS_IN_A_ROW: u32 = 64;

/// A transport over two byte streams.
pub(super) struct Lines {
    input: FramedRead<Reader, Incoming>,
    /// `None` once the transport is closed.
    output: Arc<Mutex<Option<Output>>>,
    /// The answer to the last bad line, until it is in the output's buffer.
    pending_answer: Option<Vec<u8>>,
    /// Whether that buffer may hold an answer that no other write is sure to flush.
    unflushed: bool,
    bad_in_a_row: u32,
}

impl Lines {
    pub(super) fn new(streams: Streams) -> Self {
        let (input, output) = streams.into_parts();
        let output = Output { to: output, buffer: BytesMut::new() };
        Self {
            input: FramedRead::new(input, Incoming::default()),
            output: Arc::new(Mutex::new(Some(output))),
            pending_answer: None,
            unflushed: false,
            bad_in_a_row: 0,
        }
    }

    /// Writes the pending answer to a bad line. May be dropped at any await and called again.
    async fn answer(&mut self) -> io::Result<()> {
        if self.pending_answer.is_none() && !self.unflushed {
            return Ok(());
        }
        let mut output = self.output.lock().await;
        let output = output.as_mut().ok_or_else(closed)?;
        if let Some(line) = self.pending_answer.take() {
            output.buffer.extend_from_slice(&line);
            self.unflushed = true;
        }
        output.flush().await?;
        self.unflushed = false;
        Ok(())
    }
}

/// Takes whole lines only: the next write first finishes what a dropped write has begun.
struct Output {
    to: Writer,
    buffer: BytesMut,
}

impl Output {
    async fn flush(&mut self) -> io::Result<()> {
        while !self.buffer.is_empty() {
            if self.to.write_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        self.to.flush().await
    }
}

impl Transport<RoleServer> for Lines {
    type Error = io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let output = Arc::clone(&self.output);
        async move {
            let line = line(&item)?;
            let mut output = output.lock().await;
            let output = output.as_mut().ok_or_else(closed)?;
            output.buffer.extend_from_slice(&line);
            output.flush().await
        }
    }

    /// rmcp polls this beside other work and drops it when that is done first, so no line, read or
    /// to be written, may be held across an await.
    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            if let Err(error) = self.answer().await {
                tracing::debug!(%error, "cannot write to the client");
                return None;
            }
            match self.input.next().await? {
                Ok(Line::Message(message)) => {
                    self.bad_in_a_row = 0;
                    return Some(*message);
                }
                Ok(Line::Bad(bad)) => {
                    self.bad_in_a_row = self.bad_in_a_row.saturating_add(1);
                    tracing::debug!(why = bad.why, "received a line that is not a message");
                    if self.bad_in_a_row <= MAX_ERRORS_IN_A_ROW {
                        self.pending_answer = line(&bad.answer()).ok();
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "cannot read from the client");
                    return None;
                }
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.output.lock().await.take();
        Ok(())
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the connection is closed")
}

fn line(message: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

enum Line {
    Message(Box<RxJsonRpcMessage<RoleServer>>),
    Bad(Malformed),
}

/// Splits bytes into lines and parses each.
#[derive(Default)]
struct Incoming {
    /// Length of the buffer's start that holds no line break.
    searched: usize,
    /// Whether the current line is too long and has been answered.
    skipping: bool,
}

impl Decoder for Incoming {
    type Item = Line;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Line>> {
        loop {
            let rest = buffer.get(self.searched..).unwrap_or_default();
            let Some(end) = memchr::memchr(b'\n', rest).map(|at| self.searched + at) else {
                self.searched = buffer.len();
                if self.searched <= MAX_LINE_BYTES && !self.skipping {
                    return Ok(None);
                }
                buffer.clear();
                self.searched = 0;
                let is_news = !std::mem::replace(&mut self.skipping, true);
                return Ok(is_news.then(too_long));
            };
            self.searched = 0;
            let line = buffer.split_to(end);
            buffer.advance(1);
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            let line = if line.len() > MAX_LINE_BYTES { Some(too_long()) } else { read(&line) };
            if line.is_some() {
                return Ok(line);
            }
        }
    }

    /// Drops a last line without a line break: it was cut off, and the client has gone.
    fn decode_eof(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Line>> {
        let line = self.decode(buffer)?;
        if line.is_none() {
            buffer.clear();
            self.searched = 0;
        }
        Ok(line)
    }
}

fn too_long() -> Line {
    Line::Bad(Malformed::invalid("the message is longer than 16 MiB", Value::Null))
}

/// Parses a line; `None` if it needs no answer.
fn read(line: &[u8]) -> Option<Line> {
    // RFC 8259 §8.1: a byte order mark may be ignored.
    let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line).trim_ascii();
    if line.is_empty() {
        return None;
    }
    if let Ok(message) = serde_json::from_slice(line) {
        return Some(Line::Message(Box::new(message)));
    }
    let bad = Malformed::of(line);
    (!bad.is_quiet).then_some(Line::Bad(bad))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Result of each line of `input`: `"message"` for a message, else its answer.
    fn lines(input: &[u8]) -> Vec<Value> {
        let (mut incoming, mut buffer) = (Incoming::default(), BytesMut::new());
        let mut seen = Vec::new();
        for piece in input.chunks(1 << 20) {
            buffer.extend_from_slice(piece);
            while let Some(line) = incoming.decode(&mut buffer).unwrap() {
                seen.push(match line {
                    Line::Message(_) => "message".into(),
                    Line::Bad(bad) => bad.answer(),
                });
            }
        }
        seen
    }

    fn codes(input: &[u8]) -> Vec<(i64, Value)> {
        let told = |answer: &Value| {
            assert_eq!(answer["jsonrpc"], "2.0");
            (answer["error"]["code"].as_i64().unwrap(), answer["id"].clone())
        };
        lines(input).iter().map(told).collect()
    }

    #[test]
    fn what_is_no_json_is_a_parse_error_without_an_id() {
        for bad in ["{\"jsonrpc\":\"2.0\",", "Content-Length: 5", "{\"id\":1}}", "\u{1b}[2J"] {
            assert_eq!(codes(format!("{bad}\r\n").as_bytes()), [(-32700, Value::Null)], "{bad}");
        }
        assert_eq!(codes(b"\"\xff\"\n"), [(-32700, Value::Null)]);
    }

    #[test]
    fn what_is_no_message_is_an_invalid_request_under_its_id() {
        for (bad, id) in [
            (json!([{ "jsonrpc": "2.0", "id": 1, "method": "ping" }]), Value::Null),
            (json!("ping"), Value::Null),
            (json!({}), Value::Null),
            (json!({ "id": 7, "method": "ping" }), json!(7)),
            (json!({ "jsonrpc": "1.0", "id": "a", "method": "ping" }), json!("a")),
            (json!({ "jsonrpc": "2.0", "id": 8, "method": 1 }), json!(8)),
            (json!({ "jsonrpc": "2.0", "id": { "a": 1 }, "method": "ping" }), Value::Null),
            (json!({ "jsonrpc": "2.0", "id": null, "method": "ping" }), Value::Null),
        ] {
            assert_eq!(codes(format!("{bad}\n").as_bytes()), [(-32600, id)], "{bad}");
        }
    }

    #[test]
    fn notifications_and_responses_are_never_answered() {
        for quiet in [
            json!({ "method": "notifications/none" }),
            json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": 1 }),
            json!({ "result": {} }),
            json!({ "jsonrpc": "2.0", "id": [], "error": 1 }),
        ] {
            let seen = lines(format!("{quiet}\n").as_bytes());
            assert!(seen.iter().all(|line| *line == "message"), "{quiet}: {seen:?}");
        }
        assert!(lines(b"\n \r\n").is_empty());
    }

    #[test]
    fn a_message_is_read_in_whatever_pieces_it_comes() {
        let ping = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let (mut incoming, mut buffer) = (Incoming::default(), BytesMut::new());
        for byte in ping {
            buffer.extend_from_slice(&[*byte]);
            assert!(incoming.decode(&mut buffer).unwrap().is_none());
        }
        buffer.extend_from_slice(b"\n");
        assert!(matches!(incoming.decode(&mut buffer), Ok(Some(Line::Message(_)))));
        assert_eq!(lines(&[b"\xEF\xBB\xBF", &ping[..], b"\n"].concat()), ["message"]);
    }

    #[test]
    fn a_line_without_end_is_answered_once_and_passed_over() {
        let mut input = vec![b'x'; MAX_LINE_BYTES + (3 << 20)];
        input.extend_from_slice(b"\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n");
        let seen = lines(&input);
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert_eq!(seen[0]["error"]["code"], -32600);
        assert_eq!(seen[1], "message");
    }
}
