//! Gateways that cannot be reached, or must not be trusted.

use std::time::Duration;

use super::{file, image, job, kept};
use crate::client::fake::{Fake, Log, Script, quick};
use crate::client::send::send;
use crate::client::{ClientError, Gateway, Limits};

#[tokio::test]
async fn a_pinned_certificate_is_accepted_and_no_other() {
    let (fake, source) = (Fake::start().await, kept(&[1]));
    fake.state.lock().unwrap().pinned = Some(fake.sha256.clone());
    send(&mut job(fake.gateway(), "s1", file(&source, vec![])), &Log::default()).await.unwrap();
    fake.state.lock().unwrap().pinned = Some("00".repeat(32));
    let error = send(&mut job(fake.gateway(), "s2", file(&source, vec![])), &Log::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Tls { .. }), "{error}");
}

#[tokio::test]
async fn a_stranger_is_not_trusted_and_a_closed_port_is_tried_again() {
    let (fake, stranger, source) = (Fake::start().await, Fake::start().await, kept(&[1]));
    let endpoint = crate::client::Endpoint::parse(&format!("https://{}", fake.address)).unwrap();
    let trust = crate::client::Trust::file(stranger.certificate.path()).unwrap();
    let gateway = Gateway::new(endpoint, trust, Some("secret"), Limits::default()).unwrap();
    let error = send(&mut job(gateway, "s1", file(&source, vec![])), &Log::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Tls { .. }), "{error}");

    let endpoint = crate::client::Endpoint::parse("https://127.0.0.1:1").unwrap();
    let trust = crate::client::Trust::file(stranger.certificate.path()).unwrap();
    let gateway = Gateway::new(endpoint, trust, Some("secret"), Limits::default()).unwrap();
    let log = Log::default();
    let error = send(&mut job(gateway, "s1", file(&source, vec![])), &log).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error}");
    assert_eq!(log.retries(), 4);
}

/// An address that refuses connections.
async fn closed() -> std::net::SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_gateway_that_was_named_and_is_gone_leads_to_the_question_which_one_is_there() {
    let (fake, source, log) = (Fake::start().await, kept(&image(1, 2)), Log::default());
    let gone = [closed().await, closed().await];
    fake.state.lock().unwrap().named.extend(gone);
    send(&mut job(fake.gateway(), "s1", file(&source, vec![])), &log).await.unwrap();
    assert_eq!((log.retries(), fake.requests("GET /server"), fake.received().len()), (2, 3, 1));
}

#[tokio::test]
async fn of_several_gateways_the_first_that_takes_the_question_is_asked() {
    let (fake, source) = (Fake::start().await, kept(&image(1, 2)));
    let [gone, there] = [closed().await, fake.address]
        .map(|address| crate::client::Endpoint::parse(&format!("https://{address}")).unwrap());
    let trust = || crate::client::Trust::file(fake.certificate.path()).unwrap();
    let several = Gateway::any_of(vec![gone.clone(), there], trust(), Some("secret"), Limits::default()).unwrap();
    let log = Log::default();
    send(&mut job(several, "s1", file(&source, vec![])), &log).await.unwrap();
    assert_eq!((log.retries(), fake.received().len()), (0, 1));
    let none = Gateway::any_of(vec![gone.clone(), gone], trust(), Some("secret"), Limits::default()).unwrap();
    let error = send(&mut job(none, "s2", file(&source, vec![])), &log).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error}");
}

#[tokio::test]
async fn a_silent_gateway_is_given_up() {
    let (fake, source) = (Fake::start().await, kept(&image(1, 4)));
    fake.script([Script::Hang]);
    let short = Duration::from_millis(200);
    let limits = Limits { idle: short, leave: short, answer: short, ..Limits::default() };
    let mut job = job(fake.gateway_with(limits), "s1", file(&source, vec![]));
    job.backoff = quick(0);
    let error = send(&mut job, &Log::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Idle(_)), "{error}");
}
