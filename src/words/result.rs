//! Writes a result: its blocks, and the remarks about it.

use super::failure::status_text;
use super::remark::remark;
use crate::model::result::{Misfit, ResultBlock};
use crate::model::{ToolResult, Unfit};

/// Returns the words of a result's content, a line for each block.
pub fn result_text(result: &ToolResult) -> String {
    let blocks: Vec<String> = result.content.iter().cloned().map(block_text).collect();
    blocks.join("\n")
}

/// Returns the words of one block.
pub fn block_text(block: ResultBlock) -> String {
    match block {
        ResultBlock::Text(text) => text,
        ResultBlock::Done { who, status } => {
            format!("Done: {who} answered {}.", status_text(status))
        }
    }
}

/// Returns the remarks about a result: what was repaired or cut, and why it is shown as a text only.
pub fn result_note(result: &ToolResult) -> Option<String> {
    let remarks = result.remarks.iter().map(remark);
    let lines: Vec<String> = remarks.chain(result.unfit.as_ref().map(unfit)).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Says why a result's data is shown as a text only.
pub fn unfit(unfit: &Unfit) -> String {
    let why = match &unfit.problem {
        Misfit::Schema(problem) => {
            format!("it does not match the tool's output schema ({problem})")
        }
        Misfit::Cut(max_chars) => format!(
            "it is longer than {max_chars} characters, and cutting it breaks the tool's output schema: ask for less"
        ),
    };
    format!(
        "The request succeeded; do not repeat it. The answer is shown as a text only, because {why}."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::result::{InvalidJson, JsonFault, Remark};

    #[test]
    fn data_that_does_not_fit_is_explained_beside_it() {
        let note = |problem, own: Option<&str>| {
            let unfit = Some(Unfit { problem, for_operator: None });
            let remarks = own.map(|note| Remark::Cut(note.to_owned())).into_iter().collect();
            result_note(&ToolResult { remarks, unfit, ..ToolResult::text("data") }).expect("a note")
        };
        let says =
            "The request succeeded; do not repeat it. The answer is shown as a text only, because";
        assert_eq!(
            note(Misfit::Schema("`/id`: no text".into()), None),
            format!("{says} it does not match the tool's output schema (`/id`: no text).")
        );
        assert_eq!(
            note(Misfit::Cut(1000), Some("First.")),
            format!(
                "First.\n{says} it is longer than 1000 characters, and cutting it breaks the tool's output schema: ask for less."
            )
        );
        assert_eq!(result_note(&ToolResult::text("data")), None);
    }

    #[test]
    fn each_remark_is_a_line() {
        let note = |remarks| result_note(&ToolResult { remarks, ..ToolResult::text("data") });
        let faults = vec![
            JsonFault::Surrogate,
            JsonFault::Encoding,
            JsonFault::Control,
            JsonFault::Escape,
            JsonFault::NotANumber,
            JsonFault::Range,
            JsonFault::Prefix,
        ];
        let cut = "{\"_more\":\"1 of 2 shown\"}";
        assert_eq!(
            note(vec![Remark::Repaired(faults), Remark::Cut(cut.into())]).unwrap(),
            format!(
                "The service's answer is not valid JSON: half characters are shown as \u{fffd}; bytes that are not UTF-8 are shown as \u{fffd}; it has unescaped control characters in strings; it has escapes that JSON does not define; NaN and Infinity are shown as null; numbers that are too large are shown as strings; a prefix that is not JSON is left out.\n{cut}"
            )
        );
        let syntax = InvalidJson::Syntax("expected value at line 1 column 1".into());
        assert_eq!(
            note(vec![Remark::ShownAsText(syntax)]).unwrap(),
            "It is shown as a text, because it is declared as JSON and is not valid: expected value at line 1 column 1."
        );
    }

    #[test]
    fn a_success_without_data_says_so() {
        let done = ToolResult::of(ResultBlock::Done { who: "Acme".into(), status: 204 });
        assert_eq!(result_text(&done), "Done: Acme answered 204 No Content.");
    }
}
