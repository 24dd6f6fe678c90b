//! Browsers that have signed in, or are about to.

use secrecy::{ExposeSecret as _, SecretString};

use super::backend::Key;
use super::{Held, Result, Store};
use crate::model::{Session, SigningIn};

/// # Errors
/// As the methods of [`Store`] in general.
impl Store {
    /// Returns the session of this cookie, expired or not.
    pub async fn session(&self, cookie: &SecretString) -> Result<Option<Held<Session>>> {
        self.read(self.session_key(cookie)).await
    }

    /// Stores a session under a cookie that no browser has had before.
    pub async fn begin_session(&self, cookie: &SecretString, session: &Session) -> Result<()> {
        self.write(&self.session_key(cookie), session, None).await?;
        Ok(())
    }

    /// Stores a login attempt under its `state`.
    pub async fn start_signing_in(&self, state: &SecretString, trip: &SigningIn) -> Result<()> {
        self.write(&self.signing_in_key(state), trip, None).await?;
        Ok(())
    }

    /// Returns the login attempt of a `state` and redeems the `state`: at most one of several
    /// concurrent callbacks gets it.
    pub async fn redeem_signing_in(&self, state: &SecretString) -> Result<Option<SigningIn>> {
        let Some(held) = self.read::<SigningIn>(self.signing_in_key(state)).await? else {
            return Ok(None);
        };
        Ok(self.forget(&held).await?.then_some(held.value))
    }

    fn session_key(&self, cookie: &SecretString) -> Key {
        Key::new(format!("session/{}", self.ring.hash("session", &[cookie.expose_secret()])))
    }

    fn signing_in_key(&self, state: &SecretString) -> Key {
        Key::new(format!("signin/{}", self.ring.hash("signin", &[state.expose_secret()])))
    }
}
