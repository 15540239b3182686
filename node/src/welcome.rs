//! What a node says on its terminal once it serves: where it listens and what to try next, spelled as it was started.

use crate::reloading::local_key;
use rollcall_config::Settings;
use std::{io::Write, path::Path};

const DEFAULT_HTTP: &str = "127.0.0.1:7700";
const DEFAULT_DATA_DIR: &str = "rollcall-data";

/// The words of a node that serves.
pub struct Welcome<'a> {
    /// Where it listens for clients.
    pub http: &'a str,
    /// Its settings.
    pub settings: &'a Settings,
}

impl Welcome<'_> {
    /// Prints them on standard output; a closed one is no reason to stop.
    pub fn print(&self) {
        let mut out = anstream::stdout().lock();
        let _ = out.write_all(self.text(&started_as()).as_bytes());
        let _ = out.flush();
    }

    fn text(&self, program: &str) -> String {
        let mut options = String::new();
        let scheme = if self.settings.http.certificate.is_some() { "https" } else { "http" };
        if self.http != DEFAULT_HTTP || scheme != "http" {
            options.push_str(&format!(" --url {scheme}://{}", self.http));
        }
        match local_key(self.settings) {
            Some(key) if is_default(&key) => {}
            Some(key) => options.push_str(&format!(" --auth-key {}", key.display())),
            // Only who holds the other half of those keys can make one.
            None => options.push_str(" --token JWT"),
        }
        let (name, data, http) = (&self.settings.node.name, self.settings.node.data_dir.display(), self.http);
        format!(
            "rollcall {version} · node {name} · data in {data}\n\
             listening on {scheme}://{http}\n\n\
             Try it: two friends, each in a terminal of its own\n  \
             {program} connect{options} alice bob\n  \
             {program} connect{options} bob alice\n\n",
            version = env!("CARGO_PKG_VERSION"),
        )
    }
}

/// Whether `key` is where client commands look if nobody says.
fn is_default(key: &Path) -> bool {
    let default = Path::new(DEFAULT_DATA_DIR).join("auth.key");
    key.strip_prefix("./").unwrap_or(key) == default
}

/// How the program was started, as a person would type it again.
pub(crate) fn started_as() -> String {
    if std::env::var_os("CARGO").is_some() {
        let release = if cfg!(debug_assertions) { "" } else { " --release" };
        return format!("cargo run{release} --");
    }
    std::env::args().next().unwrap_or_else(|| "rollcall".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall_config::{Algorithm, AuthKey};

    #[test]
    fn what_to_try_names_only_what_differs_from_the_defaults() {
        let settings = Settings::default();
        let text = Welcome { http: DEFAULT_HTTP, settings: &settings }.text("rollcall");
        assert!(text.contains("listening on http://127.0.0.1:7700\n"), "{text}");
        assert!(text.contains("  rollcall connect alice bob\n  rollcall connect bob alice\n"), "{text}");

        let mut settings = Settings::default();
        settings.node.data_dir = "/var/lib/rollcall".into();
        let text = Welcome { http: "127.0.0.1:9", settings: &settings }.text("./rollcall");
        let options = "--url http://127.0.0.1:9 --auth-key /var/lib/rollcall/auth.key";
        assert!(text.contains(&format!("./rollcall connect {options} alice bob")), "{text}");
    }

    #[test]
    fn with_keys_of_somebody_elses_what_to_try_asks_for_a_token() {
        let mut settings = Settings::default();
        settings.auth.keys = vec![AuthKey {
            kid: "k".into(),
            algorithm: Algorithm::ES256,
            file: "k.pem".into(),
            scopes: Vec::new(),
            default: false,
        }];
        let text = Welcome { http: DEFAULT_HTTP, settings: &settings }.text("rollcall");
        assert!(text.contains("rollcall connect --token JWT alice bob\n"), "{text}");
    }
}
