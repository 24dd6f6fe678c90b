//! Toolkits as they are without a `tools.toml`, and the tool of one that a name or a contract's id
//! means.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use toml::de::{DeTable, DeValue};

use super::super::file::{File, ToolTable};
use super::super::findings::Findings;
use super::super::read::Read as _;
use super::super::span::Text;
use crate::catalog::toolkits;
use crate::model::face::Face;
use crate::model::public_ids::{PublicIds, public_id};

/// A toolkit as it is without a `tools.toml`.
#[derive(Clone, Debug)]
pub struct Toolkit {
    /// Id of the provider with whose credential its tools act.
    pub provider: String,
    /// Sorted by name.
    pub tools: Vec<ToolkitTool>,
}

/// A tool of a toolkit.
#[derive(Clone, Debug)]
pub struct ToolkitTool {
    /// Whole name, e.g. `github_star_repo`.
    pub name: String,
    pub title: String,
    /// Without the provider's prefix.
    pub scopes: Vec<String>,
    /// Id in Portia's contract.
    pub portia: String,
    /// Id in Arcade's contract.
    pub arcade: String,
}

/// Returns a toolkit; `None` for an unknown id.
pub fn toolkit(id: &str) -> Option<Toolkit> {
    let source = toolkits::toolkit(id)?;
    let tables = tables(source, &mut Findings::new(source));
    let provider = tables.values().next()?.provider.as_ref()?.value.clone();
    let value = |text: Option<Text>| text.map(|text| text.value);
    let tools = tables.into_iter().map(|(name, table)| {
        let ids = table.ids.unwrap_or_default();
        let id = |written: Option<Text>, face| public_id(&name, value(written).as_deref(), face);
        ToolkitTool {
            title: value(table.title).unwrap_or_default(),
            scopes: table.scopes.into_iter().flatten().map(|scope| scope.value).collect(),
            portia: id(ids.portia, Face::Portia),
            arcade: id(ids.arcade, Face::Arcade),
            name,
        }
    });
    Some(Toolkit { provider, tools: tools.collect() })
}

/// The tables of a toolkit, by the tool's whole name.
pub(super) type Tables = BTreeMap<String, Box<ToolTable>>;

pub(super) fn tables(source: &str, find: &mut Findings<'_>) -> Tables {
    let Ok(root) = DeTable::parse(source) else { return Tables::new() };
    let root = toml::Spanned::new(0..source.len(), DeValue::Table(root.into_inner()));
    let file = File::read(&root, find).and_then(|file| file.tools).unwrap_or_default();
    file.entries.into_iter().map(|(name, table)| (name.value, table)).collect()
}

/// A tool of a toolkit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShippedTool {
    pub toolkit: &'static str,
    /// Whole name, e.g. `github_star_repo`.
    pub name: &'static str,
}

impl ShippedTool {
    /// The name without the toolkit's, as `[toolkits]` lists it.
    pub fn short(&self) -> &'static str {
        self.name.get(self.toolkit.len() + 1..).unwrap_or(self.name)
    }

    /// The line below `[toolkits]` that asks for this tool alone.
    pub fn line(&self) -> String {
        format!("{} = [\"{}\"]", self.toolkit, self.short())
    }
}

/// All tools of all toolkits, by their names and ids. Read at the first name that is not known.
struct Shipped {
    tools: Vec<(&'static str, ToolkitTool)>,
    arcade: PublicIds,
    portia: PublicIds,
}

static SHIPPED: LazyLock<Shipped> = LazyLock::new(|| {
    let toolkits = toolkits::ids().filter_map(|id| Some((id, toolkit(id)?)));
    let tools: Vec<(&str, ToolkitTool)> = toolkits
        .flat_map(|(id, toolkit)| toolkit.tools.into_iter().map(move |tool| (id, tool)))
        .collect();
    let ids = |face, id: fn(&ToolkitTool) -> &String| {
        let names = tools.iter().map(|(_, tool)| (tool.name.as_str(), Some(id(tool).as_str())));
        PublicIds::from_names(names, face)
    };
    let arcade = ids(Face::Arcade, |tool| &tool.arcade);
    let portia = ids(Face::Portia, |tool| &tool.portia);
    Shipped { tools, arcade, portia }
});

/// Returns the tool of a toolkit that this name means, in the spelling of any contract; `None` if no
/// toolkit has it.
pub fn shipped_tool(written: &str) -> Option<ShippedTool> {
    let Shipped { tools, arcade, portia } = &*SHIPPED;
    let found = [portia.find(written, Face::Portia), arcade.find(written, Face::Arcade)];
    let (toolkit, tool) = tools.get(*found.into_iter().flatten().next()?)?;
    Some(ShippedTool { toolkit, name: &tool.name })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_toolkit_is_read_without_a_mistake() {
        for id in toolkits::ids() {
            let source = toolkits::toolkit(id).unwrap();
            let mut find = Findings::new(source);
            assert!(!tables(source, &mut find).is_empty(), "{id}");
            let problems = find.finish(Path::new("toolkit.toml"));
            assert!(problems.list.is_empty(), "{id}: {problems}");
        }
    }

    #[test]
    fn a_shipped_tool_is_found_by_its_name_and_by_its_ids() {
        for written in [
            "github_star_repo",
            "Github.StarRepo",
            "github_starrepo@1.0.0",
            "portia:github::star_repo",
            "countersign:github:star_repo",
        ] {
            let tool = shipped_tool(written).unwrap_or_else(|| panic!("{written}"));
            assert_eq!((tool.toolkit, tool.name), ("github", "github_star_repo"), "{written}");
            assert_eq!((tool.short(), &*tool.line()), ("star_repo", "github = [\"star_repo\"]"));
        }
        for other in ["", "github", "star_repo", "github_star_rep", "slack_botsend"] {
            assert_eq!(shipped_tool(other), None, "{other}");
        }
    }

    #[test]
    fn every_shipped_tool_is_found_by_each_of_its_ids() {
        for (toolkit, tool) in &SHIPPED.tools {
            for written in [&tool.name, &tool.arcade, &tool.portia] {
                let found = shipped_tool(written).unwrap_or_else(|| panic!("{written}"));
                assert_eq!((found.toolkit, found.name), (*toolkit, &*tool.name), "{written}");
            }
        }
    }
}
