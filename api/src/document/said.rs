//! What the document says of each route, in the order of the contract.

use super::{
    operation::{Carries, Said, call, page},
    schema::{exactly, pattern, string, word},
};
use crate::{
    problem::Code,
    request::{BYTES, Need},
};
use utoipa::openapi::path::ParameterIn;

use Carries::{Json, Nothing, Other};
use Need::{Admin, Own, Service, Token};

const NOT_THERE_EITHER: &str = "Done; also when it was not there.";
const SESSION_GONE: &str = "A session that has ended is unknown_session: open a new one.";

pub(crate) fn delete_user() -> Said {
    call(Service, "settings", "deleteUser", "Forgets a user")
        .text("Every record is unreadable from now; sessions end; watchers see the never-seen user; others' lists keep the id.")
        .bare()
        .keyed()
        .answers(204, "Forgotten.", Nothing)
}

pub(crate) fn presence() -> Said {
    call(Token, "presence", "getPresence", "A user's presence, as the token may see it").answers(
        200,
        "The presence.",
        Json("Presence"),
    )
}

pub(crate) fn query() -> Said {
    call(Token, "presence", "queryPresences", "Many presences at once").body("PresenceQuery", true).answers(
        200,
        "In the order asked, duplicates kept.",
        Json("Presences"),
    )
}

pub(crate) fn history() -> Said {
    let time = || super::schema::integer(0, crate::members::INTEGER_MAX, "Unix milliseconds.");
    call(Own, "presence", "getHistory", "What happened to a user's presence, newest first")
        .text("Entries with from ≤ at < to, one for each acknowledged change, hidden ones too.")
        .query("from", time())
        .query("to", time())
        .paged()
        .answers(200, "A page of it.", Json("History"))
}

pub(crate) fn sessions() -> Said {
    call(Own, "sessions", "listSessions", "A user's live sessions").answers(
        200,
        "In the order of their opening.",
        Json("Sessions"),
    )
}

pub(crate) fn open_session() -> Said {
    call(Own, "sessions", "openSession", "Opens a session that lives by heartbeats")
        .text("Answered once durable. Without a key a repetition opens a second session.")
        .body("OpenSession", false)
        .keyed()
        .refuses(Code::LimitExceeded)
        .leads_to(&["heartbeat", "endSession"])
        .answers_with(201, "It lives.", Json("OpenedSession"), &["Location"])
}

pub(crate) fn heartbeat() -> Said {
    call(Own, "sessions", "heartbeat", "Keeps a session alive")
        .text(SESSION_GONE)
        .body("Heartbeat", false)
        .keyed()
        .refuses(Code::UnknownSession)
        .answers(204, "Heard.", Nothing)
}

pub(crate) fn end_session() -> Said {
    call(Own, "sessions", "endSession", "Ends a session now")
        .text("A WebSocket's connection is closed with revoked.")
        .bare()
        .keyed()
        .answers(204, NOT_THERE_EITHER, Nothing)
}

pub(crate) fn status() -> Said {
    call(Own, "settings", "getStatus", "The status setting, and what others see").answers(200, "Both.", Json("Status"))
}

pub(crate) fn put_status() -> Said {
    call(Own, "settings", "putStatus", "Sets the status")
        .text("Replaces the whole setting; it survives reconnects and restarts. At expires_at it is cleared, and watchers are told.")
        .body("StatusWish", true)
        .keyed()
        .answers(200, "Durable.", Json("Status"))
}

pub(crate) fn clear_status() -> Said {
    call(Own, "settings", "clearStatus", "Back to automatic, text and meta cleared").bare().keyed().answers(
        200,
        "Durable.",
        Json("Status"),
    )
}

pub(crate) fn privacy() -> Said {
    call(Own, "settings", "getPrivacy", "Who sees last-seen times and devices").answers(
        200,
        "The setting.",
        Json("Privacy"),
    )
}

pub(crate) fn put_privacy() -> Said {
    call(Own, "settings", "putPrivacy", "Says who sees last-seen times and devices")
        .body("PrivacyWish", false)
        .keyed()
        .answers(200, "The setting.", Json("Privacy"))
}

