//! An application's users: the application confirms whose browser it is, and other people who have
//! seen a link gain nothing by it. Mallory is a user of the same application, with a browser of her
//! own.

use serde_json::{Value, json};

use crate::harness::{
    Application, Attacker, Browsers, Dialect, Home, Host, Page, Reply, Served, Transport, Wire,
    World, asked, assert_account, assert_unconnected, request, wait_until,
};

const STORE_KEY: &str = "cGVvcGxlIHBlb3BsZSBwZW9wbGUgcGVvcGxlIHBlMDE=";
const APP_KEY: &str = "application-key-0123456789abcdef";
const OTHER_KEY: &str = "other-application-key-0123456789";
/// Key of an application that does not confirm browsers.
const MUTE_KEY: &str = "mute-application-key-0123456789ab";

/// Texts that a page must show to ana only.
const ABOUT: [&str; 4] = ["ana", "whoami", "notes:read", "Switch"];

type Caller = Host<Box<dyn Wire>>;

/// A server whose callers are an application's users, and everything around it.
struct Applied {
    world: World,
    app: Application,
    home: Home,
    served: Served,
    browsers: Browsers,
    attacker: Attacker,
}

impl Applied {
    /// Starts a server whose application confirms a browser `before` it sees anything, or `after`
    /// the provider.
    fn start(confirm: &str) -> Self {
        let world = World::start();
        let app = Application::start(APP_KEY);
        let url = app.url();
        let auth = format!(
            "[[server.auth.api_keys]]\nname = \"app\"\nkey = \"env:APP_KEY\"\nadmin = true\nverifier_url = \"{url}/verify\"\nconfirm = \"{confirm}\"\n\
             [[server.auth.api_keys]]\nname = \"other\"\nkey = \"env:OTHER_KEY\"\nadmin = true\nverifier_url = \"{url}/other\"\n\
             [[server.auth.api_keys]]\nname = \"mute\"\nkey = \"env:MUTE_KEY\"\n"
        );
        let home = Home::new(&format!("{auth}{}", world.tools()))
            .with("COUNTERSIGN_KEY", STORE_KEY)
            .with("APP_KEY", APP_KEY)
            .with("OTHER_KEY", OTHER_KEY)
            .with("MUTE_KEY", MUTE_KEY);
        let served = Served::start(&home);
        let (browsers, attacker) = (Browsers::with_scripts(), Attacker::start());
        Self { world, app, home, served, browsers, attacker }
    }

    /// Like [`Self::start`], with an application that confirms every browser.
    fn confirming(confirm: &str) -> Self {
        let applied = Self::start(confirm);
        applied.app.confirm_to(&applied.served);
        applied
    }

    /// A host of the application, for one of its users.
    fn host(&self, key: &str, user: &str, dialect: Dialect) -> Caller {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str()), ("countersign-user", user)];
        self.served.host_with(Transport::Streamable, dialect, &headers)
    }

    /// Signs in at the application.
    fn log_in(&mut self, who: &str) {
        self.browsers.open(who, &format!("{}/login/{who}", self.app.url()));
    }

    /// A user signs in at the application, opens a link, and continues to the end.
    fn visit(&mut self, who: &str, link: &str) -> Page {
        self.log_in(who);
        let page = self.browsers.open(who, link);
        assert!(page.buttons.contains(&Some("continue".into())), "{page:?}");
        self.approve(who)
    }

    /// Continues from our page to the provider, with the user's own account there.
    fn approve(&mut self, who: &str) -> Page {
        let page = self.browsers.press(who, "continue");
        self.browsers.allow(who, self.world.issuer(), &format!("{who}_at_notes"), page)
    }

    fn confirm(&self, key: &str, flow: &str, user: &str) -> Reply {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let body = json!({ "flow_id": flow, "user_id": user }).to_string();
        request("POST", &format!("{}/v1/auth/confirm_user", self.served.origin()), &headers, &body)
    }

    /// Makes a user's browser load this address, by a page of another site.
    fn lure(&mut self, who: &str, to: &str) -> Page {
        let lure = self.attacker.lure(to);
        self.browsers.open_until(who, &lure, "http://127.0.0.1")
    }

    fn is_ours(&self, page: &Page) -> bool {
        page.is_at(self.served.origin())
    }

    fn connections(&self) -> String {
        format!("{}/connections", self.served.origin())
    }
}

#[track_caller]
fn assert_refused(reply: &Reply, name: &str) {
    let problem: Value = reply.json();
    assert_eq!(problem["name"], name, "{reply:?}");
    assert!((400..500).contains(&reply.status), "{reply:?}");
}

