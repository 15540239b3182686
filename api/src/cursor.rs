//! Where the next page of a list starts, opaque to clients: base64url of a kind and a position.

use crate::problem::Problem;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rollcall_presence::{ListKind, UserId};

/// Longest cursor taken, bytes: that of a user id of 128 bytes, with room.
const MAX_BYTES: usize = 256;
const CONTACTS: char = 'c';
const BLOCKS: char = 'b';
const HISTORY: char = 'h';

fn tag(list: ListKind) -> char {
    match list {
        ListKind::Contacts => CONTACTS,
        ListKind::Blocks => BLOCKS,
    }
}

/// The cursor after `user` in `list`.
pub(crate) fn after_user(list: ListKind, user: &UserId) -> String {
    encode(tag(list), user)
}

/// Whom a list's page comes after.
pub(crate) fn to_user(list: ListKind, cursor: &str) -> Result<UserId, Problem> {
    decode(tag(list), cursor).and_then(|user| UserId::new(&user).ok()).ok_or_else(malformed)
}

/// The cursor before the history entry `seq`.
pub(crate) fn before_entry(seq: u64) -> String {
    encode(HISTORY, &seq.to_string())
}

/// Before which history entry a page ends.
pub(crate) fn to_entry(cursor: &str) -> Result<u64, Problem> {
    decode(HISTORY, cursor).and_then(|seq| seq.parse().ok()).ok_or_else(malformed)
}

fn encode(tag: char, position: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{tag}{position}"))
}

fn decode(tag: char, cursor: &str) -> Option<String> {
    if cursor.len() > MAX_BYTES {
        return None;
    }
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    text.strip_prefix(tag).map(str::to_owned)
}

fn malformed() -> Problem {
    Problem::invalid("cursor", "is not one that this list gave")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_position() {
        let user = UserId::new(&"u".repeat(128)).unwrap();
        assert_eq!(to_user(ListKind::Blocks, &after_user(ListKind::Blocks, &user)).unwrap(), user);
        assert_eq!(to_entry(&before_entry(u64::MAX)).unwrap(), u64::MAX);
    }

    #[test]
    fn a_malformed_or_foreign_cursor_is_refused() {
        let contacts = after_user(ListKind::Contacts, &UserId::new("bob").unwrap());
        assert!(to_user(ListKind::Blocks, &contacts).is_err());
        for bad in ["", "!", "aGFsbG8", "ä", &"a".repeat(300)] {
            assert!(to_user(ListKind::Contacts, bad).is_err(), "{bad}");
            assert!(to_entry(bad).is_err(), "{bad}");
        }
    }
}
