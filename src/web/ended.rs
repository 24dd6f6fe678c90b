//! Words about a consent that was ended here and may still stand at the provider, for pages and the
//! terminal.

use crate::broker::consent::end::Disconnected;
use crate::oauth::Revoked;

/// Why the consent may still stand at the provider, where the user must then end it: a lower-case
/// fragment about the provider.
pub fn why_it_may_stand(how: &Disconnected) -> Option<String> {
    Some(match how {
        Disconnected::AtProvider(Revoked::Yes) => return None,
        Disconnected::Pasted => "the key goes on working there".into(),
        Disconnected::AtProvider(Revoked::NoWay) => {
            "it has no way for us to end the consent there".into()
        }
        Disconnected::AtProvider(Revoked::Failed) => {
            "it did not confirm the end of the consent".into()
        }
        Disconnected::AtProvider(Revoked::Unreachable) => "it could not be reached".into(),
        Disconnected::OtherConfiguration => {
            "the consent was given for another tools.toml, so it was not ended there".into()
        }
        Disconnected::NotSetUp(why) => format!("the consent could not be ended there: {why}"),
    })
}
