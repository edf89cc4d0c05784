// SPDX-License-Identifier: Apache-2.0
//! Errors as gRPC's codes: decided here, at the edge, and nowhere else.

use policy_model::wire::InvalidRuleSet;
use tonic::{Code, Status};

use crate::{
    apply::ApplyError,
    containers::InspectError,
    lower::LowerError,
    maps::{InstallError, MapsError},
    reason,
    registry::{RemoveError, RootError},
};

pub(super) fn of_apply(error: &ApplyError) -> Status {
    Status::new(code_of(error), reason::of(error))
}

pub(super) fn of_remove(error: &RemoveError) -> Status {
    match error {
        RemoveError::Unknown(_) => Status::not_found(error.to_string()),
        RemoveError::Apply(error) => of_apply(error),
    }
}

pub(super) fn of_root(error: &RootError) -> Status {
    let code = match error {
        RootError::Unknown(_) => Code::NotFound,
        RootError::Over { .. } | RootError::Inspect(InspectError::Gone(_)) => {
            Code::FailedPrecondition
        }
        RootError::Inspect(_) => Code::Internal,
        RootError::Stopped(_) => Code::Unavailable,
    };
    Status::new(code, reason::of(error))
}

fn code_of(error: &ApplyError) -> Code {
    match error {
        // Right for another agent, or at another time.
        ApplyError::RuleSet(InvalidRuleSet::Format(_) | InvalidRuleSet::Feature(_))
        | ApplyError::Rule(_)
        | ApplyError::Option(_)
        | ApplyError::Lower(LowerError::Unsupported(_) | LowerError::UnsupportedOption(_))
        | ApplyError::Expired { .. }
        | ApplyError::Stale(_) => Code::FailedPrecondition,
        ApplyError::Envelope(_) | ApplyError::RuleSet(_) | ApplyError::Lower(_) => {
            Code::InvalidArgument
        }
        ApplyError::TooMany(_) => Code::ResourceExhausted,
        ApplyError::Install(error) => code_of_install(error),
        ApplyError::NotTakenBack { first, .. } => code_of(first),
        ApplyError::Inspect(_)
        | ApplyError::Cgroup(_)
        | ApplyError::Switch(_)
        | ApplyError::Maps(_) => Code::Internal,
        ApplyError::Stopped(_) | ApplyError::Unsearched(_) => Code::Unavailable,
    }
}

fn code_of_install(error: &InstallError) -> Code {
    match error {
        InstallError::Maps(MapsError::Exhausted(_)) => Code::ResourceExhausted,
        InstallError::NotErased { first, .. } => code_of_install(first),
        _ => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use policy_model::{Feature, Target, UnknownFeature};

    use super::*;
    use crate::registry::Stopped;

    #[test]
    fn a_feature_of_a_newer_relay_is_named() {
        let error = InvalidRuleSet::Feature(UnknownFeature("object.telepathy".into()));
        let status = of_apply(&error.into());
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains("object.telepathy"));
        assert_eq!(of_apply(&ApplyError::Option(Feature::Taint)).code(), Code::FailedPrecondition);
    }

    #[test]
    fn whose_fault_it_is_shows_in_the_code() {
        let malformed = ApplyError::RuleSet(InvalidRuleSet::Malformed("cut".into()));
        assert_eq!(of_apply(&malformed).code(), Code::InvalidArgument);
        assert_eq!(of_apply(&ApplyError::Stopped(Stopped)).code(), Code::Unavailable);
        let full = ApplyError::Install(MapsError::Exhausted("writing a place").into());
        assert_eq!(of_apply(&full).code(), Code::ResourceExhausted);
        let (first, second) = (Box::new(full), MapsError::Full);
        let both = ApplyError::NotTakenBack { first, second };
        assert_eq!(of_apply(&both).code(), Code::ResourceExhausted, "that of the first");
        let unknown = RemoveError::Unknown(Target::default());
        assert_eq!(of_remove(&unknown).code(), Code::NotFound);
    }
}
