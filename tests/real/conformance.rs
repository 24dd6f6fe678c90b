//! Runs the official conformance suite against the server, with the tools of
//! tests/real/conformance. The expected failures stand there too, each with its reason: an
//! unexpected failure fails here, and so does an expected one that passes.

use std::process::Command;

use crate::harness::{Finished, Home, Running, Served, Transport, World, part};

#[test]
fn the_official_suite_passes() {
    let world = World::start();
    let tools =
        include_str!("conformance/tools.toml").replace("API/", &format!("{}/", world.api()));
    let home = Home::new(&format!("{}{tools}", world.provider()));
    let served = Served::start(&home);
    for revision in ["2025-11-25", "2026-07-28"] {
        let expected = part("COUNTERSIGN_REAL_DIR").join(format!("conformance/{revision}.yml"));
        let expected = expected.to_str().unwrap();
        let run = suite(&served, &["--requirements", revision, "--expected-failures", expected]);
        assert_eq!(run.code, Some(0), "{revision}: {}", summary(&run));
        assert!(summary(&run).contains("Baseline check passed"), "{revision}: {}", summary(&run));
    }
    // These need no fixture and pass, though the suite does not count them for their revision.
    for (revision, scenario) in
        [("2025-11-25", "server-session-lifecycle"), ("2026-07-28", "http-header-validation")]
    {
        let run = suite(&served, &["--scenario", scenario, "--spec-version", revision]);
        assert_eq!(run.code, Some(0), "{scenario}: {}", run.stdout);
        assert!(run.stdout.contains("0 failed, 0 warnings"), "{scenario}: {}", run.stdout);
    }
    assert_eq!(served.end().code(), Some(0), "{}", home.log());
}

fn suite(served: &Served, arguments: &[&str]) -> Finished {
    let mut command = Command::new(part("COUNTERSIGN_REAL_NODE"));
    command
        .arg(
            part("COUNTERSIGN_REAL_DIR")
                .join("node_modules/@modelcontextprotocol/conformance/dist/index.js"),
        )
        .args(["server", "--url", &served.url(Transport::Streamable)])
        .args(arguments);
    Running::start(command).end()
}

fn summary(run: &Finished) -> &str {
    run.stdout.find("=== SUMMARY").map_or(&run.stdout, |at| &run.stdout[at..])
}
