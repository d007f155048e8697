//! A small generator of repeatable draws, which is part of its actor's state.

use serde::{Deserialize, Serialize};

/// SplitMix64 ([Steele, Lea and Flood, OOPSLA 2014](https://doi.org/10.1145/2660193.2660195)).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Draws(u64);

impl Draws {
    /// The draws of a seed.
    pub const fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`, with a bias that does not matter here.
    pub const fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (((mixed >> 32) * bound as u64) >> 32) as u32
    }
}
