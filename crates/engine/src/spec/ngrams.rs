//! What most often follows two, three or five tokens: a table of a fixed size that learns from text.
//!
//! Tokens are hashed to a bucket of eight entries and a tag of 24 bits that says which entry is theirs. An entry knows one token that
//! followed, and how sure it is of that: one more each time it was right, one less each time it was not, and another token takes its place
//! when nothing is left. A new entry takes the place of the least sure of its bucket, the oldest of several, and in a bucket
//! where all were right before, all lose one: what is no longer said makes room. To guess, the longest tokens are asked
//! first; two or three must have been right once. Each token guessed is context of the next.
//!
//! Measured (`--example lookup`): in 256 KB and in 1 MB more is accepted than with the text itself kept and searched, in 4 MB as much,
//! of a third as many guesses; with 16 MB the text wins. On the same texts, with a prototype: contexts of two, three and five tokens guess better than those of
//! two, three and four; to count beyond 15 brings nothing.
//!
//! [`Ngrams::write`] gives the table as bytes: a magic text, the vocabulary's fingerprint, the number of buckets, the buckets, and
//! the SHA-256 of all that; [`Ngrams::read`] takes nothing else. A file of another size is taken too: the entries move to where they are looked
//! for. Nothing here touches a disk.

use std::io::{self, Read, Write};

use ingle_model::token::Tokenizer;
use sha2::{Digest, Sha256};

/// Changes with what is written, the hash of tokens included.
const MAGIC: &[u8; 8] = b"ingleNG1";
const HASH_BYTES: usize = 32;
/// Bytes before the buckets: the magic text, the fingerprint, the number of buckets.
const HEAD_BYTES: usize = MAGIC.len() + HASH_BYTES + 8;
/// Entries of a bucket, which is a cache line.
const WAYS: usize = 8;
const BUCKET_BYTES: usize = 8 * WAYS;
/// A bucket is found by 32 bits of a hash.
const N_BUCKETS_MAX: u64 = u32::MAX as u64;
/// How many tokens are looked up, and how often what followed must have been right; the longest first.
const ORDERS: [(usize, u8); 3] = [(5, 1), (3, 2), (2, 2)];
/// More often than this nothing needs to have been right: it is forgotten the sooner.
const COUNT_MAX: u8 = 15;
/// Tokens of the longest context.
const CONTEXT_MAX: usize = ORDERS[0].0;

/// Whose token ids an [`Ngrams`] speaks of: in another vocabulary they mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vocabulary {
    /// A hash of the vocabulary.
    pub fingerprint: [u8; HASH_BYTES],
    /// Ids are below it.
    pub n_tokens: usize,
}

/// Tag, count and what followed: 24, 8 and 32 bits. 0 is an entry that knows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Entry(u64);

impl Entry {
    fn new(tag: u32, count: u8, next: u32) -> Self {
        Self(u64::from(tag) << 40 | u64::from(count) << 32 | u64::from(next))
    }

    fn tag(self) -> u32 {
        (self.0 >> 40) as u32
    }

    fn count(self) -> u8 {
        (self.0 >> 32) as u8
    }

    fn next(self) -> u32 {
        self.0 as u32
    }

    /// Whether [`Ngrams::learn`] could have made it.
    fn is_sound(self, vocabulary: &Vocabulary) -> bool {
        self.0 == 0
            || self.tag() & 1 == 1
                && (1..=COUNT_MAX).contains(&self.count())
                && (self.next() as usize) < vocabulary.n_tokens
    }

    /// One less sure, if it was right before.
    fn aged(self) -> Self {
        if self.count() > 1 { Self(self.0 - (1 << 32)) } else { self }
    }
}

type Bucket = [Entry; WAYS];

impl Vocabulary {
    /// That of a model: whoever writes the same in the same ids has the same.
    pub fn of(tokenizer: &Tokenizer) -> Self {
        let mut hash = Sha256::new();
        let n_tokens = tokenizer.n_vocab();
        for id in 0..n_tokens as u32 {
            let name = tokenizer.token_name(id).unwrap_or_default();
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
        }
        Self { fingerprint: hash.finalize().into(), n_tokens }
    }
}

/// The table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ngrams {
    vocabulary: Vocabulary,
    buckets: Vec<Bucket>,
}

impl Ngrams {
    /// A table that knows nothing and takes, in memory and as bytes, at most `bytes_max`.
    ///
    /// # Errors
    /// When that is too little for a table, in a few words.
    pub fn new(vocabulary: Vocabulary, bytes_max: usize) -> Result<Self, String> {
        let n_buckets = bytes_max.saturating_sub(HEAD_BYTES + HASH_BYTES) / BUCKET_BYTES;
        if n_buckets == 0 {
            let least = HEAD_BYTES + BUCKET_BYTES + HASH_BYTES;
            return Err(format!("room for {bytes_max} bytes, expected at least {least}"));
        }
        let n_buckets = n_buckets.min(N_BUCKETS_MAX as usize);
        Ok(Self { vocabulary, buckets: vec![[Entry::default(); WAYS]; n_buckets] })
    }

