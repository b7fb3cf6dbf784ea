//! Certificates of a test's own, made by the program `openssl`, and a client that speaks TLS and trusts them alone.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use crate::sender::connect;

/// Whom certificates are for: everything here is on loopback.
const NAMES: &str = "subjectAltName=IP:127.0.0.1,DNS:localhost";

/// Paths of PEM files.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// Of the authority that vouches for it.
    pub authority: PathBuf,
    /// For `localhost` and 127.0.0.1.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// An authority that nobody else knows, in a folder of its own.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
}

impl Authority {
    /// Makes one.
    ///
    /// # Panics
    /// If `openssl` cannot be run.
    pub fn new() -> Self {
        let authority = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=authority of a test",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ]);
        authority
    }

    /// A certificate that it vouches for, in files with this name.
    ///
    /// # Panics
    /// If `openssl` cannot be run.
    pub fn certificate(&self, name: &str) -> Certificate {
        let [request, key, certificate] = ["csr", "key", "pem"].map(|ending| format!("{name}.{ending}"));
        self.openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-addext",
            NAMES,
            "-keyout",
            &key,
            "-out",
            &request,
        ]);
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-copy_extensions",
            "copy",
            "-out",
            &certificate,
        ]);
        let path = |name: &str| self.folder.path().join(name);
        Certificate { authority: path("ca.pem"), certificate: path(&certificate), key: path(&key) }
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").current_dir(self.folder.path()).args(arguments).output();
        let output = output.expect("Debian's package `openssl`, as packaging/test installs it");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// A connection with TLS to a server for which the authority in this file vouches. The handshake is part of the first
/// reading or writing, and fails there.
///
/// # Panics
/// If there is no server, or no certificate in the file.
pub fn connect_tls(address: SocketAddr, authority: &Path) -> impl Read + Write {
    let text = fs::read(authority).expect("the authority's file");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        roots.add(certificate.expect("a certificate")).expect("a certificate");
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::from(address.ip());
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    StreamOwned::new(connection, connect(address))
}
