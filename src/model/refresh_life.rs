//! Documented rules for how long a provider's refresh tokens live.

use serde::{Deserialize, Serialize};

/// A documented rule for the end of a provider's refresh tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshLife {
    pub days: u32,
    pub from: LifeFrom,
    /// Condition of the rule, if it does not always apply, e.g.
    /// `your Google app is in status "Testing"`.
    pub when: Option<String>,
    /// Remedy for the operator, e.g. `publish the app`.
    pub remedy: Option<String>,
}

/// Event from which the days of a [`RefreshLife`] count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LifeFrom {
    /// The consent; later renewals do not extend it.
    Consent,
    /// The last renewal: each one brings a new refresh token, or prolongs the existing one.
    Renewal,
}
