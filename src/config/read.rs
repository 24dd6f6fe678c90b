//! Typed readers over parsed TOML that report a mistake and continue.
//!
//! Serde stops at its first error and, with `untagged` or `flatten`, loses its position. These
//! readers read each key separately, so that one run finds all mistakes.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Number, Value as Json};
use toml::de::{DeFloat, DeInteger, DeValue};

use super::findings::Findings;
use super::misplaced;
use super::span::{At, Span, Text};
use super::syntax::{SECRET_WORDS, Value};
use super::unknown_key::Keys;
use crate::model::text::nearest;

/// A type that can be read from a TOML value.
pub(crate) trait Read: Sized {
    /// Reads the value; `None` after reporting a problem.
    fn read(value: &Value<'_>, find: &mut Findings<'_>) -> Option<Self>;
}

/// Reports a value whose type its key does not take.
fn mismatch<T>(value: &Value<'_>, wanted: &str, find: &mut Findings<'_>) -> Option<T> {
    let given = match value.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    let key = find.key_of(&value.span());
    let message = match key {
        Some(key) => format!("`{key}` is {wanted}, not {given}"),
        None => format!("{wanted} is wanted here, not {given}"),
    };
    let hint = match key {
        Some(key) => way_out(value, wanted, key),
        None if wanted == LIST && matches!(value.get_ref(), DeValue::Table(_)) => {
            "write its name in double brackets, `[[…]]`: each entry is a table of its own".into()
        }
        None => format!("write {wanted}"),
    };
    find.error("config::type", &value.span(), message).label(format!("this is {given}")).hint(hint);
    None
}

/// Says what to write instead. Quotes the value only if it is a number or a boolean: any other text
/// may be a secret.
fn way_out(value: &Value<'_>, wanted: &str, key: &str) -> String {
    let is_among = |words: &[&str]| words.contains(&wanted);
    match value.get_ref() {
        DeValue::String(text)
            if (is_among(&[NUMBER, WHOLE]) && text.parse::<f64>().is_ok_and(f64::is_finite))
                || (wanted == TRUTH && matches!(&**text, "true" | "false")) =>
        {
            format!("remove the quotes: `{key} = {text}`")
        }
        DeValue::String(_) if wanted == LIST => {
            format!("put it in brackets: `{key} = [\"…\"]`")
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_)
            if wanted == TEXT =>
        {
            format!("put it in quotes: `{key} = \"…\"`")
        }
        DeValue::Array(items) if wanted == TEXT && items.len() == 1 => {
            format!("remove the brackets: `{key} = \"…\"`")
        }
        _ => format!("write {wanted}"),
    }
}

const TEXT: &str = "a text";
const TRUTH: &str = "`true` or `false`";
const WHOLE: &str = "a whole number";
const NUMBER: &str = "a number";
const LIST: &str = "a list";

impl Read for Text {
    fn read(value: &Value<'_>, find: &mut Findings<'_>) -> Option<Self> {
        if let DeValue::String(text) = value.get_ref() {
            return Some(At::new(text.to_string(), value.span()));
        }
        // The key may be one for a secret.
        redact_texts(value, true, find);
        mismatch(value, TEXT, find)
    }
}

impl Read for At<bool> {
    fn read(value: &Value<'_>, find: &mut Findings<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Boolean(it) => Some(At::new(*it, value.span())),
            _ => mismatch(value, TRUTH, find),
        }
    }
}

impl Read for At<i64> {
    fn read(value: &Value<'_>, find: &mut Findings<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Integer(number) => match whole(number) {
                Some(number) => Some(At::new(number, value.span())),
                None => mismatch(value, "a whole number of at most 64 bits", find),
            },
            _ => mismatch(value, WHOLE, find),
        }
    }
}

impl Read for At<f64> {
    fn read(value: &Value<'_>, find: &mut Findings<'_>) -> Option<Self> {
        let number = match value.get_ref() {
            DeValue::Integer(number) => number.as_str().parse().ok(),
            DeValue::Float(number) => float(number),
            _ => None,
        };
        match number {
            Some(number) => Some(At::new(number, value.span())),
            None => mismatch(value, NUMBER, find),
        }
    }
}

