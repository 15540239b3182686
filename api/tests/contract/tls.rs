//! Clients over TLS: with the certificate of the settings, changed while serving, and cut when they do not shake hands.

use crate::stage::{DEADLINE, Setting, Stage, token};
use rollcall_api::{CertificateFiles, Certificates};
use rollcall_config::Http;
use std::{path::Path, sync::Arc};
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

/// A certificate of its own authority for this machine, and the certificate's text.
fn made(dir: &Path, name: &str) -> (CertificateFiles, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let (certificate, private_key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&private_key, made.signing_key.serialize_pem()).unwrap();
    (CertificateFiles { certificate, private_key }, made.cert.pem())
}

async fn reads(stage: &Stage, authority: &str) -> reqwest::Result<u16> {
    let authority = reqwest::Certificate::from_pem(authority.as_bytes()).unwrap();
    let client = reqwest::Client::builder().add_root_certificate(authority).build().unwrap();
    let url = format!("https://localhost:{}/v1/users/me/presence", stage.address.port());
    Ok(client.get(url).bearer_auth(token("alice")).send().await?.status().as_u16())
}

#[tokio::test]
async fn a_certificate_is_shown_and_a_changed_one_from_the_next_handshake_on() {
    let dir = tempfile::tempdir().unwrap();
    let ((first, authority), (second, other)) = (made(dir.path(), "a"), made(dir.path(), "b"));
    let certificates = Arc::new(Certificates::load(&first).unwrap());
    let stage = Stage::with(Setting { certificates: Some(certificates.clone()), ..Setting::default() }).await;
    assert_eq!(reads(&stage, &authority).await.unwrap(), 200);
    assert!(reads(&stage, &other).await.is_err(), "another authority is not believed");
    certificates.reload(&second).unwrap();
    assert_eq!(reads(&stage, &other).await.unwrap(), 200);
    assert!(reads(&stage, &authority).await.is_err());
}

#[tokio::test]
async fn a_client_that_does_not_shake_hands_in_time_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = Some(Arc::new(Certificates::load(&made(dir.path(), "a").0).unwrap()));
    let http = Http { header_timeout_ms: 200, ..Http::default() };
    let stage = Stage::with(Setting { http, certificates, ..Setting::default() }).await;
    let mut silent = TcpStream::connect(stage.address).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(DEADLINE, silent.read_to_end(&mut answer)).await.expect("the server closes");
    assert!(answer.is_empty());
}
