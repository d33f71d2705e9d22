//! An encrypted door to a server on this machine, with the certificates of tests/fixtures/tls.

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

/// Opens the door, and returns its port. What comes through it goes to `inside`, `host:port`.
pub fn door(inside: String) -> u16 {
    let certificate = CertificateDer::from_pem_file(certificates("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(certificates("server.key")).unwrap();
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for outside in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            // A client that trusts nobody goes away at once.
            let _ = hand_on(StreamOwned::new(connection, outside), &inside);
        }
    });
    port
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
