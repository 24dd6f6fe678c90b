//! The contract of [`Backend`] in executable form, run against every backend.

use std::any::Any;
use std::sync::Arc;

use tokio::sync::watch;

use super::memory::MemoryBackend;
use super::sled::SledBackend;
use super::walk::Walk;
use super::{Backend, Key, MAX_PAGE_BYTES, Sealed};
use crate::store::folder::{Answering, FolderHome, Role};
use crate::store::keys::ring::ring_key;
use crate::store::tests::{NOW, Place};

/// An empty backend, and what must stay open while it is used.
type Opened = (Arc<dyn Backend>, Box<dyn Any>);

/// A test for each backend. A new backend is one more line here.
macro_rules! kept_by {
    ($($name:ident => $open:expr;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let (backend, _open): Opened = $open;
                holds(backend).await;
            }
        )*
    };
}

kept_by! {
    sled_keeps_the_contract => sled();
    memory_keeps_the_contract => memory();
    an_owner_keeps_the_contract => owner().await;
    a_peer_over_its_socket_keeps_the_contract => peer().await;
}

fn sled() -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let (backend, notice) = SledBackend::open(folder.path(), &ring_key(), NOW).unwrap();
    assert!(notice.is_none());
    (Arc::new(backend), Box::new(folder))
}

fn memory() -> Opened {
    (Arc::new(MemoryBackend::default()), Box::new(()))
}

async fn owner() -> Opened {
    let place = Place::new();
    let owner = open(&place).await;
    (owner.backend(), Box::new((owner, place)))
}

async fn peer() -> Opened {
    let place = Place::new();
    let (owner, peer) = (open(&place).await, open(&place).await);
    (peer.backend(), Box::new((owner, peer, place)))
}

async fn open(place: &Place) -> FolderHome {
    let role = watch::Sender::new(Role::Peer);
    FolderHome::open(place.folder(), ring_key(), Answering::default(), role).await.unwrap()
}

fn key(path: &str) -> Key {
    Key::new(path.into())
}

fn bytes(content: &[u8]) -> Sealed {
    Sealed::from_stored(content.to_vec())
}

/// Checks what can be tested within one process; tests with real processes check that swaps survive
/// `kill -9`.
async fn holds(backend: Arc<dyn Backend>) {
    swap_replaces_exactly_what_it_was_told(&*backend).await;
    of_racing_swaps_one_wins(&backend).await;
    scan_sees_the_prefix_and_nothing_else(&*backend).await;
    bytes_are_opaque(&*backend).await;
    pages_are_bounded_and_meet_each_record_once(&*backend).await;
    a_read_never_misses_a_swap_that_returned(&backend).await;
}

async fn swap_replaces_exactly_what_it_was_told(backend: &dyn Backend) {
    let (at, a, b) = (key("swap/1"), bytes(b"a"), bytes(b"b"));
    assert_eq!(backend.get(&at).await.unwrap(), None);
    assert!(!backend.swap(&at, Some(&a), Some(&b)).await.unwrap(), "nothing is not a");
    assert!(backend.swap(&at, None, Some(&a)).await.unwrap());
    assert!(!backend.swap(&at, None, Some(&b)).await.unwrap(), "a is not nothing");
    assert!(backend.swap(&at, Some(&a), Some(&b)).await.unwrap());
    assert_eq!(backend.get(&at).await.unwrap(), Some(b.clone()));
    assert!(backend.swap(&at, Some(&b), None).await.unwrap());
    assert!(!backend.swap(&at, Some(&b), None).await.unwrap(), "gone only once");
    assert_eq!(backend.get(&at).await.unwrap(), None);
}

async fn of_racing_swaps_one_wins(backend: &Arc<dyn Backend>) {
    let (at, old) = (key("race"), bytes(b"old"));
    assert!(backend.swap(&at, None, Some(&old)).await.unwrap());
    let racers = (0..64u8).map(|racer| {
        let (backend, at, old) = (Arc::clone(backend), at.clone(), old.clone());
        tokio::spawn(async move { backend.swap(&at, Some(&old), Some(&bytes(&[racer]))).await })
    });
    let mut winners = 0;
    for racer in racers.collect::<Vec<_>>() {
        winners += usize::from(racer.await.unwrap().unwrap());
    }
    assert_eq!(winners, 1);
}

