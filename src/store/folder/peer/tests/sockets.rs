//! Tests of which process holds which listening socket. `tests/it/keeper.rs` tests what browsers
//! see.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::store::folder::listening_sockets::{ListeningSockets, hold, pass};

/// An owner and its peer, connected.
struct Pair {
    owner: ListeningSockets,
    peer: ListeningSockets,
    passing: JoinHandle<std::io::Result<()>>,
    holding: JoinHandle<std::io::Result<()>>,
}

impl Pair {
    fn connect(owner: ListeningSockets, peer: ListeningSockets) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (from, to, connection) = (owner.clone(), peer.clone(), peer.begin());
        let passing = tokio::spawn(async move { pass(&ours, &from).await });
        let holding = tokio::spawn(async move { hold(&theirs, &to, connection).await });
        Self { owner, peer, passing, holding }
    }

    /// Waits until both sides have ended, the owner's first.
    async fn end(self) -> (ListeningSockets, ListeningSockets) {
        self.passing.abort();
        let ended = timeout(Duration::from_secs(5), self.holding).await;
        let _ = ended.expect("a peer notices the end of its owner").unwrap();
        (self.owner, self.peer)
    }
}

fn socket() -> (Arc<TcpListener>, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (Arc::new(socket), address)
}

async fn arrived(sockets: &ListeningSockets) {
    timeout(Duration::from_secs(5), sockets.arrived()).await.expect("sockets arrive");
}

#[tokio::test]
async fn a_connection_made_between_two_owners_waits_for_the_next_one() {
    let (own, address) = socket();
    let owner = ListeningSockets::default();
    owner.publish(vec![own]);
    let pair = Pair::connect(owner, ListeningSockets::default());
    arrived(&pair.peer).await;
    // The owner releases its sockets, and its peer keeps them.
    pair.owner.withdraw(Vec::new());
    let (_, peer) = pair.end().await;
    let browser = TcpStream::connect(address).expect("the system completes it");
    let taken = peer.take(address).expect("the peer holds it");
    let (accepted, from) = taken.accept().unwrap();
    assert_eq!(from, browser.local_addr().unwrap());
    assert!(peer.take(address).is_none(), "it is taken once");
    drop((accepted, taken));
    assert!(TcpStream::connect(address).is_err(), "nothing else holds it");
}

#[tokio::test]
async fn an_owner_gets_from_its_peers_what_it_does_not_hold() {
    let (held, address) = socket();
    let before = ListeningSockets::default();
    before.publish(vec![held]);
    let pair = Pair::connect(before, ListeningSockets::default());
    arrived(&pair.peer).await;
    pair.owner.withdraw(Vec::new());
    let (_, peer) = pair.end().await;

    let pair = Pair::connect(ListeningSockets::default(), peer);
    let begin = tokio::time::Instant::now();
    let taken = loop {
        if let Some(taken) = pair.owner.take(address) {
            break taken;
        }
        assert!(begin.elapsed() < Duration::from_secs(5), "the peer offers it");
        tokio::task::yield_now().await;
    };
    // Once the owner listens for every link, the peer holds the owner's sockets and no others.
    pair.owner.publish(vec![]);
    arrived(&pair.peer).await;
    drop(taken);
    assert!(TcpStream::connect(address).is_err(), "the peer has closed it");
    pair.end().await;
}

/// Closes sockets that arrive after the peer has become the owner: it would never accept from them.
#[tokio::test]
async fn what_comes_late_is_closed() {
    let (own, address) = socket();
    let owner = ListeningSockets::default();
    let pair = Pair::connect(owner, ListeningSockets::default());
    // The peer has become the owner before they arrive.
    pair.peer.begin();
    pair.owner.publish(vec![Arc::clone(&own)]);
    // The owner's intermediate steps cannot be seen; its end can.
    let (owner, peer) = {
        let begin = tokio::time::Instant::now();
        while Arc::strong_count(&own) < 2 {
            assert!(begin.elapsed() < Duration::from_secs(5));
            tokio::task::yield_now().await;
        }
        pair.end().await
    };
    assert!(peer.take(address).is_none());
    drop((owner, own));
    assert!(TcpStream::connect(address).is_err(), "nothing holds it");
}

/// A descriptor of another kind would be taken for a listening port.
#[tokio::test]
async fn only_listening_tcp_sockets_are_taken() {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let tcp = || socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let silent = tcp();
    bind(&silent, &any).unwrap();
    let shared = tcp();
    sockopt::set_socket_reuseport(&shared, true).unwrap();
    bind(&shared, &any).unwrap();
    listen(&shared, 1).unwrap();
    let datagram = std::net::UdpSocket::bind(any).unwrap().into();
    for planted in [silent, shared, datagram] {
        let owner = ListeningSockets::default();
        let peer = ListeningSockets::default();
        let planted = Arc::new(TcpListener::from(planted));
        let address = planted.local_addr().unwrap();
        peer.withdraw(vec![planted]);
        let pair = Pair::connect(owner, peer);
        let ended = timeout(Duration::from_secs(5), pair.passing).await.expect("it ends").unwrap();
        assert!(ended.is_err());
        assert!(pair.owner.take(address).is_none());
    }
}

#[tokio::test]
async fn what_is_held_is_closed_when_an_owner_passes_none() {
    let (held, address) = socket();
    let sockets = ListeningSockets::default();
    sockets.withdraw(vec![held]);
    let earlier = sockets.begin();
    let now = sockets.begin();
    sockets.close_of(earlier);
    assert!(TcpStream::connect(address).is_ok(), "of an earlier connection");
    sockets.close_of(now);
    assert!(TcpStream::connect(address).is_err());
    arrived(&sockets).await;
}

#[tokio::test]
async fn what_is_no_message_ends_the_connection() {
    for noise in [&b"\x05"[..], b"\xff\xff", b"GET / HTTP/1.1\r\n\r\n"] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let sockets = ListeningSockets::default();
        let passing = tokio::spawn({
            let sockets = sockets.clone();
            async move { pass(&ours, &sockets).await }
        });
        theirs.writable().await.unwrap();
        assert_eq!(theirs.try_write(noise).unwrap(), noise.len());
        let ended = timeout(Duration::from_secs(5), passing).await.expect("it ends").unwrap();
        assert!(ended.is_err(), "{noise:?}");
    }
}
