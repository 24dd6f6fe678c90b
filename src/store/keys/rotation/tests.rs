use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use secrecy::ExposeSecret as _;

use super::*;
use crate::store::backend::Backend as _;
use crate::store::keys::key_file;
use crate::store::keys::ring::ring_key;
use crate::store::private_file;
use crate::store::tests::{NOW, Place, access_of, archive, caller, exported, given, grant};
use crate::store::{KeyPlace, Memory};

/// Returns the data keys of all grants.
async fn ids(shared: &Memory) -> Vec<DataKeyId> {
    let found = shared.backend.scan(&Key::new("grant/".into())).await.unwrap();
    found.iter().map(|(_, sealed)| seal::sealed_with(sealed).unwrap()).collect()
}

async fn put(store: &Store, user: &str, access: &str) {
    let kept = grant(access);
    let held = store
        .grant(&caller(user), &kept.provider, &kept.binding.fingerprint(), &kept.account)
        .await
        .unwrap();
    assert!(store.put(&caller(user), &kept, held.as_ref()).await.unwrap());
}

#[tokio::test]
async fn every_record_is_sealed_anew_and_a_spent_key_goes_a_day_later() {
    let shared = Memory::default();
    let store = shared.process(given(1)).await.unwrap();
    put(&store, "ana", "a").await;
    put(&store, "bob", "b").await;
    let (before, _) = store.data_keys().await.unwrap();
    assert_eq!((before.len(), before[0].records, before[0].seals), (1, 2, true));

    let first = store.rotate_data_key(NOW).await.unwrap();
    assert_eq!((first.resealed, first.unreadable), (2, 0));
    assert_eq!((first.dropped, first.kept), (vec![], vec![before[0].id]));
    assert_eq!(ids(&shared).await, [first.new, first.new]);

    let later = NOW.after(OLD_KEY_GRACE);
    let second = store.rotate_data_key(later).await.unwrap();
    assert_eq!((&second.dropped, &second.kept), (&vec![before[0].id], &vec![first.new]));
    assert_eq!(access_of(&store, "ana").await.as_deref(), Some("a"));
    let (keys, lost) = shared.process(given(1)).await.unwrap().data_keys().await.unwrap();
    assert_eq!(lost, 0);
    assert_eq!(keys.iter().map(|key| key.records).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(keys.last().unwrap().made_at, Some(later));
}

#[tokio::test]
async fn a_running_process_reads_and_writes_with_keys_that_it_learns_of_on_the_way() {
    let shared = Memory::default();
    let running = shared.process(given(1)).await.unwrap();
    put(&running, "ana", "before").await;
    let other = shared.process(given(1)).await.unwrap();
    other.rotate_data_key(NOW).await.unwrap();
    assert_eq!(access_of(&running, "ana").await.as_deref(), Some("before"), "a key it never saw");

    let newest = other.rotate_data_key(NOW.after(OLD_KEY_GRACE)).await.unwrap();
    other.rotate_data_key(NOW.after(OLD_KEY_GRACE * 2)).await.unwrap();
    // The key that the running process last read has been dropped by now.
    put(&running, "bob", "after").await;
    assert_eq!(access_of(&other, "bob").await.as_deref(), Some("after"));
    assert!(!ids(&shared).await.contains(&newest.new));
    let (_, lost) = other.data_keys().await.unwrap();
    assert_eq!(lost, 0, "nothing was written under a key that is gone");
}

#[tokio::test]
async fn a_record_that_was_only_sealed_anew_is_still_the_one_that_was_read() {
    let shared = Memory::default();
    let store = shared.process(given(1)).await.unwrap();
    put(&store, "ana", "1").await;
    let kept = grant("2");
    let read = async |store: &Store| {
        let found = store
            .grant(&caller("ana"), &kept.provider, &kept.binding.fingerprint(), &kept.account)
            .await;
        found.unwrap().unwrap()
    };
    let held = read(&store).await;
    store.rotate_data_key(NOW).await.unwrap();
    assert!(store.put(&caller("ana"), &kept, Some(&held)).await.unwrap());
    let stale = held;
    store.rotate_data_key(NOW).await.unwrap();
    assert!(!store.put(&caller("ana"), &grant("3"), Some(&stale)).await.unwrap(), "it changed");
    let held = read(&store).await;
    store.rotate_data_key(NOW).await.unwrap();
    assert!(store.delete(&held).await.unwrap());
    assert!(!store.delete(&held).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_at_once_lose_no_key_and_no_write() {
    const WRITES: usize = 60;
    let shared = Memory::default();
    let first = shared.process(given(1)).await.unwrap();
    for user in 0..20 {
        put(&first, &format!("user-{user}"), "kept").await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let mut rotations = Vec::new();
    for _ in 0..3 {
        let (store, done) = (shared.process(given(1)).await.unwrap(), Arc::clone(&done));
        rotations.push(tokio::spawn(async move {
            let mut rounds = 0;
            while rounds < 2 || !done.load(Ordering::SeqCst) {
                store.rotate_data_key(NOW).await.unwrap();
                rounds += 1;
            }
        }));
    }
    let writer = shared.process(given(1)).await.unwrap();
    for round in 0..WRITES {
        put(&writer, "writer", &round.to_string()).await;
    }
    done.store(true, Ordering::SeqCst);
    for rotation in rotations {
        rotation.await.unwrap();
    }
    let fresh = shared.process(given(1)).await.unwrap();
    for user in 0..20 {
        assert_eq!(access_of(&fresh, &format!("user-{user}")).await.as_deref(), Some("kept"));
    }
    let last = (WRITES - 1).to_string();
    assert_eq!(access_of(&fresh, "writer").await, Some(last));
    assert_eq!(fresh.data_keys().await.unwrap().1, 0);
}

#[tokio::test]
async fn what_does_not_open_stays_as_it_is_and_keeps_its_key() {
    let shared = Memory::default();
    let store = shared.process(given(1)).await.unwrap();
    put(&store, "ana", "a").await;
    let copied = shared.backend.scan(&Key::new("grant/".into())).await.unwrap().remove(0).1;
    let planted = Key::new("grant/somebody/acme/else/default".into());
    assert!(shared.backend.swap(&planted, None, Some(&copied)).await.unwrap());
    let old = store.data_keys().await.unwrap().0[0].id;
    let rotated = store.rotate_data_key(NOW).await.unwrap();
    assert_eq!((rotated.resealed, rotated.unreadable), (1, 1));
    assert_eq!(shared.backend.get(&planted).await.unwrap(), Some(copied));
    let rotated = store.rotate_data_key(NOW.after(OLD_KEY_GRACE)).await.unwrap();
    assert!(rotated.dropped.is_empty() && rotated.kept.contains(&old));
}

#[tokio::test]
async fn a_running_process_goes_on_when_the_operator_replaces_the_master_key() {
    let shared = Memory::default();
    let running = shared.process(given(1)).await.unwrap();
    put(&running, "ana", "1").await;
    let (KeySource::Given(new), KeySource::Given(old)) = (given(2), given(1)) else {
        unreachable!("both are given")
    };
    let both = format!("{},{}", new.expose_secret(), old.expose_secret());
    let rewrapped = shared.process(KeySource::Given(both.into())).await.unwrap();
    put(&running, "ana", "2").await;
    assert_eq!(access_of(&rewrapped, "ana").await.as_deref(), Some("2"));
    // The old key permits no new start and no rotation, though.
    let wrong = shared.process(given(1)).await.map(|_| ());
    assert!(matches!(wrong, Err(StoreError::WrongKey { place: KeyPlace::Variable })));
    let wrong = running.rotate_data_key(NOW).await;
    assert!(matches!(wrong, Err(StoreError::WrongKey { .. })));

    // It permits no write under a dropped data key either.
    rewrapped.rotate_data_key(NOW).await.unwrap();
    put_fails_or_opens(&running, &rewrapped).await;
    rewrapped.rotate_data_key(NOW.after(OLD_KEY_GRACE)).await.unwrap();
    let kept = grant("lost?");
    let refused = running.put(&caller("bob"), &kept, None).await;
    assert!(matches!(refused, Err(StoreError::WrongKey { .. })));
    assert_eq!(access_of(&rewrapped, "bob").await, None);
}

async fn put_fails_or_opens(running: &Store, other: &Store) {
    assert!(running.put(&caller("carl"), &grant("c"), None).await.unwrap());
    assert_eq!(access_of(other, "carl").await.as_deref(), Some("c"));
}

#[tokio::test]
async fn the_automatic_key_is_replaced_under_running_processes_and_other_folders() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("master.key");
    let keys = || KeySource::Automatic(path.clone());
    let (shared, elsewhere) = (Memory::default(), Memory::default());
    let running = shared.process(keys()).await.unwrap();
    put(&elsewhere.process(keys()).await.unwrap(), "ana", "elsewhere").await;
    put(&running, "ana", "1").await;
    let old = std::fs::read_to_string(&path).unwrap();
    shared.process(keys()).await.unwrap().rotate_master_key().await.unwrap();
    let new = std::fs::read_to_string(&path).unwrap();
    assert!(new != old && !new.contains(','));

    put(&running, "ana", "2").await;
    let only_new = || KeySource::Given(new.clone().into());
    let fresh = shared.process(only_new()).await.unwrap();
    assert_eq!(access_of(&fresh, "ana").await.as_deref(), Some("2"));
    let old_only = shared.process(KeySource::Given(old.into())).await.map(|_| ());
    assert!(matches!(old_only, Err(StoreError::WrongKey { .. })));

    let other = elsewhere.process(keys()).await.unwrap();
    assert_eq!(access_of(&other, "ana").await.as_deref(), Some("elsewhere"));
    assert!(elsewhere.process(only_new()).await.is_ok(), "wrapped anew when it was opened");
}

#[tokio::test]
async fn a_rotation_of_the_master_key_that_was_cut_off_leaves_a_store_that_opens() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("master.key");
    let keys = || KeySource::Automatic(path.clone());
    let shared = Memory::default();
    put(&shared.process(keys()).await.unwrap(), "ana", "kept").await;
    // Interrupted before the ring is rewrapped. Before the new key is written, nothing has changed.
    Replacing::begin(&path).unwrap().put_new_key().unwrap();
    let store = shared.process(keys()).await.unwrap();
    assert_eq!(access_of(&store, "ana").await.as_deref(), Some("kept"));
    std::fs::remove_file(key_file::old_keys(&path)).unwrap();
    assert!(shared.process(keys()).await.is_ok(), "the first start has wrapped it anew");
}

#[tokio::test]
async fn a_given_key_is_not_ours_to_replace() {
    let shared = Memory::default();
    let store = shared.process(given(1)).await.unwrap();
    let refused = store.rotate_master_key().await.unwrap_err();
    assert!(matches!(refused, StoreError::Key(KeyError::NotOurs { .. })));
    assert!(refused.hint().contains("new,old"), "{}", refused.hint());
}

#[tokio::test]
async fn no_new_ring_is_made_beside_records_that_it_did_not_seal() {
    let shared = Memory::default();
    put(&shared.process(given(1)).await.unwrap(), "ana", "kept").await;
    let place = ring_key();
    let wrapped = shared.backend.get(&place).await.unwrap().unwrap();
    assert!(shared.backend.swap(&place, Some(&wrapped), None).await.unwrap());
    assert!(matches!(shared.process(given(1)).await.map(|_| ()), Err(StoreError::NoRing)));
    assert_eq!(shared.backend.get(&place).await.unwrap(), None);
    assert!(shared.backend.swap(&place, None, Some(&wrapped)).await.unwrap());
    assert_eq!(access_of(&shared.process(given(1)).await.unwrap(), "ana").await.unwrap(), "kept");
}

#[tokio::test]
async fn a_store_that_was_replaced_under_a_process_is_noticed_before_anything_is_written() {
    let shared = Memory::default();
    let running = shared.process(given(1)).await.unwrap();
    let place = ring_key();
    let wrapped = shared.backend.get(&place).await.unwrap().unwrap();
    assert!(shared.backend.swap(&place, Some(&wrapped), None).await.unwrap());
    let fresh = shared.process(given(1)).await.unwrap();
    let kept = grant("a");
    let refused = running.put(&caller("ana"), &kept, None).await;
    assert!(matches!(refused, Err(StoreError::Replaced)));
    assert!(running.put(&caller("ana"), &kept, None).await.unwrap(), "and once is enough");
    assert_eq!(access_of(&fresh, "ana").await.as_deref(), Some("a"));
}

/// A new owner whose store was set aside restores the ring that it knows, which is the latest.
#[tokio::test]
async fn what_a_store_rests_on_is_the_ring_as_it_was_rotated_last() {
    let place = Place::new();
    let owner = place.open().await.unwrap();
    let peer = place.open().await.unwrap();
    peer.rotate_data_key(NOW).await.unwrap();
    let (keys, _) = peer.data_keys().await.unwrap();
    assert_eq!(keys.len(), 2);
    let at = ring_key();
    let wrapped = owner.backend.get(&at).await.unwrap().unwrap();
    assert!(owner.backend.swap(&at, Some(&wrapped), None).await.unwrap());
    owner.close().await;
    assert_eq!(peer.data_keys().await.unwrap().0, keys);
    put(&peer, "ana", "again").await;
    assert_eq!(access_of(&place.open().await.unwrap(), "ana").await.as_deref(), Some("again"));
}

/// Uses more records than one answer frame holds.
#[tokio::test]
async fn a_peer_rotates_verifies_exports_and_imports_many_records() {
    const MOST: usize = 500;
    let (from, to) = (Place::new(), Place::new());
    let _owners = (from.open().await.unwrap(), to.open().await.unwrap());
    let store = from.open().await.unwrap();
    for user in 0..MOST {
        put(&store, &format!("user-{user}"), &"x".repeat(1_500)).await;
    }
    assert_eq!(store.rotate_data_key(NOW).await.unwrap().resealed, MOST);
    let verified = store.verify().await.unwrap();
    assert_eq!((verified.is_good(), verified.kinds[0].good), (true, MOST));
    let text = exported(&store).await;
    assert_eq!(archive(&text).len(), MOST);
    let imported = Store::import(to.folder(), given(1), &mut archive(&text)).await.unwrap();
    assert_eq!(imported.added, MOST);
    assert!(to.open().await.unwrap().verify().await.unwrap().is_good());
}

#[tokio::test]
async fn a_wrong_key_names_its_source() {
    let place = Place::new();
    drop(place.open().await.unwrap());
    let file = place.data().with_file_name("mine.key");
    let KeySource::Given(other) = given(2) else { unreachable!("it is given") };
    private_file::write_private(&file, other.expose_secret().as_bytes()).unwrap();
    for (keys, named) in [
        (given(2), "COUNTERSIGN_KEY"),
        (KeySource::File(file.clone()), "mine.key"),
        (KeySource::Automatic(file), "mine.key"),
    ] {
        let error = place.open_with(keys).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, StoreError::WrongKey { .. }));
        assert!(error.to_string().contains(named), "{error}");
        assert!(error.hint().contains("--data"), "{}", error.hint());
        assert!(!error.to_string().contains(other.expose_secret()));
    }
}
