//! Memory that a pass over a store takes: one page, however many records there are.

use std::process::{Child, ExitStatus};

use countersign::model::{Caller, UserId};
use tokio::runtime::Builder;

use crate::harness::{Home, report};
use crate::load::api::Api;
use crate::load::figures::mib;
use crate::load::grants::{self, KEY};
use crate::load::process::Process;

/// About 25 MiB of records, and more than that in an archive.
const RECORDS: usize = 20_000;
/// KiB by which a command may exceed one that reads a few records: some pages.
const COMMAND_MARGIN: f64 = 8.0 * 1024.0;
/// KiB of the same margin for the server beside it, whose store caches 16 MiB of the records read.
const SERVER_MARGIN: f64 = 30.0 * 1024.0;

const TOOL: &str = r#"
[tools.notes]
description = "List notes."
provider    = "notes"
scopes      = ["notes:read"]
request     = "GET /notes"
"#;

fn home(api: &Api, records: usize) -> Home {
    let home = Home::new(&format!("{}{TOOL}", grants::provider(api))).with("COUNTERSIGN_KEY", KEY);
    let caller = |number| Caller::local(UserId::new(format!("user-{number}")));
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let callers = (0..records).map(caller);
    runtime.block_on(grants::keep(home.data(), folder.path().into(), api, callers));
    home
}

fn serve(home: &Home) -> Process {
    Process::start(home.command(&["serve", "--http", "127.0.0.1:0"]))
}

/// The largest resident memory of a command, in KiB.
fn peak(home: &Home, arguments: &[&str]) -> f64 {
    let mut command = home.command(arguments);
    command.stdout(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut peak = 0.0_f64;
    let ended = loop {
        peak = peak.max(high_water(&child));
        if let Some(ended) = ended(&mut child) {
            break ended;
        }
    };
    assert!(ended.success(), "{arguments:?}: {ended}");
    peak
}

fn high_water(child: &Child) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    let line = status.unwrap_or_default();
    let line = line.lines().find(|line| line.starts_with("VmHWM"));
    // It has ended, but nothing has waited for it yet.
    line.map_or(0.0, |line| line.split_whitespace().nth(1).unwrap().parse().unwrap())
}

fn ended(child: &mut Child) -> Option<ExitStatus> {
    std::thread::sleep(std::time::Duration::from_millis(2));
    child.try_wait().unwrap()
}

/// The commands run as peers of a server, so that the store's own cache is in the server.
#[test]
fn a_page_is_all_that_export_import_and_verify_hold() {
    let api = Api::start();
    let mut figures = Vec::new();
    for records in [10, RECORDS] {
        let (from, to) = (home(&api, records), home(&api, 0));
        let (server, receiver) = (serve(&from), serve(&to));
        let archive = from.path("archive");
        let file = archive.to_str().unwrap();
        let before = server.memory("VmHWM");
        let commands = [
            peak(&from, &["store", "verify"]),
            peak(&from, &["store", "export", file]),
            peak(&to, &["store", "import", file]),
        ];
        figures.push((commands, server.memory("VmHWM") - before));
        drop((server.end(), receiver.end()));
    }
    let [(few, few_beside), (many, many_beside)] = figures[..] else { panic!("two sizes") };
    report(&format!(
        "verify, export, import of {RECORDS} records: {} MiB, of few: {} MiB; the server beside them: {} MiB more, {} MiB more",
        many.map(mib).join(", "),
        few.map(mib).join(", "),
        mib(many_beside),
        mib(few_beside)
    ));
    for (many, few) in many.into_iter().zip(few) {
        assert!(many < few + COMMAND_MARGIN, "{many} KiB, of few records {few} KiB");
    }
    assert!(
        many_beside < few_beside + SERVER_MARGIN,
        "{many_beside} KiB, beside few records {few_beside} KiB"
    );
}
