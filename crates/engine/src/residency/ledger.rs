//! Bytes of a model in this process, by kind.

/// What a model takes, or may come to take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Weights where they lie in mapped files, their own or such as have them packed ([`crate::packed`]). Clean: the system can take them back, and so can we.
    pub mapped: u64,
    /// Copies of weights in memory that are packed for single tokens.
    pub packed: u64,
    /// Weights that were made when the model was loaded, and the tables of its vocabulary.
    pub dirty: u64,
    /// Keys, values and states of sequences.
    pub kv: u64,
    /// What sequences have been through, kept for prompts that begin the same.
    pub prefix: u64,
    /// Buffers of a step.
    pub scratch: u64,
    /// Adapters beside the weights.
    pub adapters: u64,
    /// What guesses ahead.
    pub drafts: u64,
}

/// A kind of bytes.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// As it is called in numbers for monitoring.
    pub name: &'static str,
    /// Its bytes in a ledger.
    pub of: fn(&Ledger) -> u64,
}

/// All kinds, in the order of the fields.
pub static KINDS: &[Kind] = &[
    Kind { name: "weights", of: |l| l.mapped },
    Kind { name: "packed", of: |l| l.packed },
    Kind { name: "dirty", of: |l| l.dirty },
    Kind { name: "kv", of: |l| l.kv },
    Kind { name: "prefix", of: |l| l.prefix },
    Kind { name: "scratch", of: |l| l.scratch },
    Kind { name: "adapters", of: |l| l.adapters },
    Kind { name: "drafts", of: |l| l.drafts },
];

impl Ledger {
    /// All of it.
    pub fn total(&self) -> u64 {
        KINDS.iter().fold(0, |sum, kind| sum.saturating_add((kind.of)(self)))
    }

    /// Notes how many bytes of weights are packed in memory: the others are mapped, in their own file or in one that has them packed.
    pub fn note_packed(&mut self, packed: u64) {
        let weights = self.mapped.saturating_add(self.packed);
        self.packed = packed.min(weights);
        self.mapped = weights - self.packed;
    }

    /// What leaves memory when sessions rest.
    pub fn sessions(&self) -> u64 {
        self.kv.saturating_add(self.prefix).saturating_add(self.scratch)
    }

    /// The sum as it is told: each kind that there is, and what they make.
    pub fn told(&self) -> String {
        let parts = KINDS.iter().map(|kind| (kind.name, (kind.of)(self))).filter(|(_, n)| *n > 0);
        let parts: Vec<String> = parts.map(|(name, n)| format!("{name} {}", mib(n))).collect();
        format!("{} = {}", parts.join(" + "), mib(self.total()))
    }
}

/// Bytes in MiB, rounded up, as they are told: sums of these are never below what is needed.
pub fn mib(n: u64) -> String {
    format!("{} MiB", n.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_all_fields_once() {
        let all = Ledger {
            mapped: 1,
            packed: 2,
            dirty: 4,
            kv: 8,
            prefix: 16,
            scratch: 32,
            adapters: 64,
            drafts: 128,
        };
        assert_eq!(all.total(), 255);
        assert_eq!(all.sessions(), 8 + 16 + 32);
        assert_eq!(KINDS.len() as u32, all.total().count_ones());
        let much = Ledger { mapped: u64::MAX, kv: 1, ..all };
        assert_eq!(much.total(), u64::MAX, "a hostile header does not wrap around");
    }

    #[test]
    fn weights_are_mapped_or_packed_and_no_more_for_it() {
        let mut ledger = Ledger { packed: 100, kv: 5, ..Ledger::default() };
        for (packed, mapped) in [(0, 100), (200, 0), (30, 70)] {
            ledger.note_packed(packed);
            assert_eq!((ledger.mapped, ledger.packed, ledger.total()), (mapped, 100 - mapped, 105));
        }
    }

    #[test]
    fn the_sum_is_told() {
        let ledger = Ledger { mapped: 3 << 20, kv: (1 << 20) + 1, ..Ledger::default() };
        assert_eq!(ledger.told(), "weights 3 MiB + kv 2 MiB = 5 MiB");
    }
}
