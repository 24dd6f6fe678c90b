//! `[tools.*]`

use std::collections::HashMap;
use std::time::Duration;

use super::super::file::face::ReturnsTable;
use super::super::file::{ParamEntry, ToolTable};
use super::super::findings::Findings;
use super::super::read::Named;
use super::super::span::{At, Span, Text};
use super::param::{Params, Unplaced};
use super::provider::Known;
use super::request::{Base, Line};
use super::{
    Depth, Surroundings, allow, body, choice, example, face, jq, output, provider, request, server,
    template, within,
};
use crate::model::credential::Credential;
use crate::model::tool::{
    ACCOUNT, Action, BUILT_IN_TOOLS, Body, Effect, Filter, HttpAction, Input, Method, Node,
    Returns, Template,
};
use crate::model::{Scopes, Tool, ToolName};

const EFFECTS: [(&str, Effect); 3] =
    [("read", Effect::Read), ("write", Effect::Write), ("destroy", Effect::Destroy)];
/// Timeout of a request in seconds.
const DEFAULT_TIMEOUT_SECONDS: u64 = 30;
/// Characters of a tool's name; a longer one is an error. The limit of the model APIs:
/// `^[a-zA-Z0-9_-]{1,64}$`.
pub(super) const MAX_NAME_CHARS: usize = 64;

/// Lowers one tool; `None` if it is disabled or cannot be used.
pub(super) fn tool(
    name: &Text,
    mut table: Box<ToolTable>,
    around: &mut Surroundings,
    find: &mut Findings<'_>,
) -> Option<Tool> {
    check_name(name, find);
    check_filters(&table, around.depth, find);
    check_conflicts(&table, find);
    // The parameters may be in a part that could not be read.
    let damaged = find.may_be_there(&table.span, "params");
    report_missing(&table, find);
    let id = table.provider.as_ref().inspect(|id| provider::ensure(id, around, find));
    let known = id.and_then(|id| around.providers.get(id.as_str())).and_then(Option::as_ref);
    let is_disabled = table.is_disabled();
    let base = base(&table, known, find);
    let limits = Limits::read(&table, around.max_chars, find);
    let scopes = scopes(&table, known, find);
    let accounts = known.is_some_and(|known| known.provider.accounts);
    if accounts {
        report_taken(table.params.as_ref(), find);
    }
    let params = table.params.take().unwrap_or_default();
    let mut params = Params::read(name, params, damaged, find);
    let call = WrittenCall::take(&mut table, base, &mut params, find);
    let effect = table.effect.as_ref().and_then(|text| choice(text, &EFFECTS, find));
    let allow = table.allow.as_ref().map(|list| allow::allow(list, &around.callers, find));
    let faces = face::names(table.ids, table.args, &params, find);
    let returns = returns(table.returns, table.should_summarize);
    let output = table.output.as_ref().and_then(|tree| output::output(tree, around.depth, find));
    if around.depth == Depth::Check {
        example::check(table.tests.as_deref().unwrap_or_default(), &params, find);
    }
    let action = call.into_action(&limits, &mut params, find)?;
    if is_disabled {
        return None;
    }
    let effect = effect.unwrap_or(action.method.effect());
    // Some APIs act on a GET; to repeat it may repeat what it does.
    let acts_on_read = action.method.effect() == Effect::Read && effect != Effect::Read;
    Some(Tool {
        title: table.title.map_or_else(|| title(name.as_str(), known), |title| title.value),
        description: table.description?.value,
        effect,
        idempotent: action.method.is_idempotent() && !acts_on_read,
        accounts,
        provider: known.map(|known| known.provider.id.clone()),
        scopes,
        allow,
        output,
        faces,
        returns,
        confirm: None,
        input: Input::Params(params.into_list()),
        name: ToolName::new(name.value.clone()),
        action: Action::Http(action),
    })
}

/// The request and what is made of its response, as written.
struct WrittenCall {
    /// `None` if the request line is missing or wrong.
    line: Option<Line>,
    query: Vec<(String, Template)>,
    headers: Vec<(String, Template)>,
    body: Written,
    reply: Option<Template>,
    select: Option<Text>,
    error: Option<Text>,
}

