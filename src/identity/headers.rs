//! The request's own claims: its token, and the end user that an application names.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::denied::{Denied, Malformed};
use super::token_fault::TokenFault;
use crate::model::UserId;
use crate::model::id::BadUserId;

/// Header names; if both are present, they must agree. Arcade's clients send the second.
const END_USER: [&str; 2] = ["countersign-user", "arcade-user-id"];
/// Portia's name for a user whom its client does not name.
pub const PORTIA_DEFAULT_USER: &str = "portia:default_user";

/// Maximum bytes of a token. A request's head is read whole before the caller is known; tokens are
/// a few kilobytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Returns the bearer token (RFC 6750 §2.1). It is accepted only in the header: a query ends up in
/// logs and histories, and another site's form can send a body.
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, Denied> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let first = all.next().ok_or(Denied::Missing)?;
    // With two headers it is unknown which one a proxy has checked.
    if all.next().is_some() {
        return Err(Malformed::TwoAuthorizations.into());
    }
    let text = first.to_str().map_err(|_| Malformed::Authorization)?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Denied::Missing);
    }
    usable(token.trim_matches(' '))
}

/// Returns the key of a REST client: the whole value of the header, as Arcade's clients may send
/// it, or what follows `Bearer` or `Api-Key`.
pub(super) fn key(headers: &HeaderMap) -> Result<&str, Denied> {
    const SCHEMES: [&str; 3] = ["bearer", "api-key", "basic"];
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let first = all.next().ok_or(Denied::Missing)?;
    if all.next().is_some() {
        return Err(Malformed::TwoAuthorizations.into());
    }
    let text = first.to_str().map_err(|_| Malformed::Authorization)?.trim_matches(' ');
    let key = match text.split_once(' ') {
        // A scheme alone is a key that was left empty.
        None if SCHEMES.iter().any(|scheme| text.eq_ignore_ascii_case(scheme)) => "",
        None => text,
        Some((scheme, key)) => {
            let is_known = ["bearer", "api-key"].iter().any(|it| scheme.eq_ignore_ascii_case(it));
            if !is_known {
                return Err(Denied::Missing);
            }
            key.trim_matches(' ')
        }
    };
    usable(key)
}

/// Checks that a token or key has the characters and the length of one.
fn usable(token: &str) -> Result<&str, Denied> {
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Malformed::Authorization.into());
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenFault::TooLong.into());
    }
    Ok(token)
}

/// The user of an application whose client does not name one, where the contract has such a user.
const DEFAULT_USER: &str = "default";

/// Returns the user whom an application names, whichever way it names them. What Portia's clients send
/// for a user without a name means the same as no name.
///
/// # Errors
/// [`BadUserId`] if no user can have that name.
pub fn named_user(name: &str) -> Result<UserId, BadUserId> {
    if name == PORTIA_DEFAULT_USER { Ok(UserId::new(DEFAULT_USER)) } else { UserId::parse(name) }
}

/// Returns the end user that an application names.
pub(super) fn end_user(headers: &HeaderMap) -> Result<Option<UserId>, Malformed> {
    let mut found: Option<&[u8]> = None;
    for name in END_USER {
        let mut all = headers.get_all(name).iter();
        let Some(value) = all.next().map(http::HeaderValue::as_bytes) else { continue };
        if all.next().is_some() || found.is_some_and(|other| other != value) {
            return Err(Malformed::TwoUsers);
        }
        found = Some(value);
    }
    let Some(value) = found else { return Ok(None) };
    let text = std::str::from_utf8(value).map_err(|_| Malformed::UserEncoding)?;
    Ok(Some(named_user(text)?))
}

