//! `cargo xtask ceph`: two clusters to try things on, for as long as the chore runs.
//!
//! In the foreground and not as an `up` with a `down`: what nobody has to remember to end cannot be forgotten.

use anyhow::{Context, Result};
use rsnap_test_ceph::{Cluster, Options};

use crate::packages::{self, CEPH};
use crate::steps::Steps;

/// `cargo xtask ceph`.
pub(crate) fn chore() -> Result<()> {
    let mut steps = Steps::new("Ceph", 2);
    steps.step("Start two clusters");
    packages::ensure(&steps, &CEPH)?;
    let start = |name: &str| {
        let label = format!("cluster {name}, on disk, pool volumes");
        steps.timed(&label, || Cluster::start(&Options::bluestore())).with_context(|| format!("cannot start {name}"))
    };
    let clusters = [("a", start("a")?), ("b", start("b")?)];

    steps.step("Use them in another shell");
    for (name, cluster) in &clusters {
        steps.line(format!("cluster {name}: export CEPH_CONF={}", cluster.configuration().display()));
    }
    steps
        .line("rbd create volumes/one --size 1G; rbd bench --io-type write --io-total 64M volumes/one; rbd ls volumes");
    steps.line("Both end with this program: Ctrl-C. Their data goes with them.");
    loop {
        std::thread::park();
    }
}
