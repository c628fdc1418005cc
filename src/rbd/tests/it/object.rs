//! RADOS objects.

use rsnap_rbd::Kind;

use super::support::Place;

#[tokio::test]
async fn objects_are_written_read_and_removed() {
    let place = Place::new();
    let pool = &place.pool;
    assert_eq!(pool.stat("one").await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(pool.read("one", 0, vec![0; 8]).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(pool.remove("one").await.unwrap_err().kind(), Kind::NotFound);
    pool.write("one", 4, vec![1; 4]).await.unwrap();
    assert_eq!(pool.stat("one").await.unwrap(), 8);
    assert_eq!(pool.read("one", 2, vec![9; 10]).await.unwrap(), (6, vec![0, 0, 1, 1, 1, 1, 9, 9, 9, 9]));
    pool.write_full("one", vec![2; 3]).await.unwrap();
    assert_eq!(pool.stat("one").await.unwrap(), 3);
    assert!(pool.id() > 0);
    pool.remove("one").await.unwrap();
    assert_eq!(pool.stat("one").await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn namespaces_do_not_see_each_other() {
    let (first, second) = (Place::new(), Place::new());
    first.pool.write_full("one", vec![1; 3]).await.unwrap();
    assert_eq!(second.pool.stat("one").await.unwrap_err().kind(), Kind::NotFound);
}
