//! jq filters: whether they compile, and where they do not.

use jaq_core::load::{self, Arena, File, Loader};
use jaq_json::Val;

use super::super::problem::{Findings, Span};
use super::super::read::Text;

/// Reports every place at which a filter does not compile.
pub(super) fn check(filter: &Text, find: &mut Findings<'_>) {
    for (range, message) in complaints(filter.as_str()) {
        let span = filter.part(range, find.source());
        find.error("tool::jq", &span, format!("this jq filter does not compile: {message}"));
    }
}

/// What is wrong with a filter, and where in it.
fn complaints(code: &str) -> Vec<(Span, String)> {
    let arena = Arena::default();
    let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let modules = match Loader::new(defs).load(&arena, File { code, path: () }) {
        Ok(modules) => modules,
        Err(errors) => {
            return errors.into_iter().flat_map(|(_, error)| in_text(code, error)).collect();
        }
    };
    let funs = jaq_core::funs::<jaq_core::data::JustLut<Val>>()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs());
    match jaq_core::Compiler::default().with_funs(funs).compile(modules) {
        Ok(_) => Vec::new(),
        Err(errors) => errors
            .into_iter()
            .flat_map(|(_, undefined)| undefined)
            .map(|(name, what)| {
                (load::span(code, name), format!("`{name}` is no {} that jq knows", what.as_str()))
            })
            .collect(),
    }
}

fn in_text(code: &str, error: load::Error<&str>) -> Vec<(Span, String)> {
    match error {
        load::Error::Io(errors) => errors
            .into_iter()
            .map(|(path, _)| (load::span(code, path), "modules cannot be imported".into()))
            .collect(),
        load::Error::Lex(errors) => errors
            .into_iter()
            .map(|(expected, rest)| {
                (place(code, rest), format!("{} is missing", expected.as_str()))
            })
            .collect(),
        load::Error::Parse(errors) => errors
            .into_iter()
            .map(|(expected, found)| {
                (place(code, found), format!("{} is wanted here", expected.as_str()))
            })
            .collect(),
    }
}

/// One character where a part begins, or behind the end of the text.
fn place(code: &str, part: &str) -> Span {
    let start = if part.is_empty() { code.len() } else { load::span(code, part).start };
    let len = code.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    start..start + len
}

#[cfg(test)]
mod tests {
    use super::complaints;

    #[test]
    fn filters_that_compile_have_no_complaints() {
        for code in [
            ".",
            ".items[] | {a: .b}",
            "any(.[]; .x == 1)",
            "if .a then .b else empty end",
            "fromjson",
        ] {
            assert_eq!(complaints(code), [], "{code}");
        }
    }

    #[test]
    fn complaints_have_their_place() {
        for (code, start) in
            [(".a | nosuch", 5), (".a[", 3), (".a | $x", 5), ("{a: }", 4), ("\"abc", 4)]
        {
            let found = complaints(code);
            assert!(!found.is_empty(), "{code}");
            assert_eq!(found[0].0.start, start, "{code}: {found:?}");
        }
    }
}
