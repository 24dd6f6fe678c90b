//! Builds URL paths segment by segment.
//!
//! The attack: an argument changes which resource a request addresses. `..` turns
//! `DELETE /items/{id}` into `DELETE /items`, through string formatting, through `url`'s own `push`
//! (which silently drops dots) or through a server that decodes once too often. So every character
//! of an argument except the unreserved ones is encoded, and an argument that any parser might read
//! as a dot segment is refused.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::model::request_problem::PathProblem;

/// Characters encoded in an argument: all except RFC 3986's unreserved ones.
const ARGUMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Characters encoded in the operator's text: those that no path may contain. `:`, `@`, `,` and
/// `%2F` stay as the operator wrote them.
const WRITTEN: &AsciiSet = &percent_encoding::CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'/')
    .add(b'\\')
    .add(b'^')
    .add(b'|');

pub(super) fn push_written(path: &mut String, text: &str) {
    let _ = write!(path, "{}", utf8_percent_encode(text, WRITTEN));
}

/// Appends an argument to the current segment. A slash becomes `%2F`: GitLab names a project
/// `group%2Fproject`.
pub(super) fn push_argument(path: &mut String, text: &str) -> Result<(), PathProblem> {
    examine(text)?;
    // Also check the argument as a server that decodes twice sees it.
    if text.contains('%') {
        let decoded: Vec<u8> = percent_decode_str(text).collect();
        examine(&String::from_utf8_lossy(&without_overlong_forms(decoded)))?;
    }
    let _ = write!(path, "{}", utf8_percent_encode(text, ARGUMENT));
    Ok(())
}

/// Replaces the overlong UTF-8 forms of `.`, `/` and `\`, which lax decoders take for these
/// characters (RFC 3629 §10).
fn without_overlong_forms(mut bytes: Vec<u8>) -> Vec<u8> {
    for (form, plain) in [([0xc0, 0xae], b'.'), ([0xc0, 0xaf], b'/'), ([0xc1, 0x9c], b'\\')] {
        while let Some(at) = bytes.windows(form.len()).position(|window| window == form) {
            bytes.splice(at..at + form.len(), [plain]);
        }
    }
    bytes
}

fn examine(text: &str) -> Result<(), PathProblem> {
    if text.is_empty() {
        return Err(PathProblem::Empty);
    }
    if text.chars().any(char::is_control) {
        return Err(PathProblem::ControlCharacters);
    }
    for step in text.split(['/', '\\']) {
        if step.is_empty() {
            return Err(PathProblem::Slashes);
        }
        // Java servers cut off path parameters (`;x`) before they resolve dot segments.
        let name = step.split_once(';').map_or(step, |(name, _)| name);
        if matches!(name, "." | "..") {
            return Err(PathProblem::DotSegment);
        }
    }
    Ok(())
}

/// Whether a finished segment is a dot segment. `%2e` counts as a dot, since every URL parser reads
/// it as one.
pub(super) fn is_step(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(text: &str) -> Result<String, PathProblem> {
        let mut path = String::new();
        push_argument(&mut path, text).map(|()| path)
    }

    #[test]
    fn an_argument_stays_one_segment() {
        for (argument, segment) in [
            ("rust-lang", "rust-lang"),
            ("group/project", "group%2Fproject"),
            ("a b", "a%20b"),
            ("@evil", "%40evil"),
            (";x", "%3Bx"),
            ("...;x", "...%3Bx"),
            ("%ff", "%25ff"),
            ("a?b#c", "a%3Fb%23c"),
            ("a&admin=1", "a%26admin%3D1"),
            ("a:80", "a%3A80"),
            ("50%", "50%25"),
            ("100%25", "100%2525"),
            ("...", "..."),
            (".git", ".git"),
            ("é", "%C3%A9"),
            ("\u{202e}x", "%E2%80%AEx"),
            ("~me_1.2-3", "~me_1.2-3"),
        ] {
            assert_eq!(pushed(argument), Ok(segment.to_owned()), "{argument}");
        }
    }

    #[test]
    fn whatever_may_be_read_as_a_step_is_refused() {
        for (argument, reason) in [
            ("", PathProblem::Empty),
            (".", PathProblem::DotSegment),
            ("..", PathProblem::DotSegment),
            ("%2e%2e", PathProblem::DotSegment),
            ("%2E.", PathProblem::DotSegment),
            ("a/../b", PathProblem::DotSegment),
            ("a\\..\\b", PathProblem::DotSegment),
            ("a%2f..%2fb", PathProblem::DotSegment),
            ("a%5c%2e%2e", PathProblem::DotSegment),
            ("a/./b", PathProblem::DotSegment),
            ("..;", PathProblem::DotSegment),
            ("..;x=1", PathProblem::DotSegment),
            ("a/..;/b", PathProblem::DotSegment),
            ("%2e%2e%3b", PathProblem::DotSegment),
            ("%c0%ae%c0%ae", PathProblem::DotSegment),
            ("a%c0%af..%C1%9Cb", PathProblem::DotSegment),
            ("//evil.com", PathProblem::Slashes),
            ("/etc", PathProblem::Slashes),
            ("a/", PathProblem::Slashes),
            ("a//b", PathProblem::Slashes),
            ("%2fa", PathProblem::Slashes),
            ("\\\\host", PathProblem::Slashes),
            ("a\0b", PathProblem::ControlCharacters),
            ("a%00b", PathProblem::ControlCharacters),
            ("a\r\nb", PathProblem::ControlCharacters),
            ("a%0d%0ab", PathProblem::ControlCharacters),
            ("\u{85}", PathProblem::ControlCharacters),
        ] {
            assert_eq!(pushed(argument), Err(reason), "{argument}");
        }
    }

    #[test]
    fn what_the_operator_wrote_keeps_its_signs() {
        let mut path = String::new();
        push_written(&mut path, "a:batchUpdate@1,2;x=%2F (b)?");
        assert_eq!(path, "a:batchUpdate@1,2;x=%2F%20(b)%3F");
    }

    #[test]
    fn steps_are_seen_through_their_encoding() {
        for step in [".", "..", "%2e", "%2E%2e", ".%2e"] {
            assert!(is_step(step), "{step}");
        }
        for name in ["...", "a", ".a", "%252e", ""] {
            assert!(!is_step(name), "{name}");
        }
    }
}
