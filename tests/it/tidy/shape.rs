//! How long a function may be, and what its documentation says.

use syn::visit::{self, Visit};
use syn::{
    Attribute, Block, File, ImplItemFn, Item, ItemFn, ItemImpl, ItemMod, ReturnType, Signature,
    Type,
};

use super::syntax::{is_exported, is_for_tests};
use super::{check_sources, module_of, sources};

const MAX_LINES: usize = 60;

/// Words that no comment begins with: it begins with what the thing is or does.
const FIRST_WORDS: &[&str] = &[
    "What",
    "Of",
    "Whose",
    "Who",
    "Whoever",
    "Whatever",
    "That",
    "Where",
    "With which",
    "The same",
];

#[test]
fn functions_stay_short() {
    check_code(|name, file| {
        let found = long_functions(file);
        assert!(found.is_empty(), "{name}: functions of more than {MAX_LINES} lines: {found:?}");
    });
}

#[test]
fn what_is_public_has_documentation() {
    check_code(|name, file| {
        let found = undocumented(file);
        assert!(found.is_empty(), "{name}: no documentation of {found:?}");
    });
}

#[test]
fn what_can_fail_says_how() {
    check_code(|name, file| {
        let found = without_errors(file);
        assert!(found.is_empty(), "{name}: no `# Errors` in the documentation of {found:?}");
    });
}

#[test]
fn comments_begin_with_what_a_thing_is_or_does() {
    for (path, text) in sources() {
        for line in first_lines(&text) {
            assert!(!begins_badly(line), "{}: {line}", path.display());
        }
    }
}

#[test]
fn each_rule_finds_what_breaks_it() {
    let parse = |text: &str| syn::parse_file(text).unwrap();
    let long = format!("impl A {{ fn f() {{\n{}}} }}", "g();\n".repeat(60));
    assert_eq!(long_functions(&parse(&long)), [("f".to_owned(), 62)]);
    let in_tests = format!("#[cfg(test)] mod tests {{ {long} }}");
    assert!(long_functions(&parse(&in_tests)).is_empty());

    assert_eq!(undocumented(&parse("pub struct A; /// B.\npub struct B;")), ["A"]);
    assert_eq!(
        undocumented(&parse("impl A { pub fn f() {} fn g() {} pub(crate) fn h() {} }")),
        ["f"]
    );
    assert!(undocumented(&parse("impl Display for A { fn f() {} }")).is_empty());

    let fails = "/// A.\npub async fn f() -> io::Result<()> { Ok(()) }";
    assert_eq!(without_errors(&parse(fails)), ["f"]);
    assert!(
        without_errors(&parse(&fails.replace("A.", "A.\n///\n/// # Errors\n/// B."))).is_empty()
    );
    let once =
        "impl A {\n//! # Errors\n//! All fail alike.\npub fn f(&self) -> Result<()> { Ok(()) } }";
    assert!(without_errors(&parse(once)).is_empty());
    assert_eq!(
        without_errors(&parse("pub fn f() -> impl Future<Output = Result<(), E>> {}")),
        ["f"]
    );

    assert!(begins_badly("/// What a client sends.") && begins_badly("// Whoever has it."));
    assert!(!begins_badly("/// Offline access.") && !begins_badly("/// Thatched."));
    assert_eq!(
        first_lines("/// A\n/// B\nfn f() {\n    // C\n}").collect::<Vec<_>>(),
        ["/// A", "// C"]
    );
}

/// Runs a check on every source file that is not for tests alone.
fn check_code(check: impl Fn(&str, &File) + Send + 'static) {
    check_sources(move |sources| {
        for (name, file) in sources {
            let module = module_of(name);
            if !module.iter().any(|step| ["tests", "testing", "contract"].contains(&&**step)) {
                check(name, file);
            }
        }
    });
}

/// Functions of more than [`MAX_LINES`] lines, but for tests, each with its lines.
fn long_functions(file: &File) -> Vec<(String, usize)> {
    #[derive(Default)]
    struct Long(Vec<(String, usize)>);
    impl Long {
        fn see(&mut self, signature: &Signature, block: &Block) {
            let first = signature.fn_token.span.start().line;
            let last = block.brace_token.span.close().end().line;
            let lines = last + 1 - first;
            if lines > MAX_LINES {
                self.0.push((signature.ident.to_string(), lines));
            }
        }
    }
    impl<'f> Visit<'f> for Long {
        fn visit_item_mod(&mut self, item: &'f ItemMod) {
            if !is_for_tests(&item.attrs) {
                visit::visit_item_mod(self, item);
            }
        }
        fn visit_item_fn(&mut self, item: &'f ItemFn) {
            self.see(&item.sig, &item.block);
            visit::visit_item_fn(self, item);
        }
        fn visit_impl_item_fn(&mut self, item: &'f ImplItemFn) {
            self.see(&item.sig, &item.block);
            visit::visit_impl_item_fn(self, item);
        }
    }
    let mut long = Long::default();
    long.visit_file(file);
    long.0
}

