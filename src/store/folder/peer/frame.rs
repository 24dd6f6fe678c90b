//! The protocol on the socket: length-prefixed frames, and the messages in them.
//!
//! The first frame in each direction is a [`Hello`], whose form never changes, so that two versions
//! that share no other message can still report that. Requests and answers follow, each with the
//! number of its request, so that one connection carries many at once.

use std::io;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::bytes::Bytes;
use tokio_util::codec::LengthDelimitedCodec;

use crate::store::backend::{BackendError, MAX_RECORD_BYTES, Page};
use crate::store::folder::listening_sockets;

/// Protocol version. Raise it when [`Request`] or [`Answer`] changes, unless a member of [`About`]
/// says whether the other process knows the change, and when a record gets a version that earlier
/// processes cannot read: a consent that one of them completed would be lost over such a record.
pub(super) const PROTOCOL: u8 = 2;

/// Start of every hello; any other program is recognized by its absence.
const MAGIC: &[u8] = b"countersign peer ";

/// Maximum bytes of a hello; a longer first frame is an error.
const MAX_HELLO_BYTES: usize = 1024;

/// Maximum bytes of a frame; a longer message is not sent ([`BackendError::TooLarge`]). Fits two of
/// the largest records, as a swap needs, with room for their keys.
pub(crate) const MAX_FRAME_BYTES: usize = 2 * (MAX_RECORD_BYTES + (64 << 10));

/// Introduction of one process to another: [`MAGIC`], one byte for the protocol, then JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    pub protocol: u8,
    pub about: About,
}

/// The JSON of a hello. Members may be added, but never removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub version: String,
    pub pid: u32,
    /// Short name of the process's task, e.g. `serve --stdio`.
    pub purpose: String,
    /// Network whose [`ListeningSockets`](listening_sockets::ListeningSockets) this owner passes,
    /// or this caller requests over a connection that carries no other messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sockets: Option<String>,
    /// Whether it answers [`Request::Page`]. Peers ask an owner of an earlier version for all
    /// records under a prefix at once.
    #[serde(default)]
    pub pages: bool,
}

impl Hello {
    /// Returns the hello of this process.
    pub(super) fn own(purpose: &str) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let purpose = purpose.to_owned();
        let pid = std::process::id();
        let about = About { version, pid, purpose, sockets: None, pages: true };
        Self { protocol: PROTOCOL, about }
    }

    /// Adds this process's network, to pass listening sockets or to request them.
    pub(super) fn with_sockets(mut self) -> Self {
        self.about.sockets = listening_sockets::network();
        self
    }

    pub(super) fn encode(&self) -> Bytes {
        let about = serde_json::to_vec(&self.about).unwrap_or_default();
        [MAGIC, &[self.protocol], &about].concat().into()
    }

    /// Parses a hello; `None` if the frame is not one.
    pub(super) fn decode(frame: &[u8]) -> Option<Self> {
        let (protocol, about) = frame.strip_prefix(MAGIC)?.split_first()?;
        Some(Self { protocol: *protocol, about: serde_json::from_slice(about).ok()? })
    }
}

/// Codec for a connection before its hello; see [`trust`].
pub(super) fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(MAX_HELLO_BYTES).new_codec()
}

