//! Browsers that have signed in, or are about to.

use secrecy::{ExposeSecret as _, SecretString};

use super::backend::Key;
use super::{Held, Result, Store};
use crate::model::{LoginAttempt, Session};

/// # Errors
/// As the methods of [`Store`] in general.
impl Store {
    /// Returns the session of this cookie, expired or not.
    pub async fn session(&self, cookie: &SecretString) -> Result<Option<Held<Session>>> {
        self.read(self.session_key(cookie)).await
    }

    /// Stores a session under a cookie that no browser has had before.
    pub(super) async fn begin_session(
        &self,
        cookie: &SecretString,
        session: &Session,
    ) -> Result<()> {
        self.write(&self.session_key(cookie), session, None).await?;
        Ok(())
    }

    /// Stores a login attempt under its `state`.
    pub(super) async fn start_login(
        &self,
        state: &SecretString,
        attempt: &LoginAttempt,
    ) -> Result<()> {
        self.write(&self.login_key(state), attempt, None).await?;
        Ok(())
    }

    /// Returns the login attempt of a `state` and redeems the `state`: at most one of several
    /// concurrent callbacks gets it.
    pub(super) async fn redeem_login(&self, state: &SecretString) -> Result<Option<LoginAttempt>> {
        let Some(held) = self.read::<LoginAttempt>(self.login_key(state)).await? else {
            return Ok(None);
        };
        Ok(self.delete(&held).await?.then_some(held.value))
    }

    fn session_key(&self, cookie: &SecretString) -> Key {
        Key::new(format!("session/{}", self.ring.hash("session", &[cookie.expose_secret()])))
    }

    fn login_key(&self, state: &SecretString) -> Key {
        Key::new(format!("signin/{}", self.ring.hash("signin", &[state.expose_secret()])))
    }
}
