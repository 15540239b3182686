//! The command line, as the contract's section 11 lists it.
//!
//! Owns names, defaults and help of commands and options; what they do is in the modules beside it. Relies on nothing
//! but `clap`. Promises that `rollcall` alone takes the options of `rollcall serve`.

use super::recover::RecoverOptions;
use clap::{ArgGroup, Args, Parser, Subcommand};
use std::{path::PathBuf, time::Duration};

/// Who is online, told to their friends the moment it changes.
#[derive(Debug, Parser)]
#[command(name = "rollcall", version, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
#[command(after_help = "Without a command a node is served, with its data in ./rollcall-data.")]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a node; what `rollcall` does without a command
    Serve(ServeOptions),
    /// Be online in this terminal, and see friends come, change and go
    Connect(ConnectOptions),
    /// Follow users without being online
    Watch(WatchOptions),
    /// Show the cluster as a table
    Status(StatusOptions),
    /// Print a token for a user
    Token(TokenOptions),
    /// Show the effective configuration, and where each value came from
    Config(ConfigOptions),
    /// Play a recorded trace against a server, and check what watchers saw
    Replay(ReplayOptions),
    /// Connect invented people, let them change their status, and measure how soon friends see it
    Bench(BenchOptions),
    /// Run a cluster of several nodes on this machine, to try things out
    Dev(DevOptions),
    /// Force a cluster that lost its quorum for good back to work, from what one node has left; asks first
    Recover(RecoverOptions),
    /// Write all users of a running cluster to a file
    Backup(BackupOptions),
    /// Put the users of a backup back into a running cluster
    Restore(RestoreOptions),
}

/// Where a node's settings come from, and the few that have an option.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ServeOptions {
    /// Settings in TOML
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where everything durable is kept [default: rollcall-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// This node's name, unique in its cluster [default: n1]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Address for clients [default: 127.0.0.1:7700]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<String>,
    /// Address for other nodes [default: 127.0.0.1:7701]
    #[arg(long, value_name = "ADDR")]
    pub(crate) peer: Option<String>,
    /// Nodes of the cluster to join, by their peer addresses
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub(crate) join: Vec<String>,
    /// Key that signs tokens [default: auth.key in the data directory, made if missing]
    #[arg(long, value_name = "FILE")]
    pub(crate) auth_key: Option<PathBuf>,
    /// Key that nodes prove membership with [default: cluster.key in the data directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster_key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DevOptions {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) nodes: u16,
    /// Port of the first node for clients; the next one is for other nodes, and each further node starts 10 higher. 0 takes free ones
    #[arg(long, default_value_t = 7_700)]
    pub(crate) port: u16,
    /// A directory for each node, and the keys; kept between runs
    #[arg(long, value_name = "DIR", default_value = "rollcall-dev")]
    pub(crate) data_dir: PathBuf,
}

/// How a client command reaches a server.
#[derive(Debug, Args)]
pub(crate) struct ClientOptions {
    /// The server
    #[arg(long, env = "ROLLCALL_URL", default_value = "http://127.0.0.1:7700")]
    pub(crate) url: String,
    /// The authorities to believe, PEM, instead of the system's, where the server is spoken to by https
    #[arg(long, env = "ROLLCALL_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// A token to use as it is, instead of minting one
    #[arg(long, env = "ROLLCALL_TOKEN", hide_env_values = true, value_name = "JWT")]
    pub(crate) token: Option<String>,
    /// The key to mint tokens with [default: ./rollcall-data/auth.key]
    #[arg(long, value_name = "FILE")]
    pub(crate) auth_key: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "On standard input: online, away, dnd TEXT, invisible, quit. \
    End of input ends it on a terminal; in a pipe it stays online until it is interrupted.")]
pub(crate) struct ConnectOptions {
    /// Who is online here
    pub(crate) user: String,
    /// Who shall be contacts of USER, and USER theirs
    pub(crate) friend: Vec<String>,
    /// The device that friends see
    #[arg(long, default_value = "terminal")]
    pub(crate) device: String,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Args)]
