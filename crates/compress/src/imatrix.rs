//! Importance matrices: how much each column of a weight matrix matters, measured as the mean square of the activation that
//! meets it.
//!
//! Two formats, both llama.cpp's. In GGUF each matrix has a tensor `NAME.in_sum2` of sums of squares `(n_matrices, cols)`
//! and a tensor `NAME.counts` of how many tokens were summed `(n_matrices, 1)`; the mean is their quotient, and an expert
//! that met no token has importance 1 throughout. In the older `.dat` files an entry is a name, a number of calls and the
//! values times that number. Which tokens they come from is said in the file and passed on. Files are added up as sums and counts,
//! so each weighs as much as it has tokens, and measuring two texts apart and together comes to the same but for the rounding of sums
//! to f32. Of what is known to be of another model, of chunks of another length or in other units nothing is added. The GGUF
//! form is written, with a key of our own that says which model was measured; the older one is not.

use std::collections::BTreeMap;
use std::io::Write;

use ingle_kernel::bytes::Bytes;
use ingle_kernel::quant::F32;
use ingle_model::Error;
use ingle_model::file::gguf_write::{Header, Meta, Writer};
use ingle_model::file::value::ValueType;
use ingle_model::file::{Contents, Tensor, gguf};

use crate::calibrate::Site;
use crate::error::Result as Written;
use crate::pipeline::fingerprint;

/// The importances of a model's columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Imatrix {
    /// By tensor.
    entries: BTreeMap<String, Entry>,
    /// Names of the texts they were measured on.
    pub datasets: Vec<String>,
    /// Chunks of text they were measured on, or 0 where the file does not say.
    pub n_chunks: u64,
    /// Tokens of a chunk, where the file says.
    pub chunk_tokens: Option<u32>,
    /// The model they were measured on, as [`crate::pipeline::fingerprint`] has it, where the file says.
    pub model: Option<String>,
    /// Whether counts are of calls, as in older files, and not of tokens.
    counts_calls: bool,
}

/// The model that was measured.
const MODEL: &str = "ingle.imatrix.model";
/// Of a fingerprint so much is told.
const TOLD: usize = 12;

/// What was summed up for a tensor.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    /// Sums of squares. `(n_matrices, cols)`
    sums: Vec<f32>,
    /// What they are divided by: one number per matrix, or one for all.
    counts: Vec<f32>,
}

/// Tokens of a chunk where nothing says how many: llama.cpp's default.
pub const CHUNK_TOKENS: u32 = 512;

const ENTRIES_MAX: usize = 65_536;
const NAME_BYTES_MAX: usize = 65_535;

impl Imatrix {
    /// Parses either format.
    ///
    /// # Errors
    /// When the file is cut short, holds no entries, or an entry's numbers are not finite and at least 0.
    pub fn parse(bytes: &Bytes) -> Result<Self, Error> {
        let imatrix =
            if bytes.starts_with(b"GGUF") { Self::from_gguf(bytes)? } else { Self::from_dat(bytes)? };
        if imatrix.entries.is_empty() {
            return Err(Error::malformed("importances", "no entries", "at least one"));
        }
        for (name, entry) in &imatrix.entries {
            if let Some(v) = entry.sums.iter().chain(&entry.counts).find(|v| !v.is_finite() || **v < 0.0) {
                return Err(Error::malformed(
                    format!("importances of {name}"),
                    v,
                    "finite numbers of at least 0",
                ));
            }
        }
        Ok(imatrix)
    }

