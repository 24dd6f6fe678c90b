//! The user at the browser, played by `world/consent.mjs` and `world/device.mjs`.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use tempfile::NamedTempFile;

use super::part;
use crate::support::http::{Reply, request};
use crate::support::process::running::Running;

/// A visit to a connect link.
pub struct Visit(Command);

/// Opens a connect page, presses one of its buttons with these headers, and follows no redirect.
pub fn press(link: &str, headers: &[(&str, &str)], answer: &str) -> Reply {
    send(link, headers, &[("answer", answer)])
}

/// Opens a connect page, pastes a secret and continues.
pub fn paste(link: &str, secret: &str) -> Reply {
    send(link, &[], &[("answer", "continue"), ("secret", secret)])
}

fn send(link: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Reply {
    let page = request("GET", link, &[], "");
    let hidden = |name: &str| {
        let found = page.body.split_once(&format!(r#"name="{name}" value=""#));
        found.and_then(|(_, rest)| rest.split_once('"')).map_or("", |(value, _)| value)
    };
    let cookie = page.header("set-cookie").and_then(|cookie| cookie.split(';').next());
    let own = cookie.map(|cookie| ("cookie", cookie));
    let form = ("content-type", "application/x-www-form-urlencoded");
    let headers: Vec<_> = headers.iter().copied().chain(own).chain([form]).collect();
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    let body = body.extend_pairs(["csrf", "shown"].map(|name| (name, hidden(name))));
    let body = body.extend_pairs(fields).finish();
    request("POST", link, &headers, &body)
}

/// A visit in progress.
pub struct Visiting(Running);

/// Outcome of a visit.
#[derive(Debug, Deserialize)]
pub struct Report {
    #[serde(rename = "final_status")]
    pub status: Option<u16>,
    #[serde(rename = "final_title")]
    pub title: String,
    #[serde(rename = "final_text")]
    pub text: String,
}

/// A visit that stopped before the callback: the callback's URL, and the cookie of the browser that
/// may use it.
#[derive(Debug, Deserialize)]
pub struct Held {
    pub callback_url: String,
    pub cookie: String,
}

impl Visit {
    pub fn to(url: &str) -> Self {
        let mut command = Command::new(part("COUNTERSIGN_REAL_NODE"));
        command.arg(part("COUNTERSIGN_REAL_DIR").join("world/consent.mjs")).arg(url);
        Self(command)
    }

    /// Enters a device code at the page that the terminal named. With an empty code, the page has
    /// it already.
    pub fn with_code(url: &str, code: &str) -> Self {
        let mut command = Command::new(part("COUNTERSIGN_REAL_NODE"));
        command.arg(part("COUNTERSIGN_REAL_DIR").join("world/device.mjs"));
        command.args([url, "--code", code]);
        Self(command)
    }

    /// Tells the page that the device code is not the user's.
    #[must_use]
    pub fn aborting(mut self) -> Self {
        self.0.arg("--abort");
        self
    }

    #[must_use]
    pub fn denying(mut self) -> Self {
        self.0.arg("--deny");
        self
    }

    #[must_use]
    pub fn without(mut self, scope: &str) -> Self {
        self.0.args(["--untick", scope]);
        self
    }

    #[must_use]
    pub fn signed_in_as(mut self, login: &str) -> Self {
        self.0.args(["--login", login]);
        self
    }

    /// Opens this page first, e.g. to sign in at an application.
    #[must_use]
    pub fn after(mut self, page: &str) -> Self {
        self.0.args(["--after", page]);
        self
    }

    /// Saves the source of every page of ours that it sees.
    #[must_use]
    pub fn keeping_pages(mut self, file: &Path) -> Self {
        self.0.arg("--pages").arg(file);
        self
    }

    pub fn begin(self) -> Visiting {
        Visiting(Running::start(self.0))
    }

    pub fn go(self) -> Report {
        self.begin().end()
    }

    /// Goes to the end and expects success.
    #[track_caller]
    pub fn approves(self) -> Report {
        let report = self.go();
        assert_eq!(report.status, Some(200), "{report:?}");
        report
    }

    /// Stops before the callback.
    pub fn hold(mut self) -> Held {
        let file = NamedTempFile::new().expect("a temporary file");
        self.0.arg("--hold").arg(file.path());
        self.go();
        let held = std::fs::read(file.path()).expect("what was held is written");
        serde_json::from_slice(&held).expect("what was held is JSON")
    }
}

impl Visiting {
    pub fn end(self) -> Report {
        let finished = self.0.end();
        assert_eq!(finished.code, Some(0), "the scripted browser got stuck");
        serde_json::from_value(finished.json()).expect("a report")
    }
}
