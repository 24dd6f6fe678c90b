//! Asks the kernel one question: which user owns this socket? (`sock_diag(7)`, `NETLINK_SOCK_DIAG`)
//!
//! The kernel answers a question about a single socket at once, without a look at all the others.
//! Reading `/proc/net/tcp` would list them all: some thousand on a busy machine.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

/// `SOCK_DIAG_BY_FAMILY`, also the type of an answer that holds a socket.
const BY_FAMILY: u16 = 20;
const REQUEST: u16 = 1;
const TCP: u8 = 6;
/// Length in bytes of `nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// Length in bytes of `nlmsghdr` and `inet_diag_req_v2`.
const REQUEST_BYTES: usize = HEADER_BYTES + 56;
/// Offsets of `idiag_state`, `idiag_uid` and `idiag_inode` of the `inet_diag_msg` in an answer.
const STATE_OFFSET: usize = HEADER_BYTES + 1;
const USER_OFFSET: usize = HEADER_BYTES + 64;
const INODE_OFFSET: usize = HEADER_BYTES + 68;

/// Returns the user of the socket at `theirs`, which is connected to `ours`; `None` if there is no
/// such socket any more, or the kernel does not say.
pub(super) fn user_of(theirs: SocketAddr, ours: SocketAddr) -> Option<u32> {
    let answer = ask(&question(theirs, ours)?).ok()?;
    user_in(&answer)
}

/// Returns the user of a connection that this process makes itself, to test whether the kernel
/// answers truly.
pub(super) fn own_connection() -> Option<u32> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    let ours = listener.local_addr().ok()?;
    let client = TcpStream::connect(ours).ok()?;
    user_of(client.local_addr().ok()?, ours)
}

fn ask(question: &[u8]) -> io::Result<Vec<u8>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(SOCK_DIAG))?;
    sendto(&socket, question, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    // The answer is ready as soon as the question has been sent.
    let mut answer = vec![0; 1024];
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    answer.truncate(length);
    Ok(answer)
}

/// Encodes the question: numbers in the machine's byte order, ports and addresses in the network's.
fn question(theirs: SocketAddr, ours: SocketAddr) -> Option<Vec<u8>> {
    let family = match (theirs, ours) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) => AddressFamily::INET,
        (SocketAddr::V6(_), SocketAddr::V6(_)) => AddressFamily::INET6,
        _ => return None,
    };
    let mut question = Vec::with_capacity(REQUEST_BYTES);
    question.extend_from_slice(&u32::try_from(REQUEST_BYTES).ok()?.to_ne_bytes());
    for number in [BY_FAMILY, REQUEST] {
        question.extend_from_slice(&number.to_ne_bytes());
    }
    // Sequence number and port of the question, both 0: only the kernel answers on this socket.
    question.extend_from_slice(&[0; 8]);
    question.extend_from_slice(&[u8::try_from(family.as_raw()).ok()?, TCP, 0, 0]);
    // In any state.
    question.extend_from_slice(&u32::MAX.to_ne_bytes());
    question.extend_from_slice(&theirs.port().to_be_bytes());
    question.extend_from_slice(&ours.port().to_be_bytes());
    for address in [theirs.ip(), ours.ip()] {
        let mut octets = [0; 16];
        match address {
            IpAddr::V4(address) => {
                octets.iter_mut().zip(address.octets()).for_each(|(to, from)| *to = from);
            }
            IpAddr::V6(address) => octets = address.octets(),
        }
        question.extend_from_slice(&octets);
    }
    // On any interface, with any cookie (`INET_DIAG_NOCOOKIE`).
    question.extend_from_slice(&0_u32.to_ne_bytes());
    question.extend_from_slice(&[0xff; 8]);
    Some(question)
}

/// States of a connected socket: `TCP_ESTABLISHED`, `TCP_FIN_WAIT1`, `TCP_FIN_WAIT2`. A socket that
/// is still connecting, to an address where we still hold the end of another connection, belongs to
/// another client.
const CONNECTED: [u8; 3] = [1, 4, 5];

/// Returns the user in an answer. An error is an answer too, of another type.
fn user_in(answer: &[u8]) -> Option<u32> {
    let number = |at: usize| answer.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let kind: [u8; 2] = answer.get(4..6)?.try_into().ok()?;
    // A socket that its process has closed belongs to no user any more; the kernel then reports
    // user 0.
    let is_held = number(INODE_OFFSET)? != 0;
    let is_connected = CONNECTED.contains(answer.get(STATE_OFFSET)?);
    let is_theirs = u16::from_ne_bytes(kind) == BY_FAMILY && is_held && is_connected;
    is_theirs.then(|| number(USER_OFFSET)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel's answer about an established connection.
    fn answer(user: u32, inode: u32) -> Vec<u8> {
        let mut answer = vec![0; INODE_OFFSET + 4];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        answer[STATE_OFFSET] = 1;
        answer[USER_OFFSET..USER_OFFSET + 4].copy_from_slice(&user.to_ne_bytes());
        answer[INODE_OFFSET..INODE_OFFSET + 4].copy_from_slice(&inode.to_ne_bytes());
        answer
    }

    #[test]
    fn an_answer_is_read_with_care() {
        assert_eq!(user_in(&answer(1000, 7)), Some(1000));
        assert_eq!(user_in(&answer(0, 7)), Some(0));
        assert_eq!(user_in(&answer(0, 0)), None, "nobody holds it");
        let mut trying = answer(1000, 7);
        trying[STATE_OFFSET] = 2;
        assert_eq!(user_in(&trying), None, "`TCP_SYN_SENT`");
        let mut error = answer(0, 7);
        error[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        assert_eq!(user_in(&error), None, "an error");
        for length in 0..INODE_OFFSET + 4 {
            assert_eq!(user_in(&answer(1000, 7)[..length]), None, "{length}");
        }
    }

    #[test]
    fn a_question_is_as_long_as_it_says() {
        let ask =
            |theirs: &str, ours: &str| question(theirs.parse().unwrap(), ours.parse().unwrap());
        let v4 = ask("127.0.0.1:4660", "127.0.0.1:80").unwrap();
        assert_eq!(v4.len(), REQUEST_BYTES);
        assert_eq!(v4[..4], u32::try_from(REQUEST_BYTES).unwrap().to_ne_bytes());
        assert_eq!(v4[24..28], [0x12, 0x34, 0, 80]);
        assert_eq!(v4[28..32], [127, 0, 0, 1]);
        assert_eq!(ask("[::1]:1", "[::1]:80").unwrap().len(), REQUEST_BYTES);
        assert!(ask("127.0.0.1:1", "[::1]:80").is_none());
    }
}
