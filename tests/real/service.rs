//! Grants of the server itself, at a certified authorization server: one token for all users, and
//! never a link.

use serde_json::{Value, json};

use crate::harness::{Dialect, Home, Server, World};

const AT_ONCE: usize = 50;
const SECRET: &str = "robot-secret-0123456789";

/// A way to a token, and the subject that the API then sees.
struct Way {
    name: &'static str,
    /// The lines of `[providers.notes]` except its API.
    table: String,
    grant: &'static str,
    sub: &'static str,
}

fn ways(world: &World) -> [Way; 3] {
    let issuer = world.issuer();
    let jwt_bearer = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    let client = "client_id = \"robot\"\nclient_secret = \"env:ROBOT_SECRET\"";
    [
        Way {
            name: "client credentials",
            table: format!(
                "{client}\noauth = {{ issuer = \"{issuer}\", grant = \"client_credentials\" }}"
            ),
            grant: "client_credentials",
            sub: "robot",
        },
        Way {
            name: "private key",
            table: format!(
                "{client}\n[providers.notes.oauth]\nissuer = \"{issuer}\"\ngrant = \"jwt_bearer\"\n\
                 [providers.notes.oauth.assertion]\nissuer = \"{}\"\nsubject = \"ana\"\n\
                 private_key = \"env:ROBOT_KEY\"\nalgorithm = \"ES256\"\nkey_id = \"ES256\"",
                world.assertion_issuer()
            ),
            grant: jwt_bearer,
            sub: "ana",
        },
        Way {
            name: "service account",
            table: format!(
                "[providers.notes.oauth]\ntoken_url = \"{issuer}/token\"\ngrant = \"jwt_bearer\"\n\
                 [providers.notes.oauth.assertion]\nservice_account = \"env:ROBOT_FILE\""
            ),
            grant: jwt_bearer,
            sub: "robot@acme.example",
        },
    ]
}

fn home(world: &World, way: &Way) -> Home {
    let all = world.tools();
    let tools = &all[all.find("[tools.whoami]").unwrap()..];
    let file = json!({
        "type": "service_account",
        "client_email": world.assertion_issuer(),
        "private_key": world.assertion_key("RS256"),
        "private_key_id": "RS256",
        "token_uri": format!("{}/token", world.issuer()),
    });
    let api = world.api();
    Home::new(&format!(
        "[providers.notes]\ntitle = \"Notes\"\nbase_url = \"{api}\"\n{}\n{tools}",
        way.table
    ))
    .with("ROBOT_SECRET", SECRET)
    .with("ROBOT_KEY", world.assertion_key("ES256"))
    .with("ROBOT_FILE", &file.to_string())
}

fn asked(world: &World, way: &Way) -> Value {
    world.counts()["token_requests"][way.grant].clone()
}

#[track_caller]
fn call_at_once(server: &mut Server, way: &Way) {
    let calls: Vec<u64> = (0..AT_ONCE).map(|_| server.begin("whoami", &json!({}))).collect();
    for call in calls {
        let text = server.end(call).ran();
        assert!(text.contains(way.sub), "{}: {text}", way.name);
    }
}

#[test]
fn calls_at_once_make_one_token_which_ends_and_outlives_a_kill() {
    let world = World::start();
    for way in ways(&world) {
        let before = asked(&world, &way).as_u64().unwrap_or(0);
        let home = home(&world, &way);
        let mut server = Server::start(&home, Dialect::PLAIN);
        call_at_once(&mut server, &way);
        assert_eq!(asked(&world, &way), before + 1, "{}", way.name);
        world.pull("expire-access-tokens", &json!({}));
        call_at_once(&mut server, &way);
        assert_eq!(asked(&world, &way), before + 2, "{}", way.name);
        server.kill();
        // Another user's server gets the token, too: it belongs to no user.
        let mut server = Server::start_as(&home, Dialect::PLAIN, "bob");
        call_at_once(&mut server, &way);
        assert_eq!(asked(&world, &way), before + 2, "{}", way.name);
    }
}

