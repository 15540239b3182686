//! What nobody can guess: session ids and resume tokens.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rollcall_presence::SessionId;
use sha2::{Digest, Sha256};

/// Random bytes of a session id: 128 bits.
const SESSION_BYTES: usize = 16;
/// Random bytes of a resume token: 192 bits.
const RESUME_BYTES: usize = 24;

/// A fresh session id and the token to resume it with.
#[derive(Debug)]
pub struct Minted {
    /// The id.
    pub session: SessionId,
    /// The token, known to the client alone.
    pub resume: String,
}

/// The system gave no randomness; nothing was made.
#[derive(Debug, thiserror::Error)]
#[error("the system's random source failed")]
pub struct NoRandomness;

/// Mints an id and a token.
///
/// # Errors
/// [`NoRandomness`].
pub fn mint() -> Result<Minted, NoRandomness> {
    let mut bytes = [0u8; SESSION_BYTES + RESUME_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
    let session = SessionId::new(&URL_SAFE_NO_PAD.encode(&bytes[..SESSION_BYTES])).map_err(|_| NoRandomness)?;
    Ok(Minted { session, resume: URL_SAFE_NO_PAD.encode(&bytes[SESSION_BYTES..]) })
}

/// What a home keeps of a resume token.
#[must_use]
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Random times below `spread_ms`, so that those who are sent away do not come back at once.
pub fn jitter(spread_ms: u64) -> impl Fn() -> u64 {
    move || {
        let mut bytes = [0u8; 8];
        // Without randomness everybody comes back at once, which is no reason not to stop.
        let _ = getrandom::fill(&mut bytes);
        u64::from_le_bytes(bytes) % spread_ms.max(1)
    }
}
