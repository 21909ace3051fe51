//! Packed weights in files: the same bits, from the first token on, and nothing taken that is not what was written.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use ingle_engine::model_file::{LoadOptions, Loaded, ModelFile, Pack};
use ingle_engine::packed::{PackedDir, files_in};
use ingle_engine::session::{Session, SessionOptions};

/// A folder with a model, which goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static N: AtomicUsize = AtomicUsize::new(0);
        let name = format!("ingle-packed-{}-{}", std::process::id(), N.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("m.gguf"), ingle_demo::GGUF).unwrap();
        Self(path)
    }

    fn model(&self) -> PathBuf {
        self.0.join("m.gguf")
    }

    fn dir(&self) -> PackedDir {
        PackedDir { path: self.0.join("cache/packed"), bytes_max: 1 << 30 }
    }

    fn load(&self, pack: Pack) -> Arc<Loaded> {
        load(&self.model(), self.dir(), pack, None)
    }

    /// Has the weights packed to a file, which it gives.
    fn write(&self) -> PathBuf {
        let packer = self.load(Pack::Kept).packer().unwrap().expect("there is no file yet");
        packer.run(&mut || true).unwrap();
        self.file()
    }

    fn file(&self) -> PathBuf {
        let mut files = files_in(&self.dir().path);
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn load(path: &Path, dir: PackedDir, pack: Pack, tier: Option<&str>) -> Arc<Loaded> {
    let mut file = ModelFile::open(path).unwrap();
    file.set_packed_dir(dir);
    Arc::new(Loaded::load(file, &LoadOptions { tier, n_threads: 2, pack }).unwrap())
}

/// The bits of what comes behind each token of a text, one at a time: enough steps that whatever is to be packed is.
fn logits(loaded: &Arc<Loaded>) -> Vec<u32> {
    let options = SessionOptions { ctx: Some(64), kv: "f16", chunk: None };
    let mut session = Session::new(loaded.clone(), &options).unwrap();
    let mut all = Vec::new();
    for token in (0..48).map(|i| i * 37 % 500) {
        session.feed_for_logits(&[token], |_, row| all.extend(row.iter().map(|x| x.to_bits()))).unwrap();
    }
    all
}

#[test]
fn what_was_kept_is_mapped_and_gives_the_same_bits() {
    let folder = Folder::new();
    let unpacked = logits(&folder.load(Pack::Off));
    let packs = folder.load(Pack::On);
    assert!(packs.packed_bytes() > 0 && packs.kept_bytes() == 0);
    assert!(logits(&packs) == unpacked);
    let file = folder.write();
    let n_bytes = fs::metadata(&file).unwrap().len();
    for pack in [Pack::On, Pack::Auto, Pack::Kept] {
        let kept = folder.load(pack);
        assert_eq!((kept.packed_bytes(), kept.kept_bytes()), (0, n_bytes), "{pack:?}");
        assert!(kept.packer().unwrap().is_none());
        assert!(logits(&kept) == unpacked, "{pack:?}");
        kept.file.drop_pages();
        assert!(logits(&kept) == unpacked, "{pack:?}, after its pages left");
        kept.prefault();
    }
    assert_eq!(folder.load(Pack::Off).kept_bytes(), 0);
}

/// A model that is used while its weights are written has them from then on.
#[test]
fn what_comes_to_be_kept_is_used_at_once_and_changes_nothing() {
    let folder = Folder::new();
    let expected = logits(&folder.load(Pack::Off));
    let loaded = folder.load(Pack::Kept);
    assert!(logits(&loaded) == expected);
    loaded.packer().unwrap().unwrap().run(&mut || true).unwrap();
    assert!(loaded.kept_bytes() > 0 && loaded.packed_bytes() == 0);
    for _ in 0..2 {
        assert!(logits(&loaded) == expected);
    }
}

#[test]
fn a_file_that_is_not_what_was_written_is_removed_and_made_again() {
    let folder = Folder::new();
    let expected = logits(&folder.load(Pack::Off));
    let whole = fs::read(folder.write()).unwrap();
    let n = whole.len();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    let wrong = [
        Vec::new(),
        whole[..n / 2].to_vec(),
        whole[..n - 1].to_vec(),
        [&whole[..], &[0; 64]].concat(),
        flipped(3),
        flipped(20),
        flipped(44),
        flipped(100),
        flipped(n / 2),
        flipped(n - 70),
        vec![0xff; n],
    ];
    for (i, bytes) in wrong.into_iter().enumerate() {
        let file = folder.file();
        fs::remove_file(&file).unwrap();
        fs::write(&file, bytes).unwrap();
        let loaded = folder.load(Pack::On);
        assert!(loaded.kept_bytes() == 0 && loaded.packed_bytes() > 0, "{i}");
        assert!(logits(&loaded) == expected, "{i}");
        assert!(!file.exists(), "{i}");
        assert!(fs::read(folder.write()).unwrap() == whole, "{i}");
    }
}

/// A file belongs to a model as it is, and to a tier.
#[test]
fn another_models_file_is_not_taken() {
    let folder = Folder::new();
    let file = folder.write();
    let tiers: Vec<&str> = ingle_kernel::simd::Kernels::names().collect();
    for tier in tiers {
        let loaded = load(&folder.model(), folder.dir(), Pack::Kept, Some(tier));
        assert_eq!(loaded.kept_bytes() > 0, tier == folder.load(Pack::Kept).tier(), "{tier}");
    }
    let stranger = Folder::new();
    let place = stranger.write();
    fs::copy(&file, &place).unwrap();
    let loaded = stranger.load(Pack::On);
    assert_eq!(loaded.kept_bytes(), 0, "its key is in it, whatever it is called");
    drop(loaded);
    // The same bytes, written again: what they are is not known without reading them.
    fs::write(folder.model(), ingle_demo::GGUF).unwrap();
    assert_eq!(folder.load(Pack::Kept).kept_bytes(), 0);
}

#[test]
fn who_writes_at_the_same_time_writes_the_same() {
    let folder = Folder::new();
    let expected = logits(&folder.load(Pack::Off));
    let loaded: Vec<_> = (0..4).map(|_| folder.load(Pack::Kept)).collect();
    std::thread::scope(|scope| {
        for loaded in &loaded {
            scope.spawn(|| loaded.packer().unwrap().unwrap().run(&mut || true).unwrap());
        }
    });
    let _ = folder.file();
    let kept = folder.load(Pack::Kept);
    assert!(kept.kept_bytes() > 0 && logits(&kept) == expected);
}

#[test]
fn a_folder_is_bounded_and_what_is_used_stays() {
    let folder = Folder::new();
    let file = folder.write();
    let n = fs::metadata(&file).unwrap().len();
    let other = Folder::new();
    let into = |bytes_max| {
        let dir = PackedDir { bytes_max, ..folder.dir() };
        let loaded = load(&other.model(), dir, Pack::Kept, None);
        if let Some(packer) = loaded.packer().unwrap() {
            packer.run(&mut || true).unwrap();
        }
        loaded.kept_bytes()
    };
    fs::write(folder.dir().path.join("x.1.unfinished"), "left behind").unwrap();
    assert_eq!(into(n - 1), 0, "it would never fit");
    assert!(file.exists());
    assert_eq!(files_in(&folder.dir().path).len(), 1, "what nobody will finish goes");
    let user = folder.load(Pack::Kept);
    assert_eq!(into(n), 0, "the other is in use");
    assert!(user.kept_bytes() == n && file.exists());
    drop(user);
    assert_eq!(into(n), n);
    assert!(!file.exists());
    assert_eq!(into(2 * n + 100), n);
}

#[test]
fn nothing_is_left_of_what_was_ended_or_can_not_be_written() {
    let folder = Folder::new();
    let loaded = folder.load(Pack::Kept);
    loaded.packer().unwrap().unwrap().run(&mut || false).unwrap();
    assert!(files_in(&folder.dir().path).is_empty());
    let in_the_way = Folder::new();
    fs::write(in_the_way.0.join("cache"), "a file, where a folder is to be").unwrap();
    let loaded = in_the_way.load(Pack::On);
    let error = loaded.packer().unwrap().unwrap().run(&mut || true).unwrap_err().to_string();
    assert!(error.contains("packed"), "{error}");
    assert!(logits(&loaded) == logits(&folder.load(Pack::Off)));
}
