//! Tokens for client commands: minted from a key file, or given.
//!
//! Owns the reading of `auth.key` and the claims of a minted token. Promises that the content of a key file without its
//! trailing newline is the secret, byte for byte, as the server reads it.

use super::{Failure, command_line::TokenOptions};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rollcall_presence::{InvalidId, UserId};
use serde::Serialize;
use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The `kid` of the generated key. Contract, section 2.
const LOCAL_KID: &str = "local";
/// Shortest HMAC key the server takes, bytes. Contract, section 2.
const KEY_MIN_BYTES: usize = 32;
/// The file that a node makes on its first start, from where it was started.
const DEFAULT_KEY_FILE: &str = "rollcall-data/auth.key";
/// How long a minted token of a running command is good for; it is replaced well before.
pub(crate) const MINTED_TTL: Duration = Duration::from_secs(3_600);

/// Why no token could be minted. Nothing was touched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MintError {
    #[error(
        "there is no key at {}: start a node from this directory first, or give --auth-key FILE or --token JWT",
        .0.display()
    )]
    NoKey(PathBuf),
    #[error("the key {} cannot be read: {source}", file.display())]
    Unreadable { file: PathBuf, source: std::io::Error },
    #[error("the key {} has {bytes} bytes; a key has at least {KEY_MIN_BYTES}", file.display())]
    Short { file: PathBuf, bytes: usize },
    #[error("{0:?} is not a scope: user, service and admin are")]
    Scope(String),
    #[error(transparent)]
    User(#[from] InvalidId),
    #[error("the token could not be signed: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    scope: &'a str,
    exp: u64,
}

/// Signs tokens with the local key.
#[derive(Clone)]
pub(crate) struct Minter {
    key: EncodingKey,
    header: Header,
}

impl Minter {
    /// Reads the key from `file`, or from where a node started here has put it.
    pub(crate) fn read(file: Option<&Path>) -> Result<Self, MintError> {
        let file = file.unwrap_or(Path::new(DEFAULT_KEY_FILE));
        let content = std::fs::read(file).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => MintError::NoKey(file.into()),
            _ => MintError::Unreadable { file: file.into(), source },
        })?;
        let secret = without_newline(&content);
        if secret.len() < KEY_MIN_BYTES {
            return Err(MintError::Short { file: file.into(), bytes: secret.len() });
        }
        Ok(Self::new(secret))
    }

    pub(crate) fn new(secret: &[u8]) -> Self {
        let header = Header { kid: Some(LOCAL_KID.into()), ..Header::new(Algorithm::HS256) };
        Self { key: EncodingKey::from_secret(secret), header }
    }

    /// A token of `user`, good for `ttl` from now.
    pub(crate) fn mint(&self, user: &str, scope: &str, ttl: Duration) -> Result<String, MintError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims = Claims { sub: user, scope, exp: (now + ttl).as_secs() };
        Ok(jsonwebtoken::encode(&self.header, &claims, &self.key)?)
    }
}

fn without_newline(content: &[u8]) -> &[u8] {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    content.strip_suffix(b"\r").unwrap_or(content)
}

/// `rollcall token`: prints a token, and nothing else.
pub(crate) fn print(options: &TokenOptions) -> Result<(), Failure> {
    let user = UserId::new(&options.user).map_err(|e| Failure::usage(MintError::User(e)))?;
    for word in options.scope.split(' ').filter(|w| !w.is_empty()) {
        if !matches!(word, "user" | "service" | "admin") {
            return Err(Failure::usage(MintError::Scope(word.into())));
        }
    }
    let token = Minter::read(options.auth_key.as_deref())?.mint(&user, &options.scope, options.ttl)?;
    writeln!(std::io::stdout(), "{token}").map_err(Failure::output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, Validation};
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Read {
        sub: String,
        scope: String,
        exp: u64,
    }

    #[test]
    fn a_key_file_is_the_secret_without_its_newline() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("auth.key");
        let secret = "0123456789abcdef".repeat(4);
        std::fs::write(&file, format!("{secret}\n")).unwrap();
        let token = Minter::read(Some(&file)).unwrap().mint("alice", "user", Duration::from_secs(60)).unwrap();
        let mut rules = Validation::new(Algorithm::HS256);
        rules.validate_aud = false;
        let key = DecodingKey::from_secret(secret.as_bytes());
        let read = jsonwebtoken::decode::<Read>(&token, &key, &rules).unwrap();
        assert_eq!((read.claims.sub.as_str(), read.claims.scope.as_str()), ("alice", "user"));
        assert!(read.claims.exp > 0);
        assert_eq!(read.header.kid.as_deref(), Some("local"));
    }

    #[test]
    fn a_missing_or_short_key_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("auth.key");
        let missing = Minter::read(Some(&file)).err().unwrap();
        assert!(missing.to_string().contains("--auth-key"));
        std::fs::write(&file, "short\n").unwrap();
        assert!(matches!(Minter::read(Some(&file)), Err(MintError::Short { bytes: 5, .. })));
    }
}
