//! Random numbers that cost nothing and can be repeated.
//!
//! Spreading callers needs numbers that differ between gateways and nothing more; the simulation needs the same ones
//! again. SplitMix64 (Steele, Lea and Flood 2014) is ten lines.

/// A generator.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// With a seed of the system's.
    #[must_use]
    pub fn seeded() -> Self {
        let mut seed = [0; 8];
        // The generator of aws-lc aborts rather than fail; the result is a formality of its interface.
        let filled = aws_lc_rs::rand::fill(&mut seed);
        debug_assert!(filled.is_ok());
        Self(u64::from_le_bytes(seed))
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    pub fn fraction(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_spread_evenly_and_repeatable() {
        let mut random = Random::new(7);
        let mut tenths = [0_u32; 10];
        for _ in 0..10_000 {
            tenths[(random.fraction() * 10.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (850..1150).contains(count)), "{tenths:?}");
        assert_eq!(Random::new(3).bits(), Random::new(3).bits());
        assert_ne!(Random::seeded().bits(), Random::seeded().bits());
    }
}
