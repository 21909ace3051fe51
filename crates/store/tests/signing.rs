//! OpenSSF Model Signing: the published test vectors, and what a signature must not let through.

use std::fs;
use std::path::{Path, PathBuf};

use ingle_store::Result;
use ingle_store::signing::bundle::Bundle;
use ingle_store::signing::keys::{self, KINDS, PrivateKey, PublicKey};
use ingle_store::signing::statement::Statement;
use ingle_store::signing::{BUNDLE_NAME, read_bundle, sign, verify, verify_statement};
use serde_json::Value;

fn reference_data() -> Option<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/oms");
    let found = data.is_dir();
    if !found {
        eprintln!("not run: no reference data at {}", data.display());
    }
    found.then_some(data)
}

/// A bundle's class by its form alone.
fn class(text: &[u8]) -> &'static str {
    let Ok(bundle) = Bundle::parse("x", text) else { return "invalid" };
    if Statement::parse("x", bundle.payload()).is_ok() { "valid" } else { "invalid-payload" }
}

/// The official JSON schemas, each of which may name the others.
struct Schemas {
    bundle: jsonschema::Validator,
    statement: jsonschema::Validator,
}

impl Schemas {
    fn read(data: &Path) -> Self {
        let schema = |name: &str| -> Value {
            let text = fs::read(data.join(format!("schemas/v1.0/{name}.schema.json"))).unwrap();
            serde_json::from_slice(&text).unwrap()
        };
        let all = ["bundle", "envelope", "statement", "predicate"].map(schema);
        let resources = all.iter().map(|s| {
            let id = s["$id"].as_str().unwrap();
            (id, jsonschema::Resource::from_contents(s.clone()))
        });
        let registry = jsonschema::Registry::new().extend(resources).unwrap().prepare().unwrap();
        let of = |schema: &Value| jsonschema::options().with_registry(&registry).build(schema).unwrap();
        Self { bundle: of(&all[0]), statement: of(&all[2]) }
    }

    /// The class that the schemas give.
    fn class(&self, text: &[u8]) -> &'static str {
        let Ok(bundle) = serde_json::from_slice::<Value>(text) else { return "invalid" };
        if !self.bundle.is_valid(&bundle) {
            return "invalid";
        }
        let payload = Bundle::parse("x", text).unwrap().payload().to_vec();
        let is_valid = serde_json::from_slice(&payload).is_ok_and(|p| self.statement.is_valid(&p));
        if is_valid { "valid" } else { "invalid-payload" }
    }
}

#[test]
fn the_published_vectors_are_what_their_folders_say() {
    let Some(data) = reference_data() else { return };
    let schemas = Schemas::read(&data);
    let mut n_vectors = 0;
    for folder in ["valid", "invalid", "invalid-payload"] {
        for entry in fs::read_dir(data.join("test-vectors/v1.0").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read(&path).unwrap();
            assert_eq!(class(&text), folder, "{}", path.display());
            // An absent log makes a bundle invalid by the schema's words, too.
            assert_eq!(schemas.class(&text), folder, "{}", path.display());
            n_vectors += 1;
        }
    }
    assert_eq!(n_vectors, 8);
}

#[test]
fn the_methods_of_the_valid_vectors_are_told_apart_and_only_a_key_is_verified() {
    let Some(data) = reference_data() else { return };
    let key = PrivateKey::from_pem("k", &keys::generate(KINDS[0]).unwrap()).unwrap().public();
    for (name, said) in [
        ("key", "the key e8450dec"),
        ("certificate", "signed by certificate"),
        ("sigstore", "signed by sigstore"),
    ] {
        let text = fs::read(data.join(format!("test-vectors/v1.0/valid/{name}.bundle.json"))).unwrap();
        assert_eq!(Bundle::parse("x", &text).unwrap().method().name(), name);
        let error = verify_statement("x", &text, &key).unwrap_err().to_string();
        assert!(error.contains(said), "{name}: {error}");
    }
}

/// A folder with two files, gone with the value.
struct Model(PathBuf);

