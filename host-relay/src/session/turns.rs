// SPDX-License-Identifier: Apache-2.0
//! How many guests are called at once.
//!
//! A TLS handshake costs milliseconds of a processor and has a deadline. If a relay that starts, or
//! loses all its guests, calls all of them at the same moment, none of the handshakes ends in time.
//! So sessions take turns. A guest that is slow to answer costs nothing but patience, and keeps its
//! turn only for a while: nobody can hold up the others.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::timeout};

/// Sessions that connect at once: enough that a processor is never idle, and few enough that each
/// handshake ends within a tenth of its deadline.
pub const AT_ONCE: usize = 32;

/// How long a turn lasts at most. Guests answer in milliseconds; if all of them were dead, there
/// would still be a turn for each of 300 in the time for which a container waits, 8 s.
pub const LONGEST: Duration = Duration::from_secs(1);

/// The turns of all sessions of a relay.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Semaphore>);

// === impl Turns ===

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Turns {
    /// Does it in a turn; if the turn ends before, goes on without.
    pub(super) async fn take<T>(&self, work: impl Future<Output = T>) -> T {
        let turn = self.0.acquire().await.expect("nobody closes it");
        let mut work = pin!(work);
        match timeout(LONGEST, &mut work).await {
            Ok(done) => done,
            Err(_) => {
                drop(turn);
                work.await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn guests_that_never_answer_hold_up_others_for_one_turn() {
        let turns = Turns::default();
        for _ in 0..AT_ONCE {
            let turns = turns.clone();
            tokio::spawn(async move { turns.take(pending::<()>()).await });
        }
        tokio::task::yield_now().await;
        assert_eq!(turns.0.available_permits(), 0);
        let asked = std::time::Instant::now();
        assert_eq!(turns.take(async { 7 }).await, 7);
        assert!(asked.elapsed() > LONGEST / 2, "it had not to wait");
    }
}
