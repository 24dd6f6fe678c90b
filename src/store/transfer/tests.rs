use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::super::BackendError;
use super::super::tests::{NOW, Place, Several, access_of, caller, given, grant};
use super::*;

async fn filled() -> (Place, Archive) {
    let place = Place::new();
    let store = place.open().await.unwrap();
    for user in ["ana", "bob"] {
        store.keep(&caller(user), &grant(user), None).await.unwrap();
    }
    let archive = store.export(NOW).await.unwrap();
    (place, archive)
}

async fn import(place: &Place, archive: &Archive) -> Result<Imported> {
    Store::import(place.folder(), given(1), archive).await
}

#[tokio::test]
async fn a_store_moves_and_opens_with_the_same_master_key() {
    let (_from, archive) = filled().await;
    let to = Place::new();
    let imported = import(&to, &archive).await.unwrap();
    assert_eq!(imported.added, 2);
    assert!(imported.locked.is_none());
    let store = to.open().await.unwrap();
    assert_eq!(access_of(&store, "bob").await.as_deref(), Some("bob"));
    assert!(store.verify().await.unwrap().is_good());
    assert_eq!(store.export(NOW).await.unwrap(), archive);
    drop(store);
    assert_eq!(import(&to, &archive).await.unwrap().added, 0, "twice is once");
}

#[tokio::test]
async fn a_store_that_only_started_takes_an_import_and_one_with_records_does_not() {
    let (from, archive) = filled().await;
    let to = Place::new();
    drop(to.open().await.unwrap());
    assert_eq!(import(&to, &archive).await.unwrap().added, 2);

    let other = Place::new();
    let store = other.open().await.unwrap();
    store.keep(&caller("ana"), &grant("another ana"), None).await.unwrap();
    drop(store);
    assert!(matches!(import(&other, &archive).await, Err(ImportError::NotEmpty)));
    let store = other.open().await.unwrap();
    assert_eq!(access_of(&store, "ana").await.as_deref(), Some("another ana"));
    assert_eq!(access_of(&store, "bob").await, None);

    let store = from.open().await.unwrap();
    store.keep(&caller("carl"), &grant("later"), None).await.unwrap();
    drop(store);
    assert!(matches!(import(&from, &archive).await, Err(ImportError::NotEmpty)));
    let store = from.open().await.unwrap();
    assert_eq!(access_of(&store, "carl").await.as_deref(), Some("later"));
}

#[tokio::test]
async fn an_import_says_that_the_key_is_another() {
    let (_from, archive) = filled().await;
    let to = Place::new();
    let imported = Store::import(to.folder(), given(2), &archive).await.unwrap();
    assert!(matches!(imported.locked, Some(StoreError::WrongKey { .. })));
    assert!(to.open().await.is_ok());
}

/// A backend whose disk fills up, or whose process is killed, after some swaps.
struct Failing {
    inner: Several,
    swaps: Mutex<usize>,
    /// Killed: nothing is taken back either.
    for_ever: bool,
}

impl Failing {
    fn after(swaps: usize, inner: &Several, for_ever: bool) -> Self {
        Self { inner: inner.clone(), swaps: Mutex::new(swaps), for_ever }
    }
}

impl Backend for Failing {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Sealed>, BackendError>> {
        self.inner.backend.get(key)
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a Key,
    ) -> BoxFuture<'a, Result<Vec<(Key, Sealed)>, BackendError>> {
        self.inner.backend.scan(prefix)
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        old: Option<&'a Sealed>,
        new: Option<&'a Sealed>,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        let mut left = self.swaps.lock();
        if *left == 0 {
            if !self.for_ever {
                *left = usize::MAX;
            }
            return std::future::ready(Err(BackendError::Full)).boxed();
        }
        *left -= 1;
        self.inner.backend.swap(key, old, new)
    }
}

#[tokio::test]
async fn an_import_that_fails_is_taken_back_wherever_it_fails() {
    let (_from, archive) = filled().await;
    // The old ring goes, two records and the new ring come.
    for swaps in 0..4 {
        let to = Several::new().await;
        to.process(given(1)).await.unwrap();
        let before = to.backend.scan(&Key::new(String::new())).await.unwrap();
        let failing = Failing::after(swaps, &to, false);
        let mut steps = Steps { backend: &failing, done: Vec::new() };
        assert!(put(&mut steps, &archive).await.is_err(), "{swaps}");
        steps.undo().await;
        assert_eq!(to.backend.scan(&Key::new(String::new())).await.unwrap(), before, "{swaps}");
    }
}

#[tokio::test]
async fn an_import_that_was_killed_opens_not_at_all_until_it_is_completed() {
    let (_from, archive) = filled().await;
    for swaps in 0..3 {
        let to = Several::new().await;
        let failing = Failing::after(swaps, &to, true);
        let mut steps = Steps { backend: &failing, done: Vec::new() };
        assert!(put(&mut steps, &archive).await.is_err());
        if swaps > 0 {
            let opened = to.process(given(1)).await.map(|_| ());
            assert!(matches!(opened, Err(StoreError::NoRing)), "{swaps}");
        }
        let mut steps = Steps { backend: &*to.backend, done: Vec::new() };
        assert_eq!(put(&mut steps, &archive).await.unwrap(), 2 - swaps);
        assert!(to.process(given(1)).await.is_ok());
    }
}
