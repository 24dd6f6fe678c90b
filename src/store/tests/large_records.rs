//! Tests of records above [`MAX_RECORD_BYTES`], which an earlier version may have written: they
//! must not block access to the records beside them.

use super::*;
use crate::store::backend::MAX_RECORD_BYTES;
use crate::store::keys::rotation::OLD_KEY_GRACE;

/// Creates a store with one grant each for ana and bob, and two oversized records of ana.
async fn planted() -> Place {
    let place = Place::new();
    let store = place.open().await.unwrap();
    for user in ["ana", "bob"] {
        assert!(store.put(&caller(user), &grant(user), None).await.unwrap());
    }
    let ana = store.user(&caller("ana"));
    store.close().await;
    drop(store);
    let db = ::sled::open(place.folder().db()).unwrap();
    for kind in ["authorization", "grant"] {
        let key = format!("{kind}/{ana}/acme/large/default");
        db.insert(key, vec![7; 2 * MAX_RECORD_BYTES]).unwrap();
    }
    db.flush().unwrap();
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_writes_a_record_that_another_one_cannot_read() {
    let place = Place::new();
    let owner = place.open().await.unwrap();
    let peer = place.open().await.unwrap();
    for store in [&owner, &peer] {
        let large = grant(&"t".repeat(MAX_RECORD_BYTES));
        let kept = store.put(&caller("ana"), &large, None).await;
        assert!(matches!(kept, Err(StoreError::Backend(BackendError::TooLarge))), "{kept:?}");
    }
    let large = grant(&"t".repeat(MAX_RECORD_BYTES - 4096));
    assert!(owner.put(&caller("ana"), &large, None).await.unwrap());
    let mut held = peer.grants(&caller("ana")).await.unwrap();
    assert!(peer.replace(large, &held.remove(0)).await.unwrap().is_some(), "one swap, two records");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_walk_goes_past_a_record_that_is_too_large() {
    let place = planted().await;
    let owner = place.open().await.unwrap();
    let peer = place.open().await.unwrap();
    for (round, store) in [&peer, &owner].into_iter().enumerate() {
        assert_eq!(store.grants(&caller("ana")).await.unwrap().len(), 1);
        assert_eq!(store.users(&[]).await.unwrap().len(), 2);
        assert_eq!(store.delete_begun(&caller("ana")).await.unwrap(), 0);
        store.sweep(NOW).await.unwrap();

        let verified = store.verify().await.unwrap();
        let bad = verified.kinds.iter().flat_map(|kind| &kind.bad);
        let bad: Vec<_> = bad.map(|bad| (bad.key.as_str(), bad.why.to_string())).collect();
        let why = BackendError::TooLarge.to_string();
        let keys = ["grant/…/acme", "authorization/…/acme"];
        assert_eq!(bad, keys.map(|key| (key, why.clone())));

        let file = tempfile::tempdir().unwrap();
        let file = file.path().join("archive");
        let exported = store.export_to_file(NOW, &file).await.unwrap();
        assert_eq!((exported.records, exported.left_out.len()), (2, 2));
        assert_eq!(exported.left_out[0], "authorization/…/acme");
        assert_eq!(Archive::open(&file).unwrap().len(), 2);

        let at = NOW.after(OLD_KEY_GRACE * 2 * u32::try_from(round).unwrap());
        let first = store.rotate_data_key(at).await.unwrap();
        assert_eq!((first.resealed, first.unreadable), (2, 2));
        let second = store.rotate_data_key(at.after(OLD_KEY_GRACE)).await.unwrap();
        assert!(second.dropped.is_empty(), "a key that a record may need");
        assert_eq!(access_of(store, "bob").await.as_deref(), Some("bob"));
    }
}

/// The owner can read the record whole, and so deletes it when the user's access ends.
#[tokio::test]
async fn the_owner_still_deletes_it() {
    let place = Place::new();
    let store = place.open().await.unwrap();
    let large = grant(&"t".repeat(MAX_RECORD_BYTES));
    let binding = large.binding.fingerprint();
    let key = store.grant_key(&caller("ana"), &large.provider, &binding, &large.account);
    let plain = records::encode(&large, None).unwrap();
    let sealed = store.ring.seal(&*store.backend, &key, &plain).await.unwrap();
    store.close().await;
    drop(store);
    let db = ::sled::open(place.folder().db()).unwrap();
    db.insert(key.as_bytes(), sealed.as_bytes()).unwrap();
    db.flush().unwrap();
    drop(db);

    let store = place.open().await.unwrap();
    let held = store.grants(&caller("ana")).await.unwrap().remove(0);
    assert!(store.delete_last(held).await.unwrap().is_some());
    assert!(store.grants(&caller("ana")).await.unwrap().is_empty());
}

/// Another call may replace a record while its user's access is being ended.
#[tokio::test]
async fn a_record_that_was_replaced_since_it_was_read_is_deleted_too() {
    let place = Place::new();
    let store = place.open().await.unwrap();
    assert!(store.put(&caller("ana"), &grant("a"), None).await.unwrap());
    let stale = store.grants(&caller("ana")).await.unwrap().remove(0);
    let now = store.grants(&caller("ana")).await.unwrap().remove(0);
    store.replace(grant("b"), &now).await.unwrap().unwrap();
    let deleted = store.delete_last(stale).await.unwrap().expect("the one that stood there");
    assert_eq!(deleted.value.tokens.access.expose_secret(), "b");
    assert!(store.grants(&caller("ana")).await.unwrap().is_empty());
}
