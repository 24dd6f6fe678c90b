//! The public API, written out: a change of it must be meant.
//!
//! Reads the sources. Outside the feature `internals`, which is for this package's own tests, the
//! crate's root has the module `prelude` and nothing else.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use syn::{
    Attribute, Fields, File, ImplItem, Item, ItemImpl, ItemMod, TraitItem, UseTree, Visibility,
};

use crate::snapshot::Snapshot;

#[test]
fn the_public_api_is_what_was_meant() {
    let root = parsed(&source().join("lib.rs"));
    let mut snapshot = Snapshot::new("public_api");
    for item in root.items.iter().filter(|item| is_public(item) && !is_internal(attributes(item))) {
        let Item::Mod(ItemMod { ident, content: Some((_, items)), .. }) = item else {
            panic!("the root has more than modules: {}", text(item))
        };
        snapshot.part(&format!("countersign::{ident}"));
        for path in items.iter().flat_map(reexported) {
            snapshot.add(&described(&path));
        }
    }
    snapshot.hold(&[]);
}

#[test]
fn every_other_module_is_public_to_the_tests_only() {
    let root = parsed(&source().join("lib.rs"));
    let is_file = |item: &&Item| matches!(item, Item::Mod(module) if module.content.is_none());
    let (mut public, mut private) = (BTreeSet::new(), BTreeSet::new());
    for item in root.items.iter().filter(is_file) {
        let Item::Mod(module) = item else { continue };
        let names = if is_public(item) { &mut public } else { &mut private };
        assert!(!is_public(item) || is_internal(&module.attrs), "`{}` is public", module.ident);
        names.insert(module.ident.to_string());
    }
    assert_eq!(public, private, "each module is declared twice");
    assert!(public.len() > 10, "{public:?}");
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn parsed(file: &Path) -> File {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Tokens as a person writes them, nearly.
fn text(tokens: impl quote::ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string();
    for (spaced, plain) in [
        (" :: ", "::"),
        (" < ", "<"),
        ("< ", "<"),
        ("# [", "#["),
        (" >", ">"),
        (" ( ", "("),
        (" ) ", ") "),
        ("( ", "("),
        (" )", ")"),
        (" (", "("),
        (" ,", ","),
        (" ;", ";"),
        ("& ", "&"),
        (" : ", ": "),
        ("' ", "'"),
    ] {
        text = text.replace(spaced, plain);
    }
    text
}

fn is_public(item: &Item) -> bool {
    let visibility = match item {
        Item::Const(it) => &it.vis,
        Item::Enum(it) => &it.vis,
        Item::Fn(it) => &it.vis,
        Item::Mod(it) => &it.vis,
        Item::Static(it) => &it.vis,
        Item::Struct(it) => &it.vis,
        Item::Trait(it) => &it.vis,
        Item::Type(it) => &it.vis,
        Item::Use(it) => &it.vis,
        _ => return false,
    };
    matches!(visibility, Visibility::Public(_))
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Mod(it) => &it.attrs,
        _ => &[],
    }
}

/// Whether an item exists only with the feature `internals`.
fn is_internal(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| text(attribute).contains("cfg(feature = \"internals\")"))
}

/// Paths that an item re-exports.
fn reexported(item: &Item) -> Vec<Vec<String>> {
    let Item::Use(item) = item else { panic!("more than re-exports: {}", text(item)) };
    let mut paths = Vec::new();
    leaves(&item.tree, &mut Vec::new(), &mut paths);
    paths
}

fn leaves(tree: &UseTree, before: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            leaves(&path.tree, before, found);
            before.pop();
        }
        UseTree::Name(name) => {
            found.push([&before[..], &[name.ident.to_string()]].concat());
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, before, found)),
        UseTree::Rename(_) | UseTree::Glob(_) => panic!("a re-export names each item"),
    }
}

/// Describes an item of another crate by its path, and one of ours by its signatures.
fn described(path: &[String]) -> String {
    let [first, modules @ .., name] = path else { panic!("{path:?}") };
    if first != "crate" {
        return format!("use {}\n", path.join("::"));
    }
    let (mut file, mut items) = module(modules);
    // A module re-exports what its own modules define.
    if let Some(child) = reexporting_module(&items, name) {
        (file, items) = module(&[&place(&file)[..], &[child]].concat());
        assert!(items.items.iter().any(|item| is_named(item, name)), "{name} is re-exported twice");
    }
    let mut written = String::new();
    let defined = items.items.iter().filter(|item| is_named(item, name));
    defined.for_each(|item| written.push_str(&signature(item)));
    for other in beside(&file) {
        for item in &parsed(&other).items {
            if let Item::Impl(block) = item
                && text(&block.self_ty).split('<').next() == Some(name)
            {
                written.push_str(&implementation(block));
            }
        }
    }
    written
}

