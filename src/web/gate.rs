//! The gate before `/mcp`, its gateways, `/sse` and `/messages`: identifies the caller.
//!
//! It checks in this order, each before it reads any of the body: for which host the request is
//! meant, which site's page sent it, and who calls. Handlers behind the gate find an
//! `Arc<Principal>` in the request's extensions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::origin_check::Origins;
use super::port::client_address;
use super::port::crowd::Proof;
use super::problem::Problem;
use super::{cors, well_known};
use crate::broker::events::Events;
use crate::identity::{Authenticator, Challenge, Denied, RestCaller};
use crate::model::event::{EventKind, RefusalReason};
use crate::model::gateway::OfferedTools;
use crate::model::{Allowed, Event, Principal, chain};
use crate::net::Cidr;

/// `Retry-After` while the issuer cannot be asked, in seconds.
const RETRY_AFTER_ISSUER_FAILURE: HeaderValue = HeaderValue::from_static("10");
/// `Retry-After` for an address that sent too many invented tokens, in seconds.
const RETRY_AFTER_INVALID_TOKENS: HeaderValue = HeaderValue::from_static("60");
const NO_GATEWAY: &str = "this server has no gateway of that name; /mcp/all has every tool, and its operator declares others in [gateways]";

/// Checks that each request must pass.
#[derive(Clone)]
pub struct Gate {
    names: Origins,
    /// Further names and origins, if callers carry credentials.
    allowed: Arc<Allowed>,
    authenticator: Authenticator,
    challenge: Option<Challenge>,
    trusted_proxies: Arc<[Cidr]>,
    events: Events,
    /// Whether the log already mentions an untrusted proxy.
    has_warned_of_proxy: Arc<AtomicBool>,
}

impl Gate {
    /// Creates a gate. `names` are scheme, host and port of every name of this server; `events`
    /// records refusals.
    pub fn new(
        names: &[String],
        allowed: Allowed,
        authenticator: Authenticator,
        trusted_proxies: &[Cidr],
        events: Events,
    ) -> Self {
        // Without credentials the origin is all that keeps other sites' scripts out.
        let allowed = if authenticator.is_for_many() { allowed } else { Allowed::default() };
        let challenge = authenticator.resource_metadata().and_then(|metadata| {
            let address = metadata.resource.join(well_known::RESOURCE).ok()?;
            Some(Challenge { metadata: address, scopes: metadata.scopes_supported })
        });
        let names = Origins::of_machine(names);
        let allowed = Arc::new(allowed);
        Self {
            names,
            allowed,
            authenticator,
            challenge,
            trusted_proxies: trusted_proxies.into(),
            events,
            has_warned_of_proxy: Arc::default(),
        }
    }

