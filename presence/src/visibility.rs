//! Who may see whom. Decided at the homes: the subject's home knows contacts and blocks of the subject, the viewer's home
//! those of the viewer; both must allow.

use crate::id::UserId;
use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// Whom a presence is shown to, cluster-wide (`presence.visibility`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Those in the user's contacts.
    #[default]
    Contacts = 0,
    /// Everyone.
    Everyone = 1,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Viewer {
    /// The user that asks.
    pub user: UserId,
    /// Whether it asks for a service, which may see everybody.
    pub service: bool,
}

/// The subject's half of the decision. `listed` and `blocked` say whether the viewer is on the subject's contacts and blocks.
#[must_use]
pub fn subject_allows(visibility: Visibility, subject: &UserId, viewer: &Viewer, listed: bool, blocked: bool) -> bool {
    viewer.service || viewer.user == *subject || (!blocked && (listed || visibility == Visibility::Everyone))
}

/// The viewer's half of the decision. `blocks_subject` says whether the subject is on the viewer's blocks.
#[must_use]
pub fn viewer_allows(subject: &UserId, viewer: &Viewer, blocks_subject: bool) -> bool {
    viewer.service || viewer.user == *subject || !blocks_subject
}
