//! The tools.toml that comes with the binary: one tool's answers fit another tool's arguments.

use std::sync::Arc;

use countersign::config::{self, Config};
use countersign::model::Tool;
use countersign::registry;
use countersign::upstream::jq::Jq;
use serde_json::{Value, json};

use crate::command::package;

fn shipped() -> Config {
    config::load(&package("tools.toml")).expect("it can be served")
}

fn tool<'c>(config: &'c Config, name: &str) -> &'c Tool {
    config.tools.iter().find(|tool| tool.name.as_str() == name).unwrap_or_else(|| panic!("{name}"))
}

/// Applies a tool's `select` to an answer of its API.
async fn selected(config: &Config, name: &str, answer: Value) -> Value {
    let action = tool(config, name).action.request().expect("a request");
    let filter = action.select.as_ref().unwrap_or_else(|| panic!("{name} has no select"));
    let jq = Jq::new(env!("CARGO_BIN_EXE_countersign").into());
    let size = answer.to_string().len();
    let mut outputs = jq.run(&filter.text, &Arc::new(answer), size).await.expect(name);
    assert_eq!(outputs.len(), 1, "{name}");
    outputs.remove(0)
}

/// Asserts that a tool accepts these keys of an item, under their own names, and needs no other.
fn takes(config: &Config, name: &str, item: &Value, keys: &[&str]) {
    let arguments = keys.iter().map(|key| ((*key).to_owned(), item[*key].clone())).collect();
    let accepted = registry::accept(tool(config, name), Some(arguments));
    let accepted = accepted.unwrap_or_else(|problem| panic!("{item}: {problem:?}"));
    for key in keys {
        assert!(accepted.arguments.contains_key(*key), "{name}: `{key}` of {item} is null");
    }
}

#[tokio::test]
async fn what_one_tool_finds_another_one_takes() {
    let config = shipped();
    let notification = |url: Value| {
        json!({"repository": {"name": "it", "owner": {"login": "ana"}, "html_url": "https://github.com/ana/it"},
               "subject": {"type": "PullRequest", "title": "T", "url": url}, "reason": "mention"})
    };
    let github = json!([
        notification(json!("https://api.github.com/repos/ana/it/pulls/7")),
        notification(json!("https://api.github.com/repos/ana/it/releases/123")),
        notification(Value::Null),
    ]);
    let list = selected(&config, "github_notifications", github).await;
    takes(&config, "github_read_issue", &list[0], &["owner", "repo", "number"]);
    assert_eq!(list[0]["url"], "https://github.com/ana/it/pull/7");
    for other in [&list[1], &list[2]] {
        assert_eq!(
            (&other["number"], &other["url"]),
            (&Value::Null, &json!("https://github.com/ana/it"))
        );
    }

    let repos = json!({"items": [{"name": "it", "owner": {"login": "ana"}, "html_url": "u"}]});
    let list = selected(&config, "github_search_repos", repos).await;
    takes(&config, "github_star_repo", &list[0], &["owner", "repo"]);

    let places = json!({"results": [{"name": "Oslo", "latitude": 59.9, "longitude": 10.7}]});
    let list = selected(&config, "weather_find_place", places).await;
    takes(&config, "weather_forecast", &list[0], &["latitude", "longitude"]);

    let pages = json!({"pages": [{"title": "Alan Turing", "key": "Alan_Turing"}]});
    let list = selected(&config, "wikipedia_search", pages).await;
    takes(&config, "wikipedia_summary", &list[0], &["key"]);

    let events = json!({"items": [{"id": "e1", "summary": "S", "start": {"date": "2026-01-01"}, "end": {}}]});
    let list = selected(&config, "calendar_list_events", events).await;
    takes(&config, "calendar_read_event", &list[0], &["id"]);

    let files = json!({"files": [{"id": "f1", "name": "N", "mimeType": "text/plain"}]});
    let list = selected(&config, "drive_search", files).await;
    takes(&config, "drive_read_file", &list[0], &["id"]);
    takes(&config, "drive_read_document", &list[0], &["id"]);

    let threads = json!({"threads": [{"id": "t1", "snippet": "S"}]});
    let list = selected(&config, "gmail_find_threads", threads).await;
    takes(&config, "gmail_read_thread", &list[0], &["id"]);

    let found = json!({"messages": {"matches": [
        {"channel": {"id": "C1", "name": "sales"}, "ts": "1.5", "username": "ana", "text": "T", "permalink": "u"}]}});
    let mut list = selected(&config, "slack_search", found).await;
    list[0]["text"] = "Hello".into();
    takes(&config, "slack_send_message", &list[0], &["channel", "thread_ts", "text"]);
    let sent = selected(&config, "slack_send_message", json!({"channel": "C1", "ts": "1.6"})).await;
    assert_eq!(sent, json!({"channel": "C1", "thread_ts": "1.6"}));
    let channels = json!({"channels": [{"id": "C1", "name": "sales", "purpose": {"value": "p"}}],
                          "response_metadata": {"next_cursor": "CUR"}});
    let mut list = selected(&config, "slack_list_channels", channels).await;
    assert_eq!(list["next"], "CUR");
    list["channels"][0]["text"] = "Hello".into();
    takes(&config, "slack_send_message", &list["channels"][0], &["channel", "text"]);

    let pages = json!({"results": [{"id": "p1", "object": "page", "url": "u", "properties":
        {"Name": {"type": "title", "title": [{"plain_text": "N"}]}}}]});
    let list = selected(&config, "notion_search", pages).await;
    takes(&config, "notion_read_page", &list[0], &["id"]);
}

