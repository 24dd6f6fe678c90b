//! Ground layer: the product's nouns and its pure decisions.
//!
//! Nothing here is async, does I/O or knows a protocol version. Every decision that depends on data
//! alone is made here, so that it can be tested without a store, a server or a clock.

pub mod allowed;
pub mod arguments;
pub mod assertion;
pub mod authorization;
pub mod call_confirmation;
pub mod caller;
pub mod clarification;
pub mod connection_id;
pub mod consent_mode;
pub mod consent_plan;
pub mod credential;
pub mod declared_tool;
pub mod deposit;
pub mod disconnection;
pub mod event;
pub mod face;
pub mod failure;
pub mod gateway;
pub mod grant;
pub mod guide;
pub mod hosts;
pub mod id;
pub mod identity;
pub mod input_required;
pub mod input_schema;
pub mod lifetime;
pub mod nesting;
pub mod oauth;
pub mod once;
pub mod outcome;
pub mod param;
pub mod principal;
pub mod provider;
pub mod public_ids;
pub mod rate_limit;
pub mod reason;
pub mod refresh_life;
pub mod request_problem;
pub mod requester;
pub mod rest_provider;
pub mod rest_secret;
pub mod result;
pub mod retention;
pub mod run;
pub mod run_needs;
pub mod scheduled;
pub mod scope;
pub mod secret;
pub mod secret_ref;
pub mod server_auth;
pub mod session;
pub mod shares;
pub mod signing_keys;
pub mod text;
pub mod time;
pub mod tool;
pub mod unasked_place;
pub mod uuid;
pub mod verification;
pub mod webhook;
pub mod webhook_queue;

pub use allowed::{Allowed, AllowedHost, AllowedOrigin, BadAllowed};
pub use arguments::InvalidArguments;
pub use authorization::{Authorization, AuthorizationAttempt, Status, Unclaimed, Unconfirmed};
pub use call_confirmation::CallConfirmation;
pub use caller::Caller;
pub use clarification::Clarification;
pub use consent_mode::ConsentMode;
pub use event::Event;
pub use failure::{Failure, FailureKind};
pub use grant::{Grant, Standing, TokenSet};
pub use id::{AccountName, InstanceId, ProviderId, ToolName, UserId};
pub use input_required::{ConfirmationPrompt, InputRequired, Question};
pub use outcome::{ConnectPrompt, Outcome, PromptReason, Refused, UnaskedBecause};
pub use principal::Principal;
pub use provider::Provider;
pub use rate_limit::RateLimit;
pub use result::{FRAME, ToolResult, Unfit};
pub use run_needs::RunNeeds;
pub use scope::Scopes;
pub use session::{Destination, LoginAttempt, Session};
pub use time::{Clock, Time};
pub use tool::{AuthorizationRequirement, Tool};
pub use verification::Verification;

/// Returns an error and its causes, outermost first. A cause that the previous text ends with is
/// left out.
pub fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !told.last().is_some_and(|last| last.ends_with(&text)) {
            told.push(text);
        }
        next = error.source();
    }
    told
}

/// Returns [`causes`] in one line, for the log.
pub fn chain(error: &dyn std::error::Error) -> String {
    causes(error).join(": ")
}
