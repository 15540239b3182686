//! A served API on a free port, and the clients that tests speak to it with.

use crate::fake::{Fake, now};
use futures::{SinkExt, StreamExt};
use reqwest::{Method, Response, StatusCode};
use rollcall_api::{Api, ApiOptions, Certificates, Connections, Keys, bind, mint, serve};
use rollcall_config::{Auth, Http, Limits, Presence, Scope};
use rollcall_presence::UserId;
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpStream, sync::oneshot, task::JoinHandle, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest, handshake::client::Request},
};

/// The secret of the generated key.
pub(crate) const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// How long a test waits for what must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// What differs between stages.
#[derive(Clone, Default)]
pub(crate) struct Setting {
    pub(crate) http: Http,
    pub(crate) presence: Presence,
    pub(crate) limits: Limits,
    pub(crate) auth: Auth,
    pub(crate) certificates: Option<Arc<Certificates>>,
}

/// A running API.
pub(crate) struct Stage {
    pub(crate) fake: Arc<Fake>,
    pub(crate) address: SocketAddr,
    pub(crate) keys: Arc<Keys>,
    pub(crate) connections: Connections,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(Setting::default()).await
    }

    pub(crate) async fn with(setting: Setting) -> Self {
        let fake = Fake::new();
        let keys = Arc::new(Keys::load(&setting.auth, Some(SECRET)).unwrap());
        let connections = Connections::default();
        let api = Api::new(ApiOptions {
            http: setting.http,
            presence: setting.presence,
            limits: setting.limits,
            service: fake.clone(),
            keys: keys.clone(),
            certificates: setting.certificates,
            connections: connections.clone(),
        });
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(listener, api, async move {
            let _ = stopped.await;
        }));
        Self { fake, address, keys, connections, client: reqwest::Client::new(), stop: Some(stop), served }
    }

    /// Stops the API, as a node does, and waits for it.
    pub(crate) async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        timeout(DEADLINE * 2, &mut self.served).await.unwrap().unwrap();
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    /// A call in the name of `who`: `alice`, or with scopes, `ops@admin`.
    pub(crate) fn by(&self, who: &str, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.call(method, path).bearer_auth(token(who))
    }

    pub(crate) async fn get(&self, who: &str, path: &str) -> Value {
        answer(self.by(who, Method::GET, path), StatusCode::OK).await
    }

    pub(crate) async fn put(&self, who: &str, path: &str, body: Value) -> Response {
        self.by(who, Method::PUT, path).json(&body).send().await.unwrap()
    }

    pub(crate) async fn post(&self, who: &str, path: &str, body: Value) -> Response {
        self.by(who, Method::POST, path).json(&body).send().await.unwrap()
    }

    pub(crate) async fn delete(&self, who: &str, path: &str) -> Response {
        self.by(who, Method::DELETE, path).send().await.unwrap()
    }

    /// Opens an HTTP session and gives its id.
    pub(crate) async fn open(&self, who: &str) -> String {
        let opened = self.post(who, "/v1/users/me/sessions", json!({ "device": "web" })).await;
        assert_eq!(opened.status(), 201);
        opened.json::<Value>().await.unwrap()["session"].as_str().unwrap().to_owned()
    }

    /// A handshake's request in the name of `who`.
    pub(crate) fn handshake(&self, who: &str, query: &str) -> Request {
        let mut request = self.anonymous_handshake(query);
        request.headers_mut().insert("authorization", format!("Bearer {}", token(who)).parse().unwrap());
        request
    }

    pub(crate) fn anonymous_handshake(&self, query: &str) -> Request {
        format!("ws://{}/v1/connect{query}", self.address).into_client_request().unwrap()
    }

    pub(crate) async fn connect(&self, who: &str, query: &str) -> Socket {
        Socket::open(self.handshake(who, query)).await
    }

    /// A connection that has read its welcome; with `watch=none` there is nothing more.
    pub(crate) async fn observe(&self, who: &str, query: &str) -> Socket {
        let mut socket = self.connect(who, query).await;
        assert_eq!(socket.next().await["type"], "welcome");
        socket
    }
}

/// Waits until `holds`.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(DEADLINE, waiting).await.is_ok(), "{what}");
}

/// A token of `name`, or of `name@scope,scope`, for an hour.
pub(crate) fn token(who: &str) -> String {
    let (name, scopes) = who.split_once('@').unwrap_or((who, "user"));
    let scopes: Vec<Scope> = scopes
        .split(',')
        .map(|s| match s {
            "user" => Scope::User,
            "service" => Scope::Service,
            "admin" => Scope::Admin,
            other => panic!("{other} is no scope"),
        })
        .collect();
    mint(SECRET, &UserId::new(name).unwrap(), &scopes, now(), Duration::from_secs(3_600)).unwrap()
}

/// The JSON of an answer with this status.
pub(crate) async fn answer(request: reqwest::RequestBuilder, status: StatusCode) -> Value {
    let response = request.send().await.unwrap();
    let got = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(got, status, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Checks that `response` is the contract's problem with this status and code, and gives its detail.
pub(crate) async fn problem(response: Response, status: u16, code: &str) -> String {
    let got = response.status().as_u16();
    let headers = response.headers().clone();
    let text = response.text().await.unwrap();
    assert_eq!(got, status, "{text}");
    assert_eq!(headers["content-type"], "application/problem+json");
    let body: Value = serde_json::from_str(&text).unwrap();
    let names: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names.len(), 6, "{text}");
    assert_eq!(body["type"], format!("urn:rollcall:problem:{code}"));
    assert_eq!(body["code"], code);
    assert_eq!(body["status"], status);
    assert!(!body["title"].as_str().unwrap().is_empty());
    assert_eq!(body["request_id"], headers["x-request-id"].to_str().unwrap());
    body["detail"].as_str().unwrap().to_owned()
}

/// A client's WebSocket.
pub(crate) struct Socket(pub(crate) WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(crate) async fn open(request: Request) -> Self {
        Self(connect_async(request).await.unwrap().0)
    }

    /// The HTTP status that refuses the handshake.
    pub(crate) async fn refused(request: Request) -> u16 {
        match connect_async(request).await {
            Err(Error::Http(response)) => response.status().as_u16(),
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) async fn say(&mut self, frame: Value) {
        self.text(&frame.to_string()).await;
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next text frame; pings are answered on the way.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            match timeout(DEADLINE, self.0.next()).await.expect("a frame in time").expect("an open socket") {
                Ok(Message::Text(text)) => return serde_json::from_str(&text).unwrap(),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("no text frame: {other:?}"),
            }
        }
    }

    /// Says a frame and gives its answer.
    pub(crate) async fn ask(&mut self, frame: Value) -> Value {
        self.say(frame).await;
        self.next().await
    }

    /// The code that the server closes with; text frames before it are skipped.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            match timeout(DEADLINE, self.0.next()).await.expect("a close in time") {
                Some(Ok(Message::Close(frame))) => return frame.map_or(1_005, |f| f.code.into()),
                Some(Ok(_)) => {}
                other => panic!("no close: {other:?}"),
            }
        }
    }
}