/// The file of a module, and its content.
fn module(path: &[String]) -> (PathBuf, File) {
    let base = path.iter().fold(source(), |folder, step| folder.join(step));
    let flat = base.with_extension("rs");
    let file = if flat.exists() { flat } else { base.join("mod.rs") };
    let content = parsed(&file);
    (file, content)
}

/// The path of a file's module.
fn place(file: &Path) -> Vec<String> {
    let below = file.strip_prefix(source()).unwrap().with_extension("");
    let steps = below.iter().map(|step| step.to_string_lossy().into_owned());
    steps.filter(|step| step != "mod").collect()
}

/// Returns the module from which an item is re-exported; `None` if it is defined here.
fn reexporting_module(file: &File, name: &str) -> Option<String> {
    if file.items.iter().any(|item| is_named(item, name)) {
        return None;
    }
    let uses = file.items.iter().filter(|item| matches!(item, Item::Use(_)) && is_public(item));
    let path = uses.flat_map(reexported).find(|path| path.last().is_some_and(|it| it == name));
    Some(path.unwrap_or_else(|| panic!("`{name}` is not found"))[0].clone())
}

fn is_named(item: &Item, name: &str) -> bool {
    let own = match item {
        Item::Enum(it) => &it.ident,
        Item::Struct(it) => &it.ident,
        Item::Trait(it) => &it.ident,
        Item::Type(it) => &it.ident,
        _ => return false,
    };
    own == name
}

/// The files of the folder in which a file is, where the item's implementations are.
fn beside(file: &Path) -> Vec<PathBuf> {
    let folder = fs::read_dir(file.parent().expect("a folder")).expect("a folder");
    let mut files: Vec<PathBuf> = folder
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    files
}

fn signature(item: &Item) -> String {
    let mut written = String::new();
    match item {
        Item::Struct(it) => {
            let _ = writeln!(written, "pub struct {}{}", it.ident, text(&it.generics));
            for field in &it.fields {
                if matches!(field.vis, Visibility::Public(_)) {
                    let name = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
                    let _ = writeln!(written, "    pub {name}: {}", text(&field.ty));
                }
            }
        }
        Item::Enum(it) => {
            let open = if has(&it.attrs, "non_exhaustive") { "#[non_exhaustive] " } else { "" };
            let _ = writeln!(written, "{open}pub enum {}{}", it.ident, text(&it.generics));
            for variant in &it.variants {
                let fields = match &variant.fields {
                    Fields::Unit => String::new(),
                    Fields::Named(fields) => {
                        let fields = fields.named.iter().map(|field| {
                            let name = field.ident.as_ref().map(ToString::to_string);
                            format!("{}: {}", name.unwrap_or_default(), text(&field.ty))
                        });
                        format!(" {{ {} }}", fields.collect::<Vec<_>>().join(", "))
                    }
                    Fields::Unnamed(fields) => {
                        let fields = fields.unnamed.iter().map(|field| text(&field.ty));
                        format!("({})", fields.collect::<Vec<_>>().join(", "))
                    }
                };
                let _ = writeln!(written, "    {}{fields}", variant.ident);
            }
        }
        Item::Trait(it) => {
            let bounds = text(&it.supertraits);
            let _ = writeln!(written, "pub trait {}{}: {bounds}", it.ident, text(&it.generics));
            for item in &it.items {
                let (line, is_default) = match item {
                    TraitItem::Fn(it) => (text(&it.sig), it.default.is_some()),
                    TraitItem::Type(it) => {
                        (format!("type {}: {}", it.ident, text(&it.bounds)), it.default.is_some())
                    }
                    other => (text(other), false),
                };
                let _ = writeln!(written, "    {line}{}", if is_default { " { … }" } else { "" });
            }
        }
        other => written.push_str(&text(other)),
    }
    written + &derived(item)
}

/// The traits that an item derives.
fn derived(item: &Item) -> String {
    let attributes = match item {
        Item::Struct(it) => &it.attrs,
        Item::Enum(it) => &it.attrs,
        _ => return String::new(),
    };
    let derives = attributes.iter().filter(|attribute| attribute.path().is_ident("derive"));
    derives.fold(String::new(), |mut written, derive| {
        let _ = writeln!(written, "    {}", text(derive));
        written
    })
}

fn has(attributes: &[Attribute], name: &str) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident(name))
}

fn implementation(block: &ItemImpl) -> String {
    let generics = text(&block.generics);
    let own = text(&block.self_ty);
    if let Some((name, _)) = &block.trait_ {
        return format!("impl{generics} {} for {own}\n", text(name));
    }
    let mut written = String::new();
    for item in &block.items {
        if let ImplItem::Fn(it) = item
            && matches!(it.vis, Visibility::Public(_))
        {
            let _ = writeln!(written, "    pub {}", text(&it.sig));
        }
    }
    if written.is_empty() { written } else { format!("impl{generics} {own}\n{written}") }
}
