//! Requests that schemathesis makes from the OpenAPI document: each phase of it, against a server
//! with an application's key that has both rights.
//!
//! A long run has a seed of its own, which is reported; with `COUNTERSIGN_REAL_SEED` the same requests
//! come again.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::arcade::world::{APP_KEY, Keyed};
use crate::harness::{environment, is_long, part, report, times, wait_within};
use crate::support::http::request;

/// Time for the requests. `fuzzing` and `stateful` share what `coverage` leaves.
fn length() -> Duration {
    if is_long() { Duration::from_mins(1) * times() } else { Duration::from_secs(40) }
}

/// Time for its start and end in addition.
const SLACK: Duration = Duration::from_mins(2);

/// Figures of a run are the lines from here on.
const SUMMARY: &str = "Test cases:";

#[test]
fn no_request_made_from_the_document_breaks_a_promise_of_it() {
    let keyed = Keyed::start("");
    connect(&keyed);
    let seed = seed();
    report(&format!("schemathesis with seed {seed} for {:?}", length()));
    let said = keyed.home.path("schemathesis.log");
    let folder = part("COUNTERSIGN_REAL_DIR").join("schema");
    let mut child = Command::new(part("COUNTERSIGN_REAL_SCHEMA_PYTHON"))
        .args(["-m", "schemathesis.cli"])
        .arg("--config-file")
        .arg(folder.join("schemathesis.toml"))
        .args(["run", &format!("{}/openapi.json", keyed.served.origin()), "--no-color"])
        .args(["--seed", &seed.to_string(), "--max-time", &length().as_secs().to_string()])
        .args(["--header", &format!("Authorization: {APP_KEY}")])
        .env_clear()
        .env("HOME", keyed.home.path("home"))
        .current_dir(keyed.home.path("home"))
        .stdin(Stdio::null())
        .stdout(File::create(&said).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut ended = None;
    wait_within(length() + SLACK, "the end of schemathesis", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    let said = fs::read_to_string(&said).unwrap();
    assert!(ended.is_some_and(|status| status.success()), "seed {seed}: {said}");
    report(said.find(SUMMARY).and_then(|at| said.get(at..)).unwrap_or_else(|| panic!("{said}")));

    let health = request("GET", &format!("{}/v1/health", keyed.served.origin()), &[], "");
    assert_eq!((health.status, health.json()), (200, json!({ "healthy": true })));
    let Keyed { home, served, .. } = keyed;
    assert_eq!(served.end().code(), Some(0), "{}", home.log());
    assert!(!home.log().contains("panicked") && !home.log().contains("ERROR"), "{}", home.log());
    let verified = home.run(&["store", "verify"]);
    assert_eq!(verified.code, Some(0), "seed {seed}: {verified:?}");
}

/// The short run always makes the same requests, so that a failure is due to a change.
fn seed() -> u32 {
    match environment("COUNTERSIGN_REAL_SEED") {
        Some(seed) => seed.to_str().and_then(|seed| seed.parse().ok()).expect("a seed is a number"),
        None if is_long() => std::process::id(),
        None => 1,
    }
}

/// Connects the user whom most requests name, so that their calls reach the API.
fn connect(keyed: &Keyed) {
    let url = format!("{}/v1/tools/authorize", keyed.served.origin());
    let headers = [("authorization", APP_KEY), ("content-type", "application/json")];
    for tool in ["Notes.Read", "Notes.Write"] {
        let body = json!({ "tool_name": tool, "user_id": "ana" }).to_string();
        let asked = request("POST", &url, &headers, &body).json();
        keyed.visit("ana", asked["url"].as_str().unwrap_or_else(|| panic!("{asked}"))).approves();
    }
}
