//! Paths that name a project of Arcade.

use serde_json::json;

use crate::rest::world::{World, key_of};

#[tokio::test]
async fn a_path_that_names_a_project_leads_to_the_same_route_under_the_same_checks() {
    let world = World::for_many().await;
    let at = |path: &str| format!("/v1/orgs/acme/projects/main{path}");
    let (app, plain) = (key_of("app"), key_of("plain"));
    let query = "/tools?user_id=bob&limit=2";
    let tools = world.get(&app, &at(query)).await.ok();
    assert_eq!(tools, world.get(&app, &format!("/v1{query}")).await.ok());
    assert_eq!(tools["items"].as_array().unwrap().len(), 2);
    let asked = json!({ "auth_requirement": { "provider_id": "acme" }, "user_id": "bob" });
    let pending = world.post(&app, &at("/auth/authorize"), asked).await.ok();
    let status = at(&format!("/auth/status?id={}", pending["id"].as_str().unwrap()));
    assert_eq!(world.get(&app, &status).await.ok()["url"], pending["url"]);
    // The project in the path gives no right, and the key alone says whose users are meant.
    world.get(&plain, &status).await.is_refused(404, "not_found");
    world.get(&plain, &at("/admin/secrets")).await.is_refused(403, "admin_required");
    world.get("", &at("/tools")).await.is_refused(401, "invalid_authorization");
    world.get(&app, &at("/gateways")).await.is_refused(404, "not_found");
    world.get(&app, &at("")).await.is_refused(404, "not_found");
}
