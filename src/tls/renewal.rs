//! Another certificate comes into use while the gateway serves.
//!
//! Whoever renews a certificate writes two files, one after the other, and a reader may come between. So a pair is
//! taken only when both files lay still from one look to the next, were still the same after they were read, and fit
//! each other; until then the old pair stays in use. New connections get the new certificate, those that run never
//! notice. Files are looked at again and again: watching them by inotify was refused, because it is silent on network
//! file systems and loses the files behind the symbolic links that certbot and Kubernetes switch over.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

use super::{Files, Identity, TlsError};

/// The certificate in use. Ask again for each connection and each answer: it may be another one by then.
#[derive(Clone, Debug)]
pub struct Live(watch::Receiver<Arc<Identity>>);

impl Live {
    #[must_use]
    pub fn now(&self) -> Arc<Identity> {
        Arc::clone(&self.0.borrow())
    }
}

/// Looks after the files of the certificate in use. Its calls block on the disk.
#[derive(Debug)]
pub struct Renewal {
    files: Files,
    name: Option<String>,
    current: watch::Sender<Arc<Identity>>,
    /// What the files looked like when the certificate in use was read.
    loaded: Stamps,
    /// What they looked like at the last look.
    seen: Stamps,
    /// The fault that was told last.
    told: Option<String>,
}

impl Renewal {
    /// Reads the first certificate, whatever its dates: a gateway that does not start helps nobody.
    pub(super) fn start(files: Files, name: Option<&str>) -> Result<Self, TlsError> {
        let stamps = Stamps::of(&files);
        let (current, _) = watch::channel(Arc::new(Identity::read(&files, name)?));
        Ok(Self { files, name: name.map(str::to_owned), current, loaded: stamps, seen: stamps, told: None })
    }

    #[must_use]
    pub fn live(&self) -> Live {
        Live(self.current.subscribe())
    }

    /// Takes what lies there now into use, because somebody says that it is complete. An error leaves the old one in
    /// use.
    pub fn reload(&mut self) -> Result<Arc<Identity>, TlsError> {
        let stamps = Stamps::of(&self.files);
        let renewed = self.renew(stamps);
        self.told = renewed.as_ref().err().map(ToString::to_string);
        renewed
    }

    /// Looks whether the files have changed, and takes them into use once they lie still. `None`: nothing is new. The
    /// same fault is told once, and tried again at each look.
    pub fn look(&mut self) -> Option<Result<Arc<Identity>, TlsError>> {
        let stamps = Stamps::of(&self.files);
        let is_settled = std::mem::replace(&mut self.seen, stamps) == stamps;
        if stamps == self.loaded {
            self.told = None;
            return None;
        }
        if !is_settled {
            return None;
        }
        match self.renew(stamps) {
            Err(TlsError::Unsettled { .. }) => None,
            Err(fault) => self.tell(fault).map(Err),
            renewed => {
                self.told = None;
                Some(renewed)
            }
        }
    }

    fn tell(&mut self, fault: TlsError) -> Option<TlsError> {
        let text = fault.to_string();
        let is_new = self.told.as_ref() != Some(&text);
        self.told = Some(text);
        is_new.then_some(fault)
    }

    fn renew(&mut self, stamps: Stamps) -> Result<Arc<Identity>, TlsError> {
        let identity = Identity::read(&self.files, self.name.as_deref())?;
        if Stamps::of(&self.files) != stamps {
            let Files { certificate, key } = self.files.clone();
            return Err(TlsError::Unsettled { certificate, key });
        }
        self.refuse_a_worse_one(&identity)?;
        let identity = Arc::new(identity);
        self.loaded = stamps;
        self.current.send_replace(Arc::clone(&identity));
        Ok(identity)
    }

    /// A certificate that nobody accepts does not replace one that everybody does.
    fn refuse_a_worse_one(&self, new: &Identity) -> Result<(), TlsError> {
        let now = SystemTime::now();
        if new.is_valid_at(now) || !self.current.borrow().is_valid_at(now) {
            return Ok(());
        }
        let text = |moment| humantime::format_rfc3339_seconds(moment).to_string();
        let (from, until) = (text(new.not_before), text(new.not_after));
        Err(TlsError::NotNow { certificate: new.certificate.clone(), from, until })
    }
}

/// What tells one state of both files from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamps {
    certificate: Option<Stamp>,
    key: Option<Stamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Changes with permissions too, which decide whether the file can be read.
    changed: (i64, i64),
}

impl Stamps {
    fn of(files: &Files) -> Self {
        Self { certificate: Stamp::of(&files.certificate), key: Stamp::of(&files.key) }
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}
