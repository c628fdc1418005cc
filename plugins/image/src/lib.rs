//! The writer `image`: each volume is an image of an image store, each snapshot a snapshot of that image.
//!
//! ```toml
//! [plugins.writer.settings]
//! store = "main"
//! image = "volume-{volume}"          # how images are called; {volume} is the volume's id
//! snapshot = "snapshot-{snapshot}"   # and snapshots
//! ```

use rsnap_plugin::writer::{Destination, Error, Location, Transfer, Writer, open};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    #[serde(default = "default_store")]
    store: String,
    #[serde(default = "default_image")]
    image: String,
    #[serde(default = "default_snapshot")]
    snapshot: String,
}

fn default_store() -> String {
    "main".to_owned()
}

fn default_image() -> String {
    "volume-{volume}".to_owned()
}

fn default_snapshot() -> String {
    "snapshot-{snapshot}".to_owned()
}

impl Writer for Image {
    /// Without its placeholder a template would give all volumes, or all snapshots, one name.
    fn check(&self) -> Result<(), String> {
        for (key, template, needed) in [("image", &self.image, "{volume}"), ("snapshot", &self.snapshot, "{snapshot}")] {
            let rest = template.replacen(needed, "", 1);
            if rest.len() == template.len() || rest.contains(['{', '}']) {
                return Err(format!("{key}: {template:?} must contain {needed} once and no other placeholder"));
            }
        }
        Ok(())
    }

    fn locate(&self, volume: &str) -> Result<Location, Error> {
        Ok(Location { store: self.store.clone(), image: self.image.replace("{volume}", volume) })
    }

    /// The host moves the data itself: this is all that this plugin does for a transfer.
    fn begin(&mut self, transfer: Transfer) -> Result<Destination, Error> {
        let place = self.locate(&transfer.volume)?;
        let name = self.snapshot.replace("{snapshot}", &transfer.snapshot);
        Ok(Destination::Image(open(&place.store, &place.image, &name)?))
    }
}

rsnap_plugin::export_writer!(Image);
