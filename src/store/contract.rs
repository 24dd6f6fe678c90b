//! The contract of [`Backend`] in executable form, run against every backend.

use std::sync::Arc;

use super::backend::{Backend, Key, Sealed};

fn key(path: &str) -> Key {
    Key::new(path.into())
}

fn bytes(content: &[u8]) -> Sealed {
    Sealed::from_stored(content.to_vec())
}

/// Everything that holds within one process; survival of `kill -9` is shown with real processes.
pub(super) async fn holds(backend: Arc<dyn Backend>) {
    swap_replaces_exactly_what_it_was_told(&*backend).await;
    of_racing_swaps_one_wins(&backend).await;
    scan_sees_the_prefix_and_nothing_else(&*backend).await;
    bytes_are_opaque(&*backend).await;
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

async fn bytes_are_opaque(backend: &dyn Backend) {
    for (at, content) in [("opaque/empty", vec![]), ("opaque/all", (0..=255).collect())] {
        let content = Sealed::from_stored(content);
        assert!(backend.swap(&key(at), None, Some(&content)).await.unwrap());
        assert_eq!(backend.get(&key(at)).await.unwrap(), Some(content));
    }
}