#[track_caller]
fn assert_says_nothing(page: &Page) {
    for word in ABOUT {
        assert!(!page.text.contains(word), "{word}: {page:?}");
    }
    for button in ["decline", "confirm", "keep", "disconnect"] {
        assert!(!page.buttons.contains(&Some(button.into())), "{page:?}");
    }
}

/// Returns the `flow_id` with which a browser was last sent to the application.
fn flow(page: &Page) -> String {
    let led = page.visited.iter().rev().find_map(|url| url.split_once("flow_id=")).unwrap();
    led.1.split('&').next().unwrap().to_owned()
}

#[test]
fn an_application_s_users_connect_at_the_first_try() {
    for confirm in ["before", "after"] {
        let mut applied = Applied::confirming(confirm);
        let mut ana = applied.host(APP_KEY, "ana", Dialect::ERRORS);
        let mut ben = applied.host(APP_KEY, "ben", Dialect::PLAIN);
        let prompt = asked(&mut ana);
        let page = applied.visit("ana", &prompt.url);
        assert!(page.status == 200 && applied.is_ours(&page), "{confirm}: {page:?}");
        assert!(page.text.contains("Notes is connected"), "{page:?}");
        ana.completion(prompt.elicitation.as_deref().unwrap());
        assert_account(&mut ana, "ana_at_notes");
        assert_unconnected(&mut ben);
        // A user of the same name at another application is not connected, either.
        assert_unconnected(&mut applied.host(OTHER_KEY, "ana", Dialect::PLAIN));

        let link = asked(&mut ben).url;
        assert_eq!(applied.visit("ben", &link).status, 200);
        assert_account(&mut ben, "ben_at_notes");
        assert_account(&mut ana, "ana_at_notes");
        let page = applied.browsers.open("ana", &applied.connections());
        assert!(page.text.contains("Notes") && page.text.contains("for ana"), "{page:?}");
        assert_eq!((applied.world.exchanged(), applied.world.revocations()), (2, 0));
        drop((ana, ben));
        assert_eq!(applied.served.end().code(), Some(0), "{}", applied.home.log());
    }
}

/// Mallory has seen ana's link. She opens it again and again, signed in at the application and not.
#[test]
fn who_has_seen_a_link_reads_nothing_and_spoils_nothing() {
    for confirm in ["before", "after"] {
        let mut applied = Applied::confirming(confirm);
        let mut ana = applied.host(APP_KEY, "ana", Dialect::PLAIN);
        let link = asked(&mut ana).url;
        for (is_user, times) in [(false, 21), (true, 2)] {
            if is_user {
                applied.log_in("mallory");
            }
            for _ in 0..times {
                let page = applied.browsers.open("mallory", &link);
                assert_says_nothing(&page);
                if confirm == "after" {
                    // She goes to the provider, and no further.
                    let page = applied.browsers.press("mallory", "continue");
                    assert!(page.is_at(applied.world.issuer()), "{page:?}");
                }
            }
        }
        if confirm == "after" {
            // She refuses there, and then consents with her own account.
            let page = applied.browsers.press("mallory", "deny");
            assert_says_nothing(&page);
            applied.browsers.open("mallory", &link);
            let page = applied.approve("mallory");
            assert!(page.title.contains("user_mismatch"), "{page:?}");
            assert_says_nothing(&applied.browsers.open("mallory", &link));
        }
        assert_unconnected(&mut ana);
        assert_eq!(asked(&mut ana).url, link);
        assert_eq!(applied.visit("ana", &link).status, 200, "{confirm}");
        assert_account(&mut ana, "ana_at_notes");
        assert_says_nothing(&applied.browsers.open("mallory", &link));
        assert_account(&mut ana, "ana_at_notes");
    }
}

/// Mallory begins with ana's link, and a page of hers makes ana's browser load the application's
/// verifier page.
#[test]
fn a_browser_that_was_lured_to_the_verifier_confirms_nobody_else_s() {
    let mut applied = Applied::confirming("before");
    let mut ana = applied.host(APP_KEY, "ana", Dialect::PLAIN);
    let link = asked(&mut ana).url;
    applied.log_in("ana");
    let flow = flow(&applied.browsers.open("mallory", &link));
    let verifier = format!("{}/verify?flow_id={flow}", applied.app.url());
    let page = applied.lure("ana", &verifier);
    // The application believed the request, but its answer is worth nothing in ana's browser.
    assert_eq!(applied.app.flows().last().unwrap()["status"], 200);
    assert!(page.status == 403 && applied.is_ours(&page), "{page:?}");
    assert_says_nothing(&page);

    // `next_uri` would work in mallory's browser if ana's had not loaded it: mallory must not learn
    // it, and does not. With a flow that was confirmed for ana's browser she gets no further than
    // before.
    let page = applied.browsers.open("mallory", &link);
    assert_says_nothing(&page);
    let connections = applied.connections();
    assert!(applied.browsers.open("mallory", &connections).url.contains("/signin"));
    assert!(applied.browsers.open("ana", &connections).url.contains("/signin"));
    assert_eq!(applied.world.exchanged(), 0);
    assert_unconnected(&mut ana);
    assert_eq!(asked(&mut ana).url, link);
    assert_eq!(applied.visit("ana", &link).status, 200);
    assert_account(&mut ana, "ana_at_notes");
}

