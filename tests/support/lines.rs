//! Lines of a process's output, read by a thread so that waiting for one can be bounded.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::PATIENCE;

pub struct Lines(Receiver<Vec<u8>>);

impl Lines {
    /// Lines that come through the sender.
    pub fn fed() -> (Sender<Vec<u8>>, Self) {
        let (to, from) = channel();
        (to, Self(from))
    }

    pub fn of(output: impl Read + Send + 'static) -> Self {
        let (to, lines) = Self::fed();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while output.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                if to.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        lines
    }

    /// Returns the next line without its end, or `None` at the end of the output.
    pub fn next(&self, waiting_for: &str) -> Option<Vec<u8>> {
        match self.0.recv_timeout(PATIENCE) {
            Ok(line) => Some(without_end(line)),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("{PATIENCE:?} without {waiting_for}"),
        }
    }

    /// Returns the next line, if it comes in time.
    pub fn next_within(&self, time: Duration) -> Option<Vec<u8>> {
        self.0.recv_timeout(time).ok().map(without_end)
    }

    /// Reads to the end. Returns `false` if the end does not come in time.
    pub fn ended(&self) -> bool {
        loop {
            match self.0.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }
}

fn without_end(mut line: Vec<u8>) -> Vec<u8> {
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    line
}