fn whole(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn float(number: &DeFloat<'_>) -> Option<f64> {
    number.as_str().parse().ok().filter(|number: &f64| number.is_finite())
}

/// For large tables that are moved around.
impl<T: Read> Read for Box<T> {
    fn read(value: &Value<'_>, find: &mut Findings<'_>) -> Option<Self> {
        T::read(value, find).map(Box::new)
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(value: &Value<'_>, find: &mut Findings<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Array(items) => {
                Some(items.iter().filter_map(|item| T::read(item, find)).collect())
            }
            _ => mismatch(value, LIST, find),
        }
    }
}

impl<T: Read> Read for At<Vec<T>> {
    fn read(value: &Value<'_>, find: &mut Findings<'_>) -> Option<Self> {
        Some(At::new(Read::read(value, find)?, value.span()))
    }
}

/// A table whose keys are names chosen by the operator, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Named<T> {
    pub entries: Vec<(Text, T)>,
    pub span: Span,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), span: Span::default() }
    }
}

impl<T: Read> Read for Named<T> {
    fn read(value: &Value<'_>, find: &mut Findings<'_>) -> Option<Self> {
        let table = entries(value, find)?;
        // The parser moves tables that are opened twice; models and people expect the file's order.
        let mut written: Vec<_> = table.iter().collect();
        written.sort_by_key(|(key, _)| key.span().start);
        let mut entries = Vec::with_capacity(written.len());
        for (key, value) in written {
            if let Some(value) = T::read(value, find) {
                entries.push((At::new(key.get_ref().to_string(), key.span()), value));
            }
        }
        Some(Self { entries, span: value.span() })
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Named_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        std::collections::BTreeMap::<String, T>::json_schema(generator)
    }
}

/// Any value that JSON can represent, with positions.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    pub branch: Branch,
    pub span: Span,
}

/// The value of a [`Tree`].
#[derive(Clone, Debug, PartialEq)]
pub enum Branch {
    Text(String),
    /// A number or a boolean.
    Fixed(Json),
    List(Vec<Tree>),
    Table(Vec<(Text, Tree)>),
}

impl Tree {
    /// Converts the value to JSON, without positions.
    pub fn to_json(&self) -> Json {
        match &self.branch {
            Branch::Text(text) => Json::String(text.clone()),
            Branch::Fixed(value) => value.clone(),
            Branch::List(items) => items.iter().map(Self::to_json).collect(),
            Branch::Table(entries) => {
                entries.iter().map(|(key, value)| (key.value.clone(), value.to_json())).collect()
            }
        }
    }
}

impl Read for Tree {
    fn read(value: &Value<'_>, find: &mut Findings<'_>) -> Option<Self> {
        let branch = match value.get_ref() {
            DeValue::String(text) => Branch::Text(text.to_string()),
            DeValue::Boolean(it) => Branch::Fixed(Json::Bool(*it)),
            DeValue::Integer(number) => match whole(number) {
                Some(number) => Branch::Fixed(Json::Number(number.into())),
                None => return mismatch(value, "a whole number of at most 64 bits", find),
            },
            DeValue::Float(number) => match float(number).and_then(Number::from_f64) {
                Some(number) => Branch::Fixed(Json::Number(number)),
                None => return mismatch(value, "a number that JSON can hold", find),
            },
            DeValue::Datetime(_) => return mismatch(value, TEXT, find),
            DeValue::Array(_) => Branch::List(Read::read(value, find)?),
            DeValue::Table(_) => Branch::Table(Named::read(value, find)?.entries),
        };
        Some(Self { branch, span: value.span() })
    }
}

impl JsonSchema for Tree {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Any".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        true.into()
    }
}

/// Reports a key that its table does not have.
pub(crate) fn unknown_key(
    key: &Text,
    value: &Value<'_>,
    table: &Span,
    keys: &Keys,
    find: &mut Findings<'_>,
) {
    redact_texts(value, sounds_secret(key.as_str()), find);
    if keys.later.contains(&key.as_str()) {
        return not_yet(&key.span, &format!("`{}`", key.value), find);
    }
    let explained = misplaced::explain(key, value, table, keys, find);
    let near = nearest(key.as_str(), keys.known.iter().copied());
    let near = near
        .filter(|_| explained.is_none() && !misplaced::belongs_elsewhere(key.as_str(), keys, find));
    if let Some(near) = near {
        find.misspelt(table, near);
    }
    let message = format!("unknown key `{}`", key.value);
    let draft = find.error("config::unknown_key", &key.span, message).label("no such key");
    match (explained, near) {
        (Some(hint), _) => draft.hint(hint),
        (None, Some(near)) => draft.hint(format!("did you mean `{near}`?")),
        (None, None) => draft.hint(format!("the keys of this table are {}", listed(keys.known))),
    };
}

