//! The browser's side: which browser may open a link and come back, and how often.

use std::sync::Barrier;

use serde_json::json;

use crate::harness::{Dialect, Held, Home, Reply, Server, Visit, World, press, provider, request};

/// A user who has consented at the provider and has not come back yet.
struct Returning<'a> {
    world: &'a World,
    _home: Home,
    server: Server,
    link: String,
    held: Held,
    exchanged_before: u64,
}

impl<'a> Returning<'a> {
    fn to(world: &'a World) -> Self {
        let tools = format!("{}{}", provider("other", world.issuer(), world.api()), world.tools());
        let home = Home::new(&tools);
        let mut server = Server::start(&home, Dialect::PLAIN);
        let link = server.call("whoami", &json!({})).asked().url;
        let held = Visit::to(&link).hold();
        let exchanged_before = world.exchanged();
        Self { world, _home: home, server, link, held, exchanged_before }
    }

    /// Comes back with this browser's cookie.
    fn come_back(&self, url: &str) -> Reply {
        request("GET", url, &[("cookie", &self.held.cookie)], "")
    }

    /// Asserts that no code was exchanged and no account is connected.
    #[track_caller]
    fn assert_untouched(&mut self, reply: &Reply) {
        assert!((400..500).contains(&reply.status), "{reply:?}");
        assert_eq!(self.codes_exchanged(), 0);
        self.server.call("whoami", &json!({})).asked();
    }

    fn codes_exchanged(&self) -> u64 {
        self.world.exchanged() - self.exchanged_before
    }

    /// The held callback with its query changed.
    fn with_query(&self, change: impl Fn(&str, &str) -> Vec<(String, String)>) -> String {
        let mut url = url::Url::parse(&self.held.callback_url).unwrap();
        let pairs: Vec<(String, String)> =
            url.query_pairs().flat_map(|(name, value)| change(&name, &value)).collect();
        url.query_pairs_mut().clear().extend_pairs(pairs);
        url.into()
    }

    /// Asserts that the good callback still works: earlier requests were refused and did no harm.
    #[track_caller]
    fn assert_still_good(&mut self) {
        let reply = self.come_back(&self.held.callback_url.clone());
        assert_eq!(reply.status, 303, "{reply:?}");
        assert!(self.server.call("whoami", &json!({})).ran().contains("\"ana\""));
    }
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.into(), value.into())
}

#[test]
fn looking_at_a_link_changes_nothing() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut server = Server::start(&home, Dialect::PLAIN);
    let link = server.call("whoami", &json!({})).asked().url;
    for headers in [
        &[][..],
        &[("purpose", "prefetch"), ("sec-purpose", "prefetch;prerender")],
        &[("user-agent", "link-preview-bot/1.0")],
    ] {
        for method in ["GET", "HEAD", "GET"] {
            let reply = request(method, &link, headers, "");
            let expected = if method == "HEAD" { 405 } else { 200 };
            assert_eq!(reply.status, expected, "{method}: {reply:?}");
            // At most the cookie that every form needs; none of an authorization attempt.
            let set = reply.headers.iter().filter(|(name, _)| name == "set-cookie");
            let is_of_forms = |cookie: &str| {
                let name = cookie.split('=').next().and_then(|it| it.strip_prefix("countersign_"));
                name.is_some_and(|port| port.parse::<u16>().is_ok())
            };
            assert!(set.clone().all(|(_, cookie)| is_of_forms(cookie)), "{reply:?}");
            assert!(reply.header("location").is_none(), "{reply:?}");
        }
    }
    assert_eq!(world.counts()["authorization_requests"], 0);
    Visit::to(&link).approves();
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));
}

#[test]
fn pages_are_armoured() {
    let world = World::start();
    let person = Returning::to(&world);
    let connect = request("GET", &person.link, &[], "");
    let gone = person.come_back(&person.held.callback_url.replace("state=", "state=x"));
    let missing = request("GET", &format!("{}x", person.link), &[], "");
    for (page, name) in [(&connect, "connect"), (&gone, "refused"), (&missing, "missing")] {
        let header =
            |wanted: &str| page.header(wanted).unwrap_or_else(|| panic!("{name}: no {wanted}"));
        let policy = header("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{name}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{name}: {policy}");
        assert!(!policy.contains("form-action"), "{name}: {policy}");
        assert!(!policy.contains("unsafe"), "{name}: {policy}");
        assert!(header("cache-control").contains("no-store"), "{name}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{name}");
        assert!(page.header("referrer-policy").is_some(), "{name}");
        assert!(!page.body.contains("<script"), "{name}");
    }
    assert!(connect.body.contains("notes:read"), "the page says what for: {}", connect.body);
    assert_eq!(missing.status, 410);
}

