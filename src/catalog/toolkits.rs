//! Toolkits: tools that are compiled in, in the language of `tools.toml`'s `[tools.*]` tables.
//!
//! A toolkit is one file with the tools of one provider; each tool's name begins with the toolkit's
//! id and `_`. Only the toolkits that a `tools.toml` names are parsed.

/// Ids and texts, sorted by id.
const TOOLKITS: [(&str, &str); 14] = [
    ("github", include_str!("toolkits/github.toml")),
    ("gmail", include_str!("toolkits/gmail.toml")),
    ("google_calendar", include_str!("toolkits/google_calendar.toml")),
    ("google_docs", include_str!("toolkits/google_docs.toml")),
    ("google_drive", include_str!("toolkits/google_drive.toml")),
    ("google_sheets", include_str!("toolkits/google_sheets.toml")),
    ("notion", include_str!("toolkits/notion.toml")),
    ("outlook", include_str!("toolkits/outlook.toml")),
    ("slack", include_str!("toolkits/slack.toml")),
    ("slack_bot", include_str!("toolkits/slack_bot.toml")),
    ("stripe", include_str!("toolkits/stripe.toml")),
    ("x", include_str!("toolkits/x.toml")),
    ("zendesk", include_str!("toolkits/zendesk.toml")),
    ("zoom", include_str!("toolkits/zoom.toml")),
];

/// Yields the ids of all toolkits, sorted.
pub fn ids() -> impl Iterator<Item = &'static str> {
    TOOLKITS.iter().map(|(id, _)| *id)
}

/// Returns a toolkit's TOML, or `None` for an unknown id.
pub fn toolkit(id: &str) -> Option<&'static str> {
    TOOLKITS.iter().find(|(known, _)| *known == id).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_named_after_its_toolkit_and_has_its_provider() {
        let sorted: std::collections::BTreeSet<&str> = ids().collect();
        assert!(ids().eq(sorted), "sorted, each once");
        for id in ids() {
            let file: toml::Table = toolkit(id).unwrap().parse().unwrap();
            assert_eq!(file.keys().collect::<Vec<_>>(), ["tools"], "{id}");
            let tools = file["tools"].as_table().unwrap();
            let mut providers: Vec<&str> =
                tools.values().map(|tool| tool["provider"].as_str().unwrap()).collect();
            providers.dedup();
            assert_eq!(providers.len(), 1, "{id}: {providers:?}");
            for name in tools.keys() {
                assert!(name.starts_with(&format!("{id}_")), "{id}: {name}");
            }
        }
        assert!(toolkit("unknown").is_none());
    }
}
