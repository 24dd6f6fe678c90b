//! `params`: what the model fills in.

use serde_json::Value as Json;

use super::super::file::{ParamEntry, ParamTable};
use super::super::findings::Findings;
use super::super::read::{Named, Tree};
use super::super::span::{Span, Text};
use super::choice;
use crate::model::text::nearest;
use crate::model::tool::{Item, Kind, Param, Piece, Template};

const KINDS: [(&str, Kind); 6] = [
    ("string", Kind::String),
    ("integer", Kind::Integer),
    ("number", Kind::Number),
    ("boolean", Kind::Boolean),
    ("object", Kind::Object),
    ("array", Kind::Array(Item::String)),
];

const ITEMS: [(&str, Item); 5] = [
    ("string", Item::String),
    ("integer", Item::Integer),
    ("number", Item::Number),
    ("boolean", Item::Boolean),
    ("object", Item::Object),
];

/// The parameters of one tool, and which of them the request mentions.
pub(super) struct Params {
    /// Name of the tool; `None` if there are no arguments.
    tool: Option<String>,
    slots: Vec<Slot>,
    /// Parameters may be in a part that could not be read.
    lenient: bool,
}

struct Slot {
    param: Param,
    key: Text,
    wire: Option<Text>,
    mentioned: bool,
}

/// A parameter that the request does not mention. It goes into the query, the JSON body or an empty
/// form.
pub(super) struct Unplaced {
    pub(super) name: String,
    pub(super) key: Text,
    /// The name in the request, and its position in the source.
    pub(super) wire: Text,
}

impl Unplaced {
    pub(super) fn template(&self) -> Template {
        Template(vec![Piece::Param(self.name.clone())])
    }
}

impl Params {
    pub(super) fn read(
        tool: &Text,
        table: Named<ParamEntry>,
        damaged: bool,
        find: &mut Findings<'_>,
    ) -> Self {
        let slots =
            table.entries.into_iter().filter_map(|(key, entry)| slot(key, entry, find)).collect();
        Self { tool: Some(tool.value.clone()), slots, lenient: damaged }
    }

    /// Returns no parameters, for texts that take no placeholders.
    pub(super) fn none() -> Self {
        Self { tool: None, slots: Vec::new(), lenient: false }
    }

    /// Notes that a placeholder names this parameter; reports one that does not exist.
    pub(super) fn mention(&mut self, name: &str, span: &Span, find: &mut Findings<'_>) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.param.name == name) {
            slot.mentioned = true;
            return;
        }
        if self.lenient {
            return;
        }
        let Some(tool) = &self.tool else {
            find.error("tool::placeholder", span, format!("no argument reaches `{{{name}}}`"))
                .label("not in a tool")
                .hint(format!("write `{{{{{name}}}}}` for the text itself"));
            return;
        };
        let message = format!("`{{{name}}}` is not a parameter of `{tool}`");
        let draft = find.error("tool::placeholder", span, message).label("no such parameter");
        match nearest(name, self.slots.iter().map(|slot| slot.param.name.as_str())) {
            Some(near) => draft.hint(format!("did you mean `{{{near}}}`?")),
            None => draft.hint(format!("add `params.{name} = \"What it is\"`, or write `{{{{{name}}}}}` for the text itself")),
        };
    }

    /// Whether parameters may be in a part that could not be read.
    pub(super) fn is_lenient(&self) -> bool {
        self.lenient
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().map(|slot| slot.param.name.as_str())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Param> {
        self.slots.iter().map(|slot| &slot.param).find(|param| param.name == name)
    }

    /// Returns the parameters that no placeholder has mentioned.
    pub(super) fn unplaced(&mut self, find: &mut Findings<'_>) -> Vec<Unplaced> {
        let mut unplaced = Vec::new();
        for slot in &mut self.slots {
            match (&slot.wire, slot.mentioned) {
                (wire, false) => {
                    let wire = wire.clone().unwrap_or_else(|| slot.key.clone());
                    unplaced.push(Unplaced {
                        name: slot.param.name.clone(),
                        key: slot.key.clone(),
                        wire,
                    });
                }
                (Some(wire), true) => {
                    find.warning(
                        "tool::as",
                        &wire.span,
                        format!("`as` does nothing for `{}`", slot.param.name),
                    )
                    .label("not used")
                    .hint("the request names this parameter by a placeholder; remove `as`");
                }
                (None, true) => {}
            }
        }
        unplaced
    }

    pub(super) fn into_list(self) -> Vec<Param> {
        self.slots.into_iter().map(|slot| slot.param).collect()
    }
}

