//! The writer `my-plugin`: each volume is an image, each snapshot a snapshot of it; the host moves the data.

use rsnap_plugin::writer::{Destination, Error, Location, Transfer, Writer, open};

/// The settings: the plugin's own table in the gateway's configuration.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct MyPlugin {
    /// One of the stores that the operator granted.
    #[serde(default = "main")]
    store: String,
}

fn main() -> String {
    "main".to_owned()
}

impl Writer for MyPlugin {
    /// The same answer each time, and another image for each volume.
    fn locate(&self, volume: &str) -> Result<Location, Error> {
        Ok(Location { store: self.store.clone(), image: format!("volume-{volume}") })
    }

    /// Answer `Destination::Chunks` and implement `write` and `finish` to look at the data; it is slower.
    fn begin(&mut self, transfer: Transfer) -> Result<Destination, Error> {
        let place = self.locate(&transfer.volume)?;
        let name = format!("snapshot-{}", transfer.snapshot);
        Ok(Destination::Image(open(&place.store, &place.image, &name)?))
    }
}

rsnap_plugin::export_writer!(MyPlugin);
