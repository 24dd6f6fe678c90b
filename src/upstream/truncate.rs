//! Truncates a result to what a model's context can hold, at the items of a list and never in the
//! middle of JSON.
//!
//! A truncated list loses the cursor to its next page, which leads past the dropped items: a model
//! that followed it would never see them ([`cursor`]).

mod cursor;
mod paging;

use std::fmt::Write as _;

use serde_json::Value;

pub(super) use paging::Paging;

/// A result that fits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fitted {
    pub(super) text: String,
    /// The value that the text shows; `None` if the text only says that the result is too long.
    pub(super) value: Option<Value>,
    /// Note on how much was kept, as JSON. Text and note together fit the limit.
    pub(super) note: Option<String>,
}

/// Maximum rounds before giving up. Each round shrinks the largest list or string.
const MAX_ROUNDS: usize = 12;
/// Initial buffer size in bytes, enough for most results: a buffer that grows is copied repeatedly.
const INITIAL_BUFFER_BYTES: usize = 4096;
/// Characters reserved for the note.
const NOTE_CHARS: usize = 200;

/// Serializes a value: a string as it is, any other value as JSON without white space, which costs
/// a model as much as data.
pub(super) fn write(value: &Value) -> String {
    if let Value::String(text) = value {
        return text.clone();
    }
    let mut json = Vec::with_capacity(INITIAL_BUFFER_BYTES);
    let written = serde_json::to_writer(&mut json, value);
    // Faster than `to_string`, and neither step can fail.
    written.ok().and_then(|()| String::from_utf8(json).ok()).unwrap_or_else(|| value.to_string())
}

/// Truncates a value, already serialized as `text`, to at most `most` characters. `paging` tells
/// the model how to get the rest of a list.
pub(super) fn fit(value: Value, text: String, most: usize, paging: &Paging) -> Fitted {
    if !is_longer(&text, most) {
        return Fitted { text, value: Some(value), note: None };
    }
    if let Value::String(whole) = &value {
        let text = cut_text(whole, most);
        return Fitted { value: Some(Value::String(text.clone())), text, note: None };
    }
    cut_json(value, text, most, paging)
}

pub(super) fn is_longer(text: &str, most: usize) -> bool {
    text.len() > most && text.chars().nth(most).is_some()
}

/// Characters reserved for the line that says how much of a text is shown.
const CUT_NOTE_CHARS: usize = 60;

/// Returns a text of at most `most` characters: all of it, or its beginning and how much that is.
pub(super) fn cut_text(text: &str, most: usize) -> String {
    if !is_longer(text, most) {
        return text.to_owned();
    }
    let shown = most.saturating_sub(CUT_NOTE_CHARS);
    let end = text.char_indices().nth(shown).map_or(text.len(), |(at, _)| at);
    let all = text.chars().count();
    format!("{}\n[cut: the first {shown} of {all} characters]", text.get(..end).unwrap_or_default())
}

/// Pointer (RFC 6901) to a list or string in a value, for the note and to find it again.
type Pointer = String;

/// A truncated list or string.
struct Cut {
    place: Pointer,
    is_list: bool,
    /// Items or characters.
    shown: usize,
    all: usize,
}

fn cut_json(mut value: Value, mut json: String, most: usize, paging: &Paging) -> Fitted {
    let all = json.chars().count();
    let mut cuts: Vec<Cut> = Vec::new();
    let mut left_out: Vec<String> = Vec::new();
    for _ in 0..MAX_ROUNDS {
        let note = written_out(&cuts, &left_out, paging);
        let beside = note.as_ref().map_or(0, |note| note.chars().count() + 1);
        let length = json.chars().count() + beside;
        if length <= most {
            return Fitted { text: json, value: Some(value), note };
        }
        // The first cut adds a note, so reserve room for it.
        let reserve = if cuts.is_empty() { NOTE_CHARS.min(most / 4) } else { 0 };
        let Some(place) = largest(&value) else { break };
        let Some(found) = value.pointer_mut(&place) else { break };
        let Some((shown, whole)) = shrink(found, length - most + reserve) else { break };
        let is_list = found.is_array();
        // Cut again: the first cut recorded the original count.
        if let Some(cut) = cuts.iter_mut().find(|cut| cut.place == place) {
            cut.shown = shown;
        } else {
            if is_list {
                left_out.extend(cursor::remove(&mut value, &place));
            }
            cuts.push(Cut { place, is_list, shown, all: whole });
        }
        json = value.to_string();
    }
    let text = format!(
        "The answer is too long to be shown ({all} characters) and has no list that could be cut. \
         Ask for less, or ask the operator for a narrower `select`."
    );
    Fitted { text, value: None, note: None }
}

