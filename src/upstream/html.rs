//! What a web page says, for an API that answers with one: its title and its text.

/// The content of `<title>` and the page's text without markup, scripts, styles and comments.
pub(super) struct Page {
    pub(super) title: Option<String>,
    pub(super) text: String,
}

pub(super) fn looks_like_html(text: &str) -> bool {
    let start = text.trim_start().get(..15).unwrap_or(text.trim_start()).to_ascii_lowercase();
    start.starts_with("<!doctype html") || start.starts_with("<html")
}

/// One pass, no tree: enough to tell a login page from an error page.
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
            Some(_) => after(tag, ">"),
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

/// The name of the tag that a text starts with, without its slash; `!--` for a comment.
fn element(tag: &str) -> Option<&str> {
    let inner = tag.strip_prefix('<')?;
    if inner.starts_with("!--") {
        return inner.get(..3);
    }
    let name = inner.trim_start_matches(['/', '!', '?']);
    let end = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
    name.get(..end).filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))
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

/// Appends words, one blank between them, with the commonest entities decoded.
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
    fn broken_markup_ends() {
        for html in ["<", "<!--", "<script>", "<title>", "a < b", "<p", "</", "<script", "</script"]
        {
            let _ = strip(html);
        }
        assert_eq!(strip("1 < 2").text, "1 < 2");
    }
}