/// Public items of a file, but for tests: name, attributes, the attributes around it, signature.
struct Public<'f> {
    name: String,
    attributes: &'f [Attribute],
    around: &'f [Attribute],
    signature: Option<&'f Signature>,
}

fn public(items: &[Item]) -> Vec<Public<'_>> {
    let mut found = Vec::new();
    for item in items {
        let (visibility, attributes, name, signature) = match item {
            Item::Fn(item) => (&item.vis, &item.attrs, &item.sig.ident, Some(&item.sig)),
            Item::Struct(item) => (&item.vis, &item.attrs, &item.ident, None),
            Item::Enum(item) => (&item.vis, &item.attrs, &item.ident, None),
            Item::Trait(item) => (&item.vis, &item.attrs, &item.ident, None),
            Item::Const(item) => (&item.vis, &item.attrs, &item.ident, None),
            Item::Static(item) => (&item.vis, &item.attrs, &item.ident, None),
            Item::Type(item) => (&item.vis, &item.attrs, &item.ident, None),
            Item::Impl(item) if item.trait_.is_none() => {
                found.extend(methods(item));
                continue;
            }
            Item::Mod(item) if !is_for_tests(&item.attrs) => {
                found.extend(item.content.iter().flat_map(|(_, items)| public(items)));
                continue;
            }
            _ => continue,
        };
        if is_exported(visibility) && !is_for_tests(attributes) {
            found.push(Public { name: name.to_string(), attributes, around: &[], signature });
        }
    }
    found
}

fn methods(item: &ItemImpl) -> impl Iterator<Item = Public<'_>> {
    item.items.iter().filter_map(|method| match method {
        syn::ImplItem::Fn(method) if is_exported(&method.vis) => Some(Public {
            name: method.sig.ident.to_string(),
            attributes: &method.attrs,
            around: &item.attrs,
            signature: Some(&method.sig),
        }),
        _ => None,
    })
}

fn undocumented(file: &File) -> Vec<String> {
    let found = public(&file.items).into_iter();
    found.filter(|item| documentation(item.attributes).is_empty()).map(|item| item.name).collect()
}

/// Public functions that return a `Result` and do not say when it is an error, in their own
/// documentation or, for all methods alike, in that of the `impl` or the file.
fn without_errors(file: &File) -> Vec<String> {
    let says = |attributes: &[Attribute]| documentation(attributes).contains("# Errors");
    let found = public(&file.items).into_iter().filter(|item| {
        item.signature.is_some_and(can_fail)
            && !says(item.attributes)
            && !says(item.around)
            && !says(&file.attrs)
    });
    found.map(|item| item.name).collect()
}

fn can_fail(signature: &Signature) -> bool {
    struct Finds(bool);
    impl<'f> Visit<'f> for Finds {
        fn visit_path_segment(&mut self, step: &'f syn::PathSegment) {
            self.0 |= step.ident == "Result";
            visit::visit_path_segment(self, step);
        }
    }
    let ReturnType::Type(_, returned) = &signature.output else { return false };
    // A `Result` inside another type is a value to look at, not a failure of the function.
    let mut finds = Finds(false);
    match &**returned {
        Type::Path(path) => {
            finds.0 = path.path.segments.last().is_some_and(|last| last.ident == "Result");
        }
        Type::ImplTrait(future) => finds.visit_type_impl_trait(future),
        _ => {}
    }
    finds.0
}

fn documentation(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| {
        let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
        let syn::Expr::Lit(literal) = &pair.value else { return None };
        let syn::Lit::Str(text) = &literal.lit else { return None };
        pair.path.is_ident("doc").then(|| text.value())
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The first line of each comment that has lines of its own.
fn first_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut was_comment = false;
    text.lines().map(str::trim).filter(move |line| {
        let is_comment = line.starts_with("//");
        let is_first = is_comment && !was_comment;
        was_comment = is_comment;
        is_first
    })
}

fn begins_badly(comment: &str) -> bool {
    let words = comment.trim_start_matches(['/', '!']).trim_start();
    FIRST_WORDS.iter().any(|first| {
        words.strip_prefix(first).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    })
}
