//! Mistakes that models make in the arguments of a call: arguments that can have only one meaning
//! are sent as meant, all others are refused with a message, and no wrong argument is sent.

use serde_json::{Value, json};

use crate::stdio::Session;
use crate::support::provider::{Server, json as ok};

fn tools(origin: &str) -> String {
    format!(
        r#"
        [tools.make]
        description     = "x"
        request         = "POST {origin}/make"
        params.due_date = {{ optional = true, description = "Until when" }}
        params.status   = {{ optional = true, enum = ["open", "in_progress", "closed"] }}
        params.limit    = {{ optional = true, type = "integer", max = 50 }}
        params.price    = {{ optional = true, type = "number" }}
        params.urgent   = {{ optional = true, type = "boolean" }}
        params.tags     = {{ optional = true, items = "string" , type = "array" }}
        params.ids      = {{ optional = true, items = "integer", type = "array" }}
        params.states   = {{ optional = true, enum = ["open", "in_progress"], type = "array" }}
        params.lines    = {{ optional = true, items = "object", type = "array" }}
        params.filter   = {{ optional = true, type = "object" }}

        [tools.page]
        description = "x"
        request     = "POST {origin}/page"
        params.size = {{ default = 20 }}
        params.sort = {{ default = "new", enum = ["new", "old"] }}

        [tools.order]
        description     = "x"
        request         = "POST {origin}/order"
        params.sku      = "The article's number, e.g. `A-1`"
        params.quantity = {{ type = "integer", min = 1, description = "How many pieces" }}
        params.labels   = {{ type = "array", optional = true, description = "Labels" }}

        [tools.list_all]
        description = "x"
        request     = "POST {origin}/all"

        [tools.search]
        description  = "x"
        request      = "POST {origin}/search"
        params.input = "Text to look for"
        "#
    )
}

/// A kind of mistake, the tool, and pairs of the `arguments` that the model sends and the body that
/// the API gets. A text instead of the body is a part of the refusal.
type Kind = (&'static str, &'static str, Vec<(Value, Value)>);