    /// What `sites` of the model `file` saw of `n_chunks` chunks, of `chunk_tokens` tokens, of the texts called `datasets`.
    pub fn of_sites(
        sites: &[Site],
        file: &Contents,
        datasets: Vec<String>,
        n_chunks: u64,
        chunk_tokens: u32,
    ) -> Self {
        let mut entries = BTreeMap::new();
        for tensor in file.tensors().iter().filter(|t| t.shape.len() > 1) {
            let n_matrices: usize = tensor.shape.iter().skip(2).product();
            let site = |name: &str| sites.iter().find(|site| site.weights.iter().any(|w| w == name));
            let of_expert = |m: usize| match site(&tensor.name) {
                // All matrices that have one input.
                Some(site) => Some(site),
                None => site(&format!("{}.{m}", tensor.name)),
            };
            let mut entry = Entry { sums: Vec::new(), counts: Vec::new() };
            for stats in (0..n_matrices).map(|m| of_expert(m).map(|site| &site.stats)) {
                match stats {
                    Some(stats) => entry.sums.extend(stats.sum_squares.iter().map(|&sum| sum as f32)),
                    None => entry.sums.resize(entry.sums.len() + tensor.shape[0], 0.0),
                }
                entry.counts.push(stats.map_or(0.0, |stats| stats.n_tokens as f32));
            }
            if entry.counts.iter().any(|&count| count > 0.0) {
                entries.insert(tensor.name.clone(), entry);
            }
        }
        let (chunk_tokens, model) = (Some(chunk_tokens), Some(fingerprint(file)));
        Self { entries, datasets, n_chunks, chunk_tokens, model, counts_calls: false }
    }

    /// Adds what another text gave.
    ///
    /// # Errors
    /// When it was measured on another model, in chunks of another length or in other units, or a tensor has another shape there;
    /// nothing is added then.
    pub fn merge(&mut self, other: Self) -> Result<(), Error> {
        self.check_alike(&other)?;
        for (name, theirs) in &other.entries {
            let Some(ours) = self.entries.get(name) else { continue };
            if (ours.sums.len(), ours.counts.len()) != (theirs.sums.len(), theirs.counts.len()) {
                let numbers = |e: &Entry| format!("{} sums and {} counts", e.sums.len(), e.counts.len());
                let part = format!("importances of {name}");
                return Err(Error::malformed(part, numbers(theirs), numbers(ours)));
            }
        }
        for (name, theirs) in other.entries {
            match self.entries.get_mut(&name) {
                Some(ours) => {
                    let sums = ours.sums.iter_mut().chain(&mut ours.counts);
                    sums.zip(theirs.sums.iter().chain(&theirs.counts)).for_each(|(a, b)| *a += b);
                }
                None => drop(self.entries.insert(name, theirs)),
            }
        }
        let new = other.datasets.into_iter().filter(|name| !self.datasets.contains(name));
        let new: Vec<String> = new.collect();
        self.datasets.extend(new);
        self.n_chunks += other.n_chunks;
        self.chunk_tokens = self.chunk_tokens.or(other.chunk_tokens);
        self.model = self.model.take().or(other.model);
        Ok(())
    }

