//! The catalogue of served tools: found by name in constant time, listed in one order, each with
//! the schema and the hints that hosts see.
//!
//! Schemas are built at first use, so a call to one of ten thousand tools costs the same as to one
//! of ten.

mod arguments;
mod built_in;
mod face_params;
mod schema;
mod unknown;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use crate::model::face::Face;
use crate::model::public_ids::PublicIds;
use crate::model::{Principal, ProviderId, Scopes, Tool, ToolName};

pub use arguments::{Accepted, accept, envelope};
pub use built_in::{BuiltInTool, CONNECTIONS_TOOL, accept_connections};
pub use face_params::{face_params, face_problems, face_schema};
pub use schema::{Hints, hints, input_schema, is_required};
pub use unknown::{UnknownTool, Unserved, to_serve};

/// All tools that this process serves.
#[derive(Debug, Default)]
pub struct Registry {
    /// Sorted by name.
    entries: Vec<Entry>,
    by_name: HashMap<ToolName, usize>,
    arcade: OnceLock<PublicIds>,
    portia: OnceLock<PublicIds>,
}

/// A tool and its schema for clients.
#[derive(Debug)]
pub struct Entry {
    tool: Tool,
    schema: OnceLock<Arc<Map<String, Value>>>,
}

/// A tool as another product's contract knows it.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// The tool's id in the contract.
    pub id: &'a str,
    pub entry: &'a Entry,
}

/// No single tool has this id in another product's contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOffered {
    #[error(transparent)]
    Unknown(#[from] UnknownTool),
    #[error(
        "`{first}` and `{second}` are one name to clients of this contract; write other `ids` for one of them in tools.toml"
    )]
    Ambiguous { first: String, second: String },
}

impl Registry {
    /// Creates a registry. Configuration makes names unique; of two tools with one name, the first
    /// stays.
    pub fn new(mut tools: Vec<Tool>) -> Self {
        tools.sort_by(|a, b| a.name.cmp(&b.name));
        tools.dedup_by(|later, earlier| later.name == earlier.name);
        let by_name = tools.iter().enumerate().map(|(at, tool)| (tool.name.clone(), at)).collect();
        let entries =
            tools.into_iter().map(|tool| Entry { tool, schema: OnceLock::new() }).collect();
        Self { entries, by_name, arcade: OnceLock::new(), portia: OnceLock::new() }
    }

    /// Returns a tool that `principal` may use. For other principals, the name does not exist.
    ///
    /// # Errors
    /// [`UnknownTool`], with the most similar name among the tools that `principal` may use.
    pub fn get(&self, name: &str, principal: &Principal) -> Result<&Entry, UnknownTool> {
        self.by_name
            .get(name)
            .and_then(|at| self.entries.get(*at))
            .filter(|entry| entry.tool.admits(principal))
            .ok_or_else(|| self.unknown(name, None, principal))
    }

    /// All tools, sorted by name.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All tools that this user may use, sorted by name: clients keep the list in their prompt
    /// caches.
    pub fn entries_for<'a>(&'a self, principal: &'a Principal) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(|entry| entry.tool.admits(principal))
    }

    /// All tools that this user may use, with their ids in a contract, sorted by the tools' names.
    pub fn offers<'a>(
        &'a self,
        face: Face,
        principal: &'a Principal,
    ) -> impl Iterator<Item = Offer<'a>> {
        let ids = self.public_ids(face);
        let entries = self.entries.iter().enumerate();
        entries
            .filter(|(_, entry)| entry.tool.admits(principal))
            .map(|(at, entry)| Offer { id: ids.id(at), entry })
    }

    /// Returns the tool that a client of a contract means by this id, if `principal` may use it.
    ///
    /// # Errors
    /// [`NotOffered`] if there is none, or if it is unclear which one is meant.
    pub fn offer<'a>(
        &'a self,
        face: Face,
        written: &str,
        principal: &Principal,
    ) -> Result<Offer<'a>, NotOffered> {
        let mut found = self.meant(face, written, principal);
        match (found.next(), found.next()) {
            (Some(offer), None) => Ok(offer),
            (Some(first), Some(second)) => Err(NotOffered::Ambiguous {
                first: first.entry.tool.name.to_string(),
                second: second.entry.tool.name.to_string(),
            }),
            (None, _) => Err(self.unknown(written, Some(face), principal).into()),
        }
    }

    /// Like [`Self::offer`], for many ids at once: looks for no similar names, which costs a
    /// comparison with each tool.
    pub fn find_offer<'a>(
        &'a self,
        face: Face,
        written: &str,
        principal: &Principal,
    ) -> Option<Offer<'a>> {
        let mut found = self.meant(face, written, principal);
        found.next().filter(|_| found.next().is_none())
    }

    fn meant<'a>(
        &'a self,
        face: Face,
        written: &str,
        principal: &Principal,
    ) -> impl Iterator<Item = Offer<'a>> {
        let ids = self.public_ids(face);
        ids.find(written, face).iter().filter_map(move |at| {
            let entry = self.entries.get(*at).filter(|entry| entry.tool.admits(principal))?;
            Some(Offer { id: ids.id(*at), entry })
        })
    }

    fn public_ids(&self, face: Face) -> &PublicIds {
        let ids = match face {
            Face::Arcade => &self.arcade,
            Face::Portia => &self.portia,
        };
        ids.get_or_init(|| PublicIds::of(self.entries.iter().map(Entry::tool), face))
    }

    /// All scopes of a provider that this user's tools need; `None` if none of these tools uses it.
    pub fn scopes_for(&self, principal: &Principal, provider: &ProviderId) -> Option<Scopes> {
        self.entries_for(principal)
            .filter(|entry| entry.tool.provider.as_ref() == Some(provider))
            .map(|entry| entry.tool.scopes.clone())
            .reduce(|all, scopes| all.union(&scopes))
    }

    /// Whether every user may use all tools.
    pub fn is_for_everybody(&self) -> bool {
        self.entries.iter().all(|entry| entry.tool.allow.is_none())
    }
}

impl Entry {
    /// The tool as configured.
    pub fn tool(&self) -> &Tool {
        &self.tool
    }

    /// JSON Schema of the arguments; built once.
    pub fn schema(&self) -> &Arc<Map<String, Value>> {
        self.schema.get_or_init(|| Arc::new(input_schema(&self.tool)))
    }

    /// The tool's annotation hints for hosts.
    pub fn hints(&self) -> Hints {
        hints(&self.tool)
    }
}

#[cfg(test)]
mod tests;
