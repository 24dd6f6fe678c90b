//! `tests` of a tool: example calls and what must hold for their results.

use super::super::file::TestTable;
use super::super::findings::Findings;
use super::super::read::Branch;
use super::jq;
use super::param::Params;
use crate::model::text::nearest;

/// Reports mistakes that prevent running an example: filters that do not compile, arguments that
/// the tool does not take, and required arguments that are missing.
pub(super) fn check(tests: &[TestTable], params: &Params, find: &mut Findings<'_>) {
    for test in tests {
        match &test.expect {
            Some(expect) => jq::check(expect, find),
            None => find.missing(
                &test.span,
                "expect",
                "a jq filter over the result, e.g. `expect = \"length > 0\"`",
            ),
        }
        arguments(test, params, find);
    }
}

fn arguments(test: &TestTable, params: &Params, find: &mut Findings<'_>) {
    let args = match test.args.as_ref().map(|args| (&args.branch, &args.span)) {
        None => &[][..],
        Some((Branch::Table(entries), _)) => entries.as_slice(),
        Some((_, span)) => {
            find.error("tool::tests", span, "`args` is a table of arguments")
                .hint("write `args = { query = \"x\" }`");
            return;
        }
    };
    for (name, _) in args {
        if params.get(name.as_str()).is_none() && !params.is_lenient() {
            let draft = find.error(
                "tool::tests",
                &name.span,
                format!("`{}` is not a parameter of this tool", name.value),
            );
            match nearest(name.as_str(), params.names()) {
                Some(near) => draft.hint(format!("did you mean `{near}`?")),
                None => draft.hint("name a parameter of `params`"),
            };
        }
    }
    let missing: Vec<String> = params
        .names()
        .filter(|name| params.get(name).is_some_and(|param| param.required))
        .filter(|name| !args.iter().any(|(given, _)| given.value == *name))
        .map(|name| format!("`{name}`"))
        .collect();
    if !missing.is_empty() && !find.may_be_there(&test.span, "args") {
        find.error(
            "tool::tests",
            &test.span,
            format!("this example lacks {}, which the tool needs", missing.join(", ")),
        )
        .hint("add it to `args`");
    }
}
