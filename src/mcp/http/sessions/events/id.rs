//! The id of an event: `STREAM-INDEX`, followed by the id of the request that the stream answers.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rmcp::model::RequestId;

/// Longest request id in bytes, as JSON, that an event id carries. A client with longer ids is not
/// told which answer is gone.
const MAX_REQUEST_ID_BYTES: usize = 256;

/// Id of an event within its session. It comes back through the client and proves nothing: the
/// session and the caller do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct EventId {
    pub(in super::super) stream: u64,
    pub(in super::super) index: u64,
    /// `None` for an event of the session's standalone stream.
    pub(in super::super) request: Option<RequestId>,
}

impl EventId {
    pub(in super::super) fn parse(text: &str) -> Option<Self> {
        let (stream, rest) = text.split_once('-')?;
        let (index, request) = match rest.split_once('-') {
            Some((index, request)) => (index, Some(request)),
            None => (rest, None),
        };
        let request = match request {
            Some(text) => {
                let json = URL_SAFE_NO_PAD.decode(text).ok()?;
                Some(serde_json::from_slice(&json).ok()?)
            }
            None => None,
        };
        Some(Self { stream: stream.parse().ok()?, index: index.parse().ok()?, request })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, index, request } = self;
        write!(f, "{stream}-{index}")?;
        let json = request.as_ref().and_then(|request| serde_json::to_vec(request).ok());
        match json.filter(|json| json.len() <= MAX_REQUEST_ID_BYTES) {
            Some(json) => write!(f, "-{}", URL_SAFE_NO_PAD.encode(json)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written() {
        let numbers = [0, 7, -1].map(RequestId::Number);
        let texts = ["", "a-b", "\u{e9}\"\n", "x"].map(|text| RequestId::String(text.into()));
        for request in numbers.into_iter().chain(texts).map(Some).chain([None]) {
            let id = EventId { stream: 12, index: 3, request };
            let written = id.to_string();
            assert!(written.bytes().all(|byte| byte.is_ascii_graphic()), "{written}");
            assert_eq!(EventId::parse(&written), Some(id), "{written}");
        }
    }

    #[test]
    fn a_long_request_id_is_left_out_and_nonsense_is_none() {
        let request = Some(RequestId::String("x".repeat(300).into()));
        assert_eq!(EventId { stream: 1, index: 2, request }.to_string(), "1-2");
        for wrong in ["", "0", "x-1", "1-", "1-2-", "1-2-!", "-1-2", "1-2-e30", "0/1"] {
            assert_eq!(EventId::parse(wrong), None, "{wrong}");
        }
    }
}
