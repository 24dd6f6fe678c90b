//! Removes the cursors of a list: the values that lead a caller past this page.

use serde_json::{Map, Value};

/// Keys of objects that hold the cursors of a list beside them.
const CONTAINERS: [&str; 16] = [
    "cursors",
    "link",
    "links",
    "list",
    "listmetadata",
    "meta",
    "metadata",
    "navigation",
    "page",
    "pageinfo",
    "paginate",
    "pagination",
    "paginator",
    "paging",
    "responsemetadata",
    "resultinfo",
];
/// Maximum levels searched within such an object; deeper cursors stay.
const MAX_DEPTH: usize = 3;

/// Words that follow `next` in the name of a cursor: `next_page_token`, `nextRecordsUrl`.
const AFTER_NEXT: [&str; 20] = [
    "after",
    "batch",
    "continuation",
    "cursor",
    "href",
    "id",
    "item",
    "key",
    "link",
    "marker",
    "offset",
    "page",
    "query",
    "record",
    "result",
    "start",
    "sync",
    "token",
    "uri",
    "url",
];
/// Other names of cursors, and of flags for a further page.
const NAMES: [&str; 24] = [
    "after",
    "bookmark",
    "continuation",
    "continuationtoken",
    "continue",
    "deltalink",
    "hasmore",
    "hasmoreitems",
    "hasmoreresults",
    "hasnext",
    "hasnextpage",
    "islast",
    "islastpage",
    "istruncated",
    "lastevaluatedkey",
    "marker",
    "more",
    "moreavailable",
    "morerecords",
    "moreresults",
    "pagetoken",
    "scrollid",
    "skiptoken",
    "synctoken",
];

/// Removes the cursors of the list at `place`, a pointer (RFC 6901). Returns their keys, as dotted
/// paths.
///
/// Searches the object that holds the list and each object around it, up to an enclosing list: a
/// cursor beyond that belongs to another list.
pub(super) fn remove(root: &mut Value, place: &str) -> Vec<String> {
    let mut removed = Vec::new();
    let mut around = place;
    while let Some((parent, _)) = around.rsplit_once('/') {
        around = parent;
        match root.pointer_mut(around) {
            Some(Value::Object(entries)) => remove_from(entries, "", MAX_DEPTH, &mut removed),
            _ => break,
        }
    }
    removed
}

fn remove_from(
    entries: &mut Map<String, Value>,
    path: &str,
    depth: usize,
    removed: &mut Vec<String>,
) {
    entries.retain(|key, value| {
        if is_cursor(key, value) {
            removed.push(format!("{path}{key}"));
            return false;
        }
        let is_container = !path.is_empty() || CONTAINERS.contains(&plain(key).as_str());
        let Some(depth) = depth.checked_sub(1).filter(|_| is_container) else { return true };
        let inside = format!("{path}{key}.");
        match value {
            Value::Object(inner) => {
                let before = removed.len();
                remove_from(inner, &inside, depth, removed);
                // Drop an object that held only cursors.
                !(inner.is_empty() && removed.len() > before)
            }
            // Links as a list: `{"rel": "next", "href": …}`.
            Value::Array(links) => {
                links.retain(|link| {
                    let is_next = is_next_link(link);
                    if is_next {
                        removed.push(format!("{inside}next"));
                    }
                    !is_next
                });
                true
            }
            _ => true,
        }
    });
}

fn is_cursor(key: &str, value: &Value) -> bool {
    let key = plain(key);
    let is_list = value.is_array();
    if let Some(rest) = key.strip_prefix("next") {
        return !is_list
            && (rest.is_empty() || AFTER_NEXT.iter().any(|word| rest.starts_with(word)));
    }
    match key.as_str() {
        // Airtable's cursor; a number says where this page begins.
        "offset" => value.is_string(),
        key if key.starts_with("prev") || is_list => false,
        key => {
            key.contains("cursor")
                || key.ends_with("nextlink")
                || key.ends_with("nextpage")
                || key.ends_with("nextpagetoken")
                || key.ends_with("deltalink")
                || NAMES.contains(&key)
        }
    }
}

fn is_next_link(link: &Value) -> bool {
    ["rel", "relation", "name"]
        .iter()
        .any(|key| link.get(key).and_then(Value::as_str).is_some_and(|rel| plain(rel) == "next"))
}

/// Reduces a key to letters and digits in lower case: `@odata.nextLink` becomes `odatanextlink`.
fn plain(key: &str) -> String {
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_spelling_of_a_cursor_is_removed_and_nothing_else() {
        let kept =
            json!({"items": [1], "total": 500, "previous": "P", "page": 1, "next_steps": [1]});
        for cursor in [
            json!({"next": "CUR"}),
            json!({"next": null, "cursor": "CUR"}),
            json!({"nextPageToken": "CUR", "nextSyncToken": "S"}),
            json!({"next_cursor": "CUR", "has_more": true}),
            json!({"links": {"next": "https://api.example.com/?page=2"}}),
            json!({"_links": {"next": {"href": "/items?page=2"}}}),
            json!({"links": [{"rel": "next", "href": "/items?page=2"}]}),
            json!({"paging": {"next": {"after": "CUR", "link": "x"}}}),
            json!({"paging": {"cursors": {"after": "CUR"}}}),
            json!({"pagination": {"next_page": 2, "hasNextPage": true}}),
            json!({"pageInfo": {"endCursor": "CUR", "hasNextPage": true}}),
            json!({"response_metadata": {"next_cursor": "CUR"}}),
            json!({"meta": {"pagination": {"next_url": "u"}}}),
            json!({"@odata.nextLink": "https://api.example.com/?$skip=10"}),
            json!({"nextRecordsUrl": "/services/data/2"}),
            json!({"offset": "itrCUR/recCUR"}),
            json!({"continuationToken": "CUR", "IsTruncated": true}),
            json!({"_scroll_id": "CUR"}),
            json!({"LastEvaluatedKey": {"id": 5}}),
            json!({"after": "t3_CUR"}),
            json!({"next_page": {"offset": "CUR", "path": "/x"}}),
            json!({"isLast": false, "nextPage": "u"}),
        ] {
            let mut value = kept.clone();
            for (key, inner) in cursor.as_object().unwrap() {
                value[key] = inner.clone();
            }
            assert!(!remove(&mut value, "/items").is_empty(), "{cursor}");
            let left = value.to_string();
            assert!(!left.contains("CUR") && !left.contains("more"), "{cursor}: {left}");
            let is_bare = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
            value.as_object_mut().unwrap().retain(|_, value| !is_bare(value));
            assert_eq!(value, kept, "{cursor}");
        }
    }

    #[test]
    fn the_cursor_of_another_list_stays() {
        let mut value = json!({
            "next": "OUTER",
            "threads": [{"messages": {"items": [1, 2], "next": "INNER"}, "cursor": "INNER"}],
            "other": {"items": [], "next": "OTHER"},
        });
        let removed = remove(&mut value, "/threads/0/messages/items");
        assert_eq!(removed, ["next", "cursor"]);
        let left = value.to_string();
        assert!(
            left.contains("OUTER") && left.contains("OTHER") && !left.contains("INNER"),
            "{left}"
        );
    }

    #[test]
    fn a_cursor_beside_an_object_around_the_list_goes_too() {
        let mut value = json!({"data": {"search": {"nodes": [1]}}, "next": "CUR"});
        assert_eq!(remove(&mut value, "/data/search/nodes"), ["next"]);
        let mut list = json!([[1, 2], {"next": "CUR"}]);
        assert!(remove(&mut list, "/0").is_empty());
    }
}
