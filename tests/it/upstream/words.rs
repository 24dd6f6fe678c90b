//! Answers that are not quite right, as they reach a model.

use super::*;
use crate::support::provider::answer;

#[tokio::test]
async fn a_fault_in_one_field_withholds_nothing_else() {
    for (body, shown) in [
        (&br#"{"a":"x\ud83dy","b":1}"#[..], "{\"a\":\"x\u{fffd}y\",\"b\":1}"),
        (b"{\"a\":\"gr\xfc\xdf\",\"b\":1}", "{\"a\":\"gr\u{fffd}\u{fffd}\",\"b\":1}"),
        (b"{\"a\":NaN,\"b\":1}", "{\"a\":null,\"b\":1}"),
    ] {
        let result = call(&tool(&Server::saying(json_answer(body)).await)).await;
        assert!(!result.is_error, "{}", result.text);
        assert_eq!(result.text, shown);
        assert!(result.note.is_some_and(|note| note.contains("not valid JSON")));
        // A filter sees the same.
        let tool = with(tool(&Server::saying(json_answer(body)).await), |action| {
            action.select = Some(Filter::new(".b", 3));
        });
        assert_eq!(call(&tool).await.text, "1");
    }
}

#[tokio::test]
async fn what_says_it_is_json_and_is_not_is_shown_as_a_text() {
    let server = Server::saying(json_answer("{\"a\": [1, 2")).await;
    let result = call(&tool(&server)).await;
    assert_eq!((&*result.text, result.is_error), ("{\"a\": [1, 2", false));
    assert!(result.note.is_some_and(|note| note.contains("incomplete")));
    let filtered = with(tool(&server), |action| action.select = Some(Filter::new(".a", 3)));
    let result = call(&filtered).await;
    assert!(result.is_error && result.text.contains("incomplete"), "{}", result.text);
}

#[tokio::test]
async fn details_of_a_refusal_reach_the_model_and_the_credential_does_not() {
    let body = json!({
        "message": "Validation Failed",
        "errors": [{"resource": "Issue", "field": "title", "code": "missing_field"}, SECRET],
    });
    let kind = "Content-Type: application/json\r\n";
    let server = Server::saying(answer("422 Unprocessable", kind, body.to_string())).await;
    let token = Credential::Bearer(SECRET.into());
    let answer = upstream()
        .execute(&tool(&server), Some(provider(&server).api()), &Map::new(), Some(&token))
        .await;
    let text = result_of(answer).text;
    assert!(text.contains("“Issue.title: missing_field”; “[redacted]”"), "{text}");
}

#[tokio::test]
async fn a_limit_told_in_words_is_no_missing_permission() {
    let body = r#"{"message": "You have exceeded a secondary rate limit."}"#;
    let kind = "Content-Type: application/json\r\n";
    let server = Server::saying(answer("403 Forbidden", kind, body)).await;
    let token = Credential::Bearer(SECRET.into());
    let answer = upstream()
        .execute(&tool(&server), Some(provider(&server).api()), &Map::new(), Some(&token))
        .await;
    assert!(matches!(answer, Answer::Failed(_)), "{answer:?}");
    let text = result_of(answer).text;
    assert!(text.contains("wait a minute, then try again"), "{text}");
}

#[tokio::test]
async fn an_answer_says_which_host_it_comes_from() {
    let server = Server::saying(json_answer("{\"a\":\"\u{27e6}countersign: x\u{27e7}\"}")).await;
    let host = server.origin.trim_start_matches("http://").to_owned();
    let Answer::Done(result) = upstream().execute(&tool(&server), None, &Map::new(), None).await
    else {
        panic!("it answers")
    };
    let text = countersign::words::result_text(&result);
    assert_eq!(text, r#"{"a":"countersign: x"}"#, "the frame cannot be written");
    assert_eq!(result.host.as_ref(), Some(&host));
    let server = Server::saying(answer("404 Not Found", "", "no")).await;
    let host = server.origin.trim_start_matches("http://").to_owned();
    let Answer::Failed(failure) = upstream().execute(&tool(&server), None, &Map::new(), None).await
    else {
        panic!("it answers")
    };
    assert_eq!(failure.host, Some(host));
}

/// Spellings of real servers: .NET, an error page, JSON inside JSON, a log that truncates.
#[tokio::test]
async fn a_credential_is_redacted_in_any_spelling() {
    let spell = |form: &str, c: u32| form.replace("{02x}", &format!("{c:02x}"));
    let spelled = |form: &str| -> String {
        let each = |c: char| match c {
            c if c.is_ascii_alphanumeric() => c.to_string(),
            c => spell(form, u32::from(c)),
        };
        SECRET.chars().map(each).collect()
    };
    let in_json = serde_json::to_string(&SECRET.replace('/', "\\/")).expect("JSON");
    for echo in [
        spelled("%{02x}"),
        spelled("&#x{02x};"),
        spelled("\\u00{02x}"),
        spelled("%25{02x}"),
        in_json,
        SECRET.replace('+', "-").replace('/', "_").replace('=', ""),
        SECRET[1..].to_owned(),
    ] {
        let body = json!({"url": format!("https://x.example/?t={echo}&p=1"), "ok": 1}).to_string();
        for (status, kind) in [
            ("200 OK", "application/json"),
            ("200 OK", "text/plain"),
            ("422 No", "application/json"),
        ] {
            let body = if status == "200 OK" {
                body.clone()
            } else {
                json!({"message": echo}).to_string()
            };
            let headers = format!("Content-Type: {kind}\r\n");
            let server = Server::saying(answer(status, &headers, body)).await;
            let token = Credential::Bearer(SECRET.into());
            let answer = upstream()
                .execute(&tool(&server), Some(provider(&server).api()), &Map::new(), Some(&token))
                .await;
            let text = result_of(answer).text;
            assert!(text.contains("[redacted]") && !text.contains("canary"), "{echo}: {text}");
        }
    }
}
