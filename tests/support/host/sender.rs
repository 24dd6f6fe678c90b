//! Headers that every HTTP request of a host carries besides its message.

use serde_json::Value;

use super::Dialect;
use crate::support::http::Sent;

pub struct Sender {
    dialect: Dialect,
    headers: Vec<(&'static str, String)>,
}

impl Sender {
    pub fn new(dialect: Dialect, headers: &[(&'static str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { dialect, headers }
    }

    /// Adds a header to all later requests.
    pub fn add(&mut self, name: &'static str, value: &str) {
        self.headers.push((name, value.to_owned()));
    }

    pub fn send(&self, method: &str, url: &str, message: Option<&Value>) -> Sent {
        let mut headers = vec![("accept", "application/json, text/event-stream")];
        if message.is_some() {
            headers.push(("content-type", "application/json"));
        }
        let signed = self.dialect.headers(message);
        let all = self.headers.iter().chain(&signed);
        headers.extend(all.map(|(name, value)| (*name, value.as_str())));
        let body = message.map(Value::to_string).unwrap_or_default();
        Sent::to(url, method, &headers, &body)
            .unwrap_or_else(|error| panic!("{method} {url}: {error}"))
    }
}
