//! Extracts the title and text of a web page, for an API that responds with one.

/// The content of `<title>`, and the page's text without markup, scripts, styles, comments and
/// elements that their own tag hides in a browser. Elements that only a style sheet hides stay.
pub(super) struct Page {
    pub(super) title: Option<String>,
    pub(super) text: String,
}

pub(super) fn looks_like_html(text: &str) -> bool {
    let start = text.trim_start().get(..15).unwrap_or(text.trim_start()).to_ascii_lowercase();
    start.starts_with("<!doctype html") || start.starts_with("<html")
}

/// Extracts title and text in one pass, without a tree: enough to tell a login page from an error
/// page.
pub(super) fn strip(html: &str) -> Page {
    let mut page = Page { title: None, text: String::new() };
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        let (before, tag) = rest.split_at(open);
        push_words(&mut page.text, before);
        rest = match element(tag) {
            Some("!--") => after(tag, "-->"),
            Some(name) if name.eq_ignore_ascii_case("script") => after_end(tag, "</script"),
            Some(name) if name.eq_ignore_ascii_case("style") => after_end(tag, "</style"),
            Some(name) if name.eq_ignore_ascii_case("title") => {
                let inner = after(tag, ">");
                let end = inner.find('<').unwrap_or(inner.len());
                let mut title = String::new();
                push_words(&mut title, inner.get(..end).unwrap_or_default());
                page.title.get_or_insert(title);
                inner.get(end..).unwrap_or_default()
            }
            Some(name) if !tag.starts_with("</") && is_hidden(name, tag_text(tag)) => {
                skip_element(name, tag)
            }
            Some(_) => after_tag(tag),
            // A lone `<` in a text.
            None => {
                push_words(&mut page.text, "<");
                tag.get(1..).unwrap_or_default()
            }
        };
    }
    push_words(&mut page.text, rest);
    page.title = page.title.filter(|title| !title.is_empty());
    page
}

/// Returns the name of the tag at the start of a text, without its slash; `!--` for a comment.
fn element(tag: &str) -> Option<&str> {
    let inner = tag.strip_prefix('<')?;
    if inner.starts_with("!--") {
        return inner.get(..3);
    }
    let name = inner.trim_start_matches(['/', '!', '?']);
    let end = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
    name.get(..end).filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Elements without content (HTML, 13.1.2).
const VOID: [&str; 13] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track",
    "wbr",
];
/// Elements whose content is never shown as text.
const UNSHOWN: [&str; 8] =
    ["template", "noscript", "iframe", "object", "svg", "math", "datalist", "noembed"];
/// CSS declarations that make an element invisible, without white space.
const INVISIBLE: [&str; 10] = [
    "display:none",
    "visibility:hidden",
    "visibility:collapse",
    "opacity:0",
    "font-size:0",
    "color:transparent",
    "content-visibility:hidden",
    "clip:rect(0",
    "clip-path:inset(50%",
    "clip-path:inset(100%",
];

/// Whether an element's own tag hides it in a browser.
fn is_hidden(name: &str, tag: &str) -> bool {
    let is = |known: &&str| name.eq_ignore_ascii_case(known);
    if UNSHOWN.iter().any(&is) {
        return true;
    }
    if VOID.iter().any(is) || tag.ends_with("/>") {
        return false;
    }
    let mut rest = tag.get(1 + name.len()..).unwrap_or_default().trim_end_matches('>');
    while let Some((attribute, value, following)) = next_attribute(rest) {
        rest = following;
        match &*attribute.to_ascii_lowercase() {
            "hidden" => return true,
            "aria-hidden" if value.eq_ignore_ascii_case("true") => return true,
            "style" => {
                let style: String = value.chars().filter(|c| !c.is_whitespace()).collect();
                let style = style.to_ascii_lowercase();
                let declares = |known: &&str| {
                    // `opacity:0.5` is shown.
                    style.match_indices(*known).any(|(at, _)| {
                        let next = style.get(at + known.len()..).unwrap_or_default();
                        !known.ends_with('0') || !next.starts_with(['.', '1', '2', '3', '4', '5'])
                    })
                };
                if INVISIBLE.iter().any(declares) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// Returns the next attribute, its value and the rest.
fn next_attribute(text: &str) -> Option<(&str, &str, &str)> {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
    let end = text.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(text.len());
    if end == 0 {
        // Skip a stray `=`.
        return (!text.is_empty()).then(|| ("", "", text.get(1..).unwrap_or_default()));
    }
    let (name, rest) = text.split_at(end);
    let Some(value) = rest.trim_start().strip_prefix('=') else { return Some((name, "", rest)) };
    let value = value.trim_start();
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote) {
            let (value, rest) = inner.split_once(quote).unwrap_or((inner, ""));
            return Some((name, value, rest));
        }
    }
    let (value, rest) = value.split_at(value.find(char::is_whitespace).unwrap_or(value.len()));
    Some((name, value, rest))
}

/// Returns a tag up to its `>`. A `>` inside a quoted attribute does not count.
fn tag_text(tag: &str) -> &str {
    let mut quote = None;
    for (at, c) in tag.char_indices() {
        match (quote, c) {
            (None, '>') => return tag.get(..=at).unwrap_or_default(),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    // A quote is never closed: end at the first `>`.
    tag.find('>').and_then(|at| tag.get(..=at)).unwrap_or(tag)
}

fn after_tag(tag: &str) -> &str {
    tag.get(tag_text(tag).len()..).unwrap_or_default()
}

/// Skips an element, including nested ones of the same name, and returns the rest; empty if the
/// element never ends.
fn skip_element<'a>(name: &str, tag: &'a str) -> &'a str {
    let mut depth = 1_usize;
    let mut rest = after_tag(tag);
    while let Some(open) = rest.find('<') {
        rest = rest.get(open..).unwrap_or_default();
        rest = match element(rest) {
            Some("!--") => after(rest, "-->"),
            Some(inner) if inner.eq_ignore_ascii_case(name) => {
                if rest.starts_with("</") {
                    depth -= 1;
                } else if !tag_text(rest).ends_with("/>") {
                    depth += 1;
                }
                let rest = after_tag(rest);
                if depth == 0 {
                    return rest;
                }
                rest
            }
            Some(_) => after_tag(rest),
            None => rest.get(1..).unwrap_or_default(),
        };
    }
    ""
}

fn after<'a>(text: &'a str, mark: &str) -> &'a str {
    text.find(mark).and_then(|at| text.get(at + mark.len()..)).unwrap_or_default()
}

