//! `release` and `update`, with the real program on both sides and a server that holds what was made.

#[expect(dead_code, reason = "the other tests of the command line use the rest")]
mod harness;
#[expect(dead_code, reason = "the store's tests use the rest")]
#[path = "../../store/tests/hub/mod.rs"]
mod hub;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use harness::{Dir, TestCommand, hostile, tiny};
use hub::Hub;

/// A publisher and a device in one folder.
struct World {
    dir: Dir,
    hub: Hub,
}

impl World {
    fn new() -> Self {
        let world = Self { dir: Dir::new(), hub: Hub::start() };
        world.ingle(&["release", "keys", "keys", "--role", "root=2/3"]).ok();
        world
    }

    fn ingle(&self, args: &[&str]) -> TestCommand {
        self.dir.ingle(args)
    }

    /// Publishes a version of the model `chat`, with these lines of terms.
    fn publish(&self, version: u64, model: &str, terms: &str) {
        let folder = format!("v{version}");
        self.dir.file(&format!("plan/{folder}/m.gguf"), fs::read(model).unwrap());
        self.dir.file(&format!("plan/{folder}/probe.txt"), "abcdefghijklmno".repeat(20));
        let plan = format!("[models.chat]\nversion = {version}\nfolder = \"{folder}\"\n{terms}\n");
        self.make(&plan);
    }

    fn make(&self, plan: &str) {
        self.dir.file("plan/release.toml", plan);
        self.ingle(&["release", "make", "plan", "--keys", "keys", "-o", "repository"]).ok();
        self.serve(&self.dir.path("repository"), "/fleet");
    }

    fn serve(&self, folder: &Path, at: &str) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let at = format!("{at}/{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                self.serve(&path, &at);
            } else {
                self.hub.add_plain(&at, &fs::read(&path).unwrap());
            }
        }
    }

    fn follow(&self) {
        let url = format!("{}/fleet", self.hub.url);
        let (root, key) = ("repository/metadata/1.root.json", "keys/publisher.pub.pem");
        self.ingle(&["update", "--follow", &url, "--root", root, "--key", key]).ok();
    }

    /// The version that is used.
    fn version(&self) -> Option<u64> {
        let rows = self.ingle(&["update", "--check", "--json"]).json();
        rows[0]["version"].as_u64()
    }

    fn answer(&self) -> String {
        self.ingle(&["run", "chat", "ab", "--temperature", "0", "--max-tokens", "5"]).ok()
    }
}

const SMOKE: &str = "[models.chat.smoke]\ntext = \"probe.txt\"\nperplexity_ctx = 64\n";

#[test]
fn a_release_is_published_followed_used_and_rolled_back() {
    let world = World::new();
    let passes = format!(
        "{SMOKE}perplexity_max = 1e6\ntokens_per_second_min = 0.001\nram_bytes_max = 4000000000\nprompts = [{{ prompt = \"ab\", expect = \"\" }}]"
    );
    world.publish(1, &tiny(), &passes);
    world.ingle(&["update"]).fails(3, &["no repository is followed"]);
    world.follow();
    world.ingle(&["run", "chat", "ab"]).fails(3, &["no model called chat"]);
    world.ingle(&["update", "chat"]).fails(6, &["version 1 is there", "--yes installs it"]);
    world.ingle(&["update", "other"]).fails(3, &["no repository that is followed has it"]);
    let out = world.ingle(&["update", "chat", "--yes"]).run();
    assert_eq!(out.code, 0, "{out:?}");
    let steps = ["fetch", "verify the signature", "check the structure", "evaluate", "switch"];
    let mut rest = out.stderr.as_str();
    for step in steps {
        rest = rest.split_once(&format!("chat 1: {step}")).unwrap_or_else(|| panic!("{step}: {out:?}")).1;
    }
    let first = world.answer();
    assert_eq!(first.trim().len(), 5);

    // Each of these fails at another step, and none is used.
    let cases = [
        (2, hostile("truncated-data.gguf"), String::new(), "structure"),
        (3, tiny(), format!("{SMOKE}perplexity_max = 1.0"), "perplexity"),
        (4, tiny(), "[models.chat.smoke]\nprompts = [{ prompt = \"ab\", expect = \"zzz\" }]".into(), "zzz"),
        (5, tiny(), "[models.chat.smoke]\ntokens_per_second_min = 1e9".into(), "tokens per second"),
        (6, tiny(), "[models.chat.smoke]\nram_bytes_max = 1000".into(), "bytes of memory"),
    ];
    for (version, model, terms, said) in cases {
        world.publish(version, &model, &terms);
        let out = world.ingle(&["update", "chat", "--yes"]).run();
        assert!(out.code == 5 && out.stderr.contains(said), "{version}: {out:?}");
        assert_eq!(world.version(), Some(1), "{version}");
    }
    world.publish(7, &tiny(), &passes);
    world.ingle(&["update", "chat", "--yes"]).ok();
    assert_eq!(world.version(), Some(7));
    assert_eq!(world.answer(), first);
    let start = Instant::now();
    world.ingle(&["update", "chat", "--rollback"]).ok();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(world.version(), Some(1));
    assert_eq!(world.answer(), first);
    world.ingle(&["update", "chat", "--rollback"]).fails(6, &["rolled back by hand"]);
}

