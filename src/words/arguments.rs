//! Writes for a model why its arguments are not accepted.
//!
//! Each problem says what the parameter takes and what came instead, so that one more try is enough.

use crate::model::InvalidArguments;
use crate::model::arguments::{
    ArgumentLimit, ArgumentProblem, CountedUnit, Expected, Mismatch, Received,
};
use crate::model::tool::{Kind, json_number};

/// Returns the words for arguments that are not accepted.
pub(super) fn text(problem: &InvalidArguments) -> String {
    match problem {
        InvalidArguments::TooLarge(ArgumentLimit::Levels(levels)) => {
            format!("The arguments nest more than {levels} levels deep.")
        }
        InvalidArguments::TooLarge(ArgumentLimit::TextBytes(bytes)) => {
            format!("The arguments have more than {} MiB of text.", bytes / (1024 * 1024))
        }
        InvalidArguments::TooLarge(ArgumentLimit::Items(items)) => {
            format!("The arguments have more than {} items.", grouped(*items))
        }
        InvalidArguments::NotAnObject { tool, received } => {
            let seen = seen(received);
            let problem = format!(
                "they must be a JSON object of names and values, `{{\"name\": value}}`, not {seen}"
            );
            refusal(tool.as_str(), &problem)
        }
        InvalidArguments::Unfit { tool, problems } => {
            let problems: Vec<String> = problems.iter().map(unfit).collect();
            refusal(tool.as_str(), &problems.join("\n- "))
        }
    }
}

fn refusal(tool: &str, problems: &str) -> String {
    format!("The arguments of {tool} were not accepted; nothing was done.\n- {problems}")
}

fn unfit(ArgumentProblem { name, mismatch }: &ArgumentProblem) -> String {
    match mismatch {
        Mismatch::Missing { expected, description: None } => {
            format!("`{name}` is missing: {}", wanted(expected))
        }
        Mismatch::Missing { expected, description: Some(description) } => {
            format!("`{name}` is missing: {}. {description}", wanted(expected))
        }
        Mismatch::Unknown { nearest: Some(near), .. } => {
            format!("`{name}` is not known, did you mean `{near}`?")
        }
        Mismatch::Unknown { nearest: None, known } if known.is_empty() => {
            format!("`{name}` is not known: this tool takes no arguments")
        }
        Mismatch::Unknown { nearest: None, known } => {
            format!("`{name}` is not known: there are {}", listed(known))
        }
        Mismatch::Type { expected, received } => {
            format!("`{name}` must be {}, not {}", wanted(expected), seen(received))
        }
        Mismatch::UnclearList { expected, received } => format!(
            "`{name}` must be {}, not {}: write it as a JSON list",
            wanted(expected),
            seen(received)
        ),
        Mismatch::ItemType { expected, position, received } => format!(
            "`{name}` must be {}, but item {position} is {}",
            wanted(expected),
            seen(received)
        ),
        Mismatch::EmptyList { expected } => {
            format!("`{name}` must be {}, and has no value", wanted(expected))
        }
        Mismatch::Choice { expected, given, nearest } => {
            let near = nearest.as_ref().map(|near| format!(", did you mean `{near}`?"));
            let near = near.unwrap_or_default();
            format!("`{name}` must be {}, not `{given}`{near}", wanted(expected))
        }
        Mismatch::TooShort { min, count, unit } => {
            format!("`{name}` must have at least {min} {}, and has {count}", unit_name(*unit))
        }
        Mismatch::TooLong { max, count, unit } => {
            format!("`{name}` must have at most {max} {}, and has {count}", unit_name(*unit))
        }
        Mismatch::TooSmall { min, given } => {
            format!("`{name}` must be at least {min}, not {given}")
        }
        Mismatch::TooLarge { max, given } => format!("`{name}` must be at most {max}, not {given}"),
        Mismatch::Schema { why } if name.is_empty() => format!("they do not fit: {why}"),
        Mismatch::Schema { why } => format!("`{name}` does not fit: {why}"),
    }
}

/// Describes what a parameter takes: `an integer from 1 to 99`.
fn wanted(Expected { kind, choices, min, max }: &Expected) -> String {
    if !choices.is_empty() {
        let list = if matches!(kind, Kind::Array(_)) { "a list of " } else { "one of " };
        return format!("{list}{}", listed(choices));
    }
    let name = match kind {
        Kind::Array(item) => return format!("a list of {}s", item.as_str()),
        Kind::Integer | Kind::Object => format!("an {}", kind.as_str()),
        Kind::String | Kind::Number | Kind::Boolean => format!("a {}", kind.as_str()),
    };
    if !matches!(kind, Kind::Integer | Kind::Number) {
        return name;
    }
    match (min.and_then(json_number), max.and_then(json_number)) {
        (Some(min), Some(max)) => format!("{name} from {min} to {max}"),
        (Some(min), None) => format!("{name} of at least {min}"),
        (None, Some(max)) => format!("{name} of at most {max}"),
        (None, None) => name,
    }
}

/// Describes a value from the client.
fn seen(received: &Received) -> String {
    match received {
        Received::Null => "null".to_owned(),
        Received::Boolean(value) => format!("`{value}`"),
        Received::Number(number) => format!("`{number}`"),
        Received::EmptyText => "an empty text".to_owned(),
        Received::Text(text) => format!("the text `{text}`"),
        Received::List(count) => format!("a list of {count}"),
        Received::Object => "an object".to_owned(),
    }
}

