//! Tests of damaged data folders. The store is repaired or set aside, or returns an error that says
//! so. It never panics, never returns another user's record, and never takes a lost store for a new
//! one.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

const USERS: usize = 200;

fn user(number: usize) -> String {
    format!("user-{number}")
}

impl Place {
    fn db(&self) -> PathBuf {
        self.data().join("db")
    }

    fn log(&self) -> PathBuf {
        self.db().join("db")
    }

    /// Creates a store with enough grants for several log segments, then closes and reopens it so
    /// that there is a snapshot.
    async fn filled() -> Self {
        let place = Self::new();
        let store = place.open().await.unwrap();
        for number in 0..USERS {
            store.put(&caller(&user(number)), &grant(&"x".repeat(4_000)), None).await.unwrap();
        }
        drop(store);
        drop(place.open().await.unwrap());
        assert_eq!(place.snapshots().len(), 1);
        place
    }

    fn snapshots(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.db()).unwrap().map(|entry| entry.unwrap().path());
        let is_snapshot =
            |path: &PathBuf| path.file_name().unwrap().as_encoded_bytes().starts_with(b"snap.");
        entries.filter(is_snapshot).collect()
    }

    /// Opens a store that must be set aside, and checks that the folder works again. Returns the
    /// path of the damaged store.
    async fn is_set_aside(&self) -> PathBuf {
        let store = self.open().await.unwrap();
        let notice = store.notice().expect("the store was damaged");
        assert!(notice.to_string().contains("damaged"), "{notice}");
        let Notice::SetAside(aside) = notice.clone() else {
            panic!("{notice}");
        };
        assert_eq!(access_of(&store, &user(0)).await, None);
        assert!(store.put(&caller("new"), &grant("works"), None).await.unwrap());
        drop(store);
        assert!(self.open().await.unwrap().notice().is_none(), "once is enough");
        aside
    }
}

fn cut(file: &Path, length: u64) {
    fs::File::options().write(true).open(file).unwrap().set_len(length).unwrap();
}

async fn all_are_there(place: &Place) {
    let store = place.open().await.unwrap();
    assert!(store.notice().is_none());
    for number in 0..USERS {
        assert!(access_of(&store, &user(number)).await.is_some(), "{number}");
    }
}

#[tokio::test]
async fn a_snapshot_that_was_left_half_written_goes() {
    let place = Place::filled().await;
    fs::write(place.db().join("snap.0000000000000000.generating"), "cut off in the mid").unwrap();
    all_are_there(&place).await;
    assert_eq!(place.snapshots().len(), 1);
}

#[tokio::test]
async fn a_truncated_snapshot_costs_nothing_since_the_log_is_complete() {
    let place = Place::filled().await;
    for length in [0, 1, 10, 100] {
        let snapshots = place.snapshots();
        cut(&snapshots[0], length);
        all_are_there(&place).await;
    }
    fs::write(place.db().join("snap.0000000000000001"), "nothing of the kind").unwrap();
    all_are_there(&place).await;
    let left = fs::read_dir(place.data()).unwrap().count();
    assert_eq!(left, 3, "no copy of what could be mended: FORMAT, store.lock, db");
}

/// Returns the offset of this user's sealed grant in the log.
async fn place_in_log(store: &Store, log: &[u8], number: usize) -> usize {
    let kept = grant("");
    let key = store.grant_key(
        &caller(&user(number)),
        &kept.provider,
        &kept.binding.fingerprint(),
        &kept.account,
    );
    let sealed = store.backend.get(&key).await.unwrap().unwrap();
    // If the page was written more than once, the last copy counts.
    memchr::memmem::rfind(log, &sealed.as_bytes()[100..200]).expect("sled keeps values as they are")
}