#[test]
fn a_token_that_runs_out_is_replaced_before_it_is_refused() {
    // Long enough for the first call on a busy machine.
    let world = World::with(&json!({"access_token_seconds": 4}), json!({}));
    let way = &ways(&world)[0];
    let home = home(&world, way);
    let mut server = Server::start(&home, Dialect::PLAIN);
    call_at_once(&mut server, way);
    world.pull("ttl", &json!({"seconds": 3600}));
    let issued = world.issued();
    let token = issued["access_tokens"].as_array().unwrap().last().unwrap().as_str().unwrap();
    world.until_expired(token);
    let before = asked(&world, way).as_u64().unwrap();
    call_at_once(&mut server, way);
    assert_eq!(asked(&world, way), before + 1);
    call_at_once(&mut server, way);
    assert_eq!(asked(&world, way), before + 1);
}

#[test]
fn two_processes_share_a_token() {
    let world = World::start();
    let way = &ways(&world)[0];
    let home = home(&world, way);
    let mut owner = Server::start(&home, Dialect::PLAIN);
    let mut peer = Server::start_as(&home, Dialect::PLAIN, "bob");
    call_at_once(&mut owner, way);
    call_at_once(&mut peer, way);
    assert_eq!(asked(&world, way), 1);
    world.pull("expire-access-tokens", &json!({}));
    call_at_once(&mut peer, way);
    call_at_once(&mut owner, way);
    assert_eq!(asked(&world, way), 2);
}

#[test]
fn scopes_of_several_tools_come_together() {
    let world = World::start();
    let way = &ways(&world)[0];
    let home = home(&world, way);
    let mut server = Server::start(&home, Dialect::PLAIN);
    server.call("whoami", &json!({})).ran();
    assert!(server.call("write_note", &json!({"title": "Ferns"})).ran().contains("Ferns"));
    assert!(server.call("whoami", &json!({})).ran().contains("notes:read notes:write"));
    assert_eq!(asked(&world, way), 2);
}

#[test]
fn what_the_operator_has_wrong_is_told_to_the_operator() {
    let world = World::start();
    for way in ways(&world) {
        for (variable, wrong, hint) in [
            ("ROBOT_SECRET", "yesterday's-secret", "client_secret"),
            ("ROBOT_KEY", world.assertion_key("EdDSA"), "private key"),
            ("ROBOT_FILE", "{}", "service account"),
        ] {
            if !way.table.contains(variable) {
                continue;
            }
            let home = home(&world, &way).with(variable, wrong);
            let mut server = Server::start(&home, Dialect::PLAIN);
            let text = server.call("whoami", &json!({})).failed();
            assert!(text.contains("operator") && text.contains(hint), "{}: {text}", way.name);
            assert!(!text.contains("http://127.0.0.1") && !text.contains("yesterday"), "{text}");
            server.close();
            assert!(!home.log().contains("yesterday"));
        }
    }
    // If a client is accepted but has too few rights, only the API knows.
    let way = &ways(&world)[0];
    let home = home(&world, way);
    let mut server = Server::start(&home, Dialect::PLAIN);
    let text = server.call("write_note_unaware", &json!({"title": "Mosses"})).failed();
    assert!(text.contains("lacks `notes:write`") && text.contains("operator"), "{text}");
}

#[test]
fn the_command_line_knows_whose_it_is() {
    let world = World::start();
    let way = &ways(&world)[0];
    let home = home(&world, way);
    let refused = home.run(&["auth", "login", "notes"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    home.log_with("nothing to connect");
    let refused = home.run(&["auth", "login", "notes", "--device"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    let called = home.run(&["tools", "call", "whoami"]);
    assert_eq!(called.code, Some(0), "{called:?}");
    let status = home.run(&["auth", "status", "--json", "--user", "bob"]).json();
    let account = &status["accounts"][0];
    assert_eq!((&account["of_the_server"], &account["state"]), (&json!(true), &json!("connected")));
    assert_eq!(home.run(&["auth", "revoke", "notes"]).code, Some(0));
    assert_eq!(world.revocations(), 1);
    assert_eq!(home.run(&["auth", "status", "--json"]).json()["accounts"], json!([]));
}
