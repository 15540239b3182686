//! The keys that sign tokens: read from the files of the settings, each with one algorithm and the scopes it may grant.
//!
//! A reload swaps the whole set at once; whoever verifies a token sees one set or the other, and open connections are told to
//! look again whether their key is still the one that signed for them.

use crate::{
    api::now_ms,
    key_changes::{Hearing, KeyChanges},
    token::{self, Identity, Refused},
    verified::Verified,
};
use jsonwebtoken::{DecodingKey, Validation};
use parking_lot::RwLock;
use rollcall_config::{Algorithm, Auth, Scope};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Shortest HMAC secret, bytes: as long as the hash. Contract, section 2.
pub const HMAC_MIN_BYTES: usize = 32;
/// Largest key file taken, bytes: an RSA key of 16,384 bits in PEM, with room.
const FILE_MAX_BYTES: u64 = 16 * 1_024;
/// The `kid` of the generated key.
pub const LOCAL_KID: &str = "local";

/// Why keys could not be loaded. The keys in use, if any, stay.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A key file cannot be read.
    #[error("key {kid}: cannot read {}: {source}", file.display())]
    Unreadable {
        /// Whose file.
        kid: String,
        /// Which file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A key file holds something else.
    #[error("key {kid}: {} is no public key in PEM for {algorithm:?}: {why}", file.display())]
    NotAKey {
        /// Whose file.
        kid: String,
        /// Which file.
        file: PathBuf,
        /// What it should be.
        algorithm: Algorithm,
        /// Why it is not.
        why: String,
    },
    /// A key file is too large to be a key.
    #[error("key {kid}: {} has over {FILE_MAX_BYTES} bytes and is no key", file.display())]
    TooLarge {
        /// Whose file.
        kid: String,
        /// Which file.
        file: PathBuf,
    },
    /// An HMAC secret is too short to be safe.
    #[error("key {kid}: its secret has {bytes} bytes and must have at least {HMAC_MIN_BYTES}")]
    TooShort {
        /// Whose secret.
        kid: String,
        /// How long it is, bytes.
        bytes: usize,
    },
    /// Two keys have the same `kid`.
    #[error("key {0} is configured twice; each kid belongs to one key")]
    Twice(String),
    /// Two keys are the default.
    #[error("keys {0} and {1} are both marked default; at most one may be")]
    TwoDefaults(String, String),
    /// There is nobody to believe.
    #[error("no key is configured: add one under [[auth.keys]], or give --auth-key")]
    None,
}

/// What a key is known by to those for whom it signed: its `kid`, and a digest of all that decides whether a token verifies.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) kid: String,
    digest: [u8; 32],
}

impl Mark {
    fn new(kid: &str, algorithm: Algorithm, material: &[u8], auth: &Auth) -> Self {
        let mut digest = Sha256::new();
        let demanded = |text: &Option<String>| format!("{text:?}");
        for part in [format!("{algorithm:?}"), demanded(&auth.issuer), demanded(&auth.audience)] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        digest.update(material);
        Self { kid: kid.to_owned(), digest: digest.finalize().into() }
    }
}

/// One key that signs tokens.
pub(crate) struct Key {
    pub(crate) mark: Arc<Mark>,
    pub(crate) decoding: DecodingKey,
    pub(crate) validation: Validation,
    pub(crate) grants: Vec<Scope>,
}

/// The keys of one loading.
#[derive(Default)]
pub(crate) struct KeySet {
    by_kid: HashMap<String, Arc<Key>>,
    default: Option<Arc<Key>>,
    verified: Verified,
}

impl KeySet {
    /// The key of `kid`, or the default one.
    pub(crate) fn find(&self, kid: Option<&str>) -> Option<&Arc<Key>> {
        kid.map_or(self.default.as_ref(), |kid| self.by_kid.get(kid))
    }

