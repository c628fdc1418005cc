//! Another certificate comes into use while the gateway serves.
//!
//! Whoever renews a certificate writes two files, so a pair is taken only when both lie still (`watched`) and fit each
//! other; until then the old pair stays in use. New connections get the new certificate, those that run never notice.
//! The authorities of clients are looked after for themselves: one that is withdrawn must not wait for a pair that fits.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

use super::clients::{Clients, ClientsRenewal};
use super::watched::Watched;
use super::{Files, Identity, TlsError};

/// The certificate in use. Ask again for each connection and each answer: it may be another one by then.
#[derive(Clone, Debug)]
pub struct Live {
    identity: watch::Receiver<Arc<Identity>>,
    clients: Option<Clients>,
}

impl Live {
    #[must_use]
    pub fn now(&self) -> Arc<Identity> {
        Arc::clone(&self.identity.borrow())
    }

    /// Who vouches for the certificates of clients; `None`: they are not asked for any.
    #[must_use]
    pub fn clients(&self) -> Option<&Clients> {
        self.clients.as_ref()
    }
}

/// Looks after the files of the certificate in use. Its calls block on the disk.
#[derive(Debug)]
pub struct Renewal {
    files: Files,
    watched: Watched,
    name: Option<String>,
    current: watch::Sender<Arc<Identity>>,
    clients: Option<ClientsRenewal>,
}

impl Renewal {
    /// Reads the first certificate, whatever its dates: a gateway that does not start helps nobody.
    pub(super) fn start(files: Files, name: Option<&str>, clients: Option<ClientsRenewal>) -> Result<Self, TlsError> {
        let watched = Watched::new(vec![files.certificate.clone(), files.key.clone()]);
        let first = Identity::read(&files, name, clients.as_ref().map(ClientsRenewal::live))?;
        let (current, _) = watch::channel(Arc::new(first));
        Ok(Self { files, watched, name: name.map(str::to_owned), current, clients })
    }

    #[must_use]
    pub fn live(&self) -> Live {
        Live { identity: self.current.subscribe(), clients: self.clients.as_ref().map(ClientsRenewal::live) }
    }

    /// What looks after the authorities of clients, where there are any.
    pub fn clients(&mut self) -> Option<&mut ClientsRenewal> {
        self.clients.as_mut()
    }

    /// Takes what lies there now into use, because somebody says that it is complete. An error leaves the old one in
    /// use.
    pub fn reload(&mut self) -> Result<Arc<Identity>, TlsError> {
        let Self { files, watched, name, current, clients } = self;
        let renewed = watched.reload(|| read(files, name.as_deref(), clients.as_ref(), &current.borrow()))?;
        current.send_replace(Arc::clone(&renewed));
        Ok(renewed)
    }

    /// Takes files that have changed into use once they lie still. `None`: nothing is new. The same fault is told once,
    /// and tried again at each look.
    pub fn look(&mut self) -> Option<Result<Arc<Identity>, TlsError>> {
        let Self { files, watched, name, current, clients } = self;
        let renewed = watched.look(|| read(files, name.as_deref(), clients.as_ref(), &current.borrow()))?;
        if let Ok(identity) = &renewed {
            current.send_replace(Arc::clone(identity));
        }
        Some(renewed)
    }
}

fn read(
    files: &Files,
    name: Option<&str>,
    clients: Option<&ClientsRenewal>,
    old: &Identity,
) -> Result<Arc<Identity>, TlsError> {
    let new = Identity::read(files, name, clients.map(ClientsRenewal::live))?;
    refuse_a_worse_one(&new, old)?;
    Ok(Arc::new(new))
}

/// A certificate that nobody accepts does not replace one that everybody does.
fn refuse_a_worse_one(new: &Identity, old: &Identity) -> Result<(), TlsError> {
    let now = SystemTime::now();
    if new.is_valid_at(now) || !old.is_valid_at(now) {
        return Ok(());
    }
    let text = |moment| humantime::format_rfc3339_seconds(moment).to_string();
    let (from, until) = (text(new.not_before), text(new.not_after));
    Err(TlsError::NotNow { certificate: new.certificate.clone(), from, until })
}
