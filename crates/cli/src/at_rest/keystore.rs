//! The system's keystore: the keychain of macOS, the credential manager of Windows, the secret service of a Linux desktop.
//!
//! The last is spoken to over the desktop's own bus, by libraries that double the tree of dependencies, so a build has it only with
//! the feature `secret-service`. A system without a keystore is told so, and what to do instead; nothing falls back by itself.

use ingle_store::sealed::Key;

use crate::exit::Failure;

/// What entries are listed under.
#[cfg(any(target_os = "macos", windows, feature = "secret-service"))]
const SERVICE: &str = "ingle";

/// The entry of the key with this name.
#[cfg(any(target_os = "macos", windows, feature = "secret-service"))]
fn entry(id: &str) -> keyring_core::Result<keyring_core::Entry> {
    #[cfg(target_os = "macos")]
    let store = apple_native_keyring_store::keychain::Store::new()?;
    #[cfg(windows)]
    let store = windows_native_keyring_store::Store::new()?;
    #[cfg(not(any(target_os = "macos", windows)))]
    let store = zbus_secret_service_keyring_store::Store::new()?;
    keyring_core::api::CredentialStoreApi::build(&*store, SERVICE, id, None)
}

#[cfg(any(target_os = "macos", windows, feature = "secret-service"))]
fn failed(error: keyring_core::Error) -> Failure {
    Failure::failed(format!(
        "the system's keystore: {error}; `ingle key keep --by passphrase` or `--by file` need none"
    ))
}

/// Whether this build knows a keystore of this system. It may be locked or absent all the same.
pub const IS_KNOWN: bool = cfg!(any(target_os = "macos", windows, feature = "secret-service"));

/// The key named `id`.
#[cfg(any(target_os = "macos", windows, feature = "secret-service"))]
pub fn get(id: &str) -> Result<Key, Failure> {
    use zeroize::Zeroizing;
    let secret = Zeroizing::new(entry(id).and_then(|entry| entry.get_secret()).map_err(failed)?);
    let key = <[u8; 32]>::try_from(&secret[..]).map(|bytes| Key::new(Zeroizing::new(bytes)));
    let key = key.ok().filter(|key| key.id().to_string() == id);
    key.ok_or_else(|| Failure::invalid(format!("the system's keystore holds another secret under {id}")))
}

/// Gives it `key` to keep.
#[cfg(any(target_os = "macos", windows, feature = "secret-service"))]
pub fn put(key: &Key) -> Result<(), Failure> {
    entry(&key.id().to_string()).and_then(|entry| entry.set_secret(key.bytes())).map_err(failed)
}

/// Has it forget the key named `id`.
#[cfg(any(target_os = "macos", windows, feature = "secret-service"))]
pub fn forget(id: &str) -> Result<(), Failure> {
    match entry(id).and_then(|entry| entry.delete_credential()) {
        Ok(()) | Err(keyring_core::Error::NoEntry) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(not(any(target_os = "macos", windows, feature = "secret-service")))]
mod none {
    use super::{Failure, Key};

    fn unknown<T>() -> Result<T, Failure> {
        Err(Failure::failed(
            "this build knows no keystore of this system (on Linux the feature secret-service adds one); \
             --by passphrase needs none, and --by file keeps the key in an open file that only its owner may read",
        ))
    }

    pub fn get(_: &str) -> Result<Key, Failure> {
        unknown()
    }

    pub fn put(_: &Key) -> Result<(), Failure> {
        unknown()
    }

    pub fn forget(_: &str) -> Result<(), Failure> {
        unknown()
    }
}

#[cfg(not(any(target_os = "macos", windows, feature = "secret-service")))]
pub use none::{forget, get, put};
