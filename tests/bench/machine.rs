//! A machine to measure on: a `tools.toml` with a given number of tools, and a store with a given
//! number of grants.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use countersign::model::{Caller, UserId};
use tempfile::TempDir;

use crate::load::api::Api;
use crate::load::grants::{self, KEY};

pub const USER: &str = "ana";

pub struct Machine {
    folder: TempDir,
}

impl Machine {
    /// Half of the tools filter their answer with `select`. One of the grants belongs to [`USER`].
    pub fn new(api: &Api, tools: usize, grants: usize) -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(machine.path("tools.toml"), tools_toml(api, tools)).unwrap();
        let others = (1..grants).map(|other| format!("user{other}"));
        let callers = others.chain([USER.to_owned()]).map(|user| Caller::local(UserId::new(user)));
        let kept = grants::keep(machine.path("data"), machine.path("run"), api, callers);
        tokio::runtime::Runtime::new().unwrap().block_on(kept);
        machine
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The binary, ready to be started as [`USER`]'s server.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command
            .args(arguments)
            .args(["--user", USER, "--config"])
            .arg(self.path("tools.toml"))
            .arg("--data")
            .arg(self.path("data"))
            .env_clear()
            .env("HOME", self.path(""))
            .env("COUNTERSIGN_KEY", KEY)
            .env("COUNTERSIGN_LOG", "error");
        command
    }

    /// Opens the file for the servers' stderr.
    pub fn log(&self) -> File {
        File::options().create(true).append(true).open(self.path("stderr.log")).unwrap()
    }
}

fn tools_toml(api: &Api, tools: usize) -> String {
    let mut text = grants::provider(api);
    for at in 0..tools / 2 {
        for (name, select) in [("read", ""), ("select", "select = \"[.notes[] | .title]\"")] {
            write!(
                text,
                r#"
[tools.{name}_{at}]
description  = "List notes, newest first, as far as they match."
provider     = "notes"
scopes       = ["notes:read"]
request      = "GET /notes"
params.q     = {{ optional = true, description = "Part of a title" }}
params.limit = {{ type = "integer", default = 10, max = 50, description = "How many" }}
{select}
"#
            )
            .unwrap();
        }
    }
    text
}

/// The machine's load averages.
pub fn load() -> String {
    fs::read_to_string("/proc/loadavg").map_or_else(
        |_| "unknown".into(),
        |text| text.split(' ').take(3).collect::<Vec<_>>().join(" "),
    )
}
