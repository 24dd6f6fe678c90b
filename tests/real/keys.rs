//! Keys that are rotated, and stores that are moved and inspected, while servers run.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::harness::{Answer, Dialect, Home, Server, Visit, World, wait_until};

/// A server that owns the folder and has ana's consent.
fn connected(world: &World) -> (Home, Server) {
    let home = Home::new(&world.tools());
    let mut server = Server::start(&home, Dialect::PLAIN);
    consent(&mut server);
    (home, server)
}

fn consent(server: &mut Server) {
    let prompt = server.call("whoami", &json!({})).asked();
    let page = Visit::to(&prompt.url).approves();
    assert!(!page.text.contains("already"), "{page:?}");
    assert_runs(server);
}

#[track_caller]
fn assert_runs(server: &mut Server) {
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));
}

/// Asserts that a call gets a new token first.
#[track_caller]
fn assert_refreshes(world: &World, server: &mut Server) {
    let before = world.refreshes();
    world.pull("expire-access-tokens", &json!({}));
    assert_runs(server);
    assert_eq!(world.refreshes(), before + 1, "{}", world.counts());
}

#[track_caller]
fn done(home: &Home, arguments: &[&str]) -> String {
    let finished = home.run(arguments);
    assert_eq!(finished.code, Some(0), "{arguments:?}: {}\n{}", finished.stdout, home.log());
    finished.stdout
}

fn status(home: &Home) -> Value {
    serde_json::from_str(&done(home, &["key", "status", "--json"])).unwrap()
}

/// Another machine with the same master key.
fn with_the_key_of(home: &Home, world: &World) -> Home {
    let other = Home::new(&world.tools());
    fs::create_dir_all(other.key_file().parent().unwrap()).unwrap();
    fs::copy(home.key_file(), other.key_file()).unwrap();
    other
}

#[test]
fn data_keys_are_rotated_beside_servers() {
    let world = World::start();
    let (home, mut owner) = connected(&world);
    let mut peer = Server::start(&home, Dialect::PLAIN);
    assert_runs(&mut peer);
    for _ in 0..2 {
        let told = done(&home, &["key", "rotate"]);
        assert!(told.contains("sealed anew: "), "{told}");
        for server in [&mut owner, &mut peer] {
            assert_runs(server);
            assert_refreshes(&world, server);
        }
    }
    let found = status(&home);
    assert_eq!(found["records_without_key"], 0, "{found}");
    let records: Vec<_> = found["data_keys"].as_array().unwrap().iter().collect();
    assert_eq!(records.len(), 3, "{found}");
    let newest = (&records[2]["seals"], records[2]["records"].as_u64() > Some(0));
    assert_eq!(newest, (&json!(true), true), "{found}");
    assert!(records[..2].iter().all(|key| key["records"] == 0), "{found}");
    // The next owner knows the keys as well, and so does a new process.
    owner.kill();
    assert_refreshes(&world, &mut peer);
    peer.close();
    assert_refreshes(&world, &mut Server::start(&home, Dialect::PLAIN));
    assert_eq!(world.counts()["refresh_reuses"], 0);
}

#[test]
fn the_master_key_is_replaced_beside_servers() {
    let world = World::start();
    let (home, mut owner) = connected(&world);
    let mut peer = Server::start(&home, Dialect::PLAIN);
    assert_runs(&mut peer);
    let old = fs::read_to_string(home.key_file()).unwrap();
    done(&home, &["key", "rotate", "--master"]);
    assert_ne!(fs::read_to_string(home.key_file()).unwrap(), old);
    for server in [&mut owner, &mut peer] {
        assert_runs(server);
        assert_refreshes(&world, server);
    }
    owner.kill();
    assert_refreshes(&world, &mut peer);
    peer.close();
    // The new key is sufficient, and the old one no longer opens the store.
    let beside = home.key_file().with_file_name("master.key.old");
    fs::remove_file(beside).unwrap();
    assert_refreshes(&world, &mut Server::start(&home, Dialect::PLAIN));
    let home = home.with("COUNTERSIGN_KEY", old.trim());
    assert_eq!(home.run(&["store", "verify"]).code, Some(1));
}

