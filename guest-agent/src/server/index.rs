// SPDX-License-Identifier: Apache-2.0
//! The call `Index`: a question about a container's files, and its stream of entries.
//!
//! Requests flow in and become a [`Question`]; [`files`](crate::files) looks on blocking threads,
//! a batch at a time and no faster than the relay reads. A name that could not be looked at does
//! not hide the others: they are sent first, and the stream ends with the error.

use std::{sync::Arc, time::Duration};

use kadapter_proto::guest::v1 as pb;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task,
};
use tonic::Status;

use crate::{
    containers::ContainerId,
    files::{Entry, LookupError, Paths},
};

/// Questions at once. A file system that a container serves itself (FUSE) can hold a look-up for
/// ever, and its thread with it: of the runtime's 512 blocking threads, these are all that it gets.
const MAX_QUESTIONS: usize = 32;

/// How long a reader may take for an entry, before its slot is given to others.
const READER_DEADLINE: Duration = super::CALL_TIMEOUT;

/// Entries that are looked up in one visit to a blocking thread: as many as wait for the reader.
const BATCH: usize = super::STREAM_QUEUE;

type Replies = mpsc::Sender<Result<pb::IndexEntry, Status>>;

/// Room for the questions that are being answered.
#[derive(Clone, Debug)]
pub struct Questions(Arc<Semaphore>);

/// What is asked.
#[derive(Debug)]
pub struct Question {
    /// Of which container.
    pub id: ContainerId,
    /// What to look for in it.
    pub paths: Paths,
}

// === impl Questions ===

impl Default for Questions {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_QUESTIONS)))
    }
}

impl Questions {
    pub(super) fn admit(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{MAX_QUESTIONS} questions are being answered"))
        })
    }
}

// === impl Question ===

impl TryFrom<pb::IndexRequest> for Question {
    type Error = Status;

    fn try_from(request: pb::IndexRequest) -> Result<Self, Status> {
        let id = ContainerId::new(&request.container_id)
            .map_err(|error| Status::invalid_argument(format!("container_id: {error}")))?;
        let paths = Paths::try_from(request.names)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(Self { id, paths })
    }
}

/// Sends the answers. The slot goes with them from thread to thread: a look-up that hangs keeps it,
/// also when nobody waits for the answer any more.
pub(super) async fn answer<A>(answers: A, slot: OwnedSemaphorePermit, replies: Replies)
where
    A: Iterator<Item = Result<Entry, LookupError>> + Send + 'static,
{
    answer_within(READER_DEADLINE, (answers, slot), replies).await;
}

async fn answer_within<A>(
    deadline: Duration,
    (mut answers, mut slot): (A, OwnedSemaphorePermit),
    replies: Replies,
) where
    A: Iterator<Item = Result<Entry, LookupError>> + Send + 'static,
{
    let mut failed = Failed::default();
    loop {
        let look = move || {
            let batch: Vec<_> = answers.by_ref().take(BATCH).collect();
            (answers, slot, batch)
        };
        let Ok((rest, kept, batch)) = task::spawn_blocking(look).await else {
            // What was sent is not all, and must not look so.
            let broken = Status::internal("a look-up ended without an answer");
            return drop(replies.send(Err(broken)).await);
        };
        (answers, slot) = (rest, kept);
        if batch.is_empty() {
            break;
        }
        for answer in batch {
            match answer {
                Ok(entry) => {
                    let sent = replies.send_timeout(Ok(message(entry)), deadline).await;
                    if sent.is_err() {
                        return;
                    }
                }
                Err(error) => failed.note(error),
            }
        }
    }
    if let Some(status) = failed.status() {
        drop(replies.send(Err(status)).await);
    }
}

/// Names that could not be looked at.
#[derive(Default)]
struct Failed {
    first: Option<LookupError>,
    more: usize,
}

// === impl Failed ===

impl Failed {
    fn note(&mut self, error: LookupError) {
        match self.first {
            None => self.first = Some(error),
            Some(_) => self.more += 1,
        }
    }

    fn status(self) -> Option<Status> {
        let first = self.first?;
        Some(Status::internal(match self.more {
            0 => first.to_string(),
            more => format!("{first}; and {more} more"),
        }))
    }
}

fn message(entry: Entry) -> pb::IndexEntry {
    let Entry { path, size, mode, links, link } = entry;
    pb::IndexEntry { path, size, mode, links, link: link.unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;
    use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

    use super::*;
    use crate::fixtures::within;

    fn entry(path: String) -> Result<Entry, LookupError> {
        Ok(Entry { path, size: 0, mode: 0, links: 1, link: None })
    }

    fn refused(path: &str) -> Result<Entry, LookupError> {
        Err(LookupError { path: path.into(), source: Errno::ACCESS })
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_looked_at_does_not_hide_the_others() {
        let (replies, stream) = mpsc::channel(1);
        let answers = [refused("/a/b"), entry("/c".into()), refused("/d")];
        let slot = Questions::default().admit().unwrap();
        tokio::spawn(answer(answers.into_iter(), slot, replies));
        let got: Vec<_> = within(ReceiverStream::new(stream).collect()).await;
        let [Ok(sent), Err(error)] = got.as_slice() else { panic!("{got:?}") };
        assert_eq!(sent.path, "/c");
        for part in ["`/a/b`", "os error 13", "1 more"] {
            assert!(error.message().contains(part), "{error}");
        }
    }

    #[tokio::test]
    async fn a_reader_that_leaves_ends_the_looking_and_frees_its_slot() {
        let (replies, mut stream) = mpsc::channel(1);
        let questions = Questions::default();
        let endless = (0..).map(|number: u64| entry(format!("/{number}")));
        let answering = tokio::spawn(answer(endless, questions.admit().unwrap(), replies));
        assert_eq!(within(stream.recv()).await.unwrap().unwrap().path, "/0");
        drop(stream);
        within(answering).await.unwrap();
        assert_eq!(questions.0.available_permits(), MAX_QUESTIONS);
    }

    #[tokio::test]
    async fn a_reader_that_does_not_read_loses_its_slot() {
        let (replies, _stream) = mpsc::channel(1);
        let questions = Questions::default();
        let endless = (0..).map(|number: u64| entry(format!("/{number}")));
        let asked = (endless, questions.admit().unwrap());
        within(answer_within(Duration::from_millis(50), asked, replies)).await;
        assert_eq!(questions.0.available_permits(), MAX_QUESTIONS);
    }

    #[test]
    fn only_so_many_questions_are_answered_at_once() {
        let questions = Questions::default();
        let slots: Vec<_> = (0..MAX_QUESTIONS).map(|_| questions.admit().unwrap()).collect();
        assert_eq!(questions.admit().unwrap_err().code(), tonic::Code::ResourceExhausted);
        drop(slots);
        assert!(questions.admit().is_ok());
    }
}
