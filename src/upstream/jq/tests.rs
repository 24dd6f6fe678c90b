use serde_json::json;

use super::*;

async fn here(filter: &str, value: Value) -> Result<Vec<Value>, JqError> {
    // No worker can start, so a filter that succeeds has run in this process.
    let size = value.to_string().len();
    Jq::new("/nonexistent".into()).run(filter, &value.into(), size).await
}

#[tokio::test]
async fn a_linear_filter_runs_in_the_server() {
    let value = json!({"items": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]});
    let outputs = here(".items[] | {id, called: .name}", value).await;
    assert_eq!(outputs, Ok(vec![json!({"id": 1, "called": "a"}), json!({"id": 2, "called": "b"})]));
}

#[tokio::test]
async fn numbers_come_through_unchanged() {
    let value = json!([1, -1, u64::MAX, i64::MIN, 1.5, 9_007_199_254_740_993_u64]);
    assert_eq!(here(".", value.clone()).await, Ok(vec![value]));
}

#[tokio::test]
async fn a_panic_of_the_interpreter_is_a_failure() {
    // Overflows if arithmetic is checked.
    let result = here("length", json!(i64::MIN)).await;
    assert_eq!(matches!(result, Err(JqError::Failed(_))), cfg!(debug_assertions), "{result:?}");
}

#[tokio::test]
async fn any_other_filter_needs_a_worker() {
    let result = here("reduce .[] as $x (0; . + $x)", json!([1])).await;
    assert!(matches!(result, Err(JqError::Unavailable(_))), "{result:?}");
}

#[tokio::test]
async fn a_large_answer_needs_a_worker_even_for_a_linear_filter() {
    let result = here("[.[] | {a: .}]", json!(vec!["x"; 1_000_000])).await;
    assert!(matches!(result, Err(JqError::Unavailable(_))), "{:?}", result.err());
}

#[tokio::test]
async fn a_filter_s_own_error_is_told_in_short() {
    let result = here(".a.b", json!({"a": "x".repeat(10_000)})).await;
    let Err(JqError::Failed(message)) = result else { panic!("{result:?}") };
    assert!(message.chars().count() < 250, "{message}");
}

#[test]
fn problems_have_a_place() {
    let problem = compile_check(".items[] | lenght").expect_err("no such filter");
    assert_eq!(&".items[] | lenght"[problem.range.clone()], "lenght");
    assert!(problem.message.contains("did you mean `length`?"), "{}", problem.message);
    let problem = compile_check("{a: .b").expect_err("not closed");
    assert!(problem.message.contains("`{` is never closed"), "{}", problem.message);
    let problem = compile_check(".a |").expect_err("nothing follows");
    assert_eq!(problem.range, 4..4);
    let problem = compile_check("select(. = ; 1)").expect_err("no term");
    assert!(problem.range.end <= 15);
}

#[test]
fn nothing_tells_of_the_process_or_leaves_it() {
    for filter in [
        "env",
        "$ENV",
        "$ENV.HOME",
        "input",
        "inputs",
        "debug",
        "debug(.)",
        "stderr",
        "halt",
        "halt_error",
        "input_filename",
        "$__prog_args",
        "include \"a\"; .",
        "import \"a\" as a; .",
        "debug_empty",
        "stderr_empty",
        "get_search_list",
    ] {
        assert!(compile_check(filter).is_err(), "{filter}");
    }
}

#[test]
fn a_filter_that_would_overflow_the_parser_is_refused() {
    for filter in [
        "(".repeat(5000),
        "-".repeat(5000) + "1",
        ".|".repeat(3000) + ".",
        ".and".repeat(1000) + ".",
        "try ".repeat(1000) + ".",
    ] {
        assert!(compile_check(&filter).is_err());
    }
    let pipes = ".|".repeat(127) + ".";
    assert_eq!(compile_check(&pipes), Ok(()));
    let wide = format!("{{{}}}", "\"field\": (.a // .b), ".repeat(300) + "z");
    assert_eq!(compile_check(&wide), Ok(()));
}

#[test]
fn no_filter_names_a_module() {
    for filter in [
        "import \"x\" as $x; $x",
        "import \"x\" as $x; .a",
        "import \"x\" as x; x::y",
        "import \"x\" as $x {search: \".\"}; .",
        "include \"x\"; .",
        "module {}; .",
        "module {name: \"x\"}; import \"x\" as $x; $x",
        "# a remark\n  import \"x\" as $x; $x::x",
    ] {
        let problem = compile_check(filter).expect_err(filter);
        assert!(problem.message.contains("modules cannot be imported"), "{filter}: {problem}");
    }
    // As data, the words have no special meaning.
    for filter in [".import", "{module: .include}", "\"import\"", ".a | .module"] {
        assert_eq!(compile_check(filter), Ok(()), "{filter}");
    }
}
