//! Bounds the bytes of all bodies that requests of programs bring at the same time. Without it, a
//! few hundred connections that each announce a large body hold a gigabyte, and one user's key is
//! enough to have the process killed.
//!
//! A request takes its share before any of its body is read, and gives it back when it is answered,
//! or when its client disconnects or sends too slowly.

use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{Extensions, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;

use super::problem::Problem;
use super::rest::answer::{ErrorName, face_of, problem};
use crate::identity::RestCaller;
use crate::model::Principal;
use crate::model::shares::{NoShare, Share, Shares};

/// Bytes of the bodies of all keys; a request beyond it is refused with 503. Parsed, the worst body
/// takes seven times its size.
const MAX_BYTES: usize = 256 << 20;
/// Bytes of the bodies of one key; a request beyond it is refused with 429.
const MAX_BYTES_PER_KEY: usize = 64 << 20;
/// Bytes of a body that counts for nothing: those of all connections of a port are 32 MiB.
const UNCOUNTED_BYTES: usize = 8 << 10;

/// The bodies that a server reads or holds. Clones share their count.
#[derive(Clone)]
pub struct BodyBudget(Arc<Shares>);

impl Default for BodyBudget {
    fn default() -> Self {
        Self::of(MAX_BYTES, MAX_BYTES_PER_KEY)
    }
}

impl BodyBudget {
    fn of(all: usize, of_key: usize) -> Self {
        Self(Shares::new(all, of_key))
    }

    /// Budget of a route whose bodies have at most `max_bytes`.
    pub(super) fn for_route(&self, max_bytes: usize) -> RouteBudget {
        RouteBudget { budget: self.clone(), max_bytes, uncounted: UNCOUNTED_BYTES }
    }
}

/// The budget, at one route.
#[derive(Clone)]
pub(super) struct RouteBudget {
    budget: BodyBudget,
    max_bytes: usize,
    uncounted: usize,
}

/// Middleware that refuses a body for which there is no room. It stands behind the gate: the
/// extensions hold the caller.
pub(super) async fn admit(
    State(route): State<RouteBudget>,
    request: Request,
    next: Next,
) -> Response {
    let share = match route.share(&request) {
        Ok(share) => share,
        Err(full) => return refusal(&request, full),
    };
    let response = next.run(request).await;
    let Some(share) = share else { return response };
    // A stream may still need the request; a whole answer does not.
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _held = &share;
            frame
        }))
    })
}

impl RouteBudget {
    /// Takes the share of a request; `None` if it needs none.
    fn share(&self, request: &Request) -> Result<Option<Share>, NoShare> {
        // Their bodies are not read.
        if matches!(*request.method(), Method::GET | Method::DELETE) {
            return Ok(None);
        }
        let announced = request.body().size_hint().upper();
        let bytes =
            announced.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        // A longer one is not read to its end.
        let bytes = bytes.min(self.max_bytes);
        if bytes <= self.uncounted {
            return Ok(None);
        }
        self.budget.0.take(&key_of(request.extensions()), bytes).map(Some)
    }
}

/// Key of the caller: all users of an application's key share it.
fn key_of(extensions: &Extensions) -> String {
    if let Some(caller) = extensions.get::<RestCaller>() {
        return caller.space().into_owned();
    }
    extensions.get::<Arc<Principal>>().map(|it| it.caller.key_space()).unwrap_or_default()
}

