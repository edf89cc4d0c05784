// SPDX-License-Identifier: Apache-2.0
//! The answer of a hypervisor's multiplexer: nothing behind its line is read, and no line is
//! endless.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use host_relay::transport::hybrid::handshake;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{entropy::Entropy, grammar::Grammar};

const VALID: &[&[u8]] =
    &[b"OK 1073741824\n", b"OK 1\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"ERR no\n", b""];

const WORDS: &[&[u8]] =
    &[b"\n", b"\r\n", b"OK ", b"OK", b"ok ", b"0", b" ", b"\0", b"\x1b[0m", b"\xff"];

/// A line that is read to its end has no more than this.
const MAX_LINE: usize = 33;

/// The target.
pub fn check(entropy: &[u8]) {
    let mut entropy = Entropy::new(entropy);
    let port = entropy.number() as u32;
    let answer = Grammar { valid: VALID, words: WORDS }.write(&mut entropy);
    let mut muxer = Muxer { answer: &answer, entropy, read: 0, written: Vec::new() };
    let shaken = {
        let future = pin!(handshake(&mut muxer, port));
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(shaken) => shaken,
            Poll::Pending => panic!("it waits for a peer that has said everything"),
        }
    };
    let line = answer.iter().position(|byte| *byte == b'\n').map_or(answer.len(), |end| end + 1);
    assert!(muxer.read <= line.min(MAX_LINE), "{} of {line} bytes are read", muxer.read);
    if shaken.is_ok() {
        assert!(answer.starts_with(b"OK ") && muxer.read == line);
        assert_eq!(muxer.written, format!("CONNECT {port}\n").into_bytes());
    }
}

/// Says its answer in pieces of any size, and takes what it is asked in such.
struct Muxer<'a> {
    answer: &'a [u8],
    entropy: Entropy<'a>,
    read: usize,
    written: Vec<u8>,
}

impl AsyncRead for Muxer<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = &self.answer[self.read..];
        let most = left.len().min(buffer.remaining());
        let piece = &left[..most.min(1 + self.entropy.below(most.max(1)))];
        buffer.put_slice(piece);
        self.read += piece.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Muxer<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let length = bytes.len() - self.entropy.below(bytes.len());
        self.written.extend_from_slice(&bytes[..length]);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
