//! TLS for connections that the collector, or its command line, opens.
//! Promises the system's trusted certificates, or those of one file, and no process-wide default: a library has no business setting one.
//! Deliberately knows nothing of who is called.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore,
    SignatureScheme, WantsVerifier,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};
use rustls_platform_verifier::BuilderVerifierExt as _;

/// For reqwest's `tls_backend_preconfigured`. An error says what is wrong with the system's certificates.
pub fn tls() -> Result<ClientConfig, rustls::Error> {
    Ok(builder()?.with_platform_verifier()?.with_no_client_auth())
}

/// As [`tls`], but believes who the certificates in this file vouch for, or who shows one of them, and nobody else.
pub fn tls_trusting(file: &Path) -> Result<ClientConfig, AuthoritiesError> {
    let unreadable = |cause| AuthoritiesError::Unreadable { path: file.to_owned(), cause };
    let found: Vec<_> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(unreadable)?;
    if found.is_empty() {
        return Err(AuthoritiesError::Empty { path: file.to_owned() });
    }
    let mut roots = RootCertStore::empty();
    for certificate in &found {
        roots.add(certificate.clone())?;
    }
    let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    let chains = chains.map_err(|cause| rustls::Error::General(cause.to_string()))?;
    let verifier = Arc::new(Trusting { chains, listed: found });
    Ok(builder()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Certificates that vouch for a server's, or are that. What `openssl req -x509` makes says of itself that it is a CA, and webpki
/// takes no CA's certificate for a server's; here it was named as just that.
#[derive(Debug)]
struct Trusting {
    chains: Arc<WebPkiServerVerifier>,
    listed: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.chains.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // webpki has looked at the time before it says so. The handshake's signature is verified all the same.
            Err(error) if is_own_ca(&error) && self.listed.iter().any(|c| c == end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// Whether a server was refused only because its own certificate is a CA's.
fn is_own_ca(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(cause)) = error else {
        return false;
    };
    cause.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity)
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
    ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
