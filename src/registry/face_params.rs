//! Parameters of tools under the names that another product's contract has for them.

use serde_json::{Map, Value};

use super::schema::{account, is_required, schema_of, with_account};
use crate::model::arguments::Mismatch;
use crate::model::face::{Face, NamesAtFace, RenamedParams};
use crate::model::text::nearest;
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
                match &mut problem.mismatch {
                    // The name is the client's own, and no parameter.
                    Mismatch::Unknown { nearest, known } => {
                        rename_known(names, &problem.name, nearest, known);
                    }
                    mismatch => {
                        let renamed = names.args.iter().find(|it| it.ours.contains(&problem.name));
                        let Some(RenamedParams { ours, theirs }) = renamed else { continue };
                        problem.name.clone_from(theirs);
                        if let (Mismatch::Missing { description, .. }, 2..) = (mismatch, ours.len())
                        {
                            *description = Some(format!("Written as `{}`", ours.join("/")));
                        }
                    }
                }
            }
            // Two parameters that the contract joins are one missing argument to its clients.
            let mut told: Vec<String> = Vec::new();
            problems.retain(|problem| {
                let is_missing = matches!(problem.mismatch, Mismatch::Missing { .. });
                let is_told = is_missing && told.contains(&problem.name);
                if is_missing {
                    told.push(problem.name.clone());
                }
                !is_told
            });
            InvalidArguments::Unfit { tool, problems }
        }
        InvalidArguments::TooLarge(_) | InvalidArguments::NotAnObject { .. } => problem,
    }
}

/// Gives the parameters of a tool, among which an unknown name is not, their names in a contract.
fn rename_known(
    names: &NamesAtFace,
    written: &str,
    near: &mut Option<String>,
    known: &mut Vec<String>,
) {
    let theirs = |ours: &str| names.to_theirs(ours).to_owned();
    let mut shown: Vec<String> = Vec::with_capacity(known.len());
    for name in known.iter().map(|name| theirs(name)) {
        // Two parameters that are joined have one name.
        if !shown.contains(&name) {
            shown.push(name);
        }
    }
    let similar = nearest(written, shown.iter().map(String::as_str)).map(str::to_owned);
    *near = similar.or_else(|| near.as_deref().map(theirs));
    *known = shown;
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