#[tokio::test]
async fn what_is_read_is_text() {
    let config = shipped();
    // "Grüße?>" as Gmail writes it: base64url, with or without padding.
    let part = |data: &str| json!({"mimeType": "text/plain", "body": {"data": data}});
    let message = |payload: Value| json!({"id": "m1", "snippet": "S", "payload": payload});
    let headers =
        json!([{"name": "From", "value": "ana@example.com"}, {"name": "SUBJECT", "value": "T"}]);
    let thread = json!({"id": "t1", "messages": [
        message(json!({"headers": headers, "mimeType": "multipart/mixed", "parts": [
            {"mimeType": "multipart/alternative", "parts": [part("R3LDvMOfZT8-"), {"mimeType": "text/html", "body": {"data": "PGI-"}}]}]})),
        message(json!({"headers": [], "mimeType": "text/html", "body": {"data": "PGI-"}})),
    ]});
    let read = selected(&config, "gmail_read_thread", thread).await;
    let first = &read["messages"][0];
    assert_eq!(first["text"], "Grüße?>");
    assert_eq!((&first["from"], &first["subject"]), (&json!("ana@example.com"), &json!("T")));
    assert_eq!(
        (&read["messages"][1]["text"], &read["messages"][1]["snippet"]),
        (&Value::Null, &json!("S"))
    );

    let blocks = json!({"next_cursor": null, "results": [
        {"id": "b1", "type": "paragraph", "has_children": true, "paragraph": {"rich_text": [{"plain_text": "a"}, {"plain_text": "b"}]}},
        {"id": "b2", "type": "divider", "divider": {}, "has_children": false}]});
    let read = selected(&config, "notion_read_page", blocks).await;
    let expected = json!([{"id": "b1", "kind": "paragraph", "text": "ab", "more": true},
                          {"id": "b2", "kind": "divider", "text": "", "more": false}]);
    assert_eq!(read["blocks"], expected);

    let issue = json!({"number": 7, "title": "T", "state": "open", "user": {"login": "ana"}, "labels": [{"name": "bug"}],
                       "assignees": [], "comments": 0, "body": "B", "html_url": "u"});
    let read = selected(&config, "github_read_issue", issue).await;
    assert_eq!((&read["text"], &read["labels"]), (&json!("B"), &json!(["bug"])));

    let event = json!({"id": "e1", "summary": "S", "start": {"dateTime": "d"}, "end": {"dateTime": "d"},
                       "attendees": [{"email": "ana@example.com", "responseStatus": "accepted"}]});
    let read = selected(&config, "calendar_read_event", event).await;
    assert_eq!(read["people"], json!([{"email": "ana@example.com", "answer": "accepted"}]));
}

#[test]
fn titles_are_written_for_people() {
    for tool in &shipped().tools {
        let words = tool.name.as_str().replace('_', " ");
        assert_ne!(tool.title.to_lowercase(), words, "the title says the name again");
        assert!(
            tool.title.contains(' ') && tool.title.starts_with(char::is_uppercase),
            "{}",
            tool.title
        );
        let brands =
            ["Github", "Hackernews", "Google drive", "gmail", "slack", "notion", "wikipedia"];
        assert!(!brands.iter().any(|brand| tool.title.contains(brand)), "{}", tool.title);
    }
}
