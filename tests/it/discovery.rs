//! Addresses of an issuer's discovery document, and other content at them.

use countersign::net::{Net, Policy};
use countersign::oauth::{DiscoveryError, discover};

use crate::support::provider::{Act, Server, answer, json};

/// An issuer whose first address answers with `first`, and whose second has the document if there
/// is one.
async fn issuer(first: Vec<u8>, has_document: bool) -> (Server, url::Url) {
    let server = Server::start(move |request| {
        let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        Act::Say(if request.starts_with("GET /.well-known/openid-configuration") {
            first.clone()
        } else if has_document {
            json(format!(
                r#"{{"issuer":"http://{host}","authorization_endpoint":"http://{host}/a","token_endpoint":"http://{host}/t"}}"#
            ))
        } else {
            answer("404 Not Found", "", "")
        })
    })
    .await;
    let issuer = server.origin.parse().unwrap();
    (server, issuer)
}

fn others() -> Vec<Vec<u8>> {
    vec![
        answer("200 OK", "Content-Type: text/html\r\n", "<html>Welcome</html>"),
        answer("302 Found", "Location: /login\r\n", ""),
        answer("500 Internal Server Error", "", ""),
        answer("404 Not Found", "", ""),
    ]
}

#[tokio::test]
async fn a_page_at_the_first_address_does_not_hide_the_document_at_the_second() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for first in others() {
        let (_server, issuer) = issuer(first, true).await;
        let found = discover(&Net::new(Policy::default()), &issuer).await.unwrap();
        assert_eq!(found.token_endpoint.path(), "/t");
    }
}

#[tokio::test]
async fn what_tells_most_is_reported() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut reports = Vec::new();
    for first in others() {
        let (_server, issuer) = issuer(first, false).await;
        reports.push(match discover(&Net::new(Policy::default()), &issuer).await {
            Err(DiscoveryError::Missing { status, .. }) => status,
            Err(DiscoveryError::Unusable { .. }) => 200,
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(reports, [200, 302, 500, 404]);
}

#[tokio::test]
async fn a_document_without_end_is_not_read_to_it() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server =
        Server::start(|_| Act::Forever(b"HTTP/1.1 200 OK\r\n\r\n{".to_vec(), vec![b' '; 64 << 10]))
            .await;
    let found = discover(&Net::new(Policy::default()), &server.origin.parse().unwrap()).await;
    assert!(matches!(found, Err(DiscoveryError::Unreachable { .. })), "{found:?}");
}
