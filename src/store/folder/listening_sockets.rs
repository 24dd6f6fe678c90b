//! The sockets on which the owner of the data folder listens for browsers. The keeper holds them
//! too.
//!
//! The system releases a port when the last process that holds its socket has closed it. Until then
//! it completes the connections of browsers, and they wait. So when an owner ends, even by SIGKILL,
//! no browser is refused: its connection waits for the next owner's first `accept`. Without this, a
//! user who clicks or comes back from a provider at that moment gets "connection refused", with the
//! code in the address bar.
//!
//! Only the owner accepts. The keeper runs while a link is open, and holds the sockets of the
//! current owner. It uses them if it becomes the owner itself, and passes them to an owner that has
//! none. No other process holds them: a host can suspend its servers (Ctrl-Z), and a suspended
//! process would keep the port from every other program.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::sync::watch;

#[cfg(unix)]
pub(super) use passing::{hold, pass};

/// Maximum sockets that are passed or held; further ones are dropped. More than providers need; one
/// message carries at most 253 descriptors (`unix(7)`).
const MAX_SOCKETS: usize = 64;

/// The listening sockets of the folder's owner, as this process knows them.
#[derive(Clone, Debug, Default)]
pub struct ListeningSockets {
    /// Sockets that this process listens on as the owner; `None` until it listens for every open
    /// link.
    own: watch::Sender<Option<Vec<Arc<TcpListener>>>>,
    /// Sockets of another owner, which this process uses if it becomes the owner.
    held: watch::Sender<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Number of the owner connection that delivered them. Sockets that arrive late over an earlier
    /// one are closed.
    connection: u64,
    /// Whether the owner has passed its sockets or is known to pass none.
    is_known: bool,
    sockets: Vec<Arc<TcpListener>>,
}

impl ListeningSockets {
    /// Passes these sockets to the keeper, now and when it connects.
    pub fn publish(&self, sockets: Vec<Arc<TcpListener>>) {
        self.own.send_replace(Some(sockets));
    }

    /// Stops publishing as the owner. Keeps `held` for the next owner, which asks for them.
    pub fn withdraw(&self, held: Vec<Arc<TcpListener>>) {
        self.own.send_replace(None);
        self.held.send_modify(|now| now.sockets = held);
    }

    /// Takes the socket on which an earlier owner listened at this address; `None` if none is held.
    pub fn take(&self, address: SocketAddr) -> Option<TcpListener> {
        let mut taken = None;
        self.held.send_if_modified(|held| {
            let at = held.sockets.iter().position(|socket| listens_at(socket, address));
            taken = at.and_then(|at| held.sockets.swap_remove(at).try_clone().ok());
            at.is_some()
        });
        taken
    }

    /// Closes the sockets that were not taken.
    pub fn close_rest(&self) {
        self.held.send_modify(|held| held.sockets.clear());
    }

    /// Waits until this process holds the sockets of the current owner, or knows that it passes
    /// none.
    pub async fn arrived(&self) {
        // The sender lives as long as `self`.
        let _ = self.held.subscribe().wait_for(|held| held.is_known).await;
    }

    /// Begins a connection to an owner and returns its number. Also called when this process
    /// becomes the owner, so that sockets which arrive late over an earlier connection are closed.
    pub(super) fn begin(&self) -> u64 {
        let mut number = 0;
        self.held.send_modify(|held| {
            held.connection += 1;
            held.is_known = false;
            number = held.connection;
        });
        number
    }

    /// Closes the sockets of an earlier owner, if this connection is still the newest: its owner
    /// passes no sockets, and would find the ports taken.
    pub(super) fn close_of(&self, connection: u64) {
        self.replace(connection, Vec::new());
    }

    fn replace(&self, connection: u64, sockets: Vec<TcpListener>) {
        self.held.send_if_modified(|held| {
            let is_current = held.connection == connection;
            if is_current {
                held.is_known = true;
                held.sockets = sockets.into_iter().map(Arc::new).collect();
            }
            is_current
        });
    }

    /// Adds sockets of an earlier owner that a peer holds. Closes them once this owner listens for
    /// every open link: it would never accept from them.
    fn offer(&self, sockets: Vec<TcpListener>) {
        if self.own.borrow().is_some() {
            return;
        }
        self.held.send_modify(|held| {
            for socket in sockets {
                let address = socket.local_addr();
                let is_new = address
                    .is_ok_and(|address| !held.sockets.iter().any(|had| listens_at(had, address)));
                if is_new && held.sockets.len() < MAX_SOCKETS {
                    held.sockets.push(Arc::new(socket));
                }
            }
        });
    }
}

fn listens_at(socket: &TcpListener, address: SocketAddr) -> bool {
    socket.local_addr().is_ok_and(|local| local == address)
}

/// Returns an id of the network that the addresses of this process belong to: a container's port is
/// not the host's port. `None` if sockets cannot be passed, or the system gives no id.
pub(super) fn network() -> Option<String> {
    #[cfg(target_os = "linux")]
    return std::fs::read_link("/proc/self/ns/net").ok()?.into_os_string().into_string().ok();
    #[cfg(all(unix, not(target_os = "linux")))]
    return Some(String::new());
    #[cfg(not(unix))]
    None
}

/// Passes sockets over a connection. Each message is one byte, the number of sockets, with their
/// descriptors (`SCM_RIGHTS`). The owner begins; the peer answers with the sockets of an earlier
/// owner that it holds; then the owner sends all of its sockets whenever they change.
///
/// Bytes and descriptors of a message belong together, so this code must not read ahead.
#[cfg(unix)]
mod passing {
    use std::io::{self, IoSlice, IoSliceMut};
    use std::mem::MaybeUninit;
    use std::net::TcpListener;
    use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
    use std::sync::Arc;

