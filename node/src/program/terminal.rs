//! What people see: a presence as one line, in colour where there is a terminal, and progress where it takes long.
//!
//! Owns words, colours and bars. Relies on `anstream` to take the colours out in a pipe, and on `indicatif` to draw bars
//! on standard error only, and only on a terminal.

use super::frame::{Presence, Status};
use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};

fn style(status: Status) -> Style {
    match status {
        Status::Online => AnsiColor::Green.on_default().bold(),
        Status::Away => AnsiColor::Yellow.on_default(),
        Status::Dnd => AnsiColor::Red.on_default(),
        Status::Offline | Status::Other => Style::new().dimmed(),
    }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Online => "online",
        Status::Away => "away",
        Status::Dnd => "dnd",
        Status::Offline => "offline",
        Status::Other => "something newer than this program",
    }
}

/// `bob is away: lunch (mobile, web)`, with colours.
pub(crate) fn line(presence: &Presence<'_>, now_ms: u64) -> String {
    let (style, word) = (style(presence.status), word(presence.status));
    let mut line = format!("{} is {style}{word}{style:#}", presence.user);
    if let Some(text) = &presence.text {
        line.push_str(": ");
        line.extend(text.chars().filter(|c| !c.is_control())); // a text must not steer the terminal
    }
    if !presence.devices.is_empty() {
        line.push_str(&format!(" ({})", presence.devices.join(", ")));
    }
    if let Some(seen) = presence.last_seen {
        line.push_str(&format!(", last seen {}", ago(now_ms.saturating_sub(seen))));
    }
    if presence.stale {
        line.push_str(" (as last known: the server cannot confirm it now)");
    }
    line
}

/// A time span in the largest unit that fits.
fn ago(ms: u64) -> String {
    let s = ms / 1_000;
    let (count, unit) = match s {
        0..10 => return "just now".into(),
        10..120 => (s, "seconds"),
        120..7_200 => (s / 60, "minutes"),
        7_200..172_800 => (s / 3_600, "hours"),
        _ => (s / 86_400, "days"),
    };
    format!("{count} {unit} ago")
}

/// A bar of `length` steps named `what`; nothing is drawn in a pipe.
pub(crate) fn bar(what: &'static str, length: usize) -> ProgressBar {
    let bar = ProgressBar::new(length as u64).with_message(what);
    // The template is fixed and valid; were it not, the default one would do.
    if let Ok(style) = ProgressStyle::with_template("{msg:20} {wide_bar} {human_pos}/{human_len}  {eta} left") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(json: &str) -> String {
        let text = line(&serde_json::from_str(json).unwrap(), 10_000_000);
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn a_presence_reads_as_a_sentence() {
        let away =
            r#"{"user":"bob","status":"away","text":"lunch","devices":["mobile","web"],"version":3,"stale":false}"#;
        assert_eq!(plain(away), "bob is away: lunch (mobile, web)");
        let gone = r#"{"user":"bob","status":"offline","last_seen":9700000,"devices":[],"version":3,"stale":true}"#;
        let wanted = "bob is offline, last seen 5 minutes ago (as last known: the server cannot confirm it now)";
        assert_eq!(plain(gone), wanted);
    }

    #[test]
    fn a_text_cannot_steer_the_terminal() {
        let hostile = r#"{"user":"bob","status":"online","text":"\u001b[2Jhi","devices":[],"version":3,"stale":false}"#;
        assert!(!line(&serde_json::from_str(hostile).unwrap(), 0).contains("\u{1b}[2J"));
    }
}
