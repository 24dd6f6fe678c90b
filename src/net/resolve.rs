//! Name resolution that passes only vetted addresses to the connector.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{Policy, Rule};

pub(super) struct VettingResolver {
    policy: Arc<Policy>,
    rule: Rule,
}

/// Reason why a name has no usable address. [`super::NetError`] finds it among the causes of the
/// client's error.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    #[error("the name cannot be looked up: {0}")]
    Lookup(String),
    #[error("the name has no address")]
    Nothing,
    #[error("{0}")]
    Refused(String),
}

impl VettingResolver {
    pub(super) fn new(policy: Policy, rule: Rule) -> Self {
        Self { policy: Arc::new(policy), rule }
    }
}

impl Resolve for VettingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, rule) = (Arc::clone(&self.policy), self.rule);
        Box::pin(async move {
            // The connector fills in the port.
            let found = tokio::net::lookup_host((name.as_str(), 0))
                .await
                .map_err(|error| ResolveError::Lookup(error.to_string()))?;
            let vetted = vet(found, &policy, rule)?;
            Ok(Box::new(vetted.into_iter()) as Addrs)
        })
    }
}

/// Drops the addresses that the policy refuses. A name with allowed and refused addresses keeps the
/// allowed ones; only a name with none left is refused.
fn vet(
    found: impl Iterator<Item = SocketAddr>,
    policy: &Policy,
    rule: Rule,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let mut reason = None;
    let vetted: Vec<SocketAddr> = found
        .filter(|address| match policy.judge(address.ip(), rule) {
            Ok(()) => true,
            Err(why) => {
                tracing::debug!(address = %address.ip(), "dropped an address of a host");
                reason.get_or_insert(why);
                false
            }
        })
        .collect();
    match (vetted.is_empty(), reason) {
        (false, _) => Ok(vetted),
        (true, Some(reason)) => Err(ResolveError::Refused(reason)),
        (true, None) => Err(ResolveError::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| SocketAddr::new(text.parse().expect("an address"), 0)).collect()
    }

    fn vetted(texts: &[&str], rule: Rule) -> Result<Vec<SocketAddr>, ResolveError> {
        vet(addresses(texts).into_iter(), &Policy::default(), rule)
    }

    #[test]
    fn only_vetted_addresses_reach_the_connector() {
        let left = vetted(&["127.0.0.1", "1.1.1.1", "fd00::1"], Rule::Learnt).expect("one left");
        assert_eq!(left, addresses(&["1.1.1.1"]));
        let left = vetted(&["1.1.1.1", "::1"], Rule::WrittenPlain).expect("one left");
        assert_eq!(left, addresses(&["::1"]));
    }

    #[test]
    fn a_name_with_nothing_left_is_refused() {
        let refused = vetted(&["127.0.0.1", "10.0.0.1"], Rule::Learnt);
        assert!(matches!(refused, Err(ResolveError::Refused(_))));
        let refused = vetted(&["169.254.169.254"], Rule::Written);
        assert!(matches!(refused, Err(ResolveError::Refused(_))));
        assert!(matches!(vetted(&[], Rule::Written), Err(ResolveError::Nothing)));
    }
}
