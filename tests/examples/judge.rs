//! Judges a kept history again: `cargo run -p rollcall-tests --example judge -- FILE`.
//!
//! Ends with 0 if all holds, 1 if a promise was broken, 3 if the run proves nothing, 2 if the file cannot be read.
#![allow(clippy::print_stdout, reason = "a program that prints a table")]

use rollcall_tests::{history::History, invariants::judge};
use std::{env, path::Path, process::ExitCode};

fn main() -> ExitCode {
    let Some(file) = env::args().nth(1) else {
        eprintln!("judge FILE");
        return ExitCode::from(2);
    };
    match History::kept(Path::new(&file)) {
        Ok(history) => {
            let judgement = judge(&history);
            println!("{} records\n{judgement}", history.len());
            judgement.exit_code()
        }
        Err(error) => {
            eprintln!("{file}: {error}");
            ExitCode::from(2)
        }
    }
}
