//! What a cluster is started with.

use std::path::PathBuf;

/// Where the OSD keeps its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// On a sparse file, as in production: for everything that judges durability, or holds a gigabyte and more.
    Bluestore,
    /// In memory: starts sooner, costs twice its data, and loses all when the OSD is killed.
    Memory,
}

/// A user besides `client.admin`; its keyring is [`crate::Cluster::keyring`].
#[derive(Debug, Clone)]
pub struct User {
    /// Without `client.`.
    pub name: String,
    /// What each kind of daemon permits, such as `("osd", "profile rbd pool=volumes")`.
    pub capabilities: Vec<(String, String)>,
}

impl User {
    #[must_use]
    pub fn new(name: &str, capabilities: &[(&str, &str)]) -> Self {
        let owned = |(daemon, text): &(&str, &str)| ((*daemon).to_owned(), (*text).to_owned());
        Self { name: name.to_owned(), capabilities: capabilities.iter().map(owned).collect() }
    }
}

/// What a cluster is started with.
#[derive(Debug, Clone)]
pub struct Options {
    pub store: Store,
    /// What the OSD can hold. Nothing is reserved.
    pub bytes: u64,
    /// Whether clients must prove who they are.
    pub cephx: bool,
    pub users: Vec<User>,
    /// Pools to make, ready for RBD.
    pub pools: Vec<String>,
    /// Lines of configuration by section, such as `("osd", "osd client watch timeout = 5")`.
    pub settings: Vec<(String, String)>,
    /// Where everything lies. Default: a new directory in `/var/tmp`, which is on a disk and short enough for the
    /// paths of sockets. Removed with the cluster in any case.
    pub directory: Option<PathBuf>,
}

impl Default for Options {
    /// In memory, everybody trusted, one pool `volumes`. 12 GiB, of which only what is used is taken: tests leave their images
    /// behind, and on a full cluster Ceph's tools wait for ever.
    fn default() -> Self {
        Self {
            store: Store::Memory,
            bytes: 12 << 30,
            cephx: false,
            users: Vec::new(),
            pools: vec!["volumes".to_owned()],
            settings: Vec::new(),
            directory: None,
        }
    }
}

impl Options {
    /// The same on a disk.
    #[must_use]
    pub fn bluestore() -> Self {
        Self { store: Store::Bluestore, bytes: 16 << 30, ..Self::default() }
    }

    #[must_use]
    pub fn with_setting(mut self, section: &str, line: &str) -> Self {
        self.settings.push((section.to_owned(), line.to_owned()));
        self
    }

    #[must_use]
    pub fn with_user(mut self, user: User) -> Self {
        self.users.push(user);
        self
    }

    #[must_use]
    pub fn with_pools(mut self, pools: &[&str]) -> Self {
        self.pools = pools.iter().map(|pool| (*pool).to_owned()).collect();
        self
    }
}
