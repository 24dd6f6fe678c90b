//! The allowed choices of a parameter, as models spell them.

use super::names::fold;
use crate::model::tool::Param;

/// Returns the only choice that a text can stand for: `Open` for `open`, `in progress` for
/// `in_progress`.
pub(super) fn choice_of<'p>(param: &'p Param, text: &str) -> Option<&'p str> {
    if let Some(choice) = param.choices.iter().find(|choice| *choice == text) {
        return Some(choice);
    }
    let folded = fold(text.trim().trim_matches(['"', '\'', '`']));
    let mut alike = param.choices.iter().filter(|choice| fold(choice) == folded);
    match (alike.next(), alike.next()) {
        (Some(choice), None) if !folded.is_empty() => Some(choice),
        _ => None,
    }
}
