//! Several people at one server: whose browser it is that comes, and that nobody finishes what somebody else began
//! (MCP 2026-07-28, client/elicitation, "Phishing").

use serde_json::{Value, json};

use crate::harness::{
    Answer, Application, Browsers, Dialect, Home, Host, Issuer, Page, Prompt, Reply, Served,
    Transport, Wire, World, request,
};

const STORE_KEY: &str = "cGVvcGxlIHBlb3BsZSBwZW9wbGUgcGVvcGxlIHBlMDE=";
const APP_KEY: &str = "application-key-0123456789abcdef";
const OTHER_KEY: &str = "other-application-key-0123456789";

type Caller = Host<Box<dyn Wire>>;

/// A server whose people sign in at an issuer, and everything around it.
struct Signed {
    world: World,
    issuer: Issuer,
    home: Home,
    served: Served,
    browsers: Browsers,
}

impl Signed {
    fn start(tokens: &str) -> Self {
        let world = World::start();
        let issuer = Issuer::start(tokens);
        let (client_id, client_secret) = Issuer::CLIENT;
        let auth = format!(
            "[server.auth]\nissuer = \"{}\"\nintrospect = {}\n\
             client_id = \"{client_id}\"\nclient_secret = \"env:SIGN_IN_SECRET\"\n",
            issuer.url(),
            tokens == "opaque",
        );
        let home = Home::new(&format!("{auth}{}", world.tools()))
            .with("COUNTERSIGN_KEY", STORE_KEY)
            .with("SIGN_IN_SECRET", client_secret);
        let served = Served::start(&home);
        Self { world, issuer, home, served, browsers: Browsers::start() }
    }

    /// Somebody's MCP client.
    fn host(&self, who: &str, transport: Transport, dialect: Dialect) -> Caller {
        let bearer = format!("Bearer {}", self.issuer.access_token(&self.served, who));
        self.served.host_with(transport, dialect, &[("authorization", &bearer)])
    }

    /// Opens a link, and signs in with the browser first.
    fn sign_in(&mut self, who: &str, link: &str) -> Page {
        let page = self.browsers.open(who, link);
        assert!(page.url.contains("/signin"), "{page:?}");
        let page = self.browsers.press(who, "");
        self.browsers.allow(who, self.issuer.url(), who, page)
    }

    /// Goes from our connect page to the provider, and on to the end.
    fn connect(&mut self, who: &str, login: &str) -> Page {
        let page = self.browsers.press(who, "continue");
        self.browsers.allow(who, self.world.issuer(), login, page)
    }
}

/// Codes that were exchanged at the tool's provider.
fn exchanged(world: &World) -> u64 {
    world.counts()["token_requests"]["authorization_code"].as_u64().unwrap_or(0)
}

fn asked(host: &mut Caller) -> Prompt {
    host.call("whoami", &json!({})).asked()
}

#[track_caller]
fn assert_account(host: &mut Caller, login: &str) {
    let text = host.call("whoami", &json!({})).ran();
    assert!(text.contains(&format!("\"{login}\"")), "{text}");
}

#[track_caller]
fn assert_unconnected(host: &mut Caller) {
    let answer = host.call("whoami", &json!({}));
    assert!(matches!(answer, Answer::Asked(_)), "{answer:?}");
}

#[test]
fn each_connects_an_account_of_their_own() {
    for tokens in ["jwt", "opaque"] {
        let mut signed = Signed::start(tokens);
        let mut ana = signed.host("ana", Transport::Streamable, Dialect::ERRORS);
        let mut bob = signed.host("bob", Transport::Sse, Dialect::PLAIN);
        let (for_ana, for_bob) = (asked(&mut ana), asked(&mut bob));
        assert_ne!(for_ana.url, for_bob.url);

        let page = signed.sign_in("ana", &for_ana.url);
        assert!(page.text.contains("Notes") && page.text.contains("ana"), "{page:?}");
        let page = signed.connect("ana", "ana_at_notes");
        assert_eq!(page.status, 200, "{page:?}");
        ana.completion(for_ana.elicitation.as_deref().unwrap());
        assert_account(&mut ana, "ana_at_notes");
        assert_unconnected(&mut bob);

        signed.sign_in("bob", &for_bob.url);
        let page = signed.connect("bob", "bob_at_notes");
        assert_eq!(page.status, 200, "{page:?}");
        assert_account(&mut bob, "bob_at_notes");
        assert_account(&mut ana, "ana_at_notes");
        assert_eq!(exchanged(&signed.world), 2);
        drop((ana, bob));
        assert_eq!(signed.served.end().code(), Some(0), "{}", signed.home.log());
    }
}

