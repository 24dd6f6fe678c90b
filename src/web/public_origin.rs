//! Origin of links and callbacks at a server with a `public_url`.

use crate::broker::OriginError;
use crate::model::ProviderId;
use crate::model::oauth::LoopbackRule;

/// Returns scheme, host and port for link and callback of this provider at a server that all browsers
/// reach at `public`.
///
/// # Errors
/// [`OriginError`]: the provider accepts no redirect URI at `public`.
pub fn public_origin(
    public: &str,
    provider: ProviderId,
    rule: LoopbackRule,
) -> Result<String, OriginError> {
    let host = match public.split_once("://") {
        Some(("http", rest)) => rest.split(':').next().unwrap_or_default(),
        // The rules of providers for loopback addresses do not apply to https.
        _ => return Ok(public.to_owned()),
    };
    if rule == LoopbackRule::Refused {
        Err(OriginError::HttpsOnly(provider))
    } else if rule.host() == "localhost" && host != rule.host() {
        Err(OriginError::OtherHost { provider, host: rule.host() })
    } else {
        Ok(public.to_owned())
    }
}