    use rustix::io::{FdFlags, fcntl_setfd};
    use rustix::net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType, recvmsg, sendmsg,
        sockopt,
    };
    use tokio::io::Interest;
    use tokio::net::UnixStream;

    use super::{ListeningSockets, MAX_SOCKETS};

    /// Sent in place of a number: the owner does not listen for every open link yet.
    const NOT_YET: u8 = u8::MAX;

    const SPACE: usize = rustix::cmsg_space!(ScmRights(MAX_SOCKETS));

    /// Runs the owner's side until the peer closes the connection.
    ///
    /// # Errors
    /// If the connection fails, or the peer sends an invalid message.
    pub(crate) async fn pass(stream: &UnixStream, sockets: &ListeningSockets) -> io::Result<()> {
        let mut own = sockets.own.subscribe();
        let now = own.borrow_and_update().clone();
        send_own(stream, now.as_deref()).await?;
        match receive(stream).await? {
            Some(Some(held)) => sockets.offer(held),
            Some(None) => return Err(io::ErrorKind::InvalidData.into()),
            None => return Ok(()),
        }
        loop {
            tokio::select! {
                changed = own.changed() => {
                    changed.map_err(io::Error::other)?;
                    let now = own.borrow_and_update().clone();
                    // Withdrawn: the peer keeps its sockets for the next owner.
                    if now.is_some() {
                        send_own(stream, now.as_deref()).await?;
                    }
                }
                more = receive(stream) => return match more? {
                    Some(_) => Err(io::ErrorKind::InvalidData.into()),
                    None => Ok(()),
                },
            }
        }
    }

    /// Runs the peer's side until the owner closes the connection.
    ///
    /// # Errors
    /// If the connection fails, or the owner sends an invalid message.
    pub(crate) async fn hold(
        stream: &UnixStream,
        sockets: &ListeningSockets,
        connection: u64,
    ) -> io::Result<()> {
        let Some(first) = receive(stream).await? else { return Ok(()) };
        if let Some(first) = first {
            sockets.replace(connection, first);
            send(stream, 0, &[]).await?;
        } else {
            let held = sockets.held.borrow().sockets.clone();
            send_all(stream, &held).await?;
        }
        while let Some(more) = receive(stream).await? {
            sockets.replace(connection, more.ok_or(io::ErrorKind::InvalidData)?);
        }
        Ok(())
    }

    async fn send_own(stream: &UnixStream, own: Option<&[Arc<TcpListener>]>) -> io::Result<()> {
        match own {
            Some(own) => send_all(stream, own).await,
            None => send(stream, NOT_YET, &[]).await,
        }
    }

    async fn send_all(stream: &UnixStream, sockets: &[Arc<TcpListener>]) -> io::Result<()> {
        let descriptors: Vec<_> =
            sockets.iter().take(MAX_SOCKETS).map(|socket| socket.as_fd()).collect();
        let count = u8::try_from(descriptors.len()).map_err(io::Error::other)?;
        send(stream, count, &descriptors).await
    }

    async fn send(stream: &UnixStream, count: u8, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        stream
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); SPACE];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(sockets)) {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                let sent =
                    sendmsg(stream, &[IoSlice::new(&[count])], &mut control, SendFlags::empty())?;
                if sent == 1 { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
            })
            .await
    }

    /// Receives a message: its sockets, or [`NOT_YET`] (`Some(None)`); `None` if the other side has
    /// closed the connection.
    async fn receive(stream: &UnixStream) -> io::Result<Option<Option<Vec<TcpListener>>>> {
        stream
            .async_io(Interest::READABLE, || {
                let mut space = [MaybeUninit::uninit(); SPACE];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let mut count = [0];
                let flags = {
                    #[cfg(target_os = "linux")]
                    {
                        RecvFlags::CMSG_CLOEXEC
                    }
                    #[cfg(not(target_os = "linux"))]
                    RecvFlags::empty()
                };
                let received =
                    recvmsg(stream, &mut [IoSliceMut::new(&mut count)], &mut control, flags)?;
                let sockets = sockets_of(&mut control)?;
                let [count] = count;
                if received.bytes == 0 {
                    return Ok(None);
                }
                if count == NOT_YET && sockets.is_empty() {
                    return Ok(Some(None));
                }
                // Truncated if this process has no descriptors left.
                let is_whole = usize::from(count) == sockets.len()
                    && !received.flags.contains(ReturnFlags::CTRUNC);
                if is_whole {
                    Ok(Some(Some(sockets)))
                } else {
                    Err(io::ErrorKind::InvalidData.into())
                }
            })
            .await
    }

    fn sockets_of(control: &mut RecvAncillaryBuffer<'_>) -> io::Result<Vec<TcpListener>> {
        let mut sockets = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                for descriptor in descriptors {
                    // A program that this process starts must not hold the port.
                    fcntl_setfd(&descriptor, FdFlags::CLOEXEC)?;
                    if !is_listening(&descriptor)? {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                    sockets.push(TcpListener::from(descriptor));
                }
            }
        }
        Ok(sockets)
    }

    /// Whether this is a TCP socket that listens and whose port no other process can share.
    fn is_listening(descriptor: &OwnedFd) -> io::Result<bool> {
        let domain = sockopt::socket_domain(descriptor)?;
        Ok([AddressFamily::INET, AddressFamily::INET6].contains(&domain)
            && sockopt::socket_type(descriptor)? == SocketType::STREAM
            && sockopt::socket_acceptconn(descriptor)?
            && !sockopt::socket_reuseport(descriptor)?)
    }
}
