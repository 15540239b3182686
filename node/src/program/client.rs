//! The HTTP side of a client command.
//!
//! Owns the credentials and the reading of problems. Relies on `reqwest`. Promises errors that say
//! to a person what to do: start a server, name a key, ask for another scope.

use super::{
    command_line::ClientOptions,
    server::{Server, ServerError, fault_of_tls},
    token::{MINTED_TTL, MintError, Minter},
};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// How long any one request may take: the server answers within seconds, or 503.
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// How long an answer may take that comes bit by bit: whoever takes it notices earlier that nothing comes any more.
const OPEN_MAX: Duration = Duration::from_secs(86_400);
/// How long reaching the server may take.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Whom a service token of this program is made out to; it stands in no list and is never online.
const SERVICE_USER: &str = "rollcall-program";

/// Why a request had no good answer. A write may have taken effect only where the variant says so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nothing was sent.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Nothing was sent.
    #[error("no server answers at {url}: is it running? (`rollcall` starts one; --url or ROLLCALL_URL name another)")]
    Unreachable { url: String },
    /// Nothing was sent.
    #[error(
        "the server at {url} cannot be believed: {why}; if it is yours, name the authority of its certificate with --ca-file FILE"
    )]
    Unbelieved { url: String, why: String },
    /// A write may have taken effect.
    #[error("the server at {url} did not finish its answer: {source}")]
    CutOff { url: String, source: reqwest::Error },
    /// Nothing was touched.
    #[error(
        "the server does not believe this token (401: {detail}): use the key of that server (--auth-key FILE, by default \
         ./rollcall-data/auth.key), or a token that has not expired"
    )]
    Unauthenticated { detail: String },
    /// The server says what was touched: nothing, but for 500 and 503.
    #[error("the server refused ({status} {code}): {detail}")]
    Refused { status: u16, code: String, detail: String },
    /// A write may have taken effect.
    #[error("the answer from {url} is none of Rollcall's: {detail}")]
    Foreign { url: String, detail: String },
    /// Nothing was sent.
    #[error(transparent)]
    Mint(#[from] MintError),
}

/// An answer of RFC 9457.
#[derive(Debug, Deserialize)]
pub(crate) struct Problem {
    #[serde(default)]
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) detail: String,
}

/// Where tokens come from.
#[derive(Clone)]
pub(crate) enum Credentials {
    /// They are minted as needed.
    Key(Box<Minter>),
    /// There is this one.
    Token(String),
}

impl Credentials {
    /// The credentials that `options` name.
    pub(crate) fn of(options: &ClientOptions) -> Result<Self, MintError> {
        match &options.token {
            Some(token) => Ok(Self::Token(token.clone())),
            None => Ok(Self::Key(Box::new(Minter::read(options.auth_key.as_deref())?))),
        }
    }

    /// A token to act for every user.
    pub(crate) fn service(&self) -> Result<String, MintError> {
        self.token(SERVICE_USER, "service", MINTED_TTL)
    }

    /// A token for the cluster endpoints.
    pub(crate) fn admin(&self) -> Result<String, MintError> {
        self.token(SERVICE_USER, "admin", MINTED_TTL)
    }

    /// A token of `user` with `scope`, good for `ttl` if it is minted.
    pub(crate) fn token(&self, user: &str, scope: &str, ttl: Duration) -> Result<String, MintError> {
        match self {
            Self::Key(minter) => minter.mint(user, scope, ttl),
            Self::Token(token) => Ok(token.clone()),
        }
    }

    /// Whether tokens can be made out to anybody.
    pub(crate) fn mints(&self) -> bool {
        matches!(self, Self::Key(_))
    }
}

/// A server over HTTP.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    server: Server,
}

