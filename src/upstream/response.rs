//! What an answer's body is, decided by what it says it is and by looking.

use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use serde_json::Value;

use super::html;

/// An answer, read to its end.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Content {
    Nothing,
    Json(Value),
    Text(String),
    Html {
        title: Option<String>,
        text: String,
    },
    /// Not for a model's eyes: media type and size.
    Binary(String),
    /// Says to be JSON and is not, or is packed in a way that nobody asked for; in words.
    Unreadable(String),
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn media_type(&self) -> String {
        let value = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    pub(super) fn content(&self) -> Content {
        if self.body.is_empty() {
            return Content::Nothing;
        }
        if let Some(encoding) = self.headers.get(CONTENT_ENCODING)
            && encoding != "identity"
        {
            let encoding = encoding.to_str().unwrap_or("unknown");
            return Content::Unreadable(format!("it is compressed as `{encoding}`"));
        }
        let media = self.media_type();
        // A byte order mark is not JSON (RFC 8259 §8.1), but sent all the same.
        let body = self.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.body);
        if is_json(&media) {
            return match serde_json::from_slice(body) {
                Ok(value) => Content::Json(value),
                Err(_) if body.iter().all(u8::is_ascii_whitespace) => Content::Nothing,
                Err(error) => Content::Unreadable(not_json(&error)),
            };
        }
        if matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
            && let Ok(value) = serde_json::from_slice(body)
        {
            return Content::Json(value);
        }
        self.text(&media, body)
    }

    fn text(&self, media: &str, body: &[u8]) -> Content {
        let binary = || {
            let media = if media.is_empty() { "data of an unknown type" } else { media };
            Content::Binary(format!("{media}, {} bytes", body.len()))
        };
        if body.contains(&0) {
            return binary();
        }
        let text = match std::str::from_utf8(body) {
            Ok(text) => text.to_owned(),
            Err(_) if !is_textual(media) => return binary(),
            Err(_) if self.is_latin1() => body.iter().copied().map(char::from).collect(),
            Err(_) => {
                let text = String::from_utf8_lossy(body);
                format!("{text}\n[bytes that are not UTF-8 are shown as \u{fffd}]")
            }
        };
        if media == "text/html" || media == "application/xhtml+xml" || html::looks_like_html(&text)
        {
            let page = html::strip(&text);
            return Content::Html { title: page.title, text: page.text };
        }
        Content::Text(text)
    }

    fn is_latin1(&self) -> bool {
        let value = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let value = value.unwrap_or_default().to_ascii_lowercase();
        value.contains("charset=iso-8859-1") || value.contains("charset=\"iso-8859-1\"")
    }
}

fn is_json(media: &str) -> bool {
    media == "application/json" || media == "text/json" || media.ends_with("+json")
}

fn is_textual(media: &str) -> bool {
    media.starts_with("text/")
        || media.ends_with("xml")
        || media.ends_with("yaml")
        || media.ends_with("javascript")
        || media == "application/x-www-form-urlencoded"
}

fn not_json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("recursion limit exceeded") {
        return "it is JSON that nests more than 128 levels".to_owned();
    }
    if error.is_eof() {
        return "it is JSON that breaks off".to_owned();
    }
    format!("it says it is JSON and is not: {text}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn content(media: &str, body: &[u8]) -> Content {
        let mut headers = HeaderMap::new();
        if !media.is_empty() {
            headers.insert(CONTENT_TYPE, media.parse().expect("a value"));
        }
        Reply { status: StatusCode::OK, headers, body: body.to_vec() }.content()
    }

    #[test]
    fn json_is_known_by_type_or_by_looking() {
        let json = Content::Json(json!({"a": 1}));
        assert_eq!(content("application/json; charset=utf-8", b"{\"a\":1}"), json);
        assert_eq!(content("application/vnd.github+json", b"{\"a\":1}"), json);
        assert_eq!(content("text/plain", b" {\"a\":1}"), json);
        assert_eq!(content("", b"{\"a\":1}"), json);
        assert_eq!(content("application/json", b"\xef\xbb\xbf{\"a\":1}"), json);
        assert_eq!(content("application/json", b"  \n"), Content::Nothing);
    }

    #[test]
    fn json_that_is_none_is_told() {
        let Content::Unreadable(why) = content("application/json", b"{\"a\":") else { panic!() };
        assert_eq!(why, "it is JSON that breaks off");
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        let Content::Unreadable(why) = content("application/json", deep.as_bytes()) else {
            panic!()
        };
        assert!(why.contains("128 levels"), "{why}");
        let Content::Unreadable(why) = content("application/json", b"<html>") else { panic!() };
        assert!(why.contains("says it is JSON"), "{why}");
    }

    #[test]
    fn deep_json_without_the_type_is_a_text() {
        let deep = "[".repeat(1000);
        assert_eq!(content("text/plain", deep.as_bytes()), Content::Text(deep.clone()));
    }

    #[test]
    fn text_and_binary_are_told_apart() {
        assert_eq!(content("text/plain", "grüß".as_bytes()), Content::Text("grüß".into()));
        let Content::Text(text) = content("text/plain", b"gr\xfc\xdf") else { panic!() };
        assert!(text.contains("not UTF-8"), "{text}");
        assert_eq!(
            content("text/plain; charset=ISO-8859-1", b"gr\xfc\xdf"),
            Content::Text("grüß".into())
        );
        assert_eq!(
            content("image/png", b"\x89PNG\r\n\x1a\n\0"),
            Content::Binary("image/png, 9 bytes".into())
        );
        assert_eq!(
            content("", b"\xff\xfe"),
            Content::Binary("data of an unknown type, 2 bytes".into())
        );
    }

    #[test]
    fn what_is_packed_unasked_is_told() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, "br".parse().expect("a value"));
        let reply = Reply { status: StatusCode::OK, headers, body: vec![1, 2] };
        assert_eq!(reply.content(), Content::Unreadable("it is compressed as `br`".into()));
    }
}
