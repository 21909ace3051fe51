//! The random numbers of sampling: xoshiro256++, seeded by SplitMix64.
//!
//! Frozen: the same seed gives the same numbers in every version, on every machine, for good. It lives here, and not in a
//! dependency, because a dependency may change its algorithm. It is not for secrets.

/// xoshiro256++ (Blackman and Vigna, arXiv:1805.01407).
#[derive(Debug, Clone)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The generator for `seed`; every seed is good, 0 included.
    pub fn new(seed: u64) -> Self {
        let mut x = seed;
        Self { state: std::array::from_fn(|_| split_mix(&mut x)) }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let out = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// A number in `0..n`, uniform to within `n / 2^64`. `n` must not be 0.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "nothing lies below 0");
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014), the seeding that xoshiro's authors recommend.
fn split_mix(x: &mut u64) -> u64 {
    *x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = *x;
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the authors' C code.
    #[test]
    fn agrees_with_the_reference_implementations() {
        let mut x = 1_234_567;
        let got: [u64; 5] = std::array::from_fn(|_| split_mix(&mut x));
        assert_eq!(
            got,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821,
            ]
        );
        let mut rng = Rng { state: [1, 2, 3, 4] };
        let got: [u64; 10] = std::array::from_fn(|_| rng.next_u64());
        assert_eq!(
            got,
            [
                41_943_041,
                58_720_359,
                3_588_806_011_781_223,
                3_591_011_842_654_386,
                9_228_616_714_210_784_205,
                9_973_669_472_204_895_162,
                14_011_001_112_246_962_877,
                12_406_186_145_184_390_807,
                15_849_039_046_786_891_736,
                10_450_023_813_501_588_000,
            ]
        );
    }

    #[test]
    fn below_stays_below() {
        let mut rng = Rng::new(0);
        for n in [1, 2, 3, 10, u64::MAX] {
            assert!((0..100).all(|_| rng.below(n) < n));
        }
    }
}
