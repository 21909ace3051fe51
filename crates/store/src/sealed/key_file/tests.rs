//! Key files: what opens them, and what they may not ask for.

use super::*;

const SMALL: Effort = Effort { memory_kib: 64, passes: 1, lanes: 2 };

fn key() -> Key {
    Key::new(Zeroizing::new([9; KEY_BYTES]))
}

fn under(passphrase: &str) -> KeyFile {
    let wrapped = Wrapped::new(&key(), passphrase, SMALL, [3; RANDOM_BYTES]).unwrap();
    KeyFile { id: key().id().to_string(), kept: Kept::Passphrase(wrapped) }
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("ingle-key-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

/// RFC 9106, section 5.3: the vector has a secret and data that we have not, so this is the reference program's own test of its library
/// (version 0x13, Argon2id, 2 passes, 256 KiB, 1 lane).
#[test]
fn argon2id_is_the_references() {
    let effort = Effort { memory_kib: 256, passes: 2, lanes: 1 };
    let made = effort.derive("password", b"somesalt").unwrap();
    assert_eq!(hex(&*made), "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe");
}

#[test]
fn every_way_of_keeping_is_read_as_it_was_written() {
    let folder = folder("kinds");
    let path = folder.join("key.json");
    assert_eq!(KeyFile::read(&path).unwrap(), None);
    let id = key().id().to_string();
    for kept in [Kept::Keystore, Kept::File(key()), under("a word").kept] {
        let file = KeyFile { id: id.clone(), kept };
        file.write(&path).unwrap();
        assert_eq!(KeyFile::read(&path).unwrap(), Some(file));
        #[cfg(unix)]
        assert!(!is_open_to_others(&std::fs::metadata(&path).unwrap()));
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn only_the_passphrase_opens_it() {
    let path = Path::new("key.json");
    let file = under("correct horse");
    assert_eq!(file.open(path, "correct horse").unwrap(), Some(key()));
    assert_eq!(file.open(path, "correct hors").unwrap(), None);
    // Another name or effort was not what the passphrase was given for.
    let other = KeyFile { id: "0".repeat(32), kept: file.kept.clone() };
    assert_eq!(other.open(path, "correct horse").unwrap(), None);
    let said = KeyFile { id: file.id, kept: Kept::Keystore }.open(path, "").unwrap_err().to_string();
    assert_eq!(said, "key.json: key: the key is kept by the keystore, expected a passphrase");
}

#[cfg(unix)]
#[test]
fn an_open_key_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder("open");
    let path = folder.join("key.json");
    KeyFile { id: key().id().to_string(), kept: Kept::File(key()) }.write(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let said = KeyFile::read(&path).unwrap_err().to_string();
    assert!(said.contains("others may read it") && !said.contains("0909"), "{said}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_file_that_asks_for_too_much_or_is_none_is_refused_without_work() {
    let good = r#"{"version":1,"id":"ID","kept":"passphrase","argon2id":{"memory_kib":64,"passes":1,"lanes":1},"salt":"S","nonce":"N","key":"K"}"#;
    let good = good.replace("ID", &"0".repeat(32)).replace("\"S\"", &format!("{:?}", "1".repeat(32)));
    let good = good
        .replace("\"N\"", &format!("{:?}", "2".repeat(48)))
        .replace("\"K\"", &format!("{:?}", "3".repeat(96)));
    assert!(KeyFile::parse(good.as_bytes()).is_ok());
    for (from, to) in [
        ("\"memory_kib\":64", "\"memory_kib\":1048577"),
        ("\"memory_kib\":64", "\"memory_kib\":4294967295"),
        ("\"passes\":1", "\"passes\":4294967295"),
        ("\"passes\":1", "\"passes\":0"),
        ("\"lanes\":1", "\"lanes\":9"),
        ("\"lanes\":1", "\"lanes\":0"),
        ("\"version\":1", "\"version\":2"),
        ("\"kept\":\"passphrase\"", "\"kept\":\"file\""),
        ("\"kept\":\"passphrase\"", "\"kept\":\"me\""),
        ("\"salt\":\"11", "\"salt\":\"1"),
        ("\"id\":\"0", "\"id\":\"../0"),
        ("}", ""),
        ("{\"version\"", "{\"more\":1,\"version\""),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        assert!(KeyFile::parse(text.as_bytes()).is_err(), "{text}");
    }
    assert!(KeyFile::parse(&vec![b' '; 1 << 20]).is_err());
}
