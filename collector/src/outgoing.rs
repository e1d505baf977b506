//! TLS for connections that the collector, or its command line, opens.
//! Promises the system's trusted certificates, and no process-wide default: a library has no business setting one.
//! Deliberately knows nothing of who is called.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt as _;

/// For reqwest's `tls_backend_preconfigured`. An error says what is wrong with the system's certificates.
pub fn tls() -> Result<ClientConfig, rustls::Error> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth())
}
