//! Which of MCP's two response types a client accepts (RFC 9110 §12.5.1).
//!
//! MCP requires a client to list both. A client that accepts both without naming them (`*/*`, or no
//! `Accept` at all) is served as well, and one that accepts a single type gets that one.

use http::{HeaderMap, HeaderValue, header};

pub(super) const JSON: &str = "application/json";
pub(super) const EVENT_STREAM: &str = "text/event-stream";
/// Both types, as rmcp requires them.
pub(super) const BOTH: HeaderValue =
    HeaderValue::from_static("application/json, text/event-stream");

/// Response types that a client accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepts {
    pub(super) json: bool,
    pub(super) events: bool,
}

impl Accepts {
    /// Reads the request's `Accept` headers. Missing or empty ones accept both types.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let (mut json, mut events) = (Match::default(), Match::default());
        let mut is_limited = false;
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        for range in values.flat_map(|value| split(value, ',')) {
            let mut parts = split(range, ';');
            let name = parts.next().unwrap_or_default().trim();
            if name.is_empty() {
                continue;
            }
            is_limited = true;
            let is_acceptable = !parts.any(has_zero_weight);
            json.consider(name, JSON, is_acceptable);
            events.consider(name, EVENT_STREAM, is_acceptable);
        }
        Self {
            json: !is_limited || json.is_acceptable,
            events: !is_limited || events.is_acceptable,
        }
    }

    pub(super) fn nothing(self) -> bool {
        !self.json && !self.events
    }
}

/// The verdict of the most precise media range so far.
#[derive(Default)]
struct Match {
    precision: u8,
    is_acceptable: bool,
}

impl Match {
    fn consider(&mut self, range: &str, media_type: &str, is_acceptable: bool) {
        let Some(precision) = precision(range, media_type) else { return };
        if precision > self.precision {
            *self = Self { precision, is_acceptable };
        } else if precision == self.precision {
            // A range listed twice, with other parameters: one acceptable entry is enough.
            self.is_acceptable |= is_acceptable;
        }
    }
}

/// Returns how precisely a media range names this type; `None` if it does not.
fn precision(range: &str, media_type: &str) -> Option<u8> {
    if range.eq_ignore_ascii_case(media_type) {
        return Some(3);
    }
    // Java writes a lone `*`.
    if range == "*/*" || range == "*" {
        return Some(1);
    }
    let (group, rest) = range.split_once('/')?;
    let (own_group, _) = media_type.split_once('/')?;
    (rest == "*" && group.eq_ignore_ascii_case(own_group)).then_some(2)
}

/// Whether a parameter is a weight of zero (§12.4.2). An invalid weight excludes nothing.
fn has_zero_weight(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    let value = value.trim();
    let is_zero = value.starts_with('0') && value.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    is_zero && name.trim().eq_ignore_ascii_case("q")
}

/// Splits a list at the separator, but not within quoted strings.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |letter| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match letter {
            _ if was_escaped => {}
            '\\' => is_escaped = is_quoted,
            '"' => is_quoted = !is_quoted,
            _ => return letter == separator && !is_quoted,
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(values: &[&'static str]) -> (bool, bool) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT, HeaderValue::from_static(value));
        }
        let Accepts { json, events } = Accepts::of(&headers);
        (json, events)
    }

    #[test]
    fn what_a_client_accepts_is_understood() {
        for (values, json, events) in [
            (&[][..], true, true),
            (&[""], true, true),
            (&[" , ,"], true, true),
            (&["*/*"], true, true),
            (&["*"], true, true),
            (&["text/html, image/gif, *; q=.2, */*; q=.2"], true, true),
            (&["application/json, text/event-stream"], true, true),
            (&["text/event-stream,application/json"], true, true),
            (&["application/json", "text/event-stream"], true, true),
            (&["application/*, text/*"], true, true),
            (&["APPLICATION/JSON, Text/Event-Stream"], true, true),
            (&["application/json; charset=utf-8, text/event-stream;q=0.5"], true, true),
            (&["application/json;q=0.001, text/event-stream;q=1.000"], true, true),
            (&["application/json"], true, false),
            (&["application/*"], true, false),
            (&["application/json, text/html"], true, false),
            (&["text/event-stream"], false, true),
            (&["text/*"], false, true),
            (&["*/*, text/event-stream;q=0"], true, false),
            (&["text/event-stream;q=0, */*"], true, false),
            (&["application/json;Q=0.000, */*;q=0.1"], false, true),
            (&["application/*;q=0, */*"], false, true),
            (&["application/*;q=0, application/json, text/*"], true, true),
            (&["*/*;q=0"], false, false),
            (&["application/json ; q = 0 , text/event-stream"], false, true),
            (&["application/json;profile=\"a;q=0,b\", text/event-stream"], true, true),
            (&["application/json;profile=\"\\\",;q=0\""], true, false),
            (&["application/json;v=1;q=0, application/json;v=2"], true, false),
            (&["application/json;q=x, text/event-stream;q"], true, true),
            (&["text/html"], false, false),
            (&["application/json-seq, application/jsonx, text/event-streams"], false, false),
            (&["json"], false, false),
        ] {
            assert_eq!(accepts(values), (json, events), "{values:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_excludes_nothing() {
        let mut headers = HeaderMap::new();
        headers.append(header::ACCEPT, HeaderValue::from_bytes(b"text/html\xff").unwrap());
        let Accepts { json, events } = Accepts::of(&headers);
        assert!(json && events);
    }
}
