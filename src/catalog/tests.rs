use std::collections::HashSet;
use std::path::Path;

use super::*;

#[test]
fn every_section_is_found_and_without_a_mistake() {
    let mut seen = HashSet::new();
    for (id, section) in sections() {
        assert!(seen.insert(id), "{id} is there twice");
        let mut find = Findings::new(section);
        assert!(read(id, section, &mut find).is_some(), "{id}");
        let problems = find.finish(Path::new("providers.toml"));
        assert!(problems.list.is_empty(), "{id}: {problems}");
    }
    let whole = DeTable::parse(PROVIDERS).expect("TOML");
    assert_eq!(whole.get_ref().len(), seen.len());
}

#[test]
fn the_providers_that_people_ask_for_first_are_there() {
    for id in [
        "github",
        "google",
        "slack",
        "slack_bot",
        "microsoft",
        "gitlab",
        "notion",
        "linear",
        "atlassian",
        "discord",
        "dropbox",
        "spotify",
        "hubspot",
    ] {
        let table = provider(id).unwrap_or_else(|| panic!("{id}"));
        assert!(table.title.is_some() && table.console_url.is_some(), "{id}");
        let oauth = table.oauth.unwrap_or_default();
        assert!(oauth.authorize_url.is_some() && oauth.token_url.is_some(), "{id}");
    }
    assert!(provider("nobody").is_none());
}
