//! A port with TLS in front of a provider that has none. Its certificate is from an authority that
//! only processes with [`AUTHORITY`] trust.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Variable that names the authorities which a process trusts, and its value.
pub(super) const AUTHORITY: (&str, &str) =
    ("SSL_CERT_FILE", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixtures/authority.pem"));

/// Opens a port in front of an origin without TLS; returns its own origin.
pub(super) fn before(origin: &str) -> String {
    let pem = include_bytes!("../fixtures/localhost.pem");
    let certificates = CertificateDer::pem_slice_iter(pem).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(pem).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key);
    let config = Arc::new(config.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let behind = origin.trim_start_matches("http://").to_owned();
    // Ends with the process of the test.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, behind) = (Arc::clone(&config), behind.clone());
            thread::spawn(move || {
                let connection = ServerConnection::new(config).unwrap();
                // An error is the client's: it has closed the connection, or trusts no such port.
                let _ = pass_on(StreamOwned::new(connection, stream), &behind);
            });
        }
    });
    own
}

/// Passes one request on, and its answer back.
fn pass_on(
    mut outside: StreamOwned<ServerConnection, TcpStream>,
    behind: &str,
) -> std::io::Result<()> {
    let request = message(&mut outside)?;
    let mut inside = TcpStream::connect(behind)?;
    inside.write_all(&request)?;
    outside.write_all(&message(&mut inside)?)?;
    outside.conn.send_close_notify();
    outside.flush()
}

/// Reads one request or answer.
fn message(from: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut message = Vec::new();
    let mut part = [0; 4096];
    while !is_whole(&message) {
        match from.read(&mut part)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => message.extend_from_slice(&part[..read]),
        }
    }
    Ok(message)
}

fn is_whole(message: &[u8]) -> bool {
    let text = String::from_utf8_lossy(message).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    body.len() >= length.map_or(0, |length| length.trim().parse().unwrap())
}
