//! What is asked of the system: commands, signals, who is root, and which process of a name is gone.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Runs a command to its end.
///
/// # Errors
/// What it said when it failed.
pub(super) fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{program} {}: {said}", arguments.join(" ")))
    }
}

/// Whether this process may do what only root may.
///
/// # Errors
/// That it may not.
pub(super) fn as_root() -> Result<(), String> {
    let id = run("id", &["-u"])?;
    if id.trim() == "0" { Ok(()) } else { Err("needs root".into()) }
}

/// Whether the process whose id stands behind `prefix` in `name`, before the next `-`, is gone.
pub(super) fn is_left_over(name: &str, prefix: &str) -> bool {
    let id = name.strip_prefix(prefix).and_then(|rest| rest.split('-').next()).and_then(|id| id.parse::<u32>().ok());
    id.is_some_and(|id| !Path::new("/proc").join(id.to_string()).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_process_left_that_is_gone_is_left_over() {
        assert!(is_left_over("rollcall-4194999-n1", "rollcall-"), "no process has an id that high");
        assert!(!is_left_over(&format!("rollcall-{}-n1", std::process::id()), "rollcall-"));
        assert!(!is_left_over("rollcall-other", "rollcall-"));
        assert!(!is_left_over("somebody", "rollcall-"));
    }
}
