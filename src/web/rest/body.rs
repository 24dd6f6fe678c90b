//! JSON bodies of REST requests.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::answer::{ErrorName, problem};
use crate::model::face::Face;
use crate::model::nesting::nesting;
use crate::web::body;

/// Levels of JSON that a body may have.
const MAX_NESTING: usize = 100;

/// Why a body cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::web) enum BodyProblem {
    /// Status 415. A page of another site can send a form or plain text without asking first, but
    /// never JSON.
    #[error("send the body with `Content-Type: application/json`")]
    OtherType,
    /// Status 413.
    #[error("the body is longer than this path takes")]
    TooLarge,
    /// Status 408.
    #[error("the body did not arrive within 30 seconds")]
    TooSlow,
    /// Status 400.
    #[error("the body broke off")]
    BrokeOff,
    /// Status 400. Holds no value of the body: it may be a secret.
    #[error("{0}")]
    Unfit(String),
}

/// Reads a body of JSON. Unknown fields are ignored, since the clients of these contracts send more
/// than is used here.
///
/// # Errors
/// [`BodyProblem`] if the body does not arrive, is no JSON or has not the shape of `T`.
pub(in crate::web) async fn json<T: DeserializeOwned>(request: Request) -> Result<T, BodyProblem> {
    if !is_json(request.headers()) {
        return Err(BodyProblem::OtherType);
    }
    let body = body::whole(request).await.map_err(|status| match status {
        StatusCode::PAYLOAD_TOO_LARGE => BodyProblem::TooLarge,
        StatusCode::REQUEST_TIMEOUT => BodyProblem::TooSlow,
        _ => BodyProblem::BrokeOff,
    })?;
    parse(&body)
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(first), None) = (types.next(), types.next()) else { return false };
    let Ok(first) = first.to_str() else { return false };
    let essence = first.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyProblem> {
    // Less than `serde_json` reads, since a part of the body may be stored deeper than it came.
    if nesting(body) > MAX_NESTING {
        return Err(BodyProblem::Unfit(format!("the body has more than {MAX_NESTING} levels")));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut deserializer);
    let Object(value) = read.map_err(|error| {
        let (path, error) = (error.path().to_string(), error.into_inner());
        let text = error.to_string();
        BodyProblem::Unfit(match error.is_data() {
            false => format!("the body is no JSON: {text}"),
            true if text.starts_with("missing field") => format!("the body lacks a field: {text}"),
            true => format!("`{path}` has a wrong type or value"),
        })
    })?;
    deserializer.end().map_err(|error| BodyProblem::Unfit(format!("after the body: {error}")))?;
    Ok(value)
}

/// A value that a client wrote as an object. The derived implementation of a struct would also take a
/// list, for the fields in their order.
#[derive(Default)]
pub(in crate::web) struct Object<T>(pub(in crate::web) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct OfFields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfFields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }

        from.deserialize_map(OfFields(PhantomData)).map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for Object<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl BodyProblem {
    /// Writes the error in the form of a contract.
    pub(in crate::web) fn answer(&self, face: Face) -> Response {
        let (status, name) = match self {
            Self::OtherType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorName::UnsupportedMediaType)
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, ErrorName::PayloadTooLarge),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, ErrorName::RequestTimeout),
            Self::BrokeOff | Self::Unfit(_) => {
                (StatusCode::BAD_REQUEST, ErrorName::MalformedRequest)
            }
        };
        problem(face, status, name, self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::HeaderValue;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Question {
        user_id: String,
        inner: Option<Object<Inner>>,
    }

    #[derive(Deserialize)]
    struct Inner {
        count: u8,
    }

    fn unfit(body: &str) -> String {
        match parse::<Question>(body.as_bytes()) {
            Err(BodyProblem::Unfit(text)) => text,
            Err(problem) => panic!("{problem:?}"),
            Ok(_) => panic!("{body} was read"),
        }
    }

    #[test]
    fn a_fault_is_named_without_the_values_of_the_body() {
        assert!(unfit("{").starts_with("the body is no JSON: "));
        assert_eq!(
            unfit("{}"),
            "the body lacks a field: missing field `user_id` at line 1 column 2"
        );
        let typed = unfit(r#"{"user_id": "a", "inner": {"count": "s3cret"}}"#);
        assert_eq!(typed, "`inner.count` has a wrong type or value");
        assert!(unfit(r#"{"user_id": "a"} x"#).starts_with("after the body: "));
        let deep = format!(r#"{{"user_id": "a", "x": {}1{}}}"#, "[".repeat(100), "]".repeat(100));
        assert_eq!(unfit(&deep), "the body has more than 100 levels");
        let read: Question =
            parse(br#"{"user_id": "ana", "inner": {"count": 2}, "later": 1}"#).unwrap();
        assert_eq!((read.user_id.as_str(), read.inner.unwrap().0.count), ("ana", 2));
    }

    #[test]
    fn an_object_is_not_read_from_a_list() {
        for (body, path) in
            [(r#"["ana", null]"#, "."), (r#"{"user_id": "ana", "inner": [2]}"#, "inner")]
        {
            assert_eq!(unfit(body), format!("`{path}` has a wrong type or value"));
        }
    }

    #[tokio::test]
    async fn only_json_is_read() {
        for (types, is_read) in [
            (&["application/json"][..], true),
            (&["Application/JSON; charset=utf-8"], true),
            (&["application/json", "text/plain"], false),
            (&["text/plain"], false),
            (&["application/json-patch+json"], false),
            (&["application/x-www-form-urlencoded"], false),
            (&["multipart/form-data; boundary=application/json"], false),
            (&[], false),
        ] {
            let mut request = Request::new(Body::from(r#"{"user_id": "ana"}"#));
            for of_type in types {
                request.headers_mut().append(CONTENT_TYPE, HeaderValue::from_static(of_type));
            }
            assert_eq!(json::<Question>(request).await.is_ok(), is_read, "{types:?}");
        }
    }
}
