// SPDX-License-Identifier: Apache-2.0
//! The handshake of hybrid vsock (Firecracker's protocol, also of Cloud Hypervisor and
//! vhost-device-vsock): `CONNECT <port>`, then a line that begins with `OK `.
//!
//! What follows the line belongs to the guest, so it is read byte by byte and never beyond.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// `OK 4294967295` with its line feed has 14 bytes; a longer line is no answer.
const MAX_LINE: usize = 32;

/// Why the multiplexer did not connect.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The socket.
    #[error("the multiplexer's socket fails")]
    Socket(#[from] io::Error),
    /// EOF before `OK`: nobody listens on the guest's port.
    #[error("nobody listens on port {0} of the guest")]
    NoListener(u32),
    /// Another answer.
    #[error("the multiplexer answers `{0}`")]
    Refused(String),
    /// An answer without an end.
    #[error("the multiplexer's answer has no end within {MAX_LINE} bytes")]
    Endless,
}

/// Asks for a port of the guest. Afterwards the stream is the guest's.
///
/// # Errors
/// If the multiplexer does not connect.
pub async fn handshake<S>(stream: &mut S, port: u32) -> Result<(), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(format!("CONNECT {port}\n").as_bytes()).await?;
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return Err(HandshakeError::NoListener(port));
        }
        match byte {
            [b'\n'] => break,
            _ if line.len() == MAX_LINE => return Err(HandshakeError::Endless),
            [byte] => line.push(byte),
        }
    }
    if line.starts_with(b"OK ") {
        Ok(())
    } else {
        Err(HandshakeError::Refused(line.escape_ascii().to_string()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    async fn answered(answer: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        let (mut relay, mut muxer) = duplex(1024);
        muxer.write_all(answer).await.unwrap();
        muxer.shutdown().await.unwrap();
        handshake(&mut relay, 1034).await?;
        let mut rest = Vec::new();
        relay.read_to_end(&mut rest).await?;
        Ok(rest)
    }

    #[tokio::test]
    async fn bytes_behind_the_line_are_left_for_the_guest() {
        assert_eq!(answered(b"OK 1073741824\nPRI * HTTP/2.0").await.unwrap(), b"PRI * HTTP/2.0");
    }

    #[tokio::test]
    async fn the_port_is_asked_for_in_one_line() {
        let (mut relay, mut muxer) = duplex(1024);
        muxer.write_all(b"OK 1\n").await.unwrap();
        handshake(&mut relay, 1034).await.unwrap();
        drop(relay);
        let mut asked = String::new();
        muxer.read_to_string(&mut asked).await.unwrap();
        assert_eq!(asked, "CONNECT 1034\n");
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_refused() {
        assert!(matches!(answered(&[b'O'; 600]).await, Err(HandshakeError::Endless)));
    }

    #[tokio::test]
    async fn the_end_before_ok_means_that_nobody_listens() {
        assert!(matches!(answered(b"").await, Err(HandshakeError::NoListener(1034))));
        assert!(matches!(answered(b"OK 10").await, Err(HandshakeError::NoListener(1034))));
    }

    #[tokio::test]
    async fn another_answer_is_a_refusal() {
        let error = answered(b"ERR\x1b\n").await.unwrap_err();
        assert!(matches!(error, HandshakeError::Refused(text) if text == "ERR\\x1b"));
    }
}
