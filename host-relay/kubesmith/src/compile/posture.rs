// SPDX-License-Identifier: Apache-2.0
//! Postures of a namespace: its annotations over the relay's defaults.

use policy_model::{Posture, Postures};

use crate::{
    crd::Namespace,
    finding::{Code, Finding},
};

/// A posture by name, in any case.
#[must_use]
pub fn parse_posture(text: &str) -> Option<Posture> {
    match text.to_ascii_lowercase().as_str() {
        "allow" => Some(Posture::Allow),
        "audit" => Some(Posture::Audit),
        "block" => Some(Posture::Block),
        _ => None,
    }
}

/// Postures of a namespace. As upstream: annotations take audit and block, the process whitelist
/// uses the file posture and the DNS whitelist the network posture.
#[must_use]
pub fn postures(defaults: Postures, namespace: Option<&Namespace>) -> (Postures, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut annotated = |key: &str, default: Posture| {
        let Some(text) = namespace.and_then(|namespace| namespace.metadata.annotations.get(key))
        else {
            return default;
        };
        match parse_posture(text) {
            Some(posture @ (Posture::Audit | Posture::Block)) => posture,
            Some(Posture::Allow) | None => {
                findings.push(Finding {
                    code: Code::Posture,
                    policy: None,
                    field: format!("metadata.annotations.{key}"),
                    message: format!("`{text}` has no effect; write `audit` or `block`"),
                    counter_example: None,
                });
                default
            }
        }
    };
    let file = annotated("kubearmor-file-posture", defaults.file);
    let network = annotated("kubearmor-network-posture", defaults.network);
    let capability = annotated("kubearmor-capabilities-posture", defaults.capability);
    (Postures { process: file, file, network, dns: network, capability }, findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(key: &str, value: &str) -> Namespace {
        let mut namespace = Namespace::default();
        namespace.metadata.annotations.insert(key.into(), value.into());
        namespace
    }

    #[test]
    fn annotations_beat_the_defaults_and_programs_follow_files() {
        let annotated = namespace("kubearmor-file-posture", "BLOCK");
        let (postures, findings) = postures(Postures::default(), Some(&annotated));
        assert_eq!((postures.file, postures.process), (Posture::Block, Posture::Block));
        assert_eq!(postures.network, Posture::Audit);
        assert!(findings.is_empty());
    }

    #[test]
    fn an_annotation_that_means_nothing_leaves_the_default_and_is_reported() {
        let annotated = namespace("kubearmor-network-posture", "deny");
        let (postures, findings) = postures(Postures::default(), Some(&annotated));
        assert_eq!(postures.network, Posture::Audit);
        assert_eq!(findings[0].field, "metadata.annotations.kubearmor-network-posture");
    }
}
