//! The outcome of a `tools/call`, in every dialect.

use serde_json::Value;

/// The three ways of asking for a consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// An `isError` text with a link.
    Text,
    /// Error -32042.
    Error,
    /// A result that requires input.
    Input,
}

#[derive(Debug)]
pub enum Answer {
    /// The tool ran; its text.
    Ran(String),
    /// `isError` without a link.
    Failed(String),
    Asked(Prompt),
    /// A round that carries only its `requestState`.
    Waiting(String),
    /// A JSON-RPC error, other than -32042.
    Refused {
        code: i64,
        message: String,
    },
}

/// A request for consent.
#[derive(Clone, Debug)]
pub struct Prompt {
    pub way: Way,
    pub url: String,
    /// Text for the model or the user.
    pub message: String,
    /// With [`Way::Error`].
    pub elicitation: Option<String>,
    /// With [`Way::Input`]: the name of the one request.
    pub request: Option<String>,
    pub state: Option<String>,
}

impl Answer {
    pub fn of(message: &Value) -> Self {
        if let Some(error) = message.get("error") {
            return Self::of_error(error);
        }
        let result = &message["result"];
        if result["resultType"] == "input_required" {
            return Self::of_round(result);
        }
        let texts: Vec<&str> = result["content"]
            .as_array()
            .unwrap_or_else(|| panic!("neither content nor anything else: {message}"))
            .iter()
            .filter_map(|block| block["text"].as_str())
            .collect();
        if result["isError"] != true {
            return Self::Ran(texts.join("\n"));
        }
        let [words, machine] = texts[..] else { return Self::Failed(texts.join("\n")) };
        let machine: Value = serde_json::from_str(machine).expect("the second block is JSON");
        let url = text(&machine["authorization_url"]);
        assert!(words.contains(&url), "the link must stand in the text: {words}");
        for key in ["message", "llm_instructions"] {
            assert!(!text(&machine[key]).is_empty(), "{key} is empty");
        }
        Self::Asked(Prompt {
            way: Way::Text,
            url,
            message: words.into(),
            elicitation: None,
            request: None,
            state: None,
        })
    }

    fn of_error(error: &Value) -> Self {
        if error["code"] != -32042 {
            let code = error["code"].as_i64().expect("an error has a code");
            return Self::Refused { code, message: text(&error["message"]) };
        }
        let elicitations = error["data"]["elicitations"].as_array().expect("elicitations");
        let [elicitation] = &elicitations[..] else { panic!("not one elicitation: {error}") };
        assert_eq!(elicitation["mode"], "url");
        Self::Asked(Prompt {
            way: Way::Error,
            url: text(&elicitation["url"]),
            message: text(&elicitation["message"]),
            elicitation: Some(text(&elicitation["elicitationId"])),
            request: None,
            state: None,
        })
    }

    fn of_round(result: &Value) -> Self {
        let state = text(&result["requestState"]);
        let Some(requests) = result["inputRequests"].as_object() else {
            return Self::Waiting(state);
        };
        assert_eq!(requests.len(), 1, "not one request: {result}");
        let (name, request) = requests.iter().next().expect("one request");
        assert_eq!(request["method"], "elicitation/create");
        assert_eq!(request["params"]["mode"], "url");
        Self::Asked(Prompt {
            way: Way::Input,
            url: text(&request["params"]["url"]),
            message: text(&request["params"]["message"]),
            elicitation: None,
            request: Some(name.clone()),
            state: Some(state),
        })
    }

    #[track_caller]
    pub fn ran(self) -> String {
        match self {
            Self::Ran(text) => text,
            other => panic!("the tool did not run: {other:?}"),
        }
    }

    #[track_caller]
    pub fn failed(self) -> String {
        match self {
            Self::Failed(text) => text,
            other => panic!("not a failure: {other:?}"),
        }
    }

    #[track_caller]
    pub fn asked(self) -> Prompt {
        match self {
            Self::Asked(prompt) => prompt,
            other => panic!("no consent was asked for: {other:?}"),
        }
    }
}

#[track_caller]
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}
