//! `POST /v1/connections`: an application moves tokens in that its users consented to elsewhere.
//!
//! Not a route of Arcade's, but for the same programs and in the same form.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::authorize::{MAX_SCOPE_BYTES, MAX_SCOPES, no_provider, read_scopes};
use super::user_connections::ProviderUserInfo;
use super::{SHOULD_RETRY, malformed, problem, unavailable};
use crate::broker::deposit::{DepositError, Deposited, Depositor, ForeignTokens};
use crate::identity::RestCaller;
use crate::model::connection_id::connection_id;
use crate::model::deposit::Proof;
use crate::model::face::Face;
use crate::model::time::{self, utc};
use crate::model::{AccountName, Caller, Provider, Time};
use crate::web::rest::answer::{ErrorName, bad_user, json};
use crate::web::rest::{RestState, body};

pub(in crate::web) const PATH: &str = "/v1/connections";

/// Longest `account` in characters.
const MAX_ACCOUNT_CHARS: usize = 500;
/// Longest lifetime in seconds: ten years.
const MAX_LIFETIME_SECONDS: u64 = 10 * 365 * 24 * 3600;

/// Tokens to move in. One of the two is needed, and a refresh token is renewed at once.
#[derive(Deserialize, JsonSchema)]
pub(in crate::web) struct ConnectionToDeposit {
    user_id: Option<String>,
    /// The provider's name in `tools.toml` or in `/v1/admin/auth_providers`.
    provider: String,
    /// The client that the tokens were issued to. It must be the provider's client here, since a
    /// refresh token belongs to its client (RFC 6749 §6).
    client_id: String,
    #[serde(default, with = "crate::model::secret::exposed_option")]
    #[schemars(with = "Option<String>")]
    refresh_token: Option<SecretString>,
    #[serde(default, with = "crate::model::secret::exposed_option")]
    #[schemars(with = "Option<String>")]
    access_token: Option<SecretString>,
    /// `Bearer`, or absent.
    token_type: Option<String>,
    /// End of the access token: a date and time of RFC 3339, or seconds since 1970.
    expires_at: Option<WrittenTime>,
    /// Seconds until that end; `expires_at` has precedence.
    expires_in: Option<u64>,
    /// Scopes that the user has consented to; tools get no others. Without it, those that the provider
    /// names count.
    #[schemars(length(max = MAX_SCOPES), inner(length(max = MAX_SCOPE_BYTES)))]
    scopes: Option<Vec<String>>,
    /// Id or name of the account at the provider. If the provider names another one or none, no call
    /// uses the connection.
    #[schemars(length(max = MAX_ACCOUNT_CHARS))]
    account: Option<String>,
    /// Name of the connection, where users connect several accounts of the provider.
    connection_id: Option<String>,
    /// Whether the user has agreed to calls that run while they are away. Default: false.
    #[serde(default)]
    away: bool,
}

/// A time, as clients write it.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::web) enum WrittenTime {
    Seconds(i64),
    Text(String),
}

/// A connection that was moved in.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct DepositAnswer {
    /// As in `/v1/admin/user_connections`.
    id: String,
    status: DepositStatus,
    user_id: String,
    provider_id: String,
    connection_id: String,
    provider_user_info: ProviderUserInfo,
    scopes: Vec<String>,
    /// Whether calls may use it while the user is away.
    away: bool,
    /// Scopes of the request that the provider has not granted.
    ungranted_scopes: Vec<String>,
    /// End of the access token, if known.
    expires_at: Option<String>,
    /// Whether it is renewed when its access token expires.
    renews: bool,
}

/// Whether a connection works.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::web) enum DepositStatus {
    /// The provider honours it.
    Live,
    /// The provider could not be asked; the first call of a tool shows whether it works.
    Unproven,
}

pub(in crate::web) async fn deposit(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    request: Request,
) -> Response {
    let body: ConnectionToDeposit = match body::json(request).await {
        Ok(body) => body,
        Err(problem) => return problem.answer(Face::Arcade),
    };
    let principal = match caller.principal(body.user_id.as_deref()) {
        Ok(principal) => principal,
        Err(fault) => return bad_user(Face::Arcade, "user_id", fault),
    };
    let name = body.provider.clone();
    let tokens = match body.read(broker.now()) {
        Ok(tokens) => tokens,
        Err(message) => return malformed(message),
    };
    let space = caller.space();
    let provider = match broker.provider_named(&space, &[&name], None).await {
        Ok(provider) => provider,
        Err(error) => return no_provider(&error),
    };
    if !broker.admits_deposit(&space) {
        let message =
            "too many connections were moved in within a minute; send it again in a minute";
        let mut response = problem(StatusCode::TOO_MANY_REQUESTS, ErrorName::RateLimited, message);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("60"));
        return response;
    }
    let by = caller.depositor().map_or(Depositor::Operator, Depositor::Application);
    match broker.deposit(&principal, by, &provider, tokens).await {
        Ok(deposited) => {
            let status = if deposited.is_new { StatusCode::CREATED } else { StatusCode::OK };
            json(status, &DepositAnswer::of(&principal.caller, &provider, deposited))
        }
        Err(error) => refused(&error),
    }
}

