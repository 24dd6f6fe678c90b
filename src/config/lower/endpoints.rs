//! Endpoints of an authorization server, and where they may be.

use url::Url;

use super::super::file::{OAuthTable, RevokeRequestTable};
use super::super::findings::Findings;
use super::super::span::{Span, Text};
use super::{address, choice};
use crate::model::hosts::Hosts;
use crate::model::oauth::{
    Endpoints, GrantType, OAuthSettings, Revocation, RevocationRequest, TokenBody,
};

const REVOCATIONS: [(&str, MakeRevocation); 5] = [
    ("rfc7009", Revocation::Rfc7009),
    ("access-token", Revocation::AccessToken),
    ("bearer", Revocation::Bearer),
    ("delete", Revocation::Delete),
    ("github", Revocation::GitHub),
];
type MakeRevocation = fn(Url) -> Revocation;

/// The endpoints as written.
pub(super) struct EndpointTexts {
    issuer: Option<Text>,
    authorize: Option<Text>,
    token: Option<Text>,
    revoke: Option<Text>,
    revocation: Option<Text>,
    revocation_request: Option<RevokeRequestTable>,
    refresh: Option<Text>,
    device: Option<Text>,
}

impl EndpointTexts {
    pub(super) fn take(oauth: &mut OAuthTable) -> Self {
        Self {
            issuer: oauth.issuer.take(),
            authorize: oauth.authorize_url.take(),
            token: oauth.token_url.take(),
            revoke: oauth.revoke_url.take(),
            revocation: oauth.revoke.take(),
            revocation_request: oauth.revoke_request.take(),
            refresh: oauth.refresh_url.take(),
            device: oauth.device_url.take(),
        }
    }
}

/// Reads the endpoints; `None` if it is not known where the provider grants access.
pub(super) fn endpoints(
    id: &Text,
    table: &Span,
    texts: EndpointTexts,
    may_be_there: bool,
    grant: &GrantType,
    find: &mut Findings<'_>,
) -> Option<Endpoints> {
    let mut url = |text: &Option<Text>| text.as_ref().and_then(|text| address::url(text, find));
    let mut endpoints = Endpoints {
        issuer: url(&texts.issuer),
        authorize: url(&texts.authorize),
        token: url(&texts.token),
        refresh: url(&texts.refresh),
        revoke: None,
        device: url(&texts.device),
    };
    let revoke = url(&texts.revoke);
    endpoints.revoke = if let Some(request) = texts.revocation_request {
        revoke.and_then(|url| revocation_request(url, request, find))
    } else {
        let kind = texts.revocation.as_ref().and_then(|text| choice(text, &REVOCATIONS, find));
        revoke.map(kind.unwrap_or(Revocation::Rfc7009))
    };
    let lacks_authorize = grant.is_by_consent() && texts.authorize.is_none();
    if texts.issuer.is_none() && (lacks_authorize || texts.token.is_none()) {
        if !may_be_there && !find.is_damaged(table.start) {
            find.error(
                "provider::endpoints",
                &id.span,
                format!("nothing says where `{}` grants access", id.value),
            )
            .hint(format!(
                "add `issuer` to [providers.{}.oauth], or {}`token_url`",
                id.value,
                if grant.is_by_consent() { "`authorize_url` and " } else { "" }
            ));
        }
        return None;
    }
    Some(endpoints)
}

fn revocation_request(
    url: Url,
    table: RevokeRequestTable,
    find: &mut Findings<'_>,
) -> Option<Revocation> {
    let (body, fields) = match (table.body, table.form) {
        (Some(fields), None) => (TokenBody::Json, fields),
        (None, Some(fields)) => (TokenBody::Form, fields),
        _ => {
            find.error("provider::revoke", &table.span, "what is posted?")
                .hint("write either `body = { … }` or `form = { … }`");
            return None;
        }
    };
    let values = fields.entries.iter().map(|(_, value)| value).chain(&table.authorization);
    for text in values {
        let known = ["{client_id}", "{client_secret}", "{access_token}"];
        if known.iter().fold(text.value.clone(), |text, name| text.replace(name, "")).contains('{')
        {
            find.error("provider::revoke", &text.span, "nothing is known by this name").hint(
                "there are `{client_id}`, `{client_secret}` and `{access_token}`, and no other braces",
            );
        }
    }
    let fields = fields.entries.into_iter().map(|(name, value)| (name.value, value.value));
    Some(Revocation::Request(RevocationRequest {
        url,
        authorization: table.authorization.map(|text| text.value),
        fields: fields.collect(),
        body,
    }))
}

/// Positions of the endpoints that receive tokens or the client secret and that a grant is not
/// bound to. They must be at the origin of an endpoint that it is bound to, or, except for
/// `device_url`, at one of the provider's `hosts`. Otherwise a `tools.toml` with this server's
/// client, endpoints and hosts could name an endpoint of its own and be sent the tokens that others
/// have granted.
pub(super) struct Places {
    identity: Option<Span>,
    revoke: Option<Span>,
    device: Option<Span>,
}

impl Places {
    pub(super) fn of(oauth: &OAuthTable) -> Self {
        let span = |text: &Option<Text>| text.as_ref().map(|text| text.span.clone());
        let identity = oauth.identity.as_ref().map(|table| table.span.clone());
        Self {
            identity: identity.or_else(|| span(&oauth.userinfo_url)),
            revoke: span(&oauth.revoke_url),
            device: span(&oauth.device_url),
        }
    }

    pub(super) fn check(&self, settings: &OAuthSettings, hosts: &Hosts, find: &mut Findings<'_>) {
        let Endpoints { issuer, authorize, token, revoke, device, .. } = &settings.endpoints;
        let bound = [issuer, authorize, token];
        let is_beside =
            |url: &Url| bound.into_iter().flatten().any(|bound| bound.origin() == url.origin());
        let identity = settings.identity.as_ref().map(|identity| &identity.url);
        let revoke = revoke.as_ref().map(Revocation::url);
        for (key, span, url, may_be_host) in [
            ("identity", &self.identity, identity, true),
            ("revoke_url", &self.revoke, revoke, true),
            // It receives the client secret, and shows users where to go.
            ("device_url", &self.device, device.as_ref(), false),
        ] {
            let (Some(span), Some(url)) = (span, url) else { continue };
            if is_beside(url) || (may_be_host && hosts.admit(url)) {
                continue;
            }
            let host = crate::net::host_of(url);
            let hint = if may_be_host {
                format!(
                    "it is given tokens: name a place at the token endpoint's host, or add \"{host}\" to `hosts`"
                )
            } else {
                "it is given the client secret: name a place at the token endpoint's host"
                    .to_owned()
            };
            find.error(
                "oauth::places",
                span,
                format!("`{key}` is at {host}, of which nothing else speaks"),
            )
            .hint(hint);
        }
    }
}
