//! A token, key or password that all users share: from a reference in `tools.toml` to the API, and
//! never to the model.

use serde_json::json;

use crate::harness::{Dialect, Home, Server, World};

const SECRETS: [(&str, &str); 4] = [
    ("VAULT_TOKEN", "shared-token-0123456789"),
    ("VAULT_HEADER", "shared-header-0123456789"),
    ("VAULT_QUERY", "shared-query-0123456789"),
    ("VAULT_PASSWORD", "shared:pässword-0123456789"),
];

/// A provider for each way to send a secret, each with the tools `open_…` and `echo_…`.
fn tools(world: &World) -> String {
    let ways = [
        ("bearer", "bearer = \"env:VAULT_TOKEN\""),
        (
            "header",
            "api_key = { header = \"X-Key\", prefix = \"Key \", value = \"env:VAULT_HEADER\" }",
        ),
        ("query", "api_key = { query = \"key\", value = \"env:VAULT_QUERY\" }"),
        ("basic", "basic = { user = \"robot\", password = \"env:VAULT_PASSWORD\" }"),
    ];
    let api = world.api();
    let tables = ways.map(|(way, credential)| {
        format!(
            "[providers.{way}]\nbase_url = \"{api}\"\n{credential}\n\
             [tools.open_{way}]\ndescription = \"x\"\nprovider = \"{way}\"\nrequest = \"GET /vault\"\n\
             [tools.echo_{way}]\ndescription = \"x\"\nprovider = \"{way}\"\nrequest = \"GET /echo\"\n"
        )
    });
    tables.concat()
}

#[test]
fn a_shared_secret_opens_the_api_and_is_told_to_nobody() {
    let world = World::start();
    let home = SECRETS
        .iter()
        .fold(Home::new(&tools(&world)), |home, (name, value)| home.with(name, value));
    let mut server = Server::start(&home, Dialect::PLAIN);
    for way in ["bearer", "header", "query", "basic"] {
        let opened = server.call(&format!("open_{way}"), &json!({})).ran();
        assert!(opened.contains(&format!("\"{way}\"")), "{opened}");
        let echo = server.call(&format!("echo_{way}"), &json!({})).ran();
        assert!(echo.contains("[redacted]"), "{echo}");
        // Base64 of robot:shared:pässword-0123456789, from its second group of three bytes on.
        for secret in SECRETS
            .map(|(_, value)| value)
            .into_iter()
            .chain(["b3Q6c2hhcmVkOnDDpHNzd29yZC0wMTIzNDU2Nzg5"])
        {
            assert!(!echo.contains(secret), "{way}: {echo}");
        }
    }
    server.close();
    for (_, secret) in SECRETS {
        assert!(!home.log().contains(secret));
    }
}

#[test]
fn a_shared_secret_that_is_missing_or_wrong_is_the_operator_s_to_mend() {
    let world = World::start();
    let home = Home::new(&tools(&world))
        .with("VAULT_TOKEN", "shared-token-of-yesterday")
        .with("VAULT_PASSWORD", "wrong");
    let mut server = Server::start(&home, Dialect::PLAIN);
    let missing = server.call("open_query", &json!({})).failed();
    assert!(missing.contains("VAULT_QUERY") && missing.contains("operator"), "{missing}");
    for way in ["bearer", "basic"] {
        let refused = server.call(&format!("open_{way}"), &json!({})).failed();
        assert!(refused.contains("no key that fits"), "{refused}");
        assert!(!refused.contains("yesterday"), "{refused}");
    }
}
