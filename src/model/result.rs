//! Results of tools, as data. Each face writes its own words from them.

use serde_json::Value;

/// Data that a tool returns.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    /// Blocks that the client shows, in order.
    pub content: Vec<ResultBlock>,
    /// The content's data as JSON, where the tool has an output schema.
    pub structured: Option<Value>,
    /// Remarks about the data that are not part of it.
    pub remarks: Vec<Remark>,
    /// The API whose data the content is, verbatim: its host, and the port if it is not the scheme's
    /// default. `None` if the content is ours.
    pub host: Option<String>,
    /// Set if the data is not what the tool's output schema promises. It is still shown: the
    /// request has succeeded, and a model that sees no data would repeat it.
    pub unfit: Option<Unfit>,
}

/// A block of a result's content.
///
/// An image, or a resource of another server, becomes a variant here. Each face renders a block in
/// one match: `words/result.rs` for words, and `mcp/render/result.rs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultBlock {
    Text(String),
    /// The API has done it and returned no data. `who` is the API: the provider's title, or the
    /// host; `status` the HTTP status.
    Done {
        who: String,
        status: u16,
    },
}

/// A remark about the data of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// The JSON had these faults, each once, and was read without the faulty parts.
    Repaired(Vec<JsonFault>),
    /// It is declared as JSON, is not valid, and so is shown as a text.
    ShownAsText(InvalidJson),
    /// How much was cut and how to get the rest, as a JSON object. It is no value here, since its
    /// length counts as part of the tool's `max_chars`.
    Cut(String),
}

/// A fault in JSON that can be repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonFault {
    /// Half of a surrogate pair (RFC 8259 §8.2).
    Surrogate,
    /// Bytes that are not UTF-8 (RFC 8259 §8.1).
    Encoding,
    /// An unescaped control character (RFC 8259 §7).
    Control,
    /// An escape that JSON does not define.
    Escape,
    /// `NaN`, `Infinity`.
    NotANumber,
    /// A number beyond the range of a double.
    Range,
    /// A prefix that some services write before JSON, so that it cannot run as a script.
    Prefix,
}

/// Why a text is not valid JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidJson {
    Incomplete,
    /// The parser's message, which quotes nothing.
    Syntax(String),
}

/// Data that does not match the tool's output schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    pub problem: Misfit,
    /// Advice for the server's operator, as in [`Failure`](super::Failure).
    pub for_operator: Option<String>,
}

/// Why data does not match an output schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// The mismatch and its place, without the value.
    Schema(String),
    /// It matches, but not once it is cut to this many characters.
    Cut(usize),
}

/// Characters that frame an API's text, and are removed from the text itself.
pub const FRAME: [char; 2] = ['⟦', '⟧'];

impl ToolResult {
    /// A text without structured data, remarks and host.
    pub fn text(text: impl Into<String>) -> Self {
        Self::of(ResultBlock::Text(text.into()))
    }

    /// Returns the text of a result that is one text.
    pub fn into_text(self) -> Option<String> {
        match <[ResultBlock; 1]>::try_from(self.content) {
            Ok([ResultBlock::Text(text)]) => Some(text),
            Ok([ResultBlock::Done { .. }]) | Err(_) => None,
        }
    }

    /// One block without structured data, remarks and host.
    pub fn of(block: ResultBlock) -> Self {
        let (content, remarks) = (vec![block], Vec::new());
        Self { content, structured: None, remarks, host: None, unfit: None }
    }
}