    /// Whether `other` was measured as this was.
    fn check_alike(&self, other: &Self) -> Result<(), Error> {
        let refused =
            |found: String, expected: String| Err(Error::malformed("importances to merge", found, expected));
        match (&self.model, &other.model) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                let told = |model: &str| model.chars().take(TOLD).collect::<String>();
                return refused(
                    format!("of another model ({})", told(theirs)),
                    format!("of the same ({})", told(ours)),
                );
            }
            (Some(_), Some(_)) => {}
            // A model has the same matrices for every text; experts may have met no token of one.
            _ => {
                let lacks = |a: &Self, b: &Self| {
                    let plain = a.entries.iter().filter(|(_, entry)| entry.counts.len() == 1);
                    plain.map(|(name, _)| name).find(|name| !b.entries.contains_key(*name)).cloned()
                };
                if let Some(name) = lacks(self, other) {
                    return refused(format!("nothing of {name}"), "the tensors of the same model".into());
                }
                if let Some(name) = lacks(other, self) {
                    return refused(format!("something of {name}"), "the tensors of the same model".into());
                }
            }
        }
        match (self.chunk_tokens, other.chunk_tokens) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                return refused(format!("of chunks of {theirs} tokens"), format!("of {ours}"));
            }
            _ => {}
        }
        if self.counts_calls != other.counts_calls {
            let unit = |calls| if calls { "calls, as older files have it" } else { "tokens" };
            return refused(
                format!("counts of {}", unit(other.counts_calls)),
                unit(self.counts_calls).into(),
            );
        }
        Ok(())
    }

    /// Writes llama.cpp's GGUF form; where nothing says how long chunks were, they are said to be of [`CHUNK_TOKENS`] tokens.
    ///
    /// # Errors
    /// When a name is too long, or `out` takes no more.
    pub fn write(&self, out: impl Write) -> Written<()> {
        let mut header = Header::default();
        header.set("general.type", "imatrix")?;
        let names = self.datasets.iter().map(|name| Meta::from(name.as_str()));
        header.set("imatrix.datasets", Meta::array(ValueType::String, names))?;
        header.set("imatrix.chunk_count", self.n_chunks.min(u32::MAX.into()) as u32)?;
        header.set("imatrix.chunk_size", self.chunk_tokens.unwrap_or(CHUNK_TOKENS))?;
        if let Some(model) = &self.model {
            header.set(MODEL, model.as_str())?;
        }
        for (name, entry) in &self.entries {
            let n_matrices = entry.counts.len();
            let cols = entry.sums.len() / n_matrices;
            header.add(&format!("{name}.in_sum2"), &[cols, n_matrices], &F32)?;
            header.add(&format!("{name}.counts"), &[1, n_matrices], &F32)?;
        }
        let mut writer = Writer::begin(out, &header)?;
        for values in self.entries.values().flat_map(|entry| [&entry.sums, &entry.counts]) {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            writer.write(&bytes)?;
        }
        writer.finish()?;
        Ok(())
    }

    /// Number of tensors there are importances for.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The importances of the columns of `tensor`, `(n_matrices, cols)`, or `None` where it has none.
    ///
    /// # Errors
    /// When they were measured on a tensor of another shape. (Embeddings are looked up and not multiplied; for them
    /// importances of another shape are passed over.)
    pub fn of(&self, tensor: &Tensor) -> Result<Option<Vec<f32>>, Error> {
        let Some(Entry { sums, counts }) = self.entries.get(&tensor.name) else { return Ok(None) };
        let n_matrices: usize = tensor.shape.iter().skip(2).product();
        let one_each = counts.len() == 1 || counts.len() == n_matrices;
        if one_each && sums.len() == tensor.shape[0] * n_matrices {
            let of_one = sums.chunks_exact(sums.len() / counts.len()).zip(counts);
            let means = of_one.flat_map(|(sums, &count)| {
                let count = count.round();
                sums.iter().map(move |&sum| if count > 0.0 { sum / count } else { 1.0 })
            });
            return Ok(Some(means.collect()));
        }
        if tensor.name == "token_embd.weight" || tensor.name == "per_layer_token_embd.weight" {
            return Ok(None);
        }
        let expected = format!("{n_matrices} times {}, one per column", tensor.shape[0]);
        Err(Error::malformed(
            format!("importances of {}", tensor.name),
            format!("{} values", sums.len()),
            expected,
        ))
    }

    fn from_gguf(bytes: &Bytes) -> Result<Self, Error> {
        let file = gguf::parse(bytes.clone())?;
        let mut entries = BTreeMap::new();
        for sums in file.tensors() {
            let Some(name) = sums.name.strip_suffix(".in_sum2") else { continue };
            let part = format!("importances of {name}");
            let counts = file
                .tensor(&format!("{name}.counts"))
                .ok_or_else(|| Error::malformed(&part, "no counts", format!("a tensor {name}.counts")))?;
            let (sums, counts) = (floats(sums)?, floats(counts)?);
            if counts.is_empty() || !sums.len().is_multiple_of(counts.len()) {
                let found = format!("{} sums and {} counts", sums.len(), counts.len());
                return Err(Error::malformed(part, found, "one count per matrix"));
            }
            entries.insert(name.to_owned(), Entry { sums, counts });
        }
        let datasets = file.strings("imatrix.datasets")?.map(|d| d.map(text).collect()).unwrap_or_default();
        let chunk_tokens = file.uint("imatrix.chunk_size")?.and_then(|n| u32::try_from(n).ok());
        let n_chunks = file.uint("imatrix.chunk_count")?.unwrap_or(0);
        let model = file.str(MODEL)?.map(str::to_owned);
        Ok(Self { entries, datasets, n_chunks, chunk_tokens, model, counts_calls: false })
    }

    fn from_dat(bytes: &[u8]) -> Result<Self, Error> {
        let mut c = Cursor { bytes };
        let n_entries = c.count("number of entries", ENTRIES_MAX)?;
        let mut imatrix = Self { counts_calls: true, ..Self::default() };
        for _ in 0..n_entries {
            let name_bytes = c.count("length of a name", NAME_BYTES_MAX)?;
            let name = text(c.take(name_bytes)?);
            let n_calls = c.i32()?;
            let n_values = c.count("number of values", usize::MAX / 4)?;
            let count = if n_calls > 0 { n_calls as f32 } else { 1.0 };
            let (values, _) = c.take(n_values * 4)?.as_chunks::<4>();
            let sums = values.iter().map(|&b| f32::from_le_bytes(b)).collect();
            imatrix.entries.insert(name, Entry { sums, counts: vec![count] });
        }
        if !c.bytes.is_empty() {
            imatrix.n_chunks = u64::try_from(c.i32()?).unwrap_or(0);
            if !c.bytes.is_empty() {
                let n = c.count("length of the text's name", NAME_BYTES_MAX)?;
                imatrix.datasets.push(text(c.take(n)?));
            }
        }
        Ok(imatrix)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn floats(tensor: &Tensor) -> Result<Vec<f32>, Error> {
    if tensor.format.name != "f32" {
        return Err(Error::malformed(format!("tensor {}", tensor.name), tensor.format.name, "f32"));
    }
    Ok(tensor.values())
}

/// A bounds-checked reader of `.dat` files, whose counts are i32.
struct Cursor<'a> {
    bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        let Some((head, rest)) = self.bytes.split_at_checked(n) else {
            let found = format!("{} bytes left", self.bytes.len());
            return Err(Error::malformed(
                "importances",
                found,
                format!("{n} more (is it an imatrix file, and whole?)"),
            ));
        };
        self.bytes = rest;
        Ok(head)
    }

    fn i32(&mut self) -> Result<i32, Error> {
        Ok(i32::from_le_bytes(self.take(4)?.try_into().expect("four bytes")))
    }

    fn count(&mut self, what: &str, max: usize) -> Result<usize, Error> {
        let n = self.i32()?;
        usize::try_from(n)
            .ok()
            .filter(|&n| (1..=max).contains(&n))
            .ok_or_else(|| Error::malformed("importances", format!("{what} {n}"), format!("1 to {max}")))
    }
}

