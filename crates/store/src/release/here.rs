//! What of releases is on this device, and how it leaves: models are listed, verified, removed, and followed no more.
//!
//! Whatever leaves, what was learnt stays in the state: the newest metadata, the lowest version that is allowed, what failed
//! here. So removing a model and installing it again is no way down.

use std::path::PathBuf;

use super::state::{Model, Slot, State, StateFile};
use super::update::{Releases, source_of, unknown_source};
use crate::cache::{Lock, files_below};
use crate::error::{Error, Result};
use crate::in_use::{Claim, claim};
use crate::library::Installed;
use crate::signing::folder::Listed;
use crate::signing::keys::PublicKey;
use crate::signing::{read_bundle, verify_statement};
use crate::verify::Check;

/// A model of a repository that is or was followed.
#[derive(Debug, Clone)]
pub struct Here {
    /// As the list has it: the release that is used.
    pub installed: Installed,
    /// The repository's address.
    pub url: String,
    /// What is known of it, with a slot that is used.
    pub model: Model,
    /// The slot that is used.
    pub active: Slot,
    /// Whether it is brought up to date.
    pub is_followed: bool,
}

/// A model that can be removed: nobody uses it, or brings it up to date, as long as this lives.
#[derive(Debug)]
pub struct Removal {
    name: String,
    url: String,
    /// The versions in its slots.
    pub versions: Vec<u64>,
    /// Bytes of all that is there of it.
    pub bytes: u64,
    /// The lowest version that may be installed after this, too.
    pub floor: u64,
    _lock: Lock,
    _claim: Claim,
}

impl Releases {
    /// The models that are here, by name.
    ///
    /// # Errors
    /// As [`StateFile::read`].
    pub fn list(&self) -> Result<Vec<Here>> {
        if !self.file().copies().iter().any(|copy| copy.exists()) {
            return Ok(Vec::new());
        }
        let mut all = Vec::new();
        for (url, source) in self.state()?.sources {
            for (name, model) in source.models {
                let Some(active) = model.active.clone() else { continue };
                let installed = Installed::at(name.clone(), self.file().path_of(&name, &active));
                let is_followed = !source.is_unfollowed && !model.is_unfollowed;
                all.push(Here { installed, url: url.clone(), model, active, is_followed });
            }
        }
        all.sort_by(|a, b| a.installed.name.cmp(&b.installed.name));
        Ok(all)
    }

    /// Whether a release of `name` is here.
    ///
    /// # Errors
    /// As [`StateFile::read`].
    pub fn is_here(&self, name: &str) -> Result<bool> {
        Ok(self.list()?.iter().any(|here| here.installed.name == name))
    }

    /// The files to verify of the release of `name` that is used, by what its publisher signed; `None` where it is no model of a
    /// repository.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where the signature is not the publisher's any more.
    pub fn checks(&self, name: &str) -> Result<Option<Vec<Check>>> {
        let Some(here) = self.list()?.into_iter().find(|here| here.installed.name == name) else {
            return Ok(None);
        };
        let folder = self.file().slot_dir(name, &here.active);
        let state = self.state()?;
        let source = state.sources.get(&here.url).ok_or_else(|| unknown_source(&here.url))?;
        let key = PublicKey::from_pem("the publisher's key", &source.publisher)?;
        let statement = verify_statement(&folder.display().to_string(), &read_bundle(&folder)?, &key)?;
        let check = |listed: &Listed| {
            let path = folder.join(&listed.name);
            // What is gone is read in vain, and said so.
            let size = std::fs::metadata(&path).map_or(0, |m| m.len());
            Check { name: listed.name.clone(), path, size, expected: Some(listed.digest.clone()) }
        };
        Ok(Some(statement.files().iter().map(check).collect()))
    }

    /// What would go if `name` were removed, and the right to do so; `None` where nothing is there of it.
    ///
    /// # Errors
    /// [`Error::InUse`] where a program uses it, [`Error::Locked`] while an update runs.
    pub fn removal(&self, name: &str) -> Result<Option<Removal>> {
        if !self.file().copies().iter().any(|copy| copy.exists()) {
            return Ok(None);
        }
        let lock = self.file().lock_updates(self.disk())?;
        let state = self.state()?;
        let Some((url, model)) = source_of(&state, name) else { return Ok(None) };
        let folders: Vec<PathBuf> =
            folders_of(self.file(), name).into_iter().filter(|folder| folder.is_dir()).collect();
        let slots = [&model.active, &model.other].into_iter().flatten();
        let versions: Vec<u64> = slots.map(|slot| slot.version).collect();
        if folders.is_empty() && versions.is_empty() {
            return Ok(None);
        }
        let files: Vec<PathBuf> = folders
            .iter()
            .flat_map(|folder| files_below(folder).into_iter().map(move |file| folder.join(file)))
            .collect();
        let claim = claim(name, files.iter().map(PathBuf::as_path))?;
        let bytes = files.iter().filter_map(|file| Some(std::fs::metadata(file).ok()?.len())).sum();
        let (name, url, floor) = (name.to_owned(), url.to_owned(), model.floor);
        Ok(Some(Removal { name, url, versions, bytes, floor, _lock: lock, _claim: claim }))
    }

    /// Removes both slots and what came of a release that is not used yet. What was learnt of the model stays.
    ///
    /// # Errors
    /// What the system says. What is left then goes with the next attempt.
    pub fn remove(&self, removal: Removal) -> Result<()> {
        let Removal { name, url, .. } = &removal;
        self.edit(|state| {
            if let Some(model) = state.sources.get_mut(url).and_then(|s| s.models.get_mut(name)) {
                (model.active, model.other) = (None, None);
            }
            Ok(())
        })?;
        folders_of(self.file(), name).iter().try_for_each(|folder| self.disk().remove_folder(folder))
    }

    /// Follows a model, or a repository by its address, no more: what is here stays and is used, and nothing newer is asked for.
    ///
    /// # Errors
    /// [`Error::NotFound`] for what is neither.
    pub fn unfollow(&self, what: &str) -> Result<()> {
        self.edit(|state| {
            if let Some(source) = state.sources.get_mut(what) {
                source.is_unfollowed = true;
                return Ok(());
            }
            model_of(state, what)?.is_unfollowed = true;
            Ok(())
        })
    }

    /// Follows a model again; whether it was not.
    ///
    /// # Errors
    /// As [`StateFile::edit`].
    pub fn follow_again(&self, name: &str) -> Result<bool> {
        if !source_of(&self.state()?, name).is_some_and(|(_, model)| model.is_unfollowed) {
            return Ok(false);
        }
        self.edit(|state| Ok(std::mem::take(&mut model_of(state, name)?.is_unfollowed)))
    }
}

/// A model that is here.
fn model_of<'a>(state: &'a mut State, name: &str) -> Result<&'a mut Model> {
    let mut models = state.sources.values_mut().filter_map(|source| source.models.get_mut(name));
    models.find(|model| model.active.is_some()).ok_or_else(|| Error::NotFound {
        what: name.to_owned(),
        why: "no such model or repository is followed; ingle update --check shows what is".to_owned(),
    })
}

/// All folders in which something of a model may lie.
fn folders_of(file: &StateFile, name: &str) -> Vec<PathBuf> {
    let staging = file.staging_dir();
    let entries = std::fs::read_dir(&staging).into_iter().flatten().flatten();
    let staged = entries.map(|entry| entry.path()).filter(|path| {
        let folder = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.rsplit_once('@'));
        folder.is_some_and(|(model, _)| model == name)
    });
    [file.slots_dir(name)].into_iter().chain(staged).collect()
}