/// Refuses a header that names another user than `user`: an application that was given a person's
/// credentials by mistake would mix all its users up in that person's accounts.
pub(super) fn only(user: &UserId, headers: &HeaderMap) -> Result<(), Malformed> {
    match end_user(headers)? {
        Some(other) if other != *user => Err(Malformed::OtherUser),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn token(fields: &[(&'static str, &str)]) -> Result<String, Denied> {
        bearer(&headers(fields)).map(str::to_owned)
    }

    #[test]
    fn a_token_is_what_follows_bearer() {
        for value in ["Bearer abc", "bearer abc", "BEARER   abc "] {
            assert_eq!(token(&[("authorization", value)]).unwrap(), "abc");
        }
    }

    #[test]
    fn no_token_is_no_mistake_and_a_garbled_one_is() {
        assert!(matches!(token(&[]), Err(Denied::Missing)));
        for value in ["Basic YTpi", "abc", "", "DPoP abc", "Bearerabc"] {
            let denied = token(&[("authorization", value)]);
            assert!(matches!(denied, Err(Denied::Missing)), "{value}: {denied:?}");
        }
        for value in [
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Bearer a, Bearer b",
            "Bearer a\tb",
            "Bearer \u{e9}",
        ] {
            let denied = token(&[("authorization", value)]);
            assert!(
                matches!(denied, Err(Denied::Malformed(Malformed::Authorization))),
                "{value}: {denied:?}"
            );
        }
        let denied = token(&[("authorization", "Bearer a"), ("authorization", "Bearer a")]);
        assert!(matches!(denied, Err(Denied::Malformed(Malformed::TwoAuthorizations))));
        let denied = token(&[("authorization", &format!("Bearer {}", "a".repeat(16 * 1024 + 1)))]);
        assert!(matches!(denied, Err(Denied::InvalidToken(TokenFault::TooLong))));
    }

    #[test]
    fn a_key_comes_with_a_known_scheme_or_none() {
        let key = |value: &str| key(&headers(&[("authorization", value)])).map(str::to_owned);
        for value in ["abc", "Bearer abc", "bearer  abc ", "Api-Key abc", "API-KEY abc"] {
            assert_eq!(key(value).unwrap(), "abc", "{value}");
        }
        for value in ["Basic YTpi", "DPoP abc", "Token abc"] {
            assert!(matches!(key(value), Err(Denied::Missing)), "{value}");
        }
        for value in ["", " ", "Bearer", "Bearer ", "api-key", "Basic", "Bearer a b", "a\tb"] {
            let denied = key(value);
            assert!(
                matches!(denied, Err(Denied::Malformed(Malformed::Authorization))),
                "{value}: {denied:?}"
            );
        }
        let long = "a".repeat(16 * 1024 + 1);
        assert!(matches!(key(&long), Err(Denied::InvalidToken(TokenFault::TooLong))));
        let two = headers(&[("authorization", "a"), ("authorization", "a")]);
        let denied = super::key(&two);
        assert!(matches!(denied, Err(Denied::Malformed(Malformed::TwoAuthorizations))));
        assert!(matches!(super::key(&HeaderMap::new()), Err(Denied::Missing)));
    }

    #[test]
    fn an_end_user_is_named_once_or_twice_alike() {
        let named = |fields: &[(&'static str, &str)]| {
            end_user(&headers(fields)).map(|user| user.map(|user| user.to_string()))
        };
        let (ours, theirs) = ("countersign-user", "arcade-user-id");
        assert_eq!(named(&[]), Ok(None));
        assert_eq!(named(&[(ours, "ana")]), Ok(Some("ana".into())));
        // Portia's user without a name is one user, whichever way a client names it.
        assert_eq!(named(&[(ours, PORTIA_DEFAULT_USER)]), Ok(Some("default".into())));
        assert_eq!(named(&[(theirs, "an\u{e1}")]), Ok(Some("an\u{e1}".into())));
        assert_eq!(named(&[(ours, "ana"), (theirs, "ana")]), Ok(Some("ana".into())));
        assert_eq!(named(&[(ours, "ana"), (theirs, "bob")]), Err(Malformed::TwoUsers));
        assert_eq!(named(&[(ours, "ana"), (theirs, "Ana")]), Err(Malformed::TwoUsers));
        assert_eq!(named(&[(ours, "ana"), (ours, "ana")]), Err(Malformed::TwoUsers));
        assert!(matches!(named(&[(ours, "")]), Err(Malformed::User(_))));
        assert!(matches!(named(&[(ours, &"u".repeat(1024))]), Err(Malformed::User(_))));
        let mut latin1 = HeaderMap::new();
        latin1.insert(ours, HeaderValue::from_bytes(b"an\xe1").unwrap());
        assert_eq!(end_user(&latin1), Err(Malformed::UserEncoding));
    }
}
