//! Everything that goes over the wire, by its name in the document. Bounds are the constants that the handlers check.

use super::schema::{
    Shape, answer, boolean, free, free_or_null, integer, integer_or_null, line_or_null, list, list_of_at_most, named,
    named_or_null, one_of, pattern, request, string, string_or_null, word, word_or_null,
};
use crate::{members::INTEGER_MAX, problem::Code};
use rollcall_presence::limits;

const STATUSES: [&str; 4] = ["online", "away", "dnd", "offline"];
const TRUE_STATUSES: [&str; 5] = ["online", "away", "dnd", "offline", "invisible"];
const MANUAL: [&str; 4] = ["online", "away", "dnd", "invisible"];
const ACTIVITIES: [&str; 2] = ["active", "idle"];
const AUDIENCES: [&str; 2] = ["contacts", "nobody"];
const KINDS: [&str; 2] = ["http", "websocket"];
const REASONS: [&str; 10] = [
    "connected",
    "disconnected",
    "expired",
    "node_lost",
    "idle",
    "active",
    "status_set",
    "status_cleared",
    "status_expired",
    "device_changed",
];

/// A user id, as everywhere but in a path.
pub(super) const USER: &str = "^(?!(?:\\.|\\.\\.|me)$)[A-Za-z0-9._~:@+-]{1,128}$";

pub(super) fn count(text: &str) -> Shape {
    integer(0, INTEGER_MAX, text)
}

pub(super) fn count_or_null(text: &str) -> Shape {
    integer_or_null(0, INTEGER_MAX, text)
}

fn at(text: &str) -> Shape {
    count(&format!("{text}, Unix milliseconds."))
}

fn at_or_null(text: &str) -> Shape {
    count_or_null(&format!("{text}, Unix milliseconds."))
}

/// `components/schemas`.
pub(super) fn all() -> Vec<(&'static str, Shape)> {
    let mut all = identifiers();
    all.extend(presences());
    all.extend(sessions());
    all.extend(status());
    all.extend(lists());
    all.extend(super::cluster::all());
    all.extend(super::frames::all());
    all
}

fn identifiers() -> Vec<(&'static str, Shape)> {
    let codes = Code::ALL.map(Code::name);
    vec![
        (
            "UserId",
            pattern(USER, 1, limits::USER_ID_MAX_BYTES, "1 to 128 of A-Z a-z 0-9 . _ ~ : @ + -, but not ., .. or me."),
        ),
        ("SessionId", pattern("^[A-Za-z0-9._~-]+$", 1, limits::SESSION_ID_MAX_BYTES, "Opaque, unguessable, URL-safe.")),
        ("Device", pattern("^[a-z0-9_-]+$", 1, limits::DEVICE_MAX_BYTES, "Chosen by the client: web, mobile, bot.")),
        ("NodeName", string("A node's name.")),
        (
            "Problem",
            answer(
                "Why a request was refused (RFC 9457).",
                [
                    ("type", string("urn:rollcall:problem: and the code.")),
                    ("title", string("Short, the same for every occurrence of the code.")),
                    ("status", integer(400, 599, "The HTTP status.")),
                    ("detail", string("For people; names the field of an invalid request.")),
                    ("code", word(&codes)),
                    ("request_id", string("As in X-Request-Id.")),
                ],
            ),
        ),
        ("Document", free("OpenAPI 3.1.")),
        ("Health", answer("All is well.", [("status", word(&["ok"]))])),
        ("Begun", request("Nothing to say yet.", &[], [])),
        ("Total", answer("How long the list is now.", [("total", count("Entries of the list."))])),
    ]
}

fn presences() -> Vec<(&'static str, Shape)> {
    let entry = answer(
        "An acknowledged change.",
        [
            ("version", count("The public version after it.")),
            ("at", at("When")),
            ("status", word(&TRUE_STATUSES)),
            ("text", string_or_null("The text then.")),
            ("reason", word(&REASONS)),
        ],
    );
    vec![
        (
            "Presence",
            answer(
                "What a viewer may see of a user.",
                [
                    ("user", named("UserId")),
                    ("status", word(&STATUSES)),
                    ("text", string_or_null("From the setting, while not offline.")),
                    ("meta", free("From the setting, while not offline.")),
                    ("since", at_or_null("When this status began")),
                    ("last_seen", at_or_null("While offline, the last evidence of life")),
                    ("devices", list(named("Device"))),
                    ("version", count("Rises with every change; 0 is the never-seen user, and always replaces.")),
                    ("stale", boolean("Whether this node could not confirm it with the user's home.")),
                ],
            ),
        ),
        ("Presences", answer("In the order asked, duplicates kept.", [("presences", list(named("Presence")))])),
        (
            "PresenceQuery",
            request(
                "Whose presences.",
                &["users"],
                [("users", list_of_at_most(limits::QUERY_MAX_IDS, named("UserId")))],
            ),
        ),
        (
            "History",
            answer("Newest first.", [("entries", list(entry)), ("next", string_or_null("The next page's cursor."))]),
        ),
    ]
}

