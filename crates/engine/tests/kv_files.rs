//! What answers have been through survives a restart in files: numbers stay those of a session alone, files that are not what was
//! written are ignored, and they are nobody else's to read.
//!
//! Runs on the tiny models of `model/tests/families`.

mod jobs;
mod tiny;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use ingle_engine::at_rest::{Content, Form, Plain};
use ingle_engine::generate::Outcome;
use ingle_engine::kv_dir::fingerprint::fingerprint;
use ingle_engine::kv_dir::{Folder, Kept, KvDir};
use ingle_engine::model_file::Loaded;
use ingle_engine::run::{Engine, EngineOptions};
use ingle_engine::sample::Params;
use ingle_engine::session::SessionOptions;
use ingle_model::decoder::{Scratch, Span};
use ingle_model::kv::{self, BLOCK, Kv, Room};
use jobs::job;
use tiny::models;

const CTX: usize = 600;

/// What was reported, by all tests of this file.
static REPORTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn report(what: &str) {
    REPORTED.lock().unwrap().push(what.to_owned());
}

fn n_reported(of: &Path) -> usize {
    let of = of.display().to_string();
    REPORTED.lock().unwrap().iter().filter(|what| what.contains(&of)).count()
}

/// A folder that is gone with the test.
struct Temporary(PathBuf, Arc<dyn Form>);

impl Temporary {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ingle-kv-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path, Arc::new(Plain))
    }

    fn dir(&self, bytes_max: u64) -> KvDir<'_> {
        KvDir { path: &self.0, bytes_max, form: &self.1, report }
    }

    /// All files, of all models.
    fn files(&self) -> Vec<PathBuf> {
        let models = fs::read_dir(&self.0).unwrap().map(|model| model.unwrap().path());
        let files = models.flat_map(|model| fs::read_dir(model).unwrap().map(|file| file.unwrap().path()));
        files.collect()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn engine(loaded: &Arc<Loaded>, kv_dir: Option<KvDir<'_>>) -> Engine {
    let session = SessionOptions { ctx: Some(CTX), kv: "f16", chunk: Some(96) };
    let options = EngineOptions {
        session,
        n_lanes: 2,
        queue_max: 100,
        prefix_bytes: Some(1 << 24),
        kv_dir,
        clock: None,
    };
    Engine::new(loaded.clone(), &options).unwrap()
}

fn ask(engine: &Engine, prompt: &[u32]) -> (String, Outcome) {
    let (job, said) = job(prompt, &Params { temperature: 1.5, seed: 3, ..Params::GREEDY }, 90);
    engine.submit(job).unwrap();
    let said = said.recv().unwrap();
    (said.text, said.outcome.unwrap())
}

/// Ids that never repeat for long.
fn tokens(loaded: &Loaded, n: usize) -> Vec<u32> {
    let n_vocab = loaded.model.config.vocab;
    (0..n).map(|i| ((i * i * 7 + i * 31 + 3) % n_vocab) as u32).collect()
}

#[test]
fn a_prompt_is_not_computed_again_after_a_restart() {
    for loaded in models() {
        let name = loaded.file.name();
        let temporary = Temporary::new(name);
        let prompt = tokens(&loaded, 400);
        let mut other = prompt[..350].to_vec();
        other.extend([5, 6, 7]);
        let fresh = engine(&loaded, None);
        let expected = [ask(&fresh, &prompt).0, ask(&fresh, &other).0];

        let first = engine(&loaded, Some(temporary.dir(1 << 30)));
        assert_eq!(ask(&first, &prompt).1.n_reused, 0, "{name}");
        drop(first);
        let second = engine(&loaded, Some(temporary.dir(1 << 30)));
        let (text, outcome) = ask(&second, &prompt);
        assert_eq!((&text, outcome.n_reused), (&expected[0], 399 / BLOCK * BLOCK), "{name}");
        assert_eq!(
            second.counters().n_prompt.load(Relaxed),
            400 - 399 / BLOCK as u64 * BLOCK as u64,
            "{name}"
        );
        assert_eq!(ask(&second, &other).0, expected[1], "{name}");
        drop(second);
        // Rest is a restart that nobody sees: memory goes, and comes back from files to the bit.
        let resting = engine(&loaded, Some(temporary.dir(1 << 30)));
        assert_eq!(ask(&resting, &prompt).0, expected[0], "{name}");
        for n in 1..=2 {
            resting.rest();
            assert_eq!(resting.counters().n_kept_bytes.load(Relaxed), 0, "{name}");
            let (text, outcome) = ask(&resting, &prompt);
            assert_eq!((&text, outcome.n_reused), (&expected[0], 399 / BLOCK * BLOCK), "{name}");
            assert_eq!(resting.counters().n_rests.load(Relaxed), n, "{name}");
        }
        drop(resting);
        // Without files what went is computed anew.
        fresh.rest();
        let (text, outcome) = ask(&fresh, &prompt);
        assert_eq!((&text, outcome.n_reused), (&expected[0], 0), "{name}");
        // Another size of the context is another cache: some models turn positions by it.
        let session = SessionOptions { ctx: Some(CTX + 1), kv: "f16", chunk: None };
        let options = EngineOptions {
            session,
            n_lanes: 1,
            queue_max: 1,
            prefix_bytes: None,
            kv_dir: Some(temporary.dir(1 << 30)),
            clock: None,
        };
        let third = Engine::new(loaded.clone(), &options).unwrap();
        assert_eq!(ask(&third, &prompt).1.n_reused, 0, "{name}");
        assert_eq!(n_reported(&temporary.0), 0, "{name}");
    }
}

/// Bytes turned over, behind a byte that says so: another form than the plain one.
#[derive(Debug)]
struct Turned;

/// Turns over what is read or written through it.
struct Turning<T>(T);

impl<R: Read> Read for Turning<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(out)?;
        out[..n].iter_mut().for_each(|byte| *byte = !*byte);
        Ok(n)
    }
}

