use std::time::Duration;

use serde_json::json;
use url::Url;

use super::*;
use crate::model::arguments::{
    ArgumentLimit, ArgumentProblem, CountedUnit, Expected, Mismatch, Received,
};
use crate::model::tool::{Action, Body, Effect, HttpAction, Input, Item, Kind, Method, Param};
use crate::model::{Caller, InvalidArguments, Principal, Scopes, UserId};

fn param(name: &str, kind: Kind) -> Param {
    Param {
        name: name.into(),
        description: None,
        kind,
        required: true,
        default: None,
        choices: Vec::new(),
        min: None,
        max: None,
    }
}

fn optional(name: &str, kind: Kind) -> Param {
    Param { required: false, ..param(name, kind) }
}

fn ana() -> Principal {
    Principal::local(Caller::local(UserId::new("ana")))
}

fn tool(name: &str, params: Vec<Param>) -> Tool {
    Tool {
        name: ToolName::new(name),
        title: "A tool".into(),
        description: String::new(),
        input: Input::Params(params),
        accounts: false,
        effect: Effect::Read,
        idempotent: true,
        provider: None,
        scopes: Scopes::default(),
        action: Action::Http(HttpAction {
            method: Method::Get,
            origin: Url::parse("https://api.example.com").expect("a URL"),
            path: Vec::new(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Body::None,
            select: None,
            error: None,
            reply: None,
            timeout: Duration::from_secs(1),
            max_chars: 1000,
            is_untrusted: false,
        }),
        allow: None,
        output: None,
        faces: crate::model::face::FaceNames::default(),
        returns: crate::model::tool::Returns::default(),
        confirm: None,
    }
}

fn accepted(params: Vec<Param>, arguments: &Value) -> Result<Value, InvalidArguments> {
    let arguments = arguments.as_object().cloned();
    accept(&tool("t", params), arguments).map(|accepted| Value::Object(accepted.arguments))
}

/// Returns the problems of single arguments.
fn problems<T: std::fmt::Debug>(result: Result<T, InvalidArguments>) -> Vec<ArgumentProblem> {
    match result {
        Err(InvalidArguments::Unfit { problems, .. }) => problems,
        other => panic!("{other:?}"),
    }
}

fn mismatches(params: Vec<Param>, arguments: &Value) -> Vec<(String, Mismatch)> {
    let problems = problems(accepted(params, arguments));
    problems.into_iter().map(|problem| (problem.name, problem.mismatch)).collect()
}

fn named(result: Result<Accepted, InvalidArguments>) -> Vec<String> {
    problems(result).into_iter().map(|problem| problem.name).collect()
}

#[test]
fn tools_are_found_by_name_and_listed_in_order() {
    let registry = Registry::new(vec![
        tool("notes_list", vec![]),
        tool("github_star_repo", vec![]),
        tool("notes_add", vec![]),
    ]);
    assert_eq!(
        registry.get("notes_add", &ana()).expect("it is there").tool().name.as_str(),
        "notes_add"
    );
    let names: Vec<_> = registry.entries().iter().map(|entry| entry.tool().name.as_str()).collect();
    assert_eq!(names, ["github_star_repo", "notes_add", "notes_list"]);
}

#[test]
fn an_unknown_tool_is_answered_with_the_nearest_name() {
    let registry = Registry::new(vec![tool("github_star_repo", vec![]), tool("weather", vec![])]);
    let nearest = |name: &str| registry.get(name, &ana()).expect_err("unknown").nearest;
    assert_eq!(nearest("github_star_repos").as_deref(), Some("github_star_repo"));
    assert_eq!(nearest("GitHub_Star_Repo").as_deref(), Some("github_star_repo"));
    assert_eq!(nearest("delete_everything"), None);
    assert_eq!(nearest(&"github_star_repo".repeat(1_000_000)), None);
}

/// A user who is not the operator must not learn whether `allow` hides the tool.
#[test]
fn a_tool_of_a_toolkit_that_is_not_served_is_named_without_telling_of_a_hidden_one() {
    let hidden = || Tool { allow: Some(Vec::new()), ..tool("github_star_repo", vec![]) };
    let without = Registry::new(vec![tool("weather", vec![])]);
    let with = Registry::new(vec![tool("weather", vec![]), hidden()]);
    let caller = Caller { namespace: "key:app".into(), user: UserId::new("bob") };
    let bob = Principal::signed_in(caller, [].into());
    for written in ["github_star_repo", "Github.StarRepo", "github_star_rep"] {
        let said = |registry: &Registry| registry.get(written, &bob).unwrap_err().to_string();
        assert_eq!(said(&with), said(&without), "{written}");
        let offered = |registry: &Registry| {
            registry.offer(Face::Arcade, written, &bob).unwrap_err().to_string()
        };
        assert_eq!(offered(&with), offered(&without), "{written}");
    }
    let said = without.get("Github.StarRepo", &bob).unwrap_err().to_string();
    assert!(said.contains("`github_star_repo`") && !said.contains("toml"), "{said}");
    let said = without.get("Github.StarRepo", &ana()).unwrap_err().to_string();
    assert!(said.contains("`github = [\"star_repo\"]`"), "{said}");
}

#[test]
fn a_tool_under_the_name_of_another_contract_is_the_one_that_is_meant() {
    let registry = Registry::new(vec![named_at("github_star_repo", "Github.StarRepo")]);
    let nearest = |face, written: &str| match registry.offer(face, written, &ana()) {
        Err(NotOffered::Unknown(unknown)) => unknown.nearest,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        nearest(Face::Portia, "Github.StarRepo").as_deref(),
        Some("countersign:github:star_repo")
    );
    assert_eq!(
        nearest(Face::Arcade, "portia:github::star_repo").as_deref(),
        Some("Github.StarRepo")
    );
    let unknown = registry.get("Github.StarRepo", &ana()).unwrap_err();
    assert_eq!(unknown.nearest.as_deref(), Some("github_star_repo"));
}

#[test]
fn schemas_are_made_when_asked_for_and_once() {
    let registry = Registry::new(vec![tool("t", vec![param("a", Kind::String)])]);
    let entry = registry.get("t", &ana()).expect("it is there");
    assert!(entry.schema.get().is_none());
    assert!(Arc::ptr_eq(entry.schema(), entry.schema()));
}

#[test]
fn the_schema_keeps_to_the_plain_subset() {
    let params = vec![
        Param { description: Some("Who.".into()), max: Some(20.0), ..param("who", Kind::String) },
        Param {
            min: Some(1.0),
            max: Some(99.0),
            default: Some(json!(1)),
            ..param("n", Kind::Integer)
        },
        Param { min: Some(0.5), ..optional("x", Kind::Number) },
        Param { choices: vec!["a".into(), "b".into()], ..optional("sort", Kind::String) },
        Param { max: Some(5.0), ..optional("labels", Kind::Array(Item::String)) },
        optional("draft", Kind::Boolean),
        optional("extra", Kind::Object),
    ];
    let schema = Value::Object(input_schema(&tool("t", params)));
    assert_eq!(
        schema,
        json!({
            "type": "object",
            "properties": {
                "who": {"type": "string", "description": "Who (at most 20 characters)"},
                "n": {"type": "integer", "default": 1, "minimum": 1, "maximum": 99},
                "x": {"type": "number", "minimum": 0.5},
                "sort": {"type": "string", "enum": ["a", "b"]},
                "labels": {
                    "type": "array",
                    "description": "at most 5 items",
                    "items": {"type": "string"}
                },
                "draft": {"type": "boolean"},
                "extra": {"type": "object"},
            },
            "required": ["who"],
            "additionalProperties": false,
        })
    );
    assert!(jsonschema::validator_for(&schema).is_ok());
    let none = Value::Object(input_schema(&tool("t", vec![])));
    assert_eq!(none, json!({"type": "object", "properties": {}, "additionalProperties": false}));
}

#[test]
fn hints_follow_the_effect() {
    let with = |effect, idempotent| {
        let hints = hints(&Tool { effect, idempotent, ..tool("t", vec![]) });
        (hints.read_only, hints.destructive, hints.idempotent, hints.open_world)
    };
    assert_eq!(with(Effect::Read, false), (true, false, true, true));
    assert_eq!(with(Effect::Write, true), (false, false, true, true));
    assert_eq!(with(Effect::Destroy, false), (false, true, false, true));
}

#[test]
fn what_can_only_be_meant_one_way_is_taken_that_way() {
    for (kind, given, taken) in [
        (Kind::Integer, json!("10"), json!(10)),
        (Kind::Integer, json!(" 10 "), json!(10)),
        (Kind::Integer, json!(1.0), json!(1)),
        (Kind::Integer, json!("1e3"), json!(1000)),
        (Kind::Integer, json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_993_i64)),
        (Kind::Integer, json!("9007199254740993"), json!(9_007_199_254_740_993_i64)),
        (Kind::Integer, json!(u64::MAX), json!(u64::MAX)),
        (Kind::Number, json!("1.5"), json!(1.5)),
        (Kind::Number, json!("2"), json!(2)),
        (Kind::Number, json!(2), json!(2)),
        (Kind::Boolean, json!("true"), json!(true)),
        (Kind::Boolean, json!("False"), json!(false)),
        (Kind::Boolean, json!(1), json!(true)),
        (Kind::Array(Item::Number), json!("1.5, 2"), json!([1.5, 2])),
        (Kind::Array(Item::Boolean), json!("yes,no"), json!([true, false])),
        (Kind::String, json!(10), json!("10")),
        (Kind::String, json!(1.5), json!("1.5")),
        (Kind::String, json!(true), json!("true")),
        (Kind::String, json!(""), json!("")),
        (Kind::Object, json!("{\"a\": 1}"), json!({"a": 1})),
        (Kind::Array(Item::String), json!("one"), json!(["one"])),
        (Kind::Array(Item::String), json!("[\"a\", \"b\"]"), json!(["a", "b"])),
        (Kind::Array(Item::Integer), json!(["1", 2.0]), json!([1, 2])),
        (Kind::Array(Item::Integer), json!(3), json!([3])),
    ] {
        let result = accepted(vec![param("x", kind)], &json!({"x": given}));
        assert_eq!(result, Ok(json!({"x": taken})), "{kind:?} {given}");
    }
}

