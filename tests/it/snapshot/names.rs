//! Names for what differs from run to run, and a search for secrets that got none.

/// What stands right before a value, and the name of the value. Values of one name are numbered in
/// the order in which they come, so that a snapshot also shows which of them are the same.
const NAMED: &[(&str, &str)] = &[
    ("/connect/", "TICKET"),
    ("/confirm/", "TICKET"),
    ("\"clar-", "CLARIFICATION"),
    ("state=", "STATE"),
    ("code_challenge=", "CHALLENGE"),
    ("nonce=", "NONCE"),
    ("name=\"csrf\" value=\"", "FORM-TOKEN"),
    ("name=\"shown\" value=\"", "DIGEST"),
    ("name=\"challenge\" value=\"", "CHALLENGE"),
    ("challenge=", "CHALLENGE"),
    ("flow_id=", "FLOW"),
    ("\"requestState\": \"", "REQUEST-STATE"),
    ("\"requestState\":\"", "REQUEST-STATE"),
    ("\"elicitationId\": \"", "ELICITATION"),
    ("\"elicitationId\":\"", "ELICITATION"),
    ("mcp-session-id: ", "SESSION"),
    ("sessionId=", "SESSION"),
    ("incident `", "INCIDENT"),
    ("Incident <code>", "INCIDENT"),
    ("incident <code>", "INCIDENT"),
    ("internal error ", "INCIDENT"),
];

/// Shortest value that is replaced wherever it stands.
const SHORTEST_VALUE: usize = 8;
/// Shortest word that may be a secret, in characters.
const SHORTEST_SECRET: usize = 20;

/// Returns the text with names instead of values.
pub(super) fn named(text: &str, known: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (value, name) in known {
        text = text.replace(value, name);
    }
    for (before, name) in NAMED {
        text = with_numbers(text, before, name);
    }
    text = cookies(&text);
    text = numbers_after(&text, &["127.0.0.1:", "localhost:", "[::1]:", "127.0.0.1%3A"], "PORT");
    // Systems number their errors differently.
    text = numbers_after(&text, &["(os error "], "NUMBER");
    // The length follows from the body, and values of this run may be longer or shorter.
    let head = |line: &str| match line.split_once(": ") {
        Some(("date", _)) => "date: DATE".to_owned(),
        Some(("content-length", length)) if length != "0" => "content-length: LENGTH".to_owned(),
        _ => line.to_owned(),
    };
    let mut lines: Vec<String> = text.lines().map(head).collect();
    lines.push(String::new());
    lines.join("\n")
}

/// Returns the words that look like secrets: long, of letters and digits, and no name of ours.
pub(super) fn unnamed(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "_-+/".contains(c)));
    words
        .filter(|word| !word.starts_with("sha256-"))
        .flat_map(|word| word.split('/'))
        .filter(|word| word.len() >= SHORTEST_SECRET)
        .filter(|word| {
            let digits = word.chars().filter(char::is_ascii_digit).count();
            digits >= 2 && word.chars().any(|c| c.is_ascii_lowercase())
        })
        .map(str::to_owned)
        .collect()
}

fn is_of_value(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.~%".contains(c)
}

fn with_numbers(mut text: String, before: &str, name: &str) -> String {
    let mut values: Vec<String> = Vec::new();
    for (at, _) in text.match_indices(before) {
        let rest = &text[at + before.len()..];
        let value: String = rest.chars().take_while(|&c| is_of_value(c)).collect();
        if value.len() >= SHORTEST_VALUE && !value.starts_with(name) && !values.contains(&value) {
            values.push(value);
        }
    }
    // Numbers go on from those that another mark has given.
    let first = (1..text.len()).find(|n| !text.contains(&format!("{name}-{n}"))).expect("a number");
    for (n, value) in (first..).zip(values) {
        text = text.replace(&value, &format!("{name}-{n}"));
    }
    text
}

/// Names the values of cookies, and the part of their names that belongs to one attempt or port.
fn cookies(text: &str) -> String {
    let line = |line: &str| {
        let Some(set) = line.strip_prefix("set-cookie: ") else { return line.to_owned() };
        let (pair, attributes) = set.split_once(';').unwrap_or((set, ""));
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = match name.rsplit_once('_') {
            Some((kind, of)) if !kind.ends_with('_') => {
                let of = if of.chars().all(|c| c.is_ascii_digit()) { "PORT" } else { "ATTEMPT" };
                format!("{kind}_{of}")
            }
            _ => name.to_owned(),
        };
        let value = if value.is_empty() { "" } else { "COOKIE" };
        format!("set-cookie: {name}={value};{attributes}")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Names the numbers that stand after one of these marks.
fn numbers_after(text: &str, marks: &[&str], name: &str) -> String {
    let mut left = text;
    let mut named = String::new();
    while let Some((at, mark)) =
        marks.iter().filter_map(|mark| left.find(mark).map(|at| (at, mark))).min()
    {
        let (before, rest) = left.split_at(at + mark.len());
        let digits = rest.chars().take_while(char::is_ascii_digit).count();
        named.push_str(before);
        if digits > 1 {
            named.push_str(name);
        }
        left = if digits > 1 { &rest[digits..] } else { rest };
    }
    named + left
}

#[test]
fn what_differs_from_run_to_run_has_a_name() {
    let ticket = "0123456789abcdefghjkmnpqrs";
    let other = "z123456789abcdefghjkmnpqrs";
    let text = format!(
        "date: today\nset-cookie: countersign_8971=abc; Path=/\nhttp://127.0.0.1:8971/connect/{ticket}\n\
         to=/connect/{other} {ticket} http://here/ x"
    );
    let expected = "date: DATE\nset-cookie: countersign_PORT=COOKIE; Path=/\n\
        http://127.0.0.1:PORT/connect/TICKET-1\nto=/connect/TICKET-2 TICKET-1 PROVIDER/ x\n";
    assert_eq!(named(&text, &[("http://here", "PROVIDER")]), expected);
    assert!(unnamed(expected).is_empty());
    assert_eq!(unnamed(ticket), [ticket]);
    assert!(
        unnamed("sha256-AAAABBBBccccddddeeee1111 oauth-protected-resource-metadata").is_empty()
    );
}
