//! jq filters: whether they compile, and where they do not.

use super::super::problem::Findings;
use super::super::read::Text;
use crate::upstream::select;

/// Reports the place at which a filter does not compile.
pub(super) fn check(filter: &Text, find: &mut Findings<'_>) {
    // The compiler that will run it: there is one idea of what jq can do here.
    if let Err(problem) = select::compile_check(filter.as_str()) {
        let span = filter.part(problem.range, find.source());
        let message = format!("this jq filter does not compile: {}", problem.message);
        find.error("tool::jq", &span, message).hint("try it with `jq` on an answer of the API");
    }
}
