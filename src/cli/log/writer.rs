//! Writes the log in a thread of its own: a host that starts us and never reads our standard error
//! would otherwise stop every call once the pipe is full.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Maximum lines that wait to be written; further ones are dropped and counted.
const MAX_WAITING_LINES: usize = 4096;
/// How long the process waits for a reader when it ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

static WRITER: OnceLock<LogWriter> = OnceLock::new();

/// Hands lines to the thread. Clones share it.
#[derive(Clone)]
pub(super) struct LogWriter {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

enum Message {
    Line(Vec<u8>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

impl LogWriter {
    /// Starts the thread; `None` if the system cannot create one.
    pub(super) fn start(is_json: bool) -> Option<Self> {
        let (queue, lines) = mpsc::sync_channel(MAX_WAITING_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        let thread = std::thread::Builder::new().name("log".into());
        thread.spawn(move || write(&lines, &counted, is_json, &mut io::stderr())).ok()?;
        let writer = Self { queue, dropped };
        let _ = WRITER.set(writer.clone());
        Some(writer)
    }
}

/// Waits until everything logged so far is written, or [`FLUSH_TIMEOUT`] is over.
pub(super) fn flush() {
    let Some(writer) = WRITER.get() else { return };
    let (done, written) = mpsc::sync_channel(1);
    if writer.queue.try_send(Message::Flush(done)).is_ok() {
        let _ = written.recv_timeout(FLUSH_TIMEOUT);
    }
}

fn write(lines: &Receiver<Message>, dropped: &AtomicU64, is_json: bool, to: &mut impl io::Write) {
    // Errors are ignored: if standard error is closed, there is no reader to tell.
    for message in lines {
        match message {
            Message::Line(line) => drop(to.write_all(&line)),
            Message::Flush(done) => drop(done.send(())),
        }
        let count = dropped.swap(0, Ordering::Relaxed);
        if count > 0 {
            drop(writeln!(to, "{}", told(count, is_json)));
        }
    }
}

/// Returns the line that says how many lines were dropped.
fn told(dropped: u64, is_json: bool) -> String {
    let message = "lines of this log were dropped: standard error was not read in time";
    if is_json {
        serde_json::json!({ "level": "WARN", "message": message, "dropped": dropped }).to_string()
    } else {
        format!("WARN {dropped} {message}")
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The subscriber writes each line in one piece.
impl io::Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.queue.try_send(Message::Line(line.to_vec())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_full_queue_drops_lines_and_says_how_many() {
        let (queue, lines) = mpsc::sync_channel(2);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut writer = LogWriter { queue, dropped: Arc::clone(&dropped) };
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            writer.write_all(line.as_bytes()).unwrap();
        }
        drop(writer);
        let mut written = Vec::new();
        super::write(&lines, &dropped, false, &mut written);
        let written = String::from_utf8(written).unwrap();
        assert!(written.starts_with("one\nWARN 2 lines of this log were dropped"), "{written}");
        assert!(written.ends_with("\ntwo\n"), "{written}");
        let json: serde_json::Value = serde_json::from_str(&told(3, true)).unwrap();
        assert_eq!(json["dropped"], 3);
    }
}