/// Returns the note, as JSON: `items: 91 of 500 shown`, the cursors left out, and how to get the
/// rest.
fn written_out(cuts: &[Cut], left_out: &[String], paging: &Paging) -> Option<String> {
    if cuts.is_empty() {
        return None;
    }
    let counts: Vec<String> = cuts
        .iter()
        .map(|Cut { place, is_list, shown, all }| {
            let unit = if *is_list { "" } else { " characters" };
            let count = format!("{shown} of {all}{unit} shown");
            match place.trim_start_matches('/') {
                "" => count,
                inner => format!("{}: {count}", inner.replace('/', ".")),
            }
        })
        .collect();
    let mut note = serde_json::json!({ "_more": counts.join("; ") });
    let mut lists = cuts.iter().filter(|cut| cut.is_list);
    if let (Some(first), Some(entries)) = (lists.next(), note.as_object_mut()) {
        // The tool's parameters count the items of one list, not of the lists within its items.
        let is_within_item = first.place.split('/').any(|step| step.parse::<usize>().is_ok());
        let is_only = lists.next().is_none() && !is_within_item;
        let shown = is_only.then_some(first.shown);
        entries.insert("_rest".into(), paging.rest(shown, left_out).into());
    }
    Some(note.to_string())
}

/// Removes about `excess` characters from the end of a list or string. Returns the remaining and
/// the original number of items or characters; `None` for any other value.
fn shrink(value: &mut Value, excess: usize) -> Option<(usize, usize)> {
    match value {
        Value::Array(items) => {
            let all = items.len();
            let mut taken = 0;
            while taken < excess {
                let Some(item) = items.pop() else { break };
                taken += item.to_string().chars().count() + 1;
            }
            Some((items.len(), all))
        }
        Value::String(text) => {
            let all = text.chars().count();
            let shown = all.saturating_sub(excess + 1);
            let end = text.char_indices().nth(shown).map_or(text.len(), |(at, _)| at);
            text.truncate(end);
            text.push('…');
            Some((shown, all))
        }
        _ => None,
    }
}

/// Returns the pointer (RFC 6901) to the longest list or string.
///
/// Follows the longest member from the root, and stops at a list unless a single item makes up most
/// of it.
fn largest(root: &Value) -> Option<Pointer> {
    let mut place = String::new();
    let mut value = root;
    loop {
        match value {
            Value::String(text) => return (text.chars().count() > 1).then_some(place),
            Value::Array(items) => {
                let sizes = items.iter().map(weight);
                let all: usize = sizes.clone().sum();
                let (at, size) = sizes.enumerate().max_by_key(|(_, size)| *size)?;
                let item = items.get(at)?;
                let divisible =
                    matches!(item, Value::Array(_) | Value::Object(_) | Value::String(_));
                if items.len() > 1 && (size < all / 2 || !divisible) {
                    return Some(place);
                }
                let _ = write!(place, "/{at}");
                value = item;
            }
            Value::Object(entries) => {
                let (key, inner) = entries.iter().max_by_key(|(_, inner)| weight(inner))?;
                place.push('/');
                place.push_str(&key.replace('~', "~0").replace('/', "~1"));
                value = inner;
            }
            _ => return None,
        }
    }
}

