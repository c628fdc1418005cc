//! The store: what it decides, and what it does on a real cluster.

mod beginnings;
mod catalog;
mod child;
mod collect;
mod commit;
mod deaths;
mod delete;
mod fence;
mod given_up;
mod head;
mod idle;
mod limits;
mod making;
mod rest;
mod strangers;
mod stutter;
mod support;
mod uploads;

use self::support::site;
use crate::image::ImageStore as _;
use crate::image::cases::{run_cases, run_upload_cases};

#[tokio::test]
async fn gateways_tell_one_store_from_another() {
    let (one, other) = (site(), site());
    let name = one.store().identity().await.unwrap().unwrap();
    assert!(name.starts_with("ceph:") && name.ends_with(&one.namespace), "{name}");
    assert_eq!(one.store().identity().await.unwrap().unwrap(), name);
    assert_ne!(other.store().identity().await.unwrap().unwrap(), name);
}

mod shared_upload_cases {
    use super::*;

    run_upload_cases! { site().bench() }
}

/// As a gateway has them.
mod shared_upload_cases_with_rests {
    use super::*;
    use crate::image::rbd::upload::REST;

    run_upload_cases! { site().bench_of(REST) }
}

mod shared_cases {
    use super::*;

    // Without those in which a stranger reaches files: `strangers` has what he can reach here.
    run_cases! {
        site().bench();
        full_snapshots_of_all_sizes, a_chain_of_incrementals, a_volume_that_shrinks_and_grows, zeroes_over_data,
        deleting_any_of_a_chain, branches, one_writer_at_a_time, the_same_again, a_foreign_volume, a_missing_base,
        giving_up_leaves_nothing, readers_of_what_is_deleted, a_reader_of_the_newest, nothing_there, a_cancelled_commit,
        a_permission_from_before_a_deletion
    }
}
