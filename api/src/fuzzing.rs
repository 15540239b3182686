//! The decoders of bytes that clients send, for the targets in `fuzz/` and for the test that reads their kept inputs again.
//!
//! Compiled for fuzzing and for tests only. Each function promises not to panic, whatever it is given, and to demand of
//! what was accepted that it keeps the contract's bounds.

use crate::{connect, cursor, events, keys::Keys, members::Members, request::Query, status};
use rollcall_config::Auth;
use rollcall_presence::{ListKind, limits};
use std::sync::OnceLock;

/// A secret that no token of a corpus was made with by chance.
const SECRET: &[u8] = b"the secret that fuzzed tokens are tried against";

/// A frame of a WebSocket.
pub fn client_frame(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        connect::read_any_frame(text);
    }
}

/// A token in a header, a subprotocol or a frame.
pub fn token(bytes: &[u8]) {
    static KEYS: OnceLock<Option<Keys>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| Keys::load(&Auth::default(), Some(SECRET)).ok());
    if let (Ok(text), Some(keys)) = (std::str::from_utf8(bytes), keys) {
        let _ = keys.verify(text);
    }
}

/// A cursor of a list, the id of an event, and a query that carries them.
pub fn cursor(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for list in [ListKind::Contacts, ListKind::Blocks] {
        if let Ok(user) = cursor::to_user(list, text) {
            assert!(user.len() <= limits::USER_ID_MAX_BYTES);
            assert_eq!(cursor::to_user(list, &cursor::after_user(list, &user)).ok(), Some(user));
        }
    }
    if let Ok(seq) = cursor::to_entry(text) {
        assert_eq!(cursor::to_entry(&cursor::before_entry(seq)).ok(), Some(seq));
    }
    events::read_any_id(text);
    if let Ok(query) = Query::parse(Some(text), &["limit", "cursor", "from", "to"]) {
        assert!(
            query.limit().is_ok_and(|limit| (1..=limits::PAGE_MAX).contains(&limit)) || query.get("limit").is_some()
        );
    }
}

/// A body of a request.
pub fn request_body(bytes: &[u8]) {
    let members = || Members::parse(bytes, "body");
    let _ = members().and_then(|mut body| status::wish(&mut body));
    let _ = members().and_then(|mut body| body.users("users"));
    let _ = members().and_then(|mut body| body.watches("users"));
    let _ = members().and_then(|mut body| body.echo("id"));
    if let Ok(Some(name)) = members().and_then(|mut body| body.line("name", limits::PROFILE_NAME_MAX_BYTES)) {
        assert!(!name.is_empty() && name.len() <= limits::PROFILE_NAME_MAX_BYTES);
    }
    if let Ok(meta) = members().and_then(|mut body| body.meta("meta", limits::PROFILE_META_MAX_BYTES)) {
        assert!(meta.as_json().len() <= limits::PROFILE_META_MAX_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    type Read = fn(&[u8]);

    #[test]
    fn every_kept_input_is_read_without_a_panic() {
        let targets: [(&str, Read); 4] = [
            ("client_frame", super::client_frame),
            ("token", super::token),
            ("cursor", super::cursor),
            ("request_body", super::request_body),
        ];
        for (name, read) in targets {
            let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
            let mut count = 0;
            for file in fs::read_dir(&kept).unwrap() {
                read(&fs::read(file.unwrap().path()).unwrap());
                count += 1;
            }
            assert!(count > 0, "{} is empty", kept.display());
        }
    }
}
