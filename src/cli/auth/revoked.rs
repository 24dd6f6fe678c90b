//! Output of `auth revoke` for each ended consent.

use serde_json::Value;

use crate::broker::consent::end::{Disconnected, Ended};
use crate::oauth::Revoked;
use crate::web::ended::why_it_may_stand;

/// One entry of `accounts` in `auth revoke --json`.
pub(super) fn json(Ended { provider, title, account, label, how }: &Ended) -> Value {
    serde_json::json!({ "provider": provider, "title": title, "account": account, "label": label, "state": state(how) })
}

/// Returns `revoked`, or why the consent may still be valid at the provider although it is deleted
/// here.
fn state(end: &Disconnected) -> &'static str {
    match end {
        Disconnected::AtProvider(Revoked::Yes) => "revoked",
        Disconnected::AtProvider(Revoked::NoWay) => "no_revocation",
        Disconnected::AtProvider(Revoked::Failed) => "revocation_failed",
        Disconnected::AtProvider(Revoked::Unreachable) => "unreachable",
        Disconnected::Pasted => "key_still_valid",
        Disconnected::OtherConfiguration => "other_configuration",
        Disconnected::NotSetUp(_) => "not_set_up",
    }
}

/// Returns the result for one consent, for people.
pub(super) fn words(Ended { provider: _, title, account, label, how }: &Ended) -> String {
    let mut name = title.clone();
    if !account.is_default() {
        name = format!("{name} account {account}");
    }
    if let Some(label) = label {
        name = format!("{name} ({label})");
    }
    if *how == Disconnected::Pasted {
        return format!(
            "{name}: the key is deleted here. It still works at {title}; delete it there too."
        );
    }
    let Some(why) = why_it_may_stand(how) else { return format!("{name} is disconnected.") };
    format!("{name} is forgotten here, but {why}. Remove the app in your {title} settings.")
}
