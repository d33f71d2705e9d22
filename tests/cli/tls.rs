//! Puts encryption before a server on this machine, with the certificates of tests/fixtures/tls.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::server::read_request;

/// A file of tests/fixtures/tls.
pub fn certificates(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

/// Listens on a port, which is returned, and hands requests on to the server `inside`, `host:port`.
pub fn door(inside: String) -> u16 {
    listen(&[], move |outside| {
        // A client that does not trust the certificate leaves at once.
        let _ = hand_on(outside, &inside);
    })
}

/// As [`door`], but for connections on which both sides keep talking.
#[cfg(feature = "milvus")]
pub fn tunnel(inside: String) -> u16 {
    listen(&[b"h2"], move |outside| {
        let inside = TcpStream::connect(&inside).unwrap();
        thread::spawn(move || talk(outside, inside));
    })
}

/// Accepts encrypted connections for these `protocols`, one after the other.
fn listen(
    protocols: &[&[u8]],
    each: impl Fn(StreamOwned<ServerConnection, TcpStream>) + Send + 'static,
) -> u16 {
    let config = Arc::new(config(protocols));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for outside in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            each(StreamOwned::new(connection, outside));
        }
    });
    port
}

/// Hands on what comes from either side, until one of them closes the connection.
#[cfg(feature = "milvus")]
fn talk(
    mut outside: StreamOwned<ServerConnection, TcpStream>,
    mut inside: TcpStream,
) -> std::io::Result<()> {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    const PATIENCE: std::time::Duration = std::time::Duration::from_millis(2);
    // The handshake must be complete before reads may time out.
    while outside.conn.is_handshaking() {
        outside.conn.complete_io(&mut outside.sock)?;
    }
    outside.sock.set_read_timeout(Some(PATIENCE))?;
    inside.set_read_timeout(Some(PATIENCE))?;
    let mut some = vec![0; 1 << 16];
    loop {
        for inwards in [true, false] {
            let read = if inwards { outside.read(&mut some) } else { inside.read(&mut some) };
            match read {
                Ok(0) => return Ok(()),
                Ok(count) if inwards => inside.write_all(&some[..count])?,
                Ok(count) => outside.write_all(&some[..count])?,
                Err(error) if matches!(error.kind(), WouldBlock | TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn config(protocols: &[&[u8]]) -> ServerConfig {
    let certificate = CertificateDer::from_pem_file(certificates("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(certificates("server.key")).unwrap();
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config
}

fn hand_on(
    mut outside: StreamOwned<ServerConnection, TcpStream>,
    inside: &str,
) -> std::io::Result<()> {
    let Some(request) = read_request(&mut outside) else { return Ok(()) };
    let mut inside = TcpStream::connect(inside)?;
    inside.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    inside.read_to_end(&mut answer)?;
    outside.write_all(&answer)?;
    outside.conn.send_close_notify();
    outside.flush()
}
