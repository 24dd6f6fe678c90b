//! Why a deposit is refused. No text holds a token.

use std::sync::Arc;

use crate::broker::client::registration::SetupError;
use crate::broker::grant::access::AccessError;
use crate::model::ProviderId;
use crate::model::event::DepositOutcome;
use crate::oauth::Verdict;
use crate::store::StoreError;

/// Most accounts of one user that deposits make.
pub(super) const MAX_ACCOUNTS: usize = 100;

/// Reason for which a deposit is not kept.
#[derive(Debug, thiserror::Error)]
pub enum DepositError {
    #[error("it has neither a refresh token nor an access token")]
    NoToken,
    #[error("its {0} is empty, longer than 16 KiB, or has characters that no token has")]
    BadToken(&'static str),
    #[error("users connect only one account of `{0}`")]
    OneAccount(ProviderId),
    #[error(
        "the tokens were issued to another client than `{client_id}`, the one of `{provider}` here"
    )]
    OtherClient { provider: ProviderId, client_id: String },
    #[error("this server keeps no refresh tokens of `{0}`, and there is no access token")]
    NotKept(ProviderId),
    #[error("the access token has expired, and there is no refresh token to renew it with")]
    Expired,
    /// The provider's answer, as a fragment.
    #[error("the provider does not honour it: {0}")]
    Dead(String),
    /// The account that the provider names.
    #[error("the provider says that it belongs to another account: {0}")]
    OtherAccount(String),
    /// A live consent is there.
    #[error("the user has connected `{provider}` already{}", as_label(.label.as_deref()))]
    Occupied { provider: ProviderId, label: Option<String> },
    /// An ended consent is there, perhaps for another account.
    #[error("an ended connection of the user is in its place, for the account {label}")]
    OtherBefore { label: String },
    #[error("another deposit for this connection may be under way")]
    UnderWay,
    #[error("an earlier deposit for this connection was renewed, and is not confirmed yet")]
    Unfinished,
    #[error("one of its tokens was moved in for another connection")]
    UsedElsewhere,
    #[error("the provider does not tell whose account it is, so `account` cannot be compared")]
    NotTold,
    #[error("the user's access was ended within the last two days")]
    AccessEnded,
    #[error("the connection was ended, and only its user can bring it back")]
    Disconnected,
    #[error("the user has {MAX_ACCOUNTS} accounts, and no more are moved in")]
    TooMany,
    /// The provider could not be asked for the moment.
    #[error("the provider could not be asked: {0}")]
    Undecided(String),
    /// The provider refuses this server's client.
    #[error("`{provider}` refuses this server's client: {cause}")]
    ClientRefused { provider: ProviderId, cause: String },
    /// The provider's answer does not say whether the token or the client is at fault.
    #[error("`{provider}` has issued no token, and does not say why: {cause}")]
    Unclear { provider: ProviderId, cause: String },
    #[error("the provider does not say now whose account it is")]
    NoOwner,
    #[error(transparent)]
    Setup(Arc<SetupError>),
    #[error(transparent)]
    Store(Arc<StoreError>),
    #[error("this server is ending")]
    Ending,
}

fn as_label(label: Option<&str>) -> String {
    label.map(|label| format!(" as {label}")).unwrap_or_default()
}

impl From<SetupError> for DepositError {
    fn from(error: SetupError) -> Self {
        Self::Setup(Arc::new(error))
    }
}

impl From<StoreError> for DepositError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<AccessError> for DepositError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Store(error) => Self::Store(error),
            AccessError::Setup(error) => Self::Setup(error),
            AccessError::Refresh { provider, source, .. }
            | AccessError::NotIssued { provider, source } => {
                let cause = source.to_string();
                match source.verdict() {
                    Verdict::Operator => Self::ClientRefused { provider, cause },
                    Verdict::GrantEnded | Verdict::Unclear => Self::Unclear { provider, cause },
                    Verdict::Passing => Self::Undecided(cause),
                }
            }
            AccessError::Elsewhere { .. } => Self::UnderWay,
            AccessError::Ending => Self::Ending,
        }
    }
}

impl DepositError {
    /// Advice that completes the error message, as a lower-case fragment.
    pub fn hint(&self) -> String {
        match self {
            Self::NoToken => "send `refresh_token`, or `access_token`, or both".into(),
            Self::BadToken(_) => "send it as the provider issued it".into(),
            Self::OneAccount(provider) => format!(
                "leave `connection_id` out, or write `accounts = true` in [providers.{provider}] of tools.toml"
            ),
            Self::OtherClient { provider, .. } => format!(
                "a refresh token works for its own client only (RFC 6749 §6): write the client's `client_id` and `client_secret` in [providers.{provider}] of tools.toml, or let the user consent anew"
            ),
            Self::NotKept(provider) => format!(
                "send `access_token` too, or set `retention = \"refresh\"` for [providers.{provider}] in tools.toml"
            ),
            Self::Dead(_) => {
                "deposit the latest token if the provider has rotated it, and only tokens of the client that is configured here; else the user has to consent anew".into()
            }
            Self::OtherAccount(_) => {
                "no call uses it, and nothing is lost: send it again with the right `account`, or end it at /connections or /v1/admin/user_connections and send it for the right user".into()
            }
            Self::Occupied { .. } => {
                "nothing to do if that is the account; else the user connects another one at /connections; or send another `connection_id` where the provider has `accounts = true`".into()
            }
            Self::OtherBefore { .. } => {
                "if the account may change, end that connection first: the user at /connections, or a key with `admin = true` at /v1/admin/user_connections".into()
            }
            Self::Unfinished => "send the earlier one again, or end it at /connections or /v1/admin/user_connections".into(),
            Self::UsedElsewhere => "send the token of this connection; a token is for one connection of one user, and the other one has to be ended before its token is moved in elsewhere".into(),
            Self::NotTold => "leave `account` out, and send it again; nothing is lost".into(),
            Self::UnderWay => "send it again in ten minutes, or send the earlier one again".into(),
            Self::Expired | Self::AccessEnded | Self::Disconnected => {
                "the user has to consent anew".into()
            }
            Self::TooMany => "end accounts that are not needed".into(),
            Self::Undecided(_) | Self::NoOwner => {
                "send it again in a minute; nothing is lost".into()
            }
            Self::ClientRefused { provider, .. } => format!(
                "check `client_id` and `client_secret` in [providers.{provider}] of tools.toml, and send it again; nothing is lost"
            ),
            Self::Unclear { provider, .. } => format!(
                "check that the token was issued to the client in [providers.{provider}] of tools.toml, and send it again; else the user has to consent anew"
            ),
            Self::Setup(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Ending => "send it again when it runs".into(),
        }
    }

    /// Whether the same deposit may succeed later, and has to be made again.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Undecided(_) | Self::UnderWay | Self::NoOwner | Self::Store(_) | Self::Ending => {
                true
            }
            Self::Setup(error) => error.is_passing(),
            _ => false,
        }
    }

    /// Outcome for the event record.
    pub fn outcome(&self) -> DepositOutcome {
        match self {
            Self::Expired | Self::Dead(_) => DepositOutcome::Dead,
            Self::Undecided(_)
            | Self::ClientRefused { .. }
            | Self::Unclear { .. }
            | Self::NoOwner
            | Self::Setup(_)
            | Self::Store(_)
            | Self::Ending => DepositOutcome::Undecided,
            _ => DepositOutcome::Refused,
        }
    }
}