impl<W: Write> Write for Turning<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes.iter().map(|byte| !byte).collect::<Vec<_>>())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

const MARK: u8 = 0x54;

impl Form for Turned {
    fn read(&self, mut file: File, n_bytes: u64, label: &str) -> io::Result<(Box<dyn Read + Send>, u64)> {
        assert_eq!(label, "kv");
        let mut mark = [0];
        file.read_exact(&mut mark)?;
        Ok((Box::new(Turning(file)), n_bytes - 1))
    }

    fn write(&self, mut file: File, label: &str, content: Content<'_>) -> io::Result<File> {
        assert_eq!(label, "kv");
        file.write_all(&[MARK])?;
        content(&mut Turning(&mut file))?;
        Ok(file)
    }

    fn is_own(&self, path: &Path) -> bool {
        fs::read(path).is_ok_and(|bytes| bytes.first() == Some(&MARK))
    }
}

#[test]
fn files_lie_in_the_form_that_was_asked_for_and_others_go() {
    let loaded = models().swap_remove(0);
    let mut temporary = Temporary::new("form");
    let prompt = tokens(&loaded, 400);
    let expected = ask(&engine(&loaded, None), &prompt).0;
    let plain = engine(&loaded, Some(temporary.dir(1 << 30)));
    ask(&plain, &prompt);
    drop(plain);
    let beginnings = |temporary: &Temporary| {
        temporary.files().iter().map(|file| fs::read(file).unwrap()[0]).collect::<BTreeSet<u8>>()
    };
    assert_eq!(beginnings(&temporary), [b'i'].into());
    // Of another model, which nobody runs now: it told what was asked all the same.
    let other = temporary.0.join("0".repeat(32)).join(format!("{}-0.kv", "1".repeat(64)));
    fs::create_dir(other.parent().unwrap()).unwrap();
    fs::write(&other, "ingleKV1").unwrap();

    temporary.1 = Arc::new(Turned);
    let first = engine(&loaded, Some(temporary.dir(1 << 30)));
    assert!(temporary.files().is_empty() && !other.exists(), "what lay open is gone");
    assert_eq!(ask(&first, &prompt).1.n_reused, 0);
    drop(first);
    assert_eq!(beginnings(&temporary), [MARK].into());
    let second = engine(&loaded, Some(temporary.dir(1 << 30)));
    let (text, outcome) = ask(&second, &prompt);
    assert_eq!((text, outcome.n_reused), (expected, 399 / BLOCK * BLOCK));
    assert_eq!(n_reported(&temporary.0), 0);
}

/// A child of this test says what its fingerprint is.
#[test]
fn a_fingerprint_is_the_same_in_another_process() {
    const NAME: &str = "a_fingerprint_is_the_same_in_another_process";
    const CHILD: &str = "INGLE_TEST_CHILD";
    let f16 = ingle_kernel::quant::by_name("f16").unwrap();
    let all: Vec<String> =
        models().iter().map(|loaded| format!("{:02x?}", fingerprint(loaded, f16, CTX))).collect();
    if std::env::var_os(CHILD).is_some() {
        println!("{}", all.join("\n"));
        return;
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let said = child.args(["--exact", NAME, "--nocapture"]).env(CHILD, "1").output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains(&all.join("\n")), "{said}");
    let different: BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len(), "no two models are the same");
    let loaded = &models()[0];
    assert_ne!(fingerprint(loaded, f16, CTX), fingerprint(loaded, f16, CTX + 1));
}

#[test]
#[cfg(unix)]
fn files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (loaded, temporary) = (models().swap_remove(0), Temporary::new("owner"));
    let engine = engine(&loaded, Some(temporary.dir(1 << 30)));
    ask(&engine, &tokens(&loaded, 200));
    drop(engine);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files = temporary.files();
    assert!(files.len() >= 3 && files.iter().all(|file| mode(file) == 0o600));
    assert!(files.iter().all(|file| file.parent().is_some_and(|dir| mode(dir) == 0o700)));
    assert_eq!(mode(&temporary.0), 0o700);
}

