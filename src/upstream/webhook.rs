//! Sends one event to the receiver of a webhook, signed as Standard Webhooks defines it.
//!
//! Only the status of the response counts. A redirect is not followed: the receiver is the one that
//! the operator wrote, and no other host is sent the event.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, StatusCode};
use url::Url;

use super::Upstream;
use crate::model::Time;
use crate::model::signing_keys::{SigningKeys, seconds};
use crate::net::{NetError, Trust, retry_after};

/// Time limit of one request, until the head of the response; then the attempt has failed.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of a response body that are read, and ignored, so that its connection can be used again.
const MAX_IGNORED_BYTES: usize = 16 * 1024;
/// Time limit for that.
const IGNORED_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait that a receiver can ask for; a longer one counts as this.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// A request to the receiver of a webhook.
pub struct WebhookRequest<'a> {
    pub url: &'a Url,
    /// Value of `webhook-id`: the same for each attempt, so that the receiver can tell that it has
    /// the event already.
    pub id: &'a str,
    /// Time of the attempt.
    pub at: Time,
    pub body: Vec<u8>,
    pub keys: &'a SigningKeys,
}

/// Why a receiver has not taken an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDelivered {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("gave no answer within {} s", TIMEOUT.as_secs())]
    Slow,
    /// Redirects are among these.
    #[error("answered {status}")]
    Refused { status: u16, retry_after: Option<Duration> },
    /// 410: the receiver wants no more events.
    #[error("answered 410 (Gone)")]
    Gone,
    #[error("the event cannot be written into a request")]
    Unwritable,
}

impl NotDelivered {
    /// Returns what the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Net(error) => error.hint().unwrap_or("check that the receiver runs at its `url`"),
            Self::Slow => "let the receiver answer first, and do its work afterwards",
            Self::Refused { status: 300..=399, .. } => {
                "write the final address in `url`: redirects are not followed"
            }
            Self::Refused { status: 401 | 403, .. } => {
                "check that the receiver verifies with the secret of this webhook, and that its clock is right"
            }
            Self::Refused { status: 404 | 405, .. } => "check the path in `url`; it takes a POST",
            Self::Refused { .. } => "look into the receiver's log",
            Self::Gone => {
                "remove the webhook, or let the receiver accept events again and restart this server"
            }
            Self::Unwritable => "report this as a bug",
        }
    }

    /// Returns how long the receiver asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl Upstream {
    /// Sends an event to a receiver, which the operator has written, and waits for its status.
    ///
    /// # Errors
    /// [`NotDelivered`], unless the receiver answers with a status from 200 to 299.
    pub async fn send_webhook(&self, request: WebhookRequest<'_>) -> Result<(), NotDelivered> {
        let WebhookRequest { url, id, at, body, keys } = request;
        let mut built = Request::new(Method::POST, url.clone());
        let headers = built.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let signature = keys.sign(id, at, &body);
        let own = [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", seconds(at).to_string()),
            ("webhook-signature", signature),
        ];
        for (name, value) in own {
            let value = HeaderValue::try_from(value).map_err(|_| NotDelivered::Unwritable)?;
            headers.insert(name, value);
        }
        *built.body_mut() = Some(body.into());
        // As a request that only reads: a receiver knows an event that comes twice by its id, and
        // many receivers close idle connections after 5 s.
        let sent = self.net.send_read(built, Trust::Written);
        let response =
            tokio::time::timeout(TIMEOUT, sent).await.map_err(|_| NotDelivered::Slow)??;
        let status = response.status();
        let wait = retry_after(|name| response.headers().get(name)?.to_str().ok());
        let ignored = crate::net::read(response, MAX_IGNORED_BYTES);
        let _ = tokio::time::timeout(IGNORED_TIMEOUT, ignored).await;
        match status {
            _ if status.is_success() => Ok(()),
            StatusCode::GONE => Err(NotDelivered::Gone),
            _ => Err(NotDelivered::Refused {
                status: status.as_u16(),
                retry_after: wait.map(|wait| wait.min(MAX_RETRY_AFTER)),
            }),
        }
    }
}