#[test]
fn anything_else_is_refused() {
    for (kind, given) in [
        (Kind::Integer, json!("ten")),
        (Kind::Integer, json!(1.5)),
        (Kind::Integer, json!(1e300)),
        (Kind::Integer, json!("9007199254740993.0")),
        (Kind::Integer, json!("")),
        (Kind::Integer, json!(true)),
        (Kind::Number, json!("NaN")),
        (Kind::Number, json!("inf")),
        (Kind::Number, json!("-inf")),
        (Kind::Number, json!("infinity")),
        (Kind::Number, json!("1e400")),
        (Kind::Number, json!("0x10")),
        (Kind::Boolean, json!("maybe")),
        (Kind::Boolean, json!(2)),
        (Kind::Integer, json!("1,000")),
        (Kind::Array(Item::Number), json!("1,5")),
        (Kind::Array(Item::Integer), json!("1,000")),
        (Kind::Array(Item::Integer), json!("1,2,")),
        (Kind::String, json!(["a"])),
        (Kind::String, json!({})),
        (Kind::Object, json!("[1]")),
        (Kind::Object, json!([1])),
        (Kind::Array(Item::Integer), json!(["a"])),
        (Kind::Array(Item::String), json!([["a"]])),
        (Kind::Array(Item::String), json!([null])),
    ] {
        let result = accepted(vec![param("x", kind)], &json!({"x": given}));
        assert!(result.is_err(), "{kind:?} {given} {result:?}");
    }
}

