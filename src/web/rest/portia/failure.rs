//! Failures that a client's agent may overcome without a person.

use crate::model::FailureKind;
use crate::model::failure::Retry;
use crate::model::tool::Effect;

/// Whether a failure is a soft error, after which Portia's clients let the model call again, up to
/// four times. A hard error ends the plan's run: it is for a person, or the call may have had its
/// effect.
pub(super) fn is_soft(failure: &FailureKind, effect: Effect) -> bool {
    if let FailureKind::ReportedByApi(_) = failure {
        // The API answered with success and reports a failure in the body: a read may be repeated.
        return effect == Effect::Read;
    }
    match failure.retry() {
        Retry::Soon | Retry::InMinutes | Retry::After(_) | Retry::AfterChange => true,
        Retry::Never | Retry::LookFirst => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::failure::{Answered, ApiRefusal, Wait};

    fn answered() -> Answered {
        Answered { who: "Acme".into(), status: Some(403), message: None, details: None }
    }

    #[test]
    fn only_what_a_model_can_mend_is_soft() {
        let refused = |refusal| FailureKind::Refused { answered: answered(), refusal };
        let cause = || "x".to_owned();
        for (failure, soft) in [
            (FailureKind::StoreUnavailable, true),
            (FailureKind::Store { cause: cause() }, false),
            (FailureKind::Ending, true),
            (FailureKind::OAuthSetup { cause: cause() }, false),
            (FailureKind::NotReached { is_passing: true, cause: cause() }, true),
            (FailureKind::TimedOut { may_have_run: true, cause: cause() }, false),
            (FailureKind::TimedOut { may_have_run: false, cause: cause() }, true),
            (refused(ApiRefusal::RateLimited(Wait::After(Duration::from_secs(7)))), true),
            (refused(ApiRefusal::RateLimited(Wait::ByTheDay)), false),
            (refused(ApiRefusal::InvalidArguments), true),
            (refused(ApiRefusal::NotFound), true),
            (refused(ApiRefusal::Forbidden), false),
            (refused(ApiRefusal::Conflict), false),
        ] {
            for effect in [Effect::Read, Effect::Write, Effect::Destroy] {
                assert_eq!(is_soft(&failure, effect), soft, "{failure:?} {effect:?}");
            }
        }
        let reported = FailureKind::ReportedByApi(answered());
        assert!(is_soft(&reported, Effect::Read));
        assert!(!is_soft(&reported, Effect::Write));
    }
}
