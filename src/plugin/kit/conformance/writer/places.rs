//! The rules about where volumes are.

use super::super::{Stop, broken};
use super::Subject;
use crate::plugin::bindings::writer::exports::rsnap::plugin::writer::Location;
use crate::plugin::host::parse_location;

/// Ids of volumes that are easily confused.
const VOLUMES: [&str; 14] = [
    "6f0e7c1c-7d8a-4c52-8a53-4f2f7b6f2a10",
    "6f0e7c1c-7d8a-4c52-8a53-4f2f7b6f2a11",
    "6f0e7c1c7d8a4c528a534f2f7b6f2a10",
    "6F0E7C1C-7D8A-4C52-8A53-4F2F7B6F2A10",
    "v",
    "V",
    "v1",
    "v11",
    "v-1",
    "v.1",
    "v_1",
    "0",
    "volume-v",
    "my-volume-with-a-name-that-is-as-long-as-people-make-them-64-byte",
];

impl Subject {
    /// The answers of one instance, before the host has looked at them.
    async fn places(&self, volumes: &[&str]) -> Result<Vec<Location>, Stop> {
        let volumes: Vec<String> = volumes.iter().map(|volume| (*volume).to_owned()).collect();
        let asked = self.writer.0.start(move |instance| {
            Box::pin(async move {
                let mut places = Vec::with_capacity(volumes.len());
                for volume in volumes {
                    let (world, store) = (&instance.world, &mut instance.store);
                    places.push((world.rsnap_plugin_writer().call_locate(store, &volume).await?, volume));
                }
                Ok(places)
            })
        });
        let (_, answers) = asked.await?;
        let place = |(answer, volume): (Result<Location, _>, String)| {
            answer.or_else(|error| broken(format!("it does not say where volume {volume} is: {error:?}")))
        };
        answers.into_iter().map(place).collect()
    }

    pub(super) async fn located_where_granted(&self) -> Result<(), Stop> {
        for (volume, place) in VOLUMES.iter().zip(self.places(&VOLUMES).await?) {
            match parse_location(&place.store, &place.image) {
                Err(fault) => return broken(format!("for volume {volume}, {fault}")),
                Ok((store, _)) if !self.stores.contains_key(&store) => {
                    return broken(format!("for volume {volume} it names the store {store}, which was not granted"));
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }

    pub(super) async fn located_the_same(&self) -> Result<(), Stop> {
        let [here, there] = [self.twice().await?, self.twice().await?];
        for (volume, (here, there)) in VOLUMES.iter().chain(&VOLUMES).zip(here.iter().zip(&there)) {
            same(volume, here, there, "in another instance")?;
        }
        let (first, second) = here.split_at(VOLUMES.len());
        for (volume, (first, second)) in VOLUMES.iter().zip(first.iter().zip(second)) {
            same(volume, first, second, "when it is asked again")?;
        }
        Ok(())
    }

    async fn twice(&self) -> Result<Vec<Location>, Stop> {
        self.places(&[VOLUMES, VOLUMES].concat()).await
    }

    pub(super) async fn located_apart(&self) -> Result<(), Stop> {
        let places = self.places(&VOLUMES).await?;
        for (number, (volume, place)) in VOLUMES.iter().zip(&places).enumerate() {
            let earlier = VOLUMES.iter().zip(&places).take(number);
            let mut same = earlier.filter(|(_, other)| (&other.store, &other.image) == (&place.store, &place.image));
            if let Some((other, _)) = same.next() {
                return broken(format!("volumes {other} and {volume} are both in {}/{}", place.store, place.image));
            }
        }
        Ok(())
    }
}

fn same(volume: &str, one: &Location, other: &Location, when: &str) -> Result<(), Stop> {
    if (&one.store, &one.image) == (&other.store, &other.image) {
        return Ok(());
    }
    broken(format!("volume {volume} is in {}/{}, and {when} in {}/{}", one.store, one.image, other.store, other.image))
}
