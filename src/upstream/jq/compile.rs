//! Compiles filters with a standard library that has no access to the outside.

use std::ops::Range;
use std::sync::LazyLock;

use jaq_core::data::JustLut;
use jaq_core::load::{self, Arena, File, Loader, lex, parse};
use jaq_core::{Ctx, Vars};
use jaq_json::Val;

use crate::model::text::nearest;

/// Maximum filter length in bytes; a longer filter does not compile.
const MAX_FILTER_BYTES: usize = 8 * 1024;
/// Approximate maximum depth of the syntax tree; a deeper filter does not compile. Parser, compiler
/// and interpreter recurse, so thousands of `(` or `.|.|.` would crash the process instead of
/// failing `check`.
const MAX_SYNTAX_DEPTH: usize = 128;

/// Native filters left out because they reveal the process's environment (`env`), end the process
/// (`halt`) or write to its log and standard error. `input`, `inputs` and `$ENV` do not exist in
/// the first place.
const LEFT_OUT: [&str; 4] = ["env", "halt", "debug_empty", "stderr_empty"];
/// Library definitions that use the natives left out.
const LEFT_OUT_DEFINITIONS: [&str; 4] = ["debug", "stderr", "halt", "halt_error"];

static PRELUDE: LazyLock<Vec<parse::Def<&'static str>>> = LazyLock::new(|| {
    jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(jaq_json::defs())
        .filter(|def| !LEFT_OUT_DEFINITIONS.contains(&def.name))
        .collect()
});

fn natives() -> impl Iterator<Item = jaq_core::native::Fun<JustLut<Val>>> {
    jaq_core::funs()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs())
        .filter(|(name, ..)| !LEFT_OUT.contains(name))
}

/// Why a filter does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct JqProblem {
    /// A lowercase fragment, e.g. ``the filter `lenght` does not exist``.
    pub message: String,
    /// Place in the filter, as a byte range.
    pub range: Range<usize>,
}

/// A compiled filter, which can run any number of times on any thread.
pub(super) struct Compiled(jaq_core::Filter<JustLut<Val>>);

impl Compiled {
    /// Compiles a filter.
    ///
    /// # Errors
    /// The first problem, with its place.
    pub(super) fn new(filter: &str) -> Result<Self, JqProblem> {
        guard(filter)?;
        let arena = Arena::default();
        let modules = Loader::new(PRELUDE.iter().cloned())
            .load(&arena, File { code: filter, path: () })
            .map_err(|errors| loading(filter, errors))?;
        jaq_core::Compiler::default()
            .with_funs(natives())
            .compile(modules)
            .map(Self)
            .map_err(|errors| undefined(filter, &errors))
    }

