//! Sends one request, follows redirects within its origin and reads the response to its end.

use std::mem::take;

use http::header::LOCATION;
use reqwest::Response;
use tokio::time::Instant;

use super::budget::BodyRoom;
use super::failure::Call;
use super::redirect::{self, MAX_REDIRECTS, Target};
use super::request::Prepared;
use super::response::Reply;
use super::{Credential, MAX_RESPONSE_BYTES};
use crate::model::failure::NotFollowed;
use crate::model::request_problem::RequestProblem;
use crate::model::tool::{Effect, HttpAction};
use crate::net::{Net, NetError, Phase, Trust};

/// Why a request has no response.
pub(super) enum Unanswered {
    /// Not sent, not answered, or not read to the end.
    Net(NetError),
    /// Other large responses held the memory for responses until the deadline.
    Busy,
}

/// Sends a request, follows redirects where allowed, and reads the final response.
///
/// `build` builds the same request again. `deadline` covers everything, including waits for memory.
///
/// # Errors
/// [`Unanswered`] if no response was read to its end before `deadline`.
pub(super) async fn exchange(
    net: &Net,
    prepared: Prepared,
    build: impl Fn() -> Result<Prepared, RequestProblem>,
    call: &Call<'_>,
    credential: Option<&Credential>,
    mut room: BodyRoom<'_>,
    deadline: Instant,
) -> Result<Reply, Unanswered> {
    let host = prepared.url.host_str().unwrap_or_default().to_owned();
    let whole = async {
        let (mut method, mut url) = (prepared.method.clone(), prepared.url.clone());
        let mut sent = send(net, prepared, &build, call).await?;
        let mut redirects = 0;
        let mut not_followed = None;
        loop {
            let location = sent.headers().get(LOCATION).map(http::HeaderValue::as_bytes);
            match redirect::follow(sent.status(), location, &method, &url) {
                Some(Ok(_)) if redirects == MAX_REDIRECTS => {
                    not_followed = Some(NotFollowed::TooMany(redirects));
                    break;
                }
                Some(Ok(target)) => {
                    // A request that could be built once can be built again.
                    let Ok(again) = build() else { break };
                    redirects += 1;
                    Target { method, url } = target;
                    let again = again.moved(method.clone(), url.clone(), credential);
                    sent = transmit(net, again, call).await?;
                }
                Some(Err(problem)) => {
                    not_followed = Some(problem);
                    break;
                }
                None => break,
            }
        }
        let (status, headers) = (sent.status(), take(sent.headers_mut()));
        let body = crate::net::read_into(sent, MAX_RESPONSE_BYTES, &mut room).await?;
        Ok((status, headers, body, not_followed))
    };
    match tokio::time::timeout_at(deadline, whole).await {
        Ok(Ok((status, headers, body, not_followed))) => {
            Ok(Reply { status, headers, body, not_followed, held: room.held })
        }
        Ok(Err(error)) => Err(Unanswered::Net(error)),
        Err(_) if room.is_waiting => Err(Unanswered::Busy),
        Err(_) => Err(Unanswered::Net(NetError { host, phase: Phase::TimedOut })),
    }
}

/// Sends a request. Retries once if the request is idempotent and a transient failure kept the
/// first attempt from reaching the API.
async fn send(
    net: &Net,
    prepared: Prepared,
    build: impl Fn() -> Result<Prepared, RequestProblem>,
    call: &Call<'_>,
) -> Result<Response, NetError> {
    let sent = transmit(net, prepared, call).await;
    if let Err(error) = &sent
        && call.action.method.is_idempotent()
        && error.is_before_sending()
        && error.is_passing()
        && let Ok(again) = build()
    {
        return transmit(net, again, call).await;
    }
    sent
}

/// Sends a request, a second time only if the tool merely reads: a GET with another effect may have
/// had it before the connection broke off.
async fn transmit(net: &Net, prepared: Prepared, call: &Call<'_>) -> Result<Response, NetError> {
    let trust = trust(call.action);
    if call.tool.effect == Effect::Read && call.action.method.effect() == Effect::Read {
        net.send_read(prepared.into(), trust).await
    } else {
        net.send(prepared.into(), trust).await
    }
}

/// Returns who named the host: the operator, or an untrusted document.
fn trust(action: &HttpAction) -> Trust {
    if action.is_untrusted { Trust::Learnt } else { Trust::Written }
}
