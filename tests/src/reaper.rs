//! Ends a node and removes its directory when the test process is gone, however it went.
//!
//! Servers that several tests share live in statics, which are never dropped, and a test process can be killed. A small
//! shell holds the other end of a pipe: when that closes, it ends the last node it was told of. No unsafe, no exit hooks.

use std::{
    io::Write,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

/// Reads process ids, one a line; at the end of input it kills the last one (0: none) and removes the directory.
const SCRIPT: &str = r#"
last=0
while read -r pid; do last=$pid; done
if [ "$last" != 0 ]; then kill -9 "$last" 2>/dev/null; fi
rm -rf -- "$1"
"#;

/// The last will of a node.
#[derive(Debug)]
pub(crate) struct Reaper {
    shell: Child,
    will: Option<ChildStdin>,
}

impl Reaper {
    /// Watches over `directory`, and over no process yet.
    pub(crate) fn new(directory: &Path) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "reaper"])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell to clean up behind the test");
        let will = shell.stdin.take();
        Self { shell, will }
    }

    /// Names the process to end; `None` when it has ended already, so that a reused id is never hit.
    pub(crate) fn watch(&mut self, process: Option<u32>) {
        if let Some(will) = &mut self.will {
            writeln!(will, "{}", process.unwrap_or(0)).expect("the reaper listens");
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.will = None;
        self.shell.wait().ok();
    }
}
