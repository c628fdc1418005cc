//! Tests of the whole gateway: its real binary, real TLS, real files, real components.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    dead_code,
    reason = "a test that meets the unexpected must fail at once"
)]

mod support;

mod bad_input;
mod campaign;
mod ceph;
mod chains;
mod cluster;
mod command_line;
mod cuts;
mod deploy;
mod keystone;
mod layers;
mod marks;
mod mutual_tls;
mod objects;
mod packed;
mod plugins;
mod readme;
mod rebase;
mod round_trip;
mod stops;
mod uploads;
mod verify;
