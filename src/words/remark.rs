//! Writes remarks about an answer's data.

use crate::model::result::{InvalidJson, JsonFault, Remark};

/// Returns a remark about an answer's data as a sentence, or as a JSON object.
pub fn remark(remark: &Remark) -> String {
    match remark {
        Remark::Repaired(faults) => {
            let faults: Vec<&str> = faults.iter().map(|fault| repaired(*fault)).collect();
            format!("The service's answer is not valid JSON: {}.", faults.join("; "))
        }
        Remark::ShownAsText(InvalidJson::Incomplete) => {
            "It is shown as a text, because its JSON is incomplete.".to_owned()
        }
        Remark::ShownAsText(InvalidJson::Syntax(error)) => {
            format!(
                "It is shown as a text, because it is declared as JSON and is not valid: {error}."
            )
        }
        Remark::Cut(note) => note.clone(),
    }
}

fn repaired(fault: JsonFault) -> &'static str {
    match fault {
        JsonFault::Surrogate => "half characters are shown as \u{fffd}",
        JsonFault::Encoding => "bytes that are not UTF-8 are shown as \u{fffd}",
        JsonFault::Control => "it has unescaped control characters in strings",
        JsonFault::Escape => "it has escapes that JSON does not define",
        JsonFault::NotANumber => "NaN and Infinity are shown as null",
        JsonFault::Range => "numbers that are too large are shown as strings",
        JsonFault::Prefix => "a prefix that is not JSON is left out",
    }
}
