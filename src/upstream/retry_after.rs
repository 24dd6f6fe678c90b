//! When an API says that it may be asked again, in words.

use super::response::Reply;

/// `in 30 seconds`, from `Retry-After` (RFC 9110 §10.2.3) or GitHub's and others'
/// `x-ratelimit-reset` where nothing remains. `None` where neither says anything sensible.
pub(super) fn wait(reply: &Reply) -> Option<String> {
    let seconds = match reply.header("retry-after") {
        Some(value) => match value.trim().parse::<u64>() {
            Ok(seconds) => Some(seconds),
            Err(_) => until(date(value)?, reply),
        },
        None if reply.header("x-ratelimit-remaining") == Some("0") => {
            until(reply.header("x-ratelimit-reset")?.trim().parse().ok()?, reply)
        }
        None => None,
    };
    seconds.map(words)
}

/// Reckoned from the answer's own `Date`: the two clocks that matter are then the same one.
fn until(moment: u64, reply: &Reply) -> Option<u64> {
    let now = date(reply.header("date")?)?;
    Some(moment.saturating_sub(now))
}

fn words(seconds: u64) -> String {
    match seconds {
        0 => "now".to_owned(),
        1 => "in 1 second".to_owned(),
        2..=119 => format!("in {seconds} seconds"),
        120..=7199 => format!("in {} minutes", seconds.div_ceil(60)),
        7200..=86_400 => format!("in {} hours", seconds.div_ceil(3600)),
        _ => "in more than a day".to_owned(),
    }
}

/// Seconds since 1970 of an `IMF-fixdate`, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
fn date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.trim().split_once(", ")?;
    let mut parts = rest.split(' ');
    let day: u64 = parts.next()?.parse().ok()?;
    let month = parts.next()?;
    let month = u64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let year: u64 = parts.next()?.parse().ok()?;
    let mut clock = parts.next()?.split(':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if parts.next()? != "GMT" || !(1970..=9999).contains(&year) || !(1..=31).contains(&day) {
        return None;
    }
    // Days from the civil calendar, with years that begin in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    Some((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

    use super::*;

    fn waits(headers: &[(&'static str, &'static str)]) -> Option<String> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        wait(&Reply { status: StatusCode::TOO_MANY_REQUESTS, headers, body: Vec::new() })
    }

    #[test]
    fn seconds_and_dates_are_understood() {
        assert_eq!(waits(&[("retry-after", "30")]).as_deref(), Some("in 30 seconds"));
        assert_eq!(waits(&[("retry-after", "600")]).as_deref(), Some("in 10 minutes"));
        assert_eq!(waits(&[("retry-after", "99999")]).as_deref(), Some("in more than a day"));
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let later = ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT");
        assert_eq!(waits(&[date, later]).as_deref(), Some("in 30 seconds"));
        let past = ("retry-after", "Sat, 05 Nov 1994 08:50:07 GMT");
        assert_eq!(waits(&[date, past]).as_deref(), Some("now"));
    }

    #[test]
    fn an_exhausted_limit_tells_when_it_ends() {
        let reset = [
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "784111817"),
        ];
        assert_eq!(waits(&reset).as_deref(), Some("in 40 seconds"));
        assert_eq!(waits(&[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "1")]), None);
    }

    #[test]
    fn nonsense_is_ignored() {
        for value in ["-1", "", "soon", "1e9", "Sun, 06 Nov", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static("retry-after"),
                HeaderValue::from_str(value).expect("a value"),
            )]);
            let reply = Reply { status: StatusCode::OK, headers, body: Vec::new() };
            assert_eq!(wait(&reply), None, "{value}");
        }
    }

    #[test]
    fn dates_are_reckoned_by_the_calendar() {
        assert_eq!(date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(date("Thu, 29 Feb 2024 12:00:00 GMT"), Some(1_709_208_000));
    }
}
