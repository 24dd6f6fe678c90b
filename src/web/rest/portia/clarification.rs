//! Questions to the user, in the form of the contract.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::Serialize;

use super::client_name;
use crate::broker::Broker;
use crate::broker::ready::run::RunReadiness;
use crate::broker::ready::{Asking, ConsentState};
use crate::identity::RestCaller;
use crate::model::arguments::{ArgumentProblem, Mismatch};
use crate::model::clarification::ClarificationKind;
use crate::model::run::clarification_id;
use crate::model::{
    Clarification, ConfirmationPrompt, ConnectPrompt, InvalidArguments, Principal, Tool, ToolName,
    uuid,
};
use crate::store::StoreError;
use crate::words;

/// Name of the asker, which clients show.
const SOURCE: &str = "Countersign";

/// A consent or a confirmation that tools wait for.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::web::rest) struct ActionClarification {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan_run_id: Option<String>,
    /// `Action`
    category: &'static str,
    /// `null`: the user's answer goes to `action_url`, not to the client.
    response: Option<String>,
    step: Option<u32>,
    user_guidance: String,
    resolved: bool,
    source: &'static str,
    /// Our own page.
    action_url: String,
    require_confirmation: bool,
}

/// Returns what these tools need of their user: a question for each provider, with the scopes of all
/// its tools, and one for each call that the user has not confirmed yet. One that cannot be asked now
/// is left out, since a client cannot act on it; a call says why.
///
/// # Errors
/// The store cannot be read.
pub(super) async fn needed(
    broker: &Broker,
    caller: &RestCaller,
    principal: &Principal,
    run: Option<&str>,
    tools: &[ToolName],
) -> Result<Vec<ActionClarification>, StoreError> {
    let asking = Asking::Link { client: Some(client_name(caller)), next: None, later: None };
    let RunReadiness { consents, confirmations } =
        broker.readiness_for_run(principal, run, tools, asking).await?;
    let prompts = consents.into_iter().filter_map(|consent| match consent.state {
        ConsentState::Needed { prompt, .. } => prompt,
        ConsentState::Ready { .. } | ConsentState::RefusedOften | ConsentState::Failed(_) => None,
    });
    let consents = prompts.map(|prompt| ActionClarification::consent(&prompt, run));
    let confirmations =
        confirmations.into_iter().map(|prompt| ActionClarification::confirmation(prompt, run));
    let mut needed: Vec<ActionClarification> = consents.chain(confirmations).collect();
    // Two needs of one account share a link, and so the id.
    let mut seen = HashSet::new();
    needed.retain(|action| seen.insert(action.id.clone()));
    Ok(needed)
}

impl ActionClarification {
    fn consent(prompt: &ConnectPrompt, run: Option<&str>) -> Self {
        let guidance = words::consent_needed(prompt);
        Self::new(&prompt.authorization.id, run, guidance, prompt.url.clone())
    }

    fn confirmation(prompt: ConfirmationPrompt, run: Option<&str>) -> Self {
        let ConfirmationPrompt { id, url, question, .. } = prompt;
        Self::new(&id, run, question, url)
    }

    /// `of` is the id of the request that the user answers on the page at `action_url`.
    fn new(of: &str, run: Option<&str>, user_guidance: String, action_url: String) -> Self {
        Self {
            id: clarification_id(of, run.unwrap_or_default()),
            plan_run_id: run.map(str::to_owned),
            category: "Action",
            response: None,
            step: None,
            user_guidance,
            resolved: false,
            source: SOURCE,
            action_url,
            require_confirmation: false,
        }
    }
}

impl ActionClarification {
    /// Whether this asks for the confirmation or the consent with this id.
    pub(super) fn asks_for(&self, of: &str, run: Option<&str>) -> bool {
        self.id == clarification_id(of, run.unwrap_or_default())
    }
}

impl From<ActionClarification> for RunClarification {
    fn from(action: ActionClarification) -> Self {
        let ActionClarification { id, action_url, user_guidance, .. } = action;
        Self::Action { id, action_url, user_guidance }
    }
}

/// Returns the id of a question, the same for the same question: the clients keep questions with
/// different ids apart.
fn id(parts: &[&str]) -> String {
    format!("clar-{}", uuid::of(parts))
}

/// A question that a run asks. Exactly one stands in the list that is the value of the output: the
/// clients use the first only.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "category")]
pub(in crate::web::rest) enum RunClarification {
    Action {
        id: String,
        action_url: String,
        user_guidance: String,
    },
    Input {
        id: String,
        argument_name: String,
        user_guidance: String,
    },
    #[serde(rename = "Multiple Choice")]
    MultipleChoice {
        id: String,
        argument_name: String,
        user_guidance: String,
        options: Vec<String>,
    },
    #[serde(rename = "Value Confirmation")]
    ValueConfirmation {
        id: String,
        argument_name: String,
        user_guidance: String,
    },
}

