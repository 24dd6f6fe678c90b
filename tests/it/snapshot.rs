//! Snapshots: text files under `snapshots/` with all that a client or a browser is shown, compared
//! whole.
//!
//! What differs from run to run has a name instead of its value ([`names`]). A value that looks like
//! a secret and has no name fails the test, so no token, code, state or ticket gets into a file.
//! `COUNTERSIGN_UPDATE_SNAPSHOTS=1 cargo test --test it` writes the files anew.

mod difference;
mod names;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::command::package;
use crate::support::browser::Page;
use crate::support::environment;

/// A snapshot in the making.
pub(crate) struct Snapshot {
    name: String,
    text: String,
}

impl Snapshot {
    /// The snapshot of this name, e.g. `stdio/2025-11-25`.
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), text: String::new() }
    }

    /// Begins a part with a heading.
    pub(crate) fn part(&mut self, heading: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let _ = writeln!(self.text, "== {heading}");
    }

    /// Adds lines.
    pub(crate) fn add(&mut self, lines: &str) {
        self.text.push_str(lines.trim_end());
        self.text.push('\n');
    }

    /// Adds a response to a browser: status, headers and body.
    pub(crate) fn page(&mut self, page: &Page) {
        self.add(&page.status.to_string());
        let mut headers: Vec<String> = page
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("a text")))
            .collect();
        headers.sort();
        self.add(&headers.join("\n"));
        if !page.text.is_empty() {
            self.add(&format!("\n{}", without_style(&page.text)));
        }
    }

    /// Panics, with the difference, unless the file has this content. `known` are values of this run
    /// with the names that stand for them.
    #[track_caller]
    pub(crate) fn hold(self, known: &[(&str, &str)]) {
        let text = names::named(&self.text, known);
        let odd = names::unnamed(&text);
        assert!(odd.is_empty(), "{}: these look like secrets and have no name: {odd:?}", self.name);
        hold_file(&file(&self.name), &text);
    }
}

/// Panics, with the difference, unless a file has this content.
#[track_caller]
pub(crate) fn hold_file(path: &Path, text: &str) {
    if environment("COUNTERSIGN_UPDATE_SNAPSHOTS").is_some_and(|it| it == "1") {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a snapshot can be written");
        return;
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    let difference = difference::lines(&kept, text);
    assert!(
        kept == text,
        "{} has changed. If this is meant, run with COUNTERSIGN_UPDATE_SNAPSHOTS=1.\n{difference}",
        path.display()
    );
}

/// Panics unless a page is as the snapshot of this name has it.
#[track_caller]
pub(crate) fn hold_page(name: &str, page: &Page) {
    let mut snapshot = Snapshot::new(name);
    snapshot.page(page);
    snapshot.hold(&[]);
}

fn file(name: &str) -> PathBuf {
    package("tests/it/snapshots").join(name.replace(' ', "-")).with_extension("txt")
}

/// The page without the styles, which are the same on every page. Their digest is in the header
/// `content-security-policy`.
fn without_style(html: &str) -> String {
    match (html.find("<style>"), html.find("</style>")) {
        (Some(from), Some(to)) => format!("{}<style>…{}", &html[..from], &html[to..]),
        _ => html.to_owned(),
    }
}
