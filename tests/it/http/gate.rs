//! Access to `/mcp`, `/sse` and `/messages`.

use super::wire::{POST, Served, initialize};

const PATHS: [&str; 3] = ["POST /mcp", "GET /sse", "POST /messages?sessionId=x"];

#[test]
fn a_request_for_another_host_is_misdirected() {
    let served = Served::over("");
    let port = served.port();
    for host in [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        format!("127.0.0.1.evil.example:{port}"),
        format!("0.0.0.0:{port}"),
        format!("127.0.0.1:{port}@evil.example"),
    ] {
        for path in PATHS {
            let answer = served.ask(path, &[&POST[..], &[("Host", &host)]].concat(), b"{}");
            assert_eq!(answer.status, 421, "{path} {host}");
        }
    }
    let two = [("Host", served.address.as_str()), ("Host", "evil.example")];
    assert!([400, 421].contains(&served.ask("GET /sse", &two, b"").status));
    // The target outranks the header.
    let target = "GET http://evil.example/sse";
    assert_eq!(served.ask(target, &[], b"").status, 421);
    for host in ["localhost", "[::1]", "127.0.0.1", "LOCALHOST"] {
        let host = format!("{host}:{port}");
        let headers = [&POST[..], &[("Host", &host)]].concat();
        let answer = served.ask("POST /mcp", &headers, initialize().to_string().as_bytes());
        assert_eq!(answer.status, 200, "{host}");
    }
}

#[test]
fn a_script_of_another_sites_page_is_refused() {
    let served = Served::over("");
    let port = served.port();
    for origin in [
        "null".to_owned(),
        "https://evil.example".into(),
        "http://127.0.0.1".into(),
        format!("https://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}.evil.example"),
        format!("http://127.0.0.1:{port}, https://evil.example"),
        "chrome-extension://abc".into(),
    ] {
        for path in PATHS {
            let answer = served.ask(path, &[&POST[..], &[("Origin", &origin)]].concat(), b"{}");
            assert_eq!(answer.status, 403, "{path} {origin}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    }
    let own = format!("http://127.0.0.1:{port}");
    assert_eq!(served.post(&[("Origin", &own)], &initialize()).status, 200);
    // A preflight is refused.
    let preflight = [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST")];
    let answer = served.ask("OPTIONS /mcp", &preflight, b"");
    assert_eq!(answer.status, 403);
}

#[test]
fn the_token_is_demanded_once_and_in_its_header() {
    let served = Served::start("", |command| command.arg("--token"));
    let path = served.folder.path().join(".config/countersign/http.token");
    let token = std::fs::read_to_string(path).unwrap();
    let token = token.trim();
    let good = format!("Bearer {token}");
    let with = |path: &str, headers: &[(&str, &str)]| {
        served.ask(path, &[&POST[..], headers].concat(), initialize().to_string().as_bytes())
    };
    assert_eq!(with("POST /mcp", &[("Authorization", &good)]).status, 200);
    let mut changed = token.to_owned();
    changed.pop();
    for path in PATHS {
        for wrong in [
            None,
            Some("Bearer ".to_owned()),
            Some("Bearer".into()),
            Some(format!("Bearer {changed}")),
            Some(format!("Bearer {token}x")),
            Some(format!("Bearer {}", token.to_ascii_lowercase())),
            Some(format!("Basic {token}")),
            Some(token.to_owned()),
            Some(format!("Bearer {token} {token}")),
        ] {
            let headers: Vec<_> =
                wrong.as_deref().map(|value| ("Authorization", value)).into_iter().collect();
            let answer = with(path, &headers);
            assert!([400, 401].contains(&answer.status), "{path} {wrong:?}: {answer:?}");
            assert!(answer.header("www-authenticate").is_some_and(|it| it.starts_with("Bearer ")));
            assert!(!answer.body.contains(token));
        }
        let twice = [("Authorization", good.as_str()), ("Authorization", &good)];
        assert_eq!(with(path, &twice).status, 400, "{path} twice");
    }
    // A token in a query would end up in logs.
    for query in ["access_token", "token", "key"] {
        assert_eq!(with(&format!("POST /mcp?{query}={token}"), &[]).status, 401);
    }
    assert_eq!(served.ask("GET /health", &[], b"").status, 200);
}

#[test]
fn a_sign_in_is_refused_to_the_address_that_tried_too_often_and_to_no_other() {
    let tools = r#"
        [server]
        trusted_proxies = ["127.0.0.1"]
        [[server.auth.api_keys]]
        name = "one"
        key  = "env:ONE_KEY"
        user = "ana"
    "#;
    let key = "0123456789abcdef0123456789";
    let sealed = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let served =
        Served::start(tools, |command| command.env("COUNTERSIGN_KEY", sealed).env("ONE_KEY", key));
    let page = served.ask("GET /signin", &[], b"");
    let cookie = page.header("set-cookie").unwrap().split(';').next().unwrap();
    let (_, token) = page.body.split_once("name=\"csrf\" value=\"").unwrap();
    let token = token.split('"').next().unwrap();
    let paste = |from: &str, key: &str| {
        let form = ("Content-Type", "application/x-www-form-urlencoded");
        let headers = [form, ("Cookie", cookie), ("X-Forwarded-For", from)];
        let body = format!("csrf={token}&key={key}");
        served.ask("POST /signin", &headers, body.as_bytes()).status
    };
    let tried: Vec<u16> = (0..11).map(|_| paste("192.0.2.66", "guess")).collect();
    assert_eq!(tried, [&[403; 10][..], &[429]].concat());
    assert_eq!(paste("192.0.2.1", key), 303);
}