fn sessions() -> Vec<(&'static str, Shape)> {
    let live = answer(
        "A live session.",
        [
            ("session", named("SessionId")),
            ("device", named("Device")),
            ("activity", word(&ACTIVITIES)),
            ("kind", word(&KINDS)),
            ("opened", at("When it was opened")),
            ("last_heartbeat", at("The last sign of life")),
        ],
    );
    vec![
        (
            "OpenSession",
            request(
                "The session wanted; all may be left out.",
                &[],
                [("device", named_or_null("Device")), ("activity", word_or_null(&ACTIVITIES))],
            ),
        ),
        (
            "OpenedSession",
            answer(
                "A session that lives until its TTL passes without a heartbeat.",
                [
                    ("session", named("SessionId")),
                    ("heartbeat_ms", count("How often to send a heartbeat.")),
                    ("ttl_ms", count("How long it lives without one.")),
                ],
            ),
        ),
        (
            "Heartbeat",
            request("A sign of life, and the activity if it changed.", &[], [("activity", word_or_null(&ACTIVITIES))]),
        ),
        ("Sessions", answer("In the order of their opening.", [("sessions", list(live))])),
    ]
}

fn status() -> Vec<(&'static str, Shape)> {
    vec![
        (
            "StatusWish",
            request(
                "The whole setting: what is left out takes its default.",
                &["status"],
                [
                    ("status", word(&MANUAL)),
                    ("text", line_or_null(limits::TEXT_MAX_BYTES)),
                    ("meta", free_or_null(limits::STATUS_META_MAX_BYTES)),
                    ("expires_in_s", integer_or_null(1, limits::EXPIRES_IN_MAX_S, "Absent: never.")),
                ],
            ),
        ),
        (
            "Status",
            answer(
                "The setting, and what others see of it.",
                [
                    (
                        "setting",
                        answer(
                            "The setting.",
                            [
                                ("status", word(&MANUAL)),
                                ("text", string_or_null("Shown while not offline.")),
                                ("meta", free("Shown while not offline.")),
                                ("expires_at", at_or_null("When it is cleared")),
                            ],
                        ),
                    ),
                    ("presence", named("Presence")),
                ],
            ),
        ),
    ]
}

fn lists() -> Vec<(&'static str, Shape)> {
    let listed = || answer("A user of the list.", [("user", named("UserId")), ("added", at("When it was added"))]);
    let next = || string_or_null("The next page's cursor; null at the end.");
    let ids = || list_of_at_most_or_null(limits::LIST_CHANGE_MAX_IDS);
    vec![
        (
            "ListChanges",
            request(
                "All or nothing; together at most 1,000 ids, none in both, none the user's own.",
                &[],
                [("add", ids()), ("remove", ids())],
            ),
        ),
        ("Contacts", answer("In byte order of the id.", [("contacts", list(listed())), ("next", next())])),
        ("Blocks", answer("In byte order of the id.", [("blocks", list(listed())), ("next", next())])),
        (
            "PrivacyWish",
            request(
                "The whole setting.",
                &[],
                [("last_seen", word_or_null(&AUDIENCES)), ("devices", word_or_null(&AUDIENCES))],
            ),
        ),
        (
            "Privacy",
            answer(
                "contacts: whoever may see the presence.",
                [("last_seen", word(&AUDIENCES)), ("devices", word(&AUDIENCES))],
            ),
        ),
        (
            "ProfileWish",
            request(
                "The whole profile.",
                &[],
                [
                    ("name", line_or_null(limits::PROFILE_NAME_MAX_BYTES)),
                    ("meta", free_or_null(limits::PROFILE_META_MAX_BYTES)),
                ],
            ),
        ),
        (
            "Profile",
            answer("Durable metadata of a user.", [("name", string_or_null("The name.")), ("meta", free("Free."))]),
        ),
    ]
}

fn list_of_at_most_or_null(max: usize) -> Shape {
    one_of("User ids, or null.", [list_of_at_most(max, named("UserId")), super::schema::null()])
}
