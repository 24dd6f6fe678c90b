//! Iteration over many records page by page, so that memory does not grow with their number and
//! calls can run in between.

use super::{Backend, BackendError, Key, Page, Sealed};

/// The records under a prefix, page by page and in key order.
pub(crate) struct Walk<'b> {
    backend: &'b dyn Backend,
    prefix: Key,
    skipped: Option<Key>,
    after: Option<Key>,
    is_over: bool,
}

impl<'b> Walk<'b> {
    pub(crate) fn under(backend: &'b dyn Backend, prefix: &str) -> Self {
        let prefix = Key::new(prefix.into());
        Self { backend, prefix, skipped: None, after: None, is_over: false }
    }

    /// Walks every record of the store.
    pub(crate) fn everything(backend: &'b dyn Backend) -> Self {
        Self::under(backend, "")
    }

    /// Leaves out the record under this key.
    pub(crate) fn except(self, skipped: Key) -> Self {
        Self { skipped: Some(skipped), ..self }
    }

    /// Returns the next page, which is empty only if it held nothing but the skipped record. `None`
    /// after the last page and after an error.
    ///
    /// # Errors
    /// [`BackendError`] if the page cannot be read.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<(Key, Sealed)>>, BackendError> {
        if self.is_over {
            return Ok(None);
        }
        self.is_over = true;
        let Page { mut records, is_last } =
            self.backend.page(&self.prefix, self.after.as_ref()).await?;
        let Some((last, _)) = records.last() else { return Ok(None) };
        self.after = Some(last.clone());
        self.is_over = is_last;
        if let Some(skipped) = &self.skipped {
            records.retain(|(key, _)| key != skipped);
        }
        Ok(Some(records))
    }
}

/// Whether a store holds no record, not even a ring.
///
/// # Errors
/// [`BackendError`] if the store cannot be read.
pub(crate) async fn is_empty(backend: &dyn Backend) -> Result<bool, BackendError> {
    Ok(Walk::everything(backend).next().await?.is_none())
}
