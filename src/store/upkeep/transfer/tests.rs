use std::sync::Arc;

use parking_lot::Mutex;

use super::*;
use crate::store::Memory;
use crate::store::backend::intercepted::Intercepted;
use crate::store::backend::memory::MemoryBackend;
use crate::store::tests::{Place, access_of, archive, caller, exported, given, grant};

async fn filled() -> (Place, Vec<u8>) {
    let place = Place::new();
    let store = place.open().await.unwrap();
    for user in ["ana", "bob"] {
        store.put(&caller(user), &grant(user), None).await.unwrap();
    }
    let text = exported(&store).await;
    (place, text)
}

async fn import(place: &Place, text: &[u8]) -> Result<Imported> {
    Store::import(place.folder(), given(1), &mut archive(text)).await
}

#[tokio::test]
async fn a_store_moves_and_opens_with_the_same_master_key() {
    let (_from, text) = filled().await;
    let to = Place::new();
    let imported = import(&to, &text).await.unwrap();
    assert_eq!(imported.added, 2);
    assert!(imported.locked.is_none());
    let store = to.open().await.unwrap();
    assert_eq!(access_of(&store, "bob").await.as_deref(), Some("bob"));
    assert!(store.verify().await.unwrap().is_good());
    assert_eq!(exported(&store).await, text);
    drop(store);
    assert_eq!(import(&to, &text).await.unwrap().added, 0, "twice is once");
}

#[tokio::test]
async fn a_store_that_only_started_takes_an_import_and_one_with_records_does_not() {
    let (from, text) = filled().await;
    let to = Place::new();
    drop(to.open().await.unwrap());
    assert_eq!(import(&to, &text).await.unwrap().added, 2);

    let other = Place::new();
    let store = other.open().await.unwrap();
    store.put(&caller("ana"), &grant("another ana"), None).await.unwrap();
    drop(store);
    assert!(matches!(import(&other, &text).await, Err(ImportError::NotEmpty)));
    let store = other.open().await.unwrap();
    assert_eq!(access_of(&store, "ana").await.as_deref(), Some("another ana"));
    assert_eq!(access_of(&store, "bob").await, None);

    let store = from.open().await.unwrap();
    store.put(&caller("carl"), &grant("later"), None).await.unwrap();
    drop(store);
    assert!(matches!(import(&from, &text).await, Err(ImportError::NotEmpty)));
    let store = from.open().await.unwrap();
    assert_eq!(access_of(&store, "carl").await.as_deref(), Some("later"));
}

#[tokio::test]
async fn an_import_says_that_the_key_is_another() {
    let (_from, text) = filled().await;
    let to = Place::new();
    let imported = Store::import(to.folder(), given(2), &mut archive(&text)).await.unwrap();
    assert!(matches!(imported.locked, Some(StoreError::WrongKey { .. })));
    assert!(to.open().await.is_ok());
}

/// Returns a backend whose disk fills up, or whose process is killed, after some swaps. Killed, it
/// fails for ever, so that the undo fails too.
fn failing(after: usize, inner: &Memory, for_ever: bool) -> Intercepted {
    let left = Mutex::new(after);
    Intercepted::over(Arc::<MemoryBackend>::clone(&inner.backend)).swap(move || {
        let mut left = left.lock();
        if *left == 0 {
            if !for_ever {
                *left = usize::MAX;
            }
            return Some(Err(BackendError::Full));
        }
        *left -= 1;
        None
    })
}

#[tokio::test]
async fn an_import_that_fails_is_taken_back_wherever_it_fails() {
    let (_from, text) = filled().await;
    // Four swaps: remove the old ring, add two records, write the new ring.
    for swaps in 0..4 {
        let to = Memory::default();
        to.process(given(1)).await.unwrap();
        let before = to.backend.scan(&Key::new(String::new())).await.unwrap();
        let failing = failing(swaps, &to, false);
        let mut steps = Steps::new(&failing);
        assert!(put(&mut steps, &mut archive(&text)).await.is_err(), "{swaps}");
        steps.undo(&mut archive(&text)).await;
        assert_eq!(to.backend.scan(&Key::new(String::new())).await.unwrap(), before, "{swaps}");
    }
}

#[tokio::test]
async fn an_import_is_undone_whatever_becomes_of_its_file() {
    let (_from, text) = filled().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("archive");
    fs::write(&file, &text).unwrap();
    let to = Memory::default();
    to.process(given(1)).await.unwrap();
    let before = to.backend.scan(&Key::new(String::new())).await.unwrap();
    let mut archive = Archive::open(&file).unwrap();
    // The old ring is removed and one record is added.
    let failing = failing(2, &to, false);
    let mut steps = Steps::new(&failing);
    assert!(put(&mut steps, &mut archive).await.is_err());
    fs::write(&file, b"{}").unwrap();
    steps.undo(&mut archive).await;
    assert_eq!(to.backend.scan(&Key::new(String::new())).await.unwrap(), before);
}

#[tokio::test]
async fn an_import_that_was_killed_opens_not_at_all_until_it_is_completed() {
    let (_from, text) = filled().await;
    for swaps in 0..3 {
        let to = Memory::default();
        let failing = failing(swaps, &to, true);
        let mut steps = Steps::new(&failing);
        assert!(put(&mut steps, &mut archive(&text)).await.is_err());
        if swaps > 0 {
            let opened = to.process(given(1)).await.map(|_| ());
            assert!(matches!(opened, Err(StoreError::NoRing)), "{swaps}");
        }
        let mut steps = Steps::new(&*to.backend);
        assert_eq!(put(&mut steps, &mut archive(&text)).await.unwrap(), 2 - swaps);
        assert!(to.process(given(1)).await.is_ok());
    }
}

/// Archive of an earlier version: the ring among the records, with two data keys in it.
const EARLIER: &[u8] = include_bytes!("archive-v1.jsonl");

#[tokio::test]
async fn an_archive_of_an_earlier_version_is_imported() {
    let to = Place::new();
    let imported = import(&to, EARLIER).await.unwrap();
    assert_eq!((imported.added, imported.locked.is_none()), (4, true));
    let store = to.open().await.unwrap();
    assert_eq!(access_of(&store, "ana").await.as_deref(), Some("ana"));
    assert_eq!(access_of(&store, "bob").await.as_deref(), Some("bob"));
    let verified = store.verify().await.unwrap();
    assert_eq!((verified.is_good(), verified.orphans), (true, 0));
    // The export has the same lines, with the ring last.
    let lines = |text: &[u8]| {
        let text = String::from_utf8(text.to_vec()).unwrap();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.pop();
        lines
    };
    let (mut earlier, now) = (lines(EARLIER), lines(&exported(&store).await));
    let ring = earlier.iter().position(|line| line.contains(r#""key":"ring""#)).unwrap();
    let ring = earlier.remove(ring);
    earlier.push(ring);
    assert_eq!(now, earlier);
}
