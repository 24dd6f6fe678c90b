//! Puts into words when an API may be called again.

use super::response::Reply;
use crate::net;

/// Returns the wait from the response headers, such as `in 30 seconds`; `None` without a valid one.
pub(super) fn wait(reply: &Reply) -> Option<String> {
    net::retry_after(|name| reply.header(name)).map(|wait| words(wait.as_secs()))
}

pub(super) fn words(seconds: u64) -> String {
    match seconds {
        0 => "now".to_owned(),
        1 => "in 1 second".to_owned(),
        2..=119 => format!("in {seconds} seconds"),
        120..=7199 => format!("in {} minutes", seconds.div_ceil(60)),
        7200..=86_400 => format!("in {} hours", seconds.div_ceil(3600)),
        _ => "in more than a day".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_the_unit_that_fits() {
        assert_eq!(words(0), "now");
        assert_eq!(words(30), "in 30 seconds");
        assert_eq!(words(600), "in 10 minutes");
        assert_eq!(words(99_999), "in more than a day");
    }
}
