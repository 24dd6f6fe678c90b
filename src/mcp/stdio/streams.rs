//! Standard input and output, kept private to the protocol.
//!
//! Output that a dependency or a preloaded library prints to fd 1 would end up in the middle of the
//! protocol. So [`Streams::take`] moves the real standard output to a descriptor that no other code
//! knows, and makes fd 1 a duplicate of standard error.

use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

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