impl WrittenCall {
    /// Reads everything that mentions parameters, even if the request line is wrong: only then is
    /// it known which parameters are left over.
    fn take(
        table: &mut ToolTable,
        base: Base<'_>,
        params: &mut Params,
        find: &mut Findings<'_>,
    ) -> Self {
        let line = table.request.as_ref().and_then(|text| request::line(text, base, params, find));
        let query = body::fields(table.query.take().unwrap_or_default(), params, find);
        let headers = body::headers(table.headers.take().unwrap_or_default(), params, find);
        let body = written_body(table.body.take(), table.form.take(), line.as_ref(), params, find);
        let reply = table.reply.take().map(|text| template::template(&text, params, find));
        let (select, error) = (table.select.take(), table.error.take());
        Self { line, query, headers, body, reply, select, error }
    }

    fn into_action(
        self,
        limits: &Limits,
        params: &mut Params,
        find: &mut Findings<'_>,
    ) -> Option<HttpAction> {
        let line = self.line?;
        let (query, body) = place(&line, self.query, self.body, params, find);
        Some(HttpAction {
            method: line.method,
            origin: line.origin,
            path: line.path,
            query,
            headers: self.headers,
            body,
            select: self.select.map(|text| filter(text, find)),
            error: self.error.map(|text| filter(text, find)),
            reply: self.reply,
            timeout: limits.timeout,
            max_chars: limits.max_chars,
            is_untrusted: false,
        })
    }
}

/// Compiles the tool's filters for `check`; a server compiles each when its tool is first called.
fn check_filters(table: &ToolTable, depth: Depth, find: &mut Findings<'_>) {
    if depth == Depth::Check {
        for filter in [&table.select, &table.error].into_iter().flatten() {
            jq::check(filter, find);
        }
    }
}

fn returns(written: Option<ReturnsTable>, should_summarize: Option<At<bool>>) -> Returns {
    let ReturnsTable { kind, description, .. } = written.unwrap_or_default();
    Returns {
        kind: kind.map(|text| text.value),
        description: description.map(|text| text.value),
        should_summarize: should_summarize.is_some_and(|it| it.value),
    }
}

fn report_missing(table: &ToolTable, find: &mut Findings<'_>) {
    if table.description.as_ref().is_none_or(|text| text.value.trim().is_empty()) {
        let place = table.description.as_ref().map_or(&table.span, |text| &text.span);
        find.missing(
            place,
            "description",
            "say in a sentence what it does and when to use it: models choose tools by that",
        );
    }
    if table.request.is_none() {
        find.missing(&table.span, "request", "e.g. `request = \"GET /search\"`");
    }
}

/// Returns what the tool's request line is relative to.
fn base<'k>(table: &ToolTable, known: Option<&'k Known>, find: &Findings<'_>) -> Base<'k> {
    match (&table.provider, known) {
        // The tool has a provider, under a misspelt key.
        (None, _) if find.may_be_there(&table.span, "provider") => Base::Wrong,
        (None, _) => Base::Nothing,
        (Some(_), Some(known)) => Base::Provider(known.api()),
        (Some(_), None) => Base::Wrong,
    }
}

/// Limits of one tool.
pub(super) struct Limits {
    pub(super) timeout: Duration,
    pub(super) max_chars: usize,
}

impl Limits {
    /// `max_chars` is the server's limit, for tools that set none.
    pub(super) fn read(table: &ToolTable, max_chars: usize, find: &mut Findings<'_>) -> Self {
        let timeout = table.timeout.as_ref();
        let timeout =
            timeout.and_then(|given| u64::try_from(within("timeout", 1..=120, given, find)?).ok());
        let own = table.max_chars.as_ref().and_then(|given| server::max_chars(given, find));
        Self {
            timeout: Duration::from_secs(timeout.unwrap_or(DEFAULT_TIMEOUT_SECONDS)),
            max_chars: own.unwrap_or(max_chars),
        }
    }
}

fn filter(text: Text, find: &Findings<'_>) -> Filter {
    let line = find.line(text.span.start);
    Filter::new(text.value, line)
}