#[test]
fn a_link_opened_by_somebody_else_gives_nothing_and_changes_nothing() {
    let mut signed = Signed::start("jwt");
    let mut ana = signed.host("ana", Transport::Streamable, Dialect::PLAIN);
    let mut bob = signed.host("bob", Transport::Streamable, Dialect::PLAIN);
    let link = asked(&mut ana).url;

    let page = signed.sign_in("bob", &link);
    assert_eq!(page.status, 403, "{page:?}");
    for told in ["Notes", "ana", "whoami", "notes:read"] {
        assert!(!page.text.contains(told), "{told}: {page:?}");
    }
    assert!(!page.buttons.contains(&Some("continue".into())), "{page:?}");
    assert_eq!(signed.world.counts()["authorization_requests"], 0);
    assert_eq!(exchanged(&signed.world), 0);
    assert_unconnected(&mut bob);
    // It is as good as before for her whose it is.
    assert_eq!(asked(&mut ana).url, link);
    signed.sign_in("ana", &link);
    assert_eq!(signed.connect("ana", "ana_at_notes").status, 200);
    assert_account(&mut ana, "ana_at_notes");
    assert_unconnected(&mut bob);
}

/// Who began passes our page herself and hands on what it leads to: the page alone protects nobody.
#[test]
fn the_provider_s_address_handed_on_attaches_nothing() {
    let mut signed = Signed::start("jwt");
    let mut ana = signed.host("ana", Transport::Streamable, Dialect::PLAIN);
    let mut bob = signed.host("bob", Transport::Streamable, Dialect::PLAIN);
    // Bob is signed in with his browser, with a link of his own.
    let link_of_bob = asked(&mut bob).url;
    signed.sign_in("bob", &link_of_bob);

    for (who, login) in [("bob", "bob_at_notes"), ("carol", "carol_at_notes")] {
        let link = asked(&mut ana).url;
        let page = signed.browsers.open("ana", &link);
        if page.url.contains("/signin") {
            signed.sign_in("ana", &link);
        }
        let at_provider = signed.browsers.press("ana", "continue");
        assert!(at_provider.is_at(signed.world.issuer()), "{at_provider:?}");
        // Not where she is now, which her browser alone can see, but the address that led her there.
        let led = at_provider.visited.iter().find(|url| url.contains("/auth?"));
        let authorize = led.unwrap().clone();

        assert!(authorize.starts_with(signed.world.issuer()));
        let page = signed.browsers.open(who, &authorize);
        let page = signed.browsers.allow(who, signed.world.issuer(), login, page);
        assert!(page.is_at(signed.served.origin()), "{page:?}");
        assert!((400..500).contains(&page.status), "{page:?}");
        assert_eq!(exchanged(&signed.world), 0, "{who}");
        assert_unconnected(&mut ana);
        assert_unconnected(&mut bob);
    }
    // Both can still connect, each their own.
    let link = asked(&mut ana).url;
    signed.browsers.open("ana", &link);
    assert_eq!(signed.connect("ana", "ana_at_notes").status, 200);
    assert_account(&mut ana, "ana_at_notes");
    assert_unconnected(&mut bob);
}

/// A server whose callers are an application's users, and everything around it.
struct Applied {
    world: World,
    app: Application,
    home: Home,
    served: Served,
    browsers: Browsers,
}

