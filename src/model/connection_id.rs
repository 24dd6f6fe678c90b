//! Ids of connections, as REST clients and receivers of webhooks know them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Caller, Grant, UserId, secret};

/// Returns the digest of a consent: what was granted, when and by which account. A refresh does not
/// change it.
pub fn digest(grant: &Grant) -> String {
    let Grant { provider, account, binding, identity, scopes, connected_at, hands_out, .. } = grant;
    // `Debug` quotes every text, so different consents are never written alike.
    let said =
        (provider, account, binding.fingerprint(), identity, scopes, connected_at, hands_out);
    secret::fingerprint(&format!("{said:?}"))
}

/// Returns the id of a connection: `uc_<user id in base64url>.<digest>`. It names the user, so that
/// no search over all users is needed to find it, and the consent, so that a newer one is not ended
/// in its place.
pub fn connection_id(caller: &Caller, digest: &str) -> String {
    format!("uc_{}.{digest}", URL_SAFE_NO_PAD.encode(caller.user.as_str()))
}

/// Returns user and digest of a connection's id; `None` if the text is no such id.
pub fn read_connection_id(id: &str) -> Option<(UserId, String)> {
    let (user, digest) = id.strip_prefix("uc_")?.split_once('.')?;
    let user = String::from_utf8(URL_SAFE_NO_PAD.decode(user).ok()?).ok()?;
    Some((UserId::parse(&user).ok()?, digest.to_owned()))
}
