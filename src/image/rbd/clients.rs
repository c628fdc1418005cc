//! Which clients of the cluster are ours, and who else has an image.
//!
//! Whoever takes an image over blocklists the client that had it, and that must never be a virtual machine. So each client
//! of ours that opens an image to change it says so in the image's metadata, under a key of its own, before it asks for
//! anything: no client that is without such a record is blocklisted, or asked for the lock. A client that closes the image
//! in order says that too, and does nothing afterwards. One whose record is there, and which neither has the image open nor
//! said that it closes it, died or was stopped: it is blocklisted before anybody relies on what is there. To guess from the
//! name of the client was refused: a gateway and a virtual machine may use the same Ceph user.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::failure::failed;
use super::record::CLIENT;
use super::session::{BLOCKLIST, Session, seconds};
use crate::image::ImageError;
use crate::image::record::{Body, unseal};

/// How often somebody unknown is looked at again: a client of ours opens an image a moment before it can say so.
const LOOKS: usize = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// A client of ours that has an image open to change it, or had.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Opener {
    /// Ceph's id of the image: metadata is copied with an image, and a copy was opened by others.
    pub image: String,
    /// As the cluster shows it among watchers and owners of locks.
    pub address: String,
    /// It changes nothing any more.
    pub is_closing: bool,
    /// It changes records and removes snapshots though a stranger has the lock. All others change nothing without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_beside: bool,
}

impl Body for Opener {
    const KIND: &'static str = "rbd client";
}

/// Who has an image, besides this session.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// Clients of ours that have it open, or its lock.
    pub ours: Vec<Opener>,
    /// Clients of ours that have neither.
    pub gone: Vec<Opener>,
    /// Clients of others that have it open.
    pub strangers: Vec<String>,
    /// Clients of others that have its lock and do not have it open: they died.
    pub dead_strangers: Vec<String>,
    /// Those of ours that have its lock: one or none.
    pub owners: Vec<String>,
    /// The cluster sees that this session has it open.
    pub sees_us: bool,
}

impl Company {
    /// Looks. Blocks.
    pub(super) fn look(session: &Session) -> Result<Self, ImageError> {
        let mut company = Self::glance(session)?;
        for _ in 1..LOOKS {
            if company.is_known() {
                break;
            }
            std::thread::sleep(BETWEEN_LOOKS);
            company = Self::glance(session)?;
        }
        Ok(company)
    }

    /// Records are read before and after: who has gone by then is known by the first ones, who has come by the second.
    fn glance(session: &Session) -> Result<Self, ImageError> {
        let image = session.image()?;
        let others = |address: &String| address != session.address();
        let before = openers(session)?;
        let watchers = image.watchers().map_err(failed)?.into_iter().map(|watcher| watcher.address);
        let watchers: Vec<String> = watchers.collect();
        let sees_us = watchers.iter().any(|address| address == session.address());
        let watchers: Vec<String> = watchers.into_iter().filter(others).collect();
        let owners: Vec<String> = image.lock_owners().map_err(failed)?.into_iter().filter(others).collect();
        let after = openers(session)?;
        let is_there = |address: &String| watchers.contains(address) || owners.contains(address);
        let is_ours = |address: &String| after.iter().any(|opener| opener.address == *address);
        let gone = before.into_iter().filter(|opener| others(&opener.address) && !is_there(&opener.address));
        let dead = owners.iter().filter(|owner| !is_ours(owner) && !watchers.contains(owner));
        Ok(Self {
            gone: gone.collect(),
            ours: after.iter().filter(|opener| is_there(&opener.address)).cloned().collect(),
            strangers: watchers.iter().filter(|address| !is_ours(address)).cloned().collect(),
            dead_strangers: dead.cloned().collect(),
            owners: owners.iter().filter(|owner| is_ours(owner)).cloned().collect(),
            sees_us,
        })
    }

    fn is_known(&self) -> bool {
        self.strangers.is_empty() && self.dead_strangers.is_empty()
    }

    /// Refuses an image that somebody else has.
    pub(super) fn refuse_strangers(&self, session: &Session) -> Result<(), ImageError> {
        let by = match (self.strangers.first(), self.dead_strangers.first()) {
            (Some(client), _) => format!(
                "the client {client} has it open and is not rsnap: a virtual machine perhaps, or an `rbd` command; detach it \
                 there (`rbd status` shows who has it open)"
            ),
            (None, Some(client)) => format!(
                "the client {client} has its lock, does not have it open any more, and is not rsnap; if it died, remove its \
                 lock (`rbd lock ls`, `rbd lock rm`)"
            ),
            (None, None) => return Ok(()),
        };
        tracing::warn!(image = %session.name, by, "refuse an image that is in use");
        Err(ImageError::InUse { image: session.name.clone(), by })
    }

    /// Whether a client of ours may still change the image.
    pub(super) fn is_changed_by_ours(&self) -> bool {
        self.ours.iter().any(|opener| !opener.is_closing)
    }

    /// Blocklists those that have it open and say nothing, once this session has the lock: they wanted it, and live no more,
    /// or are of no use. False: one of them may be at work without the lock. Blocks.
    pub(super) fn shut_out_silent(&self, session: &Session) -> Result<bool, ImageError> {
        if self.ours.iter().any(|opener| !opener.is_closing && opener.is_beside) {
            return Ok(false);
        }
        for opener in self.ours.iter().filter(|opener| !opener.is_closing) {
            tracing::info!(image = %session.name, client = opener.address, "blocklist a client that neither writes nor leaves");
            session.cluster.blocklist(&opener.address, seconds(BLOCKLIST)).map_err(failed)?;
        }
        Ok(true)
    }

    /// Blocklists those that went without a word, and forgets all that went. True: there were any of the former. Blocks.
    pub(super) fn shut_out_gone(&self, session: &Session) -> Result<bool, ImageError> {
        let mut silent = false;
        for opener in &self.gone {
            if !opener.is_closing {
                silent = true;
                tracing::info!(image = %session.name, client = opener.address, "blocklist a writer that died or was stopped");
                session.cluster.blocklist(&opener.address, seconds(BLOCKLIST)).map_err(failed)?;
            }
            session.unset(&client_key(&opener.address))?;
        }
        Ok(silent)
    }
}

pub(super) fn client_key(address: &str) -> String {
    format!("{CLIENT}{address}")
}

/// The records of all clients of ours. What cannot be read names nobody.
fn openers(session: &Session) -> Result<Vec<Opener>, ImageError> {
    let metadata = session.image()?.all_metadata(CLIENT).map_err(failed)?;
    let read = |(key, text): &(String, String)| {
        let opener = unseal::<Opener>(text.as_bytes()).ok()?;
        (*key == client_key(&opener.address) && opener.image == session.id).then_some(opener)
    };
    Ok(metadata.iter().filter_map(read).collect())
}
