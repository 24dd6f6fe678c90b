//! Cutting a result to what a model's context can bear, at the items of a list and never in the
//! middle of JSON.

use std::fmt::Write as _;

use serde_json::Value;

/// A result that fits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fitted {
    pub(super) text: String,
    /// The value that the text shows; `None` where it only says that there is too much.
    pub(super) value: Option<Value>,
    /// What is left of what, as JSON; fits beside the text.
    pub(super) note: Option<String>,
}

/// How often something is cut before giving up. Each time the largest list or text shrinks.
const ROUNDS: usize = 12;
/// Bytes that most answers fit in; one that grows is copied again and again.
const USUAL: usize = 4096;
/// Kept for the note.
const NOTE: usize = 120;

/// Writes a value out: a text as it is, anything else as JSON without blanks, since blanks cost a
/// model as much as data.
pub(super) fn write(value: &Value) -> String {
    if let Value::String(text) = value {
        return text.clone();
    }
    let mut json = Vec::with_capacity(USUAL);
    let written = serde_json::to_writer(&mut json, value);
    // Faster than `to_string`, and neither step can fail.
    written.ok().and_then(|()| String::from_utf8(json).ok()).unwrap_or_else(|| value.to_string())
}

/// Cuts a value, already written out as `text`, to at most `most` characters.
pub(super) fn fit(value: Value, text: String, most: usize) -> Fitted {
    if !is_longer(&text, most) {
        return Fitted { text, value: Some(value), note: None };
    }
    if let Value::String(whole) = &value {
        let text = cut_text(whole, most);
        return Fitted { value: Some(Value::String(text.clone())), text, note: None };
    }
    cut_json(value, text, most)
}

pub(super) fn is_longer(text: &str, most: usize) -> bool {
    text.len() > most && text.chars().nth(most).is_some()
}

/// The beginning of a text, and how much of it that is.
pub(super) fn cut_text(text: &str, most: usize) -> String {
    if !is_longer(text, most) {
        return text.to_owned();
    }
    let shown = most.saturating_sub(NOTE / 2);
    let end = text.char_indices().nth(shown).map_or(text.len(), |(at, _)| at);
    let all = text.chars().count();
    format!("{}\n[cut: the first {shown} of {all} characters]", text.get(..end).unwrap_or_default())
}

/// Where a list or text lies in a value, for the note and to find it again.
type Place = String;

fn cut_json(mut value: Value, mut json: String, most: usize) -> Fitted {
    let all = json.chars().count();
    let room = most.saturating_sub(NOTE);
    let mut notes: Vec<(Place, String)> = Vec::new();
    for _ in 0..ROUNDS {
        let length = json.chars().count();
        let beside: usize = notes.iter().map(|(place, note)| place.len() + note.len() + 2).sum();
        if length + beside <= room {
            return Fitted { text: json, value: Some(value), note: written_out(&notes) };
        }
        let excess = length + beside - room;
        let Some(place) = largest(&value) else { break };
        let Some(found) = value.pointer_mut(&place) else { break };
        let note = shrink(found, excess);
        match notes.iter_mut().find(|(known, _)| *known == place) {
            // Cut again: the first note knows how many there were.
            Some((_, known)) => {
                let all = known.rsplit(" of ").next().unwrap_or_default().to_owned();
                let shown = note.split(" of ").next().unwrap_or_default();
                *known = format!("{shown} of {all}");
            }
            None => notes.push((place, note)),
        }
        json = value.to_string();
    }
    let text = format!(
        "The answer is too long to be shown ({all} characters) and has no list that could be cut. \
         Ask for less, or ask the operator for a narrower `select`."
    );
    Fitted { text, value: None, note: None }
}

fn written_out(notes: &[(Place, String)]) -> Option<String> {
    if notes.is_empty() {
        return None;
    }
    let notes: Vec<String> = notes
        .iter()
        .map(|(place, note)| match place.trim_start_matches('/') {
            "" => note.clone(),
            inner => format!("{}: {note}", inner.replace('/', ".")),
        })
        .collect();
    Some(serde_json::json!({ "_more": notes.join("; ") }).to_string())
}

/// Takes about `excess` characters from a list's or text's end; says what is left of what.
fn shrink(value: &mut Value, excess: usize) -> String {
    match value {
        Value::Array(items) => {
            let all = items.len();
            let mut taken = 0;
            while taken < excess {
                let Some(item) = items.pop() else { break };
                taken += item.to_string().chars().count() + 1;
            }
            format!("{} of {all} shown", items.len())
        }
        Value::String(text) => {
            let all = text.chars().count();
            let shown = all.saturating_sub(excess + 1);
            let end = text.char_indices().nth(shown).map_or(text.len(), |(at, _)| at);
            text.truncate(end);
            text.push('…');
            format!("{shown} of {all} characters shown")
        }
        _ => String::new(),
    }
}

/// The pointer (RFC 6901) to the longest list or text.
///
/// From the root, the longest member is followed. A list on the way is the answer unless a single
/// item makes up most of it.
fn largest(root: &Value) -> Option<Place> {
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

/// About how long a value is, without writing it out.
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
        fit(value.clone(), write(value), most)
    }

    fn data(fitted: &Fitted) -> Value {
        serde_json::from_str(&fitted.text).expect("whole JSON")
    }

    /// How long it is with its note.
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
        assert_eq!(note(&fitted), format!("{{\"_more\":\"{shown} of 124 shown\"}}"));
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
}
