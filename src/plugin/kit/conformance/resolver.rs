//! The rules for site resolvers.

use std::path::{Path, PathBuf};

use futures_util::FutureExt;

use super::{Rule, Stop, broken, settings};
use crate::id::SiteName;
use crate::plugin::PluginError;
use crate::plugin::addresses::Allowed;
use crate::plugin::bindings::resolver::SiteResolver;
use crate::plugin::bindings::resolver::exports::rsnap::plugin::resolver as wit;
use crate::plugin::call::Guest;
use crate::plugin::kit::trial::load_guest;
use crate::plugin::kit::{Options, Problem};

/// A resolver that is tried out.
pub(super) struct Subject {
    guest: Guest<SiteResolver>,
    path: PathBuf,
    options: Options,
    /// Those that it must know.
    sites: Vec<SiteName>,
}

/// What a resolver answers, before the host has looked at it.
type Answer = Result<Option<wit::Site>, String>;

pub(super) const RULES: [Rule<Subject>; 6] = [
    Rule { name: settings::NAME, about: settings::ABOUT, check: |subject| subject.settings().boxed() },
    Rule {
        name: "answers",
        about: "answers for every name; none is an answer, a trap is not",
        check: |subject| subject.answers().boxed(),
    },
    Rule {
        name: "repeats",
        about: "gives the same answer for the same name, whatever it was asked before",
        check: |subject| subject.repeats().boxed(),
    },
    Rule {
        name: "own-name",
        about: "answers the site that it was asked for",
        check: |subject| subject.each_site(own_name).boxed(),
    },
    Rule {
        name: "addresses",
        about: "answers https addresses that a gateway may contact",
        check: |subject| subject.each_site(addresses).boxed(),
    },
    Rule {
        name: "known-sites",
        about: "knows the sites that were named with --site",
        check: |subject| subject.known_sites().boxed(),
    },
];

/// Names that may or may not be sites.
const NAMES: [&str; 6] = ["dc1", "no-such-site", "a", "UPPER.lower_0-9", "0", "localhost"];

impl Subject {
    pub(super) async fn load(path: &Path, options: &Options, sites: &[SiteName]) -> Result<Self, Problem> {
        let (guest, _) = load_guest(path, options.clone()).await?;
        Ok(Self { guest, path: path.to_owned(), options: options.clone(), sites: sites.to_vec() })
    }

    async fn settings(&self) -> Result<(), Stop> {
        settings::check(&self.path, &self.options).await
    }

    fn names(&self) -> Vec<String> {
        let long = "x".repeat(crate::id::NAME_MAX);
        let known = self.sites.iter().map(ToString::to_string);
        known.chain(NAMES.map(str::to_owned)).chain([long]).collect()
    }

    /// The answers of one instance to questions that come one after the other.
    async fn ask(&self, names: Vec<String>) -> Result<Vec<Answer>, PluginError> {
        let asked = self.guest.start(move |instance| {
            Box::pin(async move {
                let mut answers = Vec::with_capacity(names.len());
                for name in names {
                    let (world, store) = (&instance.world, &mut instance.store);
                    answers.push(world.rsnap_plugin_resolver().call_resolve(store, &name).await?);
                }
                Ok(answers)
            })
        });
        Ok(asked.await?.1)
    }

    /// The answer of a fresh instance.
    async fn ask_one(&self, name: &str) -> Result<Answer, Stop> {
        match self.ask(vec![name.to_owned()]).await {
            Ok(answers) => answers.into_iter().next().ok_or_else(|| Stop::Broken("it does not answer".to_owned())),
            Err(error) => broken(format!("asked for {name}: {error}")),
        }
    }

    async fn answers(&self) -> Result<(), Stop> {
        for name in self.names() {
            drop(self.ask_one(&name).await?);
        }
        Ok(())
    }

    async fn repeats(&self) -> Result<(), Stop> {
        let names = self.names();
        for (name, other) in names.iter().zip(names.iter().cycle().skip(1)) {
            let first = format!("{:?}", self.ask_one(name).await?);
            let again = self.ask(vec![name.clone(), other.clone(), name.clone()]).await?;
            let same = |answer: Option<&Answer>| answer.is_some_and(|answer| format!("{answer:?}") == first);
            if !same(again.first()) || !same(again.last()) {
                return broken(format!("it answers differently when asked again for {name}"));
            }
        }
        Ok(())
    }

    async fn each_site(&self, fault: fn(&str, &wit::Site) -> Option<String>) -> Result<(), Stop> {
        for name in self.names() {
            if let Ok(Some(site)) = self.ask_one(&name).await?
                && let Some(fault) = fault(&name, &site)
            {
                return broken(format!("asked for {name}: {fault}"));
            }
        }
        Ok(())
    }

    async fn known_sites(&self) -> Result<(), Stop> {
        if self.sites.is_empty() {
            return Err(Stop::Skipped("no site was named with --site".to_owned()));
        }
        for site in &self.sites {
            match self.ask_one(site.as_str()).await? {
                Ok(Some(_)) => {}
                Ok(None) => return broken(format!("it does not know {site}")),
                Err(text) => return broken(format!("asked for {site}: {text}")),
            }
        }
        Ok(())
    }
}

fn own_name(name: &str, site: &wit::Site) -> Option<String> {
    (site.name != name).then(|| format!("it answers the site {:?}", site.name))
}

fn addresses(_: &str, site: &wit::Site) -> Option<String> {
    let allowed = Allowed::new(&[]);
    let fault = |(key, address): (&str, &str)| Some(format!("the {key} address {}", allowed.check(address).err()?));
    [("keystone", site.keystone.as_str()), ("gateway", site.gateway.as_str())].into_iter().find_map(fault)
}
