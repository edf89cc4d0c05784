// SPDX-License-Identifier: Apache-2.0
//! Envelopes while they arrive: all of them together have a bound.
//!
//! Chunks flow in, an [`Envelope`] flows out, whose bytes are given back when it is dropped. Nearly all
//! rule sets come in one chunk and never wait; of longer ones one arrives at a time. Those that wait are
//! not read, and have a window of their own, so that they do not hold up the one that is read.

use std::sync::Arc;

use kadapter_proto::guest::v1::Chunk;
use policy_model::limits::MAX_RULE_SET_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

use super::MAX_CALLS;

/// Bytes of an encoded envelope: the largest rule set, and room for a few signatures.
const MAX_ENVELOPE_BYTES: usize = MAX_RULE_SET_BYTES + 64 * 1024;

/// Bytes that need no turn: 400 rules of 160 bytes.
const SHORT: usize = 64 * 1024;

/// Envelopes at once that are longer.
const LONG_AT_ONCE: usize = 1;

/// What a call may send before its bytes are read. All calls together have a window that they can fill
/// at once.
pub(super) const STREAM_WINDOW: u32 = 64 * 1024;
pub(super) const CONNECTION_WINDOW: u32 = MAX_CALLS * STREAM_WINDOW;

/// Bytes of all envelopes at once, read or not.
pub(super) const MAX_IN_FLIGHT: usize =
    MAX_CALLS as usize * (SHORT + STREAM_WINDOW as usize) + LONG_AT_ONCE * MAX_ENVELOPE_BYTES;

/// A guest that enforces has 48 MiB to spare when it starts (`posture/kernel.rs`).
const _: () = assert!(MAX_IN_FLIGHT <= 48 * 1024 * 1024);

/// Turns of long envelopes.
#[derive(Clone, Debug)]
pub struct Envelopes(Arc<Semaphore>);

/// The bytes of one.
#[derive(Debug)]
pub(super) struct Envelope {
    bytes: Vec<u8>,
    _turn: Option<OwnedSemaphorePermit>,
}

// === impl Envelopes ===

impl Default for Envelopes {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LONG_AT_ONCE)))
    }
}

impl Envelopes {
    /// The chunks of an envelope, never more than one can have.
    pub(super) async fn collect(
        &self,
        mut chunks: impl Stream<Item = Result<Chunk, Status>> + Unpin,
    ) -> Result<Envelope, Status> {
        let (mut bytes, mut turn) = (Vec::new(), None);
        while let Some(chunk) = chunks.next().await {
            append_chunk(&mut bytes, chunk?)?;
            if bytes.len() > SHORT && turn.is_none() {
                let next = Arc::clone(&self.0).acquire_owned().await;
                turn = Some(next.map_err(|_| Status::unavailable("the agent ends"))?);
            }
        }
        Ok(Envelope { bytes, _turn: turn })
    }
}

// === impl Envelope ===

impl AsRef<[u8]> for Envelope {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Adds the next chunk of an envelope.
///
/// # Errors
/// If it would be longer than an envelope can be.
pub fn append_chunk(envelope: &mut Vec<u8>, chunk: Chunk) -> Result<(), Status> {
    if envelope.len() + chunk.data.len() > MAX_ENVELOPE_BYTES {
        let most = MAX_ENVELOPE_BYTES;
        return Err(Status::invalid_argument(format!("the envelope has more than {most} bytes")));
    }
    envelope.extend(chunk.data);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::fixtures::within;

    /// Chunks of one byte more than needs no turn, counted as they are read.
    fn long(read: &AtomicUsize) -> impl Stream<Item = Result<Chunk, Status>> + Unpin {
        tokio_stream::iter((0..8).map(move |_| {
            read.fetch_add(1, Ordering::Relaxed);
            Ok(Chunk { data: vec![7; SHORT + 1] })
        }))
    }

    fn short() -> impl Stream<Item = Result<Chunk, Status>> + Unpin {
        tokio_stream::iter([Ok(Chunk { data: vec![7; SHORT] })])
    }

    #[tokio::test]
    async fn long_envelopes_come_one_at_a_time_and_short_ones_do_not_wait() {
        let envelopes = Envelopes::default();
        let (first, second) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let under_way = within(envelopes.collect(long(&first))).await.unwrap();
        assert_eq!(under_way.as_ref().len(), 8 * (SHORT + 1));
        let waits = envelopes.collect(long(&second));
        tokio::pin!(waits);
        tokio::select! {
            biased;
            envelope = &mut waits => panic!("a second one came: {envelope:?}"),
            envelope = within(envelopes.collect(short())) => {
                assert_eq!(envelope.unwrap().as_ref().len(), SHORT);
            }
        }
        assert_eq!(second.load(Ordering::Relaxed), 1, "one that waits is not read");
        drop(under_way);
        assert!(within(waits).await.is_ok());
    }

    #[tokio::test]
    async fn an_envelope_that_is_too_long_gives_its_turn_back() {
        let envelopes = Envelopes::default();
        let endless = tokio_stream::iter((0..).map(|_: u64| Ok(Chunk { data: vec![7; SHORT] })));
        let error = within(envelopes.collect(endless)).await.unwrap_err();
        assert!(error.message().contains("more than"), "{error}");
        assert_eq!(envelopes.0.available_permits(), LONG_AT_ONCE);
    }
}
