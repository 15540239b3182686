//! A node as its operator runs it: a child process with a directory, ports of its own, and signals.
//!
//! Settings go in by the environment and by options, addresses come out of the first lines that it prints. Nothing
//! outlives the test: what is not stopped by `Drop` is stopped by the [`Reaper`].

use crate::{
    client::Client,
    output::Output,
    place::Place,
    program::{command, signal, terminate},
    reaper::Reaper,
    token::Claims,
    wait::{DEADLINE, poll},
};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

/// Partitions of a node under test, if it does not say otherwise: enough to spread users, few enough to start at once.
const PARTITIONS: &str = "8";

/// A free port, chosen when the node starts.
const ANY_PORT: &str = "127.0.0.1:0";

/// How a node is to be started.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    settings: Vec<(String, String)>,
    args: Vec<String>,
    /// `host:port` for clients and for other nodes, if they are to be the same after a restart.
    fixed: Option<[String; 2]>,
    /// The key that signs tokens, if it is not the generated one.
    auth_key: Option<PathBuf>,
    /// What the program is started by, if not by itself, such as `nsenter` with its options.
    within: Vec<String>,
    /// Its data directory, if it is not in one of its own.
    data: Option<PathBuf>,
}

impl Launch {
    /// Sets a setting by its dotted name, through the environment.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        let name = format!("ROLLCALL_{}", name.to_uppercase().replace('.', "__"));
        self.settings.push((name, value.to_string()));
        self
    }

    /// Adds an option of `rollcall serve`.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Listens for clients on `http` and for other nodes on `peer`, now and after every restart.
    #[must_use]
    pub(crate) fn at(mut self, http: &str, peer: &str) -> Self {
        self.fixed = Some([http.into(), peer.into()]);
        self
    }

    /// Names the key that signs tokens.
    #[must_use]
    pub(crate) fn auth_key(mut self, file: &Path) -> Self {
        self.auth_key = Some(file.into());
        self.set("auth.key_file", file.display())
    }

    /// Is started at a place: there are its addresses, and whatever surrounds it.
    pub(crate) fn on(mut self, place: Place) -> Self {
        self.settings.extend(place.env);
        (self.within, self.data) = (place.within, place.data);
        self.at(&place.http, &place.peer)
    }

    /// Everything for a node in a directory of its own, and no process yet.
    pub(crate) fn prepare(self) -> Server {
        let directory = tempfile::Builder::new().prefix("rollcall-test-").tempdir().expect("a directory").keep();
        let data = self.data.clone().unwrap_or_else(|| directory.join("data"));
        Server::prepared(self, directory, data)
    }

    /// Starts the node in a directory of its own.
    ///
    /// # Panics
    /// When it does not get ready.
    #[must_use]
    pub fn start(self) -> Server {
        let directory = tempfile::Builder::new().prefix("rollcall-test-").tempdir().expect("a directory").keep();
        let data = directory.join("data");
        match self.start_in(directory, data) {
            Ok(server) => server,
            Err(refusal) => panic!("the node did not start ({:?}):\n{}", refusal.status, refusal.printed),
        }
    }

    /// Starts the node on a copy of `data`, which it may refuse.
    ///
    /// # Errors
    /// [`Refusal`] when it ended before it was ready.
    ///
    /// # Panics
    /// When it neither gets ready nor ends.
    pub fn start_on_copy(self, data: &Path, damage: impl FnOnce(&Path)) -> Result<Server, Refusal> {
        let directory = tempfile::Builder::new().prefix("rollcall-test-").tempdir().expect("a directory").keep();
        let copy = directory.join("data");
        copy_directory(data, &copy);
        damage(&copy);
        self.start_in(directory, copy)
    }

    /// Starts the node on `data` itself, which may belong to another one.
    ///
    /// # Errors
    /// [`Refusal`] when it ended before it was ready.
    pub fn start_on(self, data: &Path) -> Result<Server, Refusal> {
        let directory = tempfile::Builder::new().prefix("rollcall-test-").tempdir().expect("a directory").keep();
        self.start_in(directory, data.to_owned())
    }

    fn start_in(self, directory: PathBuf, data: PathBuf) -> Result<Server, Refusal> {
        let mut server = Server::prepared(self, directory, data);
        server.run(ANY_PORT)?;
        Ok(server)
    }
}

/// A node that ended instead of getting ready.
#[derive(Debug)]
pub struct Refusal {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it printed.
    pub printed: String,
}

/// A running node.
#[derive(Debug)]
pub struct Server {
    launch: Launch,
    /// Its data directory.
    pub data: PathBuf,
    /// A directory around it, for whatever the test needs; removed at the end.
    pub directory: PathBuf,
    reaper: Reaper,
    running: Option<(Child, Output)>,
    /// `host:port` of its HTTP.
    pub address: String,
    secret: String,
}

impl Server {
    /// A node with settings of a test's choice.
    #[must_use]
    pub fn launch() -> Launch {
        Launch::default().set("cluster.partitions", PARTITIONS)
    }

    fn prepared(launch: Launch, directory: PathBuf, data: PathBuf) -> Self {
        let address = launch.fixed.as_ref().map_or_else(String::new, |[http, _]| http.clone());
        let reaper = Reaper::new(&directory);
        Self { launch, data, directory, reaper, running: None, address, secret: String::new() }
    }

    fn run(&mut self, http: &str) -> Result<(), Refusal> {
        self.begin(http);
        self.get_ready()
    }

