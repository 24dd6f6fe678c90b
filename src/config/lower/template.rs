//! Text with `{placeholders}`.

use super::super::findings::Findings;
use super::super::span::{Span, Text};
use super::param::Params;
use crate::model::tool::{Piece, Template};

/// A piece and its position in the text.
pub(super) type Placed = (Piece, Span);

/// Splits a text into pieces: `{name}` is a placeholder, `{{` and `}}` are braces.
pub(super) fn pieces(text: &Text, range: Span, find: &mut Findings<'_>) -> Vec<Placed> {
    let mut found: Vec<Placed> = Vec::new();
    let mut literal = String::new();
    let mut literal_start = range.start;
    let mut at = range.start;
    let slice = |from: usize| text.value.get(from..range.end).unwrap_or_default();
    while let Some(c) = slice(at).chars().next() {
        let rest = slice(at);
        if rest.starts_with("{{") || rest.starts_with("}}") {
            literal.push(c);
            at += 2;
        } else if let Some(name) = placeholder(rest) {
            if !literal.is_empty() {
                found.push((Piece::Text(std::mem::take(&mut literal)), literal_start..at));
            }
            let end = at + name.len() + 2;
            found.push((Piece::Param(name.to_owned()), at..end));
            at = end;
            literal_start = end;
        } else {
            if c == '{' || c == '}' {
                let span = text.part(at..at + 1, find.source());
                find.error("tool::brace", &span, format!("`{c}` is no part of a placeholder"))
                    .label("alone")
                    .hint(format!("write `{c}{c}` for a brace, or `{{name}}` for a parameter"));
            }
            literal.push(c);
            at += c.len_utf8();
        }
    }
    if !literal.is_empty() {
        found.push((Piece::Text(literal), literal_start..at));
    }
    found
}

/// Returns the name in a text that begins with `{name}`.
fn placeholder(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix('{')?.split_once('}')?;
    let is_name = !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    is_name.then_some(name)
}

/// Reads a whole text as a template, and looks up its placeholders.
pub(super) fn template(text: &Text, params: &mut Params, find: &mut Findings<'_>) -> Template {
    template_in(text, 0..text.value.len(), params, find)
}

/// Reads a part of a text as a template, and looks up its placeholders.
pub(super) fn template_in(
    text: &Text,
    range: Span,
    params: &mut Params,
    find: &mut Findings<'_>,
) -> Template {
    let pieces = pieces(text, range, find);
    for (piece, at) in &pieces {
        if let Piece::Param(name) = piece {
            let span = text.part(at.clone(), find.source());
            params.mention(name, &span, find);
        }
    }
    Template(pieces.into_iter().map(|(piece, _)| piece).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(text: &str) -> (Vec<Piece>, usize) {
        let mut find = Findings::new("");
        let text = Text { value: text.into(), span: 0..0 };
        let pieces = pieces(&text, 0..text.value.len(), &mut find);
        (
            pieces.into_iter().map(|(piece, _)| piece).collect(),
            find.finish(Path::new("t")).list.len(),
        )
    }

    #[test]
    fn placeholders_and_braces() {
        let text = |text: &str| Piece::Text(text.into());
        let param = |name: &str| Piece::Param(name.into());
        assert_eq!(read("a {b} c{d}"), (vec![text("a "), param("b"), text(" c"), param("d")], 0));
        assert_eq!(read("{{ {a} }}"), (vec![text("{ "), param("a"), text(" }")], 0));
        assert_eq!(read(""), (vec![], 0));
        assert_eq!(read("ü{a}"), (vec![text("ü"), param("a")], 0));
    }

    #[test]
    fn a_lone_brace_is_reported() {
        assert_eq!(read("{a b}").1, 2);
        assert_eq!(read("{").1, 1);
        assert_eq!(read("{}").1, 2);
    }
}
