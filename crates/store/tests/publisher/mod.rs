//! A publisher with keys and a repository that the hub serves, and a device that follows it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use ingle_net::{Client, Url};
use ingle_store::Result;
use ingle_store::fetch::Retry;
use ingle_store::parts::Parts;
use ingle_store::release::Releases;
use ingle_store::release::make::{Contents, Made, Maker, Release};
use ingle_store::release::offer::{Offer, Offered, Smoke, Terms};
use ingle_store::release::plan::Asked;
use ingle_store::release::roles::{KeyFolder, PUBLISHER_PUBLIC, Quorum};
use ingle_store::release::state::{Consent, Policy, WhenStale};
use ingle_store::release::update::{Outcome, Pace, Work};
use serde_json::{Value, json};

use crate::hub::{Hub, sha256};

pub const MODEL: &str = "chat";

/// Seconds since 1970, as the library below asks the system itself.
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

pub struct Publisher {
    pub dir: PathBuf,
    pub keys: KeyFolder,
    pub hub: Hub,
    pub now: u64,
}

impl Publisher {
    pub fn new(dir: &Path, hub: &Hub) -> Self {
        let quorums = BTreeMap::from([("root".to_owned(), Quorum { threshold: 2, n_keys: 3 })]);
        let keys = KeyFolder::create(&dir.join("keys"), &quorums).unwrap();
        Self { dir: dir.to_owned(), keys, hub: hub.clone(), now: now() }
    }

    pub fn repository(&self) -> PathBuf {
        self.dir.join("repository")
    }

    pub fn url(&self) -> Url {
        Url::parse(&format!("{}/fleet", self.hub.url)).unwrap()
    }

    /// A release of two files, the first of which holds `text`.
    pub fn release(&self, version: u64, text: &str) -> Release {
        let folder = self.dir.join(format!("model-{version}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("m.gguf"), text).unwrap();
        fs::write(folder.join("notes.txt"), format!("version {version}")).unwrap();
        let terms = Terms {
            open: "m.gguf".into(),
            percent: 100,
            salt: String::new(),
            minimum_version: 1,
            smoke: Smoke::default(),
        };
        Release { model: MODEL.into(), version, folder, terms }
    }

    /// Makes the repository say this from now on, and serves it.
    pub fn publish(&self, contents: &Contents) -> Made {
        let repository = self.repository();
        let maker = Maker { repository: &repository, keys: &self.keys, now: self.now };
        let made = maker.make(contents, &|| false, &mut |_| {}).unwrap().unwrap();
        self.serve();
        made
    }

    pub fn publish_one(&self, version: u64, text: &str) -> Made {
        self.publish(&Contents { releases: vec![self.release(version, text)], ..Contents::default() })
    }

    /// The hub serves what lies in the repository.
    pub fn serve(&self) {
        for path in files_below(&self.repository()) {
            let name = path.strip_prefix(self.repository()).unwrap().to_str().unwrap().to_owned();
            self.hub.add_plain(&format!("/fleet/{name}"), &fs::read(&path).unwrap());
        }
    }

    pub fn metadata(&self, name: &str) -> Vec<u8> {
        fs::read(self.repository().join("metadata").join(name)).unwrap()
    }

    /// Serves this metadata in place of what the repository has.
    pub fn serve_metadata(&self, name: &str, text: &[u8]) {
        self.hub.add_plain(&format!("/fleet/metadata/{name}"), text);
    }

    /// The path that the hub serves a release's file at.
    pub fn target(&self, version: u64, name: &str) -> String {
        let folder = self.repository().join(format!("targets/{MODEL}/{version}"));
        let path = files_below(&folder).into_iter().find(|p| p.to_str().unwrap().ends_with(name)).unwrap();
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        format!("/fleet/targets/{MODEL}/{version}/{file}")
    }

    /// Metadata of a role, signed with that role's keys: what somebody can make who has stolen them.
    pub fn sign(&self, role: &str, mut signed: Value, version: u64) -> Vec<u8> {
        signed["spec_version"] = "1.0.31".into();
        signed["version"] = version.into();
        if signed.get("expires").is_none() {
            signed["expires"] = "2099-01-01T00:00:00Z".into();
        }
        let bytes = canonical(&signed).into_bytes();
        let ids = self.keys.ids(role).unwrap();
        let sign = |id: &String| json!({ "keyid": id, "sig": self.keys.key(id).unwrap().sign(&bytes).unwrap().unwrap() });
        let signatures: Vec<Value> = ids.iter().map(sign).collect();
        json!({ "signatures": signatures, "signed": signed }).to_string().into_bytes()
    }

    /// Serves a snapshot of these metadata files, and a timestamp for it.
    pub fn seal(&self, files: &[(&str, u64, &[u8])], version: u64) {
        let mut meta = serde_json::Map::new();
        for (name, version, text) in files {
            self.serve_metadata(&format!("{version}.{name}"), text);
            let of =
                json!({ "version": version, "length": text.len(), "hashes": { "sha256": sha256(text) } });
            meta.insert((*name).to_owned(), of);
        }
        let snapshot = self.sign("snapshot", json!({ "_type": "snapshot", "meta": meta }), version);
        self.serve_metadata(&format!("{version}.snapshot.json"), &snapshot);
        self.stamp(&snapshot, version, version);
    }

    /// Serves a timestamp for this snapshot.
    pub fn stamp(&self, snapshot: &[u8], snapshot_version: u64, version: u64) {
        let of = json!({ "version": snapshot_version, "length": snapshot.len(), "hashes": { "sha256": sha256(snapshot) } });
        let signed = json!({ "_type": "timestamp", "meta": { "snapshot.json": of } });
        self.serve_metadata("timestamp.json", &self.sign("timestamp", signed, version));
    }

    /// The public half of the key that signs models.
    pub fn public(&self) -> String {
        fs::read_to_string(self.dir.join("keys").join(PUBLISHER_PUBLIC)).unwrap()
    }
}

/// Canonical JSON, of texts without control characters and whole numbers.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            let all: Vec<String> = sorted.iter().map(|(k, v)| format!("\"{k}\":{}", canonical(v))).collect();
            format!("{{{}}}", all.join(","))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

pub struct Device<'a> {
    pub releases: Releases,
    pub url: String,
    pub client: &'a Client,
    pub now: u64,
    pub pace: Pace,
    pub metadata_time_max: Duration,
    /// What the child that opens a model says, and what the one says that measures it.
    pub structure: Option<&'static str>,
    pub smoke: Option<&'static str>,
    /// Is called before each step.
    pub before: Box<dyn Fn(&str)>,
    /// What happened, step by step.
    pub steps: RefCell<Vec<String>>,
    /// What was said.
    pub said: RefCell<Vec<String>>,
}

impl<'a> Device<'a> {
    /// A device that follows `publisher`, beginning with its first root.
    pub fn following(publisher: &Publisher, releases: Releases, client: &'a Client) -> Self {
        let root = String::from_utf8(publisher.metadata("1.root.json")).unwrap();
        let policy = Policy { consent: Consent::Auto, grace_days: 30, when_stale: WhenStale::Warn };
        releases.follow(&publisher.url(), &root, &publisher.public(), policy, now()).unwrap();
        Self::at(&publisher.url(), releases, client)
    }

