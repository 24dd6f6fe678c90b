//! Redirects: followed within an API's origin, with the credential, and nowhere else.

use super::*;
use crate::support::provider::{Act, answer};

fn moved(status: &str, to: &str) -> Vec<u8> {
    answer(status, &format!("Location: {to}\r\n"), "moved")
}

/// Answers `/x` with a redirect, and other requests with their request line.
async fn server(status: &'static str, to: &'static str) -> Server {
    Server::start(move |request| {
        let line = request.lines().next().unwrap_or_default();
        Act::Say(if line.contains(" /x") {
            moved(status, to)
        } else {
            json_answer(json!({"asked": line}).to_string())
        })
    })
    .await
}

async fn call_with(server: &Server, tool: &Tool, credential: &Credential) -> Shown {
    let provider = provider(server);
    let answer =
        upstream().execute(tool, Some(provider.api()), &Map::new(), Some(credential)).await;
    result_of(answer)
}

fn bearer() -> Credential {
    Credential::Bearer(SECRET.into())
}

#[tokio::test]
async fn a_read_follows_within_the_origin_and_keeps_its_credential() {
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let server = server(status, "/new?page=2#part").await;
        let result = call_with(&server, &tool(&server), &bearer()).await;
        assert_eq!(result.text, r#"{"asked":"GET /new?page=2 HTTP/1.1"}"#, "{status}");
        let requests = server.requests();
        assert_eq!(requests.len(), 2);
        let sent = format!("authorization: Bearer {SECRET}");
        assert!(requests.iter().all(|request| request.contains(&sent)), "{requests:?}");
        assert!(!requests[1].contains("referer"), "{}", requests[1]);
    }
}

#[tokio::test]
async fn an_absolute_address_of_the_same_origin_is_followed() {
    let server = Server::start(|request| {
        let host = request.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
        Act::Say(if request.starts_with("GET /x ") {
            moved("301 Moved", &format!("http://{host}/repositories/5"))
        } else {
            json_answer("{}")
        })
    })
    .await;
    assert_eq!(call(&tool(&server)).await.text, "{}");
    assert!(server.requests()[1].starts_with("GET /repositories/5 "));
}

#[tokio::test]
async fn a_key_in_the_query_is_sent_once_more_and_only_once() {
    for to in ["/new", "/new?appid=other&page=2", "/new?appid=canary-s3cr3t%2Ftoken%2B42%3D"] {
        let server = server("302 Found", to).await;
        let key = Credential::Query { name: "appid".into(), value: SECRET.into() };
        assert!(!call_with(&server, &tool(&server), &key).await.is_error);
        let request = server.requests().pop().expect("a request");
        assert_eq!(request.matches("appid=canary-s3cr3t%2Ftoken%2B42%3D").count(), 1, "{request}");
        assert_eq!(request.matches("appid=").count(), 1, "{request}");
        assert_eq!(request.contains("page=2"), to.contains("page=2"), "{request}");
    }
}

#[tokio::test]
async fn a_write_keeps_its_method_and_body_or_is_not_repeated() {
    let write = |server: &Server| {
        with(tool(server), |action| {
            action.method = Method::Post;
            action.body = Body::Json(countersign::model::tool::Node::Fixed(json!({"a": 1})));
        })
    };
    for status in ["307 Temporary", "308 Permanent"] {
        let server = server(status, "/new").await;
        assert!(!call_with(&server, &write(&server), &bearer()).await.is_error);
        let request = server.requests().pop().expect("a request");
        assert!(request.starts_with("POST /new ") && request.ends_with(r#"{"a":1}"#), "{request}");
    }
    for status in ["301 Moved", "302 Found"] {
        let server = server(status, "/new").await;
        let result = call_with(&server, &write(&server), &bearer()).await;
        assert!(result.is_error && result.text.contains("not repeated"), "{}", result.text);
        assert_eq!(server.requests().len(), 1);
    }
    let server = server("303 See Other", "/new").await;
    assert!(!call_with(&server, &write(&server), &bearer()).await.is_error);
    let request = server.requests().pop().expect("a request");
    assert!(request.starts_with("GET /new ") && request.ends_with("\r\n\r\n"), "{request}");
    assert!(!request.to_ascii_lowercase().contains("content-"), "{request}");
}

#[tokio::test]
async fn a_circle_ends() {
    let server = server("302 Found", "/x?again").await;
    let result = call_with(&server, &tool(&server), &bearer()).await;
    assert!(result.is_error && result.text.contains("5 redirects"), "{}", result.text);
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn no_other_scheme_host_or_port_is_gone_to() {
    let other = Server::saying(json_answer("{}")).await;
    let port = other.origin.rsplit(':').next().expect("a port").to_owned();
    for to in [
        format!("{}/new", other.origin),
        format!("http://localhost:{port}/new"),
        format!("//127.0.0.1:{port}/new"),
        format!("https://127.0.0.1:{port}/new"),
    ] {
        let server = Server::saying(moved("301 Moved", &to)).await;
        // The credential may go to either host, but the other one is not the origin that was asked.
        let provider = Provider {
            hosts: Hosts::new([
                server.origin.trim_start_matches("http://"),
                other.origin.trim_start_matches("http://"),
            ]),
            ..provider(&server)
        };
        let token = bearer();
        let answer = upstream()
            .execute(&tool(&server), Some(provider.api()), &Map::new(), Some(&token))
            .await;
        let result = result_of(answer);
        assert!(result.is_error && result.text.contains("not followed"), "{}", result.text);
        let open = call(&tool(&server)).await;
        assert!(open.is_error && open.text.contains("not followed"), "{}", open.text);
    }
    assert_eq!(other.connections(), 0);
}
