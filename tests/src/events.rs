//! A client of `GET /v1/events`: one event after the other, with deadlines.

use crate::{client::Client, wait::DEADLINE};
use serde_json::Value;
use tokio::time::timeout;

/// One event, or a comment, whose `event` is empty.
#[derive(Debug, Clone)]
pub struct Told {
    /// The `event:` line.
    pub event: String,
    /// The `id:` line.
    pub id: String,
    /// The `data:` line as JSON; `null` of a comment.
    pub data: Value,
}

/// An open stream.
#[derive(Debug)]
pub struct Events {
    response: reqwest::Response,
    pending: Vec<u8>,
}

impl Events {
    pub(crate) fn of(response: reqwest::Response) -> Self {
        Self { response, pending: Vec::new() }
    }

    /// The next event; comments are passed over.
    ///
    /// # Panics
    /// When none comes within the deadline, or one has more or fewer lines than the contract gives it.
    pub async fn next(&mut self) -> Told {
        loop {
            while let Some(end) = self.pending.windows(2).position(|w| w == b"\n\n") {
                let block: Vec<u8> = self.pending.drain(..end + 2).collect();
                let block = String::from_utf8(block).expect("UTF-8");
                if !block.starts_with(':') {
                    return parse(block.trim_end());
                }
            }
            let more = timeout(DEADLINE, self.response.chunk()).await.expect("an event within the deadline");
            let more = more.expect("an open stream").expect("an event before the end");
            self.pending.extend_from_slice(&more);
        }
    }

    /// Takes events until one for which `wanted` holds.
    pub async fn until(&mut self, wanted: impl Fn(&Told) -> bool) -> Told {
        loop {
            let told = self.next().await;
            if wanted(&told) {
                return told;
            }
        }
    }
}

fn parse(block: &str) -> Told {
    let field = |name: &str| {
        let prefix = format!("{name}:");
        let found: Vec<&str> = block.lines().filter_map(|l| l.strip_prefix(&prefix)).map(str::trim_start).collect();
        assert_eq!(found.len(), 1, "one line {name:?} in {block:?}");
        found[0].to_owned()
    };
    let data = serde_json::from_str(&field("data")).unwrap_or_else(|e| panic!("{e} in {block:?}"));
    Told { event: field("event"), id: field("id"), data }
}

impl Client {
    /// Opens `GET /v1/events` with this query and `Last-Event-ID`.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn events(&self, query: &str, last: Option<&str>) -> Events {
        let response = self.open_events(query, last).await;
        assert_eq!(response.status().as_u16(), 200, "{response:?}");
        let kind = response.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Events::of(response)
    }
}