pub(crate) struct WatchOptions {
    /// Whom to follow
    #[arg(required = true)]
    pub(crate) user: Vec<String>,
    /// Print one presence a line, in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Args)]
pub(crate) struct StatusOptions {
    /// Print the server's answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Repeat every two seconds
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The file holds personal data and is readable by its owner alone. It has its name once it is whole."
)]
pub(crate) struct BackupOptions {
    /// The file to write
    pub(crate) file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The whole file is checked before anything is sent. Users that the cluster knows are left alone; \
    doing it again is safe. Any number of nodes and partitions will do."
)]
pub(crate) struct RestoreOptions {
    /// The file to read
    pub(crate) file: PathBuf,
    /// Replace what the cluster has of the users in the file
    #[arg(long)]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Args)]
pub(crate) struct TokenOptions {
    /// Whose token (`sub`)
    pub(crate) user: String,
    /// What it may do: user, service, admin; several with spaces between
    #[arg(long, default_value = "user")]
    pub(crate) scope: String,
    /// How long it is good for: 90s, 15m, 1h, 7d
    #[arg(long, default_value = "1h", value_parser = duration)]
    pub(crate) ttl: Duration,
    /// The key to sign with [default: ./rollcall-data/auth.key]
    #[arg(long, value_name = "FILE")]
    pub(crate) auth_key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigOptions {
    /// Only say whether the settings are valid
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) serve: ServeOptions,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("input").args(["file", "synthetic"]).required(true))]
#[command(group = ArgGroup::new("pace").args(["lockstep", "fast", "speed"]))]
pub(crate) struct ReplayOptions {
    /// Messages as `source<TAB>target<TAB>seconds`, one a line; `#` starts a comment
    pub(crate) file: Option<PathBuf>,
    /// Instead of a file: this many invented people, all online at once at midday
    #[arg(long, value_name = "USERS")]
    pub(crate) synthetic: Option<u32>,
    /// What the invented people are drawn from
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Write the invented people's messages to a file, and play nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "pace"])]
    pub(crate) write: Option<PathBuf>,
    /// Each transition waits until every connected friend has seen the last one (default)
    #[arg(long)]
    pub(crate) lockstep: bool,
    /// As fast as the server takes it
    #[arg(long)]
    pub(crate) fast: bool,
    /// This many times faster than it was recorded
    #[arg(long, value_name = "N", value_parser = speed)]
    pub(crate) speed: Option<f64>,
    /// Nodes may be killed and restarted meanwhile: connections are taken up again, steps without an answer are repeated,
    /// and the histories at the end tell what was done
    #[arg(long, requires = "pace", conflicts_with = "lockstep")]
    pub(crate) through_faults: bool,
    /// How long after a fault everything may take to be equal again: 30s, 2m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, requires = "through_faults")]
    pub(crate) convergence_max: Duration,
    /// What user ids start with; a new one every run unless given
    #[arg(long)]
    pub(crate) prefix: Option<String>,
    /// Nodes to spread connections over, instead of --url
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub(crate) nodes: Vec<String>,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Args)]
#[command(after_help = "The people are deleted at the end; node and load on one machine share its cores.")]
pub(crate) struct BenchOptions {
    /// How many people, each with a socket
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(3..=1_000_000))]
    pub(crate) users: u32,
    /// Friends of each, half of them on each side of a ring; an even number below --users
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=5_000))]
    pub(crate) friends: u32,
    /// Changes of status a second, over all; 0 is as many as are acknowledged
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(crate) changes_per_s: u32,
    /// Changes under way at once at most
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) in_flight: u32,
    /// How long: 10s, 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(crate) duration: Duration,
    /// What user ids start with; a new one every run unless given
    #[arg(long)]
    pub(crate) prefix: Option<String>,
    /// Nodes to spread connections over; requests go to --url
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub(crate) nodes: Vec<String>,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// Reads `90s`, `15m`, `1h`, `7d`, or plain seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        unit => return Err(format!("{unit:?} is not a unit of time: use s, m, h or d")),
    };
    let count: u64 = digits.parse().map_err(|_| format!("{digits:?} is not a whole number"))?;
    match count.checked_mul(factor) {
        Some(0) => Err("must be longer than nothing".into()),
        // A token for a century is a mistake; the bound keeps every later sum within 64 bits.
        Some(seconds) if seconds <= 3_153_600_000 => Ok(Duration::from_secs(seconds)),
        _ => Err("must be at most 100 years".into()),
    }
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(times) if times.is_finite() && times > 0.0 => Ok(times),
        _ => Err("must be a number above zero".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn rollcall_alone_takes_the_options_of_serve() {
        let line = CommandLine::try_parse_from(["rollcall", "--http", "127.0.0.1:1", "--join", "a:1,b:2"]).unwrap();
        assert!(line.command.is_none());
        assert_eq!(line.serve.http.as_deref(), Some("127.0.0.1:1"));
        assert_eq!(line.serve.join, ["a:1", "b:2"]);
    }

    #[test]
    fn a_replay_has_one_input_and_one_pace() {
        for bad in [
            &["rollcall", "replay"][..],
            &["rollcall", "replay", "f", "--synthetic", "5"],
            &["rollcall", "replay", "f", "--fast", "--lockstep"],
            &["rollcall", "replay", "f", "--speed", "0"],
            &["rollcall", "replay", "f", "--write", "g"],
            &["rollcall", "replay", "f", "--through-faults"],
            &["rollcall", "replay", "f", "--through-faults", "--lockstep"],
            &["rollcall", "replay", "f", "--fast", "--convergence-max", "5s"],
        ] {
            assert!(CommandLine::try_parse_from(bad).is_err(), "{bad:?}");
        }
        for good in [&["--fast"][..], &["--fast", "--through-faults"], &["--speed", "9", "--through-faults"]] {
            let line = ["rollcall", "replay", "--synthetic", "5"].iter().chain(good);
            assert!(CommandLine::try_parse_from(line).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7_200)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        for bad in ["", "h", "1y", "-1s", "0s", "99999999999999999999d", "4000000000d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
