//! Random components for the worlds of plugins.
//!
//! Hostile guests that people write do the harm that people think of. These have the imports and exports of a world, so
//! that a gateway loads them, and random code behind each export: it loops, recurses, grows its memory, traps, hands over
//! lists that lie, and calls the host with handles that it never got. Each is made of its seed alone.

mod settle;

use std::path::Path;

use anyhow::{Context, Result, bail};
use arbitrary::Unstructured;
use wasm_smith::{Config, Module};
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve, SourceMap, WorldId};

/// The worlds of plugins.
pub const WORLDS: [&str; 3] = ["backend-writer", "chain-policy", "site-resolver"];

/// Random bytes that one module is made of.
const ENTROPY: usize = 8 << 10;
/// Seeds that are tried for one component: not every random module becomes one.
const TRIES: u64 = 32;
/// A memory section with one memory that begins empty, as the shape of a world has it, and one of a mebibyte: without any
/// memory random code rarely gets further than its first load.
const EMPTY: [u8; 5] = [5, 3, 1, 0, 0];
const MEBIBYTE: [u8; 5] = [5, 3, 1, 0, 16];

/// Makes components for one world.
#[derive(Debug)]
pub struct Corpus {
    resolve: Resolve,
    world: WorldId,
    /// A module with the imports and exports of the world.
    shape: Vec<u8>,
}

impl Corpus {
    /// For the world called `world` of the package in the folder `wit`.
    pub fn new(wit: &Path, world: &str) -> Result<Self> {
        let mut sources = SourceMap::default();
        sources.push_dir(wit).with_context(|| format!("could not read {}", wit.display()))?;
        let package = sources.parse().map_err(|(_, error)| anyhow::anyhow!("{error}"))?;
        let mut resolve = Resolve::default();
        let package = resolve.push_group(package).map_err(|error| anyhow::anyhow!("{error}"))?;
        let world = resolve.select_world(&[package], Some(world))?;
        let shape = dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
        Ok(Self { resolve, world, shape: with_memory(shape)? })
    }

    /// The component number `seed`.
    pub fn component(&self, seed: u64) -> Result<Vec<u8>> {
        let mut last = None;
        for attempt in 0..TRIES {
            match self.attempt(seed, seed.wrapping_mul(TRIES).wrapping_add(attempt)) {
                Ok(component) => return Ok(component),
                Err(error) => last = Some(error),
            }
        }
        let error = last.unwrap_or_else(|| anyhow::anyhow!("nothing was tried"));
        Err(error.context(format!("no component from seed {seed} in {TRIES} tries")))
    }

    fn attempt(&self, seed: u64, noise_seed: u64) -> Result<Vec<u8>> {
        let entropy = noise(noise_seed);
        let module = Module::new(self.config(), &mut Unstructured::new(&entropy))?;
        let mut module = module.to_bytes();
        if seed % 4 > 0 {
            module = settle::settle(&module)?;
        }
        embed_component_metadata(&mut module, &self.resolve, self.world, StringEncoding::UTF8)?;
        ComponentEncoder::default().validate(true).module(&module)?.encode()
    }

    /// What the gateway's runtime knows, and no proposals beyond it: what is refused at once tests nothing.
    fn config(&self) -> Config {
        Config {
            module_shape: Some(self.shape.clone()),
            // What runs before the first call could keep all of them from coming.
            allow_start_export: false,
            exceptions_enabled: false,
            gc_enabled: false,
            threads_enabled: false,
            memory64_enabled: false,
            max_memories: 1,
            max_instructions: 60,
            max_funcs: 8,
            max_table_elements: 10_000,
            ..Config::default()
        }
    }
}

fn with_memory(mut shape: Vec<u8>) -> Result<Vec<u8>> {
    let Some(at) = shape.windows(EMPTY.len()).position(|window| window == EMPTY) else {
        bail!("the shape of the world has no memory that begins empty");
    };
    shape.splice(at..at + EMPTY.len(), MEBIBYTE);
    Ok(shape)
}

/// Random bytes from a seed (splitmix64).
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    (0..ENTROPY / 8).flat_map(|_| next().to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_seed_makes_one_component_and_no_other() {
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/rsnap-plugin");
        for world in WORLDS {
            let corpus = Corpus::new(&wit, world).unwrap();
            let made: Vec<_> = (0..8).map(|seed| corpus.component(seed).unwrap()).collect();
            assert_eq!(corpus.component(3).unwrap(), made[3]);
            assert!(made.windows(2).all(|pair| pair[0] != pair[1]), "{world}");
        }
    }
}