impl Applied {
    fn start() -> Self {
        let world = World::start();
        let app = Application::start(APP_KEY);
        let url = app.url();
        let auth = format!(
            "[[server.auth.api_keys]]\nname = \"app\"\nkey = \"env:APP_KEY\"\nverifier_url = \"{url}/verify\"\n\
             [[server.auth.api_keys]]\nname = \"other\"\nkey = \"env:OTHER_KEY\"\nverifier_url = \"{url}/other\"\n\
             [[server.auth.api_keys]]\nname = \"mute\"\nkey = \"env:MUTE_KEY\"\n"
        );
        let home = Home::new(&format!("{auth}{}", world.tools()))
            .with("COUNTERSIGN_KEY", STORE_KEY)
            .with("APP_KEY", APP_KEY)
            .with("OTHER_KEY", OTHER_KEY)
            .with("MUTE_KEY", MUTE_KEY);
        let served = Served::start(&home);
        Self { world, app, home, served, browsers: Browsers::start() }
    }

    /// What an application calls for one of its users.
    fn host(&self, key: &str, user: &str, dialect: Dialect) -> Caller {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str()), ("countersign-user", user)];
        self.served.host_with(Transport::Streamable, dialect, &headers)
    }

    /// Somebody who is signed in at the application opens a link, and goes on to the end.
    fn visit(&mut self, who: &str, link: &str) -> Page {
        self.browsers.open(who, &format!("{}/login/{who}", self.app.url()));
        self.browsers.open(who, link);
        let page = self.browsers.press(who, "continue");
        self.browsers.allow(who, self.world.issuer(), &format!("{who}_at_notes"), page)
    }

    fn confirm(&self, key: &str, flow: &str, user: &str) -> Reply {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let body = json!({ "flow_id": flow, "user_id": user }).to_string();
        request("POST", &format!("{}/v1/auth/confirm_user", self.served.origin()), &headers, &body)
    }
}

/// Of an application that says nothing about browsers.
const MUTE_KEY: &str = "mute-application-key-0123456789ab";

#[track_caller]
fn assert_refused(reply: &Reply, name: &str) {
    let problem: Value = reply.json();
    assert_eq!(problem["name"], name, "{reply:?}");
    assert!((400..500).contains(&reply.status), "{reply:?}");
}

#[test]
fn an_application_answers_for_its_users() {
    let mut applied = Applied::start();
    applied.app.confirm_to(&applied.served);
    let mut ana = applied.host(APP_KEY, "ana", Dialect::ERRORS);
    let mut bob = applied.host(APP_KEY, "bob", Dialect::PLAIN);
    let prompt = asked(&mut ana);
    let page = applied.visit("ana", &prompt.url);
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.is_at(applied.served.origin()), "{page:?}");
    ana.completion(prompt.elicitation.as_deref().unwrap());
    assert_account(&mut ana, "ana_at_notes");
    assert_unconnected(&mut bob);
    // Nor somebody of the same name at another application.
    assert_unconnected(&mut applied.host(OTHER_KEY, "ana", Dialect::PLAIN));

    // Opened by somebody else: the application says who that is.
    let link = asked(&mut bob).url;
    let page = applied.visit("ana", &link);
    assert!(page.title.contains("user_mismatch"), "{page:?}");
    assert_eq!(exchanged(&applied.world), 1);
    assert_unconnected(&mut bob);
    assert_account(&mut ana, "ana_at_notes");

    let link = asked(&mut bob).url;
    assert_eq!(applied.visit("bob", &link).status, 200);
    assert_account(&mut bob, "bob_at_notes");
    drop((ana, bob));
    assert_eq!(applied.served.end().code(), Some(0), "{}", applied.home.log());
}

