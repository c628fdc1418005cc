//! The `ceph.conf` of a cluster.

use std::path::Path;

use crate::options::{Options, Store};

/// The names of the only monitor and the only OSD.
pub(crate) const MONITOR: &str = "mon.a";
pub(crate) const OSD: &str = "osd.0";

/// The configuration for daemons and clients alike. A later line of a section wins, so the caller's come last.
pub(crate) fn text(options: &Options, directory: &Path, cluster: &str, port: u16) -> String {
    let mut text = global(options, directory, cluster, port);
    text += &daemons(options, directory);
    for (section, line) in &options.settings {
        text += &format!("[{section}]\n{line}\n");
    }
    text
}

fn global(options: &Options, directory: &Path, cluster: &str, port: u16) -> String {
    let directory = directory.display();
    let auth = if options.cephx { "cephx" } else { "none" };
    // The network: one protocol, loopback, and the OSD takes whatever ports are free in Ceph's own range.
    // One copy on one host is not a fault here. A disk of the host that fills up is not ours to watch.
    // Small intervals of consensus: the first start is a row of small changes to the cluster's maps.
    format!(
        "[global]\n\
         fsid = {cluster}\n\
         mon host = [v2:127.0.0.1:{port}/0]\n\
         auth cluster required = {auth}\n\
         auth service required = {auth}\n\
         auth client required = {auth}\n\
         keyring = {directory}/keys/$name.keyring\n\
         public network = 127.0.0.0/8\n\
         public addr = 127.0.0.1\n\
         cluster addr = 127.0.0.1\n\
         ms bind msgr1 = false\n\
         run dir = {directory}/run\n\
         pid file = {directory}/run/$type.$id.pid\n\
         log file = {directory}/log/$type.$id.log\n\
         admin socket = {directory}/run/$type.$id.asok\n\
         crash dir = {directory}/log\n\
         mon cluster log file = {directory}/log/cluster.log\n\
         osd pool default size = 1\n\
         osd pool default min size = 1\n\
         osd pool default pg num = 8\n\
         osd pool default pgp num = 8\n\
         osd pool default pg autoscale mode = off\n\
         osd crush chooseleaf type = 0\n\
         mon allow pool size one = true\n\
         mon allow pool delete = true\n\
         mon warn on pool no redundancy = false\n\
         mon warn on insecure global id reclaim = false\n\
         mon warn on insecure global id reclaim allowed = false\n\
         mon data avail warn = 2\n\
         mon data avail crit = 1\n\
         paxos propose interval = 0.05\n\
         paxos min wait = 0.01\n\
         mon osd full ratio = .99\n\
         mon osd nearfull ratio = .98\n\
         mon osd backfillfull ratio = .985\n\
         osd failsafe full ratio = .995\n"
    )
}

fn daemons(options: &Options, directory: &Path) -> String {
    let directory = directory.display();
    let bytes = options.bytes;
    let store = match options.store {
        Store::Bluestore => "bluestore",
        Store::Memory => "memstore",
    };
    // A fast shutdown makes the next start replay the log for many seconds.
    format!(
        "[client]\n\
         log file =\n\
         admin socket =\n\
         [mon]\n\
         mon data = {directory}/{MONITOR}\n\
         [osd]\n\
         osd data = {directory}/{OSD}\n\
         osd objectstore = {store}\n\
         osd memory target = 1073741824\n\
         osd max scrubs = 0\n\
         osd fast shutdown = false\n\
         bluestore block create = true\n\
         bluestore block size = {bytes}\n\
         bluestore fsck on mount = false\n\
         bluestore fsck on mkfs = false\n\
         memstore device bytes = {bytes}\n"
    )
}
