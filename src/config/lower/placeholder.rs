//! Placeholders such as `{host}` and `{tenant}` in a provider's URLs, hosts and headers.
//!
//! They are filled from the configuration, never from a tool's arguments or an API's answer: an
//! attacker who could choose `{shop}` of `https://{shop}.myshopify.com` freely would choose
//! `evil.example/` and be sent the token.

use super::super::file::ProviderTable;
use super::super::findings::Findings;
use super::super::secret_ref;
use super::super::span::Text;
use super::address;

/// A key of a provider's table that fills the placeholder of that name.
struct Placeholder {
    name: &'static str,
    take: fn(&mut ProviderTable) -> Option<Text>,
    check: fn(&str) -> bool,
    /// Example of a value.
    example: &'static str,
}

const PLACEHOLDERS: [Placeholder; 7] = [
    Placeholder {
        name: "tenant",
        take: |table| table.tenant.take(),
        check: is_domain,
        example: "contoso.onmicrosoft.com",
    },
    Placeholder {
        name: "host",
        take: |table| table.host.take(),
        check: |_| true, // by `address::host_pattern`
        example: "login.example.com",
    },
    Placeholder { name: "shop", take: |table| table.shop.take(), check: is_label, example: "acme" },
    Placeholder {
        name: "subdomain",
        take: |table| table.subdomain.take(),
        check: is_label,
        example: "acme",
    },
    Placeholder {
        name: "region",
        take: |table| table.region.take(),
        check: is_domain,
        example: "eu",
    },
    Placeholder {
        name: "realm",
        take: |table| table.realm.take(),
        check: is_segment,
        example: "master",
    },
    // For APIs that need the OAuth app's id beside the token. The id is not secret, so the operator
    // can write it; it stays in the table, which needs it for OAuth.
    Placeholder {
        name: "client_id",
        take: |table| table.client_id.clone().filter(|id| !secret_ref::looks_like_one(id.as_str())),
        check: |_| true, // by `secret::setting`
        example: "gp762nuuoqcoxypju8c569th9wz7q5",
    },
];

/// Replaces a missing or wrong value, so that the mistake is not reported again for every URL.
const NOTHING: &str = "invalid";

/// Replaces each placeholder by the value of its key.
pub(super) fn fill(id: &Text, table: &mut ProviderTable, find: &mut Findings<'_>) {
    for placeholder in &PLACEHOLDERS {
        let name = placeholder.name;
        let pattern = format!("{{{name}}}");
        let value = (placeholder.take)(table).map(|value| checked(placeholder, value, find));
        let written = match &value {
            Some(Some(value)) => value.as_str(),
            Some(None) | None => NOTHING,
        };
        let mut used = false;
        for text in texts(table).filter(|text| text.value.contains(&pattern)) {
            text.value = text.value.replace(&pattern, written);
            used = true;
        }
        match value {
            None if used => {
                find.error(
                    "provider::placeholder",
                    &id.span,
                    format!("`{}` needs `{name}`", id.value),
                )
                .hint(format!(
                    "write `{name}` in [providers.{}] as it is, not as a reference, e.g. `{}`",
                    id.value, placeholder.example
                ));
            }
            Some(Some(value)) if !used && name != "client_id" => {
                find.error(
                    "provider::placeholder",
                    &value.span,
                    format!("`{name}` means nothing to this provider"),
                )
                .hint("remove it");
            }
            _ => {}
        }
    }
}

/// Fills in examples for missing values, to show a provider that is not set up yet. Returns the
/// missing keys.
pub(super) fn imagine(table: &mut ProviderTable) -> Vec<&'static str> {
    let mut missing = Vec::new();
    for Placeholder { name, take, example, .. } in &PLACEHOLDERS {
        let pattern = format!("{{{name}}}");
        // A key with a default keeps it.
        if take(&mut table.clone()).is_some() {
            continue;
        }
        let mut used = false;
        for text in texts(table).filter(|text| text.value.contains(&pattern)) {
            text.value = text.value.replace(&pattern, example);
            used = true;
        }
        if used {
            missing.push(*name);
        }
    }
    missing
}

fn checked(placeholder: &Placeholder, value: Text, find: &mut Findings<'_>) -> Option<Text> {
    let name = placeholder.name;
    let is_good = match name {
        "host" => address::host_pattern(&value, find).map(|_| !value.value.starts_with("*."))?,
        _ => (placeholder.check)(&value.value),
    };
    if is_good {
        return Some(value);
    }
    let code = if name == "tenant" { "provider::tenant" } else { "provider::placeholder" };
    find.error(code, &value.span, format!("this is no {name}"))
        .hint(format!("write e.g. `{}`", placeholder.example));
    None
}

/// Whether a text is a DNS label (RFC 1123 §2.1), which can end neither a host name nor a path
/// segment.
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether a text is labels with dots between them, in upper or lower case.
fn is_domain(text: &str) -> bool {
    text.to_ascii_lowercase().split('.').all(is_label)
}

/// Whether a text is a path segment of plain characters. The URL parser would drop `.` and `..`,
/// and the segment with them.
fn is_segment(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// Yields every string that may contain a placeholder.
fn texts(table: &mut ProviderTable) -> impl Iterator<Item = &mut Text> {
    let oauth = table.oauth.iter_mut().flat_map(|oauth| {
        [
            &mut oauth.issuer,
            &mut oauth.authorize_url,
            &mut oauth.token_url,
            &mut oauth.refresh_url,
            &mut oauth.revoke_url,
            &mut oauth.device_url,
            &mut oauth.userinfo_url,
        ]
        .into_iter()
        .flatten()
        .chain(oauth.identity.iter_mut().flat_map(|identity| &mut identity.request))
    });
    let headers = table.headers.iter_mut().flat_map(|headers| &mut headers.entries);
    [&mut table.base_url, &mut table.console_url]
        .into_iter()
        .flatten()
        .chain(oauth)
        .chain(table.hosts.iter_mut().flatten())
        .chain(headers.map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_end_a_host_or_a_segment_is_refused() {
        let checks = [is_label as fn(&str) -> bool, is_domain, is_segment];
        for bad in
            ["", ".", "..", "evil.com/", ":80@evil.com/", "a b", "a?", "a#", "a\\", "{host}", "é"]
        {
            assert!(checks.iter().all(|check| !check(bad)), "{bad}");
        }
        let long = "a".repeat(64);
        for bad in ["-a", "a-", "a.b", "A", &long] {
            assert!(!is_label(bad), "{bad}");
        }
        assert!(
            is_label("acme-2") && is_domain("Contoso.onmicrosoft.com") && is_segment("My_realm")
        );
    }
}
