//! Reads from a response when the server may be asked again.

use std::time::{Duration, SystemTime};

/// Returns how long to wait, from `Retry-After` (RFC 9110 §10.2.3), or from `x-ratelimit-reset`
/// (GitHub and others; epoch seconds) if no requests remain. `None` if neither has a usable value.
///
/// A point in time counts from the response's own `Date`, so that both times come from one clock.
pub fn retry_after<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<Duration> {
    let until = |moment: SystemTime| {
        let now = httpdate::parse_http_date(header("date")?).ok()?;
        Some(moment.duration_since(now).unwrap_or_default())
    };
    match header("retry-after") {
        Some(value) => match value.trim().parse() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => until(httpdate::parse_http_date(value.trim()).ok()?),
        },
        None if header("x-ratelimit-remaining") == Some("0") => {
            let seconds = header("x-ratelimit-reset")?.trim().parse().ok()?;
            until(SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?)
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(headers: &[(&str, &'static str)]) -> Option<u64> {
        let header =
            |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        retry_after(header).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_and_dates_are_understood() {
        assert_eq!(seconds(&[("retry-after", "30")]), Some(30));
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let later = ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT");
        assert_eq!(seconds(&[date, later]), Some(30));
        let past = ("retry-after", "Sat, 05 Nov 1994 08:50:07 GMT");
        assert_eq!(seconds(&[date, past]), Some(0));
        assert_eq!(seconds(&[later]), None, "no clock to reckon from");
    }

    #[test]
    fn an_exhausted_limit_tells_when_it_ends() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let none_left = ("x-ratelimit-remaining", "0");
        assert_eq!(seconds(&[date, none_left, ("x-ratelimit-reset", "784111817")]), Some(40));
        assert_eq!(seconds(&[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "1")]), None);
        let absurd = ("x-ratelimit-reset", "18446744073709551615");
        assert_eq!(seconds(&[date, none_left, absurd]), None);
    }

    #[test]
    fn nonsense_is_ignored() {
        for value in ["-1", "", "soon", "1e9", "Sun, 06 Nov", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(seconds(&[("retry-after", value)]), None, "{value}");
        }
    }
}
