//! Backend writers: where and how a transfer is stored.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::bindings::writer::exports::rsnap::plugin::writer as generated;
use crate::instance;

pub use crate::bindings::writer::rsnap::plugin::chunks::Chunk;
pub use crate::bindings::writer::rsnap::plugin::image_store::{Image, open};
pub use crate::bindings::writer::rsnap::plugin::types::{Error, Transfer};
pub use generated::{Destination, Extent, Location};

/// A backend writer; its fields are its settings, and with `#[serde(skip)]` the state of one transfer.
pub trait Writer: DeserializeOwned + 'static {
    /// Checks what a type cannot say of the settings. An error stops the gateway's start and is shown to the operator.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Where the snapshots of `volume` are.
    fn locate(&self, volume: &str) -> Result<Location, Error>;

    /// Opens the destination of a transfer with [`open`], in the place that [`Writer::locate`] names.
    fn begin(&mut self, transfer: Transfer) -> Result<Destination, Error>;

    /// Takes extents; only after [`Writer::begin`] answered [`Destination::Chunks`].
    fn write(&mut self, extents: Vec<Extent>) -> Result<(), Error> {
        drop(extents);
        Err(Error::Other("this plugin takes no chunks".to_owned()))
    }

    /// Gives the image back; only after [`Writer::begin`] answered [`Destination::Chunks`].
    fn finish(&mut self) -> Result<Image, Error> {
        Err(Error::Other("this plugin takes no chunks".to_owned()))
    }
}

impl Error {
    /// What it says, whatever its kind.
    #[must_use]
    pub fn into_text(self) -> String {
        match self {
            Self::Refused(text) | Self::Unavailable(text) | Self::Other(text) => text,
        }
    }
}

#[doc(hidden)]
pub struct Exported<W>(PhantomData<W>);

impl<W: Writer> generated::Guest for Exported<W> {
    fn configure() -> Result<(), String> {
        instance::configure(W::check)
    }

    fn locate(volume: String) -> Result<Location, Error> {
        instance::call(|writer: &mut W| writer.locate(&volume))
    }

    fn begin(transfer: Transfer) -> Result<Destination, Error> {
        instance::call(|writer: &mut W| writer.begin(transfer))
    }

    fn write(extents: Vec<Extent>) -> Result<(), Error> {
        instance::call(|writer: &mut W| writer.write(extents))
    }

    fn finish() -> Result<Image, Error> {
        instance::call(|writer: &mut W| writer.finish())
    }
}

/// Exports a [`Writer`] as this component's world `backend-writer`.
#[macro_export]
macro_rules! export_writer {
    ($plugin:ty) => {
        const _: () = {
            type Exported = $crate::writer::Exported<$plugin>;
    $crate::bindings::writer::export!(Exported with_types_in $crate::bindings::writer);
        };
    };
}