    /// A device that follows this repository already.
    pub fn at(url: &Url, releases: Releases, client: &'a Client) -> Self {
        Self {
            releases,
            url: url.to_string(),
            client,
            now: now(),
            pace: Pace::default(),
            metadata_time_max: Duration::from_secs(10),
            structure: None,
            smoke: None,
            before: Box::new(|_| ()),
            steps: RefCell::default(),
            said: RefCell::default(),
        }
    }

    fn with_work<T>(&self, run: impl FnOnce(&Work<'_>) -> T) -> T {
        let start = Instant::now();
        let check = |step: &'static str, verdict: Option<&'static str>| {
            move |path: &Path, _: &Offer| {
                assert!(path.is_file(), "{step}: {}", path.display());
                Ok(verdict.map(str::to_owned))
            }
        };
        let (structure, smoke) = (check("structure", self.structure), check("smoke", self.smoke));
        run(&Work {
            client: self.client,
            retry: Retry { tries_max: 2, first_wait: Duration::from_millis(1) },
            parts: Parts::default(),
            pace: self.pace,
            metadata_time_max: self.metadata_time_max,
            now: self.now,
            clock: &|| start.elapsed(),
            structure: &structure,
            smoke: &smoke,
        })
    }

    pub fn refresh(&self) -> Result<Offered> {
        self.with_work(|work| self.releases.refresh(&self.url, work))
    }

    /// Installs what was refreshed.
    pub fn install(&self) -> Result<Outcome> {
        use ingle_store::release::update::Told;
        self.with_work(|work| {
            self.releases.update(&self.url, MODEL, Asked::Yes, work, &mut |told| match told {
                Told::Step(_, step) => {
                    (self.before)(step);
                    self.steps.borrow_mut().push(step.to_owned());
                }
                Told::Said(said) => self.said.borrow_mut().push(said.to_owned()),
                Told::Fetching(_) => {}
            })
        })
    }

    pub fn update(&self) -> Result<Outcome> {
        self.refresh()?;
        self.install()
    }

    /// What a program that opens the model reads.
    pub fn content(&self) -> Option<String> {
        let opened = self.releases.open(MODEL, self.now, false).unwrap()?;
        Some(fs::read_to_string(opened.path).unwrap())
    }
}
