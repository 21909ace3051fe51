//! Signatures of models: a bundle as it comes, a statement that the right key signed, and keys. Whatever comes is taken or refused in a
//! sentence; nothing is verified but a list of the very files that are there.
// libFuzzer: -max_len=4000
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ingle_fuzz::assert_sentence;
use ingle_store::signing::bundle::Bundle;
use ingle_store::signing::keys::{KINDS, PrivateKey, PublicKey, generate};
use ingle_store::signing::statement::Statement;
use ingle_store::signing::{BUNDLE_NAME, verify, verify_statement};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// The type of what is signed.
const STATEMENT: &str = "application/vnd.in-toto+json";
/// The files of the model; `fuzz/seeds/make.py` has them, too.
const FILES: [(&str, &str); 2] = [("a", "weights"), ("b/c", "words")];

static KEY: LazyLock<PrivateKey> = LazyLock::new(|| {
    let kind = KINDS.iter().find(|kind| kind.name == "ed25519").expect("it is listed");
    PrivateKey::from_pem("key", &generate(kind).expect("randomness")).expect("a key that was just made")
});

/// A model in a folder of this process, in memory where the system has one there.
static MODEL: LazyLock<PathBuf> = LazyLock::new(|| {
    let shm = PathBuf::from("/dev/shm");
    let folder = if shm.is_dir() { shm } else { std::env::temp_dir() }
        .join(format!("ingle-fuzz-bundle-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("b")).expect("a folder is made");
    for (name, text) in FILES {
        std::fs::write(folder.join(name), text).expect("a file is written");
    }
    folder
});

/// A bundle around `payload` that the key signed, written from DSSE's description.
fn signed(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {STATEMENT} {} ", STATEMENT.len(), payload.len());
    let signature = KEY.sign(&[head.as_bytes(), payload].concat()).expect("Ed25519 needs no randomness");
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": { "publicKey": { "hint": KEY.public().hint() } },
        "dsseEnvelope": {
            "payload": STANDARD.encode(payload),
            "payloadType": STATEMENT,
            "signatures": [{ "sig": STANDARD.encode(signature) }],
        },
    });
    bundle.to_string().into_bytes()
}

fn hex(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn statement(payload: &[u8]) {
    match Statement::parse("fuzz", payload) {
        Ok(statement) => {
            assert!(!statement.name().is_empty() && statement.root().len() == 64);
            assert!(statement.files().is_sorted_by(|a, b| a.name < b.name));
        }
        Err(error) => assert_sentence::<String>(Err(error.to_string())),
    }
}

fn keys(text: &str) {
    if let Ok(key) = PublicKey::from_pem("fuzz", text) {
        let again = PublicKey::from_pem("fuzz", &key.to_pem()).expect("a key that was written");
        assert_eq!((again.kind(), again.bytes()), (key.kind(), key.bytes()));
        assert!(!key.verifies(b"a", text.as_bytes()));
    }
    assert_sentence(PrivateKey::from_pem("fuzz", text).map(|key| drop(key.public().to_pem())));
}

fuzz_target!(|input: &[u8]| {
    match Bundle::parse("fuzz", input) {
        Ok(bundle) => statement(bundle.payload()),
        Err(error) => assert_sentence::<String>(Err(error.to_string())),
    }
    // Nobody else has the key.
    assert_sentence(verify_statement("fuzz", input, &KEY.public()).map(|_| unreachable!("a forgery")));
    // The input as what the key's owner signed.
    statement(input);
    match verify(&MODEL, &signed(input), &KEY.public(), &|| false, &mut |_| {}) {
        Ok(found) => {
            let found = found.expect("nobody stopped it");
            for file in found.files() {
                let (_, text) = FILES.iter().find(|(name, _)| *name == file.name).expect("a file that is there");
                assert_eq!(file.digest.to_string(), hex(text));
                assert_ne!(file.name, BUNDLE_NAME);
            }
            let says_ignored = input.windows(12).any(|twelve| twelve == b"ignore_paths");
            assert!(says_ignored || found.files().len() == FILES.len(), "a file that nobody signed");
        }
        Err(error) => assert_sentence::<String>(Err(error.to_string())),
    }
    keys(&String::from_utf8_lossy(input));
});
