//! Named lists of tools, each served at a path of its own below `/mcp/`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ToolName;

/// Name of the gateway that has every tool. `tools.toml` cannot declare it.
pub const ALL: &str = "all";

/// The tools that requests at one path may use, before `allow` of each tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OfferedTools {
    #[default]
    All,
    These(Arc<BTreeSet<ToolName>>),
}

impl OfferedTools {
    /// Whether the tool is one of them.
    pub fn has(&self, tool: &ToolName) -> bool {
        match self {
            Self::All => true,
            Self::These(tools) => tools.contains(tool),
        }
    }
}

/// The `[gateways]` of `tools.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gateways(BTreeMap<String, OfferedTools>);

impl Gateways {
    /// Returns the tools of a gateway; `None` for an unknown name.
    pub fn tools(&self, name: &str) -> Option<OfferedTools> {
        if name == ALL { Some(OfferedTools::All) } else { self.0.get(name).cloned() }
    }
}

impl FromIterator<(String, BTreeSet<ToolName>)> for Gateways {
    fn from_iter<I: IntoIterator<Item = (String, BTreeSet<ToolName>)>>(gateways: I) -> Self {
        let offered = |(name, tools)| (name, OfferedTools::These(Arc::new(tools)));
        Self(gateways.into_iter().map(offered).collect())
    }
}
