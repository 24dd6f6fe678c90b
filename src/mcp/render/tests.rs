use serde_json::json;

use super::*;
use crate::mcp::unanswered::Unanswered;
use crate::model::authorization::AuthorizationName;
use crate::model::failure::Answered;
use crate::model::result::{Misfit, ResultBlock};
use crate::model::unasked_place::UnaskedPlace;
use crate::model::{
    AccountName, ConnectPrompt, ConsentMode, Failure, FailureKind, PromptReason, ProviderId,
    Scopes, Time, ToolName, ToolResult, Unfit,
};

fn prompt() -> ConnectPrompt {
    ConnectPrompt {
        provider: ProviderId::new("github"),
        title: "GitHub".into(),
        tool: Some(ToolName::new("github_star_repo")),
        scopes: Scopes::new(["public_repo"]),
        scope_words: vec!["star repositories".into()],
        reason: PromptReason::NotConnected,
        url: "http://127.0.0.1:8971/connect/abc".into(),
        redirect_uri: Some("http://127.0.0.1:8971/oauth/callback/github".into()),
        account: AccountName::default(),
        connected: Vec::new(),
        authorization: AuthorizationName {
            provider: ProviderId::new("github"),
            account: AccountName::default(),
            id: "id".into(),
        },
        expires_at: Time::from_millis(0),
        lives_minutes: 15,
        notice: None,
        unasked_place: UnaskedPlace::Command { user: None },
        ends_with_server: false,
        ended: None,
    }
}

#[test]
fn the_way_follows_revision_and_declaration() {
    let table = [
        ("2024-11-05", true, ConsentForm::Text),
        ("2025-03-26", true, ConsentForm::Text),
        ("2025-06-18", true, ConsentForm::Text),
        ("2025-11-25", true, ConsentForm::UrlElicitationRequired),
        ("2025-11-25", false, ConsentForm::Text),
        ("2026-07-28", true, ConsentForm::InputRequired),
        ("2026-07-28", false, ConsentForm::Text),
    ];
    for (revision, declares, way) in table {
        let of = |mode| ConsentForm::of(Some(revision), declares, mode);
        assert_eq!(of(ConsentMode::Auto), way, "{revision} {declares}");
        assert_eq!(of(ConsentMode::Text), ConsentForm::Text, "{revision} {declares}");
        assert_eq!(of(ConsentMode::Result), ConsentForm::Result, "{revision} {declares}");
    }
    assert_eq!(ConsentForm::of(None, true, ConsentMode::Auto), ConsentForm::Text);
}

#[test]
fn what_an_api_answered_is_framed_and_says_where_it_comes_from() {
    let host = || Some("api.acme.example".to_owned());
    let answer = ToolResult { host: host(), ..ToolResult::text("{\"a\":1}") };
    let rendered = serde_json::to_value(result(answer)).unwrap();
    assert_eq!(rendered["content"][0]["text"], "{\"a\":1}");
    let frame = rendered["content"][1]["text"].as_str().unwrap();
    assert!(frame.starts_with('⟦') && frame.contains("api.acme.example"), "{frame}");
    assert_eq!(rendered["_meta"]["countersign/origin"]["host"], "api.acme.example");
    // Our own text needs no frame.
    let (who, message) = ("Acme".to_owned(), Some("Out of stock".to_owned()));
    let kind = FailureKind::ReportedByApi(Answered { who, status: None, message, details: None });
    let ours = Failure { host: host(), ..Failure::from(kind) };
    let rendered = serde_json::to_value(failed(&ours.for_operator("look"))).unwrap();
    assert_eq!(rendered["content"].as_array().unwrap().len(), 1);
    let text =
        "Acme answered with a failure: “Out of stock”.\nFor the operator of this server: Look.";
    assert_eq!(rendered["content"][0]["text"], text);
    assert_eq!(rendered["_meta"]["countersign/origin"]["host"], "api.acme.example");
    let none = serde_json::to_value(result(ToolResult::text("Done."))).unwrap();
    assert!(none.get("_meta").is_none());
    // The hint for the operator never stands in an API's text.
    let problem = Misfit::Schema("`/id`: no number".into());
    let unfit = Some(Unfit { problem, for_operator: Some("change it".into()) });
    let unfit = ToolResult { host: host(), unfit, ..ToolResult::text("data") };
    let rendered = serde_json::to_value(result(unfit)).unwrap();
    assert_eq!(
        (&rendered["content"][0]["text"], &rendered["isError"]),
        (&json!("data"), &json!(true))
    );
    let note = rendered["content"][1]["text"].as_str().unwrap();
    assert!(note.ends_with("For the operator of this server: Change it."), "{note}");
}

#[test]
fn the_text_names_everything_and_the_second_block_is_data() {
    let rendered = serde_json::to_value(text(&prompt())).unwrap();
    assert_eq!(rendered["isError"], true);
    assert!(rendered.get("structuredContent").is_none());
    let human = rendered["content"][0]["text"].as_str().unwrap();
    for part in [
        "GitHub",
        "github_star_repo",
        "star repositories",
        "public_repo",
        "15 minutes",
        "\nhttp://127.0.0.1:8971/connect/abc\n",
        "Then call this tool again with the same arguments",
    ] {
        assert!(human.contains(part), "{part}: {human}");
    }
    let machine: serde_json::Value =
        serde_json::from_str(rendered["content"][1]["text"].as_str().unwrap()).unwrap();
    assert_eq!(machine["authorization_url"], "http://127.0.0.1:8971/connect/abc");
    assert!(machine["message"].is_string() && machine["llm_instructions"].is_string());
}

