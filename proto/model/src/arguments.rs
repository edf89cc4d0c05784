// SPDX-License-Identifier: Apache-2.0
//! Which arguments of a program a rule lists.

/// Whether all arguments are among these: from the second on, for the first is the program's name
/// and the caller's to choose; or that name, if there is no other. What cannot be read is not
/// listed.
#[must_use]
pub fn are_listed(argv: Option<&[String]>, list: &[String]) -> bool {
    match argv {
        None | Some([]) => false,
        Some([name]) => list.contains(name),
        Some([_, arguments @ ..]) => arguments.iter().all(|argument| list.contains(argument)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(line: &str) -> bool {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        are_listed(Some(&words(line)), &words("-m random bare"))
    }

    #[test]
    fn all_arguments_must_be_listed_in_any_order_and_number() {
        for line in ["python -m random", "x random -m", "python random", "python -m -m -m"] {
            assert!(listed(line), "{line}");
        }
        for line in ["python -m http.server", "python -mrandom", "python -m random x"] {
            assert!(!listed(line), "{line}");
        }
    }

    #[test]
    fn without_arguments_the_programs_name_must_be_listed() {
        assert!(listed("bare"));
        assert!(!listed("python"));
        assert!(!listed(""));
        assert!(!are_listed(Some(&["python".into(), String::new()]), &["-m".into()]));
        assert!(!are_listed(None, &["-m".into()]));
    }
}