#[test]
fn the_folder_stays_as_small_as_was_said() {
    let (loaded, temporary) = (models().swap_remove(0), Temporary::new("small"));
    let sum = || temporary.files().iter().map(|file| fs::metadata(file).unwrap().len()).sum::<u64>();
    let one = engine(&loaded, Some(temporary.dir(1 << 30)));
    ask(&one, &tokens(&loaded, 400));
    drop(one);
    let (all, n_files) = (sum(), temporary.files().len());
    // What is there already counts.
    let less = engine(&loaded, Some(temporary.dir(all / 2)));
    assert!(sum() <= all / 2 && temporary.files().len() < n_files);
    let (_, outcome) = ask(&less, &tokens(&loaded, 400));
    assert!((BLOCK..399).contains(&outcome.n_reused), "the beginning stayed: {}", outcome.n_reused);
    ask(&less, &tokens(&loaded, 430)[30..]);
    drop(less);
    assert!(sum() <= all / 2);
}

/// A block as a model made it.
fn block(loaded: &Loaded) -> (Kv, Room, Vec<u32>) {
    let config = &loaded.model.config;
    let room = Room::new(config, kv::format(config, "f16").unwrap(), CTX, 2, 0);
    let (mut kv, tokens) = (Kv::within(&room, config), tokens(loaded, BLOCK));
    let mut scratch = Scratch::new(config, BLOCK, 1);
    loaded.model.forward(&loaded.runtime(&[]), &mut [Span::new(&mut kv, &tokens)], &mut scratch).unwrap();
    (kv, room, tokens)
}

/// Of one model with plain attention and one that recurs; `kv_dir::record` tries every bit of a small one.
#[test]
fn damaged_files_are_ignored_with_a_sentence() {
    let all = models();
    let smallest = |recurs: bool| {
        let of_kind =
            all.iter().map(|loaded| (block(loaded), loaded)).filter(|((kv, ..), _)| kv.recurs() == recurs);
        let size =
            |((kv, ..), _): &((Kv, Room, Vec<u32>), _)| kv.held(0).n_bytes() + 4 * kv.state_len() as u64;
        of_kind.min_by_key(size).unwrap()
    };
    for recurs in [false, true] {
        let ((kv, room, tokens), loaded) = smallest(recurs);
        let temporary = Temporary::new(if recurs { "damaged-state" } else { "damaged-block" });
        let folder = Folder::open(&temporary.dir(1 << 30), [9; 32]).unwrap();
        let place = folder.places(&tokens).next().unwrap();
        let kept = kv.state().map_or_else(|| Kept::Block(kv.held(0)), Kept::State);
        folder.write(&place, &kept).unwrap();
        let path = temporary.files().pop().unwrap();
        let there = || match recurs {
            false => folder.read_block(&place, &room).is_some(),
            true => folder.read_state(&place, kv.state_len()).is_some(),
        };
        assert!(there(), "{}", loaded.file.name());
        let good = fs::read(&path).unwrap();
        let mut n_damaged = 0;
        let mut try_with = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            n_damaged += 1;
            assert!(!there() && !path.exists());
        };
        // The head, the end and some of what is between: a hash says the same of all bytes.
        let between = 400..good.len().saturating_sub(40).max(400);
        let body = between.clone().step_by(between.len() / 200 + 1);
        for at in (0..400.min(good.len())).chain(body).chain(between.end.min(good.len())..good.len()) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            try_with(&bad);
        }
        for len in (0..good.len()).step_by(good.len() / 200 + 1) {
            try_with(&good[..len]);
        }
        try_with(&[&good[..], &[0]].concat());
        assert_eq!(n_reported(&temporary.0), n_damaged);
        fs::create_dir(&path).unwrap();
        assert!(!there(), "a folder is no file");
        drop((kv, kept));
        assert_eq!(room.n_bytes(), 0, "pages of files that were refused came back");
    }
}

#[test]
fn a_folder_that_cannot_be_is_an_error() {
    let (loaded, temporary) = (models().swap_remove(0), Temporary::new("none"));
    fs::write(&temporary.0, "a file").unwrap();
    let session = SessionOptions { ctx: Some(CTX), kv: "f16", chunk: None };
    let kv_dir = Some(temporary.dir(1 << 30));
    let options =
        EngineOptions { session, n_lanes: 1, queue_max: 1, prefix_bytes: None, kv_dir, clock: None };
    let error = Engine::new(loaded, &options).unwrap_err().to_string();
    assert!(error.contains(&temporary.0.display().to_string()), "{error}");
    fs::remove_file(&temporary.0).unwrap();
}
