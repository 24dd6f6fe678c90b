//! Asks the user for what a call needs before it can run.

use super::arguments;
use crate::model::clarification::ClarificationKind;
use crate::model::{Clarification, ConfirmationPrompt, InputRequired, Question};

/// Returns the question to the user, and how it is answered.
pub fn input_needed(required: &InputRequired) -> String {
    match &required.question {
        Question::Arguments(problem) => arguments::text(problem),
        Question::Confirmation(prompt) => confirmation(required, prompt),
        Question::Clarification(asked) => clarification(required, asked),
    }
}

/// The tool's words stand between “ and ”, which they cannot hold themselves.
fn clarification(required: &InputRequired, asked: &Clarification) -> String {
    let (title, guidance) = (&required.title, &asked.guidance);
    match &asked.kind {
        ClarificationKind::Input { argument } => format!(
            "{title} asks the user: “{guidance}” Call this tool again with the user's answer as `{argument}`."
        ),
        ClarificationKind::Choice { argument, options } => {
            let options: Vec<String> = options.iter().map(|one| format!("“{one}”")).collect();
            format!(
                "{title} asks the user: “{guidance}” The choices are {}. Call this tool again with the user's choice as `{argument}`.",
                options.join(", ")
            )
        }
        ClarificationKind::Confirm { argument } => format!(
            "{title} asks the user: “{guidance}” If the user says yes, call this tool again with that value as `{argument}`; if not, ask which value is meant."
        ),
        ClarificationKind::Action { url } => format!(
            "Ask the user to open this link in a browser:\n{url}\nThen call this tool again with the same arguments.\n\n{title} says: “{guidance}” Give the link to the user exactly as it is; do not open it yourself."
        ),
    }
}

fn confirmation(
    InputRequired { title, .. }: &InputRequired,
    prompt: &ConfirmationPrompt,
) -> String {
    // The link comes first: hosts cut off what they quote, one of them after 200 characters.
    format!(
        "Ask the user to open this link in a browser and confirm:\n{}\nThen call this tool again with the same arguments.\n\n{title} runs only after the user has confirmed it there: {}\n\nGive the link to the user exactly as it is; do not open it yourself.",
        prompt.url, prompt.question
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::arguments::{ArgumentProblem, Expected, Mismatch};
    use crate::model::tool::Kind;
    use crate::model::{FailureKind, InvalidArguments, Time, ToolName};
    use crate::words::failure_text;

    fn required(question: Question) -> InputRequired {
        InputRequired { tool: ToolName::new("pay"), title: "Pay".into(), question }
    }

    #[test]
    fn a_missing_argument_is_told_like_any_other_mistake() {
        let expected = Expected { kind: Kind::String, choices: Vec::new(), min: None, max: None };
        let mismatch = Mismatch::Missing { expected, description: None };
        let problems = vec![ArgumentProblem { name: "to".into(), mismatch }];
        let problem = InvalidArguments::Unfit { tool: ToolName::new("pay"), problems };
        let as_failure = failure_text(&FailureKind::InvalidArguments(problem.clone()).into());
        assert_eq!(input_needed(&required(Question::Arguments(problem))), as_failure);
    }

    #[test]
    fn a_host_that_cuts_off_what_it_quotes_shows_the_whole_link() {
        let url = "https://countersign.tools.example.com/confirm/0123456789abcdefghjkmnpqrs";
        let prompt = ConfirmationPrompt {
            id: "c1".into(),
            url: url.into(),
            question: "Pay 5 to Ben?".into(),
            expires_at: Time::from_millis(0),
        };
        let text = input_needed(&required(Question::Confirmation(prompt)));
        let quoted: String = text.chars().take(200).collect();
        assert!(quoted.contains(&format!("{url}\n")), "{quoted}");
        assert!(text.contains("confirmed it there: Pay 5 to Ben?"), "{text}");
    }
}
