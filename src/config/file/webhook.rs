//! `[webhooks.NAME]`

use super::super::read::table;
use super::super::span::{At, Text};

table! {
    /// A receiver of events about the connections of an application's users, signed as Standard Webhooks defines it.
    WebhookTable {
        /// URL that events are sent to with POST: https, or http on this machine.
        #[schemars(required)]
        "url" => url: Text,
        /// A reference to the secret that signs the requests: `env:NAME`, `keyring:NAME`, `file:/path` or `cmd:program args`. Its value is `whsec_` and the base64 of at least 24 random bytes; while it is exchanged, the new and the old one with a comma in between.
        #[schemars(required)]
        "secret" => secret: Text,
        /// Name of the application's key in [[server.auth.api_keys]]; only events of that key's users are sent.
        #[schemars(required)]
        "key" => key: Text,
        /// Events to send: `connection.created`, `connection.widened`, `connection.needs_consent`, `connection.disconnected`, `connection.revoked`. Default: all.
        "events" => events: At<Vec<Text>>,
    }
}
