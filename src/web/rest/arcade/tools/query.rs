//! Queries about tools: which tools are meant, and which forms of them are asked for.

use std::fmt;

use axum::http::Uri;
use serde::de::{MapAccess, SeqAccess, Visitor, value};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::answer::{Behavior, Toolkit};
use super::format::Format;
use crate::web::rest::page::{NotANumber, Paging};

/// Parameters of a query about tools; others are ignored.
#[derive(Debug, Default)]
pub(super) struct ToolsQuery {
    pub(super) toolkit: Option<String>,
    pub(super) user_id: Option<String>,
    /// Forms that a tool is shown in besides Arcade's own.
    pub(super) include: Vec<Format>,
    /// The one form of a formatted tool.
    pub(super) format: Option<Format>,
    pub(super) filter: Filter,
    pub(super) paging: Paging,
}

/// Why a query is refused, for the client.
#[derive(Debug, thiserror::Error)]
pub(super) enum QueryError {
    #[error(transparent)]
    NotANumber(#[from] NotANumber),
    #[error("`{0}` is one of `arcade`, `openai` and `anthropic`")]
    Format(&'static str),
    #[error(
        "`filter` must be a JSON object with `service_domains`, `operations`, `read_only`, `destructive`, `idempotent`, `open_world` or `extras`"
    )]
    Filter,
}

impl ToolsQuery {
    /// Reads the query.
    ///
    /// # Errors
    /// [`QueryError`] for the first value that cannot be read.
    pub(super) fn parse(uri: &Uri) -> Result<Self, QueryError> {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            match &*name {
                "toolkit" => query.toolkit = not_empty(&value),
                "user_id" => query.user_id = not_empty(&value),
                "include_format" => {
                    let formats = value.split(',').filter(|format| !format.is_empty());
                    for format in formats {
                        query.include.push(read(format, "include_format")?);
                    }
                }
                "format" => query.format = Some(read(&value, "format")?),
                "filter" if value.is_empty() => {}
                "filter" => {
                    query.filter = Filter::parse(&value).ok_or(QueryError::Filter)?;
                }
                _ => query.paging.read(&name, &value)?,
            }
        }
        Ok(query)
    }

    /// Whether a tool with these properties is meant.
    pub(super) fn has(&self, toolkit: &str, behavior: &Behavior) -> bool {
        let is_in_toolkit =
            self.toolkit.as_ref().is_none_or(|asked| Toolkit::is_same(asked, toolkit));
        is_in_toolkit && self.filter.has(behavior)
    }
}

/// Reads the form that this parameter names.
fn read(format: &str, parameter: &'static str) -> Result<Format, QueryError> {
    Format::parse(format).ok_or(QueryError::Format(parameter))
}

fn not_empty(value: &str) -> Option<String> {
    Some(value.to_owned()).filter(|value| !value.is_empty())
}

/// Properties that a tool must have.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    service_domains: Option<Words>,
    operations: Option<Words>,
    read_only: Option<bool>,
    destructive: Option<bool>,
    idempotent: Option<bool>,
    open_world: Option<bool>,
    extras: Option<Map<String, Value>>,
}

impl Filter {
    fn parse(text: &str) -> Option<Self> {
        // Read as an object first: a list would be taken for the fields in their order.
        let object: Map<String, Value> = serde_json::from_str(text).ok()?;
        serde_json::from_value(Value::Object(object)).ok()
    }

    fn has(&self, behavior: &Behavior) -> bool {
        let same = |asked: Option<bool>, is: bool| asked.is_none_or(|asked| asked == is);
        // No tool here has domains or extras.
        self.service_domains.as_ref().is_none_or(|words| words.allow(&[]))
            && self.operations.as_ref().is_none_or(|words| words.allow(behavior.operations))
            && same(self.read_only, behavior.read_only)
            && same(self.destructive, behavior.destructive)
            && same(self.idempotent, behavior.idempotent)
            && same(self.open_world, behavior.open_world)
            && self.extras.as_ref().is_none_or(Map::is_empty)
    }
}

/// Rule about the words of a tool. A list is `any_of`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Words {
    any: Vec<String>,
    all: Vec<String>,
    none: Vec<String>,
}