/// The place of a flipped byte decides how sled reacts: it reports an error for the records of that
/// page, takes the byte for an interrupted write and drops everything after it, or does not open.
/// In each case most of the store remains, or a notice says why not.
#[tokio::test]
async fn a_flipped_byte_costs_what_lies_around_it_at_most() {
    let kept = grant("");
    for number in (0..USERS).step_by(USERS / 8) {
        let place = Place::filled().await;
        let store = place.open().await.unwrap();
        let mut log = fs::read(place.log()).unwrap();
        let at = place_in_log(&store, &log, number).await;
        drop(store);
        log[at] ^= 1;
        fs::write(place.log(), &log).unwrap();

        let store = place.open().await.unwrap();
        let (mut left, mut damaged) = (0, 0);
        for other in 0..USERS {
            let (person, binding) = (caller(&user(other)), kept.binding.fingerprint());
            match store.grant(&person, &kept.provider, &binding, &kept.account).await {
                Ok(found) => left += usize::from(found.is_some()),
                Err(StoreError::Backend(BackendError::Damaged)) => damaged += 1,
                Err(other) => panic!("{other}"),
            }
        }
        let told = store.notice().map(ToString::to_string);
        assert!(left > USERS / 2 || told.is_some(), "{left} left, {damaged} damaged");
        let verified = store.verify().await.unwrap();
        if damaged > 0 {
            assert!(!verified.is_good());
            assert_eq!(verified.kinds[0].bad[0].key, "grant/");
        }
    }
}

#[tokio::test]
async fn changes_that_are_lost_at_the_end_of_the_log_are_told() {
    let place = Place::new();
    let store = place.open().await.unwrap();
    store.put(&caller("ana"), &grant("1"), None).await.unwrap();
    drop(store);
    let before = place.data().with_file_name("before");
    fs::copy(place.log(), &before).unwrap();
    let store = place.open().await.unwrap();
    store.put(&caller("bob"), &grant("2"), None).await.unwrap();
    drop(store);
    // Restore the earlier log and remove the snapshots: only the last change is missing.
    for snapshot in place.snapshots() {
        fs::remove_file(snapshot).unwrap();
    }
    fs::copy(&before, place.log()).unwrap();
    let store = place.open().await.unwrap();
    let notice = store.notice().expect("one change is lost").to_string();
    assert!(notice.contains("its last changes are lost (1)"), "{notice}");
    assert_eq!(access_of(&store, "ana").await.as_deref(), Some("1"));
    assert_eq!(access_of(&store, "bob").await, None);
    drop(store);
    assert!(place.open().await.unwrap().notice().is_none(), "once is enough");
}

#[tokio::test]
async fn a_truncated_log_is_set_aside_as_it_was() {
    let place = Place::filled().await;
    let length = fs::metadata(place.log()).unwrap().len() / 2;
    cut(&place.log(), length);
    let aside = place.is_set_aside().await;
    assert_eq!(fs::metadata(aside.join("db")).unwrap().len(), length);
}

#[tokio::test]
async fn an_emptied_log_does_not_pass_for_a_new_store() {
    for length in [1, 0] {
        let place = Place::filled().await;
        cut(&place.log(), length);
        place.is_set_aside().await;
    }
    let place = Place::filled().await;
    fs::remove_file(place.log()).unwrap();
    place.is_set_aside().await;
}

#[tokio::test]
async fn a_store_that_does_not_open_is_set_aside_and_named() {
    let place = Place::filled().await;
    // `conf` holds the settings that the log was written with; sled does not open without it.
    fs::write(place.data().join("db").join("conf"), b"nothing of the kind").unwrap();
    assert!(place.is_set_aside().await.exists());
}

#[tokio::test]
async fn a_db_folder_that_somebody_removed_is_a_new_start_with_the_old_key() {
    let place = Place::new();
    let path = place.data().with_file_name("master.key");
    let keys = || KeySource::Automatic(path.clone());
    let store = place.open_with(keys()).await.unwrap();
    store.put(&caller("ana"), &grant("gone"), None).await.unwrap();
    drop(store);
    let key = fs::read(&path).unwrap();
    fs::remove_dir_all(place.db()).unwrap();
    let store = place.open_with(keys()).await.unwrap();
    assert_eq!(access_of(&store, "ana").await, None);
    assert!(store.put(&caller("ana"), &grant("again"), None).await.unwrap());
    assert_eq!(fs::read(&path).unwrap(), key, "other folders may need it");
}

#[tokio::test]
async fn a_key_that_is_wrong_or_gone_leaves_the_folder_as_it_was() {
    let place = Place::filled().await;
    let missing = place.data().with_file_name("master.key");
    for keys in [given(2), KeySource::Automatic(missing.clone())] {
        let refused = place.open_with(keys).await.map(|_| ());
        assert!(matches!(refused, Err(StoreError::WrongKey { .. } | StoreError::Key(_))));
        assert!(!missing.exists());
    }
    all_are_there(&place).await;
}
