//! TLS for connections that the collector, or its command line, opens.
//! Promises the system's trusted certificates, or those of one file, and no process-wide default: a library has no business setting one.
//! Deliberately knows nothing of who is called.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use rustls_platform_verifier::BuilderVerifierExt as _;

/// For reqwest's `tls_backend_preconfigured`. An error says what is wrong with the system's certificates.
pub fn tls() -> Result<ClientConfig, rustls::Error> {
    Ok(builder()?.with_platform_verifier()?.with_no_client_auth())
}

/// As [`tls`], but believes who the certificates in this file vouch for, and nobody else.
pub fn tls_trusting(file: &Path) -> Result<ClientConfig, AuthoritiesError> {
    let unreadable = |cause| AuthoritiesError::Unreadable { path: file.to_owned(), cause };
    let found: Vec<_> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(unreadable)?;
    if found.is_empty() {
        return Err(AuthoritiesError::Empty { path: file.to_owned() });
    }
    let mut roots = RootCertStore::empty();
    for certificate in found {
        roots.add(certificate)?;
    }
    Ok(builder()?.with_root_certificates(roots).with_no_client_auth())
}

/// Why such a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// Correct the path, the permissions or the file.
    #[error("cannot read the certificates in {}: {cause}", path.display())]
    Unreadable {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        cause: rustls::pki_types::pem::Error,
    },
    /// The file has no such thing in it.
    #[error("{} has no certificate in it; expected PEM, `-----BEGIN CERTIFICATE-----`", path.display())]
    Empty {
        /// Where.
        path: PathBuf,
    },
    /// It holds what TLS cannot use.
    #[error(transparent)]
    Unusable(#[from] rustls::Error),
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions()
}
