//! Says which tool a caller probably means by a name that none of their tools has.

use super::Registry;
use crate::config::{ShippedTool, shipped_tool};
use crate::model::Principal;
use crate::model::face::Face;
use crate::model::text::nearest;

/// No tool of this name exists for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no tool of that name{}", self.advice())]
pub struct UnknownTool {
    /// The most similar name, if one is similar.
    pub nearest: Option<String>,
    /// The tool of a toolkit that the name means.
    pub shipped: Option<Unserved>,
}

/// A tool of a toolkit that is not among the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unserved {
    /// `tools.toml` does not ask for it, and the caller can change that.
    ForOperator(ShippedTool),
    /// The caller reads nothing of `tools.toml`: neither whether it asks for the tool, nor whether
    /// `allow` hides the tool from this user.
    ForUser(ShippedTool),
}

impl UnknownTool {
    /// Continues a sentence that says so; empty if nothing is known.
    fn advice(&self) -> String {
        match (&self.shipped, &self.nearest) {
            (Some(Unserved::ForOperator(tool)), _) => {
                format!(": `{}` is {}", tool.name, to_serve(tool))
            }
            (_, Some(name)) => format!(", did you mean `{name}`?"),
            (Some(Unserved::ForUser(tool)), None) => format!(
                ": `{}` is one of Countersign's built-in tools, and this server does not offer it to you",
                tool.name
            ),
            (None, None) => String::new(),
        }
    }
}

/// Says how an operator serves a tool of a toolkit, after "is".
pub fn to_serve(tool: &ShippedTool) -> String {
    format!(
        "a tool of the toolkit `{}`; to serve it, add it in [toolkits] of tools.toml, e.g. `{}`",
        tool.toolkit,
        tool.line()
    )
}

impl Registry {
    /// Returns the error for a name that none of the caller's tools has. `face`: the contract whose
    /// ids the caller knows; `None`: our own names.
    ///
    /// Looks only at tools that the caller may use, so that an answer never tells a tool which
    /// `allow` hides from one that does not exist.
    pub(super) fn unknown(
        &self,
        written: &str,
        face: Option<Face>,
        principal: &Principal,
    ) -> UnknownTool {
        let shipped = shipped_tool(written);
        let shown = self.shown(face, principal);
        // A tool under the name that another contract has for it.
        let meant = shipped.and_then(|tool| shown.iter().find(|(name, _)| *name == tool.name));
        if let Some((_, id)) = meant {
            return UnknownTool { nearest: Some((*id).to_owned()), shipped: None };
        }
        let ids = || shown.iter().map(|(_, id)| *id);
        let unprefixed = ids().filter(|own| is_prefixed(written, own)).max_by_key(|own| own.len());
        let nearest = unprefixed.or_else(|| nearest(written, ids())).map(str::to_owned);
        let shipped = shipped.and_then(|tool| match principal.is_local() {
            // One that is served and not at this gateway needs no line.
            true if self.by_name.contains_key(tool.name) => None,
            true => Some(Unserved::ForOperator(tool)),
            false => Some(Unserved::ForUser(tool)),
        });
        UnknownTool { nearest, shipped }
    }

    /// Names of the tools that the caller may use, each with the id that the caller knows.
    fn shown<'a>(&'a self, face: Option<Face>, principal: &Principal) -> Vec<(&'a str, &'a str)> {
        let ids = face.map(|face| self.public_ids(face));
        let entries = self.entries.iter().enumerate();
        let visible = entries.filter(|(_, entry)| entry.tool.admits(principal));
        visible
            .map(|(at, entry)| {
                let name = entry.tool.name.as_str();
                (name, ids.map_or(name, |ids| ids.id(at)))
            })
            .collect()
    }
}

/// Whether `name` is `own` behind a prefix that a host adds, such as `mcp__countersign__` or
/// `functions.`.
fn is_prefixed(name: &str, own: &str) -> bool {
    name.len().checked_sub(own.len()).is_some_and(|at| {
        let split = name.split_at_checked(at);
        split.is_some_and(|(prefix, rest)| {
            rest.eq_ignore_ascii_case(own) && prefix.ends_with(|c: char| !c.is_alphanumeric())
        })
    })
}