async fn scan_sees_the_prefix_and_nothing_else(backend: &dyn Backend) {
    for path in ["scan/b", "scan/a", "scanner", "sca"] {
        assert!(backend.swap(&key(path), None, Some(&bytes(path.as_bytes()))).await.unwrap());
    }
    let found = backend.scan(&key("scan/")).await.unwrap();
    let expected = ["scan/a", "scan/b"].map(|path| (key(path), bytes(path.as_bytes())));
    assert_eq!(found, expected);
}

async fn pages_are_bounded_and_meet_each_record_once(backend: &dyn Backend) {
    let large = bytes(&vec![7; 60_000]);
    let paths: Vec<_> = (10..30).map(|number| key(&format!("page/{number}"))).collect();
    for path in &paths {
        assert!(backend.swap(path, None, Some(&large)).await.unwrap());
    }
    let prefix = key("page/");
    let (mut walk, mut met) = (Walk::under(backend, prefix.as_str()), Vec::new());
    while let Some(page) = walk.next().await.unwrap() {
        let size: usize = page.iter().map(|(_, sealed)| sealed.as_bytes().len()).sum();
        assert!(size <= MAX_PAGE_BYTES, "{size}");
        met.extend(page.into_iter().map(|(key, _)| key));
        // Delete a record that the walk has passed, and write one behind it, which it does not
        // return.
        let last = met.last().unwrap();
        assert!(backend.swap(last, Some(&large), None).await.unwrap());
        backend.swap(&key("page/0"), None, Some(&large)).await.unwrap();
    }
    assert_eq!(met, paths);
    let after = async |after: &str| {
        let page = backend.page(&prefix, Some(&key(after))).await.unwrap();
        page.records.first().map(|(key, _)| key.as_str().to_owned())
    };
    assert_eq!(after("page/0").await.as_deref(), Some("page/10"));
    assert_eq!(after("page/100").await.as_deref(), Some("page/11"), "where none stands");
    assert_eq!(after("a").await.as_deref(), Some("page/0"), "before all of them");
    assert_eq!((after("page/9").await, after("z").await), (None, None));
}

async fn bytes_are_opaque(backend: &dyn Backend) {
    for (at, content) in [("opaque/empty", vec![]), ("opaque/all", (0..=255).collect())] {
        let content = Sealed::from_stored(content);
        assert!(backend.swap(&key(at), None, Some(&content)).await.unwrap());
        assert_eq!(backend.get(&key(at)).await.unwrap(), Some(content));
    }
}

/// Linearizability: a backend must not return a cached record after a swap has replaced it.
async fn a_read_never_misses_a_swap_that_returned(backend: &Arc<dyn Backend>) {
    const ROUNDS: u32 = 200;
    let at = key("linear");
    let number = |n: u32| bytes(&n.to_be_bytes());
    assert!(backend.swap(&at, None, Some(&number(0))).await.unwrap());
    let done = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let readers = (0..4).map(|_| {
        let (backend, at, done) = (Arc::clone(backend), at.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            while done.load(std::sync::atomic::Ordering::SeqCst) < ROUNDS {
                let before = done.load(std::sync::atomic::Ordering::SeqCst);
                let found = backend.get(&at).await.unwrap().unwrap();
                let found = u32::from_be_bytes(found.as_bytes().try_into().unwrap());
                assert!(found >= before, "read {found} after {before} had returned");
                tokio::task::yield_now().await;
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    for round in 1..=ROUNDS {
        let (old, new) = (number(round - 1), number(round));
        assert!(backend.swap(&at, Some(&old), Some(&new)).await.unwrap());
        done.store(round, std::sync::atomic::Ordering::SeqCst);
    }
    for reader in readers {
        reader.await.unwrap();
    }
}
