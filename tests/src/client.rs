//! One user's view of a node over HTTP: plain verbs, and the few sentences that most tests begin with.

use crate::{socket::Socket, wait::DEADLINE};
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub body: String,
}

impl Reply {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }

    /// The body as JSON, of an answer that must have this status code.
    ///
    /// # Panics
    /// When it has another.
    #[must_use]
    pub fn must(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Demands a problem of this status and code, well formed in every field, and gives its `detail`.
    ///
    /// # Panics
    /// When it is anything else.
    pub fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:rollcall:problem:{code}"), "{self:?}");
        assert_eq!(problem["code"], code, "{self:?}");
        assert_eq!(problem["status"], status, "{self:?}");
        assert!(problem["title"].as_str().is_some_and(|t| !t.is_empty()), "{self:?}");
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"), "{self:?}");
        problem["detail"].as_str().unwrap_or_else(|| panic!("no detail in {self:?}")).to_owned()
    }
}

/// Somebody with a token.
#[derive(Debug, Clone)]
pub struct Client {
    /// The user that the token is of.
    pub id: String,
    /// The token.
    pub token: String,
    /// `host:port` of the node; of several, of the first.
    pub address: String,
    /// All nodes that requests go to, in turn.
    nodes: Arc<Vec<String>>,
    next: Arc<AtomicUsize>,
    http: reqwest::Client,
    /// For answers without an end: each event has a deadline instead.
    endless: reqwest::Client,
}

impl Client {
    /// A client of the node at `address`.
    ///
    /// # Panics
    /// When no HTTP client can be made.
    #[must_use]
    pub fn new(address: &str, id: &str, token: String) -> Self {
        Self::in_turn(vec![address.into()], id, token)
    }

    /// A client of several nodes of one cluster: each request and connection goes to the next of them.
    ///
    /// # Panics
    /// When no HTTP client can be made, or no node is given.
    #[must_use]
    pub fn in_turn(nodes: Vec<String>, id: &str, token: String) -> Self {
        let http = reqwest::Client::builder().timeout(DEADLINE).build().expect("an HTTP client");
        let next = Arc::new(AtomicUsize::new(0));
        Self {
            id: id.into(),
            token,
            address: nodes[0].clone(),
            nodes: Arc::new(nodes),
            next,
            http,
            endless: reqwest::Client::new(),
        }
    }

    /// The same user, who stays at one node.
    #[must_use]
    pub fn at_one_node(&self) -> Self {
        Self::new(&self.address, &self.id, self.token.clone())
    }

    /// Where the next request goes.
    fn node(&self) -> &str {
        &self.nodes[self.next.fetch_add(1, Ordering::Relaxed) % self.nodes.len()]
    }

    /// Sends a request with these headers besides the token's, and reads the answer.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Reply {
        self.try_send(method, path, headers, body).await.unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    /// As [`send`](Self::send), for a node that may go away meanwhile.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub async fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> reqwest::Result<Reply> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, format!("http://{}{path}", self.node())).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let header = |(n, v): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
            (n.as_str().to_owned(), String::from_utf8_lossy(v.as_bytes()).into_owned())
        };
        let headers = response.headers().iter().map(header).collect();
        Ok(Reply { status, headers, body: response.text().await? })
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], None).await
    }

    /// `PUT` with a JSON body.
    pub async fn put(&self, path: &str, body: Value) -> Reply {
        self.send("PUT", path, &[], Some(&body)).await
    }

    /// `PUT` without a body.
    pub async fn put_bare(&self, path: &str) -> Reply {
        self.send("PUT", path, &[], None).await
    }

    /// `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send("POST", path, &[], Some(&body)).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, &[], None).await
    }

    /// Opens an HTTP session and gives its id.
    pub async fn open(&self, device: &str, activity: &str) -> String {
        let body = json!({"device": device, "activity": activity});
        let opened = self.post("/v1/users/me/sessions", body).await.must(201);
        opened["session"].as_str().unwrap_or_else(|| panic!("no session in {opened}")).to_owned()
    }

    /// Ends a session.
    pub async fn close(&self, session: &str) {
        let _ = self.delete(&format!("/v1/users/me/sessions/{session}")).await.must(204);
    }

    /// Sets the status and gives the whole answer.
    pub async fn set_status(&self, setting: Value) -> Value {
        self.put("/v1/users/me/status", setting).await.must(200)
    }

    /// The presence of `user` as this client may see it.
    pub async fn sees(&self, user: &str) -> Value {
        self.get(&format!("/v1/users/{user}/presence")).await.must(200)
    }

    /// Puts `other` on this user's contacts: `other` may see this user from now on.
    pub async fn adds(&self, other: &Self) {
        let _ = self.put_bare(&format!("/v1/users/me/contacts/{}", other.id)).await.must(204);
    }

    /// This user's history, newest first, as far as one page goes.
    pub async fn history(&self) -> Vec<Value> {
        let page = self.get("/v1/users/me/history?limit=1000").await.must(200);
        page["entries"].as_array().unwrap_or_else(|| panic!("no entries in {page}")).clone()
    }

    /// The reasons in this user's history, oldest first.
    pub async fn reasons(&self) -> Vec<String> {
        let entries = self.history().await;
        entries.iter().rev().map(|e| e["reason"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The answer's head of `GET /v1/events`, whose body has no end.
    pub(crate) async fn open_events(&self, query: &str, last: Option<&str>) -> reqwest::Response {
        let url = format!("http://{}/v1/events?{query}", self.node());
        let mut request = self.endless.get(url).bearer_auth(&self.token);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        request.send().await.unwrap_or_else(|e| panic!("events?{query}: {e}"))
    }

    /// Connects with this query (`device=web&watch=none`), and takes the welcome.
    pub async fn connect(&self, query: &str) -> Socket {
        Socket::connect(self.node(), &self.token, query).await
    }
}

/// Makes two users contacts of one another, so that each may see the other.
pub async fn befriend(one: &Client, other: &Client) {
    one.adds(other).await;
    other.adds(one).await;
}
