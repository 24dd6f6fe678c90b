//! The accounts page, on a server with several users.

use reqwest::StatusCode;

use super::world::{World, at};

#[tokio::test]
async fn whoever_has_not_signed_in_is_sent_to_do_so() {
    let world = World::new().await;
    let browser = world.browser();
    for page in [
        browser.get(&at("/connections")).await,
        browser
            .post_bare(&at("/connections"), &[("answer", "connect"), ("provider", "acme")])
            .await,
    ] {
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
        assert_eq!(page.location(), "/signin?to=/connections");
        assert!(page.text.is_empty());
    }
}

#[tokio::test]
async fn each_sees_and_connects_what_is_theirs() {
    let world = World::with_keys().await;
    for person in ["ana", "bob"] {
        let browser = world.browser();
        let key = format!("{person}-s-key");
        browser.post(&at("/signin"), &[("key", &key)]).await;
        let page = browser.get(&at("/connections")).await;
        assert!(page.text.contains(&format!("<bdi>{person}</bdi>")), "{}", page.text);
        assert!(page.text.contains("Sign out"), "{}", page.text);
        // Only the provider that a tool of theirs uses.
        assert_eq!(page.text.matches("Connect Acme Notes").count(), 1, "{}", page.text);
        let wish = [("answer", "connect"), ("provider", "acme")];
        let bare = browser.post_bare(&at("/connections"), &wish).await;
        assert_eq!(bare.status, StatusCode::FORBIDDEN, "without its token");
        let sent = browser.post(&at("/connections"), &wish).await;
        assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text);
        let link = browser.get(sent.location()).await;
        let words = format!("You are signed in here as <bdi>{person}</bdi>");
        assert!(link.text.contains(&words), "{}", link.text);
        assert!(link.text.contains("You asked to connect your Acme Notes account"));
    }
}
