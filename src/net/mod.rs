//! Outbound HTTP: [`Net::send`] sends every outbound request of the product.
//!
//! # Where requests may go
//!
//! | | [`Trust::Written`] | [`Trust::Learnt`] |
//! |---|---|---|
//! | source of the host | the operator, in `tools.toml` | a document or redirect from outside |
//! | `https` | any address but link-local ones | public addresses, and those in `allow_private` |
//! | `http` | loopback and private addresses | never |
//!
//! The check has two places. A host that is an IP address is checked before sending, because an
//! HTTP client does not ask its resolver about those (and `url` has already turned `0x7f.1`,
//! `2130706433` and the like into `127.0.0.1`). Any other host is checked by the client's resolver.
//! It passes only vetted addresses to the connector, so a name that resolves to a public address
//! first and to a private one later (DNS rebinding) has no second look-up to exploit.
//!
//! No environment variable, proxy setting or build flag relaxes this.
//!
//! # What every client does
//!
//! No redirects: a redirect to another host would carry API keys and bodies along. No `Referer`: it
//! would carry the query. No proxy from the environment: it would decide how names are resolved. No
//! retries but the one of [`Net::send_read`]. HTTP/1.1 with keep-alive. Clients are built at
//! first use, since loading the machine's root certificates takes longer than the whole start of
//! the process. Each thread has its own, since a pooled connection belongs to the runtime of the
//! thread that opened it: a call over another thread's connection would wait for two threads to
//! wake up.

mod address;
mod error;
mod read;
mod resolve;
mod retry_after;
mod status;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Request, Response};
use thread_local::ThreadLocal;
use tokio::sync::OnceCell;
use url::{Host, Url};

pub use address::{Cidr, CidrError, Class, classify};
pub use error::{NetError, Phase, host_of};
pub use read::{Room, read, read_into};
pub use retry_after::retry_after;
pub use status::status_words;

use resolve::VettingResolver;

/// Time limit for connecting; then the request fails with [`Phase::Connect`].
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle time after which a connection is closed, below the usual 60 s of load balancers. Some
/// servers close after 5 s: see [`Connection`].
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(45);
const USER_AGENT: &str = concat!("countersign/", env!("CARGO_PKG_VERSION"));

/// Source of the host that a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The operator, in `tools.toml`.
    Written,
    /// A discovery document on another origin, a redirect, an OpenAPI document…
    Learnt,
}

/// Exceptions to the rules that the operator allows.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Private addresses that hosts learnt from outside may have. Link-local ones stay refused.
    pub allow_private: Vec<Cidr>,
}

/// The outbound HTTP policy and its clients. Cheap to clone.
#[derive(Clone)]
pub struct Net(Arc<Inner>);

struct Inner {
    policy: Policy,
    clients: ThreadLocal<Clients>,
}

/// Clients of one thread.
#[derive(Default)]
struct Clients {
    reused: ByRule,
    new: ByRule,
}

#[derive(Default)]
struct ByRule {
    written: OnceCell<Client>,
    written_plain: OnceCell<Client>,
    learnt: OnceCell<Client>,
}

/// Connection that a request goes over.
///
/// A server closes idle connections when it likes. If it does so while a request is on its way, the
/// request fails, and the client cannot tell whether the server has acted on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    /// An idle one, if there is one.
    Reused,
    /// One of its own, which is closed after the response.
    New,
}

/// Rule that a connection falls under. Each has a client of its own, so that a pooled connection
/// made under one rule is never used under another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Written,
    /// `http://` to a host that the operator wrote.
    WrittenPlain,
    Learnt,
}

impl Net {
    /// Creates the outbound side for this policy. HTTP clients are built at first use.
    pub fn new(policy: Policy) -> Self {
        Self(Arc::new(Inner { policy, clients: ThreadLocal::new() }))
    }

    /// Returns the operator's policy.
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// Checks whether a request to this URL may be tried. Names are resolved later, at connect
    /// time, and may still be refused then.
    ///
    /// # Errors
    /// [`Phase::Refused`] with the reason.
    pub fn vet(&self, url: &Url, trust: Trust) -> Result<(), NetError> {
        self.rule(url, trust).map(|_| ())
    }

    /// Sends a request and waits for the head of the response; [`read()`] reads the body.
    ///
    /// There is no total timeout here: the caller sets one around this and the reading.
    ///
    /// # Errors
    /// [`NetError`] if the policy refuses the request or no response comes. A response with an
    /// error status is no error.
    pub async fn send(&self, request: Request, trust: Trust) -> Result<Response, NetError> {
        self.send_over(Connection::Reused, request, trust).await
    }

