//! Where a server is, and whom a client command believes that it is it.
//!
//! Owns the reading of addresses and of the authorities behind `https://`: those of the file that was named, otherwise the
//! system's. Promises that authorities are read only where a server is spoken to over TLS, and once for all of them.

use super::command_line::ClientOptions;
use reqwest::Url;
use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_rustls::rustls::{
    self, ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Why a server cannot be spoken to. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error("{0:?} is not the address of a server: it looks like http://127.0.0.1:7700 or https://presence.example")]
    Address(String),
    #[error("--ca-file {}: {why}; it must hold the certificates of authorities in PEM", file.display())]
    CaFile { file: PathBuf, why: String },
    #[error("this system has no authorities to believe{why}: name a file of them with --ca-file or ROLLCALL_CA_FILE")]
    NoAuthorities { why: String },
    #[error("TLS cannot be spoken: {0}")]
    Tls(rustls::Error),
}

/// A server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) url: Url,
    /// How it is spoken to over TLS, if it is.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

impl Server {
    /// The server that `options` name.
    pub(crate) fn of(options: &ClientOptions) -> Result<Self, ServerError> {
        let mut authorities = Authorities::new(options.ca_file.as_deref());
        authorities.server(&options.url)
    }

    /// The servers of `nodes`, and if there are none, the one that `options` name.
    pub(crate) fn all(nodes: &[String], options: &ClientOptions) -> Result<Vec<Self>, ServerError> {
        let mut authorities = Authorities::new(options.ca_file.as_deref());
        let nodes = if nodes.is_empty() { std::slice::from_ref(&options.url) } else { nodes };
        nodes.iter().map(|url| authorities.server(url)).collect()
    }

    /// The server at `url`, over TLS believed if the system believes it.
    #[cfg(test)]
    pub(crate) fn at(url: &str) -> Result<Self, ServerError> {
        Authorities::new(None).server(url)
    }
}

/// Whom to believe, read when somebody has to be believed.
struct Authorities<'a> {
    file: Option<&'a Path>,
    read: Option<Arc<ClientConfig>>,
}

impl<'a> Authorities<'a> {
    fn new(file: Option<&'a Path>) -> Self {
        Self { file, read: None }
    }

    fn server(&mut self, text: &str) -> Result<Server, ServerError> {
        let address = || ServerError::Address(text.into());
        let url = Url::parse(text).map_err(|_| address())?;
        let sealed = match url.scheme() {
            _ if url.host_str().is_none() => return Err(address()),
            "http" => false,
            "https" => true,
            _ => return Err(address()),
        };
        if sealed && self.read.is_none() {
            self.read = Some(Arc::new(configured(self.file)?));
        }
        Ok(Server { url, tls: self.read.clone().filter(|_| sealed) })
    }
}

fn configured(file: Option<&Path>) -> Result<ClientConfig, ServerError> {
    let roots = match file {
        Some(file) => named(file)?,
        None => of_the_system()?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(ServerError::Tls)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The authorities of a file: all of them must be usable, since somebody chose them.
fn named(file: &Path) -> Result<RootCertStore, ServerError> {
    let unusable = |why: String| ServerError::CaFile { file: file.to_owned(), why };
    let content = std::fs::read(file).map_err(|e| unusable(e.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&content) {
        let certificate = certificate.map_err(|e| unusable(e.to_string()))?;
        roots.add(certificate).map_err(|e| unusable(e.to_string()))?;
    }
    if roots.is_empty() { Err(unusable("there is no certificate in it".into())) } else { Ok(roots) }
}

/// The authorities of the system: as many as can be used.
fn of_the_system() -> Result<RootCertStore, ServerError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |e| format!(" ({e})"));
        return Err(ServerError::NoAuthorities { why });
    }
    Ok(roots)
}

/// What TLS has against the other side, if that is why something failed.
pub(crate) fn fault_of_tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    // An error of input and output hides what it was made from, and skips it as its source.
    let inside = || {
        let inner: &(dyn Error + 'static) = error.downcast_ref::<io::Error>()?.get_ref()?;
        fault_of_tls(inner)
    };
    error.downcast_ref().or_else(inside).or_else(|| fault_of_tls(error.source()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_http_are_taken_and_only_tls_needs_authorities() {
        assert!(Server::at("http://127.0.0.1:7700").is_ok_and(|s| s.tls.is_none()));
        for bad in ["127.0.0.1:7700", "ftp://a", "", "http://", "wss://a"] {
            assert!(matches!(Server::at(bad), Err(ServerError::Address(_))), "{bad}");
        }
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone.pem");
        let mut authorities = Authorities::new(Some(&gone));
        assert!(authorities.server("http://a").is_ok());
        let said = authorities.server("https://a").unwrap_err().to_string();
        assert!(said.starts_with("--ca-file") && said.contains("gone.pem"), "{said}");
        std::fs::write(&gone, "nothing of the kind").unwrap();
        let said = authorities.server("https://a").unwrap_err().to_string();
        assert!(said.contains("no certificate"), "{said}");
    }

    #[test]
    fn a_fault_of_tls_is_found_however_deep_it_lies() {
        let fault = || rustls::Error::DecryptError;
        let deep = io::Error::other(io::Error::other(fault()));
        assert_eq!(fault_of_tls(&deep), Some(&fault()));
        assert_eq!(fault_of_tls(&io::Error::other("something else")), None);
    }
}