/// Mallory completes a flow of her own, and makes ana's browser load the address that signs a
/// browser in (login CSRF).
#[test]
fn a_browser_that_was_lured_to_next_uri_is_not_signed_in_as_somebody_else() {
    let mut applied = Applied::start("before");
    let mut mallory = applied.host(APP_KEY, "mallory", Dialect::PLAIN);
    let link = asked(&mut mallory).url;
    applied.log_in("mallory");
    let flow = flow(&applied.browsers.open("mallory", &link));
    let next = applied.confirm(APP_KEY, &flow, "mallory").json()["next_uri"].clone();
    applied.log_in("ana");
    let page = applied.lure("ana", next.as_str().unwrap());
    assert_eq!(page.status, 403, "{page:?}");
    assert!(applied.browsers.open("ana", &applied.connections()).url.contains("/signin"));
    // With the link itself, ana gets only to the application, which says that she is not mallory.
    applied.app.confirm_to(&applied.served);
    let page = applied.lure("ana", &link);
    assert!(page.title.contains("user_mismatch"), "{page:?}");
    assert_eq!(applied.world.exchanged(), 0);
    assert_unconnected(&mut mallory);
}

/// In Arcade's order, mallory can consent with her own account first.
#[test]
fn what_another_browser_brought_is_dropped_and_revoked() {
    let mut applied = Applied::confirming("after");
    let mut ana = applied.host(APP_KEY, "ana", Dialect::PLAIN);
    let link = asked(&mut ana).url;
    applied.log_in("ana");
    applied.browsers.open("mallory", &link);
    // Mallory is not signed in at the application, so she stays there, with a flow of hers.
    let page = applied.approve("mallory");
    assert!(page.is_at(applied.app.url()), "{page:?}");
    assert_eq!(applied.world.exchanged(), 1);
    let verifier = page.url.clone();
    let page = applied.lure("ana", &verifier);
    assert_eq!(applied.app.flows().last().unwrap()["status"], 200);
    assert!(page.status == 403 && applied.is_ours(&page), "{page:?}");
    assert_says_nothing(&page);
    assert_unconnected(&mut ana);
    // Opening the link once more claims nothing.
    let page = applied.browsers.open("mallory", &link);
    assert_says_nothing(&page);
    assert_unconnected(&mut ana);

    assert_eq!(asked(&mut ana).url, link);
    let page = applied.visit("ana", &link);
    assert!(page.text.contains("Notes is connected"), "{page:?}");
    assert_account(&mut ana, "ana_at_notes");
    drop(ana);
    assert_eq!(applied.served.end().code(), Some(0), "{}", applied.home.log());
    wait_until("the end of the token at the provider", || applied.world.revocations() == 1);
}

/// The link's user has an account: only she is asked whether another one is meant.
#[test]
fn nobody_else_is_asked_about_an_account_of_hers() {
    let mut applied = Applied::confirming("after");
    let mut ana = applied.host(APP_KEY, "ana", Dialect::PLAIN);
    let link = asked(&mut ana).url;
    applied.visit("ana", &link);
    assert_account(&mut ana, "ana_at_notes");
    // Ana is asked for more, and mallory has seen that link.
    let link = ana.call("write_note", &json!({ "title": "a" })).asked().url;
    applied.log_in("mallory");
    assert_says_nothing(&applied.browsers.open("mallory", &link));
    let page = applied.approve("mallory");
    assert!(page.title.contains("user_mismatch"), "{page:?}");
    assert_says_nothing(&applied.browsers.open("mallory", &link));
    assert_account(&mut ana, "ana_at_notes");
    let page = applied.visit("ana", &link);
    assert!(page.text.contains("Notes is connected"), "{page:?}");
    assert_account(&mut ana, "ana_at_notes");
}

