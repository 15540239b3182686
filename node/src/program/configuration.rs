//! `rollcall config`, and the settings that `rollcall serve` starts with.
//!
//! Owns the way from options to overrides; values, origins and rules are the crate `rollcall-config`'s.

use super::{
    Failure,
    command_line::{ConfigOptions, ServeOptions},
};
use rollcall_config::{LoadError, Loaded, Override};
use std::io::Write as _;

/// Loads the settings that `options`, the environment and a file give together.
pub(crate) fn load(options: &ServeOptions) -> Result<Loaded, LoadError> {
    rollcall_config::load(options.config.as_deref(), std::env::vars_os(), overrides(options))
}

fn overrides(options: &ServeOptions) -> Vec<Override> {
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|p| p.to_string_lossy().into_owned());
    let join = (!options.join.is_empty()).then(|| options.join.join(","));
    let given = [
        ("--data-dir", "node.data_dir", path(&options.data_dir)),
        ("--name", "node.name", options.name.clone()),
        ("--http", "http.listen", options.http.clone()),
        ("--peer", "peer.listen", options.peer.clone()),
        ("--join", "cluster.join", join),
        ("--auth-key", "auth.key_file", path(&options.auth_key)),
        ("--cluster-key", "cluster.key_file", path(&options.cluster_key)),
    ];
    given.into_iter().filter_map(|(option, key, value)| Some(Override { option, key, value: value? })).collect()
}

/// Prints every setting with where it came from, or with `--check` only whether they are valid.
pub(crate) fn print(options: &ConfigOptions) -> Result<(), Failure> {
    let loaded = load(&options.serve).map_err(Failure::usage)?;
    if options.check {
        return writeln!(anstream::stdout(), "the settings are valid").map_err(Failure::output);
    }
    let width = |of: fn(&rollcall_config::Effective) -> usize| loaded.effective.iter().map(of).max().unwrap_or(0);
    let (key_width, value_width) = (width(|e| e.key.len()), width(|e| e.value.chars().count()));
    let mut out = anstream::stdout();
    for setting in &loaded.effective {
        let (key, value, origin) = (setting.key, &setting.value, &setting.origin);
        writeln!(out, "{key:key_width$} = {value:value_width$}  # {origin}").map_err(Failure::output)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_is_a_setting_that_exists() {
        let file = |name: &str| Some(std::path::PathBuf::from(name));
        let options = ServeOptions {
            config: None,
            data_dir: file("d"),
            name: Some("n7".into()),
            http: Some("127.0.0.1:1".into()),
            peer: Some("127.0.0.1:2".into()),
            join: vec!["127.0.0.1:3".into(), "127.0.0.1:4".into()],
            auth_key: file("a"),
            cluster_key: file("c"),
        };
        let loaded = rollcall_config::load(None, [], overrides(&options)).unwrap();
        assert_eq!(loaded.settings.node.name, "n7");
        assert_eq!(loaded.settings.cluster.join, ["127.0.0.1:3", "127.0.0.1:4"]);
        let by_option = loaded.effective.iter().filter(|e| matches!(e.origin, rollcall_config::Origin::Option(_)));
        assert_eq!(by_option.count(), 7);
    }
}