fn after_end<'a>(tag: &'a str, end: &str) -> &'a str {
    if tag.starts_with("</") {
        return after(tag, ">");
    }
    let bytes = end.as_bytes();
    let found =
        tag.as_bytes().windows(bytes.len()).position(|part| part.eq_ignore_ascii_case(bytes));
    found.and_then(|at| tag.get(at..)).map_or("", |tag| after(tag, ">"))
}

/// Appends words, separated by single spaces, with the most common entities decoded.
fn push_words(text: &mut String, part: &str) {
    for word in part.split_whitespace() {
        if !text.is_empty() {
            text.push(' ');
        }
        if word.contains('&') {
            // `&amp;` last, so that `&amp;lt;` stays `&lt;`.
            let word = word
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&#39;", "'")
                .replace("&nbsp;", " ")
                .replace("&amp;", "&");
            text.push_str(&word);
        } else {
            text.push_str(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_its_title_and_its_words() {
        let page = strip(
            "<!DOCTYPE html><html><head><title>Sign  in &amp; go</title><style>p{}</style>\
             <SCRIPT>if (a < b) alert('<p>')</SCRIPT></head><body><!-- secret --><h1>Welcome</h1>\
             <p class='x'>Please &lt;sign&gt; in.</p></body></html>",
        );
        assert_eq!(page.title.as_deref(), Some("Sign in & go"));
        assert_eq!(page.text, "Welcome Please <sign> in.");
    }

    #[test]
    fn what_a_browser_does_not_show_is_left_out() {
        for hidden in [
            "<p hidden>x</p>",
            "<P HIDDEN=''>x</P>",
            "<div hidden><div>x</div>x</div>",
            "<span style='display: none'>x</span>",
            "<span class=\"a>b\" style=\"color:red;DISPLAY:NONE !important\">x</span>",
            "<div style=visibility:hidden>x<br>x</div>",
            "<div style='font-size:0px'>x</div>",
            "<div style='opacity:0'>x</div>",
            "<i aria-hidden=true>x</i>",
            "<template><p>x</p></template>",
            "<noscript>x</noscript>",
            "<svg><text>x</text></svg>",
            "<iframe>x</iframe>",
            "<!-- <p> -->",
        ] {
            assert_eq!(strip(&format!("<p>a</p>{hidden}<p>b</p>")).text, "a b", "{hidden}");
        }
        for shown in [
            "<p title='hidden'>x</p>",
            "<p class=hidden>x</p>",
            "<input type=hidden value=y>x",
            "<p style='opacity:0.5'>x</p>",
            "<p data-hidden>x</p>",
            "<i aria-hidden=false>x</i>",
            "<br hidden>x",
            "<p title='a > b'>x</p>",
        ] {
            assert_eq!(strip(&format!("<p>a</p>{shown}<p>b</p>")).text, "a x b", "{shown}");
        }
        assert_eq!(strip("<p>a</p><p hidden>never ends <b>x</b>").text, "a");
    }

    #[test]
    fn broken_markup_ends() {
        for html in [
            "<",
            "<!--",
            "<script>",
            "<title>",
            "a < b",
            "<p",
            "</",
            "<script",
            "</script",
            "<p hidden",
            "<p hidden='",
            "<p =",
            "<p hidden><p",
            "<p style=\"",
            "<svg/>",
        ] {
            let _ = strip(html);
        }
        assert_eq!(strip("1 < 2").text, "1 < 2");
    }
}