fn refusal(request: &Request, full: NoShare) -> Response {
    let (status, name, whose) = match full {
        NoShare::OfKey => (StatusCode::TOO_MANY_REQUESTS, ErrorName::RateLimited, "of this key"),
        NoShare::OfAll => (StatusCode::SERVICE_UNAVAILABLE, ErrorName::Unavailable, "of all keys"),
    };
    let words = format!(
        "the running requests {whose} have too many bytes together; send it again in a second"
    );
    let mut response = if request.extensions().get::<RestCaller>().is_some() {
        problem(face_of(request.uri()), status, name, words)
    } else {
        Problem::new(status, words).into_response()
    };
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Bytes;
    use axum::handler::Handler as _;
    use axum::middleware::from_fn_with_state;
    use axum::routing::{MethodRouter, any};
    use futures_util::stream::{StreamExt as _, once, pending};
    use futures_util::{FutureExt as _, poll};

    use super::*;
    use crate::identity::RestPerson;
    use crate::model::{Caller, UserId};
    use crate::web::body;

    /// A budget of 100 bytes, and 60 for a key, for routes whose bodies have at most 50.
    fn budget() -> BodyBudget {
        BodyBudget::of(100, 60)
    }

    fn within(budget: &BodyBudget, route: MethodRouter) -> MethodRouter {
        let state = RouteBudget { uncounted: 5, ..budget.for_route(50) };
        route.layer(from_fn_with_state(state, admit))
    }

    /// A route that reads the whole body.
    fn reading(budget: &BodyBudget) -> MethodRouter {
        let read = async |request: Request| {
            let read = body::whole_within(Duration::from_millis(20), request).await;
            read.err().unwrap_or(StatusCode::OK)
        };
        within(budget, any(read))
    }

    fn request(user: &str, body: Body) -> Request {
        let caller = Caller { namespace: format!("key:{user}"), user: UserId::new("x") };
        let principal = Arc::new(Principal::signed_in(caller, [].into()));
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = "/v1/tools/execute".parse().unwrap();
        request.extensions_mut().insert(RestCaller::Person(RestPerson { principal, key: None }));
        request
    }

    /// A body that never arrives, and does not say how long it is.
    fn never() -> Body {
        Body::from_stream(pending::<Result<Bytes, axum::Error>>())
    }

    async fn status(route: &MethodRouter, user: &str, body: Body) -> StatusCode {
        let answer = route.clone().call(request(user, body), ()).await;
        let retry = answer.headers().get(RETRY_AFTER).map(HeaderValue::as_bytes);
        let is_full = matches!(answer.status().as_u16(), 429 | 503);
        assert_eq!(retry, is_full.then_some(&b"1"[..]));
        answer.status()
    }

    #[tokio::test]
    async fn a_slow_body_holds_its_share_until_its_time_is_over() {
        let budget = budget();
        let route = reading(&budget);
        let mut slow = Box::pin(status(&route, "ana", never()));
        assert!(poll!(&mut slow).is_pending());
        let long = || Body::from(vec![b' '; 20]);
        assert_eq!(status(&route, "ana", long()).await, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(status(&route, "ana", Body::from("small")).await, StatusCode::OK);
        assert_eq!(status(&route, "bob", long()).await, StatusCode::OK);
        let mut other = Box::pin(status(&route, "bob", never()));
        assert!(poll!(&mut other).is_pending());
        assert_eq!(status(&route, "cleo", long()).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(slow.await, StatusCode::REQUEST_TIMEOUT);
        assert_eq!(status(&route, "ana", long()).await, StatusCode::OK);
        drop(other);
        assert!(budget.0.is_untouched(), "its client has disconnected");
    }

    #[tokio::test]
    async fn a_stream_holds_its_share_and_an_idle_one_holds_none() {
        let budget = budget();
        let streamed = async || {
            let stream = once(async { Ok::<_, axum::Error>("begun") }).chain(pending());
            Body::from_stream(stream)
        };
        let route = within(&budget, any(streamed));
        let ask = |method: Method, body: Body| {
            let mut asking = request("ana", body);
            *asking.method_mut() = method;
            route.clone().call(asking, ()).now_or_never().unwrap()
        };
        let mut stream = ask(Method::POST, Body::from(vec![b' '; 20])).into_body();
        assert!(stream.frame().await.is_some() && !budget.0.is_untouched());
        drop(stream);
        assert!(budget.0.is_untouched());
        let idle = ask(Method::GET, never());
        assert!(budget.0.is_untouched());
        drop(idle);
    }
}
