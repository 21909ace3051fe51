//! The files of a folder's weights: what they are called, which belong together, and the tensors in them.
//!
//! The shelf [`WEIGHT_FILES`] has an entry for each container such files come in; a folder has one file or, with an index that
//! names each tensor's, several. An index and its files are held against each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ingle_kernel::bytes::Bytes;

use crate::error::{Error, Result};
use crate::file::entry::Entry;
use crate::file::{pytorch, safetensors};

/// Far above the published ones.
const SHARDS_MAX: usize = 4096;

/// One container's files of weights.
#[derive(Debug)]
pub struct WeightFiles {
    /// What the container is called.
    pub container: &'static str,
    /// The file where there is one.
    pub one: &'static str,
    /// The file that names those of the weights where there are several.
    pub index: &'static str,
    /// How their names end.
    endings: &'static [&'static str],
    parse: fn(&str, &Bytes) -> Result<Vec<Entry>>,
}

/// Files of safetensors.
pub static SAFETENSORS: WeightFiles = WeightFiles {
    container: "safetensors",
    one: "model.safetensors",
    index: "model.safetensors.index.json",
    endings: &[".safetensors"],
    parse: safetensors::parse,
};

/// Files that `torch.save` wrote.
pub static PYTORCH: WeightFiles = WeightFiles {
    container: "PyTorch",
    one: "pytorch_model.bin",
    index: "pytorch_model.bin.index.json",
    endings: &[".bin", ".pt", ".pth"],
    parse: pytorch::parse,
};

/// Every container of weights that this build reads in folders, the one that counts first.
pub static WEIGHT_FILES: &[&WeightFiles] = &[&SAFETENSORS, &PYTORCH];

impl Default for &'static WeightFiles {
    fn default() -> Self {
        &SAFETENSORS
    }
}

impl WeightFiles {
    /// The names of the files of weights that `index` speaks of, sorted.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is not such an index or names anything but files beside it.
    pub fn shards(&self, index: &[u8]) -> Result<Vec<String>> {
        let map = self.weight_map(index)?;
        let names: BTreeSet<String> = map.into_values().collect();
        if let Some(name) = names.iter().find(|name| !self.is_beside(name)) {
            let found = format!("file {name:?}");
            return Err(Error::malformed(self.index, found, "names of files beside it"));
        }
        if names.is_empty() || names.len() > SHARDS_MAX {
            let found = format!("{} files", names.len());
            return Err(Error::malformed(self.index, found, format!("1 to {SHARDS_MAX}")));
        }
        Ok(names.into_iter().collect())
    }

    /// Tensors and the file of each.
    fn weight_map(&self, index: &[u8]) -> Result<HashMap<String, String>> {
        let malformed =
            |e| Error::malformed(self.index, e, "an object weight_map of tensors and their files");
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: HashMap<String, String>,
        }
        serde_json::from_slice::<Index>(index).map(|index| index.weight_map).map_err(malformed)
    }

    fn is_beside(&self, name: &str) -> bool {
        let is_weights = self.endings.iter().any(|end| name.ends_with(end));
        is_weights && !name.starts_with('.') && !name.contains(['/', '\\', ':', '\0'])
    }

    /// The tensors of all files by name, as the index says where there is one.
    pub(super) fn entries(
        &self,
        index: Option<&[u8]>,
        shards: &[(String, Bytes)],
    ) -> Result<BTreeMap<String, Entry>> {
        let mut index = index.map(|index| self.weight_map(index)).transpose()?;
        let mut all = BTreeMap::new();
        for (file, bytes) in shards {
            for entry in (self.parse)(file, bytes)? {
                let part = || format!("{file} tensor {}", entry.name);
                if let Some(index) = &mut index
                    && index.remove(&entry.name).as_ref() != Some(file)
                {
                    let found = "a tensor that the index has elsewhere or not";
                    return Err(Error::malformed(part(), found, "its file"));
                }
                if all.contains_key(&entry.name) {
                    return Err(Error::malformed(
                        part(),
                        "a tensor that another file has too",
                        "each tensor once",
                    ));
                }
                all.insert(entry.name.clone(), entry);
            }
        }
        match index.and_then(|index| index.into_iter().min()) {
            Some((name, file)) => {
                let found = format!("tensor {name}, which {file} has not");
                Err(Error::malformed(self.index, found, "tensors that are there"))
            }
            None => Ok(all),
        }
    }
}
