//! `consent` in the query of `/mcp` and `/sse`: how this client wants to be asked for a consent, if
//! the operator of a server for many kinds of clients leaves the choice to them.

use http::{StatusCode, Uri};
use url::form_urlencoded;

use super::body::Refusal;
use crate::model::ConsentMode;

/// Returns the mode that the URL names, if any.
///
/// # Errors
/// 400 for an unknown mode, or for two: a client that is asked in another way than its
/// configuration says must not have to guess why.
pub(super) fn mode_of(uri: &Uri) -> Result<Option<ConsentMode>, Refusal> {
    let Some(query) = uri.query() else { return Ok(None) };
    let mut words = form_urlencoded::parse(query.as_bytes())
        .filter_map(|(name, word)| (name == "consent").then_some(word));
    let refused = || {
        Refusal::new(StatusCode::BAD_REQUEST, "`consent` in the address is auto, text or result")
    };
    match (words.next(), words.next()) {
        (None, _) => Ok(None),
        (Some(word), None) => ConsentMode::of(&word).map(Some).ok_or_else(refused),
        (Some(_), Some(_)) => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_one_mode_or_none() {
        let of = |uri: &str| mode_of(&uri.parse().unwrap()).map_err(|_| ());
        assert_eq!(of("/mcp"), Ok(None));
        assert_eq!(of("/mcp?other=1"), Ok(None));
        assert_eq!(of("/mcp?consent=text"), Ok(Some(ConsentMode::Text)));
        assert_eq!(of("/sse?a=b&consent=result"), Ok(Some(ConsentMode::Result)));
        assert_eq!(of("/mcp?consent=auto"), Ok(Some(ConsentMode::Auto)));
        for wrong in
            ["consent=", "consent", "consent=Text", "consent=x", "consent=text&consent=text"]
        {
            assert_eq!(of(&format!("/mcp?{wrong}")), Err(()), "{wrong}");
        }
    }
}
