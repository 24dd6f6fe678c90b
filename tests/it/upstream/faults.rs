//! Faults of an API. The right answer is always a text that a model can act on, in time and within
//! its memory limit.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::support::provider::{Act, Server, answer, json};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

async fn failure(server: &Server) -> String {
    let result = call(&tool(server)).await;
    assert!(result.is_error, "{}", result.text);
    result.text
}

async fn shown(bytes: Vec<u8>) -> String {
    let result = call(&tool(&Server::saying(bytes).await)).await;
    assert!(!result.is_error, "{}", result.text);
    result.text
}

#[tokio::test]
async fn a_redirect_to_another_origin_is_not_followed() {
    let other = Server::saying(json("{}")).await;
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let location = format!("Location: {}/x?key=canary\r\n", other.origin);
        let server = Server::saying(answer(status, &location, "")).await;
        let token = Credential::Bearer(SECRET.into());
        let answer = upstream()
            .execute(&tool(&server), Some(provider(&server).api()), &Map::new(), Some(&token))
            .await;
        let result = result_of(answer);
        assert!(result.is_error && result.text.contains("`127.0.0.1:"), "{}", result.text);
        assert!(!result.text.contains("canary"), "{}", result.text);
    }
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn a_compressed_answer_is_unpacked() {
    let headers = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n";
    assert_eq!(shown(answer("200 OK", headers, gzip(b"{\"a\":1}"))).await, "{\"a\":1}");
}

#[tokio::test]
async fn a_compression_bomb_stops_at_the_cap() {
    let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
    assert!(bomb.len() < 200_000);
    let headers = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n";
    let text = failure(&Server::saying(answer("200 OK", headers, bomb)).await).await;
    assert!(text.contains("more than 10 MiB"), "{text}");
}

#[tokio::test]
async fn a_wrong_encoding_is_told() {
    let headers = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n";
    let text = failure(&Server::saying(answer("200 OK", headers, "{\"a\":1}")).await).await;
    assert!(text.contains("cannot be read as HTTP"), "{text}");
    for encoding in ["br", "zstd", "deflate"] {
        let headers = format!("Content-Type: application/json\r\nContent-Encoding: {encoding}\r\n");
        let text = failure(&Server::saying(answer("200 OK", &headers, "xx")).await).await;
        assert!(text.contains(encoding), "{text}");
    }
}

#[tokio::test]
async fn an_endless_body_stops_at_the_cap() {
    let server = Server::start(|_| {
        Act::Forever(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n".to_vec(),
            vec![b'x'; 64 * 1024],
        )
    })
    .await;
    assert!(failure(&server).await.contains("more than 10 MiB"));
}

#[tokio::test]
async fn endless_headers_are_refused() {
    let server = Server::start(|_| {
        Act::Forever(
            b"HTTP/1.1 200 OK\r\n".to_vec(),
            b"X-Filler: aaaaaaaaaaaaaaaaaaaaaa\r\n".to_vec(),
        )
    })
    .await;
    let text = failure(&server).await;
    assert!(text.contains("cannot be read as HTTP"), "{text}");
}

#[tokio::test]
async fn an_endless_header_is_refused() {
    let server =
        Server::start(|_| Act::Forever(b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'a'; 64 * 1024]))
            .await;
    let text = failure(&server).await;
    assert!(text.contains("cannot be read as HTTP"), "{text}");
}

#[tokio::test]
async fn a_flood_of_interim_answers_ends_with_the_timeout() {
    let server = Server::start(|_| {
        Act::Forever(Vec::new(), b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100))
    })
    .await;
    let tool = with(tool(&server), |action| action.timeout = Duration::from_millis(300));
    let begun = tokio::time::Instant::now();
    let result = call(&tool).await;
    assert!(result.is_error && result.text.contains("did not answer in time"), "{}", result.text);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_silent_api_ends_with_the_timeout() {
    for bytes in ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"] {
        let server = Server::start(move |_| Act::Stall(bytes.into())).await;
        let quick = |action: &mut HttpAction| action.timeout = Duration::from_millis(300);
        let result = call(&with(tool(&server), quick)).await;
        assert!(result.is_error);
        assert!(result.text.contains("did not answer in time. Try again"), "{}", result.text);
        let post = with(with(tool(&server), quick), |action| action.method = Method::Post);
        let result = call(&post).await;
        assert!(result.text.contains("It may have happened all the same"), "{}", result.text);
    }
}