    /// Checks that the request is meant for this server and that its origin may send it. Returns
    /// the origin if it is foreign but allowed.
    fn origin_check(&self, uri: &Uri, headers: &HeaderMap) -> Result<Option<HeaderValue>, Problem> {
        // DNS rebinding: a page of evil.example, whose name now resolves to 127.0.0.1, still sends
        // `Host: evil.example`.
        let is_allowed = self.is_allowed_host(uri, headers);
        let own = if is_allowed { None } else { self.names.requested(uri, headers) };
        if own.is_none() && !is_allowed {
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, self.other_host()));
        }
        // Refuse scripts of all pages but ours (basic/transports/streamable-http, security
        // warning). Pages at other ports of this machine belong to other programs.
        let mut foreign = None;
        for origin in headers.get_all(header::ORIGIN) {
            let text = origin.to_str().unwrap_or_default();
            let is_own = own.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(text))
                || self.names.is_public(text);
            if is_own {
                continue;
            }
            if !self.allowed.origins.iter().any(|allowed| allowed.is(text)) {
                return Err(Problem::new(StatusCode::FORBIDDEN, self.other_origin()));
            }
            foreign = Some(origin.clone());
        }
        Ok(foreign)
    }

    fn is_allowed_host(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let is_listed = |host: &str| self.allowed.hosts.iter().any(|allowed| allowed.is(host));
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let host = host.to_str().unwrap_or_default();
        is_listed(host)
            && uri.authority().is_none_or(|target| target.as_str().eq_ignore_ascii_case(host))
    }

    /// Warns about an untrusted proxy: all clients behind it count as one address and share its
    /// limits. Warns only once, since any client can send such a header.
    fn warn_of_proxy(&self, extensions: &Extensions, headers: &HeaderMap) {
        if self.has_warned_of_proxy.load(Ordering::Relaxed) || !self.authenticator.is_for_many() {
            return;
        }
        let Some(proxy) =
            client_address::untrusted_proxy(extensions, headers, &self.trusted_proxies)
        else {
            return;
        };
        if !self.has_warned_of_proxy.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %proxy,
                "a request came through an untrusted proxy, so all clients behind it share one rate limit. If the proxy is yours, add its address to `trusted_proxies` in [server]"
            );
        }
    }

    /// Whether a request names this server.
    pub(super) fn is_for_this_server(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        self.is_allowed_host(uri, headers) || self.names.requested(uri, headers).is_some()
    }

    /// Returns the origin at which the sender of a request reaches this server; `None` if the request
    /// names another one.
    pub(super) fn origin_of(&self, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        if !self.is_allowed_host(uri, headers) {
            return self.names.requested(uri, headers);
        }
        let host = headers.get(header::HOST)?.to_str().ok()?;
        Some(format!("{}://{host}", self.names.scheme()))
    }

    /// Returns the caller of a REST route.
    ///
    /// # Errors
    /// As [`Authenticator::rest`].
    pub(super) async fn identify_program(
        &self,
        extensions: &Extensions,
        headers: &HeaderMap,
    ) -> Result<RestCaller, Denied> {
        self.warn_of_proxy(extensions, headers);
        let from = client_address::client_address(extensions, headers, &self.trusted_proxies);
        let caller = self.authenticator.rest(headers, from).await?;
        if let Some(proof) = extensions.get::<Proof>() {
            proof.accept();
        }
        Ok(caller)
    }

    /// Returns the authenticator of this port.
    pub(super) fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    pub(super) fn other_host(&self) -> &'static str {
        if self.authenticator.is_for_many() {
            "the request was meant for another host; if clients reach this server by that name, its operator lists it as `allowed_hosts` in [server]"
        } else {
            "the request was meant for another host; call this server as 127.0.0.1 or localhost"
        }
    }

    fn other_origin(&self) -> &'static str {
        if self.authenticator.is_for_many() {
            "the request came from another site's page; if that site's scripts may call, the operator of this server lists its origin as `allowed_origins` in [server]"
        } else {
            "the request came from another site's page; a server without [server.auth] takes calls from programs only"
        }
    }
}

/// Address at which a request asks for tools.
pub(super) enum Address {
    /// `/mcp`, `/sse` and `/messages`: all tools.
    Mcp,
    Gateway(OfferedTools),
    /// A path below `/mcp/` that is in no `[gateways]`.
    NoGateway,
}

/// Middleware that checks host, origin and credentials of a request, in this order, and refuses it
/// or puts the caller's `Arc<Principal>` into its extensions.
pub async fn gate(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    gate.admit(Address::Mcp, request, next).await
}

impl Gate {
    /// Admits or refuses a request, as [`gate`] does.
    pub(super) async fn admit(
        &self,
        address: Address,
        mut request: Request,
        next: Next,
    ) -> Response {
        // HEAD would run the GET handler, and open a stream that no client reads.
        if request.method() == Method::HEAD {
            return StatusCode::METHOD_NOT_ALLOWED.into_response();
        }
        let foreign = match self.origin_check(request.uri(), request.headers()) {
            Ok(foreign) => foreign,
            Err(problem) => {
                let reason = match problem.status() {
                    StatusCode::MISDIRECTED_REQUEST => RefusalReason::OtherHost,
                    _ => RefusalReason::ForeignOrigin,
                };
                record(&self.events, reason, problem.status());
                return problem.into_response();
            }
        };
        if let Some(origin) = &foreign
            && cors::is_preflight(request.method(), request.headers())
        {
            return cors::preflight(request.headers(), origin.clone());
        }
        let found = self.identify(address, request.extensions(), request.headers()).await;
        let mut response = match found {
            Ok(Some(principal)) => {
                request.extensions_mut().insert(principal);
                next.run(request).await
            }
            Ok(None) => Problem::new(StatusCode::NOT_FOUND, NO_GATEWAY).into_response(),
            Err(denied) => {
                record(&self.events, denied.reason(), denied.status());
                refusal(&denied, self.challenge.as_ref())
            }
        };
        if let Some(origin) = foreign {
            cors::allow(&mut response, origin);
        }
        response
    }

    /// Returns the caller; `None` at a gateway that does not exist.
    async fn identify(
        &self,
        address: Address,
        extensions: &Extensions,
        headers: &HeaderMap,
    ) -> Result<Option<Arc<Principal>>, Denied> {
        self.warn_of_proxy(extensions, headers);
        let from = client_address::client_address(extensions, headers, &self.trusted_proxies);
        let principal = match address {
            Address::Mcp => self.authenticator.authenticate(headers, from).await?,
            Address::Gateway(_) | Address::NoGateway => {
                self.authenticator.at_gateway(headers, from).await?
            }
        };
        if let Some(proof) = extensions.get::<Proof>() {
            proof.accept();
        }
        Ok(match address {
            Address::Mcp => Some(principal),
            Address::NoGateway => None,
            Address::Gateway(offered) => {
                Some(Arc::new(Principal { offered, ..Principal::clone(&principal) }))
            }
        })
    }
}

