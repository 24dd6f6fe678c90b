//! A catalogue is exchanged while a call runs.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use futures_util::FutureExt as _;

use super::*;
use crate::broker::{Broker, Call, Parts};
use crate::config;
use crate::model::run::DocumentLimits;
use crate::model::{Caller, Clock, Outcome, Principal, UserId};
use crate::net::{Net, Policy};
use crate::oauth::OAuthClient;
use crate::store::{KeySource, LazyStore, MasterKey, Memory};
use crate::upstream::Upstream;
use crate::upstream::jq::Jq;

fn broker(catalogue: Catalogue) -> Broker {
    let (net, clock) = (Net::new(Policy::default()), Clock::system());
    let keys = KeySource::Given(MasterKey::generate().to_base64());
    let (store, tables) =
        LazyStore::in_memory(Memory::default(), keys, clock.clone()).into_tables();
    let parts = Parts {
        catalogue: catalogue.into(),
        store,
        oauth: OAuthClient::new(net.clone(), clock.clone()),
        upstream: Upstream::new(net, Jq::new("countersign".into())),
        clock,
        origin: Box::new(|_, _| std::future::ready(Ok(String::new())).boxed()),
        listen_address: None,
        after_connect: None,
        keeper: Box::new(|_| std::future::ready(true).boxed()),
        keep_runs: std::time::Duration::from_hours(24),
        document_limits: DocumentLimits::default(),
        rest_rules: crate::config::RestRules::default(),
        webhooks: Vec::new(),
        config: String::new(),
        is_short_lived: false,
    };
    Broker::new(parts, tables)
}

/// A catalogue whose tool `read` requests `path`.
fn catalogue(origin: &str, path: &str) -> Catalogue {
    written(&format!(
        r#"
        [tools.read]
        description = "Reads."
        request     = "GET {origin}{path}"
        "#
    ))
}

fn written(tools: &str) -> Catalogue {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tools.toml");
    std::fs::write(&file, tools).unwrap();
    let config = config::load(&file).unwrap_or_else(|problems| panic!("{problems}"));
    Catalogue::new(Registry::new(config.tools), config.providers)
}

/// Answers each request with its path; `/first` not before `go` arrives.
fn answer(mut stream: TcpStream, began: &mpsc::Sender<()>, go: &mpsc::Receiver<()>) {
    let mut head = [0; 1024];
    let read = stream.read(&mut head).unwrap();
    let head = String::from_utf8_lossy(&head[..read]).into_owned();
    let path = head.split(' ').nth(1).unwrap();
    if path == "/first" {
        began.send(()).unwrap();
        go.recv().unwrap();
    }
    let length = path.len();
    write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n{path}").unwrap();
}

async fn read(broker: &Broker) -> String {
    let principal =
        Principal::local(Caller { namespace: "local".into(), user: UserId::new("ana") });
    let call = Call::new(&principal, "read");
    match broker.call(call).await.unwrap() {
        Outcome::Complete(result) => result.into_text().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_running_call_and_the_next_one_each_keep_the_catalogue_they_began_with() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let ((began, has_begun), (go, may_go)) = (mpsc::channel(), mpsc::channel());
    std::thread::spawn(move || {
        let (first, _) = listener.accept().unwrap();
        let first = std::thread::spawn(move || answer(first, &began, &may_go));
        let (second, _) = listener.accept().unwrap();
        let none = (mpsc::channel().0, mpsc::channel().1);
        answer(second, &none.0, &none.1);
        first.join().unwrap();
    });
    let broker = broker(catalogue(&origin, "/first"));
    let running = tokio::spawn({
        let broker = broker.clone();
        async move { read(&broker).await }
    });
    tokio::task::spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();
    broker.0.parts.catalogue.replace(catalogue(&origin, "/second"));
    assert_eq!(read(&broker).await, "/second");
    go.send(()).unwrap();
    assert_eq!(running.await.unwrap(), "/first");
}

/// A catalogue whose tool `read` needs a token of this client.
fn of_client(origin: &str, client: &str) -> Catalogue {
    written(&format!(
        r#"
        [providers.acme]
        base_url      = "{origin}"
        client_id     = "{client}"
        client_secret = "cmd:echo s3cret"
        [providers.acme.oauth]
        token_url     = "{origin}/token"
        grant         = "client_credentials"

        [tools.read]
        description = "Reads."
        provider    = "acme"
        request     = "GET /notes"
        "#
    ))
}

async fn is_refused(broker: &Broker) -> bool {
    let principal = Principal::local(Caller::local(UserId::new("ana")));
    let call = Call::new(&principal, "read");
    matches!(broker.call(call).await.unwrap(), Outcome::Failed(_))
}

#[tokio::test]
async fn a_refusal_is_remembered_for_the_refused_client_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut request) = (stream.unwrap(), String::new());
            while !request.contains("grant_type=") {
                let mut part = [0; 1024];
                let read = stream.read(&mut part).unwrap();
                request.push_str(&String::from_utf8_lossy(&part[..read]));
            }
            count.fetch_add(1, Ordering::SeqCst);
            let body = r#"{"error":"invalid_client"}"#;
            let length = body.len();
            write!(stream, "HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        }
    });
    let broker = broker(of_client(&origin, "us"));
    assert!(is_refused(&broker).await && is_refused(&broker).await);
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the refusal is known");
    broker.0.parts.catalogue.replace(of_client(&origin, "them"));
    assert!(is_refused(&broker).await);
    assert_eq!(asked.load(Ordering::SeqCst), 2, "another client was not refused");
}
