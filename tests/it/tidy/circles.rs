//! Which file uses which, and the circles among them.
//!
//! A file uses another one if it names an item of it, by `use` or by a path, wherever the name leads:
//! through `super::super`, braces and re-exports. A folder's own file and the files below it do not
//! count as a circle: it declares them and holds what they share.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{File, Item, ItemMod, ItemUse, Path, Visibility};

use super::syntax::{is_for_tests, paths};
use super::{Parsed, check_sources, module_of};

/// Names of the modules from the crate's root down.
type Module = Vec<String>;

#[test]
fn no_files_use_each_other_in_a_circle() {
    check_sources(|sources| {
        let uses = uses(sources);
        assert!(uses.len() > 200, "{} files", uses.len());
        let circles: Vec<_> = uses
            .keys()
            .filter(|file| reached(&uses, file).contains(*file))
            .map(|file| file.join("::"))
            .collect();
        assert!(circles.is_empty(), "in circles: {circles:?}");
    });
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let files = parsed([
        ("a::b", "use super::super::c::{self, D};"),
        ("a", "pub use b::E; mod b;"),
        ("c", "pub struct D; fn f() { crate::a::E::new() }"),
        ("c::alone", "#[cfg(test)] mod tests { use crate::a::E; } use super::D;"),
    ]);
    let uses = uses_of(&files.iter().map(|(module, file)| (module.clone(), file)).collect());
    let named = |names: &str| names.split("::").map(str::to_owned).collect::<Module>();
    assert_eq!(uses[&named("a::b")], BTreeSet::from([named("c")]));
    assert_eq!(uses[&named("c")], BTreeSet::from([named("a::b")]));
    assert!(uses[&named("c::alone")].is_empty() && uses[&named("a")].is_empty());
    assert!(reached(&uses, &named("c")).contains(&named("c")));
}

/// The files that each file uses, but for tests.
fn uses(sources: &[Parsed]) -> BTreeMap<Module, BTreeSet<Module>> {
    let files = sources.iter().filter_map(|(name, file)| {
        let module = module_of(name);
        let is_test = module.iter().any(|step| ["tests", "testing"].contains(&&**step));
        let is_root = module == ["lib"] || module == ["main"];
        (!is_test && !is_root).then_some((module, file))
    });
    uses_of(&files.collect())
}

fn parsed<'t>(texts: impl IntoIterator<Item = (&'t str, &'t str)>) -> BTreeMap<Module, File> {
    let parse = |(module, text): (&str, &str)| {
        (module.split("::").map(str::to_owned).collect(), syn::parse_file(text).unwrap())
    };
    texts.into_iter().map(parse).collect()
}

fn uses_of(files: &BTreeMap<Module, &File>) -> BTreeMap<Module, BTreeSet<Module>> {
    let mut exports = BTreeMap::new();
    // Once more for each step of a name that is exported again and again.
    for _ in 0..4 {
        for (module, file) in files {
            for item in &file.items {
                let Item::Use(item) = item else { continue };
                if matches!(item.vis, Visibility::Inherited) {
                    continue;
                }
                for path in paths(&item.tree) {
                    let name = path.last().unwrap().clone();
                    let found = resolved(module, &path, files, &exports);
                    if let Some(found) = found.filter(|found| found != module) {
                        exports.insert((module.clone(), name), found);
                    }
                }
            }
        }
    }
    let used = |(module, file): (&Module, &&File)| {
        let mut names = Names::default();
        names.visit_file(file);
        let found: BTreeSet<Module> = names
            .0
            .iter()
            .filter_map(|path| resolved(module, path, files, &exports))
            .filter(|other| !other.starts_with(module) && !module.starts_with(other))
            .collect();
        (module.clone(), found)
    };
    files.iter().map(used).collect()
}

/// All files that a file uses, and that those use.
fn reached(uses: &BTreeMap<Module, BTreeSet<Module>>, from: &Module) -> BTreeSet<Module> {
    let mut found = BTreeSet::new();
    let mut next = vec![from];
    while let Some(file) = next.pop() {
        next.extend(
            uses.get(file).into_iter().flatten().filter(|file| found.insert((*file).clone())),
        );
    }
    found
}

/// The file that a path leads to, if it is one of ours.
fn resolved(
    module: &Module,
    path: &[String],
    files: &BTreeMap<Module, &File>,
    exports: &BTreeMap<(Module, String), Module>,
) -> Option<Module> {
    let mut at = module.clone();
    let mut steps = path.iter().peekable();
    match steps.peek()?.as_str() {
        "crate" => {
            steps.next();
            at.clear();
        }
        "self" => {
            steps.next();
        }
        "super" => {
            while steps.next_if(|step| *step == "super").is_some() {
                at.pop();
            }
        }
        first => {
            let child: Module = at.iter().cloned().chain([first.to_owned()]).collect();
            if !files.contains_key(&child) && !exports.contains_key(&(at.clone(), first.to_owned()))
            {
                return None;
            }
        }
    }
    for step in steps {
        let child: Module = at.iter().cloned().chain([step.clone()]).collect();
        // A module before an item of that name: `built_in::table` is not below the function `built_in`.
        at = if files.contains_key(&child) {
            child
        } else if let Some(exported) = exports.get(&(at.clone(), step.clone())) {
            exported.clone()
        } else {
            break;
        };
    }
    files.contains_key(&at).then_some(at)
}

/// Every path that a file names, but in tests and in what it exports again.
#[derive(Default)]
struct Names(Vec<Vec<String>>);

impl<'f> Visit<'f> for Names {
    fn visit_item_mod(&mut self, item: &'f ItemMod) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'f ItemUse) {
        if matches!(item.vis, Visibility::Inherited) && !is_for_tests(&item.attrs) {
            self.0.extend(paths(&item.tree));
        }
    }

    fn visit_path(&mut self, path: &'f Path) {
        // A single name is one of a `use`, or the file's own.
        if path.segments.len() > 1 {
            self.0.push(path.segments.iter().map(|step| step.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }
}
