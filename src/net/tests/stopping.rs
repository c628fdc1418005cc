//! What a stop does to connections.

use tokio::net::TcpStream;

use super::*;
use crate::drain::Drained;

fn stop(served: &Served, timeout: Duration) -> JoinHandle<Drained> {
    let drain = served.drain.clone();
    tokio::spawn(async move { drain.run(Duration::from_millis(50), timeout).await })
}

#[tokio::test]
async fn a_body_in_flight_arrives_whole_and_no_new_connection_does() {
    let served = Served::start(|_| {}).await;
    let mut client = served.connect().await;
    client.send("PUT /sink HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc").await;
    let stopping = stop(&served, Duration::from_secs(20));
    hostile::wait_until(|| served.serving.is_finished()).await;
    assert!(TcpStream::connect(served.address).await.is_err(), "the listener is still open");
    client.send("def").await;
    assert!(client.until_closed().await.ends_with("6 "));
    assert_eq!(stopping.await.unwrap(), Drained::Whole);
    assert_eq!(served.metrics.connections_open.get(), 0);
}

#[tokio::test]
async fn idle_connections_do_not_hold_the_stop() {
    let served = Served::start(|_| {}).await;
    let (first, second) = (served.connect().await, Client::connect(&served, b"h2").await);
    let start = std::time::Instant::now();
    assert_eq!(stop(&served, Duration::from_secs(20)).await.unwrap(), Drained::Whole);
    assert!(start.elapsed() < Duration::from_secs(5));
    drop((first, second));
}

#[tokio::test]
async fn at_the_deadline_a_body_is_cut() {
    let served = Served::start(|_| {}).await;
    let mut client = served.connect().await;
    client.send("PUT /sink HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc").await;
    hostile::wait_until(|| served.metrics.connections_open.get() == 1).await;
    assert_eq!(stop(&served, Duration::from_millis(300)).await.unwrap(), Drained::Cut(1));
    assert_eq!(client.until_closed().await, "");
}
