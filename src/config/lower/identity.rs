//! `identity` and `userinfo_url`: how to ask a provider which account a token belongs to.

use url::Url;

use super::super::file::IdentityTable;
use super::super::findings::Findings;
use super::super::span::Text;
use super::{address, body, choice, json_pointer};
use crate::model::identity::Identity;
use crate::model::tool::Method;

const METHODS: [(&str, Method); 2] = [("GET", Method::Get), ("POST", Method::Post)];

pub(super) fn identity(
    table: Option<IdentityTable>,
    userinfo: Option<Text>,
    base_url: Option<&Url>,
    find: &mut Findings<'_>,
) -> Option<Identity> {
    let Some(table) = table else {
        return address::url(&userinfo?, find).map(Identity::openid);
    };
    let (Some(request), Some(id)) = (&table.request, table.id) else {
        let wanted = if table.request.is_none() { "request" } else { "id" };
        find.missing(&table.span, wanted, "write e.g. `{ request = \"GET /user\", id = \"/id\" }`");
        return None;
    };
    let (method, url) = line(request, base_url, find)?;
    Some(Identity {
        method,
        url,
        headers: body::fixed_headers(table.headers.unwrap_or_default(), find),
        body: table.body.map(|body| body.to_json()),
        id: json_pointer::pointer(id, find),
        label: table
            .label
            .unwrap_or_default()
            .into_iter()
            .map(|pointer| json_pointer::pointer(pointer, find))
            .collect(),
        is_learnt: false,
    })
}

/// Reads a method and a URL: `GET /path`, below `base_url`, or `GET https://…`.
fn line(text: &Text, base_url: Option<&Url>, find: &mut Findings<'_>) -> Option<(Method, Url)> {
    let (word, target) = text.value.split_once(' ').unwrap_or((text.as_str(), ""));
    let method = choice(&Text::new(word.to_owned(), text.span.clone()), &METHODS, find)?;
    let whole = match base_url {
        Some(base) if target.starts_with('/') => {
            format!("{}{target}", base.as_str().trim_end_matches('/'))
        }
        _ => target.to_owned(),
    };
    address::url(&Text::new(whole, text.span.clone()), find).map(|url| (method, url))
}