fn scopes(table: &ToolTable, known: Option<&Known>, find: &mut Findings<'_>) -> Scopes {
    let written = table.scopes.as_deref().unwrap_or_default();
    let Some(known) = known else {
        if let (Some(first), None) = (written.first(), &table.provider)
            && !find.may_be_there(&table.span, "provider")
        {
            find.error("tool::scopes", &first.span, "scopes without a provider")
                .hint("name the `provider` that grants them");
        }
        return Scopes::default();
    };
    let without = match known.provider.credential {
        Credential::OAuth(_) => None,
        Credential::Shared(_) | Credential::Asked(_) => Some("a key or password has no scopes"),
    };
    if let (Some(message), Some(first)) = (without, written.first()) {
        find.error("tool::scopes", &first.span, message).hint("remove `scopes`");
    }
    known.scopes.apply(written, find)
}

/// Reports parameters called `account`, which the model could not distinguish from the one that the
/// provider's `accounts` adds.
fn report_taken(params: Option<&Named<ParamEntry>>, find: &mut Findings<'_>) {
    for (key, _) in params.into_iter().flat_map(|params| &params.entries) {
        if key.value == ACCOUNT {
            find.error(
                "param::account",
                &key.span,
                format!("`{ACCOUNT}` says which of the person's accounts to act with"),
            )
            .label("taken by `accounts = true` of the provider")
            .hint("choose another name and say with `as` what the API calls it");
        }
    }
}

/// The body, as written in the file.
enum Written {
    Nothing,
    Json(Node),
    Form(Vec<(String, Template)>),
}

fn written_body(
    body: Option<super::super::read::Tree>,
    form: Option<Named<super::super::read::Tree>>,
    line: Option<&Line>,
    params: &mut Params,
    find: &mut Findings<'_>,
) -> Written {
    let span = body.as_ref().map(|body| &body.span).or(form.as_ref().map(|form| &form.span));
    if let (Some(span), Some(line)) = (span, line)
        && matches!(line.method, Method::Get | Method::Head)
    {
        find.error("tool::body", span, format!("{} has no body", line.method.as_str()))
            .hint("use `query`, or another method");
    }
    match (body, form) {
        (Some(tree), _) => Written::Json(body::node(tree, params, find)),
        (None, Some(form)) => Written::Form(body::fields(form, params, find)),
        (None, None) => Written::Nothing,
    }
}

/// Places the parameters that the request does not mention: into the query, the JSON body, or a
/// form that was left empty for them.
fn place(
    line: &Line,
    fixed: Vec<(String, Template)>,
    written: Written,
    params: &mut Params,
    find: &mut Findings<'_>,
) -> (Vec<(String, Template)>, Body) {
    let unplaced = params.unplaced(find);
    let mut query = line.query.clone();
    query.extend(fixed);
    let body = match written {
        Written::Json(node) => {
            report_stray(&unplaced, "body", find);
            Body::Json(node)
        }
        Written::Form(fields) if !fields.is_empty() => {
            report_stray(&unplaced, "form", find);
            Body::Form(fields)
        }
        Written::Form(mut fields) => {
            report_same_wire(&unplaced, &fields, find);
            fields
                .extend(unplaced.iter().map(|param| (param.wire.value.clone(), param.template())));
            Body::Form(fields)
        }
        Written::Nothing if line.method.has_body() => {
            report_same_wire(&unplaced, &[], find);
            let entries =
                unplaced.into_iter().map(|param| (param.wire.value, Node::Param(param.name)));
            let entries: Vec<_> = entries.collect();
            if entries.is_empty() { Body::None } else { Body::Json(Node::Table(entries)) }
        }
        Written::Nothing => {
            report_same_wire(&unplaced, &query, find);
            query.extend(unplaced.iter().map(|param| (param.wire.value.clone(), param.template())));
            Body::None
        }
    };
    (query, body)
}

fn report_stray(unplaced: &[Unplaced], place: &str, find: &mut Findings<'_>) {
    for param in unplaced {
        let name = &param.key.value;
        find.error("param::unused", &param.key.span, format!("`{name}` goes nowhere"))
            .label("not in the request")
            .hint(format!("put `{{{name}}}` into `{place}`: with a `{place}` of its own, the request takes only what it names"));
    }
}

