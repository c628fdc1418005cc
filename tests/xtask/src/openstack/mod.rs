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
pub(crate) use suite::part;

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
        /// Run only what `cargo xtask test` runs of it, with the newest release on both sites
        #[arg(long, conflicts_with = "filter")]
        part: bool,
    },
    /// Hold both sites; what `up` leaves behind
    #[command(hide = true)]
    Hold {
        /// Which releases they run
        #[arg(value_enum)]
        releases: Releases,
    },
}

/// What the two sites run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Releases {
    /// One the newest release, the other Debian's.
    Both,
    /// The newest one on both: no more of Debian's than libraries has to be installed.
    Newest,
}

impl Releases {
    /// As the command line has it.
    fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Newest => "newest",
        }
    }
}

/// `cargo xtask openstack`.
pub(crate) fn chore(root: &Path, arguments: &Arguments) -> Result<()> {
    match arguments {
        Arguments::Up => sites::up(root),
        Arguments::Down => sites::down(root),
        Arguments::Test { part: true, .. } => suite::part_alone(root),
        Arguments::Test { filter, .. } => suite::chore(root, filter.as_deref()),
        Arguments::Hold { releases } => sites::hold(root, *releases),
    }
}
