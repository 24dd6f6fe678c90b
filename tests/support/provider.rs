//! An API that misbehaves as it is told to: raw bytes over TCP, with no HTTP library in between.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::support::wait_until_async;

/// The server's reaction to one request.
pub(crate) enum Act {
    /// Writes these bytes and keeps the connection.
    Say(Vec<u8>),
    /// Writes these bytes and closes the connection.
    SayAndClose(Vec<u8>),
    /// Writes the first bytes, then the second ones without end.
    Forever(Vec<u8>, Vec<u8>),
    /// Writes these bytes and then nothing, without closing.
    Stall(Vec<u8>),
    /// Writes these bytes once the semaphore has a permit, which stays there.
    SayWhen(Arc<Semaphore>, Vec<u8>),
}

/// A running server on a port of its own.
pub(crate) struct Server {
    pub(crate) origin: String,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

impl Server {
    /// Calls `answer` with each request, head and body, and does what it returns.
    pub(crate) async fn start(answer: impl Fn(&str) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("its address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(Mutex::new(0));
        let (answer, seen, counted) =
            (Arc::new(answer), Arc::clone(&requests), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *counted.lock().expect("not poisoned") += 1;
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                tokio::spawn(async move { serve(stream, &*answer, &seen).await });
            }
        });
        Self { origin, requests, connections }
    }

    /// A server that always answers with the same bytes.
    pub(crate) async fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |_| Act::Say(bytes.clone())).await
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("not poisoned").clone()
    }

    /// Returns once this many requests have been read.
    pub(crate) async fn has_got(&self, count: usize) {
        let got = async || self.requests().len() >= count;
        wait_until_async(&format!("{count} requests"), got).await;
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().expect("not poisoned")
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: &(impl Fn(&str) -> Act + Sync),
    seen: &Mutex<Vec<String>>,
) {
    while let Some(request) = read_request(&mut stream).await {
        let act = answer(&request);
        seen.lock().expect("not poisoned").push(request);
        let sent = match act {
            Act::Say(bytes) => stream.write_all(&bytes).await,
            Act::SayAndClose(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Act::Forever(first, again) => {
                let mut sent = stream.write_all(&first).await;
                while sent.is_ok() {
                    sent = stream.write_all(&again).await;
                }
                sent
            }
            Act::SayWhen(permitted, bytes) => {
                let _permit = permitted.acquire().await.expect("it stays open");
                stream.write_all(&bytes).await
            }
            Act::Stall(bytes) => {
                let _ = stream.write_all(&bytes).await;
                // Until the client gives up.
                let _ = stream.read(&mut [0; 64]).await;
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    let head = loop {
        if let Some(end) = request.windows(4).position(|part| part == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |length| length.trim().parse::<usize>().expect("a length"));
    while request.len() < head + length {
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    Some(String::from_utf8_lossy(&request).into_owned())
}

/// A whole answer with its length.
pub(crate) fn answer(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len())
        .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// `200 OK` with JSON.
pub(crate) fn json(body: impl AsRef<[u8]>) -> Vec<u8> {
    answer("200 OK", "Content-Type: application/json\r\n", body)
}
