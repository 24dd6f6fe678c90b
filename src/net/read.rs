//! Reads a response body without trusting what the other side says about it.

use std::time::Duration;

use reqwest::Response;

use super::error::{NetError, Phase, host_of};

/// How long the other side may be silent within a body; then reading fails with
/// [`Phase::TimedOut`].
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Memory for a body, reserved as the body grows.
pub trait Room: Send {
    /// Waits until there is room for a body of `to` bytes. `announced` is the total length in bytes
    /// that the other side states.
    fn grow(&mut self, to: usize, announced: Option<usize>) -> impl Future<Output = ()> + Send;
}

/// No reservation, for a body whose `cap` is small.
struct Unshared;

impl Room for Unshared {
    async fn grow(&mut self, _: usize, _: Option<usize>) {}
}

/// Reads a body of up to `cap` bytes, counted after decompression.
///
/// The body comes in small pieces, so a compression bomb is stopped at the cap: half a megabyte of
/// gzip that unpacks to 512 MiB costs the cap, not the 512 MiB. `Content-Length` is only a hint for
/// the first allocation.
///
/// # Errors
/// [`Phase::TooLarge`], [`Phase::TimedOut`], or the phase in which the connection failed.
pub async fn read(response: Response, cap: usize) -> Result<Vec<u8>, NetError> {
    read_into(response, cap, &mut Unshared).await
}

/// Like [`read()`], and reserves the body's memory in `room` before it grows.
///
/// # Errors
/// As [`read()`].
pub async fn read_into(
    mut response: Response,
    cap: usize,
    room: &mut impl Room,
) -> Result<Vec<u8>, NetError> {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    let mut body = Vec::with_capacity(announced.unwrap_or(0).min(cap).min(64 * 1024));
    loop {
        let piece = match tokio::time::timeout(IDLE_TIMEOUT, response.chunk()).await {
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
        room.grow(body.len() + piece.len(), announced).await;
        body.extend_from_slice(&piece);
    }
}