#[test]
fn a_state_is_redeemed_once() {
    let world = World::start();
    let mut person = Returning::to(&world);
    let url = person.held.callback_url.clone();
    assert_eq!(person.come_back(&url).status, 303);
    for _ in 0..3 {
        let reply = person.come_back(&url);
        assert!((400..500).contains(&reply.status), "{reply:?}");
    }
    assert_eq!(person.codes_exchanged(), 1);
    assert!(person.server.call("whoami", &json!({})).ran().contains("\"ana\""));
}

#[test]
fn two_callbacks_at_the_same_instant_have_one_winner() {
    let world = World::start();
    for _ in 0..5 {
        let mut person = Returning::to(&world);
        let start = Barrier::new(4);
        let held = &person.held;
        let mut statuses: Vec<u16> = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        request("GET", &held.callback_url, &[("cookie", &held.cookie)], "").status
                    })
                })
                .collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        });
        statuses.sort_unstable();
        assert_eq!(statuses[0], 303, "{statuses:?}");
        assert!(statuses[1..].iter().all(|status| (400..500).contains(status)), "{statuses:?}");
        // The authorization server destroys a grant whose code is sent twice.
        assert_eq!(person.codes_exchanged(), 1);
        assert!(person.server.call("whoami", &json!({})).ran().contains("\"ana\""));
    }
}

#[test]
fn another_browser_gets_nowhere() {
    let world = World::start();
    for has in ["nothing", "a cookie of somebody else", "a forged one", "the same one twice"] {
        let mut person = Returning::to(&world);
        let (name, value) = person.held.cookie.split_once('=').unwrap();
        let headers = match has {
            "nothing" => None,
            "a cookie of somebody else" => Some("x=y".to_owned()),
            "a forged one" => Some(format!("{name}={}", value.chars().rev().collect::<String>())),
            _ => Some(format!("{name}={value}; {name}={value}")),
        };
        let headers: Vec<_> = headers.iter().map(|cookie| ("cookie", cookie.as_str())).collect();
        let reply = request("GET", &person.held.callback_url, &headers, "");
        person.assert_untouched(&reply);
        // The attempt is used up, also for the right browser; a new attempt works.
        let reply = person.come_back(&person.held.callback_url);
        person.assert_untouched(&reply);
        Visit::to(&person.link).approves();
        assert!(person.server.call("whoami", &json!({})).ran().contains("\"ana\""), "{has}");
    }
}

#[test]
fn the_path_names_the_provider() {
    let world = World::start();
    for other in ["other", "unknown", "notes/", "notes%2f..", "../notes"] {
        let mut person = Returning::to(&world);
        let url =
            person.held.callback_url.replace("/callback/notes", &format!("/callback/{other}"));
        assert_ne!(url, person.held.callback_url);
        let reply = person.come_back(&url);
        person.assert_untouched(&reply);
    }
}

#[test]
fn an_answer_from_another_issuer_is_refused() {
    let world = World::start();
    let slash = format!("{}/", world.issuer());
    // The issuer declares that it always sends `iss` (RFC 9207 §2.3), so an answer without it is
    // not its own.
    for issuer in [Some("http://127.0.0.1:1"), Some(""), Some(&slash), None] {
        let mut person = Returning::to(&world);
        let url = person.with_query(|name, value| match name {
            "iss" => issuer.map(|issuer| pair("iss", issuer)).into_iter().collect(),
            _ => vec![pair(name, value)],
        });
        let reply = person.come_back(&url);
        person.assert_untouched(&reply);
    }
}

#[test]
fn doubled_and_missing_parameters_are_refused() {
    let world = World::start();
    let mut person = Returning::to(&world);
    for doubled in ["state", "code", "iss"] {
        let url = person.with_query(|name, value| {
            let times = if name == doubled { 2 } else { 1 };
            vec![pair(name, value); times]
        });
        let reply = person.come_back(&url);
        person.assert_untouched(&reply);
    }
    for missing in ["state", "code"] {
        let url = person.with_query(
            |name, value| {
                if name == missing { vec![] } else { vec![pair(name, value)] }
            },
        );
        let reply = person.come_back(&url);
        person.assert_untouched(&reply);
    }
}

#[test]
fn only_a_get_from_the_right_host_is_a_callback() {
    let world = World::start();
    let mut person = Returning::to(&world);
    let url = person.held.callback_url.clone();
    let cookie = person.held.cookie.clone();
    for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS"] {
        let reply = request(method, &url, &[("cookie", &cookie)], "");
        person.assert_untouched(&reply);
    }
    let (authority, _) = url.trim_start_matches("http://").split_once('/').unwrap();
    let port = authority.rsplit_once(':').unwrap().1;
    let wrong = [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        format!("127.0.0.1.evil.example:{port}"),
        "127.0.0.1".to_owned(),
        "127.0.0.1:1".to_owned(),
        String::new(),
    ];
    for host in &wrong {
        let reply = request("GET", &url, &[("cookie", &cookie), ("host", host)], "");
        person.assert_untouched(&reply);
        let reply = press(&person.link, &[("host", host)], "continue");
        person.assert_untouched(&reply);
    }
    person.assert_still_good();
}

