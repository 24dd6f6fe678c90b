//! Names that other products' contracts have for a tool and its parameters.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A product whose REST contract is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    Arcade,
    Portia,
}

/// A tool's names in each contract.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaceNames {
    pub arcade: NamesAtFace,
    pub portia: NamesAtFace,
}

/// A tool's names in one contract.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamesAtFace {
    /// The tool's id; `None`: made from its name.
    pub id: Option<String>,
    /// Parameters with another name there.
    pub args: Vec<RenamedParams>,
}

/// Parameters with another name in a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenamedParams {
    /// One parameter, or two whose values the contract joins with `/`.
    pub ours: Vec<String>,
    pub theirs: String,
}

impl FaceNames {
    /// Returns the names in this contract.
    pub fn at(&self, face: Face) -> &NamesAtFace {
        match face {
            Face::Arcade => &self.arcade,
            Face::Portia => &self.portia,
        }
    }
}

impl NamesAtFace {
    /// Gives arguments our names. An argument that also has our name keeps that value. Of a value
    /// that stands for two parameters, the second gets what follows the first `/`; a value without
    /// one is the first, or the second if the first is there under our name.
    pub fn to_ours(&self, mut arguments: Map<String, Value>) -> Map<String, Value> {
        // All are taken out first: one parameter's name may be the contract's for another.
        let taken: Vec<_> =
            self.args.iter().map(|it| (&it.ours, arguments.remove(&it.theirs))).collect();
        for (ours, value) in taken {
            match (ours.as_slice(), value) {
                ([first, second], Some(Value::String(text))) => {
                    let (before, after) = match text.split_once('/') {
                        Some((before, after)) => (Some(before), Some(after)),
                        None if arguments.contains_key(first) => (None, Some(text.as_str())),
                        None => (Some(text.as_str()), None),
                    };
                    for (name, value) in [(first, before), (second, after)] {
                        if let Some(value) = value {
                            arguments.entry(name.as_str()).or_insert_with(|| value.into());
                        }
                    }
                }
                ([first, ..], Some(value)) => {
                    arguments.entry(first.as_str()).or_insert(value);
                }
                ([], _) | (_, None) => {}
            }
        }
        arguments
    }

    /// Returns the contract's name for a parameter.
    pub fn to_theirs<'a>(&'a self, ours: &'a str) -> &'a str {
        let renamed = self.args.iter().find(|it| it.ours.iter().any(|name| name == ours));
        renamed.map_or(ours, |it| &it.theirs)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(args: &[(&[&str], &str)]) -> NamesAtFace {
        let args = args.iter().map(|(ours, theirs)| RenamedParams {
            ours: ours.iter().map(|&name| name.to_owned()).collect(),
            theirs: (*theirs).to_owned(),
        });
        NamesAtFace { id: None, args: args.collect() }
    }

    fn to_ours(names: &NamesAtFace, arguments: Value) -> Value {
        let Value::Object(arguments) = arguments else { panic!("an object") };
        Value::Object(names.to_ours(arguments))
    }

    #[test]
    fn a_joined_value_is_the_second_one_where_the_first_is_there() {
        let names = names(&[(&["owner", "repo"], "repo")]);
        let both = json!({"owner": "ana", "repo": "notes"});
        assert_eq!(to_ours(&names, both.clone()), both);
        assert_eq!(to_ours(&names, json!({"repo": "ana/notes"})), both);
        assert_eq!(to_ours(&names, json!({"repo": "ana"})), json!({"owner": "ana"}));
    }

    #[test]
    fn an_argument_is_renamed_and_ours_wins() {
        let names = names(&[(&["limit"], "n_emails")]);
        assert_eq!(to_ours(&names, json!({"n_emails": 5})), json!({"limit": 5}));
        assert_eq!(to_ours(&names, json!({"n_emails": 5, "limit": 3})), json!({"limit": 3}));
        assert_eq!(to_ours(&names, json!({"other": 1})), json!({"other": 1}));
        assert_eq!(names.to_theirs("limit"), "n_emails");
        assert_eq!(names.to_theirs("page"), "page");
    }

    /// `{a: "b", b: "a"}` must not lose a value on the way.
    #[test]
    fn names_that_are_exchanged_keep_their_values() {
        let pairs: [(&[&str], &str); 2] = [(&["text"], "body"), (&["body"], "raw")];
        let given = json!({"body": "hello", "raw": "bytes"});
        for pairs in [pairs, [pairs[1], pairs[0]]] {
            let renamed = to_ours(&names(&pairs), given.clone());
            assert_eq!(renamed, json!({"text": "hello", "body": "bytes"}));
        }
    }

    #[test]
    fn a_joined_argument_is_split_at_the_first_slash() {
        let names = names(&[(&["owner", "repo"], "repo")]);
        for (given, expected) in [
            (json!({"repo": "rust-lang/rust"}), json!({"owner": "rust-lang", "repo": "rust"})),
            (json!({"repo": "a/b/c"}), json!({"owner": "a", "repo": "b/c"})),
            (json!({"repo": "rust"}), json!({"owner": "rust"})),
            (json!({"repo": "x/rust", "owner": "y"}), json!({"owner": "y", "repo": "rust"})),
            (json!({"repo": 7}), json!({"owner": 7})),
        ] {
            assert_eq!(to_ours(&names, given.clone()), expected, "{given}");
        }
        assert_eq!(names.to_theirs("owner"), "repo");
    }
}
