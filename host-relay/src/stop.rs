// SPDX-License-Identifier: Apache-2.0
//! The word to stop, for tasks: given once, heard by all, also by those that ask later.

use tokio::sync::watch;

/// The one who gives the word.
#[derive(Debug)]
pub struct StopSender {
    sender: watch::Sender<bool>,
}

/// One who waits for it.
#[derive(Clone, Debug)]
pub struct Stop {
    receiver: watch::Receiver<bool>,
}

// === impl StopSender ===

impl StopSender {
    /// The word is not given yet.
    #[must_use]
    pub fn new() -> Self {
        Self { sender: watch::Sender::new(false) }
    }

    /// Gives it.
    pub fn stop(&self) {
        self.sender.send_replace(true);
    }

    /// One more who waits.
    #[must_use]
    pub fn subscribe(&self) -> Stop {
        Stop { receiver: self.sender.subscribe() }
    }
}

impl Default for StopSender {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Stop ===

impl Stop {
    /// Resolves when the word is given, or when nobody can give it any more.
    pub async fn wait(mut self) {
        // An error means that the sender is gone, which is the end as well.
        let _ = self.receiver.wait_for(|stop| *stop).await;
    }
}