#[cfg(test)]
mod tests {
    use ingle_kernel::quant;
    use ingle_model::file::contents::Piece;

    use super::*;
    use crate::calibrate::Stats;

    fn gguf(tensors: &[(&str, &[usize], &[f32])]) -> Bytes {
        let mut header = Header::default();
        header.set("imatrix.chunk_count", 7u32).unwrap();
        header.set("imatrix.datasets", Meta::array(ValueType::String, ["wiki".into()])).unwrap();
        for (name, shape, _) in tensors {
            header.add(name, shape, quant::by_name("f32").unwrap()).unwrap();
        }
        let mut writer = Writer::begin(Vec::new(), &header).unwrap();
        for (_, _, values) in tensors {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            writer.write(&bytes).unwrap();
        }
        Bytes::new(writer.finish().unwrap())
    }

    fn dat(entries: &[(&str, i32, &[f32])], rest: &[u8]) -> Bytes {
        let mut out = (entries.len() as i32).to_le_bytes().to_vec();
        for (name, calls, values) in entries {
            out.extend((name.len() as i32).to_le_bytes());
            out.extend(name.as_bytes());
            out.extend(calls.to_le_bytes());
            out.extend((values.len() as i32).to_le_bytes());
            out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        }
        out.extend(rest);
        Bytes::new(out)
    }

