//! Pages of lists: `limit` and `offset` of a query, and the shape of a page.

use axum::http::Uri;
use schemars::JsonSchema;
use serde::Serialize;
use url::form_urlencoded;

/// Items per page if the query sets no `limit`.
const DEFAULT_LIMIT: usize = 25;
/// Most items per page; a higher `limit` is lowered to it.
pub(in crate::web) const MAX_LIMIT: usize = 100;

/// Part of a list that a query asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) struct Paging {
    limit: usize,
    offset: usize,
}

/// A parameter of a query whose value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` must be a number")]
pub(in crate::web) struct NotANumber(String);

/// Part of a list, in the shape of Arcade's contract.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub(in crate::web) struct Page<T> {
    items: Vec<T>,
    /// Most items of a page.
    limit: usize,
    /// Number of items before this page.
    offset: usize,
    #[serde(rename = "page_count")]
    pages: usize,
    /// Number of items on all pages.
    total_count: usize,
}

impl Default for Paging {
    fn default() -> Self {
        Self { limit: DEFAULT_LIMIT, offset: 0 }
    }
}

impl Paging {
    /// The first items of a list, as many as `limit`, unless the query says otherwise.
    pub(in crate::web) fn up_to(limit: usize) -> Self {
        Self { limit, offset: 0 }
    }

    /// Reads all parameters of a query that are about pages.
    ///
    /// # Errors
    /// [`NotANumber`]
    pub(in crate::web) fn asked_by(mut self, uri: &Uri) -> Result<Self, NotANumber> {
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            self.read(&name, &value)?;
        }
        Ok(self)
    }

    /// Reads a parameter of a query; ignores those that are not about pages.
    ///
    /// # Errors
    /// [`NotANumber`]
    pub(in crate::web) fn read(&mut self, name: &str, value: &str) -> Result<(), NotANumber> {
        let number = || value.parse::<usize>().map_err(|_| NotANumber(name.to_owned()));
        match name {
            "limit" => self.limit = number()?.clamp(1, MAX_LIMIT),
            "offset" => self.offset = number()?,
            _ => {}
        }
        Ok(())
    }

    /// Returns the page of this list.
    pub(in crate::web) fn of<T>(self, all: impl IntoIterator<Item = T>) -> Page<T> {
        let Self { limit, offset } = self;
        let mut total_count = 0;
        let mut items = Vec::new();
        for item in all {
            if total_count >= offset && items.len() < limit {
                items.push(item);
            }
            total_count += 1;
        }
        Page { items, limit, offset, pages: total_count.div_ceil(limit), total_count }
    }
}

impl<T> Page<T> {
    pub(in crate::web) fn items(&self) -> &[T] {
        &self.items
    }

    /// Returns the page with these items in place of its own.
    pub(in crate::web) fn with<A>(self, items: Vec<A>) -> Page<A> {
        let Self { limit, offset, pages, total_count, .. } = self;
        Page { items, limit, offset, pages, total_count }
    }

    pub(in crate::web) fn map<A>(mut self, answer: impl FnMut(T) -> A) -> Page<A> {
        let items = std::mem::take(&mut self.items).into_iter().map(answer).collect();
        self.with(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paging(query: &[(&str, &str)]) -> Result<Paging, NotANumber> {
        let mut written = form_urlencoded::Serializer::new(String::new());
        let written = written.extend_pairs(query).finish();
        Paging::default().asked_by(&format!("/?{written}").parse().unwrap())
    }

    #[test]
    fn a_page_is_the_part_that_the_query_asks_for() {
        for (query, limit, offset, items) in [
            (&[][..], 25, 0, 0..25),
            (&[("limit", "10"), ("offset", "20"), ("other", "x")], 10, 20, 20..30),
            (&[("limit", "0")], 1, 0, 0..1),
            (&[("limit", "1000")], 100, 0, 0..60),
            (&[("offset", "55")], 25, 55, 55..60),
            (&[("offset", "18446744073709551615")], 25, usize::MAX, 0..0),
        ] {
            let page = paging(query).unwrap().of(0..60);
            assert_eq!(page.items, items.collect::<Vec<_>>(), "{query:?}");
            assert_eq!((page.limit, page.offset, page.total_count), (limit, offset, 60));
            assert_eq!(page.pages, 60usize.div_ceil(limit));
        }
        for bad in ["", "-1", "x", "1.5"] {
            assert_eq!(paging(&[("offset", bad)]), Err(NotANumber("offset".into())));
        }
    }

    #[test]
    fn an_empty_list_has_no_page() {
        let page = Paging::default().of(Vec::<u8>::new());
        assert_eq!((page.pages, page.total_count), (0, 0));
    }
}
