//! The secret that files are sealed with: 32 random bytes, which nobody types and nothing prints, and the name it goes by.

use std::fmt;

use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a key's name.
pub const ID_BYTES: usize = 16;
/// What the name is a hash of, before the key.
const NAMED: &[u8] = b"ingle data key 1";

/// A key. It is wiped from memory when it goes.
#[derive(Clone)]
pub struct Key {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    id: KeyId,
}

/// The name of a key, which says nothing about it: half of a hash. A file is opened only by the key that it names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyId(pub(super) [u8; ID_BYTES]);

impl Key {
    /// A key of these bytes, which must come from the system's source of randomness or out of [`super::key_file`].
    pub fn new(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let named = Zeroizing::new([NAMED, &bytes[..]].concat());
        let hash = digest(&SHA256, &named);
        let id = hash.as_ref()[..ID_BYTES].try_into().expect("a hash is longer");
        Self { bytes, id: KeyId(id) }
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The secret itself, for whoever keeps it.
    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }
}

/// Keys of one name are the same.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_printed_and_keys_have_names_of_their_own() {
        let keys = [7, 8].map(|byte| Key::new(Zeroizing::new([byte; 32])));
        assert_ne!(keys[0].id(), keys[1].id());
        let said = format!("{:?}", keys[0]);
        assert_eq!(said, format!("Key({})", keys[0].id()));
        assert!(!said.contains("0707"));
    }
}