    fn load(auth: &Auth, local: Option<&[u8]>) -> Result<Self, KeysError> {
        let mut keys = Self::default();
        let mut default: Option<Arc<Key>> = None;
        for key in &auth.keys {
            let content = read(&key.kid, &key.file)?;
            let decoding = decoding(&key.kid, key.algorithm, &key.file, &content)?;
            let mark = Mark::new(&key.kid, key.algorithm, secret_of(&content), auth);
            let loaded = keys.add(mark, decoding, key.algorithm, auth, key.scopes.clone())?;
            if key.default {
                if let Some(other) = &default {
                    return Err(KeysError::TwoDefaults(other.mark.kid.clone(), key.kid.clone()));
                }
                default = Some(loaded);
            }
        }
        let file = auth.key_file.as_ref().map(|file| read(LOCAL_KID, file)).transpose()?;
        if let Some(secret) = file.as_deref().or(local) {
            let all = vec![Scope::User, Scope::Service, Scope::Admin];
            let mark = Mark::new(LOCAL_KID, Algorithm::HS256, secret_of(secret), auth);
            let loaded = keys.add(mark, hmac(LOCAL_KID, secret)?, Algorithm::HS256, auth, all)?;
            default = default.or(Some(loaded));
        }
        if keys.by_kid.is_empty() {
            return Err(KeysError::None);
        }
        keys.default = default;
        Ok(keys)
    }

    fn add(
        &mut self,
        mark: Mark,
        decoding: DecodingKey,
        algorithm: Algorithm,
        auth: &Auth,
        grants: Vec<Scope>,
    ) -> Result<Arc<Key>, KeysError> {
        let validation = token::validation(algorithm, auth);
        let key = Arc::new(Key { mark: Arc::new(mark), decoding, validation, grants });
        match self.by_kid.insert(key.mark.kid.clone(), key.clone()) {
            None => Ok(key),
            Some(_) => Err(KeysError::Twice(key.mark.kid.clone())),
        }
    }
}

fn read(kid: &str, file: &PathBuf) -> Result<Vec<u8>, KeysError> {
    let unreadable = |source| KeysError::Unreadable { kid: kid.to_owned(), file: file.clone(), source };
    if std::fs::metadata(file).map_err(unreadable)?.len() > FILE_MAX_BYTES {
        return Err(KeysError::TooLarge { kid: kid.to_owned(), file: file.clone() });
    }
    std::fs::read(file).map_err(unreadable)
}

/// The secret of an HMAC key file's content: all of it but the trailing newline.
#[must_use]
pub fn secret_of(content: &[u8]) -> &[u8] {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    content.strip_suffix(b"\r").unwrap_or(content)
}

fn hmac(kid: &str, content: &[u8]) -> Result<DecodingKey, KeysError> {
    let secret = secret_of(content);
    if secret.len() < HMAC_MIN_BYTES {
        return Err(KeysError::TooShort { kid: kid.to_owned(), bytes: secret.len() });
    }
    Ok(DecodingKey::from_secret(secret))
}

fn decoding(kid: &str, algorithm: Algorithm, file: &Path, content: &[u8]) -> Result<DecodingKey, KeysError> {
    let key = match algorithm {
        Algorithm::HS256 => return hmac(kid, content),
        Algorithm::ES256 => DecodingKey::from_ec_pem(content),
        Algorithm::EdDSA => DecodingKey::from_ed_pem(content),
        Algorithm::RS256 => DecodingKey::from_rsa_pem(content),
    };
    let not_a_key = |why: String| KeysError::NotAKey { kid: kid.to_owned(), file: file.to_owned(), algorithm, why };
    let key = key.map_err(|e| not_a_key(e.to_string()))?;
    // A key that parses but cannot verify (a private one, another curve) would refuse every token later.
    token::proves(algorithm, &key).map_err(|e| not_a_key(e.to_string()))?;
    Ok(key)
}

/// Whom to believe, now.
pub struct Keys {
    set: RwLock<Arc<KeySet>>,
    changes: Arc<KeyChanges>,
}

impl Keys {
    /// Loads the keys of the settings. `local` is the content of the generated key's file, used as `kid` `local` with all
    /// scopes unless the settings name a file of their own for it.
    ///
    /// # Errors
    /// [`KeysError`], naming the key and what to change.
    pub fn load(auth: &Auth, local: Option<&[u8]>) -> Result<Self, KeysError> {
        let set = RwLock::new(Arc::new(KeySet::load(auth, local)?));
        Ok(Self { set, changes: Arc::default() })
    }

    /// Loads the keys again and swaps them in; tokens of keys that are gone are refused from then on, and connections that stand
    /// on one end within two seconds.
    ///
    /// # Errors
    /// [`KeysError`]; the keys in use stay.
    pub fn reload(&self, auth: &Auth, local: Option<&[u8]>) -> Result<(), KeysError> {
        let keys = Arc::new(KeySet::load(auth, local)?);
        *self.set.write() = keys;
        self.changes.tell();
        Ok(())
    }