fn listed(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn unit_name(unit: CountedUnit) -> &'static str {
    match unit {
        CountedUnit::Characters => "characters",
        CountedUnit::Items => "items",
    }
}

/// Returns a number with its thousands separated: `10,000`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use serde_json::Number;

    use super::*;
    use crate::model::ToolName;
    use crate::model::tool::Item;

    fn expected(kind: Kind) -> Expected {
        Expected { kind, choices: Vec::new(), min: None, max: None }
    }

    fn sorts(kind: Kind) -> Expected {
        Expected { choices: vec!["stars".into(), "forks".into()], ..expected(kind) }
    }

    fn words(mismatch: Mismatch) -> String {
        let problems = vec![ArgumentProblem { name: "x".into(), mismatch }];
        let problem = InvalidArguments::Unfit { tool: ToolName::new("t"), problems };
        let start = "The arguments of t were not accepted; nothing was done.\n- ";
        text(&problem).strip_prefix(start).unwrap().to_owned()
    }

    #[test]
    fn each_limit_is_told() {
        let words = |limit| text(&InvalidArguments::TooLarge(limit));
        assert_eq!(
            words(ArgumentLimit::Levels(64)),
            "The arguments nest more than 64 levels deep."
        );
        assert_eq!(
            words(ArgumentLimit::TextBytes(1024 * 1024)),
            "The arguments have more than 1 MiB of text."
        );
        assert_eq!(
            words(ArgumentLimit::Items(10_000)),
            "The arguments have more than 10,000 items."
        );
        assert_eq!([7, 999, 1_000_000].map(grouped), ["7", "999", "1,000,000"]);
    }

    #[test]
    fn arguments_that_are_no_object_are_told() {
        let (tool, received) = (ToolName::new("t"), Received::List(2));
        assert_eq!(
            text(&InvalidArguments::NotAnObject { tool, received }),
            "The arguments of t were not accepted; nothing was done.\n- they must be a JSON object of names and values, `{\"name\": value}`, not a list of 2"
        );
    }

    #[test]
    fn each_mismatch_says_what_is_wanted_and_what_came() {
        let unknown = |nearest: Option<&str>, known: &[&str]| Mismatch::Unknown {
            nearest: nearest.map(str::to_owned),
            known: known.iter().map(|name| (*name).to_owned()).collect(),
        };
        let missing = |description: Option<&str>| Mismatch::Missing {
            expected: expected(Kind::String),
            description: description.map(str::to_owned),
        };
        let list = || expected(Kind::Array(Item::Integer));
        let text = || Received::Text("1,5".into());
        let unit = CountedUnit::Characters;
        for (mismatch, told) in [
            (missing(None), "`x` is missing: a string"),
            (missing(Some("Who.")), "`x` is missing: a string. Who."),
            (unknown(Some("y"), &["y", "z"]), "`x` is not known, did you mean `y`?"),
            (unknown(None, &[]), "`x` is not known: this tool takes no arguments"),
            (unknown(None, &["y", "z"]), "`x` is not known: there are `y`, `z`"),
            (
                Mismatch::UnclearList { expected: list(), received: text() },
                "`x` must be a list of integers, not the text `1,5`: write it as a JSON list",
            ),
            (
                Mismatch::ItemType { expected: list(), position: 2, received: Received::Null },
                "`x` must be a list of integers, but item 2 is null",
            ),
            (
                Mismatch::EmptyList { expected: sorts(Kind::Array(Item::String)) },
                "`x` must be a list of `stars`, `forks`, and has no value",
            ),
            (
                Mismatch::Choice {
                    expected: sorts(Kind::String),
                    given: "star".into(),
                    nearest: Some("stars".into()),
                },
                "`x` must be one of `stars`, `forks`, not `star`, did you mean `stars`?",
            ),
            (
                Mismatch::TooShort { min: 2.0, count: 1, unit: CountedUnit::Items },
                "`x` must have at least 2 items, and has 1",
            ),
            (
                Mismatch::TooLong { max: 3.0, count: 4, unit },
                "`x` must have at most 3 characters, and has 4",
            ),
            (
                Mismatch::TooSmall { min: 0.5, given: Number::from(0) },
                "`x` must be at least 0.5, not 0",
            ),
            (
                Mismatch::TooLarge { max: 99.0, given: Number::from(100) },
                "`x` must be at most 99, not 100",
            ),
        ] {
            assert_eq!(words(mismatch), told);
        }
    }

    #[test]
    fn each_type_and_value_has_a_name() {
        let bounded = |min, max| Expected { min, max, ..expected(Kind::Integer) };
        let not = |expected, received| words(Mismatch::Type { expected, received });
        for (expected, received, told) in [
            (expected(Kind::String), Received::Object, "a string, not an object"),
            (expected(Kind::Number), Received::EmptyText, "a number, not an empty text"),
            (expected(Kind::Boolean), Received::List(0), "a boolean, not a list of 0"),
            (expected(Kind::Object), Received::Boolean(true), "an object, not `true`"),
            (bounded(None, None), Received::Text("ten".into()), "an integer, not the text `ten`"),
            (
                bounded(Some(1.0), Some(99.0)),
                Received::Number(Number::from(0)),
                "an integer from 1 to 99, not `0`",
            ),
            (bounded(Some(1.0), None), Received::Null, "an integer of at least 1, not null"),
            (bounded(None, Some(9.0)), Received::Null, "an integer of at most 9, not null"),
        ] {
            assert_eq!(not(expected, received), format!("`x` must be {told}"));
        }
    }
}