    fn tensor(name: &str, shape: &[usize]) -> Tensor {
        let format = quant::by_name("f32").unwrap();
        let values = Bytes::new(vec![0; 4 * shape.iter().product::<usize>()]);
        Tensor::new(name.into(), shape.into(), format, vec![Piece::InPlace(values)])
    }

    #[test]
    fn sums_are_divided_by_their_counts_expert_by_expert() {
        let sums = [2.0, 4.0, 9.0, 9.0];
        let imatrix =
            Imatrix::parse(&gguf(&[("w.in_sum2", &[2, 2], &sums), ("w.counts", &[1, 2], &[2.0, 0.0])]))
                .unwrap();
        assert_eq!(imatrix.of(&tensor("w", &[2, 5, 2])).unwrap(), Some(vec![1.0, 2.0, 1.0, 1.0]));
        assert_eq!((imatrix.n_chunks, imatrix.datasets.as_slice()), (7, &["wiki".to_owned()][..]));
        assert_eq!(imatrix.of(&tensor("v", &[2, 5])).unwrap(), None);
        assert!(imatrix.of(&tensor("w", &[2, 5])).unwrap_err().to_string().contains("4 values"));
    }

    #[test]
    fn older_files_are_read_too() {
        let mut rest = 3i32.to_le_bytes().to_vec();
        rest.extend(4i32.to_le_bytes());
        rest.extend(b"wiki");
        let with = Imatrix::parse(&dat(&[("w", 2, &[2.0, 6.0])], &rest)).unwrap();
        assert_eq!(with.of(&tensor("w", &[2, 5])).unwrap(), Some(vec![1.0, 3.0]));
        assert_eq!((with.n_chunks, with.datasets.as_slice()), (3, &["wiki".to_owned()][..]));
        let without = Imatrix::parse(&dat(&[("w", 0, &[2.0, 6.0])], &[])).unwrap();
        assert_eq!(without.of(&tensor("w", &[2, 5])).unwrap(), Some(vec![2.0, 6.0]));
    }

    #[test]
    fn what_was_seen_is_written_read_and_added_up() {
        let mut file = Contents::new("gguf");
        file.add(tensor("w", &[2, 5])).unwrap();
        file.add(tensor("experts", &[2, 5, 2])).unwrap();
        file.add(tensor("unseen", &[2, 5])).unwrap();
        let site = |name: &str, n_tokens, squares: [f64; 2]| {
            let stats = Stats { n_tokens, sum_squares: squares.into(), ..Stats::new(2, false) };
            Site { weights: vec![name.to_owned()], stats }
        };
        let sites = [site("w", 4, [4.0, 8.0]), site("experts.1", 2, [1.0, 3.0])];
        let mut all = Imatrix::of_sites(&sites, &file, vec!["a".into()], 3, 512);
        let read = |imatrix: &Imatrix| {
            let mut bytes = Vec::new();
            imatrix.write(&mut bytes).unwrap();
            Imatrix::parse(&Bytes::new(bytes)).unwrap()
        };
        assert_eq!(read(&all), all);
        assert_eq!(all.of(&tensor("w", &[2, 5])).unwrap(), Some(vec![1.0, 2.0]));
        assert_eq!(all.of(&tensor("experts", &[2, 5, 2])).unwrap(), Some(vec![1.0, 1.0, 0.5, 1.5]));
        let more = [site("w", 4, [0.0, 4.0]), site("experts.0", 1, [7.0, 7.0])];
        all.merge(read(&Imatrix::of_sites(&more, &file, vec!["b".into(), "a".into()], 2, 512))).unwrap();
        assert_eq!(all.of(&tensor("w", &[2, 5])).unwrap(), Some(vec![0.5, 1.5]));
        assert_eq!(all.of(&tensor("experts", &[2, 5, 2])).unwrap(), Some(vec![7.0, 7.0, 0.5, 1.5]));
        assert_eq!((all.n_chunks, all.datasets.join(" ")), (5, "a b".to_owned()));
        let other = gguf(&[("w.in_sum2", &[3], &[1.0; 3]), ("w.counts", &[1], &[1.0])]);
        let refused = all.clone().merge(Imatrix::parse(&other).unwrap()).unwrap_err().to_string();
        assert!(refused.contains("importances of w: 3 sums and 1 counts"), "{refused}");
    }

