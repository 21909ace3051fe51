//! Models of any size: the demo's vocabulary and attention, with more layers and wider feed-forward blocks of drawn weights, in
//! files; and a stock of them.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use ingle_engine::at_rest::{Form, Plain};
use ingle_engine::kv_dir::KvDir;
use ingle_engine::model_file::{LoadOptions, Loaded, ModelFile, Pack};
use ingle_engine::residency::need::{May, Need, Offer, Wish};
use ingle_engine::run::{Engine, EngineOptions};
use ingle_engine::session::SessionOptions;
use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::quant::by_name;
use ingle_model::file::gguf;
use ingle_model::file::gguf_write::{Header, Writer};
use ingle_serve::{Known, Model, Stock};

/// A folder of files that goes with its test.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ingle-shapes-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A model of `n_layers` whose feed-forward blocks have `ffn` values, in q8_0.
    pub fn model(&self, name: &str, n_layers: usize, ffn: usize) -> PathBuf {
        let path = self.0.join(format!("{name}.gguf"));
        write(&path, n_layers, ffn);
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Names of a layer's tensors, and whether they are of the feed-forward block.
const TENSORS: [(&str, bool); 9] = [
    ("attn_norm", false),
    ("attn_q", false),
    ("attn_k", false),
    ("attn_v", false),
    ("attn_output", false),
    ("ffn_norm", false),
    ("ffn_gate", true),
    ("ffn_up", true),
    ("ffn_down", true),
];

fn write(path: &Path, n_layers: usize, ffn: usize) {
    let demo = gguf::parse(Bytes::new(ingle_demo::GGUF)).unwrap();
    let (q8_0, dim) = (by_name("q8_0").unwrap(), 256);
    let mut header = Header::like(&demo);
    header.set("llama.block_count", n_layers as u32).unwrap();
    header.set("llama.feed_forward_length", ffn as u32).unwrap();
    let shape = |name: &str| if name == "ffn_down" { [ffn, dim] } else { [dim, ffn] };
    for name in ["token_embd.weight", "output_norm.weight"] {
        let tensor = demo.tensor(name).unwrap();
        header.add(name, &tensor.shape, tensor.format).unwrap();
    }
    for layer in 0..n_layers {
        for (name, is_ffn) in TENSORS {
            let of_demo = demo.tensor(&format!("blk.0.{name}.weight")).unwrap();
            let name_here = format!("blk.{layer}.{name}.weight");
            match is_ffn {
                true => header.add(&name_here, &shape(name), q8_0).unwrap(),
                false => header.add(&name_here, &of_demo.shape, of_demo.format).unwrap(),
            }
        }
    }
    let mut writer = Writer::begin(BufWriter::new(File::create(path).unwrap()), &header).unwrap();
    for name in ["token_embd.weight", "output_norm.weight"] {
        writer.write(&demo.tensor(name).unwrap().bytes()).unwrap();
    }
    let mut seed = n_layers as u32 * 7919 + ffn as u32;
    for _ in 0..n_layers {
        for (name, is_ffn) in TENSORS {
            match is_ffn {
                true => writer.write(&drawn(dim * ffn / 32, &mut seed)).unwrap(),
                false => {
                    let of_demo = demo.tensor(&format!("blk.0.{name}.weight")).unwrap();
                    writer.write(&of_demo.bytes()).unwrap();
                }
            }
        }
    }
    writer.finish().unwrap();
}

/// Blocks of q8_0: a scale of 2^-10 and 32 drawn levels.
fn drawn(n_blocks: usize, seed: &mut u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(34 * n_blocks);
    for _ in 0..n_blocks {
        bytes.extend(0x1400u16.to_le_bytes());
        for _ in 0..8 {
            *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.extend((*seed ^ (*seed >> 15)).to_le_bytes());
        }
    }
    bytes
}

/// Models in files, as a server may have them.
#[derive(Debug)]
pub struct Files {
    models: Vec<(String, PathBuf, Vec<Offer>)>,
    pool: Arc<Pool>,
    pinned: Vec<String>,
    kv_dir: Option<PathBuf>,
    /// Those that are found when they are asked for.
    hidden: Vec<String>,
    /// Times that one was loaded.
    pub n_loads: AtomicUsize,
}

const WISH: Wish =
    Wish { ctx: 512, kv: String::new(), n_lanes: 2, chunk: Some(64), prefix_bytes: None, packs: false };

impl Files {
    pub fn new(models: &[(&str, PathBuf)], pinned: &[&str], kv_dir: Option<&Path>) -> Self {
        let may = May { shrink_caches: true, lower_kv: true, shorten_ctx: false };
        let wish = Wish { kv: "f16".into(), ..WISH };
        let known = |(name, path): &(&str, PathBuf)| {
            let need = Need::of(&ModelFile::open(path).unwrap());
            ((*name).to_owned(), path.clone(), need.offers(&wish, may).unwrap())
        };
        Self {
            models: models.iter().map(known).collect(),
            pool: Arc::new(Pool::new(2)),
            pinned: pinned.iter().map(ToString::to_string).collect(),
            kv_dir: kv_dir.map(Path::to_owned),
            hidden: Vec::new(),
            n_loads: AtomicUsize::new(0),
        }
    }

    /// The same, of which one is listed nowhere.
    pub fn hiding(mut self, name: &str) -> Self {
        self.hidden.push(name.to_owned());
        self
    }

    fn known(&self, (name, _, offers): &(String, PathBuf, Vec<Offer>)) -> Known {
        Known {
            name: name.clone(),
            only_reads: false,
            offers: offers.iter().map(|offer| offer.ledger).collect(),
            is_pinned: self.pinned.contains(name),
        }
    }

    /// What a model takes as it is wished.
    pub fn total(&self, name: &str) -> u64 {
        self.models.iter().find(|(one, ..)| one == name).unwrap().2[0].ledger.total()
    }
}

impl Stock for Files {
    fn list(&self) -> Vec<Known> {
        let listed = self.models.iter().filter(|(name, ..)| !self.hidden.contains(name));
        listed.map(|model| self.known(model)).collect()
    }

    fn find(&self, name: &str) -> std::io::Result<Option<Known>> {
        let found = self.models.iter().find(|(one, ..)| one == name && self.hidden.contains(one));
        Ok(found.map(|model| self.known(model)))
    }

    fn load(&self, name: &str, offer: usize) -> std::io::Result<Model> {
        self.n_loads.fetch_add(1, Relaxed);
        let (_, path, offers) = self.models.iter().find(|(one, ..)| one == name).unwrap();
        let Offer { wish, ledger, .. } = &offers[offer];
        let load = LoadOptions { tier: None, n_threads: self.pool.n_threads(), pack: Pack::Off };
        let loaded = Loaded::load_on(self.pool.clone(), ModelFile::open(path).unwrap(), &load).unwrap();
        let form: Arc<dyn Form> = Arc::new(Plain);
        let report = |what: &str| panic!("{what}");
        let options = EngineOptions {
            session: SessionOptions { ctx: Some(wish.ctx), kv: &wish.kv, chunk: wish.chunk },
            n_lanes: wish.n_lanes,
            queue_max: 16,
            prefix_bytes: Some(ledger.prefix),
            kv_dir: self.kv_dir.as_ref().map(|path| KvDir { path, bytes_max: 1 << 30, form: &form, report }),
            clock: None,
        };
        Ok(Model::Writer(Engine::new(Arc::new(loaded), &options).unwrap()))
    }
}
