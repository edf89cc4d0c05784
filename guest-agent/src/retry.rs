// SPDX-License-Identifier: Apache-2.0
//! Tries again what the kernel refuses for the moment.
//!
//! An operation on a descriptor flows in, its result flows out, however long the guest is short of
//! descriptors or memory meanwhile. Only what no time mends is an error.

use std::{io, time::Duration};

use rustix::io::Errno;

/// Waits between two tries: a peer of the gate waits for seconds, and an exhausted guest must not be
/// kept busy by who waits for its end.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(320);

/// The descriptor is not what it was taken for, and will not be.
const FATAL: [Errno; 5] =
    [Errno::BADF, Errno::NOTSOCK, Errno::INVAL, Errno::OPNOTSUPP, Errno::FAULT];

/// What the operation yields, once it does.
///
/// # Errors
/// If it never will.
pub async fn until_done<T, F>(what: &'static str, mut operation: impl FnMut() -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut tries = 0;
    loop {
        let error = match operation().await {
            Ok(done) => {
                if tries > 0 {
                    tracing::info!(what, tries, "works again");
                }
                return Ok(done);
            }
            Err(error) if is_fatal(&error) => return Err(error),
            Err(error) => error,
        };
        // Once: the next thousand say the same.
        if tries == 0 {
            tracing::warn!(what, %error, "failed for the moment, trying again");
        }
        tokio::time::sleep(pause_after(tries)).await;
        tries += 1;
    }
}

fn pause_after(tries: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(tries)).min(LONGEST_PAUSE)
}

fn is_fatal(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|errno| FATAL.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails with each of these in turn, then works.
    async fn after(errors: &[Errno]) -> io::Result<usize> {
        let mut tried = 0;
        let operation = || {
            tried += 1;
            let error = errors.get(tried - 1).map(|errno| Err((*errno).into()));
            std::future::ready(error.unwrap_or(Ok(tried)))
        };
        until_done("the test", operation).await
    }

    #[tokio::test]
    async fn a_guest_short_of_something_is_waited_for() {
        let short = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::CONNABORTED];
        assert_eq!(after(&short).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn a_descriptor_that_is_none_is_given_up() {
        let error = after(&[Errno::MFILE, Errno::BADF]).await.unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::BADF));
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        let pauses: Vec<_> = (0..7).map(|tries| pause_after(tries).as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 320]);
        assert_eq!(pause_after(u32::MAX), LONGEST_PAUSE);
    }
}
