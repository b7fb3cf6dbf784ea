//! Certificates and private keys from PEM files, and what the HTTP servers speak TLS with.
//!
//! rustls with ring's cryptography, as the clients of database and broker have it: TLS 1.2 and 1.3, no other code in C.
//! Clients of database and broker always verify whom they speak to.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, ServerConfig};

/// Largest PEM file that is read; the certificates of all public authorities together have a quarter of it.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// Where the servers' certificate and its key lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// What a server needs.
    ///
    /// # Errors
    /// Which file is wrong, how, and what to do.
    pub fn server_config(&self) -> Result<ServerConfig, String> {
        let chain =
            read_certificates(&self.certificate).map_err(|error| format!("http_tls_cert: {error}"))?;
        let key = read_key(&self.key).map_err(|error| format!("http_tls_key: {error}"))?;
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be spoken here: {error}"))?
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let mut config = config.map_err(|error| self.refusal(&error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn refusal(&self, error: &rustls::Error) -> String {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        if *error == rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) {
            return format!(
                "http_tls_key {key} is not the private key of the certificate in http_tls_cert {certificate}: name the \
                 files that were made together, the server's own certificate first"
            );
        }
        format!("http_tls_cert {certificate} and http_tls_key {key} cannot be used: {error}")
    }
}

/// Whether TLS was refused, by us or by the other side, rather than the connection lost.
pub fn is_distrust(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}

/// All certificates of a PEM file, at least one.
///
/// # Errors
/// What is wrong with the file, and what was expected.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let text = read_pem(path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = read.map_err(|error| format!("{shown} is damaged: {error}"))?;
    if certificates.is_empty() {
        return Err(format!("{shown} holds no certificate; expected PEM, `-----BEGIN CERTIFICATE-----`"));
    }
    Ok(certificates)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let shown = path.display();
    // Not the reader's own words: nothing of what the file holds may be told.
    PrivateKeyDer::from_pem_slice(&read_pem(path)?).map_err(|_| {
        format!(
            "{shown} holds no private key that can be used; expected PEM, `-----BEGIN PRIVATE KEY-----`, without a \
             password"
        )
    })
}

/// A PEM file as it is.
///
/// # Errors
/// What the operating system said, or that the file is too long.
pub fn read_pem(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        format!("{shown} cannot be read: {error}; name a PEM file that the engine's user may read")
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_PEM_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_PEM_BYTES {
        return Err(format!("{shown} is longer than the {MAX_PEM_BYTES} bytes that are read"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_told_and_never_what_it_holds() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file.pem");
        let missing = read_certificates(&path).expect_err("not there");
        assert!(missing.contains("file.pem cannot be read"), "{missing}");
        for text in ["", "geheim", "-----BEGIN PRIVATE KEY-----\ngeheim!\n-----END PRIVATE KEY-----\n"] {
            fs::write(&path, text).expect("written");
            let error = read_key(&path).expect_err("no key");
            assert!(error.contains("holds no private key") && !error.contains("geheim"), "{error}");
        }
        let error = read_certificates(&path).expect_err("no certificate");
        assert!(error.contains("BEGIN CERTIFICATE") || error.contains("damaged"), "{error}");
        let long = vec![b'a'; usize::try_from(MAX_PEM_BYTES).expect("small") + 1];
        fs::write(&path, long).expect("written");
        assert!(read_pem(&path).expect_err("too long").contains("longer than"));
    }
}
