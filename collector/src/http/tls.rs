//! TLS: the certificate and key, read from their files again when those change.
//! Promises that a pair which does not fit, or cannot be read, changes nothing and is explained once.
//! Deliberately knows nothing of connections, nor of who the clients are.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::config::TlsConfig;

/// Why the files are of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Correct the path, the permissions or the file.
    #[error("cannot read the {what} {}: {cause}", path.display())]
    Unreadable {
        /// Certificate or key.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What is wrong.
        cause: rustls::pki_types::pem::Error,
    },
    /// The file has no such thing in it.
    #[error("{} has no certificate in it; expected PEM, `-----BEGIN CERTIFICATE-----`", path.display())]
    Empty {
        /// The certificate's file.
        path: PathBuf,
    },
    /// The two files do not belong together, or hold what TLS cannot use.
    #[error("{} and {} cannot be used together: {cause}", certificate.display(), key.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        cause: rustls::Error,
    },
}

/// What a handshake needs, of these files.
pub(crate) fn read(config: &TlsConfig) -> Result<Arc<ServerConfig>, TlsError> {
    let TlsConfig { certificate, key } = config;
    let unreadable = |what, path: &Path| {
        let path = path.to_owned();
        move |cause| TlsError::Unreadable { what, path, cause }
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(unreadable("certificate", certificate))?;
    if chain.is_empty() {
        return Err(TlsError::Empty { path: certificate.clone() });
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(unreadable("key", key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret));
    let mut server = server.map_err(|cause| TlsError::Unusable {
        certificate: certificate.clone(),
        key: key.clone(),
        cause,
    })?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}

/// What changes when a file is written or another takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp([Option<(SystemTime, u64, u64)>; 2]);

impl Stamp {
    /// Of the files as they are now.
    pub(crate) fn of(config: &TlsConfig) -> Self {
        Self([&config.certificate, &config.key].map(|path| {
            let about = std::fs::metadata(path).ok()?;
            Some((about.modified().ok()?, about.len(), std::os::unix::fs::MetadataExt::ino(&about)))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn files_that_are_of_no_use_are_explained_without_being_shown() {
        let folder = tempfile::tempdir().unwrap();
        let config = TlsConfig {
            certificate: folder.path().join("c.pem"),
            key: folder.path().join("k.pem"),
        };
        let write = |certificate: &str, key: &str| {
            std::fs::write(&config.certificate, certificate).unwrap();
            std::fs::write(&config.key, key).unwrap();
        };
        assert!(read(&config).unwrap_err().to_string().contains("c.pem"));
        let ((certificate, key), (_, other_key)) = (pair(), pair());
        write(&certificate, &key);
        read(&config).unwrap();
        let before = Stamp::of(&config);
        assert_eq!(Stamp::of(&config), before);
        for (certificate, key, message) in [
            (certificate.as_str(), other_key.as_str(), "cannot be used together"),
            ("", key.as_str(), "has no certificate in it"),
            (certificate.as_str(), "", "cannot read the key"),
            (certificate.as_str(), &key[..60], "cannot read the key"),
        ] {
            write(certificate, key);
            let error = read(&config).unwrap_err().to_string();
            assert!(error.contains(message) && !error.contains("BEGIN PRIVATE"), "{error}");
        }
        assert_ne!(Stamp::of(&config), before);
    }
}
