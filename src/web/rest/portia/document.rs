//! Documents of a client that are kept as they came.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A document, and the fields of it that are used here. Newer clients write more of them than are
/// known, and get all back.
pub(in crate::web::rest) struct Document<T> {
    pub(super) whole: Map<String, Value>,
    pub(super) fields: T,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Document<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let whole = Map::deserialize(from)?;
        let fields = T::deserialize(Value::Object(whole.clone())).map_err(D::Error::custom)?;
        Ok(Self { whole, fields })
    }
}

impl<T: JsonSchema> JsonSchema for Document<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
