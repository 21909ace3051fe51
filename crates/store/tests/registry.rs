//! Images from a registry that misbehaves: Ollama's, ModelPack's, and what is none.

#[expect(dead_code, reason = "the other tests of the store use the rest")]
mod hub;
#[expect(dead_code, reason = "the other tests of the store use the rest")]
mod world;

use std::fs;
use std::path::Path;

use hub::{Fault, Hub, sha256};
use ingle_store::error::Error;
use ingle_store::library::Meaning;
use ingle_store::parts::Parts;
use ingle_store::registry::login::Logins;
use serde_json::{Value, json};
use world::{LARGE, World, content, said};

const NAME: &str = "library/tiny";

fn layer(world: &World, name: &str, kind: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": world.hub.add_blob(name, bytes), "size": bytes.len() })
}

/// The same with the path that its annotation says.
fn at(mut layer: Value, path: &str) -> Value {
    layer["annotations"] = json!({ "org.cncf.model.filepath": path });
    layer
}

/// An image as Ollama has them; gives the weights.
fn ollama(world: &World) -> Vec<u8> {
    let model = content(LARGE);
    let of =
        |kind: &str, bytes: &[u8]| layer(world, NAME, &format!("application/vnd.ollama.image.{kind}"), bytes);
    let layers = [
        of("model", &model),
        of("template", b"{{ .System }}{{ .Prompt }}"),
        of("system", b"Be brief."),
        of("params", br#"{"stop": ["<|end|>"], "temperature": 0.5}"#),
        of("license", b"MIT"),
        of("license", b"and another"),
        of("projector", b"not needed"),
    ];
    let manifest = json!({ "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": of("config", b"{}"), "layers": layers });
    world.hub.add_manifest(NAME, "latest", &manifest);
    model
}

fn oci(world: &World, name: &str) -> String {
    format!("oci:{}/{name}", world.hub.url)
}

#[test]
fn an_image_of_ollama_comes_with_all_that_belongs_to_it() {
    let world = World::new();
    let library = world.library();
    let model = ollama(&world);
    assert!(matches!(library.find("ollama:tiny").unwrap(), Meaning::Absent(_)));
    let path = world.pull_image(&library, "ollama:tiny").unwrap();
    assert_eq!(fs::read(&path).unwrap(), model);
    let read = |name: &str| fs::read_to_string(path.with_file_name(name)).unwrap();
    assert_eq!((read("system.txt").as_str(), read("LICENSE").as_str()), ("Be brief.", "MIT"));
    assert_eq!(
        (read("template.go").as_str(), read("LICENSE-2").as_str()),
        ("{{ .System }}{{ .Prompt }}", "and another")
    );
    assert!(read("params.json").contains("temperature"));
    assert_eq!(fs::read_link(&path).unwrap(), Path::new("../../blobs").join(sha256(&model)));
    let projector = format!("/v2/{NAME}/blobs/sha256:{}", sha256(b"not needed"));
    assert!(world.hub.seen_at(&projector).is_empty(), "what is not needed is not fetched");
    for name in ["ollama:tiny", "ollama:tiny:latest", "ollama:library/tiny"] {
        assert!(matches!(library.find(name).unwrap(), Meaning::Here(p) if p == path), "{name}");
    }
    let listed = library.list().unwrap();
    assert_eq!((listed.len(), listed[0].name.as_str()), (1, "ollama:tiny:latest"));

    // Again: one question, no layer. A second tag of the same content: the same.
    let n = world.hub.seen().len();
    assert_eq!(world.pull_image(&library, "ollama:tiny").unwrap(), path);
    assert_eq!(world.hub.seen().len(), n + 1);
}

#[test]
fn a_registry_that_wants_to_see_a_pass_gives_one_to_everybody() {
    let mut world = World::new();
    world.at.token = Some("hf_secret".into());
    let library = world.library();
    let model = ollama(&world);
    world.hub.require_pass("pass-1");
    assert_eq!(fs::read(world.pull_image(&library, "ollama:tiny").unwrap()).unwrap(), model);
    assert_eq!(world.hub.passes_given(), 1);
    let seen = world.hub.seen();
    let token = seen.iter().find(|s| s.target.starts_with("/token")).unwrap();
    assert_eq!(token.target, "/token?service=test&scope=repository%3Ax%3Apull");
    assert!(seen.iter().all(|s| s.header("authorization").is_none_or(|a| a == "Bearer pass-1")));
}

#[test]
fn a_pass_that_ends_on_the_way_is_renewed_for_all_connections() {
    let mut world = World::new();
    world.parts = Parts { connections_max: 3, file_bytes_min: 1, part_bytes_min: 1 << 19 };
    let library = world.library();
    let model = ollama(&world);
    world.hub.require_pass("pass-1");
    let image = ingle_store::registry::image::ImageRef::parse("ollama:tiny").unwrap().unwrap();
    let retry = ingle_store::fetch::Retry { tries_max: 4, first_wait: std::time::Duration::from_millis(1) };
    let puller = ingle_store::registry::pull::ImagePuller {
        client: &world.client,
        registry: &world.at.endpoint,
        logins: &world.logins,
        images: &library.images,
        retry,
        parts: world.parts,
    };
    let job = puller.plan(&image, &mut |_| {}).unwrap();
    world.hub.require_pass("pass-2");
    assert_eq!(fs::read(puller.perform(&job, &mut |_| {}).unwrap()).unwrap(), model);
    assert!((1..=3).contains(&world.hub.passes_given()), "{}", world.hub.passes_given());
}

#[test]
fn an_address_of_passes_that_is_busy_is_asked_again() {
    for fault in [Fault::Status(503, None), Fault::Status(429, Some("0")), Fault::Noise] {
        let world = World::new();
        let library = world.library();
        let model = ollama(&world);
        world.hub.require_pass("pass-1");
        world.hub.fail("/token", [fault]);
        assert_eq!(fs::read(world.pull_image(&library, "ollama:tiny").unwrap()).unwrap(), model);
    }
    for status in [403, 404, 400] {
        let world = World::new();
        ollama(&world);
        world.hub.require_pass("pass-1");
        world.hub.fail("/token", [Fault::Status(status, None)]);
        said(world.pull_image(&world.library(), "ollama:tiny"), &["does not give it to everybody"]);
    }
}

#[test]
fn a_registry_that_gives_no_pass_is_said() {
    let world = World::new();
    let library = world.library();
    ollama(&world);
    let manifest = format!("/v2/{NAME}/manifests/latest");
    world.hub.fail(&manifest, [Fault::Status(401, None)]);
    let error =
        said(world.pull_image(&library, "ollama:tiny"), &["ollama:tiny", "does not give it to everybody"]);
    assert!(matches!(error, Error::NotFound { .. }));
    said(world.pull_image(&library, "ollama:other"), &["ollama:other", "the registry has no such model"]);
}

/// A login for the hub of `world`, as docker's file says it.
fn login_for(world: &World, login: &str) -> Logins {
    let host = world.hub.url.strip_prefix("http://").unwrap();
    let file = json!({ "auths": { host: { "auth": login } } }).to_string();
    Logins::parse(file.as_bytes()).unwrap()
}

const LOGIN: &str = "bmFtZTpzZWNyZXQ=";

#[test]
fn a_login_is_shown_to_its_registry_and_to_nobody_else() {
    for scheme in ["Bearer", "Basic"] {
        // Blobs are elsewhere, as they often are.
        let elsewhere = Hub::start();
        let mut world = World::with(&[&elsewhere], None);
        world.logins = login_for(&world, LOGIN);
        let library = world.library();
        let model = ollama(&world);
        let blob = format!("/v2/{NAME}/blobs/sha256:{}", sha256(&model));
        elsewhere.add_plain(&blob, &model);
        world.hub.fail(&blob, vec![Fault::Redirect(elsewhere.url.clone()); 9]);
        world.hub.require_login(LOGIN, scheme);
        assert_eq!(fs::read(world.pull_image(&library, "ollama:tiny").unwrap()).unwrap(), model, "{scheme}");
        let shown = |s: &hub::Seen| s.header("authorization") == Some(&format!("Basic {LOGIN}"));
        let n_shown = world.hub.seen().iter().filter(|s| shown(s)).count();
        match scheme {
            "Bearer" => assert_eq!(n_shown, 1, "for the pass alone"),
            _ => assert!(n_shown >= 2),
        }
        assert!(!elsewhere.seen().is_empty());
        assert!(elsewhere.seen().iter().all(|s| s.header("authorization").is_none()));
    }
}

#[test]
fn a_login_that_is_refused_or_kept_elsewhere_is_said_without_it() {
    for scheme in ["Bearer", "Basic"] {
        let mut world = World::new();
        world.logins = login_for(&world, "d3Jvbmc6b25l");
        ollama(&world);
        world.hub.require_login(LOGIN, scheme);
        let library = world.library();
        let error = said(world.pull_image(&library, "ollama:tiny"), &["to the login that is kept for it"]);
        assert!(!error.to_string().contains("d3Jv"));
        world.logins = Logins::default();
        said(world.pull_image(&library, "ollama:tiny"), &["`docker login`"]);
        world.logins = Logins::parse(br#"{"credsStore": "desktop"}"#).unwrap();
        said(
            world.pull_image(&library, "ollama:tiny"),
            &["kept by docker-credential-desktop, which was not asked"],
        );
    }
}

/// A registry by plain http that names another address for passes: the login does not go there.
#[test]
fn a_login_does_not_follow_a_realm_that_is_not_safe() {
    let thief = Hub::start();
    let mut world = World::with(&[&thief], None);
    world.logins = login_for(&world, LOGIN);
    ollama(&world);
    thief.require_pass("stolen");
    world.hub.require_login_at(LOGIN, "Bearer", &thief.url);
    said(world.pull_image(&world.library(), "ollama:tiny"), &["401"]);
    assert!(!thief.seen().is_empty() && thief.seen().iter().all(|s| s.header("authorization").is_none()));
}

/// Layers lie elsewhere, and whoever has them names an address for passes: it is not the registry's, and not asked.
#[test]
fn a_redirect_names_no_address_for_passes() {
    let [elsewhere, thief] = [Hub::start(), Hub::start()];
    let mut world = World::with(&[&elsewhere, &thief], None);
    world.logins = login_for(&world, LOGIN);
    let model = ollama(&world);
    world.hub.require_login(LOGIN, "Bearer");
    elsewhere.require_login_at(LOGIN, "Bearer", &thief.url);
    let blob = format!("/v2/{NAME}/blobs/sha256:{}", sha256(&model));
    world.hub.fail(&blob, vec![Fault::Redirect(elsewhere.url.clone()); 9]);
    said(world.pull_image(&world.library(), "ollama:tiny"), &["to the login that is kept for it"]);
    assert!(!elsewhere.seen().is_empty() && thief.seen().is_empty());
}

#[test]
fn what_ollama_has_already_is_used_where_it_lies() {
    let world = World::new();
    let mut library = world.library();
    let model = ollama(&world);
    let theirs = world.dir.join("ollama/blobs");
    fs::create_dir_all(&theirs).unwrap();
    let blob = theirs.join(format!("sha256-{}", sha256(&model)));
    fs::write(&blob, &model).unwrap();
    library.images.neighbours.push(theirs);
    let path = world.pull_image(&library, "ollama:tiny").unwrap();
    assert_eq!(fs::canonicalize(&path).unwrap(), fs::canonicalize(&blob).unwrap());
    assert_eq!(world.hub.sent(&format!("/v2/{NAME}/blobs/sha256:{}", sha256(&model))), 0);
}

#[test]
fn a_modelpack_of_raw_layers_is_a_file_or_a_folder() {
    let world = World::new();
    let library = world.library();
    let raw = "application/vnd.cncf.model.weight.v1.raw";
    let config = "application/vnd.cncf.model.weight.config.v1.raw";
    let doc = "application/vnd.cncf.model.doc.v1.raw";
    let (model, json_) = (content(1000), b"{}");
    let pack = |layers: Value| json!({ "schemaVersion": 2, "artifactType": "application/vnd.cncf.model.manifest.v1+json", "layers": layers });
    let file = json!([
        at(layer(&world, "a/file", doc, b"readme"), "README.md"),
        at(layer(&world, "a/file", raw, &model), "deep/m-Q4_0.gguf"),
    ]);
    world.hub.add_manifest("a/file", "v1", &pack(file));
    let path = world.pull_image(&library, &oci(&world, "a/file:v1")).unwrap();
    assert!(path.ends_with("deep/m-Q4_0.gguf") && fs::read(&path).unwrap() == model);

    let folder = json!([
        at(layer(&world, "a/folder", raw, &model), "model.safetensors"),
        at(layer(&world, "a/folder", config, json_), "config.json"),
    ]);
    let digest = world.hub.add_manifest("a/folder", "v1", &pack(folder));
    let path = world.pull_image(&library, &oci(&world, "a/folder:v1")).unwrap();
    assert!(path.is_dir() && fs::read(path.join("config.json")).unwrap() == json_);
    // Pinned by its hash, also through a list of images; nothing is fetched again.
    let index =
        json!({ "schemaVersion": 2, "manifests": [{ "mediaType": "m", "digest": digest, "size": 9 }] });
    world.hub.add_manifest("a/folder", "many", &index);
    let n = world.hub.seen().len();
    for name in [format!("a/folder@{digest}"), "a/folder:many".to_owned()] {
        assert_eq!(world.pull_image(&library, &oci(&world, &name)).unwrap(), path, "{name}");
        assert!(
            matches!(library.find(&oci(&world, &name)).unwrap(), Meaning::Here(p) if p == path),
            "{name}"
        );
    }
    assert_eq!(world.hub.seen().len(), n + 3);
    let names: Vec<_> = library.list().unwrap().into_iter().map(|m| m.name).collect();
    assert_eq!(names.len(), 4, "{names:?}");
}

/// Content that is gone comes again, and until then there is no model.
#[test]
fn an_image_whose_content_is_gone_is_not_whole() {
    let world = World::new();
    let library = world.library();
    let model = ollama(&world);
    let path = world.pull_image(&library, "ollama:tiny").unwrap();
    let license = library.images.blobs_dir().join(sha256(b"MIT"));
    fs::remove_file(&license).unwrap();
    assert!(matches!(library.find("ollama:tiny").unwrap(), Meaning::Absent(_)));
    assert_eq!(world.pull_image(&library, "ollama:tiny").unwrap(), path);
    assert_eq!((fs::read(&path).unwrap(), fs::read(&license).unwrap()), (model, b"MIT".to_vec()));
    // Nor does tidying up, which takes the name that leads nowhere, make it whole.
    fs::remove_file(&license).unwrap();
    let planned = ingle_store::leftovers::survey(&library);
    ingle_store::leftovers::perform(&library, &planned).unwrap();
    assert!(matches!(library.find("ollama:tiny").unwrap(), Meaning::Absent(_)));
    assert_eq!(world.pull_image(&library, "ollama:tiny").unwrap(), path);
    assert_eq!(fs::read(&license).unwrap(), b"MIT".to_vec());
    // Its name can be removed while it is not whole.
    fs::remove_file(&license).unwrap();
    let image = ingle_store::registry::image::ImageRef::parse("ollama:tiny").unwrap().unwrap();
    assert!(library.images.is_known(&image));
    assert!(ingle_store::leftovers::remove_image(&library, &image).unwrap() > 0);
    assert!(!library.images.is_known(&image));
}

/// The manifest says that an image is whole, so no file of the image may be it.
#[test]
fn no_file_of_an_image_takes_its_manifests_place() {
    let world = World::new();
    let library = world.library();
    let config = "application/vnd.cncf.model.weight.config.v1.raw";
    let tar = "application/vnd.cncf.model.weight.v1.tar";
    let dir = world.dir.join("pack");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("manifest.json"), b"{}").unwrap();
    let archive = world.dir.join("pack.tar");
    let made =
        std::process::Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&dir).arg(".").status();
    assert!(made.unwrap().success());
    for first in [
        at(layer(&world, "a/b", config, b"{}"), "manifest.json"),
        layer(&world, "a/b", tar, &fs::read(&archive).unwrap()),
    ] {
        let raw = "application/vnd.cncf.model.weight.v1.raw";
        let layers = json!([first, at(layer(&world, "a/b", raw, b"weights"), "m.gguf")]);
        world.hub.add_manifest("a/b", "v1", &json!({ "layers": layers }));
        said(world.pull_image(&library, &oci(&world, "a/b:v1")), &["manifest"]);
        assert!(matches!(library.find(&oci(&world, "a/b:v1")).unwrap(), Meaning::Absent(_)));
    }
    // What is no model gets no name.
    let doc = "application/vnd.cncf.model.doc.v1.raw";
    let layers =
        json!([layer(&world, "a/c", tar, &empty_tar()), at(layer(&world, "a/c", doc, b"x"), "README.md")]);
    world.hub.add_manifest("a/c", "v1", &json!({ "layers": layers }));
    said(world.pull_image(&library, &oci(&world, "a/c:v1")), &["make up no model"]);
    assert!(library.images.refs().is_empty());
}