impl Model {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("ingle-signing-{}-{name}", std::process::id()));
        fs::create_dir_all(folder.join("part")).unwrap();
        fs::write(folder.join("a.gguf"), "weights").unwrap();
        fs::write(folder.join("part/b"), "more").unwrap();
        Self(folder)
    }

    fn sign(&self, key: &PrivateKey) {
        let bundle = sign(&self.0, "m", key, &|| false, &mut |_| {}).unwrap().unwrap();
        fs::write(self.0.join(BUNDLE_NAME), bundle).unwrap();
    }

    fn verify(&self, key: &PublicKey) -> Result<Statement> {
        verify(&self.0, &read_bundle(&self.0).unwrap(), key, &|| false, &mut |_| {}).map(Option::unwrap)
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_every_kind_of_key_signed_is_verified_and_fits_the_schemas() {
    for kind in KINDS {
        let model = Model::new(kind.name);
        let key = PrivateKey::from_pem("k", &keys::generate(kind).unwrap()).unwrap();
        model.sign(&key);
        let statement = model.verify(&key.public()).unwrap();
        let names: Vec<&str> = statement.files().iter().map(|f| f.name.as_str()).collect();
        assert_eq!((statement.name(), names), ("m", vec!["a.gguf", "part/b"]));
        if let Some(data) = reference_data() {
            assert_eq!(Schemas::read(&data).class(&read_bundle(&model.0).unwrap()), "valid");
        }
    }
}

#[test]
fn a_changed_missing_or_added_file_a_link_and_another_key_are_told() {
    let model = Model::new("changes");
    let key = PrivateKey::from_pem("k", &keys::generate(KINDS[0]).unwrap()).unwrap();
    model.sign(&key);
    let said = |key: &PublicKey| model.verify(key).unwrap_err().to_string();
    let public = key.public();

    fs::write(model.0.join("a.gguf"), "wEights").unwrap();
    assert!(said(&public).contains("a.gguf: "));
    fs::remove_file(model.0.join("a.gguf")).unwrap();
    assert!(said(&public).contains("a.gguf: nothing, expected a signed file"));
    fs::write(model.0.join("a.gguf"), "weights").unwrap();
    model.verify(&public).unwrap();
    // What belongs to git is no part of a model, as other signers have it, too.
    fs::write(model.0.join(".gitignore"), "x").unwrap();
    model.verify(&public).unwrap();
    model.sign(&key);
    assert_eq!(model.verify(&public).unwrap().files().len(), 2);
    fs::write(model.0.join("extra"), "").unwrap();
    assert!(said(&public).contains("extra: a file that is not signed"));
    fs::remove_file(model.0.join("extra")).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/etc/passwd", model.0.join("extra")).unwrap();
        assert!(said(&public).contains("extra: a link"));
        fs::remove_file(model.0.join("extra")).unwrap();
    }
    let other = PrivateKey::from_pem("k", &keys::generate(KINDS[0]).unwrap()).unwrap();
    assert!(said(&other.public()).contains("expected the key"));
}

/// The hint is not signed, so it can be taken off; the signature then still has to be the key's.
#[test]
fn a_bundle_that_names_no_key_is_still_held_against_the_key() {
    let model = Model::new("hint");
    let [key, other] = [0, 1].map(|_| PrivateKey::from_pem("k", &keys::generate(KINDS[0]).unwrap()).unwrap());
    model.sign(&key);
    let mut bundle: Value = serde_json::from_slice(&read_bundle(&model.0).unwrap()).unwrap();
    bundle["verificationMaterial"]["publicKey"]["hint"] = "".into();
    fs::write(model.0.join(BUNDLE_NAME), bundle.to_string()).unwrap();
    model.verify(&key.public()).unwrap();
    let said = model.verify(&other.public()).unwrap_err().to_string();
    assert!(said.contains("one that the key did not make"), "{said}");
}

/// One byte of the envelope is changed at a time: nothing of it may pass.
#[test]
fn no_changed_byte_of_payload_or_signature_is_verified() {
    let model = Model::new("bytes");
    let key = PrivateKey::from_pem("k", &keys::generate(KINDS[0]).unwrap()).unwrap();
    model.sign(&key);
    let bundle = read_bundle(&model.0).unwrap();
    let whole = Bundle::parse("x", &bundle).unwrap().payload().to_vec();
    let text = String::from_utf8(bundle).unwrap();
    for field in ["\"payload\": \"", "\"sig\": \""] {
        let start = text.find(field).unwrap() + field.len();
        let end = start + text[start..].find('"').unwrap();
        for at in start..end {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            // The last digit may hold bits that mean nothing; whatever is accepted says the same.
            if let Ok(statement) = verify_statement("x", &changed, &key.public()) {
                assert_eq!(Bundle::parse("x", &changed).unwrap().payload(), whole, "{}", statement.root());
            }
        }
    }
}
