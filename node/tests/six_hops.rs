//! One update in six hops, walked in the order that README and ARCHITECTURE tell.
//!
//! Each hop says its name to the log as it is passed; the test listens to that log and to a friend's socket.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use futures::{SinkExt, StreamExt};
use rollcall_api::mint;
use rollcall_config::{Scope, Settings};
use rollcall_presence::UserId;
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context, prelude::*};

const DEADLINE: Duration = Duration::from_secs(20);

/// Writes down the hops as they are passed.
#[derive(Clone, Default)]
struct Path(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Path {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "rollcall::path" {
            event.record(&mut Hop(&self.0));
        }
    }
}

struct Hop<'a>(&'a Mutex<Vec<String>>);

impl Visit for Hop<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "hop" {
            self.0.lock().unwrap().push(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn one_update_passes_six_hops_in_order() {
    let path = Path::default();
    tracing_subscriber::registry().with(path.clone()).init();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.node.data_dir = folder.path().join("data");
    settings.http.listen = "127.0.0.1:0".into();
    settings.peer.listen = "127.0.0.1:0".into();
    let started = rollcall_node::serve::start(settings).await.unwrap();
    let key = std::fs::read(folder.path().join("data/auth.key")).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let token = |user: &str| {
        let user = UserId::new(user).unwrap();
        mint(&key, &user, &[Scope::Service], now, Duration::from_secs(600)).unwrap()
    };
    let base = format!("http://{}", started.http());
    let http = reqwest::Client::new();
    let put =
        |path: &str, body: Value| http.put(format!("{base}{path}")).bearer_auth(token("alice")).json(&body).send();
    until_ready(&http, &base).await;
    let open = http.post(format!("{base}/v1/users/alice/sessions")).bearer_auth(token("alice")).send().await.unwrap();
    assert_eq!(open.status(), 201);
    let befriend = format!("{base}/v1/users/alice/contacts/bob");
    assert_eq!(http.put(befriend).bearer_auth(token("alice")).send().await.unwrap().status(), 204);

    let mut request = format!("ws://{}/v1/connect?watch=none", started.http()).into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {}", token("bob")).parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    socket.send(Message::text(json!({"type": "watch", "id": 1, "users": ["alice"]}).to_string())).await.unwrap();
    until(&mut socket, "snapshot").await;

    path.0.lock().unwrap().clear();
    assert_eq!(
        put("/v1/users/alice/status", json!({"status": "dnd", "text": "deep work"})).await.unwrap().status(),
        200
    );
    let frame = until(&mut socket, "presence").await;
    assert_eq!(frame["presences"][0]["text"], "deep work", "{frame}");
    let hops = path.0.lock().unwrap().clone();
    let walked = ["route handler", "presence service", "user actor", "commit and apply", "fan-out", "outbox"];
    assert_eq!(hops, walked);
    drop(socket);
    started.stop().await;
}

async fn until_ready(http: &reqwest::Client, base: &str) {
    let ready = async {
        loop {
            if http.get(format!("{base}/readyz")).send().await.is_ok_and(|answer| answer.status() == 200) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, ready).await.unwrap();
}

async fn until(
    socket: &mut (impl StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin),
    kind: &str,
) -> Value {
    let frame = async {
        loop {
            if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["type"] == kind {
                    return frame;
                }
            }
        }
    };
    tokio::time::timeout(DEADLINE, frame).await.unwrap()
}
