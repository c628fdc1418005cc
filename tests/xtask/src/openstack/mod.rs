//! `cargo xtask openstack`: two real OpenStack sites on this machine, to try copies on and to test them.
//!
//! Each has Keystone, Cinder, Ceph, etcd, HAProxy and a gateway; one runs the newest releases, the other Debian's. The
//! sites themselves are started by `tests/openstack/bed`, in the language of what it starts and of the tests that kill
//! and start parts of it; here is what builds, installs and holds them.

mod environment;
mod sites;
mod suite;

use std::path::Path;

use anyhow::Result;
use clap::Subcommand;

pub(crate) use environment::{install_list, prepare, program};

#[derive(Debug, Subcommand)]
pub(crate) enum Arguments {
    /// Start both sites and say how to use them; they stay until `down`
    Up,
    /// End both sites, and remove their data
    Down,
    /// Run the tests of Cinder's extension: without a site, then on both sites, which are started unless they are up
    Test {
        /// Run only the tests whose names contain this, as pytest's -k
        filter: Option<String>,
    },
    /// Hold both sites; what `up` leaves behind
    #[command(hide = true)]
    Hold,
}

/// `cargo xtask openstack`.
pub(crate) fn chore(root: &Path, arguments: &Arguments) -> Result<()> {
    match arguments {
        Arguments::Up => sites::up(root),
        Arguments::Down => sites::down(root),
        Arguments::Test { filter } => suite::chore(root, filter.as_deref()),
        Arguments::Hold => sites::hold(root),
    }
}
