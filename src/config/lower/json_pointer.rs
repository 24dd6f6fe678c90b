//! JSON pointers (RFC 6901).

use super::super::findings::Findings;
use super::super::span::Text;

/// Reads a JSON pointer (RFC 6901) that leads into a value, not to the whole of it.
pub(super) fn pointer(text: Text, find: &mut Findings<'_>) -> String {
    if !text.value.starts_with('/') {
        find.error("provider::pointer", &text.span, "this is no JSON pointer")
            .hint("write e.g. `/error/message`");
    }
    text.value
}
