//! Parameters of tools under the names that another product's contract has for them.

use serde_json::{Map, Value};

use super::schema::{account, is_required, schema_of, with_account};
use crate::model::face::{Face, RenamedParams};
use crate::model::tool::{Input, Kind, Param};
use crate::model::{InvalidArguments, Tool};

/// Returns the parameters that clients of a contract are shown. The account is the last one, if the
/// tool takes it. Two parameters with one name in the contract become one text.
pub fn face_params(tool: &Tool, face: Face) -> Vec<Param> {
    let params = tool.input.params();
    let account = tool.accounts.then(account);
    let renamed = &tool.faces.at(face).args;
    let mut shown: Vec<Param> = Vec::with_capacity(params.len());
    for param in params.iter().cloned().chain(account) {
        match renamed.iter().find(|it| it.ours.contains(&param.name)) {
            None => shown.push(param),
            Some(RenamedParams { ours, theirs }) if ours.len() == 1 => {
                shown.push(Param { name: theirs.clone(), ..param });
            }
            Some(joined) => match shown.iter_mut().find(|it| it.name == joined.theirs) {
                None => shown.push(first_of(joined, &param)),
                Some(first) => {
                    first.required |= is_required(&param);
                    let described = first.description.iter().cloned().chain(described(&param));
                    first.description = Some(described.collect::<Vec<_>>().join(" "));
                }
            },
        }
    }
    shown
}

/// Returns the JSON Schema of a tool's arguments under the names of a contract.
pub fn face_schema(tool: &Tool, face: Face) -> Map<String, Value> {
    match &tool.input {
        Input::Params(_) => schema_of(&face_params(tool, face).iter().collect::<Vec<_>>()),
        Input::Schema(input) => {
            let account = tool.accounts.then(account);
            renamed(with_account(input.schema(), account.as_ref()), tool, face)
        }
    }
}

/// Gives the properties of a whole schema their names in a contract.
fn renamed(mut schema: Map<String, Value>, tool: &Tool, face: Face) -> Map<String, Value> {
    let names = tool.faces.at(face);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let theirs =
            |(name, property): (String, Value)| (names.to_theirs(&name).to_owned(), property);
        *properties = std::mem::take(properties).into_iter().map(theirs).collect();
    }
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        for name in required {
            if let Some(theirs) = name.as_str().map(|name| names.to_theirs(name).to_owned()) {
                *name = theirs.into();
            }
        }
    }
    schema
}

/// Gives the problems of arguments the names of a contract.
pub fn face_problems(tool: &Tool, face: Face, problem: InvalidArguments) -> InvalidArguments {
    let names = tool.faces.at(face);
    match problem {
        InvalidArguments::Unfit { tool, mut problems } => {
            for problem in &mut problems {
                problem.name = names.to_theirs(&problem.name).to_owned();
            }
            InvalidArguments::Unfit { tool, problems }
        }
        InvalidArguments::TooLarge(_) | InvalidArguments::NotAnObject { .. } => problem,
    }
}

/// The first of two parameters that are joined.
fn first_of(RenamedParams { ours, theirs }: &RenamedParams, param: &Param) -> Param {
    let written = format!("Written as `{}`.", ours.join("/"));
    let description = [written].into_iter().chain(described(param)).collect::<Vec<_>>().join(" ");
    Param {
        name: theirs.clone(),
        description: Some(description),
        kind: Kind::String,
        required: is_required(param),
        default: None,
        choices: Vec::new(),
        min: None,
        max: None,
    }
}

fn described(param: &Param) -> Option<String> {
    let description = param.description.as_ref()?;
    Some(format!("`{}`: {}.", param.name, description.trim_end_matches('.')))
}
