//! Tools that are code of the program, beside those of `tools.toml`.
//!
//! The author writes in code what a tool does; the operator writes in `tools.toml`, in a table of
//! the tool's name, who may use it and how much it may answer.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::file::ToolTable;
use super::super::findings::Findings;
use super::super::read::Named;
use super::super::span::{Span, Text};
use super::tool::{Limits, MAX_NAME_CHARS, title};
use super::{Surroundings, allow, face, provider};
use crate::model::credential::Credential;
use crate::model::declared_tool::{DeclaredNeed, DeclaredTool, MAX_DESCRIPTION_CHARS, ToolProblem};
use crate::model::face::{FaceNames, NamesAtFace};
use crate::model::hosts::Hosts;
use crate::model::tool::{ACCOUNT, Action, BUILT_IN_TOOLS, CodeAction, Input};
use crate::model::{Scopes, Tool, ToolName};

/// Tables in `[tools]` of tools that are code, by name.
pub(super) type Settings = HashMap<String, Box<ToolTable>>;

/// Takes the tables that belong to tools of the program out of `[tools]`: those without a request.
pub(super) fn settings(written: &mut Named<Box<ToolTable>>, code: &[DeclaredTool]) -> Settings {
    let is_of_code = |name: &Text, table: &ToolTable| {
        table.request.is_none() && code.iter().any(|declared| declared.name == name.value)
    };
    let (of_code, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut written.entries)
        .into_iter()
        .partition(|(name, table)| is_of_code(name, table));
    written.entries = rest;
    of_code.into_iter().map(|(name, table)| (name.value, table)).collect()
}

/// Lowers the tools. `own` are the names in `[tools]`.
pub(super) fn tools(
    code: &[DeclaredTool],
    mut settings: Settings,
    own: &[String],
    around: &mut Surroundings,
    find: &mut Findings<'_>,
) -> Vec<Tool> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let mut tools = Vec::with_capacity(code.len());
    for declared in code {
        let table = settings.remove(&declared.name);
        let span = table.as_ref().map(|table| table.span.clone());
        let folded = declared.name.to_ascii_lowercase();
        let of = if let Some(earlier) = seen.get(&folded) {
            Some(format!("another tool of this program, `{earlier}`"))
        } else {
            let own = own.iter().find(|own| own.eq_ignore_ascii_case(&folded));
            let own = own.map(|own| format!("the tool [tools.{own}] of tools.toml"));
            let built_in = || BUILT_IN_TOOLS.iter().any(|name| name.eq_ignore_ascii_case(&folded));
            own.or_else(|| built_in().then(|| "a tool of the server's own".to_owned()))
        };
        if let Some(of) = of {
            let tool = declared.name.clone();
            find.code(ToolProblem::NameTaken { tool, of }, span.as_ref());
            continue;
        }
        seen.insert(folded, &declared.name);
        if let Some(table) = &table {
            report_keys_of_code(&declared.name, table, find);
        }
        match tool(declared, table.as_deref(), around, find) {
            Ok(tool) => tools.extend(tool),
            Err(problem) => find.code(problem, span.as_ref()),
        }
    }
    tools
}

/// Reports keys of a table that the tool's code decides.
fn report_keys_of_code(name: &str, table: &ToolTable, find: &mut Findings<'_>) {
    let texts = [
        ("description", &table.description),
        ("provider", &table.provider),
        ("select", &table.select),
        ("error", &table.error),
        ("reply", &table.reply),
        ("effect", &table.effect),
    ];
    let texts =
        texts.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?.span.clone())));
    let whole = [
        ("scopes", table.scopes.is_some()),
        ("params", table.params.is_some()),
        ("query", table.query.is_some()),
        ("headers", table.headers.is_some()),
        ("body", table.body.is_some()),
        ("form", table.form.is_some()),
        ("output", table.output.is_some()),
        ("args", table.args.is_some()),
        ("should_summarize", table.should_summarize.is_some()),
        ("returns", table.returns.is_some()),
        ("tests", table.tests.is_some()),
    ];
    let whole = whole.into_iter().filter(|(_, is_there)| *is_there);
    let whole = whole.map(|(key, _)| (key, table.span.clone()));
    for (key, span) in texts.chain(whole) {
        let message = format!("`{key}` of `{name}` is in the tool's code");
        find.error("code::table", &span, message)
            .hint(format!("remove `{key}`, or change the code"));
    }
}

