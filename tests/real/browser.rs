//! The whole consent once in a real Chromium, by keyboard and without scripts; the pictures are for
//! people to look at.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::{Dialect, Home, Running, Server, World, part};

#[test]
fn a_person_gets_through_in_a_real_browser() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut server = Server::start(&home, Dialect::PLAIN);
    let prompt = server.call("whoami", &json!({})).asked();
    let report = drive(&prompt.url, "approved", &[]);
    assert_eq!(report["problems"], json!([]), "{report}");
    assert!(report["connect_title"].as_str().unwrap().contains("Notes"), "{report}");
    assert!(report["final_text"].as_str().unwrap().contains("Notes"), "{report}");
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));

    let prompt = server.call("write_note", &json!({"title": "x"})).asked();
    let report = drive(&prompt.url, "unticked", &["--untick", "notes:write"]);
    assert_eq!(report["problems"], json!([]), "{report}");
    assert!(report["final_text"].as_str().unwrap().contains("notes:write"), "{report}");

    let prompt = server.call("write_note", &json!({"title": "x"})).asked();
    let report = drive(&prompt.url, "denied", &["--deny"]);
    assert_eq!(report["problems"], json!([]), "{report}");
}

fn drive(link: &str, name: &str, wishes: &[&str]) -> serde_json::Value {
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/real/screens").join(name);
    std::fs::create_dir_all(&pictures).unwrap();
    let mut browser = Command::new(part("COUNTERSIGN_REAL_NODE"));
    browser.arg(part("COUNTERSIGN_REAL_DIR").join("world/browser.mjs")).arg(link).arg(&pictures);
    let finished = Running::start({
        browser.args(wishes);
        browser
    })
    .end();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let report = finished.json();
    for picture in report["screenshots"].as_array().unwrap() {
        let picture = std::fs::metadata(pictures.join(picture.as_str().unwrap())).unwrap();
        assert!(picture.len() > 1000, "a picture of something");
    }
    report
}
