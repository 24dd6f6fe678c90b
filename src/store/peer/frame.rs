//! What goes over the socket: length-prefixed frames, and the messages in them.
//!
//! The first frame in each direction is a [`Hello`], whose form never changes, so that two versions
//! that understand nothing else of each other can still say so. Then come requests and answers,
//! each under the number of its request, so that one connection carries many at once.

use std::io;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::bytes::Bytes;
use tokio_util::codec::LengthDelimitedCodec;

use super::super::backend::{BackendError, Key, Sealed};

/// Raised whenever [`Request`] or [`Answer`] changes.
pub(super) const PROTOCOL: u8 = 1;

/// First in every hello: whatever else listens or calls is recognized by its absence.
const MAGIC: &[u8] = b"countersign peer ";

/// A hello is a line; whoever has not said one is not read further.
const LONGEST_HELLO: usize = 1024;

/// Far above any record: answers of token endpoints are bounded well below it.
pub(super) const LONGEST_FRAME: usize = 4 << 20;

/// A scan's answer is cut into frames of about this size.
const PART: usize = 256 << 10;

/// How one process introduces itself to another: [`MAGIC`], one byte for the protocol, then JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    pub protocol: u8,
    pub about: About,
}

/// The JSON of a hello. Members may be added, never taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub version: String,
    pub pid: u32,
    /// In a word, e.g. `serve --stdio`.
    pub purpose: String,
    /// Of an owner: it passes its listening sockets ([`ListeningSockets`](super::ListeningSockets)) to
    /// a caller that asks for them here, over a connection that carries nothing else.
    #[serde(default)]
    pub sockets: bool,
}

impl Hello {
    /// This process.
    pub(super) fn own(purpose: &str) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let purpose = purpose.to_owned();
        let about = About { version, pid: std::process::id(), purpose, sockets: false };
        Self { protocol: PROTOCOL, about }
    }

    /// The same, of a process that passes listening sockets or asks for them.
    pub(super) fn with_sockets(mut self) -> Self {
        self.about.sockets = cfg!(unix);
        self
    }

    pub(super) fn encode(&self) -> Bytes {
        let about = serde_json::to_vec(&self.about).unwrap_or_default();
        [MAGIC, &[self.protocol], &about].concat().into()
    }

    /// `None` for what is no hello at all.
    pub(super) fn decode(frame: &[u8]) -> Option<Self> {
        let (protocol, about) = frame.strip_prefix(MAGIC)?.split_first()?;
        Some(Self { protocol: *protocol, about: serde_json::from_slice(about).ok()? })
    }
}

/// Frames of a connection that has not said hello yet; see [`trust`].
pub(super) fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(LONGEST_HELLO).new_codec()
}

