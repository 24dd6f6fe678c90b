//! Why a user gave no access, in words for a client's user or a terminal.

use crate::broker::consent::wait::NotConnected;
use crate::model::reason::ConsentFailure;

/// Returns the reason as sentences. `title` is the provider's.
pub fn not_connected(title: &str, why: &NotConnected) -> String {
    match why {
        NotConnected::Refused(ConsentFailure::Declined) => "You said no.".into(),
        NotConnected::Refused(ConsentFailure::DeclinedAtProvider) => {
            "You said no at the provider.".into()
        }
        NotConnected::Refused(ConsentFailure::ProviderError { code }) => {
            format!("The provider answered: {code}.")
        }
        NotConnected::Refused(ConsentFailure::ClientRefused { code }) => {
            let code = code.as_ref().map(|code| format!(" (`{code}`)")).unwrap_or_default();
            format!(
                "{title} does not accept this server's app{code}. The operator of this server must check the app's client_id, client_secret and redirect URI at {title}."
            )
        }
        NotConnected::Refused(ConsentFailure::Other(sentence)) => sentence.clone(),
        NotConnected::PreviousAccountKept(before) => {
            format!("You stay with the account {before}.")
        }
        NotConnected::Disconnected => "You disconnected it again.".into(),
    }
}
