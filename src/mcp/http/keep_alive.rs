//! Shows the client that a long request is still running.
//!
//! Proxies cut a connection that is silent for a minute, and clients give up as soon. An answer
//! that takes longer than [`MAX_SILENCE`] becomes a stream of server-sent events
//! (basic/transports/streamable-http): comments, or `notifications/progress` if the request has a
//! `progressToken`, and at the end the answer. Answers of sessions are streams from the beginning;
//! for those, and over standard input and output, [`report`] sends the signs of life.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use rmcp::model::{ProgressNotificationParam, ProgressToken, RequestId};
use rmcp::service::{Peer, RoleServer};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior};

use super::accept_header::{Accepts, EVENT_STREAM, JSON};
use super::body::Refusal;
use crate::broker::code::Progress;
use crate::mcp::internal_error::Mistake;
use crate::mcp::progress::{ProgressChannel, ProgressReports};

/// Longest silence, before the first sign of life and between two of them.
pub(super) const MAX_SILENCE: Duration = Duration::from_secs(5);
/// An SSE comment as a sign of life; clients ignore it.
const COMMENT: &str = ": still running\n\n";

/// Stands in a request's extensions if [`answer`] sends its signs of life and the progress of its
/// tool, so that [`report`] sends none.
#[derive(Clone)]
pub(in crate::mcp) struct KeepsAlive(pub(in crate::mcp) ProgressChannel);

/// The part of a request that matters here.
#[derive(Default, Deserialize)]
struct Request {
    id: Option<RequestId>,
    params: Option<Params>,
}

#[derive(Default, Deserialize)]
struct Params {
    #[serde(rename = "_meta")]
    meta: Option<Meta>,
}

#[derive(Default, Deserialize)]
struct Meta {
    #[serde(rename = "progressToken")]
    progress_token: Option<ProgressToken>,
}

/// Returns the response of `work` in a type that the client accepts. `body` is that of the request.
pub(super) async fn answer(
    work: BoxFuture<'static, Response>,
    accepts: Accepts,
    body: Bytes,
    progress: ProgressReports,
) -> Response {
    answer_after(MAX_SILENCE, work, accepts, body, progress).await
}

async fn answer_after(
    quiet: Duration,
    mut work: BoxFuture<'static, Response>,
    accepts: Accepts,
    body: Bytes,
    mut progress: ProgressReports,
) -> Response {
    if !accepts.events {
        return work.await;
    }
    let response = tokio::select! {
        biased;
        response = &mut work => response,
        () = tokio::time::sleep(quiet) => {
            return streamed(under_way(work, &body, quiet, progress, None));
        }
        () = progress.changed() => {
            let first = progress.take();
            return streamed(under_way(work, &body, quiet, progress, first));
        }
    };
    // The status of an error tells more than a stream could.
    if accepts.json || !is_answer(&response) {
        return response;
    }
    streamed(Body::from_stream(events(response, Request::default())))
}

/// Whether a response is JSON and no refusal.
fn is_answer(response: &Response) -> bool {
    response.status() == StatusCode::OK && is(response, JSON)
}

fn is(response: &Response, media_type: &str) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(media_type.as_bytes()))
}

fn streamed(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, body).into_response()
}

/// Sends signs of life, and the progress of the tool, until `work` is done; then its answer. `first`
/// is a progress that has been read already. The body is dropped with the connection, and `work`
/// with it.
fn under_way(
    work: BoxFuture<'static, Response>,
    body: &[u8],
    quiet: Duration,
    progress: ProgressReports,
    first: Option<Progress>,
) -> Body {
    let request: Request = serde_json::from_slice(body).unwrap_or_default();
    let mut signs = signs(quiet);
    if first.is_some() {
        // The progress is the first sign of life.
        signs.reset();
    }
    let state = (Some((work, request)), signs, progress, first);
    let events = stream::unfold(state, |(work, mut signs, mut progress, first)| async move {
        let (mut work, request) = work?;
        let next = async {
            match first {
                Some(first) => first,
                None => progress.next(&mut signs).await,
            }
        };
        tokio::select! {
            biased;
            sign = next => {
                let sign = sign_of(&request, &sign);
                let sign = stream::once(std::future::ready(Ok::<_, axum::Error>(sign))).boxed();
                Some((sign, (Some((work, request)), signs, progress, None)))
            }
            response = &mut work => {
                Some((events(response, request).boxed(), (None, signs, progress, None)))
            }
        }
    });
    Body::from_stream(events.flatten())
}

/// Returns the event of a sign of life: a progress notification if the request asks for it.
fn sign_of(request: &Request, progress: &Progress) -> Bytes {
    let meta = request.params.as_ref().and_then(|params| params.meta.as_ref());
    let Some(token) = meta.and_then(|meta| meta.progress_token.as_ref()) else {
        return COMMENT.into();
    };
    let mut params = json!({
        "progressToken": token,
        "progress": progress.done,
        "message": progress.message,
    });
    if let (Some(total), Some(params)) = (progress.total, params.as_object_mut()) {
        params.insert("total".into(), json!(total));
    }
    let notice = json!({
        "jsonrpc": "2.0",
        "method": "notifications/progress",
        "params": params,
    });
    format!("data: {notice}\n\n").into()
}

/// Ticks at once, and then every `quiet`.
fn signs(quiet: Duration) -> Interval {
    let mut signs = tokio::time::interval(quiet);
    signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    signs
}