    #[test]
    fn what_was_measured_otherwise_is_not_added() {
        let values = |name: &str| [(format!("{name}.in_sum2"), 2), (format!("{name}.counts"), 1)];
        let read = |name: &str| {
            let tensors = values(name);
            let tensors = tensors.each_ref().map(|(name, n)| (&name[..], [*n], vec![1.0; *n]));
            let tensors: Vec<_> =
                tensors.iter().map(|(name, shape, v)| (*name, &shape[..], &v[..])).collect();
            Imatrix::parse(&gguf(&tensors)).unwrap()
        };
        let of = |model: &str, chunk_tokens| Imatrix {
            model: Some(model.into()),
            chunk_tokens: Some(chunk_tokens),
            ..read("w")
        };
        let older = Imatrix::parse(&dat(&[("w", 2, &[2.0, 6.0])], &[])).unwrap();
        let ours = of("0123456789abcdef", 512);
        for (other, said) in [
            (
                of("fedcba9876543210", 512),
                "of another model (fedcba987654), expected of the same (0123456789ab)",
            ),
            (of("0123456789abcdef", 256), "of chunks of 256 tokens, expected of 512"),
            (read("v"), "nothing of w, expected the tensors of the same model"),
            (older.clone(), "counts of calls, as older files have it, expected tokens"),
        ] {
            let mut into = ours.clone();
            let refused = into.merge(other).unwrap_err().to_string();
            assert!(refused.contains(said), "{refused}");
            assert_eq!(into, ours);
        }
        // Where a file does not say, its tensors do; what is known is kept.
        let mut unsaid = read("w");
        unsaid.merge(ours.clone()).unwrap();
        assert_eq!((&unsaid.model, unsaid.chunk_tokens), (&ours.model, Some(512)));
        let mut two = older.clone();
        two.merge(older).unwrap();
        assert_eq!(two.of(&tensor("w", &[2, 5])).unwrap(), Some(vec![1.0, 3.0]));
    }

    #[test]
    fn damaged_files_are_refused_in_a_sentence() {
        for (bytes, said) in [
            (Bytes::new(Vec::new()), "0 bytes left"),
            (dat(&[], &[]), "number of entries 0"),
            (Bytes::new([1, 0, 0, 0, 255, 255, 255, 127].to_vec()), "length of a name"),
            (dat(&[("w", 1, &[1.0, f32::NAN])], &[]), "NaN"),
            (dat(&[("w", 1, &[-1.0])], &[]), "-1"),
            (gguf(&[("w.in_sum2", &[2], &[1.0, 1.0])]), "no counts"),
            (gguf(&[("w.counts", &[2], &[1.0, 1.0])]), "no entries"),
            (gguf(&[("w.in_sum2", &[3], &[1.0; 3]), ("w.counts", &[2], &[1.0; 2])]), "3 sums and 2 counts"),
        ] {
            let error = Imatrix::parse(&bytes).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
