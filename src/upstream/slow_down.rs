//! Detects rate limits that an API reports in the response body, under any status.
//!
//! The status should be 429 (RFC 6585 §4). GitHub sends 403 and a sentence, Google 403 and a
//! reason, Meta 400, AWS `ThrottlingException` with 400, Slack and Shopify 200. Mistaken for a
//! missing permission, a limit that ends within a minute would be reported to the user as final.

use std::time::Duration;

use serde_json::Value;

use crate::model::failure::{Answered, Wait};

/// Maximum JSON values searched, since the body may be as large as any response; the rest is
/// ignored.
const MAX_VISITED: usize = 300;
/// Characters of each string that are searched; the rest is ignored.
const MAX_STRING_CHARS: usize = 1000;

/// Phrases that alone mean a rate limit, in the form that [`words`] produces.
const PHRASES: [&str; 34] = [
    " rate limited ",
    " ratelimited ",
    " rate limit exceeded ",
    " ratelimit exceeded ",
    " rate limit error ",
    " rate limit reached ",
    " rate exceeded ",
    " too many requests ",
    " toomanyrequests ",
    " too many calls ",
    " too many api calls ",
    " too many api requests ",
    " too many concurrent ",
    " too many write operations ",
    " throttled ",
    " throttling ",
    " slow down ",
    " slowdown ",
    " request limit reached ",
    " request limit exceeded ",
    " activity limit reached ",
    " calls limit reached ",
    " api limit exceeded ",
    " abuse detection ",
    " wait a few minutes ",
    " requests per second ",
    " requests per minute ",
    " requests per hour ",
    " over query limit ",
    " complexity budget exhausted ",
    " enhance your calm ",
    " too frequently ",
    " limit exceeded for quota metric ",
    " quota exceeded for quota metric ",
];
/// Phrases that mean a rate limit if the text also contains `rate limit`.
const BESIDE_RATE_LIMIT: [&str; 8] =
    ["exceed", " hit ", " reached ", " wait ", " retry ", " try again ", " over ", " too many "];
/// Keys whose values do not describe the error: a *field* may be called `rate_limit`.
const NOT_WORDS: [&str; 14] = [
    "field",
    "param",
    "parameter",
    "property",
    "path",
    "loc",
    "pointer",
    "target",
    "location",
    "name",
    "url",
    "documentation url",
    "doc url",
    "help",
];

/// Whether a string in an error body says that there were too many requests.
pub(super) fn is_in(body: &Value) -> bool {
    let mut left = MAX_VISITED;
    any(body, &mut left, &mut |value| value.as_str().is_some_and(is_telling))
}

/// Whether a text says that there were too many requests.
pub(super) fn says_so(text: &str) -> bool {
    let words = words(text);
    let any = |phrases: &[&str]| phrases.iter().any(|phrase| words.contains(phrase));
    let is_about = words.contains(" rate limit") || words.contains(" ratelimit");
    any(&PHRASES) || is_about && any(&BESIDE_RATE_LIMIT)
}

/// Like [`says_so`], and also true for a bare code: `RATE_LIMITS`, `rate_limit`.
fn is_telling(text: &str) -> bool {
    says_so(text) || matches!(&*words(text), " rate limit " | " rate limits " | " rate limiting ")
}

/// Returns when a rate limit ends, by the body.
pub(super) fn wait(answered: &Answered, body: Option<&Value>) -> Wait {
    if let Some(seconds) = body.and_then(|body| seconds(body, &mut MAX_VISITED.clone())) {
        return Wait::After(Duration::from_secs(seconds));
    }
    let texts = [Some(&answered.who), answered.message.as_ref(), answered.details.as_ref()];
    let says = words(&texts.map(|text| text.map_or("", String::as_str)).join(" "));
    let is_daily = [" daily ", " per day ", " 24 hours "].iter().any(|day| says.contains(day));
    if is_daily { Wait::ByTheDay } else { Wait::Unknown }
}

/// Returns the wait in seconds: Google's `retryDelay` (`"30s"`), Discord's and Telegram's
/// `retry_after`.
fn seconds(value: &Value, left: &mut usize) -> Option<u64> {
    *left = left.checked_sub(1)?;
    match value {
        Value::Array(items) => items.iter().find_map(|item| seconds(item, left)),
        Value::Object(entries) => entries.iter().find_map(|(key, value)| {
            if !matches!(words(key).trim(), "retry after" | "retry delay" | "retry after seconds") {
                return seconds(value, left);
            }
            let number = match value {
                Value::Number(number) => number.as_f64()?,
                Value::String(text) => text.trim().trim_end_matches('s').parse().ok()?,
                _ => return None,
            };
            let number = std::time::Duration::try_from_secs_f64(number.ceil()).ok()?;
            Some(number.as_secs())
        }),
        _ => None,
    }
}