#[tokio::test]
async fn a_length_that_lies_is_noticed() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999999999999\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":",
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "",
        "HTTP/1.1 2",
        "<html>HTTP/0.9</html>",
        "SSH-2.0-OpenSSH_9.6\r\n",
    ] {
        let server = Server::start(move |_| Act::SayAndClose(bytes.into())).await;
        let text = failure(&server).await;
        assert!(text.contains("broke") || text.contains("cannot be read"), "{bytes}: {text}");
    }
    // The body is longer than announced: the rest is not part of the answer.
    let short =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}{}{}";
    let server = Server::start(move |_| Act::SayAndClose(short.into())).await;
    assert_eq!(call(&tool(&server)).await, Shown::text("{}"));
}

#[tokio::test]
async fn answers_without_a_body_are_fine() {
    for (status, body) in [("204 No Content", "surprise"), ("200 OK", ""), ("201 Created", "")] {
        let bytes = answer(status, "", body);
        let server = Server::start(move |_| Act::SayAndClose(bytes.clone())).await;
        let text = call(&tool(&server)).await.text;
        assert_eq!(text, format!("Done: 127.0.0.1 answered {status}."));
    }
}

#[tokio::test]
async fn what_is_no_json_is_told_in_words() {
    let html =
        "<html><head><title>Sign in</title></head><body><p>Please sign in.</p></body></html>";
    let page = answer("200 OK", "Content-Type: text/html\r\n", html);
    assert_eq!(shown(page.clone()).await, "Sign in\n\nPlease sign in.");
    let server = Server::saying(page).await;
    let tool = with(tool(&server), |action| action.select = Some(Filter::new(".id", 3)));
    let result = call(&tool).await;
    assert!(result.is_error && result.text.contains("a web page where this tool expects JSON"));

    let png = answer("200 OK", "Content-Type: image/png\r\n", b"\x89PNG\0\0");
    assert_eq!(shown(png).await, "127.0.0.1 answered with image/png, 6 bytes, not shown.");
    let latin = answer("200 OK", "Content-Type: text/plain\r\n", b"gr\xfc\xdf");
    assert!(shown(latin).await.starts_with("gr\u{fffd}\u{fffd}"));
    let marked = json(b"\xef\xbb\xbf{\"a\":1}");
    assert_eq!(shown(marked).await, "{\"a\":1}");
}

#[tokio::test]
async fn deep_and_huge_json_are_refused() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let text = failure(&Server::saying(json(deep)).await).await;
    assert!(text.contains("nests more than 128 levels"), "{text}");
    let huge = format!("[\"{}\"]", "x".repeat(50 * 1024 * 1024));
    let text = failure(&Server::saying(json(huge)).await).await;
    assert!(text.contains("more than 10 MiB"), "{text}");
}

