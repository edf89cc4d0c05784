// SPDX-License-Identifier: Apache-2.0
//! Names that hang, and those after them.

use std::sync::Condvar;

use super::{super::beneath::facts_of, *};

/// Finds an open file for each name, and hangs where it is said to, until it may go on.
struct Doors {
    hangs: Vec<Option<&'static str>>,
    opened: Arc<(Mutex<bool>, Condvar)>,
}

impl Finder for Doors {
    fn count(&self) -> usize {
        self.hangs.len()
    }

    fn find(&self, at: usize, announce: &dyn Fn(&Named)) -> Outcome {
        let file: OwnedFd = File::open("/").unwrap().into();
        let facts = facts_of(&file).unwrap();
        let named = Named { file: Arc::new(file), facts, access: Access::Free };
        if self.hangs[at] == Some("open") {
            announce(&named);
        }
        if self.hangs[at].is_some() {
            let (opened, changed) = &*self.opened;
            drop(changed.wait_while(opened.lock().unwrap(), |opened| !*opened).unwrap());
        }
        Ok(named)
    }
}

#[test]
fn a_name_that_hangs_is_told_and_keeps_no_other_from_being_found() {
    let hangs = vec![None, Some("look-up"), None, Some("open"), None];
    let (opened, hanging) = (Arc::default(), Arc::new(()));
    let doors = Doors { hangs, opened: Arc::clone(&opened) };
    let outcomes = Names::new(doors, &hanging).find(|| true);
    let found: Vec<_> = outcomes.iter().map(|it| it.as_ref().map(|it| &it.access)).collect();
    assert!(matches!(
        found[..],
        [Ok(Access::Free), Err(_), Ok(Access::Free), Ok(Access::Hangs), Ok(Access::Free)]
    ));
    assert!(outcomes[1].as_ref().is_err_and(|lack| lack.passing));
    // Both hang still, and end when they may.
    ends_with(&hanging, 3);
    *opened.0.lock().unwrap() = true;
    opened.1.notify_all();
    ends_with(&hanging, 1);
}

/// Waits until as many threads are left as that, and this one.
fn ends_with(hanging: &Arc<()>, references: usize) {
    let end = Instant::now() + Duration::from_secs(10);
    while Arc::strong_count(hanging) > references && Instant::now() < end {
        thread::yield_now();
    }
    assert_eq!(Arc::strong_count(hanging), references);
}

#[test]
fn names_beyond_those_that_may_hang_are_told_at_once() {
    let (opened, hanging) = (Arc::<(Mutex<bool>, Condvar)>::default(), Arc::new(()));
    let hangs = vec![Some("look-up"); MAX_HANGING + 2];
    let doors = Doors { hangs, opened: Arc::clone(&opened) };
    let outcomes = Names::new(doors, &hanging).find(|| true);
    let last = outcomes[MAX_HANGING + 1].as_ref().unwrap_err();
    assert!(last.passing && last.detail.contains("have not come back"), "{last:?}");
    *opened.0.lock().unwrap() = true;
    opened.1.notify_all();
}
