//! A hash table whose keys lie elsewhere: open addressing with linear probing over four-byte slots.
//!
//! Reading a vocabulary is bound by cache misses in such a table, so a slot is only a number (a token's id) under eight bits
//! of the key's hash, which spare nearly all the looks at keys that differ. The hash is cheap and not collision-proof; a
//! bound on probing turns a file made to collide into an error.

/// Numbers must be below this.
pub const VALUES_MAX: usize = (1 << 24) - 1;

const FREE: u32 = u32::MAX;
const VALUE_BITS: u32 = 24;
/// In tables at most three quarters full a fair hash stays under 200.
const PROBES_MAX: usize = 1024;

/// Numbers below [`VALUES_MAX`], each under the hash of a key that the caller can compare.
#[derive(Debug, Default)]
pub struct Table {
    /// Power-of-two length, never full.
    slots: Vec<u32>,
}

/// More keys than chance explains share a place.
#[derive(Debug)]
pub struct Collides;

impl Table {
    /// An empty table for `n` numbers.
    pub fn with_room_for(n: usize) -> Self {
        Self { slots: vec![FREE; (n + n / 3 + 1).next_power_of_two()] }
    }

    /// Adds `value` unless one whose key is the `same` is there, and says whether it did. To be called at most as often as
    /// there was room for.
    pub fn insert(&mut self, hash: u64, value: u32, same: impl Fn(u32) -> bool) -> Result<bool, Collides> {
        debug_assert!((value as usize) < VALUES_MAX);
        let mask = self.slots.len() - 1;
        let tagged = tag(hash) | value;
        for i in 0..PROBES_MAX {
            let slot = &mut self.slots[hash.wrapping_add(i as u64) as usize & mask];
            if *slot == FREE {
                *slot = tagged;
                return Ok(true);
            }
            if (*slot ^ tagged) >> VALUE_BITS == 0 && same(*slot & VALUES_MAX as u32) {
                return Ok(false);
            }
        }
        Err(Collides)
    }

    /// The number under `hash` whose key is the `same`.
    pub fn find(&self, hash: u64, same: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len().checked_sub(1)?;
        let tag = tag(hash);
        for i in 0..PROBES_MAX {
            let slot = self.slots[hash.wrapping_add(i as u64) as usize & mask];
            if slot == FREE {
                return None;
            }
            let value = slot & VALUES_MAX as u32;
            if (slot ^ tag) >> VALUE_BITS == 0 && same(value) {
                return Some(value);
            }
        }
        None
    }
}

/// Eight bits of the hash that do not choose the slot, above the value.
fn tag(hash: u64) -> u32 {
    (hash >> 56) as u32 * (1 << VALUE_BITS)
}

/// A hash of `bytes`, eight at a time. The last eight may overlap those before; shorter texts are one word.
pub fn hash(bytes: &[u8]) -> u64 {
    // Spread, so that a length does not look like another byte.
    let n = (bytes.len() as u64).wrapping_mul(0xa076_1d64_78bd_642f);
    let word = |b: [u8; 4]| u64::from(u32::from_le_bytes(b));
    match (bytes.last_chunk::<8>(), bytes.first_chunk::<4>(), bytes.last_chunk::<4>(), bytes) {
        (Some(&last), ..) => {
            let words = bytes[..bytes.len() - 1].as_chunks::<8>().0;
            let state = words.iter().fold(n, |state, &word| mix(state ^ u64::from_le_bytes(word)));
            mix(state ^ u64::from_le_bytes(last))
        }
        (None, Some(&first), Some(&last), _) => mix(n ^ word(first) << 32 ^ word(last)),
        (.., &[first, .., last]) => {
            let middle = bytes[bytes.len() / 2];
            mix(n ^ u64::from_le_bytes([first, middle, last, 0, 0, 0, 0, 0]))
        }
        (.., &[only]) => mix(n ^ u64::from(only)),
        _ => mix(n),
    }
}

/// A hash of one word: the two halves of a 128-bit product, folded.
pub fn mix(word: u64) -> u64 {
    let product = u128::from(word ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_inserted_first_under_a_key() {
        let keys: Vec<u64> = (0..10_000).map(|i| i * i % 7919).collect();
        let mut table = Table::with_room_for(keys.len());
        for (i, &key) in keys.iter().enumerate() {
            let is_new = table.insert(mix(key), i as u32, |other| keys[other as usize] == key).unwrap();
            assert_eq!(is_new, !keys[..i].contains(&key));
        }
        for key in 0..8000 {
            let found = table.find(mix(key), |other| keys[other as usize] == key);
            assert_eq!(found, keys.iter().position(|&k| k == key).map(|i| i as u32));
        }
    }

    #[test]
    fn every_byte_of_a_key_and_its_length_count() {
        let mut seen = std::collections::HashSet::new();
        for n in 0..40 {
            let key = vec![7u8; n];
            assert!(seen.insert(hash(&key)), "{n} bytes");
            for i in 0..n {
                let mut other = key.clone();
                other[i] ^= 1;
                assert!(seen.insert(hash(&other)), "byte {i} of {n}");
            }
        }
    }

    #[test]
    fn an_empty_table_holds_nothing() {
        assert_eq!(Table::default().find(1, |_| true), None);
        assert_eq!(Table::with_room_for(0).find(1, |_| true), None);
    }

    #[test]
    fn keys_that_all_collide_are_refused() {
        let mut table = Table::with_room_for(2000);
        let refused = (0..2000).find(|&i| table.insert(5, i, |_| false).is_err());
        assert_eq!(refused, Some(PROBES_MAX as u32));
        assert_eq!(table.find(5, |_| false), None);
    }
}