/// Reports two values under one name, of which the API would see only one.
fn report_same_wire(unplaced: &[Unplaced], taken: &[(String, Template)], find: &mut Findings<'_>) {
    for (index, param) in unplaced.iter().enumerate() {
        let wire = param.wire.as_str();
        let twice = unplaced.iter().take(index).any(|earlier| earlier.wire.value == wire)
            || taken.iter().any(|(name, _)| name == wire);
        if twice {
            find.error("param::twice", &param.wire.span, format!("`{wire}` is sent twice"))
                .label("second time")
                .hint("give one of the two another name with `as`");
        }
    }
}

fn check_conflicts(table: &ToolTable, find: &mut Findings<'_>) {
    let conflict = |span: &Span, message: &str, hint: &str, find: &mut Findings<'_>| {
        find.error("tool::conflict", span, message).hint(hint);
    };
    if let (Some(reply), Some(_)) = (&table.reply, &table.select) {
        conflict(
            &reply.span,
            "`reply` and `select` both say what the answer is",
            "keep one of them",
            find,
        );
    }
    if let (Some(reply), Some(_)) = (&table.reply, &table.output) {
        conflict(
            &reply.span,
            "`reply` is a text and has no `output` schema",
            "keep one of them",
            find,
        );
    }
    if let (Some(_), Some(form)) = (&table.body, &table.form) {
        conflict(&form.span, "`body` and `form` are both the body", "keep one of them", find);
    }
}

fn check_name(name: &Text, find: &mut Findings<'_>) {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.value.chars().all(is_plain) || name.value.is_empty() {
        let plain = name.value.replace(|c| !is_plain(c), "_");
        let draft = find.error(
            "tool::name",
            &name.span,
            "a tool's name has letters, digits, `_` and `-` only",
        );
        if name.value.contains('.') {
            draft.hint(format!("a tool's name has no dot: write [tools.{plain}]"));
        } else {
            draft.hint("models and hosts refuse every other character");
        }
    } else if name.value.len() > MAX_NAME_CHARS {
        find.error(
            "tool::name",
            &name.span,
            format!("a tool's name has at most {MAX_NAME_CHARS} characters"),
        )
        .hint("shorten it; 40 is a good limit");
    } else if BUILT_IN_TOOLS.iter().any(|own| name.value.eq_ignore_ascii_case(own)) {
        find.error(
            "tool::name",
            &name.span,
            format!("`{}` is the name of a built-in tool", name.value),
        )
        .label("taken")
        .hint(format!("choose another one, such as `my_{}`", name.value));
    }
}

/// Reports names that differ in case only, which hosts and people do not distinguish.
pub(super) fn report_names_alike(tools: &Named<Box<ToolTable>>, find: &mut Findings<'_>) {
    let mut seen: HashMap<String, &str> = HashMap::with_capacity(tools.entries.len());
    for (name, _) in &tools.entries {
        if let Some(earlier) = seen.insert(name.value.to_ascii_lowercase(), name.as_str()) {
            find.error(
                "tool::name",
                &name.span,
                format!("`{}` and `{earlier}` differ by case only", name.value),
            )
            .hint("rename one of the two");
        }
    }
}

/// Makes a title from a tool's name: `GitHub: star repo` from `github_star_repo`, or just the words
/// if the tool has no provider or its name does not begin with the provider's id.
pub(super) fn title(name: &str, known: Option<&Known>) -> String {
    let provider = known.map(|known| &*known.provider);
    let own = provider.and_then(|provider| {
        let rest = name.strip_prefix(provider.id.as_str())?.strip_prefix(['_', '-'])?;
        (!rest.is_empty()).then(|| format!("{}: {}", provider.title, words(rest)))
    });
    own.unwrap_or_else(|| {
        let words = words(name);
        let mut letters = words.chars();
        let first = letters.next().map(char::to_uppercase);
        first.map_or_else(String::new, |first| first.chain(letters).collect())
    })
}

fn words(name: &str) -> String {
    name.replace(['_', '-'], " ").trim().to_owned()
}