    /// Like [`Self::send`], for a request that only reads: if the connection breaks off before the
    /// response, it is sent once more over a new connection (RFC 9110 §9.2.2), since the server may
    /// have closed an idle one.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_read(&self, request: Request, trust: Trust) -> Result<Response, NetError> {
        let again = request.try_clone();
        match (self.send_over(Connection::Reused, request, trust).await, again) {
            (Err(NetError { phase: Phase::Broken(_), .. }), Some(again)) => {
                self.send_over(Connection::New, again, trust).await
            }
            (sent, _) => sent,
        }
    }

    /// Sends a request over a connection of its own, and never again; otherwise as [`Self::send`].
    ///
    /// For requests that spend what can be used once (an authorization code, a refresh token): one
    /// that met a closing connection would cost the user a consent.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_once(&self, request: Request, trust: Trust) -> Result<Response, NetError> {
        self.send_over(Connection::New, request, trust).await
    }

    async fn send_over(
        &self,
        connection: Connection,
        request: Request,
        trust: Trust,
    ) -> Result<Response, NetError> {
        let rule = self.rule(request.url(), trust)?;
        let host = host_of(request.url());
        let client = self.client(rule, connection).await;
        let client = client.map_err(|error| NetError::new(host.clone(), error))?;
        client.execute(request).await.map_err(|error| NetError::from_reqwest(host, &error))
    }

    fn rule(&self, url: &Url, trust: Trust) -> Result<Rule, NetError> {
        let refuse =
            |reason: &str| Err(NetError::new(host_of(url), Phase::Refused(reason.to_owned())));
        let rule = match (url.scheme(), trust) {
            ("https", Trust::Written) => Rule::Written,
            ("http", Trust::Written) => Rule::WrittenPlain,
            ("https", Trust::Learnt) => Rule::Learnt,
            ("http", Trust::Learnt) => {
                return refuse("hosts that tools.toml does not name must be reached by https");
            }
            _ => return refuse("only http and https are spoken"),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("the URL carries a user name or password");
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) => return Ok(rule),
            None => return refuse("the URL names no host"),
        };
        match self.0.policy.judge(literal, rule) {
            Ok(()) => Ok(rule),
            Err(reason) => refuse(&reason),
        }
    }

    async fn client(&self, rule: Rule, connection: Connection) -> Result<&Client, Phase> {
        let clients = self.0.clients.get_or_default();
        let clients = match connection {
            Connection::Reused => &clients.reused,
            Connection::New => &clients.new,
        };
        let slot = match rule {
            Rule::Written => &clients.written,
            Rule::WrittenPlain => &clients.written_plain,
            Rule::Learnt => &clients.learnt,
        };
        // Built once, even if several calls come first: reading some 140 root certificates blocks
        // for tens of milliseconds.
        let built = slot.get_or_try_init(async || {
            let policy = self.0.policy.clone();
            match tokio::task::spawn_blocking(move || build(policy, rule, connection)).await {
                Ok(Ok(client)) => Ok(client),
                Ok(Err(error)) => Err(Phase::Client(error.without_url().to_string())),
                Err(_) => Err(Phase::Client("the process is shutting down".into())),
            }
        });
        built.await
    }
}

/// Builds a [`Client`]; no other code does.
fn build(policy: Policy, rule: Rule, connection: Connection) -> Result<Client, reqwest::Error> {
    let mut builder = Client::builder()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .retry(reqwest::retry::never())
        .http1_only()
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .dns_resolver(VettingResolver::new(policy, rule));
    if connection == Connection::New {
        builder = builder.pool_max_idle_per_host(0);
    }
    // An error means that a provider is installed already, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match rule {
        Rule::Written | Rule::Learnt => builder.https_only(true),
        // Never speaks TLS, so it needs no root certificates.
        Rule::WrittenPlain => builder.tls_certs_only([]),
    }
    .build()
}

impl Policy {
    /// Checks whether a connection under `rule` may be made to this address; the error is the
    /// reason.
    fn judge(&self, address: IpAddr, rule: Rule) -> Result<(), String> {
        let class = classify(address);
        match (rule, class) {
            (_, Class::LinkLocal) => {
                Err(format!("{address} is link-local, where clouds keep machine credentials"))
            }
            (_, Class::Public) if rule != Rule::WrittenPlain => Ok(()),
            (Rule::Written, _) | (Rule::WrittenPlain, Class::Private) => Ok(()),
            (Rule::WrittenPlain, _) => Err(format!(
                "{address} is not a loopback or private address, and http:// is for those only"
            )),
            (Rule::Learnt, _) if self.allow_private.iter().any(|block| block.contains(address)) => {
                Ok(())
            }
            (Rule::Learnt, _) => Err(format!(
                "{address} is {}, and tools.toml does not name this host",
                class.words()
            )),
        }
    }
}

#[cfg(test)]
mod tests;
