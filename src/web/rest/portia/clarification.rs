//! Questions to the user, in the form of the contract.

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::arguments::{ArgumentProblem, Mismatch};
use crate::model::{InvalidArguments, Tool, uuid};

/// A question that a run asks. Exactly one stands in the list that is the value of the output: the
/// clients use the first only.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "category")]
pub(super) enum RunClarification {
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
        // The same for the same question: the clients keep questions with different ids apart.
        let id = |asked: &str| {
            let parts = ["question", run.unwrap_or_default(), tool.name.as_str(), name, asked];
            format!("clar-{}", uuid::of(&parts))
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