/// The 25 kinds that are understood as meant.
#[expect(clippy::too_many_lines, reason = "a table")]
fn taken() -> Vec<Kind> {
    let order = || json!({"sku": "A-1", "quantity": 2});
    vec![
        (
            "an empty text for an optional number",
            "make",
            vec![
                (json!({"limit": ""}), json!({})),
                (json!({"limit": " ", "price": ""}), json!({})),
            ],
        ),
        (
            "an empty text for a parameter with a default",
            "page",
            vec![
                (json!({"size": "", "sort": ""}), json!({"size": 20, "sort": "new"})),
                (json!({"size": "null", "sort": "None"}), json!({"size": 20, "sort": "new"})),
            ],
        ),
        (
            "an empty text for an optional enum",
            "make",
            vec![(json!({"status": ""}), json!({})), (json!({"states": ""}), json!({}))],
        ),
        ("an empty text for an optional boolean", "make", vec![(json!({"urgent": ""}), json!({}))]),
        ("an empty text for an optional object", "make", vec![(json!({"filter": ""}), json!({}))]),
        (
            "an empty text for an optional list",
            "make",
            vec![(json!({"tags": ""}), json!({})), (json!({"ids": "", "lines": " "}), json!({}))],
        ),
        (
            "a word for no value",
            "make",
            vec![
                (json!({"limit": "null", "status": "None", "urgent": "undefined"}), json!({})),
                (
                    json!({"tags": "null", "ids": "none", "filter": "NULL", "price": "nil"}),
                    json!({}),
                ),
                (json!({"status": "N/A", "limit": "<UNKNOWN>"}), json!({})),
            ],
        ),
        (
            "null for an optional parameter",
            "make",
            vec![(json!({"due_date": null, "limit": null, "tags": null}), json!({}))],
        ),
        (
            "a list that holds no value",
            "make",
            vec![
                (json!({"tags": ["null"]}), json!({})),
                (json!({"tags": [""]}), json!({})),
                (json!({"tags": [null], "ids": ["None"], "states": ["undefined"]}), json!({})),
                (json!({"tags": "[null]", "ids": "['']"}), json!({})),
            ],
        ),
        (
            "an enum in another spelling",
            "make",
            vec![
                (json!({"status": "Open"}), json!({"status": "open"})),
                (json!({"status": "in progress"}), json!({"status": "in_progress"})),
                (json!({"status": "IN-PROGRESS"}), json!({"status": "in_progress"})),
                (json!({"status": "inProgress"}), json!({"status": "in_progress"})),
                (json!({"status": " 'closed' "}), json!({"status": "closed"})),
                (
                    json!({"states": ["Open", "In Progress"]}),
                    json!({"states": ["open", "in_progress"]}),
                ),
            ],
        ),
        (
            "a name in another spelling",
            "make",
            vec![
                (json!({"Due_Date": "x"}), json!({"due_date": "x"})),
                (json!({"dueDate": "x"}), json!({"due_date": "x"})),
                (json!({"due-date": "x", "LIMIT": 5}), json!({"due_date": "x", "limit": 5})),
                (json!({"due date": "x"}), json!({"due_date": "x"})),
            ],
        ),
        (
            "all arguments in an object of their own",
            "order",
            vec![
                (json!({"arguments": order()}), order()),
                (json!({"input": order()}), order()),
                (json!({"args": order()}), order()),
                (json!({"parameters": {"SKU": "A-1", "quantity": "2"}}), order()),
            ],
        ),
        (
            "all arguments as a text in an object",
            "order",
            vec![
                (json!({"arguments": "{\"sku\": \"A-1\", \"quantity\": 2}"}), order()),
                (json!({"input": "{'sku': 'A-1', 'quantity': 2}"}), order()),
            ],
        ),
        (
            "the whole call as its arguments",
            "order",
            vec![
                (json!({"name": "order", "arguments": order()}), order()),
                (json!({"tool": "order", "input": order()}), order()),
            ],
        ),
        (
            "arguments that are no object",
            "order",
            vec![
                (json!("{\"sku\":\"A-1\",\"quantity\":2}"), order()),
                (json!("{'sku': 'A-1', 'quantity': 2}"), order()),
            ],
        ),
        (
            "an empty list or text for no arguments",
            "list_all",
            vec![
                (json!([]), Value::Null),
                (json!(""), Value::Null),
                (json!("{}"), Value::Null),
                (json!(null), Value::Null),
                (json!({"arguments": {}}), Value::Null),
            ],
        ),
        (
            "an argument for a tool without parameters",
            "list_all",
            vec![(json!({"random_string": "x"}), Value::Null), (json!({"dummy": ""}), Value::Null)],
        ),
        (
            "another word for true or false",
            "make",
            vec![
                (json!({"urgent": "yes"}), json!({"urgent": true})),
                (json!({"urgent": 1}), json!({"urgent": true})),
                (json!({"urgent": "1"}), json!({"urgent": true})),
                (json!({"urgent": "True"}), json!({"urgent": true})),
                (json!({"urgent": "No"}), json!({"urgent": false})),
                (json!({"urgent": 0}), json!({"urgent": false})),
                (json!({"urgent": "off"}), json!({"urgent": false})),
            ],
        ),
        (
            "a number as a text",
            "make",
            vec![
                (json!({"limit": "10", "price": "1.5"}), json!({"limit": 10, "price": 1.5})),
                (json!({"limit": 10.0}), json!({"limit": 10})),
                (json!({"limit": "10.0"}), json!({"limit": 10})),
            ],
        ),
        (
            "a text without quotes",
            "make",
            vec![
                (json!({"due_date": 20_260_131}), json!({"due_date": "20260131"})),
                (json!({"tags": [1, true]}), json!({"tags": ["1", "true"]})),
            ],
        ),
        (
            "an object as a text",
            "make",
            vec![
                (json!({"filter": "{\"n\": \"A\"}"}), json!({"filter": {"n": "A"}})),
                (
                    json!({"filter": "{'n': 'A', 'ok': True}"}),
                    json!({"filter": {"n": "A", "ok": true}}),
                ),
                (json!({"filter": "{n: 'A'}"}), json!({"filter": {"n": "A"}})),
                (json!({"filter": "```json\n{\"n\": 1}\n```"}), json!({"filter": {"n": 1}})),
                (json!({"filter": []}), json!({"filter": {}})),
            ],
        ),
        (
            "a list as a text",
            "make",
            vec![
                (json!({"tags": "[\"a\", \"b, c\"]"}), json!({"tags": ["a", "b, c"]})),
                (json!({"tags": "['a', 'b']"}), json!({"tags": ["a", "b"]})),
                (json!({"ids": "[1, 2]"}), json!({"ids": [1, 2]})),
                (json!({"lines": "[{'n': 1}]"}), json!({"lines": [{"n": 1}]})),
            ],
        ),
        (
            "one item for a list",
            "make",
            vec![
                (json!({"tags": "good first issue"}), json!({"tags": ["good first issue"]})),
                (json!({"ids": 5}), json!({"ids": [5]})),
                (json!({"lines": {"n": 1}}), json!({"lines": [{"n": 1}]})),
                (json!({"lines": "{\"n\": 1}"}), json!({"lines": [{"n": 1}]})),
                (json!({"states": "Open"}), json!({"states": ["open"]})),
            ],
        ),
        (
            "numbers with commas for a list of them",
            "make",
            vec![
                (json!({"ids": "1,2"}), json!({"ids": [1, 2]})),
                (json!({"ids": "1, 2, 30"}), json!({"ids": [1, 2, 30]})),
            ],
        ),
        (
            "choices with commas for a list of them",
            "make",
            vec![(
                json!({"states": "open, In progress"}),
                json!({"states": ["open", "in_progress"]}),
            )],
        ),
    ]
}