#[test]
fn absent_and_null_are_the_same_and_defaults_are_filled_in() {
    let params = vec![
        optional("a", Kind::String),
        Param { default: Some(json!(10)), ..optional("n", Kind::Integer) },
    ];
    assert_eq!(accepted(params.clone(), &json!({"a": null, "n": null})), Ok(json!({"n": 10})));
    assert_eq!(accepted(params, &json!({})), Ok(json!({"n": 10})));
    assert_eq!(accept(&tool("t", vec![]), None), Ok(Accepted::default()));
    let a = param("a", Kind::String);
    let expected = Expected::from(&a);
    let missing = mismatches(vec![a], &json!({"a": null}));
    assert_eq!(missing, [("a".into(), Mismatch::Missing { expected, description: None })]);
}

#[test]
fn all_problems_are_told_at_once() {
    let params = vec![
        param("owner", Kind::String),
        param("repo", Kind::String),
        Param { min: Some(1.0), max: Some(99.0), ..param("count", Kind::Integer) },
        Param { choices: vec!["stars".into(), "forks".into()], ..optional("sort", Kind::String) },
        Param { max: Some(3.0), ..optional("note", Kind::String) },
    ];
    let expected = |at: usize| Expected::from(&params[at]);
    let problems = [
        ("owner", Mismatch::Type { expected: expected(0), received: Received::List(0) }),
        ("repo", Mismatch::Missing { expected: expected(1), description: None }),
        ("count", Mismatch::TooLarge { max: 99.0, given: 100.into() }),
        (
            "sort",
            Mismatch::Choice {
                expected: expected(3),
                given: "star".into(),
                nearest: Some("stars".into()),
            },
        ),
        ("note", Mismatch::TooLong { max: 3.0, count: 4, unit: CountedUnit::Characters }),
        (
            "repositry",
            Mismatch::Unknown {
                nearest: Some("repo".into()),
                known: ["owner", "repo", "count", "sort", "note"].map(str::to_owned).to_vec(),
            },
        ),
    ];
    let given =
        json!({"owner": [], "repositry": "x", "count": "100", "sort": "star", "note": "long"});
    assert_eq!(
        mismatches(params, &given),
        problems.map(|(name, mismatch)| (name.to_owned(), mismatch))
    );
}