pub(crate) fn profile() -> Said {
    call(Token, "settings", "getProfile", "A user's profile")
        .text("Readable by whoever may see the presence; others get an empty one.")
        .answers(200, "The profile.", Json("Profile"))
}

pub(crate) fn put_profile() -> Said {
    call(Own, "settings", "putProfile", "Sets the profile").body("ProfileWish", false).keyed().answers(
        200,
        "The profile.",
        Json("Profile"),
    )
}

pub(crate) fn delete_profile() -> Said {
    call(Own, "settings", "deleteProfile", "Empties the profile").bare().keyed().answers(204, NOT_THERE_EITHER, Nothing)
}

pub(crate) fn contacts() -> Said {
    call(Own, "settings", "listContacts", "Who may see this user").paged().answers(
        200,
        "A page of it.",
        Json("Contacts"),
    )
}

pub(crate) fn change_contacts() -> Said {
    change("changeContacts", "Adds and removes many contacts, all or nothing")
}

fn change(id: &'static str, summary: &'static str) -> Said {
    call(Own, "settings", id, summary).body("ListChanges", false).keyed().refuses(Code::LimitExceeded).answers(
        200,
        "How long the list is now.",
        Json("Total"),
    )
}

fn add(id: &'static str, summary: &'static str) -> Said {
    call(Own, "settings", id, summary)
        .text("The user's own id is refused.")
        .bare()
        .keyed()
        .refuses(Code::LimitExceeded)
        .answers(204, "In the list.", Nothing)
}

fn take_out(id: &'static str, summary: &'static str) -> Said {
    call(Own, "settings", id, summary).bare().keyed().answers(204, NOT_THERE_EITHER, Nothing)
}

pub(crate) fn add_contact() -> Said {
    add("addContact", "Lets another user see this one")
}

pub(crate) fn remove_contact() -> Said {
    take_out("removeContact", "No longer lets another user see this one")
}

pub(crate) fn blocks() -> Said {
    call(Own, "settings", "listBlocks", "Whom this user blocks").paged().answers(200, "A page of it.", Json("Blocks"))
}

pub(crate) fn change_blocks() -> Said {
    change("changeBlocks", "Blocks and unblocks many, all or nothing")
}

pub(crate) fn add_block() -> Said {
    add("addBlock", "Neither sees the other")
}

pub(crate) fn remove_block() -> Said {
    take_out("removeBlock", "Takes a block back")
}

