//! Rules for every page that a browser of these tests gets.
//!
//! Each page is also written to `target/tmp/pages`, under its title, for people to look at and for
//! other tests to check more than can be read off its source.

use std::path::Path;

/// Panics unless the page keeps the rules.
pub(crate) fn hold(html: &str) {
    let title = title(html);
    let broken = |rule: &str| -> ! { panic!("{title}: {rule}\n{}", body(html)) };
    let must = |holds: bool, rule: &str| {
        if !holds {
            broken(rule);
        }
    };
    must(html.starts_with("<!doctype html>"), "no doctype");
    must(html.contains("<html lang=\"en\">"), "no language");
    must(html.contains("name=\"viewport\""), "no viewport");
    must(title.ends_with(" · Countersign") && title.len() > 20, "no title of its own");
    let of = |name: &str| -> Vec<Tag<'_>> {
        tags(html).into_iter().filter(|tag| tag.name == name).collect()
    };
    must(of("h1").len() == 1, "not one main heading");
    must(of("main").len() == 1, "not one main part");
    must(of("script").is_empty(), "a script");
    for tag in tags(html) {
        must(tag.attribute("style").is_none(), "a style attribute, which the policy ignores");
        must(!tag.text.contains(" on"), "an event handler");
    }
    let mut ids: Vec<&str> = tags(html).iter().filter_map(|tag| tag.attribute("id")).collect();
    ids.sort_unstable();
    must(ids.windows(2).all(|pair| pair[0] != pair[1]), "an id twice");
    for reference in ["aria-labelledby", "aria-describedby", "for"] {
        for tag in tags(html) {
            for id in tag.attribute(reference).unwrap_or_default().split_whitespace() {
                must(ids.contains(&id), "a reference to nothing");
            }
        }
    }
    let labels = of("label");
    for input in of("input").iter().filter(|tag| tag.attribute("type") != Some("hidden")) {
        let label = labels.iter().find(|label| label.attribute("for") == input.attribute("id"));
        must(label.is_some_and(|label| !label.said.is_empty()), "a field without a label");
        must(input.attribute("autocomplete").is_some(), "a field without autocomplete");
    }
    must(of("button").iter().all(|button| !button.said.is_empty()), "a button without words");
    must(
        of("time").iter().all(|time| time.attribute("datetime").is_some()),
        "a time in words only",
    );
    for form in html.split("<form").skip(1).map(|rest| rest.split("</form>").next().unwrap()) {
        must(form.split('>').next().unwrap().contains("method=\"post\""), "a form that is no POST");
        let token = form.split("name=\"csrf\" value=\"").nth(1).and_then(|it| it.split('"').next());
        must(token.is_some_and(|token| token.len() == 43), "a form without its token");
        must(form.contains("<button"), "a form without a button");
    }
    keep(title, html);
}

pub(crate) fn title(html: &str) -> &str {
    html.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next()).unwrap_or_default()
}

/// The page without its styles, which are the same everywhere.
fn body(html: &str) -> &str {
    html.split("</style>").nth(1).unwrap_or(html)
}

fn keep(title: &str, html: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = title.trim_end_matches(" · Countersign").chars().map(plain).collect();
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{name}.html")), html).unwrap();
}

/// An opening tag.
struct Tag<'a> {
    name: &'a str,
    /// The tag without its angle brackets.
    text: &'a str,
    /// The text right after the tag.
    said: &'a str,
}

impl<'a> Tag<'a> {
    fn attribute(&self, name: &str) -> Option<&'a str> {
        let rest = self.text.split(&format!(" {name}=\"")).nth(1)?;
        rest.split('"').next()
    }
}

fn tags(html: &str) -> Vec<Tag<'_>> {
    let opening = |part: &&str| part.starts_with(|c: char| c.is_ascii_lowercase());
    body(html).split('<').filter(opening).map(tag).collect()
}

fn tag(part: &str) -> Tag<'_> {
    let (text, said) = part.split_once('>').unwrap_or((part, ""));
    Tag { name: text.split(' ').next().unwrap(), text, said: said.trim() }
}

#[test]
fn the_rules_are_strict() {
    let page = |main: &str| {
        format!(
            "<!doctype html>\n<html lang=\"en\"><meta name=\"viewport\"><title>A page for a test · Countersign</title>\
             <style></style><main><h1>x</h1>{main}</main>"
        )
    };
    hold(&page("<p>x</p>"));
    for bad in [
        "<h1>y</h1>",
        "<script>x</script>",
        "<p style=\"color: red\">x</p>",
        "<p onclick=\"x\">x</p>",
        "<input type=\"text\" autocomplete=\"off\">",
        "<label for=\"a\">x</label><input id=\"a\" type=\"text\">",
        "<form method=\"post\"><button>x</button></form>",
        "<button></button>",
        "<p id=\"a\"></p><p id=\"a\"></p>",
        "<p aria-describedby=\"b\"></p>",
        "<time>x</time>",
    ] {
        let page = page(bad);
        assert!(std::panic::catch_unwind(|| hold(&page)).is_err(), "{bad}");
    }
}