    /// Who a token stands for.
    pub(crate) fn verify(&self, token: &str) -> Result<Arc<Identity>, Refused> {
        let keys = self.set.read().clone();
        if let Some(identity) = keys.verified.look_up(token, now_ms()) {
            return Ok(identity);
        }
        let identity = Arc::new(token::verify(&keys, token)?);
        keys.verified.remember(token, &identity);
        Ok(identity)
    }

    /// Whether the key that signed for `identity` is still there, is the same one, and may still grant as much.
    pub(crate) fn trusts(&self, identity: &Identity) -> bool {
        let keys = self.set.read();
        let key = keys.find(Some(&identity.key.kid)).filter(|key| key.mark == identity.key);
        key.is_some_and(|key| identity.within(&key.grants))
    }

    /// Somebody who hears of every reload.
    pub(crate) fn hear(&self) -> Hearing {
        self.changes.hear()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.set.read().by_kid.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall_config::AuthKey;

    fn key(kid: &str, file: &std::path::Path, default: bool) -> AuthKey {
        let (algorithm, scopes) = (Algorithm::HS256, vec![Scope::User]);
        AuthKey { kid: kid.into(), algorithm, file: file.into(), scopes, default }
    }

    fn error(keys: Vec<AuthKey>) -> String {
        Keys::load(&Auth { keys, ..Auth::default() }, None).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_loaded_names_the_key_and_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let (long, short) = (dir.path().join("long"), dir.path().join("short"));
        std::fs::write(&long, [b'k'; 32]).unwrap();
        std::fs::write(&short, format!("{}\n", "k".repeat(31))).unwrap();
        assert!(error(vec![key("a", &short, false)]).contains("key a: its secret has 31 bytes"));
        assert!(error(vec![key("a", &dir.path().join("none"), false)]).contains("key a: cannot read"));
        assert!(error(vec![key("a", &long, false), key("a", &long, false)]).contains("key a is configured twice"));
        assert!(error(vec![key("a", &long, true), key("b", &long, true)]).contains("keys a and b are both"));
        assert!(error(vec![]).contains("no key is configured"));
        let pem = AuthKey { algorithm: Algorithm::RS256, ..key("r", &long, false) };
        assert!(error(vec![pem]).contains("no public key in PEM for RS256"));
    }

    #[test]
    fn an_identity_is_trusted_as_long_as_its_key_is_the_same_and_grants_as_much() {
        let dir = tempfile::tempdir().unwrap();
        let (file, other) = (dir.path().join("k"), dir.path().join("o"));
        std::fs::write(&file, [b'k'; 32]).unwrap();
        std::fs::write(&other, [b'o'; 32]).unwrap();
        let with = |file: &std::path::Path, scopes: &[Scope]| Auth {
            keys: vec![AuthKey { scopes: scopes.to_vec(), ..key("a", file, false) }],
            ..Auth::default()
        };
        let keys = Keys::load(&with(&file, &[Scope::User, Scope::Service]), None).unwrap();
        let mark = keys.set.read().find(Some("a")).unwrap().mark.clone();
        let user = rollcall_presence::UserId::new("alice").unwrap();
        let identity = Identity { user, own: true, service: true, admin: false, until: 9, key: mark };
        let trusts = |auth: Auth| keys.reload(&auth, None).map(|()| keys.trusts(&identity)).unwrap();
        assert!(trusts(with(&file, &[Scope::User, Scope::Service])));
        assert!(trusts(with(&file, &[Scope::Admin])), "more than it was");
        assert!(!trusts(with(&file, &[Scope::User])));
        assert!(!trusts(with(&other, &[Scope::User, Scope::Service])), "another key of that name");
        assert!(!trusts(Auth { issuer: Some("x".into()), ..with(&file, &[Scope::Service]) }));
        assert!(!trusts(Auth { keys: vec![key("b", &file, false)], ..Auth::default() }));
        assert!(trusts(with(&file, &[Scope::Service])));
    }

    #[test]
    fn a_secret_is_the_file_without_its_trailing_newline() {
        assert_eq!(secret_of(b"abc\n"), b"abc");
        assert_eq!(secret_of(b"abc\r\n"), b"abc");
        assert_eq!(secret_of(b"abc \n\n"), b"abc \n");
    }
}