fn slot(key: Text, entry: ParamEntry, find: &mut Findings<'_>) -> Option<Slot> {
    // Claude's API accepts only such property names.
    let is_name = (1..=64).contains(&key.value.len())
        && key.value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if !is_name {
        find.error(
            "param::name",
            &key.span,
            "a parameter's name has 1 to 64 letters, digits, `_`, `-` or `.`",
        )
        .hint("choose another name and say with `as` what the API calls it");
        return None;
    }
    let table = match entry {
        ParamEntry::Description(text) => {
            ParamTable { description: Some(text), ..ParamTable::default() }
        }
        ParamEntry::Table(table) => *table,
    };
    // If `type` is misspelt, nothing that depends on the type can be checked.
    let has_type = !find.may_be_there(&table.span, "type");
    let kind = kind(&table, find);
    let choices = choices(&table, kind, find);
    if has_type {
        limits(&table, kind, find);
    }
    let default = table.default.as_ref().and_then(|default| {
        let value = default.to_json();
        (has_type && fits(default, &value, kind, &table, find)).then_some(value)
    });
    let optional = table.optional.is_some_and(|optional| optional.value);
    let param = Param {
        name: key.value.clone(),
        description: table.description.map(|text| text.value),
        kind,
        required: !optional && table.default.is_none(),
        default,
        choices,
        min: table.min.map(|min| min.value),
        max: table.max.map(|max| max.value),
    };
    Some(Slot { param, key, wire: table.wire, mentioned: false })
}

fn kind(table: &ParamTable, find: &mut Findings<'_>) -> Kind {
    let kind = match &table.kind {
        Some(text) => choice(text, &KINDS, find).unwrap_or(Kind::String),
        // The default implies the type.
        None => match table.default.as_ref().map(Tree::to_json) {
            Some(Json::Bool(_)) => Kind::Boolean,
            Some(Json::Number(number)) if number.is_f64() => Kind::Number,
            Some(Json::Number(_)) => Kind::Integer,
            Some(Json::Array(_)) => Kind::Array(Item::String),
            _ if table.items.is_some() => Kind::Array(Item::String),
            _ => Kind::String,
        },
    };
    match (&table.items, kind) {
        (Some(items), Kind::Array(_)) => {
            Kind::Array(choice(items, &ITEMS, find).unwrap_or(Item::String))
        }
        (Some(_), _) if find.may_be_there(&table.span, "type") => kind,
        (Some(items), _) => {
            find.error("param::items", &items.span, "`items` is for lists")
                .hint("add `type = \"array\"`");
            kind
        }
        (None, _) => kind,
    }
}

fn choices(table: &ParamTable, kind: Kind, find: &mut Findings<'_>) -> Vec<String> {
    let Some(choices) = &table.choices else { return Vec::new() };
    if !matches!(kind, Kind::String | Kind::Array(Item::String))
        && !find.may_be_there(&table.span, "type")
    {
        find.error("param::enum", &choices.span, "`enum` lists texts, and this parameter is none")
            .hint("remove `enum`, or make the parameter a `string`");
    }
    if let Some(empty) = choices.value.iter().find(|choice| choice.value.is_empty()) {
        find.error("param::enum", &empty.span, "an empty text is no choice")
            .label("empty")
            .hint("remove it and write `optional = true`: Gemini refuses all tools over it");
    }
    if choices.value.is_empty() {
        find.error("param::enum", &choices.span, "no value is allowed here")
            .hint("list the allowed texts, or remove `enum`");
    }
    for (index, choice) in choices.value.iter().enumerate() {
        if choices.value.iter().take(index).any(|earlier| earlier.value == choice.value) {
            find.error("param::enum", &choice.span, "this text is listed twice").hint("remove one");
        }
    }
    choices.value.iter().map(|choice| choice.value.clone()).collect()
}