fn empty_tar() -> Vec<u8> {
    vec![0; 1024]
}

#[test]
fn a_modelpack_of_archives_is_unpacked() {
    let world = World::new();
    let library = world.library();
    let dir = world.dir.join("pack");
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::write(dir.join("config.json"), b"{}").unwrap();
    fs::write(dir.join("model.safetensors"), content(100_000)).unwrap();
    fs::write(dir.join("sub/x.txt"), b"x").unwrap();
    let tar = world.dir.join("pack.tar");
    let made = std::process::Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&dir).arg(".").status();
    assert!(made.unwrap().success());
    let archive = fs::read(&tar).unwrap();
    let kind = "application/vnd.cncf.model.weight.v1.tar";
    let layers = json!([layer(&world, "a/tar", kind, &archive)]);
    world.hub.add_manifest("a/tar", "v1", &json!({ "layers": layers }));
    let path = world.pull_image(&library, &oci(&world, "a/tar:v1")).unwrap();
    assert_eq!(fs::read(path.join("model.safetensors")).unwrap(), content(100_000));
    assert_eq!(fs::read(path.join("sub/x.txt")).unwrap(), b"x");
    let blobs: Vec<_> =
        fs::read_dir(library.images.blobs_dir()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(blobs.len(), 3, "the archive itself is gone: {blobs:?}");
    let n = world.hub.seen().len();
    world.pull_image(&library, &oci(&world, "a/tar:v1")).unwrap();
    assert_eq!(world.hub.seen().len(), n + 1, "and is not fetched again");
    // What has the right hash and is no archive installs nothing.
    let layers = json!([layer(&world, "a/bad", kind, &archive[7..])]);
    world.hub.add_manifest("a/bad", "v1", &json!({ "layers": layers }));
    said(world.pull_image(&library, &oci(&world, "a/bad:v1")), &["archive", "checksum"]);
    assert!(matches!(library.find(&oci(&world, "a/bad:v1")).unwrap(), Meaning::Absent(_)));
}

