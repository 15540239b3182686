//! The program under test: where it is, and how its commands are run with pipes.
//!
//! Cargo gives `CARGO_BIN_EXE_rollcall` to the tests of the program's own package only. These tests belong to another one,
//! so the program is looked for beside the test executable, and built once when it is missing or older than its sources.

use crate::output::Output;
use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::SystemTime,
};

/// Names another program to test, such as one as it was packaged; it is then taken as it is. Not of the form of a setting.
const OVERRIDE: &str = "PROGRAM_UNDER_TEST";
/// The folders that the program is built from.
const SOURCES: [&str; 5] = ["presence", "config", "cluster", "api", "node"];

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Takes `path` for the program from now on: for measuring programs, which are told which binary to measure.
///
/// # Panics
/// When the program was already looked for, or cannot be found there.
pub fn use_program(path: &Path) {
    let path = fs::canonicalize(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(PROGRAM.set(path).is_ok(), "the program is chosen once, before anything is started");
}

/// Where the program `rollcall` is.
pub fn program() -> &'static Path {
    PROGRAM.get_or_init(|| {
        if let Some(given) = env::var_os(OVERRIDE) {
            return given.into();
        }
        let test = env::current_exe().expect("the test's own path");
        // <target directory>/<profile>/deps/<test>: this holds for every target directory and profile.
        let profile = test.ancestors().nth(2).expect("the profile's directory");
        let program = profile.join("rollcall");
        let built = fs::metadata(&program).and_then(|m| m.modified()).ok();
        if built.is_none_or(|built| built < newest_source()) {
            build(profile);
        }
        program
    })
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn newest_source() -> SystemTime {
    let root = workspace();
    let mut folders: Vec<PathBuf> = SOURCES.iter().map(|s| root.join(s)).collect();
    let mut newest = SystemTime::UNIX_EPOCH;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() && entry.file_name() != "tests" {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|e| e == "rs" || e == "toml") {
                newest = newest.max(metadata.modified().unwrap_or(newest));
            }
        }
    }
    newest
}

fn build(profile: &Path) {
    let name = profile.file_name().and_then(|n| n.to_str()).expect("a profile");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(cargo)
        .current_dir(workspace())
        .args(["build", "--quiet", "-p", "rollcall-node", "--bin", "rollcall"])
        .args(["--profile", if name == "debug" { "dev" } else { name }])
        .arg("--target-dir")
        .arg(profile.parent().expect("the target directory"))
        .output()
        .expect("cargo runs");
    assert!(done.status.success(), "the program does not build:\n{}", String::from_utf8_lossy(&done.stderr));
}

/// A running command of the program, with pipes instead of a terminal. Killed when dropped.
#[derive(Debug)]
pub struct Piped {
    child: Child,
    input: Option<ChildStdin>,
    /// What it prints.
    pub output: Output,
}

impl Piped {
    /// Starts `rollcall` with `args` in `directory`, and with nothing of Rollcall in its environment but `env`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(directory: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = command(directory, &[]);
        command.args(args).envs(env.iter().copied());
        Self::spawn(command)
    }

    /// Starts `command` with pipes.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let out = child.stdout.take().expect("a pipe");
        let err = child.stderr.take().expect("a pipe");
        Self { input: child.stdin.take(), output: Output::follow(out, err), child }
    }

    /// Types a line.
    ///
    /// # Panics
    /// When the command no longer listens.
    pub fn type_line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("an open input");
        writeln!(input, "{line}").and_then(|()| input.flush()).expect("the command listens");
    }

    /// Asks it to stop (SIGTERM).
    ///
    /// # Panics
    /// When there is no shell to send the signal.
    pub fn terminate(&self) {
        terminate(self.child.id());
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it does not within the deadline.
    pub fn end(&mut self) -> ExitStatus {
        // A child closes its streams by ending; what is left then is a matter of the kernel.
        assert!(self.output.ended(), "the command did not end; printed was:\n{}", self.output);
        self.child.wait().expect("a child's status")
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The program in `directory`, with none of its settings in the environment, and not as if `cargo run` had started it, which
/// changes the commands that it suggests.
/// `within` is what starts it, if it is not started by itself: it must become the program, so that both have one process id.
pub(crate) fn command(directory: &Path, within: &[String]) -> Command {
    let mut command = match within {
        [] => Command::new(program()),
        [first, options @ ..] => {
            let mut command = Command::new(first);
            command.args(options).arg(program());
            command
        }
    };
    command.current_dir(directory).env_remove("CARGO");
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("ROLLCALL_") {
            command.env_remove(name);
        }
    }
    command
}

/// Sends SIGTERM.
pub(crate) fn terminate(process: u32) {
    signal("TERM", process);
}

/// Sends a signal; the shell knows how without unsafe code.
pub(crate) fn signal(name: &str, process: u32) {
    let sent = Command::new("sh").args(["-c", "kill -s \"$1\" \"$2\"", "signal", name, &process.to_string()]).status();
    assert!(sent.is_ok_and(|s| s.success()), "SIG{name} to {process}");
}
