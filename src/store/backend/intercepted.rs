//! A backend in front of another one, for tests that decide the results of single operations.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};

use super::{Backend, BackendError, Key, Page, Sealed};

/// Result that a test gives instead of the backend's; `None` passes the operation on.
type Instead<T> = Option<Result<T, BackendError>>;

/// Asks the test before every read of one record and every swap.
pub(crate) struct Intercepted {
    inner: Arc<dyn Backend>,
    get: Box<dyn Fn() -> Instead<Option<Sealed>> + Send + Sync>,
    swap: Box<dyn Fn() -> Instead<bool> + Send + Sync>,
}

impl Intercepted {
    /// Passes every operation on.
    pub(crate) fn over(inner: Arc<dyn Backend>) -> Self {
        Self { inner, get: Box::new(|| None), swap: Box::new(|| None) }
    }

    /// Asks `get` before every read of one record.
    pub(crate) fn get(
        self,
        get: impl Fn() -> Instead<Option<Sealed>> + Send + Sync + 'static,
    ) -> Self {
        Self { get: Box::new(get), ..self }
    }

    /// Asks `swap` before every swap.
    pub(crate) fn swap(self, swap: impl Fn() -> Instead<bool> + Send + Sync + 'static) -> Self {
        Self { swap: Box::new(swap), ..self }
    }
}

impl Backend for Intercepted {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Sealed>, BackendError>> {
        (self.get)().map_or_else(|| self.inner.get(key), |instead| ready(instead).boxed())
    }

    fn page<'a>(
        &'a self,
        prefix: &'a Key,
        after: Option<&'a Key>,
    ) -> BoxFuture<'a, Result<Page, BackendError>> {
        self.inner.page(prefix, after)
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        old: Option<&'a Sealed>,
        new: Option<&'a Sealed>,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        let pass_on = || self.inner.swap(key, old, new);
        (self.swap)().map_or_else(pass_on, |instead| ready(instead).boxed())
    }
}
