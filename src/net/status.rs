//! HTTP statuses in words.

use http::StatusCode;

/// Formats a status with its reason phrase (RFC 9110 §15), such as `404 Not Found`.
pub fn status_words(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}
