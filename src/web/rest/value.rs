//! Results of tools as JSON values.

use serde_json::Value;

use crate::model::ToolResult;
use crate::model::result::ResultBlock;
use crate::words;

/// Returns the data of a result: its structured data, or its text. A text that is a JSON object or
/// list is returned as such, since the clients of the REST faces expect data.
pub(in crate::web) fn value_of(result: &ToolResult) -> Value {
    if let Some(structured) = &result.structured {
        return structured.clone();
    }
    let mut blocks: Vec<Value> = result.content.iter().cloned().map(value_of_block).collect();
    match (blocks.pop(), blocks.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            blocks.extend(last);
            Value::Array(blocks)
        }
    }
}

/// Returns the remarks about a result, a sentence each.
pub(in crate::web) fn remarks_of(result: &ToolResult) -> Vec<String> {
    let remarks = result.remarks.iter().map(words::remark);
    remarks.chain(result.unfit.as_ref().map(words::unfit)).collect()
}

fn value_of_block(block: ResultBlock) -> Value {
    let text = words::block_text(block);
    match serde_json::from_str(&text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => value,
        Ok(_) | Err(_) => Value::String(text),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::result::Remark;

    #[test]
    fn a_text_that_is_json_becomes_data() {
        for (text, value) in [
            (r#"{"id":1}"#, json!({"id": 1})),
            ("[1,2]", json!([1, 2])),
            ("7", json!("7")),
            ("\"quoted\"", json!("\"quoted\"")),
            ("{broken", json!("{broken")),
            ("", json!("")),
        ] {
            assert_eq!(value_of(&ToolResult::text(text)), value, "{text}");
        }
        let structured = ToolResult { structured: Some(json!(1)), ..ToolResult::text("one") };
        assert_eq!(value_of(&structured), json!(1));
        let texts = ["a", "[]"].map(|text| ResultBlock::Text(text.into())).to_vec();
        let several = ToolResult { content: texts, ..ToolResult::text("") };
        assert_eq!(value_of(&several), json!(["a", []]));
        let done = ToolResult::of(ResultBlock::Done { who: "Acme".into(), status: 204 });
        assert_eq!(value_of(&done), json!("Done: Acme answered 204 No Content."));
    }

    #[test]
    fn remarks_stand_beside_the_data() {
        let cut = vec![Remark::Cut(r#"{"_more":"1 of 2 shown"}"#.into())];
        let result = ToolResult { remarks: cut, ..ToolResult::text("[1]") };
        assert_eq!(remarks_of(&result), [r#"{"_more":"1 of 2 shown"}"#]);
    }
}
