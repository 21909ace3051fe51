//! Performs what [`super::plan`] says: the thin shell around disk and network.
//!
//! The order on the disk is what makes an update safe. Files come into a staging folder; a checked release is moved beside the
//! slots in one step; only then one write of the state makes it the one that is used. What nothing names any more is removed
//! after the state that stopped naming it was written. So a program that ends anywhere leaves the old release or the new.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use ingle_net::url::encode_path;
use ingle_net::{Client, Url};
use serde_json::Value;

use super::disk::Disk;
use super::offer::{self, File, Offer, Offered};
use super::plan::{Action, Asked, Input, Known, PROBATION, Step, apply, plan, switch};
use super::refresh::{below, check_root, refresh, signed};
use super::state::{Model, Policy, Slot, Source, State, StateFile, Trusted};
use crate::cache::files_below;
use crate::error::{Error, Result, at};
use crate::fetch::{Event, Pass, Retry, Target, Watch, fetch};
use crate::hash::hash_file;
use crate::in_use::{Use, claim, hold, is_in_use};
use crate::parallel::kept_beside;
use crate::parts::Parts;
use crate::signing::keys::PublicKey;
use crate::signing::{BUNDLE_NAME, mismatch, read_bundle, verify};
use crate::space;

/// The slowest that a file may come: fewer bytes than `bytes_min` in `window` end the attempt.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Bytes.
    pub bytes_min: u64,
    /// Time.
    pub window: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { bytes_min: 64 << 10, window: Duration::from_secs(60) }
    }
}

/// What came since a moment: from so many bytes to so many.
#[derive(Debug, Clone, Copy)]
struct Window {
    start: Duration,
    from: u64,
    last: u64,
}

impl Pace {
    /// Whether too little came in a window that is over, now that `done` bytes are here. The first one begins with the first bytes,
    /// not while what was kept is hashed; another where one is over, and where a file begins anew.
    fn is_too_slow(self, window: &mut Option<Window>, done: u64, now: Duration) -> bool {
        let new = Window { start: now, from: done, last: done };
        let Some(Window { start, from, .. }) = window.filter(|window| window.last <= done) else {
            *window = Some(new);
            return false;
        };
        let is_over = now.saturating_sub(start) >= self.window;
        *window = Some(if is_over { new } else { Window { start, from, last: done } });
        is_over && done - from < self.bytes_min
    }
}

/// What asks a child: the file or folder to open, and the release; a text says what is wrong with it.
pub type Check<'a> = &'a dyn Fn(&Path, &Offer) -> Result<Option<String>>;

/// What an update works with.
pub struct Work<'a> {
    /// The way out.
    pub client: &'a Client,
    /// How often to try.
    pub retry: Retry,
    /// How large files come.
    pub parts: Parts,
    /// How slowly they may come.
    pub pace: Pace,
    /// Time for each metadata file.
    pub metadata_time_max: Duration,
    /// Seconds since 1970.
    pub now: u64,
    /// A clock that never goes back.
    pub clock: &'a dyn Fn() -> Duration,
    /// Opens what came, in a child.
    pub structure: Check<'a>,
    /// Measures it, in a child.
    pub smoke: Check<'a>,
}