    /// Bytes that [`Ngrams::write`] writes.
    pub fn n_bytes(&self) -> usize {
        HEAD_BYTES + BUCKET_BYTES * self.buckets.len() + HASH_BYTES
    }

    /// Entries that know something.
    pub fn n_entries(&self) -> usize {
        self.buckets.iter().flatten().filter(|entry| entry.count() > 0).count()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.buckets.fill([Entry::default(); WAYS]);
    }

    /// Learns what follows what in `tokens`.
    pub fn learn(&mut self, tokens: &[u32]) {
        for (i, &next) in tokens.iter().enumerate() {
            for (n, _) in ORDERS.into_iter().filter(|(n, _)| *n <= i) {
                let (bucket, tag) = self.place(&tokens[i - n..i]);
                learn(&mut self.buckets[bucket], tag, next);
            }
        }
    }

    /// Appends to `out` up to `n` tokens that may follow `context`; how many tokens of context the first of them rests on, 0 if
    /// there is none.
    pub fn guess(&self, context: &[u32], n: usize, out: &mut Vec<u32>) -> usize {
        let context = &context[context.len().saturating_sub(CONTEXT_MAX)..];
        let mut window = [0; CONTEXT_MAX];
        window[CONTEXT_MAX - context.len()..].copy_from_slice(context);
        let mut n_known = context.len();
        let mut first = 0;
        for i in 0..n {
            let orders = ORDERS.into_iter().filter(|(order, _)| *order <= n_known);
            let mut asked =
                orders.map(|(order, count)| (order, count, self.entry(&window[CONTEXT_MAX - order..])));
            let Some((order, _, entry)) = asked.find(|(_, count, entry)| entry.count() >= *count) else {
                break;
            };
            if i == 0 {
                first = order;
            }
            out.push(entry.next());
            window.rotate_left(1);
            window[CONTEXT_MAX - 1] = entry.next();
            n_known = CONTEXT_MAX.min(n_known + 1);
        }
        first
    }

    /// What is known of these tokens.
    fn entry(&self, tokens: &[u32]) -> Entry {
        let (bucket, tag) = self.place(tokens);
        self.buckets[bucket].into_iter().find(|entry| entry.tag() == tag).unwrap_or_default()
    }

    /// The bucket and the tag of these tokens. A tag is never 0.
    fn place(&self, tokens: &[u32]) -> (usize, u32) {
        let mut hash = tokens.len() as u64;
        for &token in tokens {
            hash = (hash ^ u64::from(token)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
            hash ^= hash >> 32;
        }
        hash = hash.wrapping_mul(0xC4CE_B9FE_1A85_EC53);
        // The high half, scaled to the number of buckets; the tag from the rest.
        let bucket = ((hash >> 32) * self.buckets.len() as u64) >> 32;
        (bucket as usize, (hash as u32 >> 8) | 1)
    }

    /// Writes the table.
    ///
    /// # Errors
    /// When `out` can't be written to.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut hash = Sha256::new();
        let mut write = |bytes: &[u8]| {
            hash.update(bytes);
            out.write_all(bytes)
        };
        write(&head(&self.vocabulary, self.buckets.len() as u64))?;
        for bucket in &self.buckets {
            write(bucket.map(|entry| entry.0.to_le_bytes()).as_flattened())?;
        }
        out.write_all(&hash.finalize())
    }

