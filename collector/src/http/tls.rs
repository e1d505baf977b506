//! TLS: the certificate and key, read from their files again when those change.
//! Promises that a pair which does not fit, or cannot be read, changes nothing and is explained once.
//! Deliberately knows nothing of connections, nor of who the clients are.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustls::{
    ServerConfig,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
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
        /// What is wrong, and what to do.
        cause: String,
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
        cause: String,
    },
}

/// What a handshake needs, of these files.
pub(crate) fn read(config: &TlsConfig) -> Result<Arc<ServerConfig>, TlsError> {
    let TlsConfig { certificate, key } = config;
    let unreadable = |what, path: &Path, cause| {
        let path = path.to_owned();
        TlsError::Unreadable { what, path, cause }
    };
    let pem = regular(certificate)
        .map_err(|cause| unreadable("certificate", certificate, cause.to_string()))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|cause| unreadable("certificate", certificate, in_words(&cause, &pem)))?;
    if chain.is_empty() {
        return Err(TlsError::Empty { path: certificate.clone() });
    }
    let pem = regular(key).map_err(|cause| unreadable("key", key, cause.to_string()))?;
    let secret = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|cause| unreadable("key", key, in_words(&cause, &pem)))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret));
    let mut server = server.map_err(|cause| TlsError::Unusable {
        certificate: certificate.clone(),
        key: key.clone(),
        cause: unusable(&cause),
    })?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}

/// Reads a file that cannot keep anyone waiting, as a pipe does until someone writes into it.
fn regular(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    std::fs::read(path)
}

/// What is wrong with a file, of whose content nothing is said.
fn in_words(cause: &pem::Error, pem: &[u8]) -> String {
    let is_encrypted = pem.windows(9).any(|word| word == b"ENCRYPTED");
    let said = match cause {
        _ if is_encrypted => {
            "it is encrypted, and nobody is there to type its password; write one without: openssl pkey -in OLD -out NEW"
        }
        pem::Error::MissingSectionEnd { .. } => {
            "a `-----BEGIN` has no `-----END` of the same kind; was the file cut?"
        }
        pem::Error::IllegalSectionStart { .. } => {
            "a line that starts with `-----BEGIN` is not whole"
        }
        pem::Error::Base64Decode(_) => "what is between `-----BEGIN` and `-----END` is not base64",
        pem::Error::NoItemsFound => {
            "there is none in it; expected PEM, `-----BEGIN PRIVATE KEY-----`"
        }
        _ => "it is no PEM",
    };
    said.to_owned()
}

fn unusable(cause: &rustls::Error) -> String {
    let said = match cause {
        rustls::Error::InconsistentKeys(_) => "the key is that of another certificate",
        rustls::Error::InvalidCertificate(_) => {
            "what is in the certificate's file is no certificate"
        }
        rustls::Error::General(_) => {
            "the key is none that TLS uses: RSA, ECDSA (P-256, P-384) or Ed25519"
        }
        other => return other.to_string(),
    };
    said.to_owned()
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
        let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
        let old = key.replace("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\n\n");
        let foreign = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let no_certificate = foreign.replace("PRIVATE KEY", "CERTIFICATE");
        for (certificate, key, message) in [
            (certificate.as_str(), other_key.as_str(), "the key is that of another certificate"),
            (&certificate, foreign, "the key is none that TLS uses"),
            (&no_certificate, &key, "no certificate"),
            ("", &key, "has no certificate in it"),
            (&certificate[..60], &key, "was the file cut?"),
            (&certificate, "", "k.pem: there is none in it; expected PEM"),
            (&certificate, &key[..60], "was the file cut?"),
            (&certificate, &encrypted, "it is encrypted"),
            (&certificate, &old, "it is encrypted"),
            (&certificate, "-----BEGIN PRIVATE KEY", "is not whole"),
            (&certificate, &key.replace("KEY-----\nM", "KEY-----\n%"), "is not base64"),
        ] {
            write(certificate, key);
            let error = read(&config).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
            // Neither what is in the files nor how Rust prints it.
            assert!(key.len() < 61 || !error.contains(&key[30..60]), "{error}");
            assert!(!error.contains('['), "{error}");
        }
        assert_ne!(Stamp::of(&config), before);
        std::fs::remove_file(&config.key).unwrap();
        std::fs::create_dir(&config.key).unwrap();
        assert!(read(&config).unwrap_err().to_string().ends_with("k.pem: it is no file"));
    }
}