#[test]
fn special_names_are_unknown_names() {
    for name in ["__proto__", "_meta", "user_id", "access_token", "constructor"] {
        let unknown = Mismatch::Unknown { nearest: None, known: vec!["q".into()] };
        let found = mismatches(vec![optional("q", Kind::String)], &json!({name: "x"}));
        assert_eq!(found, [(name.to_owned(), unknown)]);
    }
    let unknown = Mismatch::Unknown { nearest: None, known: Vec::new() };
    assert_eq!(mismatches(vec![], &json!({"x": 1})), [("x".to_owned(), unknown)]);
}

#[test]
fn oversized_arguments_are_refused() {
    let limit = |limit| Err(InvalidArguments::TooLarge(limit));
    let text = vec![optional("x", Kind::String)];
    let huge = json!({"x": "a".repeat(10 * 1024 * 1024)});
    assert_eq!(accepted(text, &huge), limit(ArgumentLimit::TextBytes(1024 * 1024)));
    let list = vec![optional("x", Kind::Array(Item::Integer))];
    let many = json!({"x": vec![1; 10_001]});
    assert_eq!(accepted(list, &many), limit(ArgumentLimit::Items(10_000)));
    let object = || vec![optional("x", Kind::Object)];
    let mut deep = json!({});
    for _ in 0..100 {
        deep = json!({"a": deep});
    }
    assert_eq!(accepted(object(), &json!({"x": deep})), limit(ArgumentLimit::Levels(64)));
    // An object hidden in a string.
    assert!(accepted(object(), &json!({"x": deep.to_string()})).is_err());
}

#[test]
fn a_problem_holds_little_of_what_came() {
    let given = json!({"n": "x\u{1b}".repeat(10_000)});
    let found = mismatches(vec![param("n", Kind::Integer)], &given);
    let [(_, Mismatch::Type { received: Received::Text(text), .. })] = &found[..] else {
        panic!("{found:?}")
    };
    assert!(text.chars().count() == 61 && !text.contains('\u{1b}'), "{text}");
    let found = mismatches(vec![], &json!({"x\u{1b}".repeat(10_000): 1}));
    assert!(found[0].0.chars().count() == 61 && !found[0].0.contains('\u{1b}'), "{found:?}");
}

#[test]
fn ten_thousand_tools_are_ready_at_once() {
    let tools = (0..10_000).map(|n| tool(&format!("tool_{n}"), vec![])).collect();
    let registry = Registry::new(tools);
    assert!(registry.get("tool_9999", &ana()).is_ok());
    assert!(registry.entries().iter().all(|entry| entry.schema.get().is_none()));
}

