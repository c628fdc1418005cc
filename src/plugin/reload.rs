//! Other plugins while the gateway runs: new work goes to the new versions, running work ends on the old ones.
//!
//! All that has changed is loaded, with the checks of a start, before one of the old ones is replaced: a plugin that is
//! wrong leaves everything as it was. What has not changed, neither its table nor its file, stays the same instance of
//! the host: no counter begins anew and nothing is compiled. A restart instead was refused, because it ends transfers
//! that last for days.

use std::fmt;
use std::sync::{Arc, PoisonError};

use serde::Serialize;

use super::account::Account;
use super::builtin;
use super::config::{Config, PluginConfig};
use super::fault::Fault;
use super::load::{Entries, Loader, Plugins, State, name, recorder};
use super::shared::Entry;
use super::supply::Supply;
use super::{Kind, LoadError};

/// What became of one plugin in a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    pub kind: Kind,
    pub name: String,
    pub change: Change,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is the one that it was.
    Kept,
    /// Another file, or other settings, limits or grants.
    Loaded,
}

impl fmt::Display for Reloaded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change = match self.change {
            Change::Kept => "kept",
            Change::Loaded => "loaded anew",
        };
        write!(formatter, "{} {} {change}", self.kind, self.name)
    }
}

impl Plugins {
    /// Makes the plugins those of `config`. After an error all are as they were.
    pub async fn reload(&self, config: &Config) -> Result<Vec<Reloaded>, LoadError> {
        let mut state = self.state.lock().await;
        same_stores(&state.config, config)?;
        let before = self.entries.read().unwrap_or_else(PoisonError::into_inner).clone();
        let recording = state.config.recording != config.recording;
        let (old, supply) = (&state.config, state.loader.supply(config));
        let signers = old.signatures != config.signatures;
        let changed = |entry: &Entry, old: &PluginConfig, new: &PluginConfig| {
            signers && entry.shared.is_some() || has_changed(entry, old, new, &supply)
        };
        let writer = changed(&before.writer, &old.writer, &config.writer);
        let policy = recording || changed(&before.policy, &old.policy, &config.policy);
        let hosts = old.allow_hosts != config.allow_hosts;
        let resolver = hosts || changed(&before.resolver, &old.resolver, &config.resolver);

        // Larger instances need another pool; plugins that stay keep theirs.
        let larger = match state.loader.fits(config.memory()) {
            true => None,
            false => Some(Loader::start(self.context.clone(), config.memory())?),
        };
        let loader = larger.as_ref().unwrap_or(&state.loader);
        let new_recorder = if recording { recorder(config)? } else { state.recorder.clone() };
        let writer = match writer {
            true => Some(loader.writer(config, account(&before.writer, &config.writer)).await?),
            false => None,
        };
        let policy = match policy {
            true => {
                let account = account(&before.policy, &config.policy);
                Some(loader.policy(config, new_recorder.as_ref(), account).await?)
            }
            false => None,
        };
        let resolver = match resolver {
            true => Some(loader.resolver(config, account(&before.resolver, &config.resolver)).await?),
            false => None,
        };

        // From here on nothing fails.
        let mut entries = before;
        let reloaded = vec![
            replace(writer, &mut entries.writer, |plugin| self.writer.put(plugin)),
            replace(policy, &mut entries.policy, |plugin| self.policy.put(plugin)),
            replace(resolver, &mut entries.resolver, |plugin| self.resolver.put(plugin)),
        ];
        self.remember(entries);
        let State { config: known, loader, recorder } = &mut *state;
        known.clone_from(config);
        *recorder = new_recorder;
        if let Some(larger) = larger {
            *loader = larger;
        }
        Ok(reloaded)
    }

    fn remember(&self, entries: Entries) {
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = entries;
    }
}

/// Gateways behind one address must write to the same storage, and have agreed on it when they started.
fn same_stores(old: &Config, new: &Config) -> Result<(), LoadError> {
    if old.writer.stores == new.writer.stores {
        return Ok(());
    }
    let fault = Fault::new("the stores that it may use have changed, which a reload cannot do", "restart the gateway");
    Err(fault.of(&name(&new.writer.component), Kind::Writer))
}

/// Whether a plugin is another one now: by its table, or by the file that the table means.
fn has_changed(entry: &Entry, old: &PluginConfig, new: &PluginConfig, supply: &Supply) -> bool {
    if old != new || new.component == builtin::NAME {
        return old != new;
    }
    // What is wrong with the file is told by whoever loads it.
    let found = supply.find(new).ok().flatten();
    found.is_none_or(|source| Some(source.sha256) != entry.identity.sha256)
}

/// A plugin of the same name goes on with its account, so that its counters do not begin anew.
fn account(before: &Entry, config: &PluginConfig) -> Arc<Account> {
    let same = name(&config.component) == before.identity.name;
    if same { Arc::clone(&before.account) } else { Arc::default() }
}

fn replace<T>(loaded: Option<(T, Entry)>, entry: &mut Entry, put: impl FnOnce(T)) -> Reloaded {
    let change = match loaded {
        Some((plugin, new)) => {
            put(plugin);
            *entry = new;
            Change::Loaded
        }
        None => {
            // Whoever reloads has perhaps repaired what the plugin needs.
            entry.shared.iter().for_each(|shared| shared.rehabilitate());
            Change::Kept
        }
    };
    Reloaded { kind: entry.identity.kind, name: entry.identity.name.clone(), change }
}