    /// Reads a table of `n_bytes` that [`Ngrams::write`] wrote into one of at most `bytes_max`.
    ///
    /// # Errors
    /// Why it is no such table, in a few words.
    pub fn read(
        from: &mut impl Read,
        n_bytes: u64,
        vocabulary: Vocabulary,
        bytes_max: usize,
    ) -> Result<Self, String> {
        let mut table = Self::new(vocabulary, bytes_max)?;
        let mut hash = Sha256::new();
        let mut read = |bytes: &mut [u8]| {
            from.read_exact(bytes).map_err(|e| format!("it can't be read to its end: {e}"))?;
            hash.update(bytes);
            Ok::<_, String>(())
        };
        let mut found = [0; HEAD_BYTES];
        read(&mut found)?;
        if found[..MAGIC.len()] != MAGIC[..] {
            return Err("it does not begin as a table of n-grams does, expected ingleNG1".into());
        }
        let n_buckets = n_bytes.saturating_sub((HEAD_BYTES + HASH_BYTES) as u64) / BUCKET_BYTES as u64;
        let expected = head(&vocabulary, n_buckets);
        if found[..HEAD_BYTES - 8] != expected[..HEAD_BYTES - 8] {
            return Err("it was learned in another vocabulary, expected that of the model".into());
        }
        let n_bytes_expected = (HEAD_BYTES + HASH_BYTES) as u64 + n_buckets * BUCKET_BYTES as u64;
        if found != expected || n_bytes != n_bytes_expected || !(1..=N_BUCKETS_MAX).contains(&n_buckets) {
            return Err(format!("{n_bytes} bytes, expected as many as its head says"));
        }
        for at in 0..n_buckets {
            let mut bytes = [[0; 8]; WAYS];
            read(bytes.as_flattened_mut())?;
            let bucket = bytes.map(|entry| Entry(u64::from_le_bytes(entry)));
            if let Some(entry) = bucket.iter().find(|entry| !entry.is_sound(&vocabulary)) {
                let next = entry.next();
                return Err(format!("an entry for token {next}, expected one of {}", vocabulary.n_tokens));
            }
            table.take(&bucket, at, n_buckets);
        }
        let mut expected = [0; HASH_BYTES];
        from.read_exact(&mut expected).map_err(|e| format!("it can't be read to its end: {e}"))?;
        if hash.finalize()[..] != expected {
            Err("its hash is not that of what it holds".into())
        } else {
            Ok(table)
        }
    }

    /// Takes in the bucket that was the `at`th of `n`: here its entries may belong to one bucket or to several.
    fn take(&mut self, bucket: &Bucket, at: u64, n: u64) {
        let n_here = self.buckets.len() as u64;
        let first = ((at << 32).div_ceil(n) * n_here) >> 32;
        let last = ((((at + 1) << 32).div_ceil(n) - 1) * n_here) >> 32;
        for here in &mut self.buckets[first as usize..=last as usize] {
            bucket.iter().for_each(|entry| take(here, *entry));
        }
    }
}

/// What comes before the buckets.
fn head(vocabulary: &Vocabulary, n_buckets: u64) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..MAGIC.len()].copy_from_slice(MAGIC);
    head[MAGIC.len()..HEAD_BYTES - 8].copy_from_slice(&vocabulary.fingerprint);
    head[HEAD_BYTES - 8..].copy_from_slice(&n_buckets.to_le_bytes());
    head
}

/// Learns that `next` followed what has this tag.
fn learn(bucket: &mut Bucket, tag: u32, next: u32) {
    let Some(entry) = bucket.iter_mut().find(|entry| entry.tag() == tag) else {
        let least = least_sure(bucket);
        if bucket[least].count() > 1 {
            bucket.iter_mut().for_each(|entry| *entry = entry.aged());
        }
        // The newest comes last.
        bucket[least..].rotate_left(1);
        bucket[WAYS - 1] = Entry::new(tag, 1, next);
        return;
    };
    *entry = match entry.count() {
        count if entry.next() == next => Entry::new(tag, COUNT_MAX.min(count + 1), next),
        0 | 1 => Entry::new(tag, 1, next),
        count => Entry::new(tag, count - 1, entry.next()),
    };
}

/// Takes in an entry, unless all that are here are at least as sure.
fn take(bucket: &mut Bucket, entry: Entry) {
    let at = bucket.iter().position(|here| here.tag() == entry.tag()).unwrap_or(least_sure(bucket));
    if entry.count() > bucket[at].count() {
        bucket[at..].rotate_left(1);
        bucket[WAYS - 1] = entry;
    }
}

