//! Several users at one server: which user a browser belongs to, and that no user finishes what
//! another one began (MCP 2026-07-28, client/elicitation, "Phishing").

use crate::harness::{
    Browsers, Dialect, Home, Host, Issuer, Page, Served, Transport, Wire, World, asked,
    assert_account, assert_unconnected,
};

const STORE_KEY: &str = "cGVvcGxlIHBlb3BsZSBwZW9wbGUgcGVvcGxlIHBlMDE=";

type Caller = Host<Box<dyn Wire>>;

/// A server whose users sign in at an issuer, and everything around it.
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

    /// A user's MCP client.
    fn host(&self, who: &str, transport: Transport, dialect: Dialect) -> Caller {
        let bearer = format!("Bearer {}", self.issuer.access_token(&self.served, who));
        self.served.host_with(transport, dialect, &[("authorization", &bearer)])
    }

    /// Opens a link, and signs the browser in first.
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
        assert_eq!(signed.world.exchanged(), 2);
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
    assert_eq!(signed.world.exchanged(), 0);
    assert_unconnected(&mut bob);
    // The link still works for its own user.
    assert_eq!(asked(&mut ana).url, link);
    signed.sign_in("ana", &link);
    assert_eq!(signed.connect("ana", "ana_at_notes").status, 200);
    assert_account(&mut ana, "ana_at_notes");
    assert_unconnected(&mut bob);
}

/// Ana passes our page herself and forwards the address that it leads to: the page alone protects
/// no user.
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
        // Not her current address, which only her browser can see, but the address that led her
        // there.
        let led = at_provider.visited.iter().find(|url| url.contains("/auth?"));
        let authorize = led.unwrap().clone();

        assert!(authorize.starts_with(signed.world.issuer()));
        let page = signed.browsers.open(who, &authorize);
        let page = signed.browsers.allow(who, signed.world.issuer(), login, page);
        assert!(page.is_at(signed.served.origin()), "{page:?}");
        assert!((400..500).contains(&page.status), "{page:?}");
        assert_eq!(signed.world.exchanged(), 0, "{who}");
        assert_unconnected(&mut ana);
        assert_unconnected(&mut bob);
    }
    // Ana can still connect her own account, and that does not connect bob.
    let link = asked(&mut ana).url;
    signed.browsers.open("ana", &link);
    assert_eq!(signed.connect("ana", "ana_at_notes").status, 200);
    assert_account(&mut ana, "ana_at_notes");
    assert_unconnected(&mut bob);
}

/// Checks WCAG 2.2 with axe, in both colour schemes, 320 px wide and enlarged.
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
}
