//! Decides which filters may run inside the server: those with a cost known before they run.
//!
//! jq is Turing-complete, so in general only killing the process that runs a filter bounds its time
//! and memory. Most filters in practice, though, only pick and rename. For them a bound follows
//! from the text alone: visiting or copying a part of the input costs its size, and a filter that
//! visits each part at most *k* times costs at most *k* times the input's size.
//!
//! The analysis walks jaq's own syntax tree and allows only constructs that it knows: paths, pipes,
//! commas, literals, comparisons, logic, alternatives, conditions, arrays, objects and strings of
//! parts with one output each, additions of such parts, and a short list of library filters. It
//! allows no variable, definition, `reduce` or recursion, so no name of the library can be
//! shadowed.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};

/// Upper bound on a filter's work, in multiples of its input's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Weight {
    /// Time and memory.
    cost: u64,
    /// Total size of all outputs.
    output: u64,
    /// Whether there is at most one output.
    single: bool,
}

const ONE: Weight = Weight { cost: 1, output: 1, single: true };

/// Returns a filter's cost in multiples of its input's size; `None` if no bound is known.
pub(super) fn cost(filter: &str) -> Option<u64> {
    let term = jaq_core::load::parse(filter, |parser| parser.term())?;
    let weight = weigh(&term)?;
    Some(weight.cost.saturating_add(weight.output))
}

fn weigh(term: &Term<&str>) -> Option<Weight> {
    match term {
        Term::Id | Term::Num(_) | Term::Arr(None) => Some(ONE),
        Term::Str(None, parts) => text(parts),
        Term::Neg(inner) => single(weigh(inner)?),
        Term::Arr(Some(inner)) => {
            let inner = weigh(inner)?;
            Some(Weight { single: true, output: inner.output.saturating_add(1), ..inner })
        }
        Term::Obj(entries) => object(entries),
        Term::BinOp(left, operator, right) => binary(left, operator, right),
        Term::TryCatch(body, None) => weigh(body),
        Term::IfThenElse(branches, otherwise) => {
            let mut all = ONE;
            for (condition, branch) in branches {
                // A condition with several outputs runs its branch several times.
                all = alternatives(all, cost_only(single(weigh(condition)?)?));
                all = alternatives(all, weigh(branch)?);
            }
            if let Some(otherwise) = otherwise {
                all = alternatives(all, weigh(otherwise)?);
            }
            Some(all)
        }
        Term::Call(name, arguments) => call(name, arguments),
        Term::Path(base, Path(parts)) => path(weigh(base)?, parts),
        Term::Str(Some(_), _)
        | Term::TryCatch(_, Some(_))
        | Term::Recurse
        | Term::Label(..)
        | Term::Break(_)
        | Term::Fold(..)
        | Term::Def(..)
        | Term::Var(_) => None,
    }
}

/// Returns `None` for several outputs, which would multiply with those of other parts:
/// `{a: .[], b: .[]}`.
fn single(weight: Weight) -> Option<Weight> {
    weight.single.then_some(weight)
}

fn cost_only(weight: Weight) -> Weight {
    Weight { output: 0, ..weight }
}

fn sum(a: Weight, b: Weight) -> Weight {
    Weight {
        cost: a.cost.saturating_add(b.cost),
        output: a.output.saturating_add(b.output),
        single: false,
    }
}

/// Like [`sum`], but only one of the two produces output.
fn alternatives(a: Weight, b: Weight) -> Weight {
    Weight { single: a.single && b.single, ..sum(a, b) }
}

/// Like [`sum`], but both sides combine into one output.
fn joined(a: Weight, b: Weight) -> Option<Weight> {
    Some(Weight { single: true, ..sum(single(a)?, single(b)?) })
}

fn piped(first: Weight, then: Weight) -> Weight {
    Weight {
        cost: first.cost.saturating_add(first.output.saturating_mul(then.cost)),
        output: first.output.saturating_mul(then.output),
        single: first.single && then.single,
    }
}

fn text(parts: &[StrPart<&str, Term<&str>>]) -> Option<Weight> {
    let mut whole = ONE;
    for part in parts {
        if let StrPart::Term(term) = part {
            // Escapes may double the length of a value's text.
            let part = weigh(term)?;
            whole =
                joined(whole, Weight { output: part.output.saturating_mul(2), ..single(part)? })?;
        }
    }
    Some(whole)
}

fn object(entries: &[(Term<&str>, Option<Term<&str>>)]) -> Option<Weight> {
    let mut whole = ONE;
    for (key, value) in entries {
        whole = joined(whole, weigh(key)?)?;
        if let Some(value) = value {
            whole = joined(whole, weigh(value)?)?;
        }
    }
    Some(whole)
}

fn binary(left: &Term<&str>, operator: &BinaryOp<&str>, right: &Term<&str>) -> Option<Weight> {
    let (a, b) = (weigh(left)?, weigh(right)?);
    match operator {
        BinaryOp::Pipe(None) => Some(piped(a, b)),
        BinaryOp::Comma => Some(sum(a, b)),
        BinaryOp::Alt => Some(alternatives(a, b)),
        BinaryOp::And | BinaryOp::Or => Some(Weight { output: 1, ..joined(a, b)? }),
        BinaryOp::Cmp(_) => {
            // Comparing objects sorts their keys.
            let both = joined(a, b)?;
            Some(Weight {
                cost: both.cost.saturating_add(both.output.saturating_mul(SORT_COST_FACTOR)),
                output: 1,
                single: true,
            })
        }
        BinaryOp::Math(Math::Add) => joined(a, b),
        // Only with a number: on lists and strings, these operators subtract or split.
        BinaryOp::Math(Math::Sub | Math::Div | Math::Rem)
            if matches!(right, Term::Num(_)) || matches!(left, Term::Num(_)) =>
        {
            joined(a, b)
        }
        BinaryOp::Pipe(Some(_))
        | BinaryOp::Math(_)
        | BinaryOp::Assign
        | BinaryOp::Update
        | BinaryOp::UpdateMath(_)
        | BinaryOp::UpdateAlt => None,
    }
}

