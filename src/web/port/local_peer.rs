//! Same-user check: finds out which user of this machine is at the other end of a loopback
//! connection.
//!
//! A port on 127.0.0.1 is open to every user of the machine, and our port acts with one person's
//! grants. Linux knows which user owns the socket at the other end, and only our own user is let
//! in.
//!
//! Even root is refused. Root could read our memory and needs no port; but a container that shares
//! the host's network has a root of its own, and services of root fetch addresses that others give
//! them. An administrator who needs access can become the user.
//!
//! If the kernel cannot be asked, or does not know, every user is let in, and the person who starts
//! the server is told ([`AllowedUsers::is_enforced`]): on other platforms; in sandboxes without
//! `NETLINK_SOCK_DIAG`; on WSL, where the person's browser is a program of another system.

use std::io;
use std::net::SocketAddr;

#[cfg(target_os = "linux")]
mod diag;

/// Users whose connections are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowedUsers {
    Any,
    /// This user's, by its id.
    Only(u32),
}

impl AllowedUsers {
    /// Only the user of this process, if the kernel tells users apart; otherwise every user.
    #[cfg(target_os = "linux")]
    pub fn of_this_user() -> Self {
        let own = rustix::process::geteuid().as_raw();
        if is_wsl() || own == overflow_user() || diag::own_connection() != Some(own) {
            return Self::Any;
        }
        Self::Only(own)
    }

    /// Every user: only on Linux does this check exist.
    #[cfg(not(target_os = "linux"))]
    pub fn of_this_user() -> Self {
        Self::Any
    }

    /// Whether the connections of other users are refused.
    pub fn is_enforced(self) -> bool {
        self != Self::Any
    }

    /// Whether this connection may stay. If its other end is gone already, its user can no longer
    /// be known, and the connection is refused.
    ///
    /// The kernel is asked by addresses. Another user could reset a connection before we ask, and
    /// the next client to get its address would answer for it. So our end must still be connected
    /// afterwards, and was therefore connected all the time. `ends` returns the addresses of the
    /// other end and of ours while the connection lasts.
    #[cfg(target_os = "linux")]
    pub(in crate::web) fn allows(
        self,
        ends: impl Fn() -> io::Result<(SocketAddr, SocketAddr)>,
    ) -> bool {
        let Self::Only(user) = self else { return true };
        let Ok((theirs, ours)) = ends() else { return false };
        diag::user_of(theirs, ours) == Some(user) && ends().is_ok()
    }

    #[cfg(not(target_os = "linux"))]
    pub(in crate::web) fn allows(
        self,
        _ends: impl Fn() -> io::Result<(SocketAddr, SocketAddr)>,
    ) -> bool {
        true
    }
}

/// User id that the kernel reports for every user that a user namespace does not map: such users
/// cannot be told apart.
#[cfg(target_os = "linux")]
fn overflow_user() -> u32 {
    let known = std::fs::read_to_string("/proc/sys/kernel/overflowuid").ok();
    known.and_then(|text| text.trim().parse().ok()).unwrap_or(65534)
}

#[cfg(target_os = "linux")]
fn is_wsl() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .is_ok_and(|release| release.to_ascii_lowercase().contains("microsoft"))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

    use super::*;

    /// Both ends, and the address of each.
    fn ends(listener: &TcpListener, to: SocketAddr) -> ([TcpStream; 2], SocketAddr, SocketAddr) {
        let client = TcpStream::connect(to).unwrap();
        let (server, theirs) = listener.accept().unwrap();
        ([client, server], theirs, listener.local_addr().unwrap())
    }

    #[test]
    fn only_our_own_user_is_let_in() {
        let own = rustix::process::geteuid().as_raw();
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = v4.local_addr().unwrap().port();
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        for to in [(Ipv4Addr::LOCALHOST, port).into(), SocketAddr::from((mapped, port))] {
            let (_ends, theirs, ours) = ends(&v4, to);
            assert_eq!(diag::user_of(theirs, ours), Some(own), "{to}");
            assert!(AllowedUsers::Only(own).allows(|| Ok((theirs, ours))));
            assert!(!AllowedUsers::Only(own + 1).allows(|| Ok((theirs, ours))));
            assert!(AllowedUsers::Any.allows(|| Ok((theirs, ours))));
        }
        if let Ok(v6) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
            let (_ends, theirs, ours) = ends(&v6, v6.local_addr().unwrap());
            assert_eq!(diag::user_of(theirs, ours), Some(own));
        }
        assert_eq!(AllowedUsers::of_this_user(), AllowedUsers::Only(own));
    }

    /// The kernel reports user 0 for a closed socket: a client that writes a request and hangs up
    /// would pass for root.
    #[test]
    fn a_closed_end_belongs_to_no_user() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let ([client, server], theirs, ours) = ends(&listener, listener.local_addr().unwrap());
        drop(client);
        assert_eq!(diag::user_of(theirs, ours), None);
        assert!(!AllowedUsers::Only(0).allows(|| Ok((theirs, ours))));
        drop(server);
        assert_eq!(diag::user_of(theirs, ours), None);
    }

    /// Another user writes a request and resets the connection; then the person's own program
    /// happens to get the same address.
    #[test]
    fn the_next_client_at_an_address_does_not_answer_for_a_dead_connection() {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = listener.local_addr().unwrap();
        let from_the_same = |port: u16| {
            let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
            sockopt::set_socket_reuseaddr(&socket, true).unwrap();
            bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
            connect(&socket, &to).unwrap();
            TcpStream::from(socket)
        };
        let other = from_the_same(0);
        let port = other.local_addr().unwrap().port();
        sockopt::set_socket_linger(&other, Some(std::time::Duration::ZERO)).unwrap();
        drop(other);
        let own = from_the_same(port);
        let (dead, theirs) = listener.accept().unwrap();
        let (live, same) = listener.accept().unwrap();
        assert_eq!((theirs, same), (own.local_addr().unwrap(), theirs));
        let user = AllowedUsers::of_this_user();
        assert!(!user.allows(|| Ok((dead.peer_addr()?, dead.local_addr()?))));
        // Not even if it was reset only after we had begun to ask.
        let asked = std::cell::Cell::new(false);
        assert!(!user.allows(|| {
            let theirs = if asked.replace(true) { dead.peer_addr()? } else { theirs };
            Ok((theirs, to))
        }));
        assert!(user.allows(|| Ok((live.peer_addr()?, live.local_addr()?))));
    }

    #[test]
    fn a_client_that_has_finished_sending_is_still_known() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let ([client, _server], theirs, ours) = ends(&listener, listener.local_addr().unwrap());
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(diag::user_of(theirs, ours), Some(rustix::process::geteuid().as_raw()));
    }
}