#[test]
fn what_was_taken_back_is_not_run() {
    let world = World::new();
    world.publish(1, &tiny(), "");
    world.follow();
    world.ingle(&["update", "chat", "--yes"]).ok();
    world.answer();
    world.make("[[revoked]]\nmodel = \"chat\"\nversion = 1\nwhy = \"harmful\"");
    world.ingle(&["update"]).ok();
    world.ingle(&["run", "chat", "ab"]).fails(6, &["taken back: harmful", "ingle update chat"]);
}

/// Uses that end well make a release good; looking at it is no use.
#[test]
fn uses_are_counted() {
    let world = World::new();
    world.publish(1, &tiny(), "");
    world.follow();
    world.ingle(&["update", "chat", "--yes"]).ok();
    let state =
        || world.ingle(&["update", "--check", "--json"]).json()[0]["state"].as_str().unwrap().to_owned();
    world.ingle(&["show", "chat"]).ok();
    assert_eq!(state(), "on probation, 5 good uses to go, 3 tries left");
    world.answer();
    assert_eq!(state(), "on probation, 4 good uses to go, 3 tries left");
    (0..4).for_each(|_| drop(world.answer()));
    assert_eq!(state(), "good");
}

/// A release that takes more than a program may that looks at it is refused, and says which limit it was.
#[test]
fn a_release_that_takes_too_much_to_look_at_is_refused() {
    let world = World::new();
    let endless = format!("{SMOKE}perplexity_max = 1e6");
    world.dir.file("plan/v1/m.gguf", fs::read(tiny()).unwrap());
    world.dir.file("plan/v1/probe.txt", "abcdefghijklmno".repeat(400_000));
    world.make(&format!("[models.chat]\nversion = 1\nfolder = \"v1\"\n{endless}\n"));
    world.follow();
    let start = Instant::now();
    let update = ["update", "chat", "--yes", "--check-time", "1"];
    world.ingle(&update).fails(5, &["version 1 is not installed", "it took longer than 1 s"]);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    assert_eq!(world.version(), None);
    if cfg!(target_os = "linux") {
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/demo.gguf");
        let asks = "[models.chat.smoke]\nprompts = [{ prompt = \"ab\", expect = \"\" }]";
        world.publish(2, demo.to_str().unwrap(), asks);
        let update = ["update", "chat", "--yes", "--check-memory", "16MiB"];
        world
            .ingle(&update)
            .fails(5, &["version 2 is not installed", "it took more than 16.0 MiB of memory"]);
        assert_eq!(world.version(), None);
    }
    world.publish(3, &tiny(), "");
    world.ingle(&["update", "chat", "--yes"]).ok();
    assert_eq!(world.version(), Some(3));
}

/// Whoever stops an update while a release is measured has stopped it: nothing is held against the release.
#[test]
#[cfg(unix)]
fn an_update_that_is_stopped_is_no_failure() {
    use rustix::process::{Pid, Signal, kill_process};
    let world = World::new();
    world.dir.file("plan/v1/m.gguf", fs::read(tiny()).unwrap());
    world.dir.file("plan/v1/probe.txt", "abcdefghijklmno".repeat(400_000));
    world.make(&format!("[models.chat]\nversion = 1\nfolder = \"v1\"\n{SMOKE}perplexity_max = 1e6\n"));
    world.follow();
    let mut command = world.ingle(&["update", "chat", "--yes"]).command;
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("chat 1: evaluate")));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let rows = world.ingle(&["update", "--check", "--json"]).json();
    assert!(rows[0]["blocked"].as_array().unwrap().is_empty(), "{rows}");
}

