//! Reading a body without trusting what the other side says about it.

use std::time::Duration;

use reqwest::Response;

use super::error::{NetError, Phase, host_of};

/// How long the other side may be silent in the middle of a body.
const IDLE: Duration = Duration::from_secs(15);

/// Reads a body up to `cap` bytes, counted after decompression.
///
/// The body comes in small pieces, so a compression bomb is stopped at the cap: half a megabyte of
/// gzip that unpacks to 512 MiB costs the cap, not the 512 MiB. `Content-Length` is a hint for the
/// first allocation and nothing else.
///
/// # Errors
/// [`Phase::TooLarge`], [`Phase::TimedOut`] or however the body broke off.
pub async fn read(mut response: Response, cap: usize) -> Result<Vec<u8>, NetError> {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    let mut body = Vec::with_capacity(announced.unwrap_or(0).min(cap).min(64 * 1024));
    loop {
        let piece = match tokio::time::timeout(IDLE, response.chunk()).await {
            Ok(Ok(Some(piece))) => piece,
            Ok(Ok(None)) => return Ok(body),
            Ok(Err(error)) => {
                return Err(NetError::from_reqwest(host_of(response.url()), &error));
            }
            Err(_) => return Err(NetError::new(host_of(response.url()), Phase::TimedOut)),
        };
        if body.len() + piece.len() > cap {
            return Err(NetError::new(host_of(response.url()), Phase::TooLarge { cap }));
        }
        body.extend_from_slice(&piece);
    }
}
