//! Survival of grants: other processes on the same folder, wrong keys, `kill -9` at any moment.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::harness::{Answer, Dialect, Home, Server, Visit, World, files, request, wait_until};

/// A tool that needs no account.
fn with_open_tool(world: &World) -> String {
    format!(
        "{}\n[tools.greet]\ndescription = \"Needs nobody.\"\nrequest = \"GET {}/public\"\n",
        world.tools(),
        world.api()
    )
}

#[test]
fn a_wrong_key_opens_nothing_and_touches_nothing() {
    let key = |byte: u8| STANDARD.encode([byte; 32]);
    let world = World::start();
    let home = Home::new(&with_open_tool(&world)).with("COUNTERSIGN_KEY", &key(1));
    let mut server = Server::start(&home, Dialect::PLAIN);
    let prompt = server.call("whoami", &json!({})).asked();
    Visit::to(&prompt.url).approves();
    server.close();
    let before = names(&home);

    let home = home.with("COUNTERSIGN_KEY", &key(2));
    let mut server = Server::start(&home, Dialect::PLAIN);
    assert!(server.call("greet", &json!({})).ran().contains("world"));
    let text = server.call("whoami", &json!({})).failed();
    assert!(text.contains("COUNTERSIGN_KEY"), "{text}");
    assert!(!text.contains(&key(2)), "{text}");
    server.close();
    assert_eq!(names(&home), before, "nothing was set aside");

    // The old key opens it, and so does a rotation, which needs the old key only once.
    let mut home = home;
    for keys in [key(1), format!("{},{}", key(2), key(1)), key(2)] {
        home = home.with("COUNTERSIGN_KEY", &keys);
        let mut server = Server::start(&home, Dialect::PLAIN);
        assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));
        server.close();
    }
}

/// Returns the file names in the data folder, except the socket, which a process that ends at once
/// leaves behind. sled logs each opening, so the bytes may differ; opening with the right key shows
/// that the records are untouched.
fn names(home: &Home) -> BTreeSet<OsString> {
    let entries = std::fs::read_dir(home.data()).unwrap();
    entries.map(|entry| entry.unwrap().file_name()).filter(|name| name != "store.sock").collect()
}

#[test]
fn a_key_that_made_itself_lies_apart_and_its_loss_is_said() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut server = Server::start(&home, Dialect::PLAIN);
    let prompt = server.call("whoami", &json!({})).asked();
    Visit::to(&prompt.url).approves();
    server.close();
    assert!(!home.key_file().starts_with(home.data()));
    let aside = home.path("key-aside");
    std::fs::rename(home.key_file(), &aside).unwrap();

    let mut server = Server::start(&home, Dialect::PLAIN);
    let text = server.call("whoami", &json!({})).failed();
    assert!(text.contains("key"), "{text}");
    assert!(!home.key_file().exists(), "no second key beside a store that the first one sealed");
    server.close();

    std::fs::rename(&aside, home.key_file()).unwrap();
    let mut server = Server::start(&home, Dialect::PLAIN);
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));
}

#[test]
fn first_starts_at_once_agree_on_one_key() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut servers: Vec<Server> = (0..3).map(|_| Server::start(&home, Dialect::PLAIN)).collect();
    let calls: Vec<u64> = servers.iter_mut().map(|one| one.begin("whoami", &json!({}))).collect();
    let answers: Vec<Answer> =
        servers.iter_mut().zip(calls).map(|(server, call)| server.end(call)).collect();
    for answer in answers {
        answer.asked();
    }
    let prompt = servers[0].call("whoami", &json!({})).asked();
    Visit::to(&prompt.url).approves();
    for server in &mut servers {
        assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));
    }
    for server in servers {
        server.close();
    }
    let mut server = Server::start(&home, Dialect::PLAIN);
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));
}

const KILLS: usize = 10;

/// A user who saw the page that says "connected" is connected, even after a kill right then.
#[test]
fn no_consent_is_lost_to_kills_right_after_the_page() {
    let world = World::start();
    let home = Home::new(&world.tools());
    for round in 0..KILLS {
        let user = format!("user{round}");
        let mut server = Server::start_as(&home, Dialect::PLAIN, &user);
        let prompt = server.call("whoami", &json!({})).asked();
        let held = Visit::to(&prompt.url).signed_in_as(&user).hold();
        let reply = request("GET", &held.callback_url, &[("cookie", &held.cookie)], "");
        server.kill();
        assert_eq!(reply.status, 303, "{reply:?}");
    }
    for round in 0..KILLS {
        let user = format!("user{round}");
        let mut server = Server::start_as(&home, Dialect::PLAIN, &user);
        let text = server.call("whoami", &json!({})).ran();
        assert!(text.contains(&format!("\"{user}\"")), "{text}");
    }
}

/// A kill during the callback: the user is connected or asked again, and nothing in between.
#[test]
fn a_kill_in_the_middle_of_a_callback_breaks_nothing() {
    let world = World::start();
    let home = Home::new(&world.tools());
    for round in 0..KILLS {
        let user = format!("user{round}");
        let mut server = Server::start_as(&home, Dialect::PLAIN, &user);
        let prompt = server.call("whoami", &json!({})).asked();
        let held = Visit::to(&prompt.url).signed_in_as(&user).hold();
        let exchanged = world.exchanged();
        let callback = std::thread::spawn(move || {
            std::panic::catch_unwind(|| {
                request("GET", &held.callback_url, &[("cookie", &held.cookie)], "")
            })
        });
        // In odd rounds, kill only once the code has been sent.
        if round % 2 == 1 {
            wait_until("the code at the provider", || {
                world.exchanged() > exchanged || callback.is_finished()
            });
        }
        server.kill();
        let _ = callback.join().unwrap();
    }
    for round in 0..KILLS {
        let user = format!("user{round}");
        let mut server = Server::start_as(&home, Dialect::PLAIN, &user);
        let answer = match server.call("whoami", &json!({})) {
            Answer::Asked(prompt) => {
                Visit::to(&prompt.url).signed_in_as(&user).approves();
                server.call("whoami", &json!({}))
            }
            other => other,
        };
        let text = answer.ran();
        assert!(text.contains(&format!("\"{user}\"")), "{text}");
    }
}

#[test]
fn a_folder_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::start();
    let home = Home::new(&with_open_tool(&world));
    std::fs::create_dir_all(home.data()).unwrap();
    std::fs::set_permissions(home.data(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut server = Server::start(&home, Dialect::PLAIN);
    assert!(server.call("greet", &json!({})).ran().contains("world"));
    let text = server.call("whoami", &json!({})).failed();
    assert!(text.contains("chmod 700"), "{text}");
    assert_eq!(files(&home.data()), Vec::<PathBuf>::new(), "nothing was written into it");
}
