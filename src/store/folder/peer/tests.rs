//! Tests with real sockets in real folders; this process plays the other one too.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use interprocess::local_socket::tokio::{Listener, Stream};
use interprocess::local_socket::traits::tokio::Listener as _;
use tokio::sync::watch;
use tokio_util::bytes::Bytes;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use super::error::PeerError;
use super::frame::Hello;
use super::frame::{self, Answer, Numbered, Request};
use super::serve::Serving;
use super::socket::Address;
use crate::model::{Clock, Time};
use crate::store::StoreError;
use crate::store::backend::sled::SledBackend;
use crate::store::backend::{Backend, BackendError, Key, MAX_RECORD_BYTES, Sealed};
use crate::store::folder::shared::SharedFolder;
use crate::store::folder::{Answering, AskError, DataFolder, FolderError, Lock, Role};
use crate::store::keys::ring::ring_key;

mod keeper;
mod runtime_folder;
mod sockets;

struct Place {
    folder: tempfile::TempDir,
    data: DataFolder,
}

impl Place {
    fn new() -> Self {
        Self::below("data")
    }

    fn below(path: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder {
            path: folder.path().join(path),
            runtime: folder.path().join("run"),
            purpose: "test",
            clock: Clock::system(),
        };
        Self { folder, data }
    }

    async fn open(&self) -> Result<SharedFolder, StoreError> {
        self.open_with(&Answering::default(), &watch::Sender::new(Role::Peer)).await
    }

    async fn open_with(
        &self,
        answering: &Answering,
        role: &watch::Sender<Role>,
    ) -> Result<SharedFolder, StoreError> {
        SharedFolder::open(self.data.clone(), ring_key(), answering.clone(), role.clone()).await
    }

    fn socket(&self) -> std::path::PathBuf {
        self.data.path.join("store.sock")
    }

    /// Takes the folder as an owner whose answers the test decides.
    fn own(&self) -> Actor {
        self.data.check().unwrap();
        let mut lock = self.data.try_lock().unwrap().unwrap();
        let (listener, address) =
            super::socket::listen(&self.data.path, &self.data.runtime).unwrap();
        lock.announce(address.written(&self.data.path).unwrap()).unwrap();
        let sled = open_sled(&self.data.db());
        Actor { sled, listener, _lock: lock }
    }
}

