//! What the suites that damage bytes share: a seeded generator, and the count of what became of the damage.

/// SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

/// How much of what was damaged was refused, and how much ran.
#[derive(Default)]
pub struct Outcomes {
    refused: usize,
    ran: usize,
}

impl Outcomes {
    /// Counts one; a refusal is one sentence.
    pub fn add<T>(&mut self, outcome: ingle_model::Result<T>) {
        match outcome {
            Ok(_) => self.ran += 1,
            Err(error) => {
                let sentence = error.to_string();
                assert!(!sentence.is_empty() && !sentence.contains('\n'), "{sentence:?}");
                self.refused += 1;
            }
        }
    }

    /// More than so many were refused and ran.
    pub fn more_than(&self, refused: usize, ran: usize) {
        eprintln!("{} refused, {} ran", self.refused, self.ran);
        let both = self.refused > refused && self.ran > ran;
        assert!(
            both,
            "the damage is neither hopeless nor harmless: {} refused, {} ran",
            self.refused, self.ran
        );
    }
}