/// What happens meanwhile.
#[derive(Debug)]
pub enum Told<'a> {
    /// Files come.
    Fetching(Event<'a>),
    /// A step begins.
    Step(&'a Offer, &'static str),
    /// Something to say.
    Said(&'a str),
}

/// Receives it.
pub type Tell<'a> = &'a mut dyn FnMut(Told<'_>);

/// What an update came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There was nothing to do.
    Nothing,
    /// Somebody has to say yes.
    Ask(Box<Offer>),
    /// This version is used now.
    Updated(u64),
}

/// A model to open.
#[derive(Debug)]
pub struct Opened {
    /// The file or folder.
    pub path: PathBuf,
    /// What the user should know.
    pub told: Vec<String>,
    /// Whoever opens it to answer with it keeps this until that ends.
    pub used: Option<Use>,
}

/// The releases on this device.
#[derive(Debug)]
pub struct Releases {
    file: StateFile,
    disk: Disk,
}

impl Releases {
    /// Those in `folder`, which need not exist.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self::on(Disk::default(), folder)
    }

    /// The same on a disk that tells of each change.
    pub fn on(disk: Disk, folder: impl Into<PathBuf>) -> Self {
        Self { file: StateFile::new(folder), disk }
    }

    /// All that is known.
    ///
    /// # Errors
    /// As [`StateFile::read`].
    pub fn state(&self) -> Result<State> {
        self.file.read()
    }

    /// Where things lie.
    pub fn file(&self) -> &StateFile {
        &self.file
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    pub(super) fn edit<T>(&self, change: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        self.file.edit(&self.disk, change)
    }

    /// Follows the repository at `url` from now on, beginning with metadata of a `root` and the `publisher`'s public key, both of
    /// which the user trusts; or changes the policy for one that is followed.
    ///
    /// # Errors
    /// [`Error::Mismatch`] and [`Error::Reference`] for a root or a key that is none, and for another key than it is followed with.
    pub fn follow(&self, url: &Url, root: &str, publisher: &str, policy: Policy, now: u64) -> Result<()> {
        check_root("root", root)?;
        PublicKey::from_pem("the publisher's key", publisher)?;
        self.edit(|state| {
            let new = || Source {
                publisher: publisher.to_owned(),
                policy,
                trusted: Trusted { root: root.to_owned(), others: Default::default() },
                fresh_at: now,
                revoked: Vec::new(),
                models: Default::default(),
                is_unfollowed: false,
            };
            // What was learnt of a repository is never unlearnt by following it again.
            let source = state.sources.entry(url.to_string()).or_insert_with(new);
            if source.publisher != publisher {
                return Err(mismatch(
                    &url.to_string(),
                    "publisher's key",
                    "another one",
                    "the one it is followed with",
                ));
            }
            (source.policy, source.is_unfollowed) = (policy, false);
            Ok(())
        })
    }

    /// Asks the repository at `url` what is new, and keeps it.
    ///
    /// # Errors
    /// What [`refresh`] gives, after what was verified has been written.
    pub fn refresh(&self, url: &str, work: &Work<'_>) -> Result<Offered> {
        let _lock = self.file.lock_updates(&self.disk)?;
        let state = self.file.read()?;
        let source = state.sources.get(url).ok_or_else(|| unknown_source(url))?;
        let address = Url::parse(url)
            .map_err(|e| Error::Reference { found: url.to_owned(), expected: e.to_owned() })?;
        let scratch = self.file.folder().join("refresh");
        self.disk.remove_folder(&scratch)?;
        let refreshed = refresh(work.client, &address, &source.trusted, &scratch, work.metadata_time_max)?;
        self.disk.step();
        self.edit(|state| {
            let source = state.sources.get_mut(url).ok_or_else(|| unknown_source(url))?;
            source.trusted = refreshed.trusted;
            if let Ok(offered) = &refreshed.offered {
                source.fresh_at = source.fresh_at.max(work.now);
                source.revoked.clone_from(&offered.revoked);
            }
            Ok(())
        })?;
        refreshed.offered
    }

    /// What is offered at `url`, as far as is known without asking.
    ///
    /// # Errors
    /// As [`Self::state`] and [`offer::read`].
    pub fn offered(&self, url: &str) -> Result<Offered> {
        let state = self.file.read()?;
        let source = state.sources.get(url).ok_or_else(|| unknown_source(url))?;
        let targets = source.trusted.others.get("targets.json").and_then(|text| signed(text));
        let root = signed(&source.trusted.root).unwrap_or_default();
        let is_consistent = root.get("consistent_snapshot").and_then(Value::as_bool).unwrap_or(true);
        targets.map_or_else(|| Ok(Offered::default()), |targets| offer::read(&targets, is_consistent))
    }

    /// Brings the model `name` of `url` up to date with what was refreshed, as far as the user and the user's policy allow.
    ///
    /// # Errors
    /// [`Error::Release`] with what failed. Whatever fails, what was used before is used on.
    pub fn update(
        &self,
        url: &str,
        name: &str,
        asked: Asked,
        work: &Work<'_>,
        tell: Tell<'_>,
    ) -> Result<Outcome> {
        let _lock = self.file.lock_updates(&self.disk)?;
        let offered = self.offered(url)?;
        let state = self.file.read()?;
        let has_name = |source: &Source| source.models.get(name).is_some_and(Model::has_name);
        if let Some((other, _)) = state.sources.iter().find(|(u, s)| *u != url && has_name(s)) {
            let why = format!("{other} has a model of this name, and its releases are followed");
            return Err(Error::NotFound { what: format!("{name} of {url}"), why });
        }
        let input = Input::Offered(&offered.offers, asked);
        let mut actions = self.plan(&state, url, name, input)?;
        // Planned and done in one step: a program that opens the model may give it up, too, and twice is back again.
        if actions.iter().any(Action::gives_up) {
            actions = self.react(url, name, input)?;
        }
        let mut digest = String::new();
        let mut outcome = Outcome::Nothing;
        for action in actions {
            match action {
                Action::Tell(said) | Action::Refuse(said) => tell(Told::Said(&said)),
                Action::Ask(offer) => outcome = Outcome::Ask(Box::new(offer)),
                Action::Fetch(offer) => {
                    tell(Told::Step(&offer, "fetch"));
                    let fetched = self.fetch(url, &offer, work, tell);
                    fetched.map_err(|error| self.failed(&state, url, &offer, Step::Fetch, error))?;
                }
                Action::CheckSignature(offer) => {
                    tell(Told::Step(&offer, "verify the signature"));
                    let checked = self.check_signature(&state, url, &offer, work);
                    digest = checked.map_err(|error| {
                        // A disk that can't be read says nothing of the release.
                        let is_wrong = matches!(error, Error::Mismatch { .. });
                        let step = if is_wrong { Step::Signature } else { Step::Fetch };
                        self.failed(&state, url, &offer, step, error)
                    })?;
                }
                Action::CheckStructure(offer) => {
                    tell(Told::Step(&offer, "check the structure"));
                    self.check(&state, url, &offer, Step::Structure, work.structure)?;
                }
                Action::CheckSmoke(offer) => {
                    tell(Told::Step(&offer, "evaluate"));
                    self.check(&state, url, &offer, Step::Smoke, work.smoke)?;
                }
                Action::Switch(offer) => {
                    tell(Told::Step(&offer, "switch"));
                    self.switch(url, &offer, &digest)?;
                    outcome = Outcome::Updated(offer.version);
                }
                // Done to the state already.
                _ => {}
            }
        }
        Ok(outcome)
    }

    /// Uses the other slot from now on.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none that may be used.
    pub fn roll_back(&self, name: &str, tell: Tell<'_>) -> Result<()> {
        let state = self.file.read()?;
        let Some((url, _)) = source_of(&state, name) else {
            let why = "it is no model of a repository that is followed".to_owned();
            return Err(Error::NotFound { what: name.to_owned(), why });
        };
        let url = url.to_owned();
        let actions = self.react(&url, name, Input::RollBack)?;
        for action in &actions {
            match action {
                Action::Refuse(why) => return Err(refused(name, why)),
                Action::Tell(said) => tell(Told::Said(said)),
                _ => {}
            }
        }
        Ok(())
    }

    /// What to open as the model `name`; `None` where no repository that is followed has it. Whoever opens it to answer with it
    /// counts: `is_use`.
    ///
    /// # Errors
    /// [`Error::Refused`] for what may not be used.
    pub fn open(&self, name: &str, now: u64, is_use: bool) -> Result<Option<Opened>> {
        if !self.file.copies().iter().any(|copy| copy.exists()) {
            return Ok(None);
        }
        let state = self.file.read()?;
        let Some((url, _)) = source_of(&state, name) else { return Ok(None) };
        let url = url.to_owned();
        let input = Input::Opening(now);
        let planned = self.plan(&state, &url, name, input)?;
        // Looking is no use; but what may not be used, or has failed too often, is given up whoever looks.
        let (actions, opened) =
            match planned.iter().any(|a| a.gives_up() || (is_use && *a == Action::CountTry)) {
                false => (planned, self.opened(&state, name, is_use)),
                // Held before the next one counts, so that uses which begin together see each other.
                true => self.edit(|state| {
                    let actions = self.react_in(state, &url, name, input)?;
                    Ok((actions, self.opened(state, name, is_use)))
                })?,
            };
        let mut told = Vec::new();
        for action in actions {
            match action {
                Action::Refuse(why) => return Err(refused(name, &why)),
                Action::Tell(said) => told.push(said),
                _ => {}
            }
        }
        Ok(opened.map(|opened| Opened { told, ..opened }))
    }

    /// What is used as the model `name`, held where that is a use.
    fn opened(&self, state: &State, name: &str, is_use: bool) -> Option<Opened> {
        let slot = source_of(state, name)?.1.active.as_ref()?;
        let bundle = self.file.slot_dir(name, slot).join(BUNDLE_NAME);
        let used = is_use.then(|| hold(&bundle)).flatten();
        Some(Opened { path: self.file.path_of(name, slot), told: Vec::new(), used })
    }

    /// Whether a program uses what is used as the model `name`.
    fn is_in_use(&self, name: &str, model: &Model) -> bool {
        let Some(active) = &model.active else { return false };
        let folder = self.file.slot_dir(name, active);
        files_below(&folder).iter().any(|file| is_in_use(&folder.join(file)))
    }

    /// A use of the model `name` ended well.
    ///
    /// # Errors
    /// As [`StateFile::edit`].
    pub fn ended(&self, name: &str) -> Result<()> {
        let state = self.file.read()?;
        let Some((url, _)) = source_of(&state, name) else { return Ok(()) };
        if self.plan(&state, url, name, Input::Ended)?.is_empty() {
            return Ok(());
        }
        let url = url.to_owned();
        self.react(&url, name, Input::Ended).map(drop)
    }

    fn plan(&self, state: &State, url: &str, name: &str, input: Input<'_>) -> Result<Vec<Action>> {
        let source = state.sources.get(url).ok_or_else(|| unknown_source(url))?;
        let none = Model::default();
        let model = source.models.get(name).unwrap_or(&none);
        // Looked at only where it matters: whoever looks holds the files for a moment.
        let has_no_tries = model.active.as_ref().is_some_and(|slot| slot.standing.has_no_tries());
        let is_in_use = has_no_tries && self.is_in_use(name, model);
        Ok(plan(&Known { name, device: &state.device, source, model, is_in_use }, input))
    }

    /// Plans and does to the state what the plan says, in one step.
    fn react(&self, url: &str, name: &str, input: Input<'_>) -> Result<Vec<Action>> {
        self.edit(|state| self.react_in(state, url, name, input))
    }

    fn react_in(&self, state: &mut State, url: &str, name: &str, input: Input<'_>) -> Result<Vec<Action>> {
        let actions = self.plan(state, url, name, input)?;
        if let Some(model) = state.sources.get_mut(url).and_then(|s| s.models.get_mut(name)) {
            actions.iter().for_each(|action| apply(model, action));
        }
        Ok(actions)
    }

    fn change(&self, url: &str, name: &str, actions: &[Action]) -> Result<()> {
        self.edit(|state| {
            let source = state.sources.get_mut(url).ok_or_else(|| unknown_source(url))?;
            let model = source.models.entry(name.to_owned()).or_default();
            actions.iter().for_each(|action| apply(model, action));
            Ok(())
        })
    }

    /// Does what the plan says of a failure; gives the error to end with.
    fn failed(&self, state: &State, url: &str, offer: &Offer, step: Step, error: Error) -> Error {
        if matches!(error, Error::Net(ingle_net::Error::Interrupted) | Error::Interrupted(_)) {
            return error;
        }
        let tidied = || {
            for action in
                self.plan(state, url, &offer.model, Input::Failed(offer, step, &error.to_string()))?
            {
                match action {
                    Action::Discard(_) => {
                        self.disk.remove_folder(&self.parts(offer))?;
                        self.disk.remove_folder(&self.staged(offer))?;
                    }
                    action => self.change(url, &offer.model, &[action])?,
                }
            }
            Ok::<(), Error>(())
        };
        // The error to tell is the first; what could not be tidied up is found by the next update.
        let _ = tidied();
        Error::Release { model: offer.model.clone(), version: offer.version, source: Box::new(error) }
    }

    /// Where the files of an offer are gathered.
    fn staged(&self, offer: &Offer) -> PathBuf {
        self.file.staging_dir().join(format!("{}@{}", offer.model, offer.version))
    }

    /// Where those of its files are that have not come whole.
    fn parts(&self, offer: &Offer) -> PathBuf {
        self.file.staging_dir().join(format!("{}@{}.parts", offer.model, offer.version))
    }

    /// Brings all files of an offer into its staging folder, each verified by its hash.
    fn fetch(&self, url: &str, offer: &Offer, work: &Work<'_>, tell: Tell<'_>) -> Result<()> {
        let (staged, parts) = (self.staged(offer), self.parts(offer));
        self.sweep(offer)?;
        self.disk.make_folder(&staged)?;
        self.disk.make_folder(&parts)?;
        // Nothing else may lie there: the signature is over all that does.
        for other in files_below(&staged).iter().filter(|name| offer.files.iter().all(|f| f.name != **name)) {
            let other = staged.join(other);
            at(&other, fs::remove_file(&other))?;
        }
        let partial = |file: &File| parts.join(format!("{}.incomplete", file.digest));
        let missing = |f: &&File| !fs::metadata(staged.join(&f.name)).is_ok_and(|m| m.len() == f.size);
        let left = |f: &File| f.size.saturating_sub(bytes_kept(&partial(f)));
        let needed = offer.files.iter().filter(missing).map(left).sum();
        space::check(&staged, needed, space::free_bytes(&staged))?;
        let address = Url::parse(url)
            .map_err(|e| Error::Reference { found: url.to_owned(), expected: e.to_owned() })?;
        for file in &offer.files {
            let to = staged.join(&file.name);
            if to.is_file() {
                let stop = || work.client.is_interrupted();
                match hash_file(&to, &file.digest, &stop, &mut |_| {})? {
                    Some(found) if found == file.digest => continue,
                    None => return Err(ingle_net::Error::Interrupted.into()),
                    Some(_) => at(&to, fs::remove_file(&to))?,
                }
            }
            let partial = partial(file);
            let target_url = below(&address, &format!("targets/{}", encode_path(&file.target)))?;
            self.fetch_file(file, &target_url, &partial, work, tell)?;
            self.disk.make_folder(to.parent().unwrap_or(&to))?;
            self.disk.rename(&partial, &to)?;
        }
        self.disk.remove_folder(&parts)
    }

    /// Brings one file here, not slower than it may come.
    fn fetch_file(
        &self,
        file: &File,
        url: &Url,
        partial: &Path,
        work: &Work<'_>,
        tell: Tell<'_>,
    ) -> Result<()> {
        let is_slow = Arc::new(AtomicBool::new(false));
        let client = work.client.fork(is_slow.clone())?;
        let target = Target {
            name: &file.name,
            url,
            pass: Pass::None,
            size: Some(file.size),
            digest: Some(&file.digest),
            partial,
            tag_file: None,
        };
        let mut window = None;
        let mut watch = |event: Event<'_>| {
            self.disk.step();
            match event {
                Event::Bytes { done, .. } => {
                    let is_too_slow = work.pace.is_too_slow(&mut window, done, (work.clock)());
                    is_slow.fetch_or(is_too_slow, Relaxed);
                }
                // How long is waited for a server is the retries' business.
                Event::Waiting { .. } => window = None,
                _ => {}
            }
            tell(Told::Fetching(event));
        };
        let watch: Watch<'_> = &mut watch;
        match fetch(&client, &target, &work.retry, &work.parts, watch) {
            Ok(_) => Ok(()),
            Err(_) if is_slow.load(Relaxed) && !work.client.is_interrupted() => {
                let Pace { bytes_min, window } = work.pace;
                let reason = format!(
                    "{} came with fewer than {bytes_min} bytes in {} s",
                    file.name,
                    window.as_secs_f64()
                );
                Err(ingle_net::Error::Connection { url: url.origin.to_string(), reason }.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Removes what no state names: folders of slots that were given up, and what came of other versions. A release that was
    /// moved beside the slots by a program that ended before it switched is what this offer's files are.
    fn sweep(&self, offer: &Offer) -> Result<()> {
        let state = self.file.read()?;
        let model = source_of(&state, &offer.model).map(|(_, model)| model);
        let named: Vec<&str> = model
            .into_iter()
            .flat_map(|m| [&m.active, &m.other])
            .flatten()
            .map(|slot| slot.folder.as_str())
            .collect();
        let staged = self.staged(offer);
        let slots = self.file.slots_dir(&offer.model);
        for name in folders_in(&slots) {
            let path = slots.join(&name);
            if named.contains(&name.as_str()) {
                continue;
            }
            if name.starts_with(&format!("{}-", offer.version)) && !staged.exists() {
                self.disk.make_folder(&self.file.staging_dir())?;
                self.disk.rename(&path, &staged)?;
                continue;
            }
            self.disk.remove_folder(&path)?;
        }
        let (staging, parts) = (self.file.staging_dir(), self.parts(offer));
        for name in folders_in(&staging) {
            let path = staging.join(&name);
            let is_of_model = name.rsplit_once('@').is_none_or(|(model, _)| model == offer.model);
            if is_of_model && path != staged && path != parts {
                self.disk.remove_folder(&path)?;
            }
        }
        Ok(())
    }

    /// That the publisher signed what is staged; gives the content's name.
    fn check_signature(&self, state: &State, url: &str, offer: &Offer, work: &Work<'_>) -> Result<String> {
        let source = state.sources.get(url).ok_or_else(|| unknown_source(url))?;
        let key = PublicKey::from_pem("the publisher's key", &source.publisher)?;
        let staged = self.staged(offer);
        let text = read_bundle(&staged)?;
        let stop = || work.client.is_interrupted();
        let statement = verify(&staged, &text, &key, &stop, &mut |_| {})?;
        let statement = statement.ok_or(ingle_net::Error::Interrupted)?;
        let what = format!("{} {}", offer.model, offer.version);
        if statement.name() != offer.model {
            return Err(mismatch(&what, "signed name", statement.name(), &offer.model));
        }
        let root = statement.root();
        match source.revoked.iter().find(|r| r.is_of(&offer.model, offer.version, root)) {
            Some(revoked) => {
                Err(mismatch(&what, "content", &format!("taken back: {}", revoked.why), "a valid release"))
            }
            None => Ok(root.to_owned()),
        }
    }

    fn check(&self, state: &State, url: &str, offer: &Offer, step: Step, check: Check<'_>) -> Result<()> {
        let staged = self.staged(offer);
        let open = if offer.terms.open == "." { staged } else { staged.join(&offer.terms.open) };
        match check(&open, offer)? {
            None => Ok(()),
            Some(why) => {
                let part = if step == Step::Structure { "structure" } else { "evaluation" };
                let error = mismatch(&offer.terms.open, part, &why, "what the release promises");
                Err(self.failed(state, url, offer, step, error))
            }
        }
    }

    /// Removes the release to fall back to, if there is one; `false` where it became another one meanwhile.
    fn free_slot(&self, url: &str, name: &str) -> Result<bool> {
        let state = self.file.read()?;
        let other = |state: &State| state.sources.get(url)?.models.get(name)?.other.clone();
        let Some(slot) = other(&state) else { return Ok(true) };
        let folder = self.file.slot_dir(name, &slot);
        let files: Vec<PathBuf> = files_below(&folder).iter().map(|f| folder.join(f)).collect();
        let claim = claim(name, files.iter().map(PathBuf::as_path))?;
        self.disk.step();
        let is_free = self.edit(|state| {
            // A program that opened the model may have fallen back to it.
            let is_same = other(state).as_ref() == Some(&slot);
            if let Some(model) =
                state.sources.get_mut(url).and_then(|s| s.models.get_mut(name)).filter(|_| is_same)
            {
                model.other = None;
            }
            Ok(is_same)
        })?;
        drop(claim);
        if is_free {
            self.disk.remove_folder(&folder)?;
        }
        Ok(is_free)
    }

    /// Makes what is staged the release that is used.
    fn switch(&self, url: &str, offer: &Offer, digest: &str) -> Result<()> {
        let name = &offer.model;
        while !self.free_slot(url, name)? {}
        let slot = Slot::of(offer, digest, PROBATION);
        let folder = self.file.slot_dir(name, &slot);
        self.disk.make_folder(&self.file.slots_dir(name))?;
        self.disk.rename(&self.staged(offer), &folder)?;
        self.edit(|state| {
            let source = state.sources.get_mut(url).ok_or_else(|| unknown_source(url))?;
            switch(source.models.entry(name.clone()).or_default(), slot);
            Ok(())
        })
    }
}

/// The repository whose model `name` is; where none has the name, one that is known to have had such a model.
pub(super) fn source_of<'a>(state: &'a State, name: &str) -> Option<(&'a str, &'a Model)> {
    let models =
        state.sources.iter().filter_map(|(url, source)| Some((url.as_str(), source.models.get(name)?)));
    models.clone().find(|(_, model)| model.has_name()).or_else(|| models.clone().next())
}

fn folders_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.filter_map(|e| e.file_name().into_string().ok()).collect()
}

/// Bytes that have come of a file whose beginning lies at `partial`.
fn bytes_kept(partial: &Path) -> u64 {
    let beside: u64 = kept_beside(partial).iter().map(|kept| kept.end - kept.start).sum();
    fs::metadata(partial).map_or(0, |meta| meta.len()) + beside
}

pub(super) fn unknown_source(url: &str) -> Error {
    let why = "this repository is not followed; ingle update --follow begins to".to_owned();
    Error::NotFound { what: url.to_owned(), why }
}

fn refused(name: &str, why: &str) -> Error {
    Error::Refused { what: name.to_owned(), why: why.to_owned() }
}