/// `list`, `du`, `verify` and `rm` know models that came as releases; what was learnt of them stays.
#[test]
fn releases_are_listed_verified_removed_and_followed_no_more() {
    let world = World::new();
    world.publish(1, &tiny(), "minimum_version = 1");
    world.follow();
    world.ingle(&["list"]).ok();
    world.ingle(&["update", "chat", "--yes"]).ok();
    world.publish(2, &tiny(), "minimum_version = 2");
    world.ingle(&["update", "chat", "--yes"]).ok();
    let row = || world.ingle(&["list", "--json"]).json()[0].clone();
    let release = &row()["release"];
    assert_eq!((&release["version"], &release["before"]), (&2.into(), &1.into()));
    assert_eq!(row()["family"], "llama");
    let listed = world.ingle(&["list"]).ok();
    assert!(listed.contains("RELEASE") && listed.contains("version 2, on probation"), "{listed}");
    (0..5).for_each(|_| drop(world.answer()));
    assert_eq!(row()["release"]["state"], "good");
    assert!(world.ingle(&["du"]).ok().contains("signed releases"));
    assert!(world.ingle(&["verify", "chat"]).ok().contains("good     chat  m.gguf"));

    let out = world.ingle(&["update", "chat", "--unfollow"]).run();
    assert!(out.code == 0 && out.stderr.contains("`ingle update chat` follows it again"), "{out:?}");
    world.publish(3, &tiny(), "");
    world.ingle(&["update", "--yes"]).ok();
    assert_eq!(
        (row()["release"]["version"].as_u64(), row()["release"]["is_followed"].as_bool()),
        (Some(2), Some(false))
    );
    world.answer();
    let out = world.ingle(&["update", "chat", "--yes"]).run();
    assert!(out.code == 0 && out.stderr.contains("chat is followed again"), "{out:?}");
    assert_eq!(row()["release"]["version"], 3);
    world.ingle(&["update", "nothing", "--unfollow"]).fails(3, &["no such model or repository is followed"]);

    world.ingle(&["rm", "chat"]).fails(2, &["Remove chat, versions 3 and 2", "--yes"]);
    let out = world.ingle(&["rm", "chat", "--yes"]).run();
    assert!(out.code == 0 && out.stdout.contains("removed chat"), "{out:?}");
    for said in ["is kept", "nothing below version 2", "`ingle update chat`"] {
        assert!(out.stderr.contains(said), "{said}: {out:?}");
    }
    world.ingle(&["rm", "chat", "--yes"]).fails(3, &["no such model here"]);
    world.ingle(&["run", "chat", "ab"]).fails(6, &["nothing is installed", "ingle update chat"]);
    assert_eq!(world.ingle(&["list", "--json"]).json(), serde_json::json!([]));
    // The name may be another model's now.
    world.ingle(&["pull", &tiny(), "--as", "chat"]).ok();
    world.answer();
    world.ingle(&["rm", "chat"]).ok();
    // Nothing comes back by itself.
    world.ingle(&["update", "--yes"]).ok();
    assert_eq!(world.version(), None);
    let url = format!("{}/fleet", world.hub.url);
    world.ingle(&["update", &url, "--unfollow"]).ok();
    world.ingle(&["update", "chat", "--yes"]).fails(6, &["followed no more", "--follow"]);
    world.follow();
    world.ingle(&["update", "chat", "--yes"]).ok();
    assert_eq!(world.version(), Some(3));
}

#[test]
fn a_folder_is_signed_and_verified() {
    let world = World::new();
    world.dir.file("model/m.gguf", "weights");
    let verify = ["release", "verify", "model", "--key", "keys/publisher.pub.pem"];
    world.ingle(&verify).fails(3, &["model.sig"]);
    world.ingle(&["release", "sign", "model", "--key", "keys/publisher.pem"]).ok();
    world.ingle(&verify).ok();
    world.dir.file("model/m.gguf", "Weights");
    world.ingle(&verify).fails(5, &["m.gguf"]);
    world.ingle(&["release", "sign", "model"]).fails(2, &["--key"]);
    world.ingle(&["release", "keys", "keys"]).fails(2, &["in use"]);
}