/// Opens sled. A store that was just dropped may hold its lock for a moment: its last thread ends by
/// itself.
fn open_sled(path: &Path) -> SledBackend {
    for _ in 0..2_000 {
        match SledBackend::open(path, &ring_key(), Time::from_millis(0)) {
            Ok((opened, _)) => return opened,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    panic!("sled stayed locked");
}

struct Actor {
    listener: Listener,
    sled: SledBackend,
    _lock: Lock,
}

impl Actor {
    async fn greet(&self, hello: Bytes) -> Framed<Stream, LengthDelimitedCodec> {
        let mut peer = Framed::new(self.listener.accept().await.unwrap(), frame::codec());
        peer.send(hello).await.unwrap();
        let first = peer.next().await.unwrap().unwrap();
        assert_eq!(Hello::decode(&first), Some(Hello::own("test")));
        frame::trust(peer.codec_mut());
        peer
    }
}

fn own_hello() -> Bytes {
    Hello::own("actor").encode()
}

fn key(path: &str) -> Key {
    Key::new(path.into())
}

fn bytes(content: &[u8]) -> Sealed {
    Sealed::from_stored(content.to_vec())
}

#[tokio::test]
async fn a_peer_sees_at_once_what_the_owner_remembers_no_more() {
    let place = Place::new();
    let (owner, peer) = (place.open().await.unwrap(), place.open().await.unwrap());
    let at = key("k");
    let mut old = None;
    for round in 0..20u8 {
        let new = bytes(&[round]);
        let writer = if round % 2 == 0 { &owner } else { &peer };
        assert!(writer.swap(&at, old.as_ref(), Some(&new)).await.unwrap());
        for reader in [&owner, &peer, &owner] {
            assert_eq!(reader.get(&at).await.unwrap().as_ref(), Some(&new));
        }
        assert_eq!(owner.scan(&at).await.unwrap(), peer.scan(&at).await.unwrap());
        old = Some(new);
    }
}

#[tokio::test]
async fn large_and_many_records_pass() {
    let place = Place::new();
    let (owner, peer) = (place.open().await.unwrap(), place.open().await.unwrap());
    let [large, other] = [7, 8].map(|byte| bytes(&vec![byte; MAX_RECORD_BYTES]));
    assert!(peer.swap(&key("large"), None, Some(&large)).await.unwrap());
    assert!(peer.swap(&key("large"), Some(&large), Some(&other)).await.unwrap());
    assert_eq!(peer.get(&key("large")).await.unwrap(), Some(other));
    for too_large in [MAX_RECORD_BYTES + 1, frame::MAX_FRAME_BYTES] {
        for process in [&owner, &peer] {
            let refused = process.swap(&key("more"), None, Some(&bytes(&vec![7; too_large]))).await;
            assert!(matches!(refused, Err(BackendError::TooLarge)), "{refused:?}");
        }
    }
    let small = bytes(&[1; 4_000]);
    for number in 0..200 {
        assert!(peer.swap(&key(&format!("n/{number:03}")), None, Some(&small)).await.unwrap());
    }
    assert_eq!(peer.scan(&key("n/")).await.unwrap().len(), 200);
}

#[tokio::test]
async fn the_folder_passes_on_with_nothing_under_way() {
    let place = Place::new();
    let roles = [(); 3].map(|()| watch::Sender::new(Role::Peer));
    let mut open = Vec::new();
    for role in &roles {
        open.push(place.open_with(&Answering::default(), role).await.unwrap());
    }
    assert_eq!(*roles[0].borrow(), Role::Owner);
    assert!(open[0].swap(&key("k"), None, Some(&bytes(b"v"))).await.unwrap());
    open.remove(0).close().await;
    assert_eq!(*roles[0].borrow(), Role::Peer);
    let mut waits: Vec<_> = roles[1..].iter().map(watch::Sender::subscribe).collect();
    let [one, other] = &mut waits[..] else { unreachable!() };
    let took_over = tokio::time::timeout(Duration::from_secs(5), async {
        tokio::select! {
            won = one.wait_for(|role| *role == Role::Owner) => drop(won.unwrap()),
            won = other.wait_for(|role| *role == Role::Owner) => drop(won.unwrap()),
        }
    });
    took_over.await.expect("one of them takes over by itself");
    for left in &open {
        assert_eq!(left.get(&key("k")).await.unwrap(), Some(bytes(b"v")));
    }
    let owners = roles.iter().filter(|role| *role.borrow() == Role::Owner).count();
    assert_eq!(owners, 1);
}

/// Makes a number unique to its writer, as sealed records are.
fn number(n: u32) -> Sealed {
    bytes(&[&n.to_be_bytes()[..], &crate::model::secret::random_bytes::<8>()].concat())
}

fn as_number(sealed: &Sealed) -> u32 {
    u32::from_be_bytes(sealed.as_bytes()[..4].try_into().unwrap())
}

/// Counts to `most` together with other processes, and returns how many steps this one made.
async fn count(one: &SharedFolder, counter: &Key, most: u32) -> u32 {
    let mut mine = 0;
    loop {
        let now = one.get(counter).await.unwrap().unwrap();
        if as_number(&now) >= most {
            return mine;
        }
        let next = number(as_number(&now) + 1);
        mine += u32::from(one.swap(counter, Some(&now), Some(&next)).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_while_owner_after_owner_goes() {
    const ROUNDS: u32 = 8;
    let place = Place::new();
    let counter = key("counter");
    let mut owner = place.open().await.unwrap();
    assert!(owner.swap(&counter, None, Some(&number(0))).await.unwrap());
    let mut mine = 0;
    for round in 1..=ROUNDS {
        let mut peers = Vec::new();
        for _ in 0..3 {
            peers.push(place.open().await.unwrap());
        }
        let most = round * 60;
        let counting =
            futures_util::future::join_all(peers.iter().map(|one| count(one, &counter, most)));
        let going = async {
            // Stop while the others still count.
            count(&owner, &counter, most - 30).await
        };
        let (counted, last) = tokio::join!(counting, async {
            let last = going.await;
            owner.close().await;
            last
        });
        mine += counted.iter().sum::<u32>() + last;
        owner = peers.pop().unwrap();
    }
    let stands = as_number(&owner.get(&counter).await.unwrap().unwrap());
    // No process was told of a swap that was not made. A process may not recognize its own swap if
    // the answer was lost and another process counted on: at most one per peer and round.
    assert_eq!(stands, ROUNDS * 60);
    assert!(mine <= stands && mine + 3 * ROUNDS >= stands, "{mine} of {stands}");
}

/// Contract, 5: each case in which an owner ends before it answers a swap.
#[tokio::test]
async fn a_swap_whose_answer_was_lost_is_settled_by_reading() {
    let [a, b, c] = [b"a", b"b", b"c"].map(|content| bytes(content));
    let held = |sealed: &Sealed| Some(sealed.clone());
    for (asked_old, asked_new, then, expected) in [
        (held(&a), held(&b), held(&b), true),  // done, but not answered
        (held(&a), held(&b), held(&a), true),  // not done: asked again
        (held(&a), held(&b), held(&c), false), // another process's
        (held(&a), held(&b), None, false),
        (held(&a), None, held(&a), true),
        (held(&a), None, None, false), // gone, perhaps deleted by another process
        (None, held(&b), held(&b), true),
        (None, held(&b), None, true),
    ] {
        let place = Place::new();
        let at = key("k");
        let owner = place.own();
        let owning = async {
            let mut peer = owner.greet(own_hello()).await;
            let request = peer.next().await.unwrap().unwrap();
            let request = frame::decode::<Request<'_>>(&request).unwrap();
            assert!(matches!(request.body, Request::Swap { .. }));
            if then.is_some() {
                assert!(owner.sled.swap(&at, None, then.as_ref()).await.unwrap());
            }
            drop((peer, owner));
        };
        let asking = async {
            let peer = place.open().await.unwrap();
            let done = peer.swap(&at, asked_old.as_ref(), asked_new.as_ref()).await.unwrap();
            (done, peer.get(&at).await.unwrap())
        };
        let ((), (done, found)) = tokio::join!(owning, asking);
        assert_eq!(done, expected, "{asked_old:?} {asked_new:?} {then:?}");
        let changed = expected || then == asked_new;
        assert_eq!(found, if changed { asked_new } else { then });
    }
}

/// An owner that does not know pages is asked for all records under a prefix at once.
#[tokio::test]
async fn an_owner_of_an_earlier_version_still_answers() {
    let place = Place::new();
    let owner = place.own();
    let mut hello = Hello::own("actor");
    hello.about.pages = false;
    let owning = async {
        let mut peer = owner.greet(hello.encode()).await;
        for _ in 0..2 {
            let request = peer.next().await.unwrap().unwrap();
            let Numbered { id, body } = frame::decode::<Request<'_>>(&request).unwrap();
            assert!(matches!(body, Request::Scan("k/")), "{body:?}");
            for (key, last) in [("k/1", false), ("k/2", true)] {
                let answer = Answer::Scanned { records: vec![(key, &b"v"[..])], last };
                peer.send(frame::encode(id, answer).unwrap()).await.unwrap();
            }
        }
        peer
    };
    let asking = async {
        let (peer, after) = (place.open().await.unwrap(), key("k/1"));
        let all = peer.page(&key("k/"), None).await.unwrap();
        (all, peer.page(&key("k/"), Some(&after)).await.unwrap())
    };
    let (_kept, (all, rest)) = tokio::join!(owning, asking);
    assert_eq!((all.records.len(), all.is_last), (2, true));
    assert_eq!((rest.records, rest.is_last), (vec![(key("k/2"), bytes(b"v"))], true));
}

#[tokio::test]
async fn a_peer_of_an_earlier_version_gets_everything_in_parts() {
    let place = Place::new();
    let owner = place.open().await.unwrap();
    let large = bytes(&vec![1; 50_000]);
    for number in 0..20 {
        assert!(owner.swap(&key(&format!("n/{number:02}")), None, Some(&large)).await.unwrap());
    }
    let stream = Address::read("store.sock", &place.data.path).connect().await.unwrap();
    let mut peer = Framed::new(stream, frame::codec());
    peer.send(own_hello()).await.unwrap();
    assert!(Hello::decode(&peer.next().await.unwrap().unwrap()).unwrap().about.pages);
    frame::trust(peer.codec_mut());
    peer.send(frame::encode(7, Request::Scan("n/")).unwrap()).await.unwrap();
    let (mut parts, mut found) = (0, 0);
    loop {
        let part = peer.next().await.unwrap().unwrap();
        let Some(Numbered { id: 7, body: Answer::Scanned { records, last } }) =
            frame::decode(&part)
        else {
            panic!("no part of the answer")
        };
        (parts, found) = (parts + 1, found + records.len());
        if last {
            break;
        }
    }
    assert_eq!(found, 20);
    assert!(parts > 2, "{parts}");
}

/// The old owner still executes the lost swap when the peer repeats it.
#[tokio::test]
async fn a_swap_that_overtakes_its_own_repetition_is_ours() {
    let place = Place::new();
    let (at, new) = (key("k"), bytes(b"new"));
    let owner = place.own();
    let owning = async {
        let mut first = owner.greet(own_hello()).await;
        first.next().await.unwrap().unwrap();
        drop(first);
        let mut second = owner.greet(own_hello()).await;
        for round in 0..3 {
            let request = second.next().await.unwrap().unwrap();
            let Numbered { id, body } = frame::decode::<Request<'_>>(&request).unwrap();
            let answer = match (round, body) {
                (0, Request::Get(_)) => Answer::Got(None),
                (1, Request::Swap { .. }) => Answer::Swapped(false),
                (2, Request::Get(_)) => Answer::Got(Some(b"new")),
                other => panic!("{other:?}"),
            };
            second.send(frame::encode(id, answer).unwrap()).await.unwrap();
        }
        second
    };
    let asking = async { place.open().await.unwrap().swap(&at, None, Some(&new)).await };
    let (_kept, done) = tokio::join!(owning, asking);
    assert!(done.unwrap());
}

#[tokio::test]
async fn another_protocol_is_named_on_both_sides() {
    for (protocol, culprit) in [(frame::PROTOCOL + 1, "newer"), (0, "process 4711")] {
        let place = Place::new();
        let owner = place.own();
        let mut hello = Hello::own("actor");
        hello.protocol = protocol;
        hello.about.version = "9.8.7".into();
        hello.about.pid = 4711;
        let (error, _) = tokio::join!(place.open(), owner.greet(hello.encode()));
        let error = error.map(|_| ()).unwrap_err();
        let text = error.to_string();
        let own = env!("CARGO_PKG_VERSION");
        assert!(text.contains("9.8.7") && text.contains(own) && text.contains("4711"), "{text}");
        assert!(error.hint().contains(culprit), "{}", error.hint());
    }
}

#[tokio::test]
async fn an_owner_of_a_version_that_shares_nothing_is_named() {
    let place = Place::new();
    place.data.check().unwrap();
    let _lock = place.data.try_lock().unwrap().unwrap();
    let error = place.open().await.map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Folder(FolderError::Busy { .. })), "{error}");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
}

/// The owner is killed while a peer connects: it closes the connection before its hello, or resets
/// it.
#[tokio::test]
async fn an_owner_that_goes_before_its_hello_is_followed() {
    let place = Place::new();
    let owner = place.own();
    let going = async {
        drop(owner.listener.accept().await.unwrap());
        let unread = owner.listener.accept().await.unwrap();
        {
            use tokio::io::AsyncReadExt as _;
            (&unread).read_u8().await.unwrap();
        }
        drop((unread, owner));
    };
    let (next, ()) = tokio::join!(place.open(), going);
    assert_eq!(next.unwrap().get(&key("k")).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_no_owner_is_refused() {
    let place = Place::new();
    let owner = place.own();
    let greeting = owner.greet(Bytes::from_static(b"220 mail.acme.example ESMTP"));
    let (error, _) = tokio::join!(place.open(), greeting);
    let error = error.map(|_| ()).unwrap_err();
    let StoreError::Backend(BackendError::Unreachable(unreachable)) = &error else {
        panic!("{error}")
    };
    assert!(matches!(unreachable.cause(), Some(PeerError::Foreign)), "{error}");
}

/// Invalid input ends its own connection only.
#[tokio::test]
async fn garbage_and_long_frames_harm_nobody() {
    let place = Place::new();
    let (_owner, peer) = (place.open().await.unwrap(), place.open().await.unwrap());
    let socket = place.socket();
    let framed = |content: &[u8]| {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&length, content].concat()
    };
    let hello = framed(&own_hello());
    for sent in [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        framed(b"hello"),
        framed(&[0; 1000]),
        // Longer than a hello may be, and longer than any frame may be.
        u32::MAX.to_be_bytes().to_vec(),
        [&hello[..], &u32::MAX.to_be_bytes()].concat(),
        [&hello[..], &framed(&[0xff; 100])].concat(),
        [&hello[..], &framed(b"")].concat(),
    ] {
        let socket = socket.clone();
        let hung_up = tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(socket).unwrap();
            stream.write_all(&sent).unwrap();
            let mut answered = Vec::new();
            stream.read_to_end(&mut answered).map(|_| answered)
        });
        // The owner sends its hello and closes, or resets the connection if input was left unread.
        if let Ok(answered) = hung_up.await.unwrap() {
            let hello = framed(&Hello::own("test").with_sockets().encode());
            assert!(hello.starts_with(&answered), "{answered:?}");
        }
        assert_eq!(peer.get(&key("k")).await.unwrap(), None);
    }
    // Half a frame, then silence: the connection stays open and blocks no other.
    let mut half = UnixStream::connect(&socket).unwrap();
    half.write_all(&hello[..10]).unwrap();
    assert_eq!(peer.get(&key("k")).await.unwrap(), None);
}

#[tokio::test]
async fn a_socket_that_was_left_behind_is_replaced() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    place.data.check().unwrap();
    drop(place.data.try_lock().unwrap().unwrap().announce("store.sock"));
    drop(UnixListener::bind(place.socket()).unwrap());
    let _owner = place.open().await.unwrap();
    let mode = fs::metadata(place.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(place.open().await.unwrap().get(&key("k")).await.unwrap(), None);
}

#[tokio::test]
async fn questions_reach_whoever_owns_the_folder() {
    let place = Place::new();
    let installed = |name: &'static str| {
        let answering = Answering::default();
        answering.install(Box::new(move |question| {
            Box::pin(async move { [name.as_bytes(), b" ", &question].concat() })
        }));
        answering
    };
    let role = watch::Sender::new(Role::Peer);
    let first = place.open_with(&installed("first"), &role).await.unwrap();
    let second = place.open_with(&installed("second"), &role).await.unwrap();
    for one in [&first, &second] {
        assert_eq!(one.ask(b"port").await.unwrap(), b"first port");
    }
    drop(first);
    assert_eq!(second.ask(b"port").await.unwrap(), b"second port");
    drop(second);
    let [owner, peer] = [place.open().await.unwrap(), place.open().await.unwrap()];
    for one in [&owner, &peer] {
        assert!(matches!(one.ask(b"port").await, Err(AskError::Unanswered)));
    }
}

#[tokio::test]
async fn a_record_that_everything_rests_on_is_put_back() {
    let place = Place::new();
    let (owner, peer) = (place.open().await.unwrap(), place.open().await.unwrap());
    let ring = bytes(b"wrapped");
    assert!(owner.swap(&ring_key(), None, Some(&ring)).await.unwrap());
    let known = ring.clone();
    peer.guard(Box::new(move || known.clone()));
    assert!(owner.swap(&ring_key(), Some(&ring), None).await.unwrap());
    drop(owner);
    assert_eq!(peer.get(&ring_key()).await.unwrap(), Some(ring));
}

/// An import first removes the ring, and the owner may be killed before it ends.
#[tokio::test]
async fn what_everything_rests_on_is_not_put_beside_records_of_others() {
    let place = Place::new();
    let (owner, peer) = (place.open().await.unwrap(), place.open().await.unwrap());
    peer.guard(Box::new(|| bytes(b"ours")));
    assert!(owner.swap(&key("grant/imported"), None, Some(&bytes(b"v"))).await.unwrap());
    drop(owner);
    assert_eq!(peer.get(&ring_key()).await.unwrap(), None);
}

#[tokio::test]
async fn serving_ends_with_its_guard() {
    let place = Place::new();
    place.data.check().unwrap();
    let sled = open_sled(&place.data.db());
    let start = || {
        Serving::start(
            &place.data.path,
            &place.data.runtime,
            "test",
            Arc::new(open_sled(&place.folder.path().join("db"))),
            Answering::default(),
        )
    };
    drop(sled);
    for _ in 0..3 {
        let serving = start().unwrap();
        assert_eq!(serving.address(), &Address::read("store.sock", &place.data.path));
        drop(serving);
        assert!(!place.socket().exists());
    }
}
