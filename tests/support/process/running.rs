//! A program that does one thing and ends.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::lines::Lines;

pub struct Running {
    name: String,
    child: Child,
    output: Lines,
}

/// Result of a program that ran to its end.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
}

impl Finished {
    /// Parses its whole output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let name = format!("{} {:?}", command.get_program().display(), command.get_args());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let output = Lines::of(child.stdout.take().expect("stdout is piped"));
        Self { name, child, output }
    }

    /// Like [`Self::start`], with its stderr in a file.
    pub fn start_with(mut command: Command, stderr: File) -> Self {
        command.stderr(stderr);
        Self::start(command)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its output.
    pub fn line(&self) -> String {
        let line = self.output.next(&format!("a line of {}", self.name)).expect("one more line");
        String::from_utf8_lossy(&line).into_owned()
    }

    pub fn end(mut self) -> Finished {
        let mut stdout = String::new();
        while let Some(line) = self.output.next(&format!("the end of {}", self.name)) {
            stdout.push_str(&String::from_utf8_lossy(&line));
            stdout.push('\n');
        }
        let code = self.child.wait().expect("a child can be waited for").code();
        Finished { code, stdout }
    }
}

/// Ends the program if the test fails.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