/// Reports a key or table that only a later version will read.
pub(crate) fn not_yet(span: &Span, what: &str, find: &mut Findings<'_>) {
    find.error("config::not_yet", span, format!("{what} is not supported by this version yet"))
        .label("not supported by this version yet")
        .hint("remove it until then");
}

/// Redacts the strings that may be secrets in a value with an unknown key or of the wrong type,
/// whose meaning is therefore not known.
fn redact_texts(value: &Value<'_>, may_be_secret: bool, find: &mut Findings<'_>) {
    match value.get_ref() {
        DeValue::String(text) if may_be_secret && !super::secret_ref::looks_like_one(text) => {
            let span = value.span();
            if span.len() > 2 {
                find.redact(&(span.start + 1..span.end - 1));
            }
        }
        DeValue::Array(items) => {
            items.iter().for_each(|item| redact_texts(item, may_be_secret, find));
        }
        DeValue::Table(table) => {
            for (key, value) in table {
                redact_texts(value, sounds_secret(key.get_ref()), find);
            }
        }
        _ => {}
    }
}

/// Whether a key's name suggests a secret, allowing for one typo.
fn sounds_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.split(['_', '-', '.']).any(|part| {
        SECRET_WORDS
            .iter()
            .any(|word| part.contains(word) || strsim::damerau_levenshtein(part, word) == 1)
    })
}

/// Formats names as `a`, `b` and `c`.
pub(crate) fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// Declares a table of the language: its keys, their types and their descriptions. Generates both
/// the reader and the JSON Schema, so that they always know the same keys.
macro_rules! table {
    (
        $(#[$meta:meta])*
        $name:ident {
            $( $(#[$field_meta:meta])* $key:literal => $field:ident : $type:ty, )*
        }
        $(later { $($later:literal),* $(,)? })?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub struct $name {
            /// Position of the table in the source.
            #[schemars(skip)]
            pub span: $crate::config::span::Span,
            $( $(#[$field_meta])* #[schemars(rename = $key)] pub $field: Option<$type>, )*
        }

        impl $name {
            pub(crate) const KEYS: $crate::config::unknown_key::Keys = $crate::config::unknown_key::Keys {
                table: stringify!($name),
                known: &[$($key),*],
                later: &[$($($later),*)?],
            };

            /// Returns each entry of `self`, or that of `other` if `self` has none.
            #[must_use]
            #[allow(dead_code, reason = "not every table is merged")]
            pub(crate) fn or(self, other: Self) -> Self {
                Self { span: self.span, $( $field: self.$field.or(other.$field), )* }
            }
        }

        impl $crate::config::read::Read for $name {
            fn read(
                value: &$crate::config::syntax::Value<'_>,
                find: &mut $crate::config::findings::Findings<'_>,
            ) -> Option<Self> {
                let entries = $crate::config::read::entries(value, find)?;
                let mut table = Self { span: value.span(), ..Self::default() };
                for (key, value) in entries {
                    match key.get_ref().as_ref() {
                        $( $key => {
                            table.$field = $crate::config::read::Read::read(value, find);
                            if table.$field.is_none() {
                                find.misspelt(&table.span, $key);
                            }
                        } )*
                        name => {
                            let key = $crate::config::span::At::new(name.to_owned(), key.span());
                            $crate::config::read::unknown_key(&key, value, &table.span, &Self::KEYS, find);
                        }
                    }
                }
                Some(table)
            }
        }
    };
}
pub(crate) use table;

/// Returns the entries of a value that must be a table; `None` after reporting another type.
pub(crate) fn entries<'v, 'i>(
    value: &'v Value<'i>,
    find: &mut Findings<'_>,
) -> Option<&'v toml::de::DeTable<'i>> {
    if let DeValue::Table(table) = value.get_ref() {
        return Some(table);
    }
    // In `api_key = "…"` the string may be the key itself.
    redact_texts(value, true, find);
    mismatch(value, "a table", find)
}