#[test]
fn what_confirms_a_consent_is_known_to_its_browser_alone() {
    let mut applied = Applied::start();
    let mut ana = applied.host(APP_KEY, "ana", Dialect::ERRORS);
    let prompt = asked(&mut ana);
    let elicitation = prompt.elicitation.clone().unwrap();
    let ticket = prompt.url.rsplit('/').next().unwrap().to_owned();
    applied.visit("ana", &prompt.url);
    let flows = applied.app.flows();
    let flow = flows[0]["flow_id"].as_str().unwrap();
    assert_eq!(exchanged(&applied.world), 0, "nothing before it is confirmed");
    assert_unconnected(&mut ana);

    // Who began knows all of these, and none is what the browser brought.
    let state = applied.world.issued()["states"][0].as_str().unwrap().to_owned();
    for guess in [&ticket, &elicitation, &state, "", &flow[1..], &flow.to_uppercase()] {
        assert_refused(&applied.confirm(APP_KEY, guess, "ana"), "unknown_flow");
    }
    assert_refused(&applied.confirm(OTHER_KEY, flow, "ana"), "unknown_flow");
    assert_refused(&applied.confirm("no-key-at-all", flow, "ana"), "invalid_authorization");
    assert_eq!(exchanged(&applied.world), 0);

    // It is as good as before, once.
    let reply = applied.confirm(APP_KEY, flow, "ana");
    assert_eq!(reply.status, 200, "{reply:?}");
    ana.completion(&elicitation);
    assert_account(&mut ana, "ana_at_notes");
    assert_refused(&applied.confirm(APP_KEY, flow, "ana"), "unknown_flow");
    assert_eq!(exchanged(&applied.world), 1);
}

/// A wrong answer is no free guess.
#[test]
fn a_consent_of_the_wrong_user_is_over() {
    let mut applied = Applied::start();
    let mut ana = applied.host(APP_KEY, "ana", Dialect::PLAIN);
    let link = asked(&mut ana).url;
    applied.visit("ana", &link);
    let flows = applied.app.flows();
    let flow = flows[0]["flow_id"].as_str().unwrap();
    assert_refused(&applied.confirm(APP_KEY, flow, "bob"), "user_mismatch");
    assert_refused(&applied.confirm(APP_KEY, flow, "ana"), "unknown_flow");
    assert_eq!(exchanged(&applied.world), 0);
    assert_unconnected(&mut ana);
}

#[test]
fn without_anybody_to_answer_for_a_browser_there_are_no_links() {
    let applied = Applied::start();
    let mut ana = applied.host(MUTE_KEY, "ana", Dialect::PLAIN);
    let text = ana.call("whoami", &json!({})).failed();
    assert!(text.contains("verifier_url") && !text.contains("http://127"), "{text}");
}

/// In both colour schemes, 320 px wide and enlarged, by what axe knows of WCAG 2.2.
#[test]
fn the_pages_of_several_people_can_be_used_by_everybody() {
    let mut signed = Signed::start("jwt");
    let mut ana = signed.host("ana", Transport::Streamable, Dialect::PLAIN);
    let accounts = format!("{}/connections", signed.served.origin());
    let link = asked(&mut ana).url;
    let none: [&str; 0] = [];

    signed.browsers.open("ana", &link);
    assert_eq!(signed.browsers.problems("ana", "sign-in"), none);
    signed.sign_in("ana", &link);
    assert_eq!(signed.browsers.problems("ana", "connect"), none);
    signed.sign_in("bob", &link);
    assert_eq!(signed.browsers.problems("bob", "other-person"), none);
    signed.connect("ana", "ana_at_notes");
    assert_account(&mut ana, "ana_at_notes");
    let page = signed.browsers.open("ana", &accounts);
    assert!(page.text.contains("Notes") && page.text.contains("within the last hour"), "{page:?}");
    assert_eq!(signed.browsers.problems("ana", "accounts"), none);
    let page = signed.browsers.open("bob", &accounts);
    assert!(page.text.contains("Nothing is connected yet"), "{page:?}");

    let mut applied = Applied::start();
    let link = asked(&mut applied.host(APP_KEY, "ana", Dialect::PLAIN)).url;
    let page = applied.browsers.open("ana", &link);
    assert!(page.text.contains("You will confirm it at 127.0.0.1"), "{page:?}");
    assert_eq!(applied.browsers.problems("ana", "connect-application"), none);
}
