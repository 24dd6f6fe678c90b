//! One question to the kernel: whose socket is this? (`sock_diag(7)`, `NETLINK_SOCK_DIAG`)
//!
//! Asked for a single socket, it is answered at once and without a look at all the others, which
//! reading `/proc/net/tcp` would take: some thousand of them on a busy machine.

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
/// `nlmsghdr`
const HEADER: usize = 16;
/// `nlmsghdr` and `inet_diag_req_v2`
const QUESTION: usize = HEADER + 56;
/// In an answer: `idiag_state`, `idiag_uid` and `idiag_inode` of its `inet_diag_msg`.
const STATE: usize = HEADER + 1;
const USER: usize = HEADER + 64;
const INODE: usize = HEADER + 68;

/// The user of the socket at `theirs`, which is connected to `ours`; `None` if there is no such
/// socket any more, or the kernel does not say.
pub(super) fn user_of(theirs: SocketAddr, ours: SocketAddr) -> Option<u32> {
    let answer = ask(&question(theirs, ours)?).ok()?;
    user_in(&answer)
}

/// The user of a connection that we make ourselves: whether the kernel answers truly.
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
    // The answer lies there when the question has been sent.
    let mut answer = vec![0; 1024];
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    answer.truncate(length);
    Ok(answer)
}

/// Numbers are in the machine's order, ports and addresses in the network's.
fn question(theirs: SocketAddr, ours: SocketAddr) -> Option<Vec<u8>> {
    let family = match (theirs, ours) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) => AddressFamily::INET,
        (SocketAddr::V6(_), SocketAddr::V6(_)) => AddressFamily::INET6,
        _ => return None,
    };
    let mut question = Vec::with_capacity(QUESTION);
    question.extend_from_slice(&u32::try_from(QUESTION).ok()?.to_ne_bytes());
    for number in [BY_FAMILY, REQUEST] {
        question.extend_from_slice(&number.to_ne_bytes());
    }
    // Sequence number and port of the question: nobody else answers on this socket.
    question.extend_from_slice(&[0; 8]);
    question.extend_from_slice(&[u8::try_from(family.as_raw()).ok()?, TCP, 0, 0]);
    // In whatever state.
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
    // On any interface, and whatever its cookie is (`INET_DIAG_NOCOOKIE`).
    question.extend_from_slice(&0_u32.to_ne_bytes());
    question.extend_from_slice(&[0xff; 8]);
    Some(question)
}

/// States of a socket that is connected: `TCP_ESTABLISHED`, `TCP_FIN_WAIT1`, `TCP_FIN_WAIT2`. One that
/// only wants to be, to an address where we still hold the end of another, is somebody else.
const CONNECTED: [u8; 3] = [1, 4, 5];

/// Also an error is an answer, of another type.
fn user_in(answer: &[u8]) -> Option<u32> {
    let number = |at: usize| answer.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let kind: [u8; 2] = answer.get(4..6)?.try_into().ok()?;
    // A socket that its process has closed belongs to nobody any more; then the user is 0.
    let is_held = number(INODE)? != 0;
    let is_connected = CONNECTED.contains(answer.get(STATE)?);
    let is_theirs = u16::from_ne_bytes(kind) == BY_FAMILY && is_held && is_connected;
    is_theirs.then(|| number(USER)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a kernel: 127.0.0.1:4660 to 127.0.0.1:80, of user 1000.
    fn answer(user: u32, inode: u32) -> Vec<u8> {
        let mut answer = vec![0; INODE + 4];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        answer[STATE] = 1;
        answer[USER..USER + 4].copy_from_slice(&user.to_ne_bytes());
        answer[INODE..INODE + 4].copy_from_slice(&inode.to_ne_bytes());
        answer
    }

    #[test]
    fn an_answer_is_read_with_care() {
        assert_eq!(user_in(&answer(1000, 7)), Some(1000));
        assert_eq!(user_in(&answer(0, 7)), Some(0));
        assert_eq!(user_in(&answer(0, 0)), None, "nobody holds it");
        let mut trying = answer(1000, 7);
        trying[STATE] = 2;
        assert_eq!(user_in(&trying), None, "`TCP_SYN_SENT`");
        let mut error = answer(0, 7);
        error[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        assert_eq!(user_in(&error), None, "an error");
        for length in 0..INODE + 4 {
            assert_eq!(user_in(&answer(1000, 7)[..length]), None, "{length}");
        }
    }

    #[test]
    fn a_question_is_as_long_as_it_says() {
        let ask =
            |theirs: &str, ours: &str| question(theirs.parse().unwrap(), ours.parse().unwrap());
        let v4 = ask("127.0.0.1:4660", "127.0.0.1:80").unwrap();
        assert_eq!(v4.len(), QUESTION);
        assert_eq!(v4[..4], u32::try_from(QUESTION).unwrap().to_ne_bytes());
        assert_eq!(v4[24..28], [0x12, 0x34, 0, 80]);
        assert_eq!(v4[28..32], [127, 0, 0, 1]);
        assert_eq!(ask("[::1]:1", "[::1]:80").unwrap().len(), QUESTION);
        assert!(ask("127.0.0.1:1", "[::1]:80").is_none());
    }
}