/// A rotation reseals records that a consent is about to use up, and neither side may lose that
/// race.
#[test]
fn consents_go_on_while_keys_are_rotated_again_and_again() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut owner = Server::start(&home, Dialect::PLAIN);
    let prompt = owner.call("whoami", &json!({})).asked();
    let mut peer = Server::start(&home, Dialect::PLAIN);
    let is_over = AtomicBool::new(false);
    let rotations = std::thread::scope(|scope| {
        let rotating = scope.spawn(|| {
            let mut rotations = 0;
            while !is_over.load(Ordering::SeqCst) {
                done(&home, &["key", "rotate"]);
                rotations += 1;
            }
            rotations
        });
        let consents = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let page = Visit::to(&prompt.url).approves();
            assert!(!page.text.contains("already"), "{page:?}");
            assert_runs(&mut peer);
            for _ in 0..5 {
                done(&home, &["auth", "revoke", "notes", "--user", "ana"]);
                consent(&mut owner);
                assert_runs(&mut peer);
            }
        }));
        is_over.store(true, Ordering::SeqCst);
        let rotations = rotating.join().unwrap();
        consents.unwrap();
        rotations
    });
    assert!(rotations > 2, "{rotations}");
    assert_eq!(status(&home)["records_without_key"], 0);
    done(&home, &["store", "verify"]);
}

#[test]
fn a_store_is_exported_in_the_midst_of_refreshes() {
    let world = World::start();
    let (home, mut server) = connected(&world);
    std::thread::scope(|scope| {
        let exporting = scope.spawn(|| {
            for number in 0..4 {
                let file = home.path(&format!("export-{number}"));
                done(&home, &["store", "export", file.to_str().unwrap()]);
            }
        });
        while !exporting.is_finished() {
            assert_refreshes(&world, &mut server);
        }
        exporting.join().unwrap();
    });
    for number in 0..4 {
        let file = home.path(&format!("export-{number}"));
        let other = with_the_key_of(&home, &world);
        done(&other, &["store", "import", file.to_str().unwrap()]);
        let verified = done(&other, &["store", "verify"]);
        assert!(verified.contains("✓ accounts: 1 good"), "{verified}");
    }
    assert_eq!(world.counts()["refresh_reuses"], 0);
}

#[test]
fn an_import_into_a_store_that_a_server_holds_costs_one_call_at_most() {
    let world = World::start();
    let (from, server) = connected(&world);
    let file = from.path("export");
    done(&from, &["store", "export", file.to_str().unwrap()]);
    server.close();

    let home = with_the_key_of(&from, &world);
    let mut server = Server::start(&home, Dialect::PLAIN);
    wait_for_ring(&home, &server);
    done(&home, &["store", "import", file.to_str().unwrap()]);
    match server.call("whoami", &json!({})) {
        // The call may have looked for a grant just before the server noticed the new store.
        Answer::Ran(_) | Answer::Asked(_) => {}
        Answer::Failed(text) => assert!(text.contains("replaced by another one"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert_refreshes(&world, &mut server);
    // An import does not replace what a user has connected.
    let (code, before) =
        (home.run(&["store", "import", file.to_str().unwrap()]).code, status(&home));
    assert_eq!(code, Some(1));
    assert_runs(&mut server);
    assert_eq!(status(&home), before);
    done(&home, &["store", "verify"]);
}

/// Waits until the server holds a store: its lock then names its address, and its key ring exists.
#[track_caller]
fn wait_for_ring(home: &Home, server: &Server) {
    let name = format!("process {},", server.pid());
    wait_until("a store that the server holds", || {
        let text = fs::read_to_string(home.data().join("store.lock")).unwrap_or_default();
        let is_made = home.data().join("db/holds-a-ring").exists();
        text.starts_with(&name) && text.contains("\nlistens at ") && is_made
    });
}
