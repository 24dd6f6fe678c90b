//! Reads URLs and hosts that the operator wrote.
//!
//! Accepts only text that a person and the URL parser read alike: people take `https://0x7f.1` and
//! `https://exämple.com` for other hosts.

use std::net::IpAddr;

use url::{Host, Url};

use super::super::findings::Findings;
use super::super::span::{Span, Text};
use crate::net::{Class, classify};

/// Code of the problem that a URL cannot be used.
pub(super) const CODE: &str = "url::invalid";

/// Reads a whole string as a URL.
pub(super) fn url(text: &Text, find: &mut Findings<'_>) -> Option<Url> {
    url_in(text, 0..text.value.len(), find)
}

/// Reads a URL to which browsers carry data that no third party may read or change: `https`, or
/// `http` on the browser's own machine, where no third party is in between. Browsers keep `Secure`
/// cookies by the same rule.
pub(super) fn browser_url(text: &Text, find: &mut Findings<'_>) -> Option<Url> {
    let url = url(text, find)?;
    if url.scheme() == "https" || url.host().is_some_and(|host| is_loopback(&host)) {
        return Some(url);
    }
    let span = text.part(0..text.value.len(), find.source());
    find.error(CODE, &span, "browsers are sent here by `https://` only")
        .label("everybody on the way can read this")
        .hint("write `https://`; `http://` is for this machine's own address, e.g. `http://127.0.0.1:8080`");
    None
}

/// Reads the part `range` of a string as a URL.
pub(super) fn url_in(text: &Text, range: Span, find: &mut Findings<'_>) -> Option<Url> {
    let written = text.value.get(range.clone()).unwrap_or_default();
    let span = text.part(range.clone(), find.source());
    let Some((scheme, rest)) = written.split_once("://") else {
        find.error(CODE, &span, "this is no URL").hint("a URL begins with `https://`");
        return None;
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    if let Some((userinfo, _)) = authority.rsplit_once('@') {
        let start = range.start + scheme.len() + 3;
        find.redact(&text.part(start..start + userinfo.len(), find.source()));
        find.error(CODE, &span, "this URL holds a user name or password")
            .hint("remove what stands before `@`; credentials belong to a provider, as references");
        return None;
    }
    if let Some(complaint) =
        written.chars().find(|c| c.is_control() || c.is_whitespace() || *c == '\\')
    {
        find.error(CODE, &span, format!("{complaint:?} cannot stand in a URL"))
            .hint("remove it, or write it percent-encoded");
        return None;
    }
    let url = match Url::parse(written) {
        Ok(url) => url,
        Err(error) => {
            find.error(CODE, &span, format!("this is no URL: {error}"))
                .hint("a URL is `https://`, a host and a path");
            return None;
        }
    };
    if url.fragment().is_some() {
        find.error(CODE, &span, "this URL has a fragment, which is never sent")
            .hint("remove `#` and what follows");
        return None;
    }
    let host = url.host()?;
    is_plain_host(authority, &host, &span, find).then_some(())?;
    is_scheme_safe(&url, &host, &span, find).then_some(())?;
    Some(url)
}

fn is_plain_host(authority: &str, host: &Host<&str>, span: &Span, find: &mut Findings<'_>) -> bool {
    let written = match authority.rsplit_once(':') {
        Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) => host,
        _ => authority,
    };
    if written.ends_with('.') {
        find.error(CODE, span, "the host ends with a dot").hint(
            "remove the dot: certificates, cookies and the `hosts` list know the name without it",
        );
        return false;
    }
    let parsed = host.to_string();
    if !written.eq_ignore_ascii_case(&parsed) {
        find.error(CODE, span, "the host is written in a way that hides which one it is")
            .label(format!("this is `{parsed}`"))
            .hint(format!("write `{parsed}`"));
        return false;
    }
    if class(host) == Some(Class::LinkLocal) {
        find.error(CODE, span, "link-local addresses are never called")
            .label("link-local")
            .hint("clouds keep their machines' credentials there");
        return false;
    }
    true
}

fn is_scheme_safe(url: &Url, host: &Host<&str>, span: &Span, find: &mut Findings<'_>) -> bool {
    match url.scheme() {
        "https" => true,
        "http" if is_private(host) => true,
        "http" => {
            find.error(CODE, span, "`http://` is for loopback and private hosts only")
                .label("everybody on the way can read this")
                .hint("write `https://`");
            false
        }
        _ => {
            find.error(CODE, span, "only `https://` can be called").hint("write `https://`");
            false
        }
    }
}

