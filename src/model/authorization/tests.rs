//! The steps that exist, and the stored form of each state.

use serde_json::{Value, json};

use super::*;
use crate::model::grant::AccountIdentity;

/// As every version has written it, since it has these fields.
const PENDING: &str = include_str!("pending.json");

/// A grant as it is stored.
const GRANT: &str = r#"{
    "provider": "acme", "account": "default",
    "binding": {
        "client_id": "us", "authorize_endpoint": "https://acme.example/authorize",
        "token_endpoint": "https://acme.example/token", "refresh_endpoint": null,
        "hosts": ["acme.example"]
    },
    "tokens": {
        "user": null, "access": "access", "refresh": null, "expires_at": null,
        "refresh_expires_at": null, "received_at": 1800000000000
    },
    "scopes": ["notes:read"], "refused": [], "ungranted": [],
    "connected_at": 1800000000000, "refreshed_at": null, "revocation": null, "ended": null,
    "ended_at": null, "unclear_refusals": 0, "identity": {"id": "2", "label": "bob@example.com"},
    "retention": "Refresh", "attempt": null
}"#;

const NOW: Time = Time::from_millis(1_800_000_000_000);

fn pending() -> Authorization {
    serde_json::from_str(PENDING).unwrap()
}

fn candidate() -> Grant {
    serde_json::from_str(GRANT).unwrap()
}

fn connected() -> Connected {
    let refused = Scopes::new(["notes:write"]);
    let ungranted = refused.clone();
    Connected { connected_as: Some("ana@example.com".into()), refused, ungranted, ends: None }
}

fn asked() -> Authorization {
    pending().ask_about_account("ana@example.com".into(), candidate(), NOW).unwrap()
}

/// One authorization in each state.
fn all() -> [Authorization; 6] {
    let completed = || pending().complete(connected(), NOW).unwrap();
    [
        pending(),
        asked(),
        completed(),
        pending().fail(ConsentFailure::DeclinedAtProvider, Some("no".into()), NOW).unwrap(),
        asked().keep_previous_account(NOW).unwrap(),
        completed().undo(RevocationResult::Revoked).unwrap(),
    ]
}

#[test]
fn only_these_steps_exist() {
    let problem = LinkProblem::NoToken { error: "no".into(), incident: "i".into() };
    let table = all().map(|it| {
        let request = it.request().clone();
        [
            it.clone().widen(request).is_ok(),
            it.clone().start().is_ok(),
            it.clone().note_problem(problem.clone()).is_ok(),
            it.clone().answer().is_ok(),
            it.clone().keep_previous_account(NOW).is_ok(),
            it.clone().undo(RevocationResult::Revoked).is_ok(),
            it.clone().ask_about_account(String::new(), candidate(), NOW).is_ok(),
            it.clone().complete(connected(), NOW).is_ok(),
            it.fail(ConsentFailure::Declined, None, NOW).is_ok(),
        ]
    });
    let (y, n) = (true, false);
    assert_eq!(
        table,
        [
            // widen, start, problem | answer, keep | undo | ask, complete, fail
            [y, y, y, n, n, n, y, y, y], // Pending
            [n, n, n, y, y, n, y, y, y], // OtherAccount
            [n, n, n, n, n, y, n, n, n], // Completed
            [n, n, n, n, n, n, y, y, y], // Failed
            [n, n, n, n, n, n, y, y, y], // PreviousAccountKept
            [n, n, n, n, n, n, y, y, y], // Undone
        ]
    );
}

#[test]
fn each_state_keeps_its_stored_form() {
    let identity = candidate().identity.map(|identity: AccountIdentity| identity.words());
    let before = "ana@example.com";
    let refusal = json!([NOW]);
    let completed = json!({
        "status": "Completed", "connected_as": before, "refused": ["notes:write"],
        "ungranted": ["notes:write"], "refusals": refusal,
    });
    let differences = [
        json!({}),
        json!({
            "status": {"OtherAccount": {"before": before, "now": identity}},
            "candidate": candidate(),
        }),
        completed.clone(),
        json!({
            "status": {"Failed": {"reason": "declined_at_provider"}}, "said": "no",
            "refusals": refusal,
        }),
        json!({"status": {"Stayed": before}}),
        {
            let mut undone = completed;
            undone["status"] = json!({"Undone": {"reason": "revoked"}});
            undone
        },
    ];
    for (authorization, difference) in all().into_iter().zip(differences) {
        let mut stored: Value = serde_json::from_str(PENDING).unwrap();
        for (field, value) in difference.as_object().unwrap() {
            stored[field] = value.clone();
        }
        assert_eq!(serde_json::to_value(&authorization).unwrap(), stored);
        let read: Authorization = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), stored);
    }
    let noted = pending().note_problem(LinkProblem::Other("No.".into())).unwrap();
    assert_eq!(serde_json::to_value(&noted).unwrap()["problem"], "No.");
    assert!(noted.start().unwrap().state().problem().is_none());
}

#[test]
fn refusals_are_counted_for_an_hour() {
    let later = NOW.after(REFUSAL_WINDOW);
    let declined = |it: Authorization, at| it.fail(ConsentFailure::Declined, None, at).unwrap();
    let once = declined(pending(), NOW);
    assert_eq!(declined(once.clone(), NOW).recent_refusals(NOW), 2);
    assert_eq!(declined(once.clone(), later).refusals(), [later]);
    let refused = once.fail(ConsentFailure::ClientRefused { code: None }, None, NOW).unwrap();
    assert_eq!(refused.refusals(), [NOW], "the operator's fault is no refusal by the user");
}

#[test]
fn only_the_first_unclaimed_consent_keeps_a_link_open() {
    let later = NOW.after(Duration::from_hours(1));
    let waiting = pending().awaiting_claim(NOW).awaiting_claim(later);
    assert_eq!(waiting.unclaimed_since(), Some(NOW));
}

/// A later answer must not end the grant that a confirmed question is storing.
#[test]
fn an_answered_question_has_no_candidate_to_end() {
    assert!(asked().state().unanswered().is_some());
    let answered = asked().answer().unwrap();
    let stored = serde_json::to_string(&answered).unwrap();
    let answered: Authorization = serde_json::from_str(&stored).unwrap();
    assert!(answered.state().unanswered().is_none());
    assert!(answered.state().candidate().is_some());
}
