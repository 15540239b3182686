//! Keys and certificates taken anew while the node serves: when somebody asks, and when a file has changed.
//!
//! Relies on the settings being readable again from where they came. Promises that a state which is not usable changes nothing and
//! is logged with what to do, and that a file which is still being written is left alone until it rests for a moment.

use crate::key_file;
use rollcall_api::{CertificateFiles, Certificates, Keys};
use rollcall_config::{LoadError, Settings};
use std::{
    fmt::Display,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::Notify;

/// How often files are looked at: a key that is withdrawn ends its connections within 10 s, of which this takes two rounds.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where a node's settings come from, and who asks to read them again.
#[derive(Clone)]
pub struct Source {
    read: Arc<dyn Fn() -> Result<Settings, LoadError> + Send + Sync>,
    file: Option<PathBuf>,
    asked: Arc<Notify>,
}

impl Source {
    /// Settings that stay as they are; the files that they name are read again all the same.
    #[must_use]
    pub fn fixed(settings: Settings) -> Self {
        Self { read: Arc::new(move || Ok(settings.clone())), file: None, asked: Arc::default() }
    }

    /// Settings that `read` gives again, `file` among what they come from.
    pub(crate) fn new(
        file: Option<PathBuf>,
        read: impl Fn() -> Result<Settings, LoadError> + Send + Sync + 'static,
    ) -> Self {
        Self { read: Arc::new(read), file, asked: Arc::default() }
    }

    /// Reads again whenever `asked` is told.
    pub(crate) fn asked_by(self, asked: Arc<Notify>) -> Self {
        Self { asked, ..self }
    }
}

/// What is kept fresh.
pub(crate) struct Reloading {
    pub(crate) source: Source,
    pub(crate) keys: Arc<Keys>,
    pub(crate) certificates: Option<Arc<Certificates>>,
    /// As they were read last.
    pub(crate) settings: Settings,
}

/// What a file looked like: another inode, size or time is another content.
type Stamp = Option<(u64, u64, SystemTime)>;

impl Reloading {
    /// Looks again and again; ends with the node.
    pub(crate) async fn run(mut self) {
        let mut last = self.stamps();
        let mut moving = false;
        loop {
            let asked = tokio::select! {
                () = self.source.asked.notified() => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            let now = self.stamps();
            let rests = now == last;
            last = now;
            if asked || moving && rests {
                // Files may be on a disk that takes its time.
                let Ok(looked) = tokio::task::spawn_blocking(move || self.reload()).await else {
                    return std::future::pending().await;
                };
                (self, last) = looked;
                moving = false;
            } else if !rests {
                moving = true;
            }
        }
    }

    /// Takes everything anew that is usable. Gives what the files looked like before they were read, so that none changes unseen.
    fn reload(mut self) -> (Self, Vec<Stamp>) {
        match (self.source.read)() {
            Ok(settings) => self.settings = settings,
            Err(error) => {
                complain("settings", &error);
                let stamps = self.stamps();
                return (self, stamps);
            }
        }
        let stamps = self.stamps();
        match self.reload_keys() {
            Ok(()) => tracing::info!(kids = ?self.keys, "keys were read anew"),
            Err(error) => complain("keys", &error),
        }
        if let (Some(certificates), Some(files)) = (&self.certificates, certificate_files(&self.settings)) {
            match certificates.reload(&files) {
                Ok(()) => tracing::info!(certificate = %files.certificate.display(), "the certificate was read anew"),
                Err(error) => complain("certificate", &error),
            }
        }
        (self, stamps)
    }

    fn reload_keys(&self) -> Result<(), String> {
        let local =
            local_key(&self.settings).map(|file| key_file::read(&file)).transpose().map_err(|e| e.to_string())?;
        self.keys.reload(&self.settings.auth, local.as_deref()).map_err(|e| e.to_string())
    }

    fn stamps(&self) -> Vec<Stamp> {
        let auth = &self.settings.auth;
        let mut files: Vec<PathBuf> = auth.keys.iter().map(|key| key.file.clone()).collect();
        files.extend(local_key(&self.settings));
        files.extend(self.source.file.clone());
        files.extend(certificate_files(&self.settings).into_iter().flat_map(|f| [f.certificate, f.private_key]));
        files.iter().map(|file| stamp(file)).collect()
    }
}

fn stamp(file: &Path) -> Stamp {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.modified().ok()?))
}

fn complain(what: &str, error: &dyn Display) {
    tracing::error!(
        "the new {what} cannot be used, and what was in use before stays: {error}; repair it, then save it again or send SIGHUP"
    );
}

/// The file of the key `local`, if the settings need it.
pub(crate) fn local_key(settings: &Settings) -> Option<PathBuf> {
    match &settings.auth.key_file {
        Some(file) => Some(file.clone()),
        None => settings.auth.keys.is_empty().then(|| settings.node.data_dir.join("auth.key")),
    }
}

/// The certificate for clients; the settings have both files or none.
pub(crate) fn certificate_files(settings: &Settings) -> Option<CertificateFiles> {
    let (certificate, private_key) = (settings.http.certificate.clone()?, settings.http.private_key.clone()?);
    Some(CertificateFiles { certificate, private_key })
}
