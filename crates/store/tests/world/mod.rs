//! A hub, a folder and a client that belong together; files, and what is said when something fails.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ingle_net::client::Proxies;
use ingle_net::policy::Policy;
use ingle_net::{Client, Options, Url};
use ingle_store::cache::Cache;
use ingle_store::error::{Error, Result};
use ingle_store::fetch::Retry;
use ingle_store::hash::Digest;
use ingle_store::library::Library;
use ingle_store::parts::Parts;
use ingle_store::pull::{self, Puller};
use ingle_store::reference::{HubRef, Reference};
use ingle_store::registry::image::ImageRef;
use ingle_store::registry::login::Logins;
use ingle_store::registry::pull::ImagePuller;

use crate::hub::{Hub, oid};

/// A hub, a folder and a client that belong together.
pub struct World {
    pub hub: Hub,
    pub dir: PathBuf,
    pub client: Client,
    pub at: pull::Hub,
    pub cache: Cache,
    pub interrupted: Arc<AtomicBool>,
    pub parts: Parts,
    pub logins: Logins,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl World {
    pub fn new() -> Self {
        Self::with(&[], None)
    }

    /// Also speaks plainly to `friends`.
    pub fn with(friends: &[&Hub], offline: Option<&str>) -> Self {
        static N: AtomicUsize = AtomicUsize::new(0);
        let n = N.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("ingle-store-{}-{n}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let hub = Hub::start();
        let endpoint = Url::parse(&hub.url).unwrap();
        let plain = friends.iter().map(|h| Url::parse(&h.url).unwrap().origin);
        let interrupted = Arc::new(AtomicBool::new(false));
        let client = Client::new(Options {
            policy: Policy {
                offline: offline.map(str::to_owned),
                plain_text: plain.chain([endpoint.origin.clone()]).collect(),
            },
            user_agent: "test".into(),
            proxies: Proxies::default(),
            root_certificates: None,
            connect_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_millis(400),
            interrupted: interrupted.clone(),
        });
        let cache = Cache::new(dir.join("hub"));
        let at = pull::Hub { endpoint, token: None };
        Self {
            hub,
            dir,
            client: client.unwrap(),
            at,
            cache,
            interrupted,
            parts: Parts::default(),
            logins: Logins::default(),
        }
    }

    pub fn puller(&self) -> Puller<'_> {
        let retry = Retry { tries_max: 4, first_wait: Duration::from_millis(1) };
        Puller { client: &self.client, hub: &self.at, cache: &self.cache, retry, parts: self.parts }
    }

    pub fn pull(&self, text: &str) -> Result<PathBuf> {
        let hub = hub_ref(text);
        let job = self.puller().plan(&hub, &mut |_| {})?;
        self.puller().perform(&job, &mut |_| {})
    }

    pub fn pull_url(&self, path: &str, sha256: Option<&str>) -> Result<PathBuf> {
        let url = Url::parse(&format!("{}{path}", self.hub.url)).unwrap();
        let to = self.dir.join("plain.gguf");
        let digest = sha256.map(|hex| Digest::sha256(hex).unwrap());
        self.puller().fetch_url(&url, &to, digest.as_ref(), &mut |_| {}).map(|_| to)
    }

    /// The models of this world.
    pub fn library(&self) -> Library {
        Library::new(self.cache.clone(), &self.dir.join("data"))
    }

    /// Fetches an image from the hub's registry.
    pub fn pull_image(&self, library: &Library, text: &str) -> Result<PathBuf> {
        let image = ImageRef::parse(text).unwrap().unwrap();
        let retry = Retry { tries_max: 4, first_wait: Duration::from_millis(1) };
        let (client, registry, images) = (&self.client, &self.at.endpoint, &library.images);
        let logins = &self.logins;
        let puller = ImagePuller { client, registry, logins, images, retry, parts: self.parts };
        let job = puller.plan(&image, &mut |_| {})?;
        puller.perform(&job, &mut |_| {})
    }

    /// The blob of a file with this content.
    pub fn blob(&self, file: &str, bytes: &[u8]) -> PathBuf {
        self.dir.join("hub/models--u--r/blobs").join(oid(file, bytes))
    }

    pub fn partial(&self, file: &str, bytes: &[u8]) -> PathBuf {
        let blob = self.blob(file, bytes);
        blob.with_file_name(format!("{}.incomplete", blob.file_name().unwrap().to_str().unwrap()))
    }
}

pub fn hub_ref(text: &str) -> HubRef {
    match Reference::parse(text).unwrap().unwrap() {
        Reference::Hub(hub) => hub,
        other => panic!("{other}"),
    }
}

/// Bytes that differ everywhere.
pub fn content(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * i / 7 + i) as u8).collect()
}

pub const FILE: &str = "m-Q8_0.gguf";
pub const REPO: &str = "u/r";
/// More than what lies in buffers on the way.
pub const LARGE: usize = 3 << 20;

pub fn said<T: std::fmt::Debug>(result: Result<T>, words: &[&str]) -> Error {
    let error = result.unwrap_err();
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
    error
}