/// The index of the entry that was right least often, the oldest of several.
fn least_sure(bucket: &Bucket) -> usize {
    (0..WAYS).min_by_key(|&i| bucket[i].count()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Rng;

    const VOCABULARY: Vocabulary = Vocabulary { fingerprint: [5; 32], n_tokens: 1000 };

    fn table(n_buckets: usize) -> Ngrams {
        Ngrams::new(VOCABULARY, HEAD_BYTES + HASH_BYTES + BUCKET_BYTES * n_buckets).unwrap()
    }

    fn guess(table: &Ngrams, context: &[u32], n: usize) -> (usize, Vec<u32>) {
        let mut out = vec![7];
        let n_tokens = table.guess(context, n, &mut out);
        assert_eq!(out.remove(0), 7);
        (n_tokens, out)
    }

    fn bytes(table: &Ngrams) -> Vec<u8> {
        let mut bytes = Vec::new();
        table.write(&mut bytes).unwrap();
        bytes
    }

    fn read(bytes: &[u8], vocabulary: Vocabulary, bytes_max: usize) -> Result<Ngrams, String> {
        Ngrams::read(&mut &bytes[..], bytes.len() as u64, vocabulary, bytes_max)
    }

    fn text(n: usize) -> Vec<u32> {
        let mut rng = Rng::new(4);
        (0..n).map(|_| rng.below(1000) as u32).collect()
    }

    #[test]
    fn five_tokens_are_believed_at_once_and_fewer_when_they_were_right_twice() {
        let mut table = table(1000);
        table.learn(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(guess(&table, &[1, 2, 3, 4, 5], 8), (5, vec![6, 7, 8]));
        assert_eq!(guess(&table, &[3, 4, 5], 8), (0, vec![]));
        table.learn(&[3, 4, 5, 6]);
        assert_eq!(guess(&table, &[9, 9, 3, 4, 5], 1), (3, vec![6]));
        assert_eq!(guess(&table, &[9, 4, 5], 2), (2, vec![6]));
        assert_eq!(guess(&table, &[5], 2), (0, vec![]));
        assert_eq!(guess(&table, &[], 2), (0, vec![]));
        table.clear();
        assert_eq!((guess(&table, &[1, 2, 3, 4, 5], 8), table.n_entries()), ((0, vec![]), 0));
    }

    #[test]
    fn what_follows_most_often_of_late_is_guessed() {
        let mut table = table(1000);
        (0..9).for_each(|i| table.learn(&[1, 2, 3 + i % 3 / 2]));
        assert_eq!(guess(&table, &[1, 2], 1), (2, vec![3]));
        (0..5).for_each(|_| table.learn(&[1, 2, 8]));
        assert_eq!(guess(&table, &[1, 2], 1), (2, vec![8]));
    }

    #[test]
    fn what_is_said_stays_and_what_is_said_no_longer_goes() {
        let mut table = table(8);
        let text = text(4000);
        (0..200).for_each(|_| table.learn(&[1, 2, 3]));
        table.learn(&text[..100]);
        assert_eq!(guess(&table, &[1, 2], 1), (2, vec![3]));
        for twice in text.chunks(4) {
            table.learn(twice);
            table.learn(twice);
        }
        assert_eq!(guess(&table, &[1, 2], 1), (0, vec![]));
        assert!(table.n_entries() <= 8 * WAYS);
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else_is() {
        let mut table = table(3);
        table.learn(&text(50));
        let file = bytes(&table);
        let size = file.len();
        assert_eq!(size, table.n_bytes());
        assert_eq!(read(&file, VOCABULARY, size).unwrap(), table);

        for other in
            [Vocabulary { fingerprint: [6; 32], ..VOCABULARY }, Vocabulary { n_tokens: 10, ..VOCABULARY }]
        {
            assert!(read(&file, other, size).is_err());
        }
        for len in 0..size {
            assert!(read(&file[..len], VOCABULARY, size).is_err(), "cut at {len}");
        }
        for (at, bit) in (0..size).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut file = file.clone();
            file[at] ^= 1 << bit;
            let refused = read(&file, VOCABULARY, size).unwrap_err();
            assert!(!refused.is_empty() && !refused.contains('\n'), "bit {bit} of byte {at}: {refused:?}");
        }
        assert!(read(&[&file[..], &[0]].concat(), VOCABULARY, size).is_err());
    }

    #[test]
    fn tokens_beyond_the_vocabulary_are_refused_whatever_the_hash_says() {
        let mut table = table(3);
        table.learn(&[1, 2, 999]);
        assert!(read(&bytes(&table), VOCABULARY, table.n_bytes()).is_ok());
        table.learn(&[1, 2, 3, 1000]);
        let refused = read(&bytes(&table), VOCABULARY, table.n_bytes()).unwrap_err();
        assert_eq!(refused, "an entry for token 1000, expected one of 1000");
    }

    #[test]
    fn a_table_of_another_size_is_read_with_what_it_knows() {
        let text = text(400);
        for (from, to) in [(1000, 1000), (1000, 1300), (1000, 777), (900, 5000), (5000, 900)] {
            let bytes_max = table(to).n_bytes() + 17;
            let mut table = table(from);
            table.learn(&text);
            let read = read(&bytes(&table), VOCABULARY, bytes_max).unwrap();
            assert!(read.n_bytes() <= bytes_max);
            let same = text.windows(CONTEXT_MAX).filter(|context| {
                let expected = guess(&table, context, 1);
                expected.0 > 0 && guess(&read, context, 1) == expected
            });
            let n = same.count();
            assert!(n > 360, "{from} to {to}: {n}");
        }
        let Err(refused) = Ngrams::new(VOCABULARY, 100) else { panic!("a table in 100 bytes") };
        assert_eq!(refused, "room for 100 bytes, expected at least 144");
    }
}
