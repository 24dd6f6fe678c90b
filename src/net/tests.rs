use std::sync::Mutex;

use super::*;

fn verdict(url: &str, trust: Trust, policy: Policy) -> Result<(), Phase> {
    let url = Url::parse(url).expect("a URL");
    Net::new(policy).vet(&url, trust).map_err(|error| error.phase)
}

fn written(url: &str) -> bool {
    verdict(url, Trust::Written, Policy::default()).is_ok()
}

fn learnt(url: &str) -> bool {
    verdict(url, Trust::Learnt, Policy::default()).is_ok()
}

#[test]
fn a_written_host_may_be_anywhere_but_link_local() {
    assert!(written("https://api.example.com/"));
    assert!(written("https://127.0.0.1/"));
    assert!(written("https://10.0.0.1:8443/"));
    assert!(written("http://127.0.0.1:9000/"));
    assert!(written("http://[::1]:9000/"));
    for url in [
        "https://169.254.169.254/",
        "http://169.254.169.254/latest/meta-data/",
        "http://2852039166/",
        "https://[::ffff:169.254.169.254]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[fe80::1]/",
    ] {
        assert!(!written(url), "{url}");
    }
}

#[test]
fn plain_http_is_for_loopback_and_private_addresses() {
    assert!(!written("http://1.1.1.1/"));
    assert!(!written("http://0.0.0.0/"));
    assert!(written("http://192.168.1.10/"));
}

#[test]
fn a_learnt_host_must_be_public_and_https() {
    assert!(learnt("https://login.example.com/"));
    assert!(learnt("https://1.1.1.1/"));
    for url in [
        "http://login.example.com/",
        "https://127.0.0.1/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://017700000001/",
        "https://0.0.0.0/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::1]/",
        "https://[fd00::1]/",
        "https://10.0.0.1/",
        "https://100.64.0.1/",
    ] {
        assert!(!learnt(url), "{url}");
    }
}

#[test]
fn the_operator_may_allow_private_addresses_but_not_link_local_ones() {
    let policy = Policy {
        allow_private: vec![
            "10.1.0.0/16".parse().expect("a block"),
            "169.254.0.0/16".parse().expect("a block"),
        ],
    };
    assert!(verdict("https://10.1.2.3/", Trust::Learnt, policy.clone()).is_ok());
    assert!(verdict("https://10.2.0.1/", Trust::Learnt, policy.clone()).is_err());
    assert!(verdict("https://169.254.169.254/", Trust::Learnt, policy).is_err());
}

#[test]
fn other_schemes_and_credentials_in_the_url_are_refused() {
    assert!(!written("ftp://127.0.0.1/"));
    assert!(!written("https://user@api.example.com/"));
    assert!(!written("https://:secret@api.example.com/"));
}

#[tokio::test]
async fn a_name_that_resolves_to_loopback_is_refused_where_it_was_learnt() {
    let net = Net::new(Policy::default());
    let url = Url::parse("https://localhost:9/x?api_key=canary").expect("a URL");
    let request = Request::new(reqwest::Method::GET, url);
    let error = net.send(request, Trust::Learnt).await.expect_err("refused");
    assert!(matches!(error.phase, Phase::Refused(_)), "{error:?}");
    assert!(!error.to_string().contains("canary"));
}

#[tokio::test]
async fn a_closed_port_is_a_connect_error_that_quotes_no_query() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    let net = Net::new(Policy::default());
    let url = Url::parse(&format!("http://{address}/x?api_key=canary")).expect("a URL");
    let error = net
        .send(Request::new(reqwest::Method::GET, url), Trust::Written)
        .await
        .expect_err("nobody listens");
    assert!(matches!(error.phase, Phase::Connect(_)), "{error:?}");
    assert!(error.is_before_sending() && error.is_passing());
    assert!(!format!("{error} {error:?}").contains("canary"));
}

#[test]
fn building_a_client_is_left_to_the_first_use() {
    let net = Net::new(Policy::default());
    assert!(net.0.clients.get_or_default().reused.written.get().is_none());
    for connection in [Connection::Reused, Connection::New] {
        assert!(build(Policy::default(), Rule::WrittenPlain, connection).is_ok());
        assert!(build(Policy::default(), Rule::Written, connection).is_ok());
    }
}

#[tokio::test]
async fn a_host_that_speaks_no_tls_is_told_as_such() {
    use tokio::io::AsyncWriteExt as _;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}/x", listener.local_addr().expect("its address"));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    let request = Request::new(reqwest::Method::GET, Url::parse(&url).expect("a URL"));
    let error =
        Net::new(Policy::default()).send(request, Trust::Written).await.expect_err("no TLS");
    assert!(matches!(error.phase, Phase::Tls(_)), "{error:?}");
    assert!(error.is_before_sending() && !error.is_passing());
}

/// A server that answers the first request of a connection, keeps the connection open and closes it
/// when the next request arrives, as one does whose idle timeout has just passed. The numbers are
/// how many requests came over each connection.
async fn closing_server() -> (Url, Arc<Mutex<Vec<u32>>>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/x", listener.local_addr().expect("its address"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let connections = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let place = connections.lock().expect("a lock").len();
            connections.lock().expect("a lock").push(0);
            let connections = Arc::clone(&connections);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {
                    connections.lock().expect("a lock")[place] += 1;
                    if connections.lock().expect("a lock")[place] == 2 {
                        return;
                    }
                    let _ = stream.write_all(RESPONSE).await;
                }
            });
        }
    });
    (Url::parse(&url).expect("a URL"), seen)
}

async fn read_to_end(response: Response) {
    assert_eq!(read(response, 10).await.expect("a body"), b"ok");
}

#[tokio::test]
async fn a_read_that_meets_a_closing_connection_is_sent_again_and_nothing_else() {
    let (url, seen) = closing_server().await;
    let net = Net::new(Policy::default());
    let request = |method: reqwest::Method| Request::new(method, url.clone());
    read_to_end(net.send(request(reqwest::Method::GET), Trust::Written).await.expect("a new one"))
        .await;
    let sent = net.send_read(request(reqwest::Method::GET), Trust::Written).await;
    read_to_end(sent.expect("sent once more")).await;
    assert_eq!(*seen.lock().expect("a lock"), [2, 1]);

    // The connection of the second attempt is not kept, so a third request opens another one.
    // A GET may change something too: its tool says so.
    read_to_end(net.send(request(reqwest::Method::GET), Trust::Written).await.expect("a new one"))
        .await;
    let error = net.send(request(reqwest::Method::GET), Trust::Written).await;
    let error = error.expect_err("nobody knows what became of it");
    assert!(matches!(error.phase, Phase::Broken(_)), "{error:?}");
    assert_eq!(*seen.lock().expect("a lock"), [2, 1, 2]);
}

#[tokio::test]
async fn a_request_that_must_be_sent_once_never_meets_a_closing_connection() {
    let (url, seen) = closing_server().await;
    let net = Net::new(Policy::default());
    read_to_end(
        net.send(Request::new(reqwest::Method::GET, url.clone()), Trust::Written)
            .await
            .expect("a connection that is kept"),
    )
    .await;
    for _ in 0..2 {
        let request = Request::new(reqwest::Method::POST, url.clone());
        read_to_end(net.send_once(request, Trust::Written).await.expect("one of its own")).await;
    }
    assert_eq!(*seen.lock().expect("a lock"), [1, 1, 1]);
}
