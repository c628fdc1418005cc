//! Peers that are silent, slow, greedy, or in the way.

use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::net::TcpStream;

use super::*;

#[tokio::test]
async fn a_thousand_silent_connections_do_not_stop_one_upload() {
    let served = Served::start(|config| config.connections = 64).await;
    let mut silent = Vec::new();
    for _ in 0..1000 {
        silent.push(TcpStream::connect(served.address).await.unwrap());
    }
    let start = Instant::now();
    let upload = client::put(&served, b"http/1.1", &rustls::version::TLS13, "/sink", vec![1; 1 << 20]);
    let answer = tokio::time::timeout(Duration::from_secs(8), upload).await.expect("the upload had to wait").unwrap();
    assert_eq!(answer.0, StatusCode::OK);
    assert!(start.elapsed() < Duration::from_secs(8));
    assert!(served.metrics.encode().contains("rsnap_connections_lost_total{reason=\"evicted\"}"));
}

#[tokio::test]
async fn a_connection_that_works_is_not_evicted() {
    let served = Served::start(|config| config.connections = 2).await;
    let mut client = served.connect().await;
    client.send("PUT /sink HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..20 {
        drop(TcpStream::connect(served.address).await.unwrap());
    }
    let silent = TcpStream::connect(served.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    client.send("def").await;
    assert!(client.response().await.contains("200 OK"), "{}", client.last());
    drop(silent);
}

#[tokio::test]
async fn headers_that_come_drop_by_drop_are_cut_off() {
    let served = Served::start(|config| config.header_timeout.0 = Duration::from_millis(400)).await;
    let mut client = served.connect().await;
    let start = Instant::now();
    client.send("PUT /sink HTTP/1.1\r\n").await;
    while start.elapsed() < Duration::from_secs(5) {
        if client.try_send(b"a: b\r\n").await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(start.elapsed() < Duration::from_secs(5), "the connection stayed open");
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_given_up() {
    let served = Served::start(|config| config.header_timeout.0 = Duration::from_millis(200)).await;
    let silent = TcpStream::connect(served.address).await.unwrap();
    silent.readable().await.unwrap();
    assert_eq!(silent.try_read(&mut [0; 8]).unwrap(), 0);
    assert!(served.metrics.encode().contains("rsnap_connections_lost_total{reason=\"handshake\"} 1"));
}

#[tokio::test]
async fn headers_that_are_too_large_are_refused() {
    let served = Served::start(|config| config.header_bytes = crate::quantity::Bytes::kib(8)).await;
    let mut client = served.connect().await;
    client.send(&format!("GET /slow HTTP/1.1\r\nhost: x\r\nlarge: {}\r\n\r\n", "x".repeat(9 << 10))).await;
    assert!(client.response().await.starts_with("HTTP/1.1 431"), "{}", client.last());
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_sending() {
    let served = Served::start(|_| {}).await;
    for _ in 0..10 {
        let mut client = served.connect().await;
        client.send("PUT /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n").await;
        for _ in 0..16 {
            client.try_send(&[0; 1 << 20]).await.expect("the connection was reset before the client looked up");
        }
        let answer = client.response().await;
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn a_refused_stream_is_read_on_so_that_its_client_finds_the_refusal() {
    let served = Served::start(|_| {}).await;
    let (status, sent) = client::put_endless(&served, "/refuse").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    wait_until(|| sent.load(Ordering::SeqCst) > 32 << 20).await;
}

#[tokio::test]
async fn a_client_that_waits_is_refused_without_a_body_and_accepted_with_one() {
    let served = Served::start(|_| {}).await;
    let head = |path| format!("PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n");
    let mut client = served.connect().await;
    client.send(&head("/refuse")).await;
    let answer = client.until_closed().await;
    assert!(answer.starts_with("HTTP/1.1 403") && !answer.contains("100 Continue"), "{answer}");
    let mut client = served.connect().await;
    client.send(&head("/sink")).await;
    assert_eq!(client.response().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc").await;
    assert!(client.response().await.starts_with("HTTP/1.1 200"), "{}", client.last());
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_place() {
    let served = Served::start(|config| {
        config.idle_timeout.0 = Duration::from_millis(300);
        config.header_timeout.0 = Duration::from_millis(300);
    })
    .await;
    let mut client = served.connect().await;
    client.send("GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await;
    wait_until(|| served.metrics.connections_open.get() == 0).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_working_handler_is_not() {
    let served = Served::start(|config| {
        config.idle_timeout.0 = Duration::from_millis(200);
        config.header_timeout.0 = Duration::from_millis(200);
    })
    .await;
    for alpn in [b"h2".as_slice(), b"http/1.1"] {
        let answer = client::get(&served, alpn, "/slow").await.unwrap();
        assert_eq!(answer, (StatusCode::OK, "done".to_owned()));
    }
    let idle = Client::connect(&served, b"h2").await;
    wait_until(|| served.metrics.connections_open.get() == 0).await;
    drop(idle);
}

pub(super) async fn wait_until(mut condition: impl FnMut() -> bool) {
    for _ in 0..400 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("it did not happen within 10 s");
}
