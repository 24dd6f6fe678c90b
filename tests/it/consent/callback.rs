//! Cookies and queries that a browser may bring to the callback.

use reqwest::StatusCode;

use super::world::{World, tokens};

/// All ports of a host share its cookies, and browsers send raw UTF-8.
#[tokio::test]
async fn a_cookie_of_another_program_hides_none_of_ours() {
    for (name, value) in [("a", "é"), ("é", "a"), ("zz", "日本"), ("zz", "a=b=\u{80}")] {
        let world = World::new().await;
        world.provider.says(tokens(r#"{"access_token":"first"}"#));
        world.provider.accepts(&["first"]);
        world.foreign_cookie(name, value);
        assert_eq!(world.consent().await.status, StatusCode::SEE_OTHER, "{name}={value}");
        assert!(!world.result().await.is_error);
    }
}

/// The error belongs to no authorization, so it changes none; its code tells the operator what to
/// check.
#[tokio::test]
async fn an_error_without_a_state_is_named_by_its_code() {
    let world = World::new().await;
    let link = world.prompt().await.url;
    let departure = world.click(&link).await;
    let redirect = departure.parameter("redirect_uri");
    for (query, code) in [
        (
            "error=unauthorized_client&error_description=redirect+uri+mismatch",
            "unauthorized_client",
        ),
        ("error=invalid_scope&state=", "invalid_scope"),
    ] {
        let page = world.get(&format!("{redirect}?{query}")).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST);
        assert!(page.text.contains("The provider sent an error"), "{}", page.text);
        assert!(page.text.contains(code) && page.text.contains("without a"), "{}", page.text);
        assert!(!page.text.contains("mismatch"), "the code alone");
    }
    let page = world.get(&format!("{redirect}?code=c0de")).await;
    assert!(page.text.contains("answer is incomplete"), "{}", page.text);
    world.provider.says(tokens(r#"{"access_token":"first"}"#));
    let back = world.come_back(&departure, "code=c0de").await;
    assert_eq!(back.status, StatusCode::SEE_OTHER, "the authorization is as it was");
}
