//! Values with their positions in a source text.

use std::borrow::Cow;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator};

/// Byte offsets into a source text.
pub type Span = Range<usize>;

/// A value and its position in the source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct At<T> {
    pub value: T,
    pub span: Span,
}

impl<T> At<T> {
    pub(crate) fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

impl At<String> {
    pub(crate) fn as_str(&self) -> &str {
        &self.value
    }

    /// Returns the position of a part of this string in the source. Exact unless the string was
    /// written with escapes; then it is the position of the whole string.
    pub(crate) fn part(&self, range: Span, source: &str) -> Span {
        let quoted = source.get(self.span.clone()).unwrap_or_default();
        let Some(from) = quoted.find(self.value.as_str()) else { return self.span.clone() };
        let start = self.span.start + from;
        start + range.start..start + range.end
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A string with its position: most of the values in a `tools.toml`.
pub(crate) type Text = At<String>;