/// The hello of the other side, and no byte of what follows it.
///
/// # Errors
/// The connection ended, or what came is longer than any hello.
pub(super) async fn read_hello(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Hello>> {
    // As [`codec`] writes it.
    let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if length > LONGEST_HELLO {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    Ok(Hello::decode(&frame))
}

/// After the hello, frames may be as long as they need to be.
pub(super) fn trust(codec: &mut LengthDelimitedCodec) {
    codec.set_max_frame_length(LONGEST_FRAME);
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Numbered<T> {
    pub(super) id: u64,
    pub(super) body: T,
}

/// What a peer asks.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Request<'a> {
    Get(&'a str),
    Scan(&'a str),
    Swap {
        key: &'a str,
        old: Option<&'a [u8]>,
        new: Option<&'a [u8]>,
    },
    /// Opaque to the store, see [`Answering`](super::Answering).
    Ask(&'a [u8]),
}

/// What the owner answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer<'a> {
    Got(Option<&'a [u8]>),
    /// Records of a scan, more of which follow in further answers unless it is the last.
    Scanned {
        #[serde(borrow)]
        records: Vec<(&'a str, &'a [u8])>,
        last: bool,
    },
    Swapped(bool),
    Answered(&'a [u8]),
    Failed(Fault),
}

/// A [`BackendError`] on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fault {
    Full,
    Corrupt,
    Io(String),
    Closed,
    TooLarge,
    /// Nobody in the owner's process answers questions.
    Unanswered,
}

impl From<BackendError> for Fault {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Full => Self::Full,
            BackendError::Corrupt => Self::Corrupt,
            BackendError::Closed => Self::Closed,
            BackendError::TooLarge => Self::TooLarge,
            other @ (BackendError::Io(_) | BackendError::Peer(_) | BackendError::Unowned(_)) => {
                Self::Io(other.to_string())
            }
        }
    }
}

/// A message as a frame.
///
/// # Errors
/// [`BackendError::TooLarge`]
pub(super) fn encode<T: Serialize>(id: u64, body: T) -> Result<Bytes, BackendError> {
    // Writing to memory fails for no other reason than a type that postcard does not know.
    let frame = postcard::to_stdvec(&Numbered { id, body }).map_err(|_| BackendError::TooLarge)?;
    if frame.len() > LONGEST_FRAME {
        return Err(BackendError::TooLarge);
    }
    Ok(frame.into())
}

/// `None` for what no process of this protocol sends.
pub(super) fn decode<'a, T: Deserialize<'a>>(frame: &'a [u8]) -> Option<Numbered<T>> {
    match postcard::take_from_bytes(frame) {
        Ok((message, [])) => Some(message),
        Ok(_) | Err(_) => None,
    }
}

/// The answer to a scan, in as many frames as it needs, each made when the one before it is on its
/// way: a peer waits for the next part, however many there are.
pub(super) struct Parts {
    id: u64,
    rest: std::vec::IntoIter<(Key, Sealed)>,
    is_over: bool,
}

impl Parts {
    pub(super) fn new(id: u64, found: Vec<(Key, Sealed)>) -> Self {
        Self { id, rest: found.into_iter(), is_over: false }
    }
}

impl Iterator for Parts {
    /// [`BackendError::TooLarge`] for a record that fills a frame by itself; nothing follows it.
    type Item = Result<Bytes, BackendError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let rest = self.rest.as_slice();
        let mut size = 0;
        let fits = rest.iter().take_while(|(key, sealed)| {
            let is_first = size == 0;
            size += key.as_bytes().len() + sealed.as_bytes().len();
            is_first || size <= PART
        });
        let count = fits.count();
        let part = rest.iter().take(count);
        let records = part.map(|(key, sealed)| (key.as_str(), sealed.as_bytes())).collect();
        let last = count == rest.len();
        let frame = encode(self.id, Answer::Scanned { records, last });
        self.is_over = last || frame.is_err();
        self.rest.by_ref().take(count).for_each(drop);
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_of_any_size_comes_in_frames_below_the_cap() {
        let record = |number: usize, size: usize| {
            (Key::new(format!("k/{number}")), Sealed::from_stored(vec![7; size]))
        };
        for sizes in [vec![], vec![0], vec![1_000; 3], vec![100_000; 50], vec![PART * 2; 3]] {
            let found: Vec<_> =
                sizes.iter().enumerate().map(|(number, size)| record(number, *size)).collect();
            let frames: Vec<_> = Parts::new(3, found.clone()).collect::<Result<_, _>>().unwrap();
            let mut back = Vec::new();
            for (at, frame) in frames.iter().enumerate() {
                assert!(frame.len() <= PART * 3);
                let Some(Numbered { id: 3, body: Answer::Scanned { records, last } }) =
                    decode(frame)
                else {
                    panic!("{sizes:?}")
                };
                assert_eq!(last, at + 1 == frames.len());
                back.extend(records.into_iter().map(|(key, bytes)| {
                    (Key::new(key.into()), Sealed::from_stored(bytes.to_vec()))
                }));
            }
            assert_eq!(back, found);
        }
        let mut parts = Parts::new(3, vec![record(0, LONGEST_FRAME), record(1, 1)]);
        assert!(matches!((parts.next(), parts.next()), (Some(Err(_)), None)));
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