/// Classifies a host that is an IP address. `None` for a name, which is resolved when it is called.
fn class(host: &Host<&str>) -> Option<Class> {
    match host {
        Host::Ipv4(ip) => Some(classify(IpAddr::V4(*ip))),
        Host::Ipv6(ip) => Some(classify(IpAddr::V6(*ip))),
        Host::Domain(_) => None,
    }
}

/// Whether a host, judged by its name alone, is on this machine or in a private network.
pub(super) fn is_private(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(_) | Host::Ipv6(_) => class(host) == Some(Class::Private),
        Host::Domain(name) => {
            // No public host has a name of one label; the suffixes are reserved for private use
            // (RFC 6761, 6762, 8375 and ICANN's `.internal`).
            !name.contains('.')
                || [".localhost", ".local", ".internal", ".home.arpa"]
                    .iter()
                    .any(|suffix| name.to_ascii_lowercase().ends_with(suffix))
        }
    }
}

/// Whether a host is the machine on which its name is looked up (RFC 6761 §6.3).
pub(super) fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
        Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
    }
}

/// Reads `host` or `host:port`, where a leading `*.` stands for any subdomain.
pub(super) fn host_pattern(text: &Text, find: &mut Findings<'_>) -> Option<String> {
    let pattern = text.as_str();
    let name = pattern.strip_prefix("*.");
    let parsed = Url::parse(&format!("https://{}/", name.unwrap_or(pattern))).ok();
    let is_host = parsed.as_ref().is_some_and(|url| {
        // The parser drops port 443, which the operator may write.
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = format!("{}{port}", url.host_str().unwrap_or_default());
        let written = name.unwrap_or(pattern);
        written.eq_ignore_ascii_case(&host) || written.eq_ignore_ascii_case(&format!("{host}:443"))
    });
    let is_plain = pattern
        .chars()
        .skip(if name.is_some() { 2 } else { 0 })
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']'));
    let is_too_wide = name.is_some_and(|name| !name.contains('.'));
    if !is_host || !is_plain || pattern.ends_with('.') {
        find.error("host::invalid", &text.span, "this is no host")
            .hint("write `api.example.com`, `api.example.com:8443` or `*.example.com`, without scheme and path");
        return None;
    }
    if is_too_wide {
        find.error("host::invalid", &text.span, "this names a whole top-level domain")
            .label("everybody can have a host there")
            .hint("write at least `*.example.com`");
        return None;
    }
    Some(pattern.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn complaint(url_text: &str) -> Option<String> {
        let source = format!("{url_text:?}");
        let mut find = Findings::new(&source);
        let text = Text { value: url_text.into(), span: 0..source.len() };
        let found = url(&text, &mut find);
        let problems = find.finish(Path::new("t"));
        assert_eq!(found.is_none(), !problems.list.is_empty(), "{url_text}");
        problems.list.first().map(|problem| problem.message.clone())
    }

    #[test]
    fn plain_urls_are_accepted() {
        for good in [
            "https://api.example.com",
            "https://api.example.com:8443/v1?a=b",
            "https://xn--bcher-kva.example/",
            "http://127.0.0.1:9000",
            "http://localhost:1/x",
            "http://[::1]:9000/",
            "http://10.0.0.1/",
            "http://search/",
            "http://api.internal",
        ] {
            assert_eq!(complaint(good), None, "{good}");
        }
    }

    #[test]
    fn urls_that_could_deceive_are_refused() {
        for bad in [
            "api.example.com",
            "http://api.example.com",
            "ftp://api.example.com",
            "https://user:pass@api.example.com",
            "https://api.example.com#x",
            "https://api.example.com./",
            "https://exämple.com",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://a b/",
            "https://a\\b/",
            "http://169.254.169.254/latest",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.169.254]/",
            "https://",
        ] {
            assert!(complaint(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        let source = "\"https://ana:hunter2@example.com\"";
        let mut find = Findings::new(source);
        url(&Text { value: source.trim_matches('"').into(), span: 0..source.len() }, &mut find);
        assert!(!find.finish(Path::new("t")).source.contains("hunter2"));
    }

    #[test]
    fn host_patterns_name_hosts_only() {
        let accepts = |pattern: &str| {
            let mut find = Findings::new("");
            host_pattern(&Text { value: pattern.into(), span: 0..0 }, &mut find).is_some()
        };
        for good in [
            "api.example.com",
            "api.example.com:8443",
            "*.googleapis.com",
            "127.0.0.1:80",
            "[::1]:9000",
            "a:443",
        ] {
            assert!(accepts(good), "{good}");
        }
        for bad in [
            "",
            "https://a.example",
            "a.example/x",
            "*",
            "*.com",
            "a.example.",
            "a@b",
            "*.*.com",
            "a:99999",
        ] {
            assert!(!accepts(bad), "{bad}");
        }
    }
}