/// Estimates the serialized length of a value without serializing it.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 6,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(|item| weight(item) + 1).sum::<usize>(),
        Value::Object(entries) => {
            2 + entries.iter().map(|(key, inner)| key.len() + 4 + weight(inner)).sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fitted(value: &Value, most: usize) -> Fitted {
        fit(value.clone(), write(value), most, &Paging::default())
    }

    fn data(fitted: &Fitted) -> Value {
        serde_json::from_str(&fitted.text).expect("whole JSON")
    }

    /// Length including the note.
    fn length(fitted: &Fitted) -> usize {
        let note = fitted.note.as_ref().map_or(0, |note| note.chars().count() + 1);
        fitted.text.chars().count() + note
    }

    fn note(fitted: &Fitted) -> &str {
        fitted.note.as_deref().expect("a note")
    }

    #[test]
    fn what_fits_is_left_alone() {
        let value = json!({"a": [1, 2, 3]});
        assert_eq!(fitted(&value, 100).text, "{\"a\":[1,2,3]}");
        assert_eq!(fitted(&json!("as it is"), 100).text, "as it is");
    }

    #[test]
    fn a_list_is_cut_at_its_items() {
        let value =
            Value::Array((0..124).map(|n| json!({"id": n, "name": "x".repeat(20)})).collect());
        let fitted = fitted(&value, 1000);
        assert!(length(&fitted) <= 1000);
        let shown = data(&fitted).as_array().expect("a list").len();
        assert!(shown > 10);
        let count = format!("{{\"_more\":\"{shown} of 124 shown\",\"_rest\":");
        assert!(note(&fitted).starts_with(&count), "{}", note(&fitted));
        assert_eq!(Some(data(&fitted)), fitted.value);
    }

    #[test]
    fn a_list_inside_an_object_is_cut() {
        let value = json!({"total": 500, "data": {"items": vec!["0123456789"; 500]}});
        let fitted = fitted(&value, 1000);
        assert!(length(&fitted) <= 1000);
        assert_eq!(data(&fitted)["total"], 500);
        assert!(note(&fitted).contains("data.items: "), "{}", note(&fitted));
        assert!(note(&fitted).contains(" of 500 shown"), "{}", note(&fitted));
        assert_eq!(Some(data(&fitted)), fitted.value);
    }

    #[test]
    fn one_huge_item_is_cut_inside() {
        let value = json!([{"id": 1, "body": "é".repeat(50_000)}, {"id": 2, "body": "b"}]);
        let fitted = fitted(&value, 1000);
        assert!(length(&fitted) <= 1000);
        assert_eq!(data(&fitted)[1]["id"], 2);
        assert!(note(&fitted).contains("of 50000 characters shown"), "{}", note(&fitted));
        assert_eq!(Some(data(&fitted)), fitted.value);
    }

    #[test]
    fn several_large_parts_are_cut_in_turn() {
        let value = json!({"a": vec![1; 5000], "b": vec!["xy"; 5000], "c": "z".repeat(9000)});
        let fitted = fitted(&value, 2000);
        assert!(length(&fitted) <= 2000, "{}", fitted.text.len());
        assert_eq!(Some(data(&fitted)), fitted.value);
    }

    #[test]
    fn a_long_text_is_cut_with_a_note() {
        let fitted = fitted(&json!("ü".repeat(5000)), 1000);
        assert!(length(&fitted) <= 1000);
        assert!(fitted.text.ends_with("of 5000 characters]"));
    }

    #[test]
    fn what_cannot_be_cut_is_described() {
        let wide: Value = Value::Object((0..500).map(|n| (format!("key{n}"), json!(n))).collect());
        let fitted = fitted(&wide, 500);
        assert!(fitted.text.starts_with("The answer is too long"), "{}", fitted.text);
        assert_eq!(fitted.value, None);
    }

    fn by(size: Option<&str>, offset: Option<&str>) -> Paging {
        Paging { size: size.map(str::to_owned), offset: offset.map(str::to_owned) }
    }

    #[test]
    fn a_cut_list_leaves_no_cursor_and_says_how_to_get_the_rest() {
        let value = json!({"items": vec!["0123456789"; 500], "next": "CUR"});
        let with = |paging: &Paging| fit(value.clone(), write(&value), 1200, paging);
        let fitted = with(&by(Some("limit"), None));
        assert!(!fitted.text.contains("CUR"), "{}", fitted.text);
        assert_eq!(Some(data(&fitted)), fitted.value);
        let shown = data(&fitted)["items"].as_array().expect("a list").len();
        let rest = format!(
            "call again with a `limit` of at most {shown}; `next` is left out, as it skips the rest"
        );
        assert!(note(&fitted).contains(&rest), "{}", note(&fitted));
        assert!(length(&fitted) <= 1200);
        let fitted = with(&by(Some("limit"), Some("offset")));
        assert!(note(&fitted).contains(", or with `offset` raised by "), "{}", note(&fitted));
        let fitted = with(&Paging::default());
        assert!(note(&fitted).contains("ask for less"), "{}", note(&fitted));
        // A result that fits keeps its cursor.
        let whole = json!({"items": [1], "next": "CUR"});
        assert!(fitted_text(&whole).contains("CUR"));
        // So does a list beside a long string: no item is missing.
        let text = json!({"items": [1], "about": "x".repeat(5000), "next": "CUR"});
        assert!(fitted_text(&text).contains("CUR"));
    }

    fn fitted_text(value: &Value) -> String {
        fitted(value, 1000).text
    }

    #[test]
    fn no_number_is_given_for_a_list_within_an_item() {
        let value = json!({"threads": [{"id": 1, "messages": vec!["0123456789"; 500]}]});
        let fitted = fit(value.clone(), write(&value), 1200, &by(Some("limit"), Some("offset")));
        assert!(note(&fitted).contains("with a smaller `limit`\""), "{}", note(&fitted));
    }
}
