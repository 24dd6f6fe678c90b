//! What reaches a model of an answer that is not quite what it should be.

use super::*;
use crate::server::answer;

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
        assert!(result.note.is_some_and(|note| note.contains("not quite JSON")));
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
    assert!(result.note.is_some_and(|note| note.contains("breaks off")));
    let filtered = with(tool(&server), |action| action.select = Some(Filter::new(".a", 3)));
    let result = call(&filtered).await;
    assert!(result.is_error && result.text.contains("breaks off"), "{}", result.text);
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
    let Answer::Done(result) = answer else { panic!("{answer:?}") };
    assert!(result.text.contains("wait a minute, then try again"), "{}", result.text);
}
