//! Whether the time of an answer tells what the answer does not: users unknown, blocking, blocked and not a contact.
//!
//! `cargo run --release -p rollcall-tests --example timing -- target/release/rollcall [SAMPLES]`. On one node, and through a
//! node that is not the users' home, one connection asks for users of each kind in turn, and compares the median times of each
//! kind with those of users that nobody knows. The interval of a difference is made of the two medians' order statistics (95 %
//! each, so that it is rather too wide). Exits 1 when an interval reaches 20 µs, or when an answer differs by a byte.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a measuring program prints, and fails by panicking")]

use rollcall_tests::{Client, Cluster, FORMING_MAX, Server, use_program};
use serde_json::json;
use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::ExitCode,
    time::Instant,
};

/// Samples of each kind and question. The issue's figure.
const SAMPLES: usize = 10_000;
/// Users of each kind: none is asked for so often that only its page is in a cache.
const USERS_PER_KIND: usize = 50;
/// Changes in the history of those that exist.
const CHANGES: usize = 20;
/// What a difference of medians must stay below, µs. Promised are 50; a planted early return saves just that on loopback, and has
/// to be caught.
const LIMIT_US: f64 = 20.0;
const KINDS: [&str; 4] = ["unknown", "blocks the viewer", "blocked by the viewer", "not a contact"];

/// Who asks: one connection, kept.
struct Asker {
    stream: BufReader<TcpStream>,
    token: String,
}

impl Asker {
    fn new(viewer: &Client) -> Self {
        let stream = TcpStream::connect(&viewer.address).expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Self { stream: BufReader::new(stream), token: viewer.token.clone() }
    }

    /// Asks, and gives the time until the whole answer was here, µs, and the answer.
    fn ask(&mut self, question: &str, user: &str) -> (f64, Vec<u8>) {
        let (head, body) = match question {
            "query" => ("POST /v1/presence/query".to_owned(), format!(r#"{{"users":["{user}"]}}"#)),
            what => (format!("GET /v1/users/{user}/{what}"), String::new()),
        };
        let request = format!(
            "{head} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        let begun = Instant::now();
        self.stream.get_mut().write_all(request.as_bytes()).expect("a request");
        let mut length = 0;
        let mut line = String::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line).expect("a line");
            assert!(!line.is_empty(), "the server closed the connection");
            match line.trim_end().to_ascii_lowercase().split_once(':') {
                Some(("content-length", n)) => length = n.trim().parse().expect("a length"),
                None if line.trim_end().is_empty() => break,
                None => assert!(line.starts_with("HTTP/1.1 200"), "{line}"),
                Some(_) => {}
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).expect("a body");
        (begun.elapsed().as_secs_f64() * 1e6, answer)
    }
}

/// Makes a user of a kind: all but the unknown have been there, with a profile, a status and a history.
async fn furnish(viewer: &Client, subject: &Client, kind: usize) {
    if kind == 0 {
        return;
    }
    let session = subject.open("web", "active").await;
    let _ = subject.put("/v1/users/me/profile", json!({"name": "Somebody", "meta": {"a": "b"}})).await.must(200);
    for n in 0..CHANGES {
        let _ = subject.set_status(json!({"status": if n % 2 == 0 { "away" } else { "dnd" }, "text": "busy"})).await;
    }
    match kind {
        1 => {
            subject.adds(viewer).await;
            let _ = subject.put_bare(&format!("/v1/users/me/blocks/{}", viewer.id)).await.must(204);
        }
        2 => {
            subject.adds(viewer).await;
            let _ = viewer.put_bare(&format!("/v1/users/me/blocks/{}", subject.id)).await.must(204);
        }
        _ => {}
    }
    // Half of them are online.
    if subject.id.ends_with(['0', '2', '4', '6', '8']) {
        subject.close(&session).await;
    }
}

/// The median and its 95 % interval by order statistics.
fn median(times: &mut [f64]) -> [f64; 3] {
    times.sort_by(f64::total_cmp);
    let n = times.len() as f64;
    let at = |place: f64| times[(place.max(0.0) as usize).min(times.len() - 1)];
    [at(n / 2.0), at((n / 2.0 - 0.98 * n.sqrt()).floor()), at((n / 2.0 + 0.98 * n.sqrt()).ceil())]
}

/// Measures, prints, and says whether all stayed within the bound.
fn measured(title: &str, viewer: &Client, subjects: &[Vec<Client>], samples: usize) -> bool {
    let mut held = true;
    for question in ["presence", "query", "profile"] {
        let mut asker = Asker::new(viewer);
        let mut times = vec![Vec::with_capacity(samples); KINDS.len()];
        let warming = samples / 10;
        for round in 0..samples + warming {
            // Every kind comes first, second and so on equally often.
            for turn in 0..KINDS.len() {
                let kind = (turn + round) % KINDS.len();
                let subject = &subjects[kind][(round * 7) % USERS_PER_KIND].id;
                let (time, answer) = asker.ask(question, subject);
                if round >= warming {
                    times[kind].push(time);
                    continue;
                }
                let nobody = &subjects[0][0].id;
                let unseen = String::from_utf8(asker.ask(question, nobody).1).expect("text").replace(nobody, subject);
                assert_eq!(String::from_utf8_lossy(&answer), unseen, "{}: another answer", KINDS[kind]);
            }
        }
        let base = median(&mut times[0]);
        println!("{title}, {question}: unknown {:.1} µs", base[0]);
        for (kind, times) in times.iter_mut().enumerate().skip(1) {
            let of = median(times);
            let (low, high) = (of[1] - base[2], of[2] - base[1]);
            let within = low > -LIMIT_US && high < LIMIT_US;
            held &= within;
            let verdict = if within { "" } else { "   TELLS" };
            println!("  {:<22} {:+.1} µs, between {low:+.1} and {high:+.1}{verdict}", KINDS[kind], of[0] - base[0]);
        }
    }
    held
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    use_program(Path::new(&args.next().expect("the program to measure")));
    let samples = args.next().map_or(SAMPLES, |n| n.parse().expect("a number of samples"));

    // As fast as one connection can ask: a viewer of no scope would meet its limit.
    let server = Server::launch().set("limits.user_requests_per_s", 0).set("limits.user_ids_per_s", 0).start();
    let [viewer] = server.people(["viewer"]);
    let mut subjects = Vec::new();
    for kind in 0..KINDS.len() {
        let mut of = Vec::new();
        for _ in 0..USERS_PER_KIND {
            let [subject] = server.people(["subject"]);
            furnish(&viewer, &subject, kind).await;
            of.push(subject);
        }
        subjects.push(of);
    }
    let mut held = measured("one node", &viewer, &subjects, samples);
    drop(server);

    let unlimited = Cluster::plan(3).set("limits.user_requests_per_s", 0).set("limits.user_ids_per_s", 0);
    let cluster = unlimited.start().await;
    cluster.await_formed(FORMING_MAX).await;
    let viewer = cluster.person_at_home(0, "viewer", 0).await;
    let mut subjects = Vec::new();
    for kind in 0..KINDS.len() {
        let mut of = Vec::new();
        for _ in 0..USERS_PER_KIND {
            let subject = cluster.person_at_home(0, "subject", 1).await;
            furnish(&viewer, &subject, kind).await;
            of.push(subject);
        }
        subjects.push(of);
    }
    held &= measured("three nodes, home elsewhere", &viewer, &subjects, samples);
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