/// Cost factor of sorting: an upper bound for the logarithm of any input's size, with room for the
/// constant.
const SORT_COST_FACTOR: u64 = 32;

fn call(name: &str, arguments: &[Term<&str>]) -> Option<Weight> {
    match (name, arguments) {
        (
            "length" | "not" | "keys_unsorted" | "first" | "last" | "true" | "false" | "null"
            | "ascii_downcase" | "ascii_upcase" | "floor" | "round" | "ceil" | "reverse" | "trim",
            [],
        ) => Some(ONE),
        ("empty", []) => Some(Weight { output: 0, ..ONE }),
        ("tostring", []) => Some(Weight { output: 2, ..ONE }),
        ("to_entries", []) => Some(Weight { cost: 4, output: 4, single: true }),
        ("keys" | "sort" | "type" | "values", []) => Some(Weight { cost: SORT_COST_FACTOR, ..ONE }),
        ("select", [condition]) => {
            let condition = single(weigh(condition)?)?;
            Some(Weight { cost: condition.cost.saturating_add(1), ..ONE })
        }
        ("map", [each]) => {
            let each = weigh(each)?;
            Some(Weight {
                cost: each.cost.saturating_add(1),
                output: each.output.saturating_add(1),
                single: true,
            })
        }
        ("has" | "startswith" | "endswith" | "ltrimstr" | "rtrimstr", [Term::Str(None, parts)])
            if is_literal(parts) =>
        {
            Some(ONE)
        }
        _ => None,
    }
}

fn path(base: Weight, parts: &[(Part<Term<&str>>, jaq_core::path::Opt)]) -> Option<Weight> {
    let fixed = |index: &Term<&str>| match index {
        Term::Num(_) => true,
        Term::Neg(inner) => matches!(**inner, Term::Num(_)),
        Term::Str(None, parts) => is_literal(parts),
        _ => false,
    };
    let mut weight = base;
    for (part, _) in parts {
        let step = match part {
            Part::Index(index) if fixed(index) => ONE,
            Part::Range(None, None) => Weight { single: false, ..ONE },
            Part::Range(from, to)
                if from.as_ref().is_none_or(fixed) && to.as_ref().is_none_or(fixed) =>
            {
                ONE
            }
            _ => return None,
        };
        weight = piped(weight, step);
    }
    Some(weight)
}

fn is_literal(parts: &[StrPart<&str, Term<&str>>]) -> bool {
    parts.iter().all(|part| !matches!(part, StrPart::Term(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_that_pick_and_rename_have_a_bound() {
        for filter in [
            ".",
            ".a.b?.c",
            ".items[] | {repo: .full_name, stars: .stargazers_count}",
            "[.data[] | select(.state == \"open\" and (.draft | not)) | {id, title}]",
            "map({id, name: (.name // \"nobody\")})",
            "{city: .name, sky: .weather[0].description, celsius: .main.temp}",
            ".first + \" \" + .last",
            "\"\\(.a): \\(.b)\"",
            ".results[:10] | map(.title | ascii_downcase)",
            "if .status == \"rejected\" then .reason else empty end",
            "{n: (.items | length), keys: (.meta | keys)}",
            ".temperature - 273.15",
        ] {
            assert!(cost(filter).is_some_and(|cost| cost < 500), "{filter}: {:?}", cost(filter));
        }
    }

    #[test]
    fn whatever_can_grow_or_loop_has_none() {
        for filter in [
            "..",
            "recurse",
            "range(1e9)",
            "repeat(.)",
            "[limit(3; .[])]",
            "def f: f; f",
            "reduce .[] as $x (0; . + $x)",
            "foreach .[] as $x (0; . + $x)",
            ". as $x | $x",
            "label $f | break $f",
            "{a: .[], b: .[]}",
            "\"\\(.[]) \\(.[])\"",
            ".[] + .[]",
            ".[] == .[]",
            "if .[] then .[] else .[] end",
            "select(.[] | .a)",
            ". * 1000000000",
            ".a / .b",
            ".a - .b",
            "fromjson",
            "tojson",
            "test(\"(a+)+$\")",
            ".a |= .b",
            ".[.a]",
            "@base64",
            "@base64 \"\\(.)\"",
            "walk(.)",
            "env",
            "map(. as $x | $x)",
            "combinations",
            "join(\",\")",
            "include \"x\"; .",
        ] {
            assert_eq!(cost(filter), None, "{filter}");
        }
    }

    #[test]
    fn copies_multiply() {
        let doubled = "[., .] | ".repeat(20) + ".";
        assert!(cost(&doubled).is_some_and(|cost| cost > 1 << 20));
        let endless = "[., .] | ".repeat(100) + ".";
        assert_eq!(cost(&endless), Some(u64::MAX));
    }
}
