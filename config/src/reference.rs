//! The reference page and the example file, generated from the table.
//!
//! `cargo run -p rollcall-config --example write_reference` writes both; a test compares them with what is in the repository.

use crate::{
    settings::Settings,
    table::{Bound, Row, as_toml, table},
};
use std::fmt::Write as _;

const ABOUT: &str = "\
# Settings of a node

Generated from the declarations in `config/src/settings.rs`; change them there, then run
`cargo run -p rollcall-config --example write_reference`.

Each setting may be given in a TOML file (`rollcall serve --config FILE`), by a variable of the environment
(`presence.grace_ms` is `ROLLCALL_PRESENCE__GRACE_MS`) or by an option of the program; the later of these wins. In the
environment a text is written without quotes, a list as `[\"a\", \"b\"]` or `a,b`, and an empty text means none. Relative
paths start at the working directory. An unknown key is an error. `rollcall config` prints what is in effect and where each
value came from; `rollcall config --check` only says whether it is valid.
";

const KEYS: &str = "\
# Keys that sign tokens, each with one algorithm: HS256 (the file is the secret, at least 32 bytes), ES256, EdDSA, RS256
# (the file is a public key in PEM). `scopes` is what its tokens may be granted at most; `default = true` marks the one
# that tokens without `kid` are tried against. Without any key, one is generated in the data directory.
#
# [[auth.keys]]
# kid = \"2026-11\"
# algorithm = \"EdDSA\"
# file = \"/etc/rollcall/2026-11.pem\"
# scopes = [\"user\"]
# default = true
";

/// The default of `row`'s setting as TOML writes it; `none` where there is none.
#[must_use]
pub fn default_of(row: &Row) -> String {
    Settings::default().as_value().find_ref(row.key).map_or_else(|| "none".into(), as_toml)
}

/// `docs/settings.md`.
#[must_use]
pub fn page() -> String {
    let mut page = ABOUT.to_owned();
    let mut section = "";
    for row in table() {
        if row.section != section {
            section = row.section;
            let _ = write!(page, "\n## {section}\n| key | default | may be | what and why |\n|---|---|---|---|\n");
        }
        let (default, rule) = (default_of(row), row.bound.rule());
        let _ = writeln!(page, "| `{}` | `{default}` | {rule} | {} Why: {}. |", row.key, row.what.trim(), row.reason);
    }
    page
}

/// `config/rollcall.example.toml`: every setting at its default, those without one commented out.
#[must_use]
pub fn example() -> String {
    let mut file =
        "# Every setting of a Rollcall node at its default. Generated; the reference is docs/settings.md.\n".to_owned();
    let mut section = "";
    let mut keys = false;
    for row in table() {
        if row.section != section {
            if keys {
                let _ = write!(file, "\n{KEYS}");
                keys = false;
            }
            section = row.section;
            let _ = write!(file, "\n[{section}]\n");
        }
        if row.bound == Bound::Keys {
            keys = true; // an array of tables has to follow the section's plain keys
            continue;
        }
        let name = row.key.trim_start_matches(section).trim_start_matches('.');
        let _ = writeln!(file, "# {}\n# Must be {}. Why: {}.", row.what.trim(), row.bound.rule(), row.reason);
        let _ = match row.bound.example() {
            Some(example) => writeln!(file, "# {name} = {example:?}"),
            None => writeln!(file, "{name} = {}", default_of(row)),
        };
    }
    file
}