/// The Claude Agent SDK quotes 200 characters of a result that follows a declined question.
#[test]
fn a_host_that_cuts_off_what_it_quotes_shows_the_whole_link() {
    let url = "https://countersign.tools.example.com/connect/0123456789abcdefghjkmnpqrs";
    let code = Some("https://countersign.tools.example.com/oauth/callback/github".to_owned());
    for redirect_uri in [code, None] {
        for unanswered in [None, Some(Unanswered::Cancelled), Some(Unanswered::DeclinedAtOnce)] {
            let connected = vec!["work".into()];
            let prompt = ConnectPrompt {
                url: url.into(),
                redirect_uri: redirect_uri.clone(),
                connected,
                ends_with_server: true,
                reason: PromptReason::NotRenewed,
                ..prompt()
            };
            let rendered = serde_json::to_value(text_after(&prompt, unanswered)).unwrap();
            let human = rendered["content"][0]["text"].as_str().unwrap();
            let quoted: String = human.chars().take(200).collect();
            assert!(quoted.contains(&format!("{url}\n")), "{quoted}");
        }
    }
}

#[test]
fn a_mistyped_account_is_named_beside_those_that_there_are() {
    let connected = vec!["default (ana)".into(), "work".into()];
    let prompt = ConnectPrompt { account: AccountName::new("wrok"), connected, ..prompt() };
    let rendered = serde_json::to_value(text(&prompt)).unwrap();
    let human = rendered["content"][0]["text"].as_str().unwrap();
    for part in ["for the account `wrok`", "already: default (ana), work.", "as `account`"] {
        assert!(human.contains(part), "{part}: {human}");
    }
}

#[test]
fn a_link_that_ends_with_the_server_says_so_in_every_form() {
    let prompt = ConnectPrompt { ends_with_server: true, ..prompt() };
    let forms = [
        serde_json::to_value(text(&prompt)).unwrap(),
        serde_json::to_value(url_elicitation_required(&prompt, "e1")).unwrap(),
        serde_json::to_value(input_required(&prompt, "s".into())).unwrap(),
    ];
    for form in forms {
        let form = form.to_string();
        assert!(form.contains("only while this server runs"), "{form}");
        assert!(form.contains("`countersign auth login github`"), "{form}");
    }
    let unasked_place = UnaskedPlace::Command { user: Some("--user=ben".into()) };
    let prompt = ConnectPrompt { account: AccountName::new("my work"), unasked_place, ..prompt };
    let form = serde_json::to_string(&text(&prompt)).unwrap();
    assert!(form.contains("auth login github '--account=my work' --user=ben`"), "{form}");
}

#[test]
fn a_key_is_pasted_on_the_page_and_not_in_the_chat() {
    let prompt = ConnectPrompt { redirect_uri: None, ..prompt() };
    let rendered = serde_json::to_value(text(&prompt)).unwrap();
    let human = rendered["content"][0]["text"].as_str().unwrap();
    assert!(human.contains("paste their own key") && human.contains("never in this chat"));
    let machine = rendered["content"][1]["text"].as_str().unwrap();
    assert!(machine.contains("never here"), "{machine}");
}

#[test]
fn who_still_waits_keeps_the_link_where_programs_look_for_it() {
    let rendered = serde_json::to_value(still_waiting(&prompt())).unwrap();
    let machine = rendered["content"][1]["text"].as_str().unwrap();
    assert!(machine.contains("authorization_url"), "{machine}");
    assert!(rendered["content"][2]["text"].as_str().unwrap().starts_with("Still waiting"));
}

#[test]
fn the_error_carries_the_elicitation() {
    let rendered = serde_json::to_value(url_elicitation_required(&prompt(), "e1")).unwrap();
    assert_eq!(rendered["code"], -32042);
    let elicitation = &rendered["data"]["elicitations"][0];
    assert_eq!(elicitation["mode"], "url");
    assert_eq!(elicitation["elicitationId"], "e1");
    assert_eq!(elicitation["url"], "http://127.0.0.1:8971/connect/abc");
    let message = rendered["message"].as_str().unwrap();
    let end = "call this tool again with the same arguments: http://127.0.0.1:8971/connect/abc";
    assert!(message.starts_with("GitHub access") && message.ends_with(end), "{message}");
    assert!(!elicitation["message"].as_str().unwrap().contains("http"), "shown beside the link");
}

#[test]
fn the_input_request_carries_link_and_state() {
    let rendered = serde_json::to_value(input_required(&prompt(), "s".into())).unwrap();
    assert_eq!(rendered["resultType"], "input_required");
    assert_eq!(rendered["requestState"], "s");
    let request = &rendered["inputRequests"]["github_authorization"];
    assert_eq!(request["method"], "elicitation/create");
    assert_eq!(request["params"]["mode"], "url");
}

#[test]
fn a_success_without_data_says_so() {
    let done = ToolResult::of(ResultBlock::Done { who: "Acme".into(), status: 204 });
    let rendered = serde_json::to_value(result(done)).unwrap();
    assert_eq!(rendered["content"][0]["text"], "Done: Acme answered 204 No Content.");
}