/// Lowers one tool; `None` if it is disabled.
fn tool(
    declared: &DeclaredTool,
    table: Option<&ToolTable>,
    around: &mut Surroundings,
    find: &mut Findings<'_>,
) -> Result<Option<Tool>, ToolProblem> {
    check(declared)?;
    let input = Input::of_schema(declared.input.clone());
    let input = input.ok_or_else(|| unfit(declared, "are no object with named properties"))?;
    let (provider, scopes, accounts) = match &declared.need {
        None => (None, Scopes::default(), false),
        Some(need) => need_of(declared, need, around, find)?,
    };
    if accounts && input.params().iter().any(|param| param.name == ACCOUNT) {
        return Err(unfit(declared, "have one called `account`, which names the user's account"));
    }
    let known = declared.need.as_ref().and_then(|need| around.providers.get(&need.provider));
    let made_title = || title(&declared.name, known.and_then(Option::as_ref));
    let written_title = table.and_then(|table| table.title.as_ref()).map(|text| text.value.clone());
    let limits = table.map(|table| Limits::read(table, around.max_chars, find));
    let timeout = table.and_then(|table| table.timeout.as_ref()).and(limits.as_ref());
    let action = CodeAction {
        timeout: timeout.map_or(declared.timeout, |limits| limits.timeout),
        max_chars: limits.map_or(around.max_chars, |limits| limits.max_chars),
        hosts: Hosts::new(&declared.hosts),
    };
    let allow = table.and_then(|table| table.allow.as_ref());
    let tool = Tool {
        name: ToolName::new(&*declared.name),
        title: written_title.or_else(|| declared.title.clone()).unwrap_or_else(made_title),
        description: declared.description.clone(),
        accounts,
        effect: declared.effect,
        idempotent: declared.idempotent,
        provider,
        scopes,
        action: Action::Code(action),
        allow: allow.map(|list| allow::allow(list, &around.callers, find)),
        output: output(&declared.output),
        faces: faces(declared, table, find),
        returns: declared.returns.clone(),
        confirm: None,
        input,
    };
    let is_disabled = table.and_then(|table| table.disabled.as_ref()).is_some_and(|it| it.value);
    Ok((!is_disabled).then_some(tool))
}

fn check(declared: &DeclaredTool) -> Result<(), ToolProblem> {
    let (name, chars) = (&declared.name, declared.description.chars().count());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() || name.len() > MAX_NAME_CHARS || !name.chars().all(is_plain) {
        return Err(ToolProblem::name(name));
    }
    if chars == 0 || chars > MAX_DESCRIPTION_CHARS {
        return Err(ToolProblem::InvalidToolDescription { tool: name.clone(), chars });
    }
    if declared.portia_id.as_deref().is_some_and(|id| !face::is_portia_id(id)) {
        return Err(ToolProblem::InvalidId { tool: name.clone() });
    }
    Ok(())
}

fn unfit(declared: &DeclaredTool, problem: &'static str) -> ToolProblem {
    ToolProblem::InvalidArguments { tool: declared.name.clone(), problem }
}

/// Returns the provider, its scopes as they are requested, and whether calls may name an account.
fn need_of(
    declared: &DeclaredTool,
    need: &DeclaredNeed,
    around: &mut Surroundings,
    find: &mut Findings<'_>,
) -> Result<(Option<crate::model::ProviderId>, Scopes, bool), ToolProblem> {
    let tool = || declared.name.clone();
    if !provider::exists(&need.provider, around) {
        let nearest = provider::nearest_to(&need.provider, around);
        let provider = need.provider.clone();
        return Err(ToolProblem::UnknownProvider { tool: tool(), provider, nearest });
    }
    provider::ensure(&Text::new(need.provider.clone(), Span::default()), around, find);
    // Its own table has a mistake, which is reported already.
    let Some(Some(known)) = around.providers.get(&need.provider) else {
        return Ok((None, Scopes::default(), false));
    };
    let has_scopes = matches!(known.provider.credential, Credential::OAuth(_));
    let scopes = known.scopes.apply_to(&need.scopes);
    let scopes = scopes.filter(|scopes| has_scopes || scopes.is_empty()).ok_or_else(|| {
        ToolProblem::InvalidScopes { tool: tool(), provider: need.provider.clone() }
    })?;
    Ok((Some(known.provider.id.clone()), scopes, known.provider.accounts))
}

/// Returns the schema of the result, if it is an object: clients refuse any other root.
fn output(schema: &Map<String, Value>) -> Option<Arc<Map<String, Value>>> {
    let is_object = schema.get("type").is_some_and(|kind| kind == "object");
    let is_plain = !schema.contains_key("$defs");
    (is_object && is_plain).then(|| {
        let mut schema = schema.clone();
        schema.retain(|key, _| key != "$schema" && key != "title");
        Arc::new(schema)
    })
}

fn faces(declared: &DeclaredTool, table: Option<&ToolTable>, find: &mut Findings<'_>) -> FaceNames {
    let ids = table.and_then(|table| table.ids.clone());
    let written = face::ids(ids, find);
    let portia = written.portia.id.or_else(|| declared.portia_id.clone());
    FaceNames { portia: NamesAtFace { id: portia, args: Vec::new() }, ..written }
}
