//! The guides of Arcade and Portia: the programs that are run as they stand, and the pages that say
//! for each promise of theirs what is served.

use std::fs;
use std::path::PathBuf;

use crate::command::package;

const GUIDE: &str = include_str!("../real/fixtures/seed/authorized_tool_calling.txt");

/// Returns the guide's code in a language: its blocks one after the other, with single spaces.
fn code(language: &str) -> String {
    let fence = format!("```{language} ");
    let blocks = GUIDE.split(&fence).skip(1).filter_map(|rest| rest.split("```").next());
    in_one_line(&blocks.collect::<Vec<_>>().join(" "))
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Nothing but line breaks may differ from the guide's text, which came without any.
#[test]
fn the_guide_s_programs_are_the_guide_s_code() {
    for (language, file, comment) in [("python", "py", "# "), ("js", "js", "// ")] {
        let path = package(&format!("tests/real/fixtures/seed/authorized_tool_calling.{file}"));
        let program = fs::read_to_string(path).unwrap();
        let (mark, program) = program.split_once('\n').unwrap();
        assert!(mark.starts_with(&format!("{comment}The seed's: ")), "{mark}");
        let code = code(language);
        assert!(code.contains("Gmail.ListEmails"), "{code}");
        assert_eq!(in_one_line(program), code);
    }
}

/// The pages whose every line names a test.
const PAGES: [&str; 3] = ["docs/from-arcade.md", "docs/from-portia.md", "docs/moving-in.md"];

/// Returns the rows of a page's tables whose last column is `test`, with the place of each.
fn rows(page: &str) -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(package(page)).unwrap();
    let mut rows = Vec::new();
    let mut names_tests = false;
    for (number, line) in text.lines().enumerate() {
        let Some(row) = line.strip_prefix("| ").and_then(|row| row.strip_suffix(" |")) else {
            names_tests &= line.starts_with('|');
            continue;
        };
        let cells: Vec<_> = row.split(" | ").map(str::to_owned).collect();
        match cells.last().map(String::as_str) {
            Some("test") => names_tests = true,
            Some(_) if names_tests => rows.push((format!("{page}:{}", number + 1), cells)),
            _ => {}
        }
    }
    assert!(!rows.is_empty(), "{page} names no tests");
    rows
}

/// Whether `it::consent::asking::name` is a test in tests/it/consent/asking.rs, or
/// `lib::registry::tests::name` one in src/registry.
fn is_a_test(name: &str) -> bool {
    let mut path: Vec<_> = name.split("::").collect();
    let (Some(function), false) = (path.pop(), path.is_empty()) else { return false };
    let root = match path.remove(0) {
        "it" => "tests/it",
        "real" => "tests/real",
        "lib" => "src",
        _ => return false,
    };
    let folder = |modules: &[&str]| modules.iter().fold(package(root), |at, name| at.join(name));
    let inner = path.split_last().map_or(&[][..], |(_, outer)| outer);
    let files = [path.as_slice(), inner]
        .into_iter()
        .flat_map(|modules| [folder(modules).with_extension("rs"), folder(modules).join("mod.rs")]);
    files.into_iter().any(|file| has_test(&file, function))
}

fn has_test(file: &PathBuf, function: &str) -> bool {
    let source = fs::read_to_string(file).unwrap_or_default();
    let called = format!("fn {function}(");
    source.match_indices(&called).any(|(at, _)| {
        let mut above = source[..at].trim_end().lines().rev().take_while(|line| !line.is_empty());
        above.any(|line| line.trim_start().starts_with("#[") && line.contains("test"))
    })
}

#[test]
fn every_line_of_the_pages_names_tests_that_exist() {
    for (place, cells) in PAGES.into_iter().flat_map(rows) {
        let names = cells.last().unwrap();
        let names: Vec<_> = names.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{place} names no test");
        for name in names {
            assert!(is_a_test(name), "{place}: there is no test {name}");
        }
    }
}

#[test]
fn a_test_that_is_not_there_is_found_out() {
    assert!(is_a_test("it::seeds::a_test_that_is_not_there_is_found_out"));
    for missing in ["it::seeds::rows", "it::seeds::no_such_test", "it::rows", "rows", "seeds::rows"]
    {
        assert!(!is_a_test(missing), "{missing}");
    }
}