impl RunClarification {
    /// Asks for the first argument that the user can supply. `None` if there is none. The answer
    /// comes back as an argument of the next call, so nothing of the question is stored here.
    /// `problem` has the contract's names.
    pub(super) fn of(tool: &Tool, run: Option<&str>, problem: &InvalidArguments) -> Option<Self> {
        let InvalidArguments::Unfit { problems, .. } = problem else { return None };
        let ArgumentProblem { name, mismatch } = problems.first()?;
        let title = &tool.title;
        let id = |asked: &str| {
            id(&["argument", run.unwrap_or_default(), tool.name.as_str(), name, asked])
        };
        let argument_name = name.clone();
        match mismatch {
            Mismatch::Missing { expected, description } => {
                let about = match joined(tool, name) {
                    // Half of it is there. The whole is asked for, since it replaces the half.
                    Some(whole) => format!(", written as `{whole}`"),
                    None => description.as_deref().map(about).unwrap_or_default(),
                };
                let user_guidance = format!("“{title}” needs `{name}`{about}.");
                let (id, options) = (id(""), expected.choices.clone());
                Some(if options.is_empty() {
                    Self::Input { id, argument_name, user_guidance }
                } else {
                    Self::MultipleChoice { id, argument_name, user_guidance, options }
                })
            }
            Mismatch::Choice { given, nearest: Some(nearest), .. } => {
                let user_guidance =
                    format!("“{title}” takes no `{given}` as `{name}`. Is `{nearest}` meant?");
                Some(Self::ValueConfirmation { id: id(given), argument_name, user_guidance })
            }
            _ => None,
        }
    }
}

impl RunClarification {
    /// A question that the code of a tool asks. The answer comes back as an argument of the next
    /// call.
    pub(super) fn of_code(tool: &Tool, run: Option<&str>, asked: &Clarification) -> Self {
        let about = match &asked.kind {
            ClarificationKind::Input { argument }
            | ClarificationKind::Choice { argument, .. }
            | ClarificationKind::Confirm { argument } => argument,
            ClarificationKind::Action { url } => url,
        };
        let parts = ["code", run.unwrap_or_default(), tool.name.as_str(), about, &asked.guidance];
        let (id, user_guidance) = (id(&parts), asked.guidance.clone());
        let theirs = |ours: &str| tool.faces.portia.to_theirs(ours).to_owned();
        match &asked.kind {
            ClarificationKind::Input { argument } => {
                Self::Input { id, argument_name: theirs(argument), user_guidance }
            }
            ClarificationKind::Choice { argument, options } => Self::MultipleChoice {
                id,
                argument_name: theirs(argument),
                user_guidance,
                options: options.clone(),
            },
            ClarificationKind::Confirm { argument } => {
                Self::ValueConfirmation { id, argument_name: theirs(argument), user_guidance }
            }
            ClarificationKind::Action { url } => {
                Self::Action { id, action_url: url.clone(), user_guidance }
            }
        }
    }
}

fn about(description: &str) -> String {
    format!(": {}", description.trim_end_matches('.'))
}

/// Returns how a text is written that stands for two parameters, e.g. `owner/repo`.
fn joined(tool: &Tool, theirs: &str) -> Option<String> {
    let mut renamed = tool.faces.portia.args.iter();
    let joined = renamed.find(|it| it.theirs == theirs && it.ours.len() > 1)?;
    Some(joined.ours.join("/"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::tool;
    use super::*;
    use crate::model::arguments::Expected;
    use crate::model::tool::Kind;

    fn expected(choices: &[&str]) -> Expected {
        let choices = choices.iter().map(|&choice| choice.to_owned()).collect();
        Expected { kind: Kind::String, choices, min: None, max: None }
    }

    fn asked(run: Option<&str>, mismatch: Mismatch) -> Value {
        let problems = vec![ArgumentProblem { name: "state".into(), mismatch }];
        let problem = InvalidArguments::Unfit { tool: tool().name, problems };
        serde_json::to_value(RunClarification::of(&tool(), run, &problem)).unwrap()
    }

    #[test]
    fn each_question_has_its_category() {
        let missing = |choices| Mismatch::Missing {
            expected: expected(choices),
            description: Some("Which.".into()),
        };
        let input = asked(Some("prun-1"), missing(&[]));
        assert_eq!(input["category"], "Input");
        assert_eq!(input["argument_name"], "state");
        assert_eq!(input["user_guidance"], "“Read notes” needs `state`: Which.");
        let several = asked(Some("prun-1"), missing(&["open", "closed"]));
        assert_eq!(several["category"], "Multiple Choice");
        assert_eq!(several["options"], json!(["open", "closed"]));
        let near = |given: &str| Mismatch::Choice {
            expected: expected(&["open"]),
            given: given.into(),
            nearest: Some("open".into()),
        };
        let value = asked(Some("prun-1"), near("opne"));
        assert_eq!(value["category"], "Value Confirmation");
        assert_eq!(
            value["user_guidance"],
            "“Read notes” takes no `opne` as `state`. Is `open` meant?"
        );
        assert_eq!(value, asked(Some("prun-1"), near("opne")), "the same question, the same id");
        assert_ne!(value["id"], asked(Some("prun-1"), near("oepn"))["id"]);
        assert_ne!(value["id"], asked(Some("prun-2"), near("opne"))["id"]);
        assert_ne!(value["id"], asked(None, near("opne"))["id"]);
    }
}