/// In Arcade's order, the browser is closed before the application confirms it, or before it
/// returns from there.
#[test]
fn a_consent_whose_browser_went_away_is_claimed_without_the_provider() {
    let mut applied = Applied::start("after");
    let mut ana = applied.host(APP_KEY, "ana", Dialect::PLAIN);
    let link = asked(&mut ana).url;
    applied.log_in("ana");
    applied.browsers.open("ana", &link);
    let page = applied.approve("ana");
    assert!(page.is_at(applied.app.url()), "{page:?}");
    // The flow is confirmed, but the browser never comes.
    assert_eq!(applied.confirm(APP_KEY, &flow(&page), "ana").status, 200);
    assert_unconnected(&mut ana);
    assert_eq!(asked(&mut ana).url, link);
    // Another browser of ana's has nothing to claim, and is asked.
    let page = applied.browsers.open("ana's other", &link);
    assert!(page.buttons.contains(&Some("continue".into())), "{page:?}");

    applied.app.confirm_to(&applied.served);
    let page = applied.browsers.open("ana", &link);
    assert!(page.text.contains("Notes is connected"), "{page:?}");
    assert_account(&mut ana, "ana_at_notes");
    assert_eq!((applied.world.exchanged(), applied.world.revocations()), (1, 0));
}

#[test]
fn what_confirms_a_browser_is_known_to_it_alone() {
    let mut applied = Applied::start("before");
    let mut ana = applied.host(APP_KEY, "ana", Dialect::ERRORS);
    let prompt = asked(&mut ana);
    let elicitation = prompt.elicitation.clone().unwrap();
    let ticket = prompt.url.rsplit('/').next().unwrap().to_owned();
    applied.log_in("ana");
    let flow = flow(&applied.browsers.open("ana", &prompt.url));
    assert_eq!(applied.app.flows()[0]["flow_id"], flow);

    for guess in [&ticket, &elicitation, "", &flow[1..], &flow.to_uppercase()] {
        assert_refused(&applied.confirm(APP_KEY, guess, "ana"), "unknown_flow");
    }
    assert_refused(&applied.confirm(OTHER_KEY, &flow, "ana"), "unknown_flow");
    assert_refused(&applied.confirm("no-key-at-all", &flow, "ana"), "invalid_authorization");

    // The flow is as good as before. Sent twice, it gets the same answer.
    let reply = applied.confirm(APP_KEY, &flow, "ana");
    assert_eq!(reply.status, 200, "{reply:?}");
    let next = reply.json()["next_uri"].as_str().unwrap().to_owned();
    assert_eq!(applied.confirm(APP_KEY, &flow, "ana").json()["next_uri"], next);
    let page = applied.browsers.open("ana", &next);
    assert!(page.text.contains("encrypted, for ana"), "{page:?}");
    let page = applied.approve("ana");
    assert_eq!(page.status, 200, "{page:?}");
    ana.completion(&elicitation);
    assert_account(&mut ana, "ana_at_notes");
}

/// A wrong answer is no free guess, and the link still works.
#[test]
fn a_flow_of_the_wrong_user_is_over_and_its_link_is_not() {
    let mut applied = Applied::start("before");
    let mut ana = applied.host(APP_KEY, "ana", Dialect::PLAIN);
    let link = asked(&mut ana).url;
    applied.log_in("ana");
    let flow = flow(&applied.browsers.open("ana", &link));
    assert_refused(&applied.confirm(APP_KEY, &flow, "ben"), "user_mismatch");
    assert_refused(&applied.confirm(APP_KEY, &flow, "ana"), "unknown_flow");
    assert_eq!(asked(&mut ana).url, link);
    applied.app.confirm_to(&applied.served);
    assert_eq!(applied.visit("ana", &link).status, 200);
    assert_account(&mut ana, "ana_at_notes");
}

#[test]
fn without_anybody_to_answer_for_a_browser_there_are_no_links() {
    let applied = Applied::start("before");
    let mut ana = applied.host(MUTE_KEY, "ana", Dialect::PLAIN);
    let text = ana.call("whoami", &json!({})).failed();
    assert!(text.contains("verifier_url") && !text.contains("http://127"), "{text}");
}

/// Checks WCAG 2.2 with axe, in both colour schemes, 320 px wide and enlarged.
#[test]
fn the_pages_of_an_application_s_users_can_be_used_by_everybody() {
    let none: [&str; 0] = [];
    for confirm in ["before", "after"] {
        let mut applied = Applied::confirming(confirm);
        let link = asked(&mut applied.host(APP_KEY, "ana", Dialect::PLAIN)).url;
        applied.log_in("ana");
        applied.browsers.open("ana", &link);
        let name = format!("connect-application-{confirm}");
        assert_eq!(applied.browsers.problems("ana", &name), none);
        let sign_in = format!("{}/signin?application=app", applied.served.origin());
        let page = applied.browsers.open("ben", &sign_in);
        assert!(page.text.contains("Sign in with 127.0.0.1"), "{page:?}");
        assert_eq!(applied.browsers.problems("ben", "sign-in-application"), none);
    }
}
