//! Tests of a socket in the runtime directory, where it lies if the data folder cannot hold it.

use super::*;

#[tokio::test]
async fn a_long_path_has_its_socket_in_the_runtime_folder() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::below(&"long/".repeat(40));
    let owner = place.open().await.unwrap();
    let peer = place.open().await.unwrap();
    assert!(peer.swap(&key("k"), None, Some(&bytes(b"v"))).await.unwrap());
    assert_eq!(owner.get(&key("k")).await.unwrap(), Some(bytes(b"v")));
    let private = |path: &Path| {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", path.display());
    };
    let beside = fs::read_dir(&place.data.runtime).unwrap().next().unwrap().unwrap().path();
    private(&beside);
    private(&beside.join("store.sock"));
    drop((owner, peer));
    assert_eq!(fs::read_dir(&beside).unwrap().count(), 0);
}

/// In a directory that all users can write to, another user may take a name before us.
#[tokio::test]
async fn a_runtime_folder_that_another_user_took_is_left_for_a_new_one() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::below(&"long/".repeat(40));
    let folders = || {
        let entries = fs::read_dir(&place.data.runtime).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect::<std::collections::BTreeSet<_>>()
    };
    // A name made from the data folder's path could be known in advance.
    fs::create_dir_all(&place.data.runtime).unwrap();
    drop(place.open().await.unwrap());
    let [first] = Vec::from_iter(folders()).try_into().unwrap();
    drop(place.open().await.unwrap());
    assert_eq!(folders().len(), 1, "each owner left a folder behind");
    // A reboot empties the directory, and by then other users know the recorded name.
    let elsewhere = place.folder.path().join("elsewhere");
    crate::store::private_file::create_folder(&elsewhere).unwrap();
    for spoil in [
        |path: &Path, _: &Path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        },
        |path: &Path, elsewhere: &Path| {
            fs::remove_dir_all(path).unwrap();
            std::os::unix::fs::symlink(elsewhere, path).unwrap();
        },
    ] {
        let before = folders();
        let used = fs::read_to_string(place.data.path.join("socket.folder")).unwrap();
        let used = place.data.runtime.join(used.trim_end());
        assert!(before.contains(&used));
        spoil(&used, &elsewhere);
        let (owner, peer) = (place.open().await.unwrap(), place.open().await.unwrap());
        assert!(peer.swap(&key("k"), None, Some(&bytes(b"v"))).await.unwrap());
        assert!(owner.swap(&key("k"), Some(&bytes(b"v")), None).await.unwrap());
        assert_eq!(folders().len(), before.len() + 1);
    }
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    assert_eq!(fs::read_dir(&first).unwrap().count(), 0);
}

/// A recorded name that is invalid, e.g. after disk damage, is not used as a path.
#[tokio::test]
async fn a_recorded_name_that_is_none_is_not_followed() {
    let place = Place::below(&"long/".repeat(40));
    drop(place.open().await.unwrap());
    for name in ["", "../elsewhere", "countersign-", "countersign-../x", "/tmp/x"] {
        fs::write(place.data.path.join("socket.folder"), format!("{name}\n")).unwrap();
        let (_owner, _peer) = (place.open().await.unwrap(), place.open().await.unwrap());
        assert!(!place.folder.path().join("elsewhere").exists());
    }
}