impl ConnectionToDeposit {
    /// Reads the tokens; the error is for the client and holds none of them.
    fn read(self, now: Time) -> Result<ForeignTokens, String> {
        let kind = self.token_type.as_deref().unwrap_or("bearer");
        if !kind.eq_ignore_ascii_case("bearer") {
            return Err("`token_type` must be `Bearer`: no other kind of token is sent".into());
        }
        let account = self.account.filter(|account| !account.is_empty());
        if account.as_ref().is_some_and(|it| it.chars().nth(MAX_ACCOUNT_CHARS).is_some()) {
            return Err(format!("`account` has at most {MAX_ACCOUNT_CHARS} characters"));
        }
        let name = match self.connection_id.filter(|name| !name.is_empty()) {
            None => AccountName::default(),
            Some(name) => {
                AccountName::parse(&name).map_err(|fault| format!("`connection_id`: {fault}"))?
            }
        };
        let expires_at = match (self.expires_at, self.expires_in) {
            (Some(written), _) => Some(written.read()?),
            (None, Some(seconds)) if seconds > MAX_LIFETIME_SECONDS => {
                return Err("`expires_in` is longer than ten years".into());
            }
            (None, Some(seconds)) => Some(now.after(std::time::Duration::from_secs(seconds))),
            (None, None) => None,
        };
        Ok(ForeignTokens {
            access: self.access_token,
            refresh: self.refresh_token,
            expires_at,
            scopes: self.scopes.map(|scopes| read_scopes("scopes", scopes)).transpose()?,
            client_id: self.client_id,
            account,
            name,
            away: self.away,
        })
    }
}

impl WrittenTime {
    fn read(self) -> Result<Time, String> {
        let time = match self {
            Self::Seconds(seconds) => seconds.checked_mul(1000).map(Time::from_millis),
            Self::Text(text) => time::parse(&text),
        };
        time.ok_or_else(|| {
            "`expires_at` is no date and time, such as `2026-11-21T09:30:00Z`".into()
        })
    }
}

impl DepositAnswer {
    fn of(caller: &Caller, provider: &Provider, deposited: Deposited) -> Self {
        let list = |scopes: &crate::model::Scopes| scopes.iter().map(str::to_owned).collect();
        let label = deposited.identity.and_then(|identity| identity.label);
        Self {
            id: connection_id(caller, &deposited.digest),
            status: match deposited.proof {
                Proof::Proven => DepositStatus::Live,
                Proof::Unproven | Proof::Pending => DepositStatus::Unproven,
            },
            user_id: caller.user.to_string(),
            provider_id: provider.id.public_name().to_owned(),
            connection_id: deposited.account.to_string(),
            provider_user_info: ProviderUserInfo::labelled(label),
            scopes: list(&deposited.scopes),
            away: deposited.away,
            ungranted_scopes: list(&deposited.ungranted),
            expires_at: deposited.expires_at.map(utc),
            renews: deposited.renews,
        }
    }
}

/// Writes the refusal of a deposit, with what helps.
fn refused(error: &DepositError) -> Response {
    use DepositError as E;
    let (status, name) = match error {
        E::NoToken | E::BadToken(_) | E::OneAccount(_) => {
            (StatusCode::BAD_REQUEST, ErrorName::MalformedRequest)
        }
        E::OtherClient { .. } => (StatusCode::UNPROCESSABLE_ENTITY, ErrorName::WrongClient),
        E::OtherAccount(_) | E::NotTold => {
            (StatusCode::UNPROCESSABLE_ENTITY, ErrorName::WrongAccount)
        }
        E::NotKept(_) | E::Expired | E::Dead(_) => {
            (StatusCode::UNPROCESSABLE_ENTITY, ErrorName::DeadToken)
        }
        E::Occupied { .. }
        | E::OtherBefore { .. }
        | E::UnderWay
        | E::Unfinished
        | E::UsedElsewhere
        | E::TooMany => (StatusCode::CONFLICT, ErrorName::AlreadyConnected),
        E::AccessEnded | E::Disconnected => (StatusCode::FORBIDDEN, ErrorName::AccessEnded),
        E::Store(error) => return unavailable(&**error),
        E::Undecided(_)
        | E::ClientRefused { .. }
        | E::Unclear { .. }
        | E::NoOwner
        | E::Setup(_)
        | E::Ending => (StatusCode::SERVICE_UNAVAILABLE, ErrorName::Unavailable),
    };
    let mut response = problem(status, name, format!("{error}; {}", error.hint()));
    // Arcade's clients would repeat a 409 at once.
    let is_repeated = if error.is_passing() { "true" } else { "false" };
    response.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static(is_repeated));
    response
}