pub(crate) fn connect() -> Said {
    call(Token, "presence", "connect", "A WebSocket: a session, and presences as they change")
        .text(
            "Text frames, one JSON object each: `ServerFrame` down, `ClientFrame` up. A browser offers the subprotocols `rollcall.v1` \
             and `bearer.<JWT>`, is upgraded even when refused, gets one error frame and is closed with 4000 + the HTTP status. Close \
             codes: 4000 drain, 4001 token_expired, 4002 replaced, 4003 revoked, 4004 slow, 4005 shutdown, 4006 isolated, 1008 after \
             ten malformed frames, 1009 for a frame over 128 KiB.",
        )
        .requires(ParameterIn::Header, "Connection", exactly("Upgrade"))
        .requires(ParameterIn::Header, "Upgrade", exactly("websocket"))
        .requires(ParameterIn::Header, "Sec-WebSocket-Version", exactly("13"))
        .requires(ParameterIn::Header, "Sec-WebSocket-Key", pattern("^[A-Za-z0-9+/]{21}[AQgw]==$", 24, 24, "16 random bytes in base64."))
        .query("device", super::schema::named("Device"))
        .query("watch", word(&["contacts", "none"]))
        .query("session", word(&["true", "false"]))
        .query("resume", string("The token of a session to take over; one that is not known opens a new session."))
        .refuses(Code::LimitExceeded)
        .answers_with(
            101,
            "Upgraded; the session is durable.",
            Nothing,
            &["Upgrade", "Connection", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol"],
        )
}

pub(crate) fn events() -> Said {
    let user = "[A-Za-z0-9._~:@+-]{1,128}";
    let users = format!("^(?!\\.{{1,2}}$)(?!me$){user}$");
    call(Token, "presence", "events", "Presences as they change, read-only")
        .text(
            "Events snapshot, presence, unwatched and goodbye, each with an id and one line of JSON: `Presences`, `{\"users\":[…]}` or \
             `Goodbye`. Starts with a snapshot; after Last-Event-ID with what is newer or lost. A comment every 15 s. Either watch or \
             users: up to 500 ids with commas between.",
        )
        .query("watch", word(&["contacts"]))
        .query("users", pattern(&users, 1, 65_000, "User ids with commas between."))
        .parameter(ParameterIn::Header, "Last-Event-ID", string("The id of the last event; one that does not fit gives the full snapshot."))
        .refuses(Code::LimitExceeded)
        .answers(200, "They follow.", Other("text/event-stream"))
}

pub(crate) fn cluster_status() -> Said {
    call(Admin, "cluster", "clusterStatus", "The whole cluster").answers(
        200,
        "As far as this node can tell.",
        Json("ClusterStatus"),
    )
}

pub(crate) fn locate() -> Said {
    call(Admin, "cluster", "locateUser", "Where a user lives").answers(
        200,
        "The partition and its nodes.",
        Json("Located"),
    )
}

pub(crate) fn drain() -> Said {
    call(Admin, "cluster", "drainNode", "Moves everything away from a node")
        .text("Leadership and sessions move away, then the node reports drained. Repeating is 202.")
        .bare()
        .refuses(Code::NotFound)
        .refuses(Code::Conflict)
        .answers(202, "Begun.", Json("Begun"))
}

pub(crate) fn remove() -> Said {
    call(Admin, "cluster", "removeNode", "Rebuilds a node's replicas elsewhere, and forgets it")
        .text("The last replica of anything is a conflict.")
        .bare()
        .refuses(Code::NotFound)
        .refuses(Code::Conflict)
        .answers(202, "Begun.", Json("Begun"))
}

pub(crate) fn backup() -> Said {
    call(Admin, "cluster", "backup", "All users of the cluster, for a file")
        .text(
            "Sealed items, each with its checksum; the last one is the end mark. Without it the backup is not whole. A node makes one at \
             a time. `rollcall backup` writes it to a file.",
        )
        .answers(200, "It follows.", Other(BYTES))
}

pub(crate) fn restore() -> Said {
    call(Admin, "cluster", "restore", "Users of a backup, put back")
        .text(
            "Items of a backup that are users, whole ones, in their order. Whoever is there already is left alone, unless overwrite is \
             true. Repeating it is safe. `rollcall restore` checks a file and sends it. A conflict while some node runs an older version.",
        )
        .query("overwrite", word(&["true", "false"]))
        .bytes_body()
        .refuses(Code::Conflict)
        .answers(200, "Durable.", Json("RestoreCounts"))
}

pub(crate) fn lives() -> Said {
    page("lives", "Whether the process lives").answers(200, "It does.", Json("Health"))
}

pub(crate) fn ready() -> Said {
    page("ready", "Whether it can serve").refuses(Code::Unavailable).answers(200, "It can.", Json("Health"))
}

pub(crate) fn metrics() -> Said {
    page("metrics", "Counters and gauges for Prometheus; names no user").answers(
        200,
        "Version 0.0.4 of its text form.",
        Other("text/plain"),
    )
}

pub(crate) fn document() -> Said {
    page("document", "This document").answers(200, "OpenAPI 3.1.", Json("Document"))
}

pub(crate) fn docs() -> Said {
    page("docs", "This document, for people").answers(200, "A page.", Other("text/html"))
}

pub(crate) fn docs_file() -> Said {
    file(page("docsFile", "A file of that page"))
}

pub(crate) fn dashboard() -> Said {
    page("dashboard", "The cluster, for people; its data needs a token").answers(200, "A page.", Other("text/html"))
}

pub(crate) fn dashboard_file() -> Said {
    file(page("dashboardFile", "A file of that page"))
}

fn file(said: Said) -> Said {
    said.refuses(Code::NotFound).answers(200, "The file.", Other("text/javascript"))
}
