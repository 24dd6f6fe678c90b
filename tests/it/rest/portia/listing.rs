//! The list of tools.

use super::world::{Conversation, KEY, OTHER_KEY, PERSONS_KEY, World};

const LIST: &str = "/api/v0/tools/descriptions-v2/";
const OLD_LIST: &str = "/api/v0/tools/descriptions/";

#[tokio::test]
async fn tools_are_listed_in_forms_that_the_clients_read() {
    let world = World::new().await;
    let mut conversation = Conversation::new(&world, "listing");
    let listed = conversation.say("List the tools", "GET", LIST, None).await.json();
    conversation.hold();
    let ids: Vec<&str> = listed["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["tool_id"].as_str().unwrap())
        .collect();
    assert!(ids.contains(&"portia:github::star_repo"), "{ids:?}");
    assert!(ids.contains(&"countersign:notes:list"), "{ids:?}");
    let old = world.send(KEY, "GET", OLD_LIST, None).await.json();
    assert_eq!(old, listed["tools"], "the older form is the list alone");
}

#[tokio::test]
async fn a_key_is_needed_and_each_has_its_tools() {
    let world = World::of_many().await;
    for (key, status) in [(KEY, 200), (OTHER_KEY, 200), (PERSONS_KEY, 200), ("unknown", 401)] {
        assert_eq!(world.send(key, "GET", LIST, None).await.status, status, "{key}");
    }
    let without = world.send_raw("GET", LIST, &[], "").await;
    assert_eq!(without.status, 401);
    assert_eq!(without.json()["error"], "invalid_authorization");
}