impl Words {
    /// An empty list demands nothing.
    fn allow(&self, own: &[&str]) -> bool {
        let has = |word: &String| own.iter().any(|own| own.eq_ignore_ascii_case(word));
        (self.any.is_empty() || self.any.iter().any(has))
            && self.all.iter().all(has)
            && !self.none.iter().any(has)
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        /// The form of a rule that names its lists.
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Rule {
            #[serde(rename = "any_of")]
            any: Vec<String>,
            #[serde(rename = "all_of")]
            all: Vec<String>,
            #[serde(rename = "none_of")]
            none: Vec<String>,
        }

        struct ListOrRule;

        impl<'de> Visitor<'de> for ListOrRule {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of words, or `any_of`, `all_of` and `none_of`")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Words, A::Error> {
                let any = Vec::deserialize(value::SeqAccessDeserializer::new(items))?;
                Ok(Words { any, ..Words::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Words, A::Error> {
                let rule = Rule::deserialize(value::MapAccessDeserializer::new(entries))?;
                let Rule { any, all, none } = rule;
                Ok(Words { any, all, none })
            }
        }

        from.deserialize_any(ListOrRule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READS: Behavior = Behavior {
        operations: &["read"],
        read_only: true,
        destructive: false,
        idempotent: true,
        open_world: true,
    };

    fn query(query: &str) -> Result<ToolsQuery, QueryError> {
        let query: String =
            form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs(query)).finish();
        ToolsQuery::parse(&format!("/v1/tools?{query}").parse().unwrap())
    }

    fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
        query.split('&').filter_map(|pair| pair.split_once('='))
    }

    #[test]
    fn a_filter_leaves_out_tools_with_other_properties() {
        for (filter, is_meant) in [
            ("{}", true),
            (r#"{"read_only":true,"destructive":false,"idempotent":true,"open_world":true}"#, true),
            (r#"{"read_only":false}"#, false),
            (r#"{"destructive":true}"#, false),
            (r#"{"open_world":false}"#, false),
            (r#"{"operations":["read"]}"#, true),
            (r#"{"operations":["READ","delete"]}"#, true),
            (r#"{"operations":["delete"]}"#, false),
            (r#"{"operations":{"any_of":["read","delete"]}}"#, true),
            (r#"{"operations":{"all_of":["read","delete"]}}"#, false),
            (r#"{"operations":{"none_of":["delete"]}}"#, true),
            (r#"{"operations":{"none_of":["read"]}}"#, false),
            (r#"{"service_domains":["email"]}"#, false),
            (r#"{"service_domains":[]}"#, true),
            (r#"{"extras":{}}"#, true),
            (r#"{"extras":{"a":1}}"#, false),
            (r#"{"later":1}"#, true),
        ] {
            let query = query(&format!("filter={filter}")).unwrap();
            assert_eq!(query.has("Github", &READS), is_meant, "{filter}");
        }
        for bad in ["{", "[]", r#"{"operations":"read"}"#, r#"{"read_only":"yes"}"#] {
            assert!(matches!(query(&format!("filter={bad}")), Err(QueryError::Filter)), "{bad}");
        }
    }

    #[test]
    fn a_query_names_toolkit_user_and_forms() {
        let read = query("toolkit=github&user_id=ana&include_format=openai,anthropic&x=1").unwrap();
        assert_eq!(read.user_id.as_deref(), Some("ana"));
        assert_eq!(read.include, [Format::Openai, Format::Anthropic]);
        assert!(read.has("GitHub", &READS) && !read.has("Gmail", &READS));
        let empty = query("toolkit=&user_id=&include_format=&filter=").unwrap();
        assert!(empty.has("Gmail", &READS) && empty.user_id.is_none() && empty.include.is_empty());
        for (bad, parameter) in [
            ("format=", "format"),
            ("format=xml", "format"),
            ("include_format=a", "include_format"),
        ] {
            assert!(matches!(query(bad), Err(QueryError::Format(name)) if name == parameter));
        }
        assert!(matches!(query("limit=x"), Err(QueryError::NotANumber(_))));
    }
}
