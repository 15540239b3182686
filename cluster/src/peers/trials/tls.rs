//! Links under certificates.

use super::bench::{DEADLINE, Node, With, acquaint, linked};
use crate::peers::{
    JoinFailure, LinkError, PeersError, PeersOptions, TlsFiles, links::Peers, outbox::Outbox, transport,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::path::Path;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

/// An authority and what it signs.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn node(&self, dir: &Path, called: &str, host: &str) -> TlsFiles {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let write = |kind: &str, pem: String| {
            let path = dir.join(format!("{called}-{kind}.pem"));
            std::fs::write(&path, pem).unwrap();
            path
        };
        TlsFiles {
            certificate: write("certificate", certificate.pem()),
            private_key: write("key", key.serialize_pem()),
            authorities: write("authorities", self.pem.clone()),
        }
    }
}

async fn node(called: &str, tls: TlsFiles) -> Node {
    Node::start(called, With { tls: Some(tls), ..With::default() }).await
}

#[tokio::test]
async fn nodes_with_certificates_of_one_authority_are_linked() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let a = node("a", authority.node(dir.path(), "a", "127.0.0.1")).await;
    let b = node("b", authority.node(dir.path(), "b", "127.0.0.1")).await;
    acquaint(&[&a, &b]);
    linked(&a, &b).await;
    assert_eq!(a.control(&b, b"x").await.unwrap(), b"control: x");
    assert_eq!(a.link.join(&b.address.to_string(), b"x".to_vec()).await.unwrap(), b"join: x");
}

#[tokio::test]
async fn whoever_has_no_certificate_of_that_authority_is_refused() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let a = node("a", authority.node(dir.path(), "a", "127.0.0.1")).await;
    let config = ClientTlsConfig::new().domain_name("127.0.0.1").ca_certificate(Certificate::from_pem(&authority.pem));
    let endpoint = Endpoint::from_shared(format!("https://{}", a.address)).unwrap().tls_config(config).unwrap();
    let (_outbox, body) = Outbox::new(10, 1_000);
    let opened = async {
        let channel = endpoint.connect().await.map_err(|_| ())?;
        let mut incoming = transport::open(channel, body).await.map_err(|_| ())?;
        incoming.message().await.map_err(|_| ())
    };
    assert!(tokio::time::timeout(DEADLINE, opened).await.unwrap().is_err(), "it says nothing without a certificate");

    let other = Authority::new();
    let mut files = other.node(dir.path(), "b", "127.0.0.1");
    files.authorities = dir.path().join("a-authorities.pem");
    let plain = Node::start("p", With::default()).await;
    for stranger in [node("b", files).await, plain] {
        acquaint(&[&a, &stranger]);
        let joined = stranger.link.join(&a.address.to_string(), b"x".to_vec()).await;
        assert!(matches!(joined, Err(JoinFailure::Unreachable { .. })), "{joined:?}");
        assert_eq!(stranger.control(&a, b"x").await, Err(LinkError::Unreachable(a.name.clone())));
    }
    assert!(a.heard.events.lock().is_empty());
}

#[tokio::test]
async fn a_node_whose_certificate_names_another_host_is_not_talked_to() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let a = node("a", authority.node(dir.path(), "a", "elsewhere.example")).await;
    let b = node("b", authority.node(dir.path(), "b", "127.0.0.1")).await;
    let joined = b.link.join(&a.address.to_string(), b"x".to_vec()).await;
    assert!(matches!(&joined, Err(JoinFailure::Unreachable { .. })), "{joined:?}");
    assert!(a.link.join(&b.address.to_string(), b"x".to_vec()).await.is_ok(), "while the other way is as it should be");
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_named() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let files = authority.node(dir.path(), "a", "127.0.0.1");
    let bind = |tls: TlsFiles| {
        let options = PeersOptions::new("127.0.0.1:0".parse().unwrap(), b"k".to_vec());
        Peers::bind(PeersOptions { tls: Some(tls), ..options })
    };
    let missing = TlsFiles { private_key: dir.path().join("none.pem"), ..files.clone() };
    assert!(
        matches!(bind(missing).await.err(), Some(PeersError::Unreadable { path, .. }) if path.ends_with("none.pem"))
    );
    let swapped = TlsFiles { private_key: files.certificate.clone(), ..files };
    assert!(matches!(bind(swapped).await.err(), Some(PeersError::Certificates(_))));
}