fn any(value: &Value, left: &mut usize, is: &mut impl FnMut(&Value) -> bool) -> bool {
    let Some(rest) = left.checked_sub(1) else { return false };
    *left = rest;
    match value {
        Value::Array(items) => items.iter().any(|item| any(item, left, is)),
        Value::Object(entries) => entries
            .iter()
            .any(|(key, value)| !NOT_WORDS.contains(&words(key).trim()) && any(value, left, is)),
        value => is(value),
    }
}

/// Converts a text to lower-case words, each between spaces: `userRateLimitExceeded`,
/// `RATE_LIMIT-EXCEEDED` and `Rate limit exceeded.` become the same.
fn words(text: &str) -> String {
    let mut words = String::from(" ");
    let mut was_lower = false;
    for c in text.chars().take(MAX_STRING_CHARS) {
        if c.is_alphanumeric() {
            if was_lower && c.is_uppercase() {
                words.push(' ');
            }
            words.extend(c.to_lowercase());
        } else if !words.ends_with(' ') {
            words.push(' ');
        }
        was_lower = c.is_lowercase();
    }
    if !words.ends_with(' ') {
        words.push(' ');
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_provider_s_words_are_understood() {
        for text in [
            "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
            "You have triggered an abuse detection mechanism. Please retry your request again later.",
            "API rate limit exceeded for user ID 1.",
            "userRateLimitExceeded",
            "rateLimitExceeded",
            "RATE_LIMIT_EXCEEDED",
            "ratelimited",
            "RATELIMITED",
            "rate_limited",
            "THROTTLED",
            "ThrottlingException",
            "Request was throttled. Expected available in 20 seconds.",
            "Rate exceeded",
            "(#4) Application request limit reached",
            "(#17) User request limit reached",
            "REQUEST_LIMIT_EXCEEDED",
            "TooManyRequests",
            "too_many_requests",
            "too_many_write_operations",
            "Too Many Requests",
            "activityLimitReached",
            "OVER_QUERY_LIMIT",
            "COMPLEXITY_BUDGET_EXHAUSTED",
            "Slow Down",
            "SlowDown",
            "rate_limit_error",
            "You are being rate limited.",
            "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute'",
            "We allow 5 requests per second",
        ] {
            assert!(is_in(&json!({"error": {"errors": [{"reason": text}]}})), "{text}");
        }
        assert!(is_in(&json!({"category": "RATE_LIMITS"})));
    }

    #[test]
    fn other_refusals_are_none() {
        for body in [
            json!({"message": "Resource not accessible by integration"}),
            json!({"message": "Validation Failed", "errors": [{"field": "rate_limit", "code": "invalid"}]}),
            json!({"detail": [{"loc": ["body", "rate_limit"], "msg": "field required"}]}),
            json!({"message": "rate_limit must be a number"}),
            json!({"message": "The file size limit is exceeded"}),
            json!({"error": "storageQuotaExceeded"}),
            json!({"message": "throttle must be positive"}),
            json!({"message": "not found", "documentation_url": "https://docs.example/too-many-requests"}),
        ] {
            assert!(!is_in(&body), "{body}");
        }
    }

    #[test]
    fn the_body_may_say_how_long() {
        let answered = |message: &str| Answered {
            who: "Acme".into(),
            status: Some(403),
            message: Some(message.into()),
            details: None,
        };
        let wait_of = |body: Value| wait(&answered("It said so."), Some(&body));
        let after = |seconds| Wait::After(Duration::from_secs(seconds));
        assert_eq!(wait_of(json!({"retry_after": 0.53})), after(1));
        let google = json!({"error": {"details": [{"@type": "x.RetryInfo", "retryDelay": "30s"}]}});
        assert_eq!(wait_of(google), after(30));
        assert_eq!(wait_of(json!({"parameters": {"retry_after": 35}})), after(35));
        for nonsense in [json!(-5), json!(1e300), json!("soon"), json!(null), json!([1])] {
            assert_eq!(wait_of(json!({ "retry_after": nonsense })), Wait::Unknown);
        }
        assert_eq!(wait(&answered("Daily limit exceeded"), None), Wait::ByTheDay);
    }
}