/// The two kinds that are refused, because they have more than one meaning.
fn refused() -> Vec<Kind> {
    vec![
        (
            "a text with commas for a list of texts",
            "make",
            vec![
                (json!({"tags": "a, b"}), json!("write it as a JSON list")),
                (json!({"tags": "a,b"}), json!("write it as a JSON list")),
                (json!({"tags": "a\nb"}), json!("write it as a JSON list")),
                (json!({"tags": "[a, b]"}), json!("write it as a JSON list")),
            ],
        ),
        (
            "an unknown name",
            "make",
            vec![
                (json!({"colour": "red"}), json!("`colour` is not known: there are `due_date`,")),
                (json!({"due": "x"}), json!("did you mean `due_date`?")),
                (json!({"__proto__": {}}), json!("`__proto__` is not known")),
            ],
        ),
    ]
}

/// Beyond the 27 kinds: arguments with two meanings, or none, are never sent.
fn never_sent() -> Vec<Kind> {
    vec![
        (
            "two meanings",
            "make",
            vec![
                (json!({"due_date": "x", "dueDate": "y"}), json!("`dueDate` is not known")),
                (json!({"dueDate": "x", "due-date": "y"}), json!("is not known")),
                (json!({"ids": "1,000"}), json!("`ids` must be a list of integers")),
                (json!({"arguments": {"limit": 1}, "limit": 2}), json!("`arguments` is not known")),
                (json!({"filter": "{'a': 1, 'a': 2}"}), json!("`filter` must be an object")),
                (
                    json!({"tags": {"a": 1}}),
                    json!("`tags` must be a list of strings, not an object"),
                ),
            ],
        ),
        (
            "no meaning",
            "make",
            vec![
                (json!({"limit": "ten"}), json!("`limit` must be an integer")),
                (json!({"limit": true}), json!("`limit` must be an integer")),
                (json!({"limit": 51}), json!("`limit` must be at most 50, not 51")),
                (json!({"status": "opened"}), json!("did you mean `open`?")),
                (json!({"urgent": "maybe"}), json!("`urgent` must be a boolean")),
                (json!({"ids": [1, null]}), json!("item 2 is null")),
                (json!("x"), json!("they must be a JSON object")),
                (json!([1]), json!("they must be a JSON object")),
                (json!(5), json!("they must be a JSON object")),
                (json!(true), json!("they must be a JSON object")),
            ],
        ),
        (
            "no value for a required parameter",
            "order",
            vec![
                (json!({"sku": "A-1", "quantity": ""}), json!("`quantity` must be an integer")),
                (json!({"sku": "A-1", "quantity": "null"}), json!("`quantity` must be an integer")),
                (json!({"random_string": "x"}), json!("`random_string` is not known")),
            ],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn of_27_kinds_of_mistakes_25_are_taken_right_and_2_refused() {
    assert_eq!((taken().len(), refused().len()), (25, 2));
    let api = Server::saying(ok("{}")).await;
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::over(&folder, &tools(&api.origin));
    for (kind, tool, cases) in taken() {
        for (arguments, sent) in cases {
            let before = api.requests().len();
            let params = json!({ "name": tool, "arguments": arguments });
            let answer = session.ask("tools/call", &params);
            assert_ne!(answer["result"]["isError"], true, "{kind}: {arguments}: {answer}");
            assert!(answer["result"].is_object(), "{kind}: {arguments}: {answer}");
            let requests = api.requests();
            assert_eq!(requests.len(), before + 1, "{kind}: {arguments}");
            let body = requests[before].split_once("\r\n\r\n").unwrap().1;
            let got = serde_json::from_str(body).unwrap_or(Value::Null);
            assert_eq!(got, sent, "{kind}: {arguments}");
        }
    }
    let before = api.requests().len();
    for (kind, tool, cases) in refused().into_iter().chain(never_sent()) {
        for (arguments, message) in cases {
            let text = session.failure(tool, &arguments);
            let message = message.as_str().unwrap();
            assert!(text.contains(message), "{kind}: {arguments}: {text}");
            assert!(text.contains("nothing was done"), "{kind}: {arguments}: {text}");
        }
    }
    assert_eq!(api.requests().len(), before);
}

/// Texts stay as they are, including those that stand for no value elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_takes_any_text_takes_every_text() {
    let api = Server::saying(ok("{}")).await;
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::over(&folder, &tools(&api.origin));
    for text in ["", "null", "None", "[a]", "{'a': 1}", "a, b", "yes", "x\ny"] {
        for (tool, name) in [("make", "due_date"), ("search", "input")] {
            let arguments = json!({ name: text });
            session.ask("tools/call", &json!({ "name": tool, "arguments": arguments }));
            let request = api.requests().pop().unwrap();
            let body: Value =
                serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
            assert_eq!(body, arguments);
        }
    }
    // A list stays as it is, too.
    for tags in
        [json!([]), json!(["a", "null"]), json!(["none"]), json!(["a, b"]), json!(["a", ""])]
    {
        session.ask("tools/call", &json!({ "name": "make", "arguments": { "tags": tags } }));
        let request = api.requests().pop().unwrap();
        assert!(request.ends_with(&json!({ "tags": tags }).to_string()), "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_missing_parameters_are_named_at_once_with_what_they_mean() {
    let api = Server::saying(ok("{}")).await;
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::over(&folder, &tools(&api.origin));
    for arguments in [json!({}), json!([]), json!({"sku": null}), json!({"input": {}})] {
        let text = session.failure("order", &arguments);
        for part in [
            "- `sku` is missing: a string. The article's number, e.g. `A-1`",
            "- `quantity` is missing: an integer of at least 1. How many pieces",
        ] {
            assert!(text.contains(part), "{arguments}: {text}");
        }
        assert!(!text.contains("labels"), "{text}");
    }
    assert!(api.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_a_hosts_prefix_leads_to_the_tool() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::over(&folder, &tools("http://127.0.0.1:9"));
    for (name, nearest) in [
        ("mcp__countersign__list_all", "list_all"),
        ("mcp_countersign_order", "order"),
        ("functions.search", "search"),
        ("countersign:Make", "make"),
        ("list_al", "list_all"),
    ] {
        // The form of the arguments does not hide that there is no such tool.
        for arguments in [json!({}), json!([]), json!(5)] {
            let answer =
                session.ask("tools/call", &json!({ "name": name, "arguments": arguments }));
            assert_eq!(answer["error"]["code"], -32602, "{answer}");
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(message.contains(&format!("did you mean `{nearest}`?")), "{message}");
        }
    }
    let answer = session.ask("tools/call", &json!({ "name": "nothing_like_it", "arguments": [] }));
    assert!(!answer["error"]["message"].as_str().unwrap().contains("did you mean"), "{answer}");
}