#[tokio::test]
async fn limits_and_outages_say_when_to_come_back() {
    for (status, headers, words) in [
        ("429 Too Many Requests", "Retry-After: 30\r\n", "Try again in 30 seconds."),
        ("429 Too Many Requests", "Retry-After: -1\r\n", "wait a minute"),
        ("429 Too Many Requests", "Retry-After: 99999\r\n", "in more than a day"),
        (
            "429 Too Many Requests",
            "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:59:37 GMT\r\n",
            "in 10 minutes",
        ),
        ("500 Internal Server Error", "", "Try again in a minute."),
        ("502 Bad Gateway", "", "Try again in a minute."),
        ("503 Service Unavailable", "", "Try again in a minute."),
    ] {
        let server = Server::saying(answer(status, headers, "")).await;
        let text = failure(&server).await;
        assert!(text.contains(words), "{text}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn an_echoed_credential_is_redacted() {
    for (status, kind) in [
        ("200 OK", "application/json"),
        ("200 OK", "text/plain"),
        ("400 Bad Request", "application/json"),
        ("401 Unauthorized", "application/json"),
        ("500 Oops", "text/plain"),
    ] {
        let server = Server::start(move |request| {
            let line =
                request.lines().find(|line| line.starts_with("authorization")).expect("sent");
            let escaped = line.replace('/', "\\/").replace('-', "\\u002d");
            let body = format!("{{\"message\": \"{escaped}\", \"{escaped}\": [\"{line}\"]}}");
            let body = if kind == "text/plain" { line.to_owned() } else { body };
            Act::Say(answer(status, &format!("Content-Type: {kind}\r\n"), body))
        })
        .await;
        let token = Credential::Bearer(SECRET.into());
        let output = json!({"type": "object"}).as_object().cloned().map(std::sync::Arc::new);
        let output = output.filter(|_| kind == "application/json");
        let tool = Tool { output, ..tool(&server) };
        let answer = upstream()
            .execute(&tool, Some(provider(&server).api()), &Map::new(), Some(&token))
            .await;
        let shown = format!("{answer:?}");
        assert!(!shown.contains(SECRET), "{shown}");
        assert!(shown.contains("[redacted]"), "{shown}");
    }
}

#[tokio::test]
async fn a_filter_never_sees_the_credential() {
    let spaced = SECRET.chars().map(String::from).collect::<Vec<_>>().join(" ");
    for filter in [r#".echo | split("") | join(" ")"#, r#"[.echo | split("")] | .[] | join(" ")"#] {
        let server = Server::start(|request| {
            let line =
                request.lines().find(|line| line.starts_with("authorization")).expect("sent");
            Act::Say(json(serde_json::json!({"echo": line}).to_string()))
        })
        .await;
        let token = Credential::Bearer(SECRET.into());
        let provider = provider(&server);
        for key in ["select", "error"] {
            let tool = with(tool(&server), |action| match key {
                "select" => action.select = Some(Filter::new(filter, 3)),
                _ => action.error = Some(Filter::new(filter, 3)),
            });
            let answer =
                upstream().execute(&tool, Some(provider.api()), &Map::new(), Some(&token)).await;
            let text = result_of(answer).text;
            assert!(!text.contains(&spaced) && text.contains("[ r e d a c t e d ]"), "{text}");
        }
    }
}

/// An answer that is slow to search: marks of shortened texts, and one character that causes all of
/// it to be searched.
#[tokio::test]
async fn an_answer_full_of_ellipses_is_no_more_work_than_another() {
    let text = format!("{}\u{202e}", "x…".repeat(2_000_000));
    let server = Server::saying(answer("200 OK", "Content-Type: text/plain\r\n", text)).await;
    let token = Credential::Bearer(SECRET.repeat(20).into());
    let provider = provider(&server);
    let tool = with(tool(&server), |action| action.timeout = Duration::from_mins(1));
    let (upstream, arguments) = (upstream(), Map::new());
    // Takes seconds without optimization; work by the product of the lengths would take longer.
    let call = upstream.execute(&tool, Some(provider.api()), &arguments, Some(&token));
    let result = tokio::time::timeout(Duration::from_mins(1), call).await.expect("in time");
    assert!(!result_of(result).is_error);
}

#[tokio::test]
async fn a_key_in_the_query_stands_in_no_error() {
    let server = Server::start(|_| Act::SayAndClose(Vec::new())).await;
    let key = Credential::Query { name: "appid".into(), value: SECRET.into() };
    let answer = upstream()
        .execute(&tool(&server), Some(provider(&server).api()), &Map::new(), Some(&key))
        .await;
    let text = result_of(answer).text;
    assert!(text.contains("broke") && !text.contains("canary"), "{text}");
    assert!(server.requests()[0].contains("appid=canary"));
}

#[tokio::test]
async fn deceiving_characters_are_removed_from_results() {
    let body = r#"{"a": "\u001b[31mred\u001b[0m", "b": "x\u202egnp.exe", "c": "\u0007"}"#;
    assert_eq!(shown(json(body)).await, r#"{"a":"red","b":"xgnp.exe","c":""}"#);
    let text = answer("200 OK", "Content-Type: text/plain\r\n", "\u{1b}]0;t\u{7}a\u{2066}b\r\n");
    assert_eq!(shown(text).await, "ab\n");
}

#[tokio::test]
async fn a_closed_port_is_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    let server = Server::saying("").await;
    let tool = with(tool(&server), |action| {
        action.origin = Url::parse(&format!("http://{address}")).expect("a URL");
    });
    let text = call(&tool).await.text;
    assert!(text.contains("cannot be connected to") && text.contains("Nothing was sent"), "{text}");
}

/// The API may have done what was asked before the connection broke off, and some act on a GET.
#[tokio::test]
async fn a_read_whose_connection_breaks_off_is_repeated_once_and_an_effect_is_not() {
    for (effect, requests) in [(Effect::Read, 2), (Effect::Write, 1), (Effect::Destroy, 1)] {
        let server = Server::start(|_| Act::SayAndClose(Vec::new())).await;
        let tool = Tool { effect, ..tool(&server) };
        assert!(call(&tool).await.is_error);
        assert_eq!(server.requests().len(), requests, "{effect:?}");
    }
}