#[test]
fn wrong_bytes_install_nothing() {
    let world = World::new();
    let library = world.library();
    let model = ollama(&world);
    let blob = format!("/v2/{NAME}/blobs/sha256:{}", sha256(&model));
    world.hub.fail(&blob, [Fault::WrongBytes]);
    said(world.pull_image(&library, "ollama:tiny"), &["model.gguf", "sha256", "deleted"]);
    assert!(matches!(library.find("ollama:tiny").unwrap(), Meaning::Absent(_)));
    // A layer that is longer or shorter than the manifest says.
    world.hub.fail(&blob, [Fault::LieAboutLength(10)]);
    said(world.pull_image(&library, "ollama:tiny"), &["model.gguf", "expected 3145728 bytes"]);
    // A manifest that is not the one whose hash was asked for.
    let digest = world.hub.add_manifest("a/b", "v1", &json!({ "layers": [] }));
    world.hub.add_plain(&format!("/v2/a/b/manifests/{digest}"), b"{\"layers\": 7}");
    said(
        world.pull_image(&library, &oci(&world, &format!("a/b@{digest}"))),
        &["manifest", "expected sha256:"],
    );
    // A list that names itself.
    world.hub.add_plain(
        "/v2/a/c/manifests/v1",
        format!(r#"{{"manifests": [{{"digest": "{digest}", "size": 1}}]}}"#).as_bytes(),
    );
    world.hub.add_plain(&format!("/v2/a/c/manifests/{digest}"), b"x");
    said(world.pull_image(&library, &oci(&world, "a/c:v1")), &["manifest", "expected sha256:"]);
    assert_eq!(library.list().unwrap().len(), 0);
    // It goes on where it was, and all is well.
    assert_eq!(fs::read(world.pull_image(&library, "ollama:tiny").unwrap()).unwrap(), model);
}

#[test]
fn a_new_version_of_a_tag_replaces_the_old_when_all_of_it_is_there() {
    let world = World::new();
    let library = world.library();
    let old = ollama(&world);
    let first = world.pull_image(&library, "ollama:tiny").unwrap();
    let new = content(5000);
    let layers = json!([layer(&world, NAME, "application/vnd.ollama.image.model", &new)]);
    world.hub.add_manifest(NAME, "latest", &json!({ "layers": layers }));
    world.hub.fail(&format!("/v2/{NAME}/blobs/sha256:{}", sha256(&new)), [Fault::Status(418, None)]);
    said(world.pull_image(&library, "ollama:tiny"), &["418"]);
    assert!(matches!(library.find("ollama:tiny").unwrap(), Meaning::Here(p) if fs::read(&p).unwrap() == old));
    let second = world.pull_image(&library, "ollama:tiny").unwrap();
    assert_eq!(fs::read(&second).unwrap(), new);
    assert_ne!(first, second);
    assert!(matches!(library.find("ollama:tiny").unwrap(), Meaning::Here(p) if p == second));
}
