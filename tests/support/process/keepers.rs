//! Keepers that a test leaves behind: a link that no browser opens keeps its keeper for fifteen
//! minutes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign::store::keeper::{KeeperState, state};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::time::Instant;

use crate::support::wait_within;

/// How long a keeper may take to end.
const LIMIT: Duration = Duration::from_secs(10);

/// How a host ends its server, the leader of a process group.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// By closing its standard input, which the caller does.
    Eof,
    Terminate,
    Kill,
    Group,
}

impl End {
    pub const ALL: [Self; 4] = [Self::Eof, Self::Terminate, Self::Kill, Self::Group];

    pub fn signal(self, server: u32) {
        let pid = i32::try_from(server).ok().and_then(Pid::from_raw).expect("a process");
        match self {
            Self::Eof => Ok(()),
            Self::Terminate => kill_process(pid, Signal::TERM),
            Self::Kill => kill_process(pid, Signal::KILL),
            Self::Group => kill_process_group(pid, Signal::KILL),
        }
        .expect("it lives");
    }
}

/// Returns the process that is ready to answer the links of this data folder.
pub fn keeper(data: &Path) -> Option<u32> {
    match state(data).ok()? {
        KeeperState::Ready { pid } => Some(pid),
        KeeperState::Absent | KeeperState::Unsettled => None,
    }
}

/// Waits until this data folder has no keeper; returns how long that took.
pub fn until_gone(data: &Path) -> Duration {
    let begin = Instant::now();
    wait_within(LIMIT, &format!("an end of the keeper of {}", data.display()), || {
        !state(data).is_ok_and(|state| state != KeeperState::Absent)
    });
    begin.elapsed()
}

/// Ends the keepers of all data folders below this one.
pub fn end_all(below: &Path) {
    for data in data_folders(below) {
        let begin = Instant::now();
        while begin.elapsed() < LIMIT {
            match state(&data) {
                Ok(KeeperState::Ready { pid }) => end(pid),
                Ok(KeeperState::Unsettled) => {}
                Ok(KeeperState::Absent) | Err(_) => break,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn end(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
}

fn data_folders(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![below.to_owned()];
    while let Some(folder) = folders.pop() {
        if folder.join("keeper.lock").exists() {
            found.push(folder);
            continue;
        }
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    found
}