/// Records that a request was refused.
pub(super) fn record(events: &Events, reason: RefusalReason, status: StatusCode) {
    let status = status.as_u16();
    events.record(&Event::new(EventKind::Refusal { reason, status }));
}

fn refusal(denied: &Denied, challenge: Option<&Challenge>) -> Response {
    if let Denied::Unavailable(error) = denied {
        tracing::warn!(error = %chain(error.as_ref()), "the issuer cannot be asked");
    }
    let said = format!("{denied}; {}", denied.hint());
    let mut response = Problem::new(denied.status(), said).into_response();
    add_refusal_headers(denied, challenge, &mut response);
    response
}

/// Adds the headers of a refusal: `Retry-After` and `WWW-Authenticate`.
pub(super) fn add_refusal_headers(
    denied: &Denied,
    challenge: Option<&Challenge>,
    response: &mut Response,
) {
    let headers = response.headers_mut();
    match denied {
        Denied::Unavailable(_) => headers.insert(header::RETRY_AFTER, RETRY_AFTER_ISSUER_FAILURE),
        Denied::TooManyFailures => headers.insert(header::RETRY_AFTER, RETRY_AFTER_INVALID_TOKENS),
        _ => None,
    };
    if let Some(Ok(challenge)) = denied.challenge(challenge).map(HeaderValue::try_from) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Caller, UserId};

    fn gate() -> Gate {
        let ana = Principal::local(Caller::local(UserId::new("ana")));
        let names = ["http://127.0.0.1:8080".to_owned()];
        let authenticator = Authenticator::local(ana);
        Gate::new(&names, Allowed::default(), authenticator, &[], Events::default())
    }

    fn refused(target: &str, pairs: &[(&'static str, &'static str)]) -> Option<u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let checked = gate().origin_check(&target.parse().unwrap(), &headers);
        checked.err().map(|problem| problem.status().as_u16())
    }

    #[test]
    fn only_requests_for_us_and_of_nobodys_page_get_through() {
        let ours = ("host", "127.0.0.1:8080");
        assert_eq!(refused("/mcp", &[ours]), None);
        assert_eq!(refused("/mcp", &[ours, ("origin", "http://127.0.0.1:8080")]), None);
        assert_eq!(refused("http://127.0.0.1:8080/mcp", &[ours]), None);
        assert_eq!(refused("http://evil.example/mcp", &[ours]), Some(421));
        for other in
            ["evil.example", "evil.example:8080", "0.0.0.0:8080", "127.0.0.1:8080.evil.example"]
        {
            assert_eq!(refused("/mcp", &[("host", other)]), Some(421), "{other}");
        }
        assert_eq!(refused("/mcp", &[]), Some(421));
        for origin in
            ["null", "", "https://evil.example", "http://127.0.0.1", "https://127.0.0.1:8080"]
        {
            assert_eq!(refused("/mcp", &[ours, ("origin", origin)]), Some(403), "{origin}");
            let two = [ours, ("origin", "http://127.0.0.1:8080"), ("origin", origin)];
            assert_eq!(refused("/mcp", &two), Some(403), "after ours: {origin}");
        }
    }

    /// A port forward keeps the client's `Host`; DNS rebinding depends on the name.
    #[test]
    fn a_loopback_name_may_have_any_port_and_its_origin_the_same() {
        for host in ["localhost:9000", "127.0.0.1:9000", "[::1]:9000", "LOCALHOST:1", "127.0.0.1"] {
            assert_eq!(refused("/mcp", &[("host", host)]), None, "{host}");
        }
        let forwarded = ("host", "localhost:9000");
        assert_eq!(refused("/mcp", &[forwarded, ("origin", "http://localhost:9000")]), None);
        for other in [
            "http://localhost:8080",
            "http://localhost:9001",
            "http://localhost",
            "http://127.0.0.1:9000",
            "https://localhost:9000",
        ] {
            assert_eq!(refused("/mcp", &[forwarded, ("origin", other)]), Some(403), "{other}");
        }
        for other in ["localhost.evil.example:9000", "127.0.0.1.evil.example", "localhost:port"] {
            assert_eq!(refused("/mcp", &[("host", other)]), Some(421), "{other}");
        }
    }
}
