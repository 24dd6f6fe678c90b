//! The way to connect an account that no tool asks for now.

use super::Caller;

/// Place at which a user connects an account of their own accord.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnaskedPlace {
    /// The page `/connections` of the server.
    ConnectionsPage,
    /// A command on this machine; `user` is [`Caller::user_option`].
    Command { user: Option<Box<str>> },
}

impl UnaskedPlace {
    /// Returns the place for this user.
    pub fn of(caller: &Caller) -> Self {
        if caller.is_local() {
            Self::Command { user: caller.user_option().map(Into::into) }
        } else {
            Self::ConnectionsPage
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UserId;

    #[test]
    fn a_command_names_a_user_whom_it_would_not_mean_without() {
        let local = |user: &str| UnaskedPlace::of(&Caller::local(UserId::new(user)));
        let command = |user: Option<&str>| UnaskedPlace::Command { user: user.map(Into::into) };
        assert_eq!(local("default"), command(None));
        assert_eq!(local("ben"), command(Some("--user=ben")));
        assert_eq!(local("-o'hara"), command(Some(r"'--user=-o'\''hara'")));
        let of_app = Caller { namespace: "key:app".into(), user: UserId::new("ben") };
        assert_eq!(UnaskedPlace::of(&of_app), UnaskedPlace::ConnectionsPage);
    }
}
