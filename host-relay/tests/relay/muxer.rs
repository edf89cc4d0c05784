// SPDX-License-Identifier: Apache-2.0
//! A multiplexer of hybrid vsock, as a hypervisor has it, with its bad manners on demand.

use std::path::{Path, PathBuf};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{UnixListener, UnixStream},
};

/// What the multiplexer does with one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    /// Connects.
    Connect,
    /// Connects when the guest speaks; its first bytes leave in the same write as `OK`.
    ConnectAtFirstWord,
    /// Closes before any answer: nobody listens in the guest.
    Close,
    /// Answers without a line feed, and holds the connection open.
    Endless,
}

/// Serves connections in these manners, the last one for ever.
pub(crate) fn spawn(path: &Path, guest: PathBuf, manners: &'static [Manner]) {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        let last = manners.last().unwrap();
        for manner in manners.iter().chain(std::iter::repeat(last)) {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert_eq!(request(&mut stream).await, "CONNECT 1034");
            match manner {
                Manner::Connect => {
                    tokio::spawn(connect(stream, guest.clone(), false));
                }
                Manner::ConnectAtFirstWord => {
                    tokio::spawn(connect(stream, guest.clone(), true));
                }
                Manner::Close => {}
                Manner::Endless => {
                    stream.write_all(&[b'O'; 64]).await.unwrap();
                    held.push(stream);
                }
            }
        }
    });
}

async fn request(stream: &mut UnixStream) -> String {
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await.unwrap() {
            b'\n' => return String::from_utf8(line).unwrap(),
            byte => line.push(byte),
        }
    }
}

async fn connect(mut stream: UnixStream, guest: PathBuf, at_first_word: bool) {
    let mut guest = UnixStream::connect(guest).await.unwrap();
    let mut answer = b"OK 1073741824\n".to_vec();
    if at_first_word {
        // A gRPC server in the clear speaks first, with its settings.
        assert!(guest.read_buf(&mut answer).await.unwrap() > 0);
    }
    stream.write_all(&answer).await.unwrap();
    // Ends with the connection, in whatever way.
    let _ = copy_bidirectional(&mut stream, &mut guest).await;
}
