//! What a source file names, read with syn.

use syn::visit::{self, Visit};
use syn::{Attribute, File, ItemMod, ItemUse, Path, UseTree, Visibility};

/// Steps of a path, from its first name on.
pub(super) type Steps = Vec<String>;

/// A path that a file names, and the inline modules around it.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) path: Steps,
    pub(super) inline: Steps,
}

/// Every path that a file names.
#[derive(Default)]
pub(super) struct Names {
    /// Of `use` and `pub use`, each with the local name it brings.
    pub(super) imports: Vec<(Named, String)>,
    /// Of two or more steps, elsewhere in the file.
    pub(super) mentions: Vec<Named>,
    inline: Steps,
}

impl Names {
    pub(super) fn of(file: &File) -> Self {
        let mut names = Self::default();
        names.visit_file(file);
        names
    }

    /// All paths, those that begin with an imported name in full.
    pub(super) fn full(&self) -> Vec<Named> {
        let imported = self.imports.iter().map(|(named, _)| named.clone());
        let mentioned = self.mentions.iter().map(|mention| {
            let first = &mention.path[0];
            let import = self.imports.iter().find(|(_, local)| local == first);
            let Some((Named { path, inline }, _)) = import else { return mention.clone() };
            let path = path.iter().chain(&mention.path[1..]).cloned().collect();
            Named { path, inline: inline.clone() }
        });
        imported.chain(mentioned).collect()
    }
}

impl<'f> Visit<'f> for Names {
    fn visit_item_mod(&mut self, item: &'f ItemMod) {
        self.inline.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.inline.pop();
    }

    fn visit_item_use(&mut self, item: &'f ItemUse) {
        let inline = &self.inline;
        let found = with_local_names(&item.tree);
        self.imports.extend(
            found.into_iter().map(|(path, local)| (Named { path, inline: inline.clone() }, local)),
        );
    }

    fn visit_path(&mut self, path: &'f Path) {
        // A single name is one of a `use`, or the file's own.
        if path.segments.len() > 1 {
            let steps = path.segments.iter().map(|step| step.ident.to_string()).collect();
            self.mentions.push(Named { path: steps, inline: self.inline.clone() });
        }
        visit::visit_path(self, path);
    }
}

/// The paths of a `use`, braces expanded.
pub(super) fn paths(tree: &UseTree) -> Vec<Steps> {
    with_local_names(tree).into_iter().map(|(path, _)| path).collect()
}

fn with_local_names(tree: &UseTree) -> Vec<(Steps, String)> {
    match tree {
        UseTree::Path(path) => {
            let below = with_local_names(&path.tree).into_iter();
            let own = path.ident.to_string();
            below
                .map(|(rest, local)| match &*rest {
                    // `use a::{self}` brings `a`.
                    [only] if only == "self" && local == "self" => (vec![own.clone()], own.clone()),
                    [only] if only == "self" => (vec![own.clone()], local),
                    _ => ([vec![own.clone()], rest].concat(), local),
                })
                .collect()
        }
        UseTree::Name(name) => vec![(vec![name.ident.to_string()], name.ident.to_string())],
        UseTree::Rename(name) => vec![(vec![name.ident.to_string()], name.rename.to_string())],
        UseTree::Glob(_) => vec![(vec!["*".to_owned()], "*".to_owned())],
        UseTree::Group(group) => group.items.iter().flat_map(with_local_names).collect(),
    }
}

pub(super) fn is_exported(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

pub(super) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<Path>().is_ok_and(|path| path.is_ident("test"))
    })
}
