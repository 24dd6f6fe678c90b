//! Converts values between `serde_json` and jaq, bounded both ways.
//!
//! jaq's own JSON reader recurses without a limit and overflows the stack on deep nesting, so it
//! never reads untrusted input. `serde_json` refuses more than 128 levels, and filter outputs are
//! held to the same limit here.

use jaq_json::{Num, Val};
use serde::Deserialize as _;
use serde_json::{Map, Number, Value};

/// Maximum nesting levels of a result; a deeper one is refused. Equal to `serde_json`'s limit for
/// input.
const MAX_DEPTH: usize = 128;
/// Maximum bytes of all results of one run, text and values together; larger results are refused.
/// Shared parts (`[., .]`) take no memory in jaq but their full size once they are converted.
const MAX_RESULT_BYTES: usize = 16 * 1024 * 1024;
/// Bytes charged for each value: its size in memory.
const VALUE_BYTES: usize = size_of::<Value>();

/// Converts a JSON value for jaq.
///
/// # Errors
/// None in practice: every JSON value is a jq value.
pub(super) fn to_jq(value: &Value) -> Result<Val, String> {
    Val::deserialize(value).map_err(|error| error.to_string())
}

/// The outputs of one run.
pub(super) struct Outputs {
    values: Vec<Value>,
    room: usize,
}

impl Outputs {
    pub(super) fn new() -> Self {
        Self { values: Vec::new(), room: MAX_RESULT_BYTES }
    }

    /// Converts an output and adds it.
    ///
    /// # Errors
    /// The output nests too deep, all outputs together are too large, or an object key is not a
    /// string.
    pub(super) fn push(&mut self, output: &Val) -> Result<(), String> {
        let value = from_jq(output, MAX_DEPTH, &mut self.room)?;
        self.values.push(value);
        Ok(())
    }

    pub(super) fn into_values(self) -> Vec<Value> {
        self.values
    }
}

fn from_jq(value: &Val, depth: usize, room: &mut usize) -> Result<Value, String> {
    spend(room, VALUE_BYTES)?;
    let deeper = || depth.checked_sub(1).ok_or("the result nests more than 128 levels");
    Ok(match value {
        Val::Null => Value::Null,
        Val::Bool(truth) => Value::Bool(*truth),
        Val::Num(number) => self::number(number),
        Val::TStr(text) | Val::BStr(text) => Value::String(self::text(text, room)?),
        Val::Arr(items) => {
            let depth = deeper()?;
            items
                .iter()
                .map(|item| from_jq(item, depth, room))
                .collect::<Result<Vec<_>, _>>()
                .map(Value::Array)?
        }
        Val::Obj(entries) => {
            let depth = deeper()?;
            let mut object = Map::with_capacity(entries.len());
            for (key, value) in entries.iter() {
                let Val::TStr(key) = key else {
                    return Err("the result has an object key that is not a string".to_owned());
                };
                object.insert(text(key, room)?, from_jq(value, depth, room)?);
            }
            Value::Object(object)
        }
    })
}

fn spend(room: &mut usize, amount: usize) -> Result<(), String> {
    *room = room.checked_sub(amount).ok_or("the result is larger than 16 MiB")?;
    Ok(())
}

fn text(bytes: &[u8], room: &mut usize) -> Result<String, String> {
    spend(room, bytes.len())?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// Converts a number. JSON has no infinities and no NaN: jq writes `null` for NaN, and this
/// function for all of them.
fn number(number: &Num) -> Value {
    match number {
        Num::Int(int) => Value::from(i64::try_from(*int).unwrap_or(i64::MAX)),
        Num::Float(float) => Number::from_f64(*float).map_or(Value::Null, Value::Number),
        Num::BigInt(big) => match u64::try_from(&**big) {
            Ok(int) => Value::from(int),
            Err(_) => float(&big.to_string()),
        },
        Num::Dec(decimal) => float(decimal),
    }
}

fn float(digits: &str) -> Value {
    digits.parse().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
}
