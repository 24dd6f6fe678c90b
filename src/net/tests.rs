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
    assert!(net.0.clients.get_or_default().written.get().is_none());
    assert!(build(Policy::default(), Rule::WrittenPlain).is_ok());
    assert!(build(Policy::default(), Rule::Written).is_ok());
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