/// Reads the hello of the other side, and no byte after it; `None` if the frame is no hello.
///
/// # Errors
/// If the connection ends, or the frame is longer than any hello.
pub(super) async fn read_hello(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Hello>> {
    // The length prefix, as [`codec`] writes it.
    let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if length > MAX_HELLO_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    Ok(Hello::decode(&frame))
}

/// Allows frames up to [`MAX_FRAME_BYTES`], once a connection has sent its hello.
pub(super) fn trust(codec: &mut LengthDelimitedCodec) {
    codec.set_max_frame_length(MAX_FRAME_BYTES);
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Numbered<T> {
    pub(super) id: u64,
    pub(super) body: T,
}

/// Request of a peer.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Request<'a> {
    Get(&'a str),
    /// For peers of an earlier version: all pages, one answer each.
    Scan(&'a str),
    Swap {
        key: &'a str,
        old: Option<&'a [u8]>,
        new: Option<&'a [u8]>,
    },
    /// Opaque to the store, see [`Answering`](crate::store::folder::Answering).
    Ask(&'a [u8]),
    /// See [`Backend::page`](crate::store::Backend::page). Only for an owner whose hello
    /// sets [`About::pages`].
    Page {
        prefix: &'a str,
        after: Option<&'a str>,
    },
}

/// Answer of the owner.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer<'a> {
    Got(Option<&'a [u8]>),
    /// Part of the records of a scan; further answers follow unless it is the last.
    Scanned {
        #[serde(borrow)]
        records: Vec<(&'a str, &'a [u8])>,
        last: bool,
    },
    Swapped(bool),
    Answered(&'a [u8]),
    Failed(OwnerFault),
    Paged {
        #[serde(borrow)]
        records: Vec<(&'a str, &'a [u8])>,
        is_last: bool,
    },
}

/// A [`BackendError`] as a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum OwnerFault {
    Full,
    Corrupt,
    Io(String),
    Closed,
    TooLarge,
    /// The owner process has no function that answers questions.
    Unanswered,
}

impl From<BackendError> for OwnerFault {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Full => Self::Full,
            BackendError::Damaged => Self::Corrupt,
            BackendError::Closed => Self::Closed,
            BackendError::TooLarge => Self::TooLarge,
            other @ (BackendError::Failed { .. } | BackendError::Unreachable(_)) => {
                Self::Io(other.to_string())
            }
        }
    }
}

/// Encodes a message as a frame.
///
/// # Errors
/// [`BackendError::TooLarge`] if the frame exceeds [`MAX_FRAME_BYTES`].
pub(super) fn encode<T: Serialize>(id: u64, body: T) -> Result<Bytes, BackendError> {
    // Writing to memory fails only for a type that postcard does not know.
    let frame = postcard::to_stdvec(&Numbered { id, body }).map_err(|_| BackendError::TooLarge)?;
    if frame.len() > MAX_FRAME_BYTES {
        return Err(BackendError::TooLarge);
    }
    Ok(frame.into())
}

/// Decodes a frame; `None` if no process of this protocol sends it.
pub(super) fn decode<'a, T: Deserialize<'a>>(frame: &'a [u8]) -> Option<Numbered<T>> {
    match postcard::take_from_bytes(frame) {
        Ok((message, [])) => Some(message),
        Ok(_) | Err(_) => None,
    }
}

/// Encodes a page as the answer to a [`Request::Page`].
///
/// # Errors
/// [`BackendError::TooLarge`] if one record alone exceeds a frame.
pub(super) fn encode_page(id: u64, page: &Page) -> Result<Bytes, BackendError> {
    encode(id, Answer::Paged { records: borrowed(page), is_last: page.is_last })
}

/// Encodes a page as an answer to a [`Request::Scan`].
///
/// # Errors
/// As [`encode_page`].
pub(super) fn encode_part(id: u64, page: &Page) -> Result<Bytes, BackendError> {
    encode(id, Answer::Scanned { records: borrowed(page), last: page.is_last })
}

fn borrowed(page: &Page) -> Vec<(&str, &[u8])> {
    page.records.iter().map(|(key, sealed)| (key.as_str(), sealed.as_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::backend::{Key, MAX_PAGE_BYTES, Sealed};

    #[test]
    fn a_page_comes_in_a_frame_below_the_cap_and_a_record_above_it_is_an_error() {
        let page = |size: usize| {
            let record = (Key::named("k"), Sealed::from_stored(vec![7; size]));
            Page::cut(std::iter::repeat_n(record, 1_000).map(Ok)).unwrap()
        };
        for size in [1, 1_000, 100_000, MAX_PAGE_BYTES * 2] {
            let page = page(size);
            let frame = encode_page(3, &page).unwrap();
            assert!(frame.len() <= MAX_PAGE_BYTES * 3, "{size}");
            let Some(Numbered { id: 3, body: Answer::Paged { records, is_last } }) = decode(&frame)
            else {
                panic!("{size}")
            };
            assert_eq!((records.len(), is_last), (page.records.len(), page.is_last));
            assert!(records.iter().all(|(key, bytes)| *key == "k" && bytes.len() == size));
        }
        assert!(encode_page(3, &page(MAX_FRAME_BYTES)).is_ok(), "left out");
        let largest = Sealed::from_stored(vec![7; MAX_RECORD_BYTES]);
        let (key, old, new) = ("k", Some(largest.as_bytes()), Some(largest.as_bytes()));
        assert!(encode(3, Request::Swap { key, old, new }).is_ok());
        let records = vec![(Key::named("k"), Sealed::from_stored(vec![7; MAX_FRAME_BYTES]))];
        assert!(encode_page(3, &Page { records, is_last: true }).is_err());
    }

    #[test]
    fn a_hello_of_an_earlier_version_says_nothing_of_pages() {
        let earlier = [MAGIC, &[1], br#"{"version":"0.1.0","pid":7,"purpose":"serve"}"#].concat();
        assert!(!Hello::decode(&earlier).unwrap().about.pages);
        assert!(Hello::own("serve").about.pages);
    }

    #[test]
    fn what_is_no_message_is_none() {
        for frame in [&b""[..], b"\xff", b"GET / HTTP/1.1\r\n", &[0; 40], &[0xff; 40]] {
            assert!(decode::<Request<'_>>(frame).is_none(), "{frame:?}");
            assert!(Hello::decode(frame).is_none(), "{frame:?}");
        }
        let hello = Hello::own("test");
        assert_eq!(Hello::decode(&hello.encode()), Some(hello));
    }
}
