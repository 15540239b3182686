//! The certificate that clients are shown, read from two PEM files and read again while serving.
//!
//! A reload swaps the whole configuration at once: handshakes under way end with the old one. Promises that a certificate in use
//! fits its key, and that a bad file changes nothing.

use parking_lot::RwLock;
use std::{fmt, io, path::PathBuf, sync::Arc};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    },
};

/// Largest PEM file taken, bytes: a chain of many certificates, with room.
const FILE_MAX_BYTES: u64 = 256 * 1_024;
/// What is spoken inside; a client that offers something else only is refused by the handshake.
const PROTOCOL: &[u8] = b"http/1.1";

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, with those between it and an authority behind it, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM (PKCS#8, PKCS#1 or SEC1).
    pub private_key: PathBuf,
}

/// Why a certificate could not be loaded. The one in use, if any, stays.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// A file cannot be read.
    #[error("{setting}: cannot read {}: {source}", file.display())]
    Unreadable {
        /// Which setting names it.
        setting: &'static str,
        /// Which file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{setting}: {} has nothing usable in PEM: {why}", file.display())]
    NotPem {
        /// Which setting names it.
        setting: &'static str,
        /// Which file.
        file: PathBuf,
        /// Why not.
        why: String,
    },
    /// The two do not belong together, or are of a kind that is not known here.
    #[error("http.certificate ({}) and http.private_key ({}) cannot be used together: {source}", files.certificate.display(), files.private_key.display())]
    Unusable {
        /// Which.
        files: CertificateFiles,
        /// Why.
        source: rustls::Error,
    },
}

/// The certificate in use.
pub struct Certificates(RwLock<Arc<ServerConfig>>);

impl Certificates {
    /// Loads a certificate and its key.
    ///
    /// # Errors
    /// [`CertificatesError`], naming setting and file.
    pub fn load(files: &CertificateFiles) -> Result<Self, CertificatesError> {
        Ok(Self(RwLock::new(Arc::new(configured(files)?))))
    }

    /// Loads them again and swaps them in, for handshakes from then on.
    ///
    /// # Errors
    /// [`CertificatesError`]; the certificate in use stays.
    pub fn reload(&self, files: &CertificateFiles) -> Result<(), CertificatesError> {
        let fresh = Arc::new(configured(files)?);
        *self.0.write() = fresh;
        Ok(())
    }

    /// What shakes hands with the next client.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.0.read().clone().into()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

fn configured(files: &CertificateFiles) -> Result<ServerConfig, CertificatesError> {
    let (setting, file) = ("http.certificate", &files.certificate);
    let not_pem = |setting, file: &PathBuf, why: pem::Error| CertificatesError::NotPem {
        setting,
        file: file.clone(),
        why: why.to_string(),
    };
    let chain = CertificateDer::pem_slice_iter(&read(setting, file)?).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|e| not_pem(setting, file, e))?;
    if chain.is_empty() {
        return Err(not_pem(setting, file, pem::Error::NoItemsFound));
    }
    let (setting, file) = ("http.private_key", &files.private_key);
    let key = PrivateKeyDer::from_pem_slice(&read(setting, file)?).map_err(|e| not_pem(setting, file, e))?;
    let unusable = |source| CertificatesError::Unusable { files: files.clone(), source };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

fn read(setting: &'static str, file: &PathBuf) -> Result<Vec<u8>, CertificatesError> {
    let unreadable = |source| CertificatesError::Unreadable { setting, file: file.clone(), source };
    if std::fs::metadata(file).map_err(unreadable)?.len() > FILE_MAX_BYTES {
        return Err(unreadable(io::ErrorKind::FileTooLarge.into()));
    }
    std::fs::read(file).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn files(dir: &Path, name: &str) -> CertificateFiles {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let (certificate, private_key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&private_key, made.signing_key.serialize_pem()).unwrap();
        CertificateFiles { certificate, private_key }
    }

    #[test]
    fn a_bad_file_is_named_with_its_setting_and_the_certificate_in_use_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (good, other) = (files(dir.path(), "a.example"), files(dir.path(), "b.example"));
        let certificates = Certificates::load(&good).unwrap();
        let before = certificates.0.read().clone();
        let says = |files: CertificateFiles| certificates.reload(&files).unwrap_err().to_string();
        let gone = dir.path().join("gone");
        let missing = says(CertificateFiles { certificate: gone.clone(), ..good.clone() });
        assert!(missing.starts_with("http.certificate: cannot read"), "{missing}");
        let swapped = says(CertificateFiles { private_key: good.certificate.clone(), ..good.clone() });
        assert!(swapped.starts_with("http.private_key:"), "{swapped}");
        let foreign = says(CertificateFiles { private_key: other.private_key.clone(), ..good.clone() });
        assert!(foreign.contains("b.example.key") && foreign.contains("cannot be used together"), "{foreign}");
        assert!(Arc::ptr_eq(&before, &certificates.0.read()));
        certificates.reload(&other).unwrap();
        assert!(!Arc::ptr_eq(&before, &certificates.0.read()));
    }
}