impl Client {
    pub(crate) fn new(server: Server) -> Result<Self, ClientError> {
        let mut built =
            reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_MAX).timeout(REQUEST_MAX).tcp_nodelay(true);
        if let Some(tls) = &server.tls {
            built = built.use_preconfigured_tls(tls.as_ref().clone());
        }
        let http = built.build().map_err(|source| ClientError::CutOff { url: server.url.to_string(), source })?;
        Ok(Self { http, server })
    }

    pub(crate) fn url(&self) -> &Url {
        &self.server.url
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// The answer to a GET, as text.
    pub(crate) async fn get(&self, token: &str, path: &str) -> Result<String, ClientError> {
        self.call(Method::GET, token, path, None::<&()>).await
    }

    /// The answer to a POST of `body`, as text.
    pub(crate) async fn post(&self, token: &str, path: &str, body: &impl Serialize) -> Result<String, ClientError> {
        self.call(Method::POST, token, path, Some(body)).await
    }

    /// The answer to a DELETE, as text.
    pub(crate) async fn delete(&self, token: &str, path: &str) -> Result<String, ClientError> {
        self.call(Method::DELETE, token, path, None::<&()>).await
    }

    /// Makes `others` contacts of `user`, in calls as large as the contract allows.
    pub(crate) async fn add_contacts(&self, token: &str, user: &str, others: &[&str]) -> Result<(), ClientError> {
        #[derive(Serialize)]
        struct Changes<'a> {
            add: &'a [&'a str],
        }
        for add in others.chunks(rollcall_presence::limits::LIST_CHANGE_MAX_IDS) {
            self.post(token, &format!("/v1/users/{user}/contacts"), &Changes { add }).await?;
        }
        Ok(())
    }

    async fn call(
        &self,
        method: Method,
        token: &str,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<String, ClientError> {
        let mut request = self.http.request(method, self.at(path)).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.answered(request).await
    }

    /// The answer to a POST of bytes, as text.
    pub(crate) async fn post_bytes(&self, token: &str, path: &str, body: Vec<u8>) -> Result<String, ClientError> {
        let request = self.http.post(self.at(path)).bearer_auth(token);
        self.answered(request.header("content-type", "application/octet-stream").body(body)).await
    }

    /// The answer to a GET, whose body comes bit by bit and may take long.
    pub(crate) async fn open(&self, token: &str, path: &str) -> Result<Response, ClientError> {
        let request = self.http.get(self.at(path)).bearer_auth(token).timeout(OPEN_MAX);
        let answer = request.send().await.map_err(|e| self.failed(e))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = answer.text().await.map_err(|e| self.failed(e))?;
        Err(refused(self.url(), status.as_u16(), &text))
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url().as_str().trim_end_matches('/'))
    }

    fn failed(&self, source: reqwest::Error) -> ClientError {
        let url = self.url().to_string();
        match fault_of_tls(&source) {
            Some(fault) if source.is_connect() => ClientError::Unbelieved { url, why: fault.to_string() },
            None if source.is_connect() => ClientError::Unreachable { url },
            _ => ClientError::CutOff { url, source },
        }
    }

    async fn answered(&self, request: RequestBuilder) -> Result<String, ClientError> {
        let answer = request.send().await.map_err(|e| self.failed(e))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|e| self.failed(e))?;
        if status.is_success() { Ok(text) } else { Err(refused(self.url(), status.as_u16(), &text)) }
    }
}

/// The error that an answer other than 2xx stands for.
pub(crate) fn refused(url: &Url, status: u16, body: &str) -> ClientError {
    match serde_json::from_str::<Problem>(body) {
        Ok(problem) if status == StatusCode::UNAUTHORIZED.as_u16() => {
            ClientError::Unauthenticated { detail: problem.detail }
        }
        Ok(problem) => ClientError::Refused { status, code: problem.code, detail: problem.detail },
        Err(_) => ClientError::Foreign { url: url.to_string(), detail: format!("status {status} without a problem") },
    }
}

/// Reads an answer of the server at `url`.
pub(crate) fn read<'a, T: Deserialize<'a>>(url: &Url, text: &'a str) -> Result<T, ClientError> {
    serde_json::from_str(text).map_err(|e| ClientError::Foreign { url: url.to_string(), detail: e.to_string() })
}

/// The resident memory of every node that tells it, bytes, in a cluster's status.
pub(crate) fn resident_bytes(url: &Url, status: &str) -> Result<BTreeMap<String, Option<u64>>, ClientError> {
    #[derive(Deserialize)]
    struct Cluster {
        nodes: Vec<Node>,
    }
    #[derive(Deserialize)]
    struct Node {
        name: String,
        rss_bytes: Option<u64>,
    }
    let cluster: Cluster = read(url, status)?;
    Ok(cluster.nodes.into_iter().map(|n| (n.name, n.rss_bytes)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_401_says_which_key_is_meant() {
        let url = Url::parse("http://127.0.0.1:1").unwrap();
        let body = r#"{"type":"x","title":"x","status":401,"detail":"expired","code":"unauthenticated"}"#;
        let said = refused(&url, 401, body).to_string();
        assert!(said.contains("--auth-key") && said.contains("expired"), "{said}");
        assert!(matches!(refused(&url, 502, "<html>"), ClientError::Foreign { .. }));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_unreachable() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let client = Client::new(Server::at(&format!("http://{free}")).unwrap()).unwrap();
        let error = client.get("t", "/v1/users/a/presence").await.err().unwrap();
        assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    }
}
