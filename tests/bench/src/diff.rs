//! rbd-diff streams, version 1, as `rbd export-diff` writes them.
//!
//! Written from the format's description and not with our own encoder: what a benchmark feeds to the gateway should
//! come from a stranger.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::noise::{self, EXTENT, Noise};

#[derive(Debug, Args)]
pub(crate) struct Diff {
    file: PathBuf,
    /// Bytes that have changed, spread evenly over the image
    #[arg(long)]
    data: u64,
    /// Bytes of the image
    #[arg(long)]
    size: u64,
    /// The snapshot that the stream starts from; without, it is full
    #[arg(long)]
    from: Option<String>,
    /// The snapshot that the stream makes
    #[arg(long)]
    to: String,
    /// Bytes of one extent
    #[arg(long, default_value_t = EXTENT)]
    extent: u64,
    /// At places that cannot be guessed instead of at equal distances
    #[arg(long)]
    scattered: bool,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Diff {
    pub(crate) fn write(&self) -> Result<()> {
        let file = File::create(&self.file).with_context(|| format!("cannot write {}", self.file.display()))?;
        let mut out = BufWriter::with_capacity(usize::try_from(EXTENT)?, file);
        self.write_to(&mut out).with_context(|| format!("cannot write {}", self.file.display()))?;
        let file = out.into_inner().context("cannot flush the stream")?;
        file.sync_all().context("cannot flush the stream")
    }

    fn write_to(&self, out: &mut impl Write) -> Result<()> {
        out.write_all(b"rbd diff v1\n")?;
        if let Some(from) = &self.from {
            name(out, b'f', from)?;
        }
        name(out, b't', &self.to)?;
        out.write_all(b"s")?;
        out.write_all(&self.size.to_le_bytes())?;
        self.extents(out)?;
        Ok(out.write_all(b"e")?)
    }

    fn extents(&self, out: &mut impl Write) -> Result<()> {
        let (mut noise, mut buffer) = (Noise::new(self.seed), vec![0; usize::try_from(self.extent)?]);
        for offset in self.offsets()? {
            noise.fill(&mut buffer);
            out.write_all(b"w")?;
            out.write_all(&offset.to_le_bytes())?;
            out.write_all(&self.extent.to_le_bytes())?;
            out.write_all(&buffer)?;
        }
        Ok(())
    }

    fn offsets(&self) -> Result<Vec<u64>> {
        Ok(match self.scattered {
            true => noise::scatter(self.data, self.size, self.extent, self.seed)?.collect(),
            false => noise::spread(self.data, self.size, self.extent)?.collect(),
        })
    }
}

fn name(out: &mut impl Write, tag: u8, name: &str) -> Result<()> {
    out.write_all(&[tag])?;
    out.write_all(&u32::try_from(name.len())?.to_le_bytes())?;
    Ok(out.write_all(name.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_the_documented_layout() {
        let from = Some("a".to_owned());
        let to = "bc".to_owned();
        let (data, size, extent) = (EXTENT, 8 * EXTENT, EXTENT);
        let diff = Diff { file: PathBuf::new(), data, size, from, to, extent, scattered: false, seed: 1 };
        let mut out = Vec::new();
        diff.write_to(&mut out).unwrap();
        let head = b"rbd diff v1\nf\x01\0\0\0at\x02\0\0\0bcs\0\0\x80\0\0\0\0\0w\0\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0";
        assert_eq!(&out[..head.len()], head);
        assert_eq!(out.len() as u64, head.len() as u64 + EXTENT + 1);
        assert_eq!(out.last(), Some(&b'e'));
    }
}
