// SPDX-License-Identifier: Apache-2.0
//! An error and its causes as one line, for replies and logs. Pure.

use std::error::Error;

/// The error with every cause that it does not print itself.
#[must_use]
pub fn of(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause: &&dyn Error| (*cause).source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("mounting")]
    struct Outer(#[source] std::fmt::Error);

    #[test]
    fn causes_follow_their_effects() {
        let cause = std::fmt::Error.to_string();
        assert_eq!(of(&Outer(std::fmt::Error)), format!("mounting: {cause}"));
    }
}
