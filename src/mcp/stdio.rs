//! MCP over standard input and output, with the protocol's stream kept private.
//!
//! Output that a dependency or a preloaded library prints to fd 1 would end up in the middle of the
//! protocol. So [`Streams::take`] moves the real standard output to a descriptor that no other code
//! knows, and makes fd 1 a duplicate of standard error.

use std::io;
use std::pin::Pin;

use rmcp::{ServiceExt as _, service::QuitReason};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Handler;
use super::lines::Lines;

pub(super) type Reader = Pin<Box<dyn AsyncRead + Send>>;
pub(super) type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// Input and output of the protocol.
pub struct Streams {
    input: Reader,
    output: Writer,
}

impl Streams {
    /// Takes standard input and output for the protocol alone. Call once, within a runtime, before
    /// any output is printed.
    ///
    /// # Errors
    /// An I/O error if a descriptor cannot be duplicated, inspected or registered with the runtime.
    pub fn take() -> io::Result<Self> {
        platform::take()
    }

    /// Returns the input and the output.
    pub fn into_parts(self) -> (Reader, Writer) {
        (self.input, self.output)
    }
}

/// Serves one client until it closes its end of the pipe.
///
/// # Errors
/// An I/O error if the task that serves the client fails.
pub async fn serve(handler: Handler, streams: Streams) -> io::Result<()> {
    let lines = handler.announcements().watch(Lines::new(streams));
    let running = match Box::pin(handler.serve(lines)).await {
        Ok(running) => running,
        // A client that disconnects before the handshake is no failure of ours.
        Err(error) => {
            tracing::debug!(%error, "the client left before the protocol began");
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
    const MOST: u64 = 1 << 20;
    let (input, mut output) = streams.into_parts();
    let mut lines = BufReader::new(input.take(MOST)).lines();
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

#[cfg(unix)]
mod platform {
    use std::fs::File;
    use std::io;
    use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
    use std::os::unix::fs::FileTypeExt as _;
    use std::os::unix::net::UnixStream;

    use super::{Reader, Streams, Writer};

    pub(super) fn take() -> io::Result<Streams> {
        // Above the standard three, and closed on exec.
        let output = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
        let input = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        Ok(Streams { input: reader(input)?, output: writer(output)? })
    }

    /// Reads a pipe or socket without a helper thread where possible: two hand-offs fewer for every
    /// call.
    fn reader(fd: OwnedFd) -> io::Result<Reader> {
        Ok(match kind(&fd)? {
            Kind::Pipe if let Some(fd) = reopen(&fd, false) => {
                Box::pin(tokio::net::unix::pipe::Receiver::from_owned_fd(fd)?)
            }
            Kind::Socket => Box::pin(socket(fd)?),
            Kind::Pipe | Kind::Other => Box::pin(tokio::fs::File::from_std(File::from(fd))),
        })
    }

    fn writer(fd: OwnedFd) -> io::Result<Writer> {
        Ok(match kind(&fd)? {
            Kind::Pipe if let Some(fd) = reopen(&fd, true) => {
                Box::pin(tokio::net::unix::pipe::Sender::from_owned_fd(fd)?)
            }
            Kind::Socket => Box::pin(socket(fd)?),
            Kind::Pipe | Kind::Other => Box::pin(tokio::fs::File::from_std(File::from(fd))),
        })
    }

    enum Kind {
        Pipe,
        /// Node.js hosts connect their child processes by sockets.
        Socket,
        Other,
    }

    fn kind(fd: &OwnedFd) -> io::Result<Kind> {
        let kind = File::from(fd.as_fd().try_clone_to_owned()?).metadata()?.file_type();
        Ok(if kind.is_fifo() {
            Kind::Pipe
        } else if kind.is_socket() {
            Kind::Socket
        } else {
            Kind::Other
        })
    }

    /// Opens the same pipe again as a file description of our own: non-blocking mode set on it does
    /// not affect the other processes that share the inherited one. Only Linux can do this.
    fn reopen(fd: &OwnedFd, write: bool) -> Option<OwnedFd> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits();
        File::options()
            .read(!write)
            .write(write)
            .custom_flags(i32::try_from(nonblocking).ok()?)
            .open(path)
            .ok()
            .map(OwnedFd::from)
    }

    fn socket(fd: OwnedFd) -> io::Result<tokio::net::UnixStream> {
        let stream = UnixStream::from(fd);
        stream.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(stream)
    }
}

#[cfg(not(unix))]
mod platform {
    use super::Streams;

    /// Takes the streams as they are: Windows has no descriptor 1 to move within a process, and our
    /// own code prints nothing there.
    pub(super) fn take() -> std::io::Result<Streams> {
        Ok(Streams { input: Box::pin(tokio::io::stdin()), output: Box::pin(tokio::io::stdout()) })
    }
}