/// Converts a response to events: one event for JSON, or the events of a stream as they are.
fn events(
    response: Response,
    request: Request,
) -> impl futures_util::Stream<Item = Result<Bytes, axum::Error>> + Send + 'static {
    let (is_json, is_stream) = (is(&response, JSON), is(&response, EVENT_STREAM));
    let body = response.into_body();
    if is_stream {
        return body.into_data_stream().left_stream();
    }
    stream::once(async move {
        let json = if is_json {
            // Our JSON is on one line.
            axum::body::to_bytes(body, usize::MAX).await?
        } else {
            Refusal::internal_error(Mistake(
                "the handler returned neither JSON nor an event stream",
            ))
            .answering(request.id)
        };
        let mut event = Vec::with_capacity(json.len() + 8);
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(&json);
        event.extend_from_slice(b"\n\n");
        Ok(event.into())
    })
    .right_stream()
}

/// Sends the tool's progress to the client, and a sign of life every [`MAX_SILENCE`], until this
/// future is dropped.
pub(in crate::mcp) async fn report(
    peer: Peer<RoleServer>,
    token: ProgressToken,
    mut reports: ProgressReports,
) -> Infallible {
    let mut signs = signs(MAX_SILENCE);
    signs.tick().await;
    loop {
        let Progress { done, total, message } = reports.next(&mut signs).await;
        let mut progress = ProgressNotificationParam::new(token.clone(), done);
        progress.total = total;
        if let Err(error) = peer.notify_progress(progress.with_message(message)).await {
            tracing::debug!(%error, "the client disconnected before its answer");
            return std::future::pending().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use serde_json::Value;
    use tokio::sync::oneshot;

    use super::super::body::json_response;
    use super::*;

    const BOTH: Accepts = Accepts { json: true, events: true };
    const EVENTS: Accepts = Accepts { json: false, events: true };
    const ONLY_JSON: Accepts = Accepts { json: true, events: false };
    const ANSWER: &str = "{\"id\":1}";

    fn json(status: StatusCode) -> Response {
        json_response(status, ANSWER.into())
    }

    fn at_once(response: Response) -> BoxFuture<'static, Response> {
        std::future::ready(response).boxed()
    }

    /// A tool that reports no progress.
    fn none() -> ProgressReports {
        ProgressChannel::new().reports()
    }

    fn request(meta: &str) -> Bytes {
        format!(r#"{{"id":1,"method":"tools/call","params":{{"_meta":{{{meta}}}}}}}"#).into()
    }

    async fn text(response: Response) -> (bool, String) {
        let is_stream = is(&response, EVENT_STREAM);
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (is_stream, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_quick_answer_has_the_type_that_is_accepted() {
        for (accepts, expected) in [
            (BOTH, (false, ANSWER.to_owned())),
            (ONLY_JSON, (false, ANSWER.to_owned())),
            (EVENTS, (true, format!("data: {ANSWER}\n\n"))),
        ] {
            let response =
                answer(at_once(json(StatusCode::OK)), accepts, request(""), none()).await;
            assert_eq!(text(response).await, expected, "{accepts:?}");
        }
        let refused =
            answer(at_once(json(StatusCode::BAD_REQUEST)), EVENTS, request(""), none()).await;
        assert_eq!(refused.status(), 400);
        assert!(is(&refused, JSON));
    }

    /// Starts a request whose answer is the response sent to the returned sender.
    async fn long(accepts: Accepts, body: Bytes) -> (oneshot::Sender<Response>, Response) {
        let (done, work) = oneshot::channel();
        let work = async { work.await.unwrap() }.boxed();
        (done, answer_after(Duration::from_millis(5), work, accepts, body, none()).await)
    }

    #[tokio::test]
    async fn a_long_answer_shows_life_first() {
        for (meta, token) in [
            ("", Value::Null),
            (r#""progressToken":"p""#, "p".into()),
            (r#""progressToken":7"#, 7.into()),
        ] {
            for accepts in [BOTH, EVENTS] {
                let (done, response) = long(accepts, request(meta)).await;
                assert!(is(&response, EVENT_STREAM));
                let mut events = response.into_body().into_data_stream();
                for _ in 0..2 {
                    let sign = events.next().await.unwrap().unwrap();
                    let sign = std::str::from_utf8(&sign).unwrap();
                    if token.is_null() {
                        assert_eq!(sign, COMMENT);
                        continue;
                    }
                    let data = sign.strip_prefix("data: ").unwrap();
                    let notice: Value = serde_json::from_str(data).unwrap();
                    assert_eq!(notice["method"], "notifications/progress");
                    assert_eq!(notice["params"]["progressToken"], token);
                    assert!(notice["params"]["progress"].is_number(), "{notice}");
                }
                done.send(json(StatusCode::OK)).unwrap();
                let rest: Vec<Bytes> = events.map(Result::unwrap).collect().await;
                assert_eq!(rest.last().unwrap(), &format!("data: {ANSWER}\n\n"));
            }
        }
    }

    #[tokio::test]
    async fn a_late_refusal_is_an_event_as_well() {
        let (done, response) = long(BOTH, request("")).await;
        done.send(StatusCode::INTERNAL_SERVER_ERROR.into_response()).unwrap();
        let (_, body) = text(response).await;
        let last = body.lines().rfind(|line| line.starts_with("data: ")).unwrap();
        let error: Value = serde_json::from_str(last.trim_start_matches("data: ")).unwrap();
        assert_eq!((&error["id"], &error["error"]["code"]), (&1.into(), &(-32603).into()));
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_takes_the_work_with_it() {
        let (mut done, response) = long(BOTH, request("")).await;
        assert!(!done.is_closed());
        drop(response);
        done.closed().await;
    }
}
