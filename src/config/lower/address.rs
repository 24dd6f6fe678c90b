//! URLs and hosts that the operator wrote.
//!
//! What is accepted is only what reads the same to a person and to the URL parser: `https://0x7f.1`
//! and `https://exämple.com` are hosts that people take for others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::super::problem::{Findings, Span};
use super::super::read::Text;

const CODE: &str = "url::invalid";

/// A URL in a text of its own.
pub(super) fn url(text: &Text, find: &mut Findings<'_>) -> Option<Url> {
    url_in(text, 0..text.value.len(), find)
}

/// The URL that is `range` of a text.
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
        find.blot(&text.part(start..start + userinfo.len(), find.source()));
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
    if is_link_local(host) {
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

fn is_link_local(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(ip) => ip.is_link_local(),
        Host::Ipv6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => ip.is_link_local(),
            None => ip.is_unicast_link_local(),
        },
        Host::Domain(_) => false,
    }
}

/// Whether a host lies, by its name alone, on this machine or in a private network.
pub(super) fn is_private(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(ip) => is_private_v4(*ip),
        Host::Ipv6(ip) => is_private_v6(*ip),
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

fn is_private_v4(ip: Ipv4Addr) -> bool {
    let is_shared = matches!(ip.octets(), [100, 64..=127, ..]);
    ip.is_loopback() || ip.is_private() || is_shared
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    ip.is_loopback() || ip.is_unique_local() || ip.to_ipv4_mapped().is_some_and(is_private_v4)
}

/// `host` or `host:port`, where a leading `*.` stands for any subdomain.
pub(super) fn host_pattern(text: &Text, find: &mut Findings<'_>) -> Option<String> {
    let pattern = text.as_str();
    let name = pattern.strip_prefix("*.");
    let parsed = Url::parse(&format!("https://{}/", name.unwrap_or(pattern))).ok();
    let is_host = parsed.as_ref().is_some_and(|url| {
        // 443 is left out by the parser, and may be written.
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

/// A block of addresses like `10.1.0.0/16`, or a lone address.
pub(super) fn is_block(text: &str) -> bool {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
}

/// A host's own place in `hosts`: with its port where that is not the scheme's.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
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