    /// Runs the filter to its end and passes each output to `take`, until `take` fails.
    ///
    /// # Errors
    /// The filter's own error, shortened, or the error of `take`.
    pub(super) fn run(
        &self,
        input: Val,
        mut take: impl FnMut(Val) -> Result<(), String>,
    ) -> Result<(), String> {
        let ctx = Ctx::<JustLut<Val>>::new(&self.0.lut, Vars::new([]));
        for output in self.0.id.run((ctx, input)) {
            match output {
                Ok(value) => take(value)?,
                Err(exception) => {
                    return Err(match exception.get_err() {
                        Ok(error) => shortened(&error),
                        Err(_) => "the filter stopped without a result".to_owned(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Shortens an error: jaq's messages quote the whole value that did not fit.
fn shortened(error: &jaq_json::Error) -> String {
    const MAX_QUOTED_CHARS: usize = 200;
    let text = error.to_string();
    match text.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn guard(filter: &str) -> Result<(), JqProblem> {
    let whole = |message: &str| JqProblem { message: message.to_owned(), range: 0..filter.len() };
    if filter.len() > MAX_FILTER_BYTES {
        return Err(whole("the filter is longer than 8 KiB"));
    }
    if depth(filter) > MAX_SYNTAX_DEPTH {
        return Err(whole("the filter chains or nests more than 128 operators"));
    }
    match directive(filter) {
        Some(word) => Err(JqProblem {
            message: format!("modules cannot be imported: `{word}` is not supported"),
            range: place(filter, word),
        }),
        None => Ok(()),
    }
}

/// Returns the module directive at the start of a filter, the only place for one.
///
/// The loader refuses `include "x";` and `import "x" as x;`, since it finds no module. But
/// `import "x" as $x;` compiles and expects a variable that is never set, so the interpreter
/// panics.
fn directive(filter: &str) -> Option<&str> {
    let tokens = lex::Lexer::new(filter).lex().ok()?;
    let word = tokens.first()?.0;
    ["module", "import", "include"].contains(&word).then_some(word)
}

/// Returns an upper estimate of the syntax tree's depth: each operator of a chain and each bracket
/// is a level. The fields of an object are siblings, so a comma between them resets the depth.
fn depth(filter: &str) -> usize {
    const KEYWORDS: [&str; 11] =
        ["and", "or", "as", "def", "if", "then", "try", "catch", "reduce", "foreach", "label"];
    // Open brackets, each with the depth before it.
    let mut open: Vec<(u8, usize)> = Vec::new();
    let (mut here, mut deepest) = (0_usize, 0);
    let mut word = String::new();
    for byte in filter.bytes().chain([b' ']) {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            word.push(char::from(byte));
            continue;
        }
        here += usize::from(KEYWORDS.contains(&word.as_str()));
        word.clear();
        match byte {
            b'(' | b'[' | b'{' => {
                open.push((byte, here));
                here += 1;
            }
            b')' | b']' | b'}' => here = open.pop().map_or(here, |(_, before)| before),
            b',' if open.last().is_some_and(|(bracket, _)| *bracket == b'{') => {
                here = open.last().map_or(0, |(_, before)| before + 1);
            }
            b'|' | b',' | b'+' | b'-' | b'*' | b'/' | b'%' | b'=' | b'<' | b'>' => here += 1,
            _ => {}
        }
        deepest = deepest.max(here);
    }
    deepest
}

/// Returns the byte range of `part` within `filter`; the end of `filter` if `part` is not a slice
/// of it.
fn place(filter: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr().wrapping_sub(filter.as_ptr().addr());
    match start.checked_add(part.len()) {
        Some(end) if end <= filter.len() => start..end,
        _ => filter.len()..filter.len(),
    }
}

fn loading(filter: &str, errors: load::Errors<&str, ()>) -> JqProblem {
    let problem = |part: &str, message: String| JqProblem { message, range: place(filter, part) };
    for (_, error) in errors {
        match error {
            load::Error::Lex(errors) => {
                if let Some((expected, found)) = errors.into_iter().next() {
                    return problem(found, lexing(&expected));
                }
            }
            load::Error::Parse(errors) => {
                if let Some((expected, found)) = errors.into_iter().next() {
                    let message = if found.is_empty() {
                        format!("the filter ends where a {} is expected", expected.as_str())
                    } else {
                        format!("expected {}, found `{}`", expected.as_str(), first_word(found))
                    };
                    return problem(found, message);
                }
            }
            load::Error::Io(errors) => {
                if let Some((module, _)) = errors.into_iter().next() {
                    return problem(module, "modules cannot be imported".to_owned());
                }
            }
        }
    }
    JqProblem { message: "the filter is not valid jq".into(), range: 0..filter.len() }
}

fn lexing(expected: &lex::Expect<&str>) -> String {
    match expected {
        lex::Expect::Delim(open) => format!("`{open}` is never closed"),
        other => format!("expected a {}", other.as_str()),
    }
}

fn first_word(text: &str) -> &str {
    let end = text.char_indices().find(|(_, c)| c.is_whitespace()).map(|(at, _)| at);
    let word = text.get(..end.unwrap_or(text.len())).unwrap_or(text);
    match word.char_indices().nth(30) {
        Some((end, _)) => word.get(..end).unwrap_or(word),
        None => word,
    }
}

fn undefined(filter: &str, errors: &jaq_core::compile::Errors<&str, ()>) -> JqProblem {
    let first = errors.iter().flat_map(|(_, errors)| errors).next();
    let Some((name, kind)) = first else {
        return JqProblem { message: "the filter is not valid jq".into(), range: 0..filter.len() };
    };
    let known = PRELUDE.iter().map(|def| def.name).chain(natives().map(|(name, ..)| name));
    let nearest = nearest(name, known);
    let mut message = match kind {
        jaq_core::compile::Undefined::Filter(0) => format!("the filter `{name}` does not exist"),
        jaq_core::compile::Undefined::Filter(arity) => {
            format!("the filter `{name}/{arity}` (with as many arguments) does not exist")
        }
        other => format!("the {} `{name}` is not defined", other.as_str()),
    };
    if let Some(near) = nearest.filter(|near| near != name) {
        message = format!("{message}, did you mean `{near}`?");
    }
    JqProblem { message, range: place(filter, name) }
}