    /// Starts the process, and waits for nothing.
    fn begin(&mut self, http: &str) {
        let (http, peer) = match &self.launch.fixed {
            Some([http, peer]) => (http.as_str(), peer.as_str()),
            None => (http, ANY_PORT),
        };
        let mut child = command(&self.directory, &self.launch.within)
            .args(["serve", "--http", http, "--peer", peer, "--data-dir"])
            .arg(&self.data)
            .args(&self.launch.args)
            .envs(self.launch.settings.iter().map(|(n, v)| (n, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        self.reaper.watch(Some(child.id()));
        let output = Output::follow(child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
        self.running = Some((child, output));
    }

    /// Gives it another list of nodes to join, from the next start on.
    pub(crate) fn rejoin(&mut self, join: &str) {
        self.launch = self.launch.clone().set("cluster.join", join);
    }

    /// Changes how it is started the next time.
    pub(crate) fn relaunch(&mut self, change: impl FnOnce(Launch) -> Launch) {
        self.launch = change(std::mem::take(&mut self.launch));
    }

    /// Starts the process of a prepared or ended node, and waits for nothing.
    pub(crate) fn awake(&mut self) {
        self.begin(ANY_PORT);
    }

    /// Waits until it can serve.
    pub(crate) fn get_ready(&mut self) -> Result<(), Refusal> {
        let output = self.output().clone();
        let address = match &self.launch.fixed {
            Some([http, _]) => Some(http.clone()),
            None => output.find(|lines| lines.iter().find_map(|l| address(l))),
        };
        if !address.as_ref().is_some_and(|a| ready(a, &output)) {
            let (mut child, _) = self.running.take().expect("a started node");
            child.kill().ok();
            let status = child.wait().expect("a child's status");
            self.reaper.watch(None);
            let _ = output.ended();
            return Err(Refusal { status, printed: output.to_string() });
        }
        self.address = address.unwrap_or_default();
        let key = self.launch.auth_key.clone().unwrap_or_else(|| self.data.join("auth.key"));
        let secret = fs::read_to_string(key).unwrap_or_default();
        self.secret = secret.strip_suffix('\n').unwrap_or(&secret).to_owned();
        Ok(())
    }

    /// Whether a process was started and not ended by the test.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The id of its process.
    ///
    /// # Panics
    /// When it is not running.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.running.as_ref().expect("a running node").0.id()
    }

    /// Asks it to read its keys and certificates again (SIGHUP).
    pub fn hang_up(&self) {
        signal("HUP", self.process());
    }

    /// Kills it and removes its data directory: a disk that is lost.
    ///
    /// # Panics
    /// When the directory cannot be removed.
    pub fn wipe(&mut self) {
        self.kill9();
        fs::remove_dir_all(&self.data).expect("a data directory");
    }

    /// Ends it without any warning.
    pub fn kill9(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            child.kill().ok();
            child.wait().ok();
            self.reaper.watch(None);
        }
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Panics
    /// When it does not end by itself within the deadline.
    pub fn terminate(&mut self) -> ExitStatus {
        let (mut child, output) = self.running.take().expect("a running node");
        terminate(child.id());
        assert!(output.ended(), "SIGTERM did not end the node:\n{output}");
        let status = child.wait().expect("a child's status");
        self.reaper.watch(None);
        status
    }

    /// Starts it again on the same directory; its address changes. A running one is killed first.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn restart(&mut self) {
        self.restart_at(ANY_PORT);
    }

    /// As [`Server::restart`], at the address that it had, so that clients find it again.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn restart_in_place(&mut self) {
        self.restart_at(&self.address.clone());
    }

    fn restart_at(&mut self, http: &str) {
        self.kill9();
        if let Err(refusal) = self.run(http) {
            panic!("the node did not start again ({:?}):\n{}", refusal.status, refusal.printed);
        }
    }

    /// What it printed.
    ///
    /// # Panics
    /// When it is not running.
    #[must_use]
    pub fn output(&self) -> &Output {
        &self.running.as_ref().expect("a running node").1
    }

    /// The secret of its generated key.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Users that no other test of this process has: each name with a number behind it, of one length for all.
    #[must_use]
    pub fn people<const N: usize>(&self, names: [&str; N]) -> [Client; N] {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        names.map(|name| self.client(&format!("{name}-{:04}", NEXT.fetch_add(1, Ordering::Relaxed)), "user"))
    }

    /// A client whose token has this `sub` and `scope`.
    #[must_use]
    pub fn client(&self, id: &str, scope: &str) -> Client {
        Client::new(&self.address, id, Claims::of(id).with("scope", scope).sign(&self.secret))
    }

    /// A client that may act for every user.
    #[must_use]
    pub fn service(&self) -> Client {
        self.client("the-service", "service")
    }

    /// A client that may see the cluster.
    #[must_use]
    pub fn admin(&self) -> Client {
        self.client("the-admin", "admin")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some((_, output)) = &self.running
        {
            eprintln!("--- the node printed ---\n{output}");
        }
        self.kill9();
    }
}

/// The address in a line such as `listening on http://127.0.0.1:40113`.
fn address(line: &str) -> Option<String> {
    let rest = line.split_once("http://")?.1;
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || ".:-[]".contains(c))).unwrap_or(rest.len());
    let address = rest[..end].trim_end_matches('.');
    address.contains(':').then(|| address.to_owned())
}

/// Waits until `/readyz` says 200; false when the node ends before, or at the deadline.
fn ready(address: &str, output: &Output) -> bool {
    poll(|| match ask_ready(address) {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") => Some(true),
        _ => output.is_closed().then_some(false),
    })
    .unwrap_or(false)
}

fn ask_ready(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory to copy").flatten() {
        let target = to.join(entry.file_name());
        if entry.metadata().expect("a file").is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copied file");
        }
    }
}