#[test]
fn an_account_is_offered_where_there_may_be_several_and_is_no_argument() {
    let several = Tool { accounts: true, ..tool("t", vec![param("q", Kind::String)]) };
    let schema = Value::Object(input_schema(&several));
    assert_eq!(schema["properties"]["account"]["type"], "string");
    assert_eq!(schema["required"], json!(["q"]));
    let take = |account: Value| {
        let arguments = json!({"q": "x", "account": account}).as_object().cloned();
        accept(&several, arguments)
    };
    for (given, account) in [
        (json!(" work "), Some("work")),
        (json!(7), Some("7")),
        (json!(""), None),
        (Value::Null, None),
    ] {
        let accepted = take(given).expect("an account");
        assert_eq!(accepted.account.as_deref(), account);
        assert_eq!(Value::Object(accepted.arguments), json!({"q": "x"}));
    }
    for wrong in [json!({"a": 1}), json!("x".repeat(300))] {
        assert_eq!(named(take(wrong)), ["account"]);
    }
    let single = accept(
        &tool("t", vec![param("q", Kind::String)]),
        json!({"q": "x", "account": "work"}).as_object().cloned(),
    );
    assert_eq!(named(single), ["account"]);
}

fn named_at(name: &str, arcade: &str) -> Tool {
    let mut tool = tool(name, vec![]);
    tool.faces.arcade.id = Some(arcade.to_owned());
    tool
}

#[test]
fn a_client_of_a_contract_finds_a_tool_by_every_spelling_of_its_id() {
    let tools = vec![named_at("github_star_repo", "Github.SetStarred"), tool("whoami", vec![])];
    let registry = Registry::new(tools);
    let found = |written: &str| {
        registry.offer(Face::Arcade, written, &ana()).map(|offer| offer.id.to_owned())
    };
    for written in
        ["Github.SetStarred", "github_setstarred", "Github.StarRepo@2", "github_star_repo"]
    {
        assert_eq!(found(written), Ok("Github.SetStarred".into()), "{written}");
    }
    assert_eq!(found("Countersign.Whoami"), Ok("Countersign.Whoami".into()));
    let unknown = NotOffered::Unknown(UnknownTool {
        nearest: Some("Github.SetStarred".into()),
        shipped: None,
    });
    assert_eq!(found("Github.SetStared"), Err(unknown));
    let at_once = |id: &str| registry.find_offer(Face::Arcade, id, &ana()).map(|offer| offer.id);
    assert_eq!(at_once("Github.StarRepo"), Some("Github.SetStarred"));
    assert_eq!(at_once("Github.SetStared"), None);
    let portia = registry.offer(Face::Portia, "countersign:github:star_repo", &ana()).unwrap();
    assert_eq!(portia.entry.tool().name.as_str(), "github_star_repo");
    let ids: Vec<_> =
        registry.offers(Face::Portia, &ana()).map(|offer| offer.id.to_owned()).collect();
    assert_eq!(ids, ["countersign:github:star_repo", "countersign:tools:whoami"]);
}

#[test]
fn ids_that_a_contract_does_not_distinguish_are_ambiguous_for_those_who_see_both() {
    let hidden = Tool { allow: Some(Vec::new()), ..tool("notes_list_all", vec![]) };
    let registry = Registry::new(vec![tool("notes_listall", vec![]), hidden]);
    let first = "notes_list_all".to_owned();
    let both = NotOffered::Ambiguous { first, second: "notes_listall".into() };
    assert_eq!(registry.offer(Face::Arcade, "Notes.ListAll", &ana()).err(), Some(both));
    assert!(registry.find_offer(Face::Arcade, "Notes.ListAll", &ana()).is_none());
    let caller = Caller { namespace: "key:app".into(), user: UserId::new("bob") };
    let bob = Principal::signed_in(caller, [].into());
    let offer = registry.offer(Face::Arcade, "Notes.ListAll", &bob).unwrap();
    assert_eq!(offer.entry.tool().name.as_str(), "notes_listall");
}