/// The link named `127.0.0.1`, so that is the host of the user's browser.
#[test]
fn a_callback_comes_to_the_host_that_the_link_named() {
    let world = World::start();
    let mut person = Returning::to(&world);
    let url = person.held.callback_url.replace("http://127.0.0.1:", "");
    let (port, _) = url.split_once('/').unwrap();
    for host in [format!("localhost:{port}"), format!("[::1]:{port}")] {
        let headers = [("cookie", person.held.cookie.as_str()), ("host", host.as_str())];
        let reply = request("GET", &person.held.callback_url, &headers, "");
        person.assert_untouched(&reply);
    }
    person.assert_still_good();
}

#[test]
fn a_page_of_somebody_else_cannot_press_the_button() {
    let world = World::start();
    let mut person = Returning::to(&world);
    let asked = person.world.counts()["authorization_requests"].clone();
    for headers in [
        &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")][..],
        &[("origin", "http://127.0.0.1:1"), ("sec-fetch-site", "same-site")],
    ] {
        let reply = press(&person.link, headers, "continue");
        assert_eq!(reply.status, 403, "{reply:?}");
        assert!(reply.header("set-cookie").is_none());
    }
    assert_eq!(person.world.counts()["authorization_requests"], asked);
    person.assert_still_good();
}

#[test]
fn the_button_pressed_twice_still_connects_once() {
    let world = World::start();
    let mut person = Returning::to(&world);
    let second = Visit::to(&person.link).hold();
    assert_ne!(second.callback_url, person.held.callback_url);
    person.assert_still_good();
    let late = request("GET", &second.callback_url, &[("cookie", &second.cookie)], "");
    assert!(late.status < 500, "{late:?}");
    assert!(person.server.call("whoami", &json!({})).ran().contains("\"ana\""));
    let done = request("GET", &person.link, &[], "");
    assert_eq!(done.status, 200);
    assert!(!done.body.contains("Continue to"), "nothing is left to approve: {}", done.body);
}

#[test]
fn no_thanks_is_an_answer() {
    let world = World::start();
    let mut person = Returning::to(&world);
    let reply = press(&person.link, &[], "decline");
    assert_eq!(reply.status, 303, "{reply:?}");
    let page = request("GET", &person.link, &[], "");
    assert_eq!(page.status, 200);
    assert!(!page.body.contains("<form"), "nothing is left to do: {}", page.body);
    let again = person.server.call("whoami", &json!({})).asked();
    assert_ne!(again.url, person.link);
    assert_eq!(person.codes_exchanged(), 0);
}

#[test]
fn a_denial_is_said_and_the_next_call_asks_anew() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut server = Server::start(&home, Dialect::PLAIN);
    let first = server.call("whoami", &json!({})).asked();
    let page = Visit::to(&first.url).denying().go();
    assert!(page.status.is_some_and(|status| status < 500), "{page:?}");
    assert!(!page.title.is_empty() && !page.text.is_empty());
    let second = server.call("whoami", &json!({})).asked();
    Visit::to(&second.url).approves();
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));
}

#[test]
fn what_a_provider_says_is_text_and_never_markup() {
    let world = World::start();
    let person = Returning::to(&world);
    let url = person.with_query(|name, value| match name {
        "code" => vec![
            pair("error", "access_denied"),
            pair("error_description", "<script>alert(1)</script><img src=x onerror=alert(2)>"),
            pair("error_uri", "javascript:alert(3)"),
        ],
        _ => vec![pair(name, value)],
    });
    let mut reply = person.come_back(&url);
    if let Some(location) = reply.header("location") {
        let here = url::Url::parse(&url).unwrap().join(location).unwrap();
        reply = person.come_back(here.as_str());
    }
    assert!(reply.status < 500, "{reply:?}");
    for markup in ["<script", "<img", "href=\"javascript:"] {
        assert!(!reply.body.contains(markup), "{}", reply.body);
    }
    assert_eq!(person.codes_exchanged(), 0);
}

#[test]
fn a_code_that_is_no_good_is_said_and_costs_nothing() {
    let world = World::start();
    let mut person = Returning::to(&world);
    let long = "x".repeat(10_000);
    let url = person.with_query(|name, value| match name {
        "code" => vec![pair("code", &long)],
        _ => vec![pair(name, value)],
    });
    let mut reply = person.come_back(&url);
    if let Some(location) = reply.header("location") {
        let here = url::Url::parse(&url).unwrap().join(location).unwrap();
        reply = person.come_back(here.as_str());
    }
    assert!(reply.status < 500, "{reply:?}");
    assert!(!reply.body.contains("xxxx"), "a code stands on no page");
    let again = person.server.call("whoami", &json!({})).asked();
    Visit::to(&again.url).approves();
    assert!(person.server.call("whoami", &json!({})).ran().contains("\"ana\""));
}