fn limits(table: &ParamTable, kind: Kind, find: &mut Findings<'_>) {
    let is_number = matches!(kind, Kind::Integer | Kind::Number);
    for limit in [&table.min, &table.max].into_iter().flatten() {
        if matches!(kind, Kind::Boolean | Kind::Object) {
            find.error("param::limits", &limit.span, "`min` and `max` mean nothing for this type")
                .hint("remove them, or change `type`");
        } else if !is_number && (limit.value < 0.0 || limit.value.fract() != 0.0) {
            find.error("param::limits", &limit.span, "a length is a whole number from 0")
                .hint("for a number, add `type = \"integer\"` or `type = \"number\"`");
        }
    }
    if let (Some(min), Some(max)) = (&table.min, &table.max)
        && min.value > max.value
    {
        find.error("param::limits", &min.span, "`min` is greater than `max`")
            .hint("no value fits; swap them");
    }
}

/// Whether a default is a valid value of its parameter; if not, reports why.
fn fits(
    default: &Tree,
    value: &Json,
    kind: Kind,
    table: &ParamTable,
    find: &mut Findings<'_>,
) -> bool {
    let is_kind = match (kind, value) {
        (Kind::Array(item), Json::Array(items)) => {
            items.iter().all(|value| is_of(item_kind(item), value))
        }
        _ => is_of(kind, value),
    };
    if !is_kind {
        find.error("param::default", &default.span, "the default is not of the parameter's type")
            .hint("change the default or `type`");
        return false;
    }
    let texts: Vec<&str> = match value {
        Json::String(text) => vec![text],
        Json::Array(items) => items.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    };
    if let Some(choices) = &table.choices
        && let Some(stray) =
            texts.iter().find(|text| !choices.value.iter().any(|choice| choice.value == **text))
    {
        let near = nearest(stray, choices.value.iter().map(Text::as_str));
        let draft = find.error("param::default", &default.span, "the default is not among `enum`");
        if let Some(near) = near {
            draft.hint(format!("did you mean `{near}`?"));
        }
        return false;
    }
    let size = size(value);
    let below = table.min.as_ref().is_some_and(|min| size.is_some_and(|size| size < min.value));
    let above = table.max.as_ref().is_some_and(|max| size.is_some_and(|size| size > max.value));
    if below || above {
        let limit = if below { "less than `min`" } else { "greater than `max`" };
        find.error("param::default", &default.span, format!("the default is {limit}"))
            .hint("change one of the two");
        return false;
    }
    true
}

fn is_of(kind: Kind, value: &Json) -> bool {
    match kind {
        Kind::String => value.is_string(),
        Kind::Integer => value.is_i64(),
        Kind::Number => value.is_number(),
        Kind::Boolean => value.is_boolean(),
        Kind::Object => value.is_object(),
        Kind::Array(_) => value.is_array(),
    }
}

fn item_kind(item: Item) -> Kind {
    match item {
        Item::String => Kind::String,
        Item::Integer => Kind::Integer,
        Item::Number => Kind::Number,
        Item::Boolean => Kind::Boolean,
        Item::Object => Kind::Object,
    }
}

/// Returns the size that `min` and `max` limit: a number, the characters of a string or the items
/// of a list.
#[expect(clippy::cast_precision_loss, reason = "a length beyond 2^53 does not fit into the file")]
fn size(value: &Json) -> Option<f64> {
    match value {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => Some(text.chars().count() as f64),
        Json::Array(items) => Some(items.len() as f64),
        _ => None,
    }
}
