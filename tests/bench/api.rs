//! The trivial API, and its caller who needs no Countersign.

use std::net::SocketAddr;
use std::sync::mpsc::channel;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use futures_util::StreamExt as _;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::IN_FLIGHT;
use crate::figures::Figures;

pub const TOKEN: &str = "bench-access-token-0123456789";

/// Ten notes, 600 bytes.
const NOTES: &str = r#"{"notes":[{"id":1,"title":"note 1","text":"some words about it"},{"id":2,"title":"note 2","text":"some words about it"},{"id":3,"title":"note 3","text":"some words about it"},{"id":4,"title":"note 4","text":"some words about it"},{"id":5,"title":"note 5","text":"some words about it"},{"id":6,"title":"note 6","text":"some words about it"},{"id":7,"title":"note 7","text":"some words about it"},{"id":8,"title":"note 8","text":"some words about it"},{"id":9,"title":"note 9","text":"some words about it"},{"id":10,"title":"note 10","text":"some words about it"}],"total":10}"#;

pub struct Api(SocketAddr);

impl Api {
    /// Serves until the program ends, on a thread and a runtime of its own.
    pub fn start() -> Self {
        let (to, from) = channel();
        std::thread::spawn(move || {
            runtime().block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                to.send(listener.local_addr().unwrap()).unwrap();
                let listener = listener.tap_io(|connection| connection.set_nodelay(true).unwrap());
                axum::serve(listener, Router::new().route("/notes", get(notes))).await.unwrap();
            });
        });
        Self(from.recv().unwrap())
    }

    pub fn authority(&self) -> String {
        self.0.to_string()
    }
}

async fn notes(
    headers: HeaderMap,
) -> Result<([(header::HeaderName, &'static str); 1], &'static str), StatusCode> {
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if sent.and_then(|value| value.strip_prefix("Bearer ")) != Some(TOKEN) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    Ok(([(header::CONTENT_TYPE, "application/json")], NOTES))
}

/// The same request with reqwest and nothing else, on connections that are kept.
pub struct Direct {
    runtime: Runtime,
    client: reqwest::Client,
    url: String,
}

impl Direct {
    pub fn new(api: &Api) -> Self {
        // reqwest asks for a provider of cryptography even where nothing is encrypted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { runtime: runtime(), client, url: format!("http://{}/notes", api.authority()) }
    }

    pub fn one_by_one(&self, calls: usize, times: &mut Figures) {
        self.runtime.block_on(async {
            for _ in 0..calls {
                let began = Instant::now();
                self.call().await;
                times.add(began.elapsed());
            }
        });
    }

    pub fn at_once(&self, calls: usize) {
        let calls = futures_util::stream::iter(0..calls).map(|_| self.call());
        self.runtime.block_on(calls.buffer_unordered(IN_FLIGHT).for_each(|()| async {}));
    }

    async fn call(&self) {
        let answer = self.client.get(&self.url).bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.bytes().await.unwrap().len(), NOTES.len());
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}
