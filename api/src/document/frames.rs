//! The frames of `GET /v1/connect`, which OpenAPI has no place for but among the schemas.

use super::schema::{
    Shape, answer, boolean, exactly, free_or_null, integer, integer_or_null, line_or_null, list, list_of_at_most, map,
    named, named_or_null, one_of, request, string, string_or_null, word,
};
use crate::{members::INTEGER_MAX, problem::Code, service::GoodbyeReason};
use rollcall_presence::limits;

/// Both directions.
pub(super) fn all() -> Vec<(&'static str, Shape)> {
    vec![("ServerFrame", server()), ("ClientFrame", client()), ("Goodbye", goodbye())]
}

fn number() -> Shape {
    integer(0, INTEGER_MAX, "Milliseconds.")
}

fn id() -> Shape {
    integer_or_null(0, INTEGER_MAX, "Of the client's frame that this answers.")
}

fn goodbye() -> Shape {
    let reasons = [
        GoodbyeReason::Drain,
        GoodbyeReason::TokenExpired,
        GoodbyeReason::Replaced,
        GoodbyeReason::Revoked,
        GoodbyeReason::Slow,
        GoodbyeReason::Shutdown,
        GoodbyeReason::Isolated,
    ];
    answer(
        "Sent before this node closes with 4000 and up, in the order of the reasons.",
        [
            ("type", exactly("goodbye")),
            ("reason", word(&reasons.map(GoodbyeReason::name))),
            ("reconnect", boolean("Whether to come back.")),
            ("after_ms", number()),
        ],
    )
}

fn server() -> Shape {
    let codes = Code::ALL.map(Code::name);
    let presences = || list_of_at_most(limits::WATCH_FRAME_MAX_IDS, named("Presence"));
    one_of(
        "A text frame from the server.",
        [
            answer(
                "First.",
                [
                    ("type", exactly("welcome")),
                    ("user", named("UserId")),
                    ("session", named_or_null("SessionId")),
                    ("resumed", boolean("Whether an earlier session was taken over.")),
                    ("node", named("NodeName")),
                    ("ping_ms", number()),
                    ("resume", string_or_null("The token to resume with.")),
                ],
            ),
            answer(
                "After welcome with watch=contacts, and the answer to watch.",
                [
                    ("type", exactly("snapshot")),
                    ("id", id()),
                    ("presences", presences()),
                    ("more", boolean("Whether another frame of it follows.")),
                ],
            ),
            answer(
                "Changes of watched users, one entry a user.",
                [("type", exactly("presence")), ("presences", presences())],
            ),
            answer("Contacts that were removed.", [("type", exactly("unwatched")), ("users", list(named("UserId")))]),
            answer("Done.", [("type", word(&["ok", "pong"])), ("id", id())]),
            answer(
                "Refused; nothing changed.",
                [
                    ("type", exactly("error")),
                    ("id", id()),
                    ("code", word(&codes)),
                    ("detail", string("For people.")),
                    ("after_ms", integer_or_null(0, INTEGER_MAX, "When to try again.")),
                ],
            ),
            named("Goodbye"),
        ],
    )
}

fn client() -> Shape {
    let id = || integer_or_null(0, INTEGER_MAX, "Asks for exactly one answer with it; may be negative too.");
    let ids = || list_of_at_most(limits::WATCH_FRAME_MAX_IDS, named("UserId"));
    let known = map(integer(0, INTEGER_MAX, "The version known."), "User ids with the version known of each.");
    let needs = ["type"];
    one_of(
        "A text frame from the client.",
        [
            request(
                "Watches users.",
                &["type", "users"],
                [("type", exactly("watch")), ("id", id()), ("users", one_of("Whom.", [ids(), known]))],
            ),
            request(
                "Stops watching.",
                &["type", "users"],
                [("type", exactly("unwatch")), ("id", id()), ("users", ids())],
            ),
            request(
                "Of this session.",
                &["type", "state"],
                [("type", exactly("activity")), ("id", id()), ("state", word(&["active", "idle"]))],
            ),
            request(
                "As PUT status.",
                &["type", "status"],
                [
                    ("type", exactly("status")),
                    ("id", id()),
                    ("status", word(&["online", "away", "dnd", "invisible"])),
                    ("text", line_or_null(limits::TEXT_MAX_BYTES)),
                    ("meta", free_or_null(limits::STATUS_META_MAX_BYTES)),
                    ("expires_in_s", integer_or_null(1, limits::EXPIRES_IN_MAX_S, "Absent: never.")),
                ],
            ),
            request(
                "As DELETE status, or a sign of life.",
                &needs,
                [("type", word(&["clear_status", "ping"])), ("id", id())],
            ),
            request(
                "A fresh token of the same user.",
                &["type", "token"],
                [("type", exactly("token")), ("id", id()), ("token", string("A JWT."))],
            ),
        ],
    )
}
