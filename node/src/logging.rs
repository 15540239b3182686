//! What a node logs, and how: for people or for machines, on standard error.

use rollcall_config::{Log, LogFormat};
use tracing_subscriber::{EnvFilter, filter::ParseError};

/// Logs as the settings say, from now on, once a process.
///
/// # Errors
/// The filter does not parse; nothing is logged then.
pub fn begin(log: &Log) -> Result<(), ParseError> {
    let filter: EnvFilter = log.filter.parse()?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call in one process (a test) keeps the first one's choice.
    let _ = match log.format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    Ok(())
}
