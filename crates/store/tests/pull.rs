//! Pulls from a hub that misbehaves in every way we thought of.

#[expect(dead_code, reason = "the other tests of the store use the rest")]
mod hub;
#[expect(dead_code, reason = "the other tests of the store use the rest")]
mod world;

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hub::{COMMIT, Fault, Hub, resolve, sha256};
use ingle_net::Url;
use ingle_store::error::Error;
use ingle_store::fetch::{Event, Pass, Retry};
use ingle_store::library::{Library, Meaning};
use ingle_store::names::Named;
use ingle_store::parts::Parts;
use ingle_store::remove;
use world::{FILE, LARGE, REPO, World, content, hub_ref, said};

#[test]
fn a_pull_lays_files_down_as_the_hubs_own_library_does() {
    let world = World::new();
    let (model, config) = (content(1000), b"{}".to_vec());
    world.hub.add(REPO, "README.md", b"hello");
    world.hub.add(REPO, FILE, &model);
    let path = world.pull("u/r").unwrap();
    let repo = world.dir.join("hub/models--u--r");
    assert_eq!(path, repo.join("snapshots").join(COMMIT).join(FILE));
    assert_eq!(fs::read(&path).unwrap(), model);
    assert_eq!(fs::read_to_string(repo.join("refs/main")).unwrap(), COMMIT);
    let link = fs::read_link(&path).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(sha256(&model)));
    let blobs: Vec<_> = fs::read_dir(repo.join("blobs")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(blobs, [sha256(&model).as_str()], "nothing else was fetched, no partial file is left");
    assert!(world.dir.join("hub/.locks/models--u--r").join(format!("{}.lock", sha256(&model))).exists());

    // Again: one question, no file.
    let n = world.hub.seen().len();
    assert_eq!(world.pull("u/r:Q8_0").unwrap(), path);
    assert_eq!(world.hub.seen().len(), n + 1);

    world.hub.add("u/folder", "config.json", &config);
    world.hub.add("u/folder", "model.safetensors", &model);
    world.hub.add("u/folder", "deep/er/x.gguf.md", b"no");
    let folder = world.pull("u/folder").unwrap();
    assert!(folder.is_dir());
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), model);
    assert_eq!(fs::read(folder.join("config.json")).unwrap(), config, "and its git hash agreed");
}

#[test]
fn what_another_program_fetched_is_found_and_not_fetched_again() {
    let world = World::new();
    let model = content(1000);
    world.hub.add(REPO, FILE, &model);
    let blob = world.blob(FILE, &model);
    fs::create_dir_all(blob.parent().unwrap()).unwrap();
    fs::write(&blob, &model).unwrap();
    assert_eq!(fs::read(world.pull("u/r").unwrap()).unwrap(), model);
    assert_eq!(world.hub.seen_at(&resolve(REPO, FILE)).len(), 0);
}

#[test]
fn all_parts_and_files_in_folders_come() {
    let world = World::new();
    for i in 1..=3 {
        world.hub.add(REPO, &format!("Q4_K_M/m-0000{i}-of-00003.gguf"), &content(100 + i));
    }
    let path = world.pull("u/r:Q4_K_M").unwrap();
    assert!(path.ends_with("Q4_K_M/m-00001-of-00003.gguf"));
    for i in 1..=3 {
        let part = path.with_file_name(format!("m-0000{i}-of-00003.gguf"));
        assert_eq!(fs::read(&part).unwrap(), content(100 + i));
        assert!(fs::read_link(&part).unwrap().starts_with("../../../blobs"));
    }
}

#[test]
fn a_connection_that_breaks_is_continued_where_it_broke() {
    let world = World::new();
    let model = content(LARGE);
    world.hub.add(REPO, FILE, &model);
    let at = resolve(REPO, FILE);
    world.hub.fail(
        &at,
        [Fault::Drop(1 << 20), Fault::Drop(1 << 20), Fault::Stall(1 << 18, Duration::from_secs(3))],
    );
    assert_eq!(fs::read(world.pull("u/r").unwrap()).unwrap(), model);
    let ranges: Vec<_> =
        world.hub.seen_at(&at).iter().map(|s| s.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges.len(), 4);
    assert_eq!(ranges[0], None);
    assert_eq!(ranges[1].as_deref(), Some("bytes=1048576-"));
    assert_eq!(ranges[2].as_deref(), Some("bytes=2097152-"));
    assert_eq!(ranges[3].as_deref(), Some("bytes=2359296-"));
}

#[test]
fn what_an_earlier_run_left_is_continued() {
    let world = World::new();
    let model = content(LARGE);
    world.hub.add(REPO, FILE, &model);
    let partial = world.partial(FILE, &model);
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    fs::write(&partial, &model[..12345]).unwrap();
    assert_eq!(fs::read(world.pull("u/r").unwrap()).unwrap(), model);
    let seen = world.hub.seen_at(&resolve(REPO, FILE));
    assert_eq!(seen[0].header("range"), Some("bytes=12345-"));
    assert!(!partial.exists());
}

#[test]
fn a_whole_partial_file_is_only_verified() {
    let world = World::new();
    let model = content(1000);
    world.hub.add(REPO, FILE, &model);
    let partial = world.partial(FILE, &model);
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    fs::write(&partial, &model).unwrap();
    assert_eq!(fs::read(world.pull("u/r").unwrap()).unwrap(), model);
    assert_eq!(world.hub.seen_at(&resolve(REPO, FILE)).len(), 0);
}

#[test]
fn a_server_that_ignores_ranges_sends_it_all_again() {
    let world = World::new();
    let model = content(LARGE);
    world.hub.add(REPO, FILE, &model);
    world.hub.fail(&resolve(REPO, FILE), [Fault::Drop(1 << 20), Fault::IgnoreRange]);
    assert_eq!(fs::read(world.pull("u/r").unwrap()).unwrap(), model);
}

#[test]
fn a_spoiled_or_too_long_beginning_is_thrown_away_once() {
    for spoiled in [vec![7; 12345], content(LARGE + 5)] {
        let world = World::new();
        let model = content(LARGE);
        world.hub.add(REPO, FILE, &model);
        let partial = world.partial(FILE, &model);
        fs::create_dir_all(partial.parent().unwrap()).unwrap();
        fs::write(&partial, &spoiled).unwrap();
        assert_eq!(fs::read(world.pull("u/r").unwrap()).unwrap(), model);
    }
}

#[test]
fn wrong_bytes_are_deleted_and_said() {
    let world = World::new();
    let model = content(LARGE);
    world.hub.add(REPO, FILE, &model);
    world.hub.fail(&resolve(REPO, FILE), [Fault::WrongBytes]);
    let error = said(world.pull("u/r"), &[FILE, "sha256", "deleted", &sha256(&model)]);
    assert!(matches!(error, Error::Mismatch { .. }));
    assert!(!world.partial(FILE, &model).exists() && !world.blob(FILE, &model).exists());
    assert!(!world.dir.join("hub/models--u--r/refs/main").exists(), "a failed pull moves no branch");
    // The small files are under a hash too.
    world.hub.add("u/folder", "config.json", b"{}");
    world.hub.add("u/folder", "model.safetensors", b"x");
    world.hub.fail(&resolve("u/folder", "config.json"), [Fault::WrongBytes]);
    said(world.pull("u/folder"), &["config.json", "git blob sha1"]);
}

#[test]
fn a_length_that_is_not_the_listings_is_said_before_anything_is_read() {
    for by in [-10, 10] {
        let world = World::new();
        let model = content(1000);
        world.hub.add(REPO, FILE, &model);
        world.hub.fail(&resolve(REPO, FILE), [Fault::LieAboutLength(by)]);
        let found = format!("{} bytes", 1000 + by);
        said(world.pull("u/r"), &[FILE, &found, "expected 1000 bytes"]);
    }
}

#[test]
fn a_wrong_range_is_refused() {
    let world = World::new();
    let model = content(LARGE);
    world.hub.add(REPO, FILE, &model);
    world.hub.fail(&resolve(REPO, FILE), [Fault::Drop(1 << 20), Fault::WrongRange]);
    said(world.pull("u/r"), &[FILE, "bytes 1048577-", "expected bytes 1048576-"]);
}

#[test]
fn an_endless_body_is_read_to_the_size_that_is_known() {
    let world = World::new();
    let model = content(LARGE);
    world.hub.add(REPO, FILE, &model);
    world.hub.fail(&resolve(REPO, FILE), [Fault::Endless]);
    assert_eq!(fs::read(world.pull("u/r").unwrap()).unwrap(), model);
}

#[test]
fn passing_faults_are_waited_out_and_lasting_ones_end() {
    let world = World::new();
    world.hub.add(REPO, FILE, &content(1000));
    let at = resolve(REPO, FILE);
    world.hub.fail_listing(REPO, [Fault::Status(503, None), Fault::Drop(3)]);
    world.hub.fail(&at, [Fault::Status(429, Some("0")), Fault::Status(500, None), Fault::Noise]);
    let mut waits = Vec::new();
    let job = world.puller().plan(&hub_ref("u/r"), &mut |_| {}).unwrap();
    let watch = &mut |event: Event<'_>| {
        if let Event::Waiting { why, .. } = event {
            waits.push(why);
        }
    };
    world.puller().perform(&job, watch).unwrap();
    assert_eq!(waits.len(), 3);
    assert!(waits[0].contains("429") && waits[1].contains("500"), "{waits:?}");

    world.hub.add("u/other", FILE, &content(10));
    world.hub.fail(&resolve("u/other", FILE), vec![Fault::Status(500, None); 9]);
    let error = said(world.pull("u/other"), &["500", "try again later"]);
    assert!(matches!(error, Error::Status { .. }));
    assert_eq!(world.hub.seen_at(&resolve("u/other", FILE)).len(), 4, "as often as asked, no more");
}

#[test]
fn a_refused_range_starts_anew() {
    let world = World::new();
    let model = content(LARGE);
    world.hub.add(REPO, FILE, &model);
    world.hub.fail(&resolve(REPO, FILE), [Fault::Drop(1 << 20), Fault::Status(416, None)]);
    assert_eq!(fs::read(world.pull("u/r").unwrap()).unwrap(), model);
}

#[test]
fn refusals_say_what_to_do() {
    let world = World::new();
    world.hub.add(REPO, FILE, &content(10));
    for (status, word) in [(401, "HF_TOKEN"), (403, "accept the terms"), (404, "no such model")] {
        world.hub.fail_listing(REPO, [Fault::Status(status, None)]);
        assert!(matches!(said(world.pull("u/r"), &["u/r", word]), Error::NotFound { .. }));
    }
    world.hub.fail_listing(REPO, [Fault::Status(418, None)]);
    said(world.pull("u/r"), &["418"]);
    world.hub.fail(&resolve(REPO, FILE), [Fault::Status(403, None)]);
    said(world.pull("u/r"), &[FILE, "accept the terms"]);
    world.hub.fail(&resolve(REPO, FILE), [Fault::Status(404, None)]);
    said(world.pull("u/r"), &[FILE, "no such file"]);
    said(world.pull("u/r:Q2_K"), &["u/r:Q2_K", "it has Q8_0"]);
    said(world.pull("nobody/nothing"), &["nobody/nothing", "no such model"]);
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let elsewhere = Hub::start();
    let mut world = World::with(&[&elsewhere], None);
    let model = content(1000);
    world.hub.add(REPO, FILE, &model);
    world.hub.require_token("hf_secret");
    elsewhere.add(REPO, FILE, &model);
    said(world.pull("u/r"), &["HF_TOKEN"]);
    world.at.token = Some("hf_secret".into());
    let at = resolve(REPO, FILE);
    world.hub.fail(&at, [Fault::Redirect(elsewhere.url.clone())]);
    assert_eq!(fs::read(world.pull("u/r").unwrap()).unwrap(), model);
    assert_eq!(world.hub.seen_at(&at)[0].header("authorization"), Some("Bearer hf_secret"));
    assert_eq!(elsewhere.seen().len(), 1);
    assert_eq!(elsewhere.seen()[0].header("authorization"), None);
}

#[test]
fn redirects_may_not_leave_tls_or_go_round_for_ever() {
    let unnamed = Hub::start();
    let world = World::new();
    world.hub.add(REPO, FILE, &content(10));
    world.hub.fail(&resolve(REPO, FILE), [Fault::Redirect(unnamed.url.clone())]);
    said(world.pull("u/r"), &["blocked by policy", "https"]);
    assert!(unnamed.seen().is_empty());
    world.hub.fail(&resolve(REPO, FILE), vec![Fault::Redirect(String::new()); 20]);
    said(world.pull("u/r"), &["more than 8 redirects"]);
}

#[test]
fn offline_opens_nothing_and_the_ledger_says_so() {
    let world = World::with(&[], Some("--offline"));
    let error = said(world.pull("u/r"), &["blocked by policy", "--offline"]);
    assert!(matches!(error, Error::Net(ingle_net::Error::Blocked { .. })));
    assert!(world.hub.seen().is_empty());
    let rows = world.client.ledger().rows();
    assert_eq!((rows.len(), rows[0].n_refused, rows[0].n_requests, rows[0].bytes_out), (1, 1, 0, 0));
}

#[test]
fn the_ledger_counts_what_the_wire_carried() {
    let world = World::new();
    let model = content(LARGE);
    world.hub.add(REPO, FILE, &model);
    world.pull("u/r").unwrap();
    let rows = world.client.ledger().rows();
    let names: Vec<_> = rows.iter().map(|r| r.purpose.name()).collect();
    assert_eq!(names, ["model listing", "model file"]);
    let around = 1000;
    assert!((LARGE as u64..LARGE as u64 + around).contains(&rows[1].bytes_in), "{rows:?}");
    assert!((50..around).contains(&rows[1].bytes_out), "{rows:?}");
}

#[test]
fn an_interruption_ends_a_stalled_wait_and_keeps_what_came() {
    let world = World::new();
    let model = content(LARGE);
    world.hub.add(REPO, FILE, &model);
    world.hub.fail(&resolve(REPO, FILE), [Fault::Stall(1 << 20, Duration::from_secs(30))]);
    let flag = world.interrupted.clone();
    let job = world.puller().plan(&hub_ref("u/r"), &mut |_| {}).unwrap();
    let started = Instant::now();
    let watch = &mut |event: Event<'_>| {
        if matches!(event, Event::Bytes { done, .. } if done == 1 << 20) {
            flag.store(true, Ordering::Relaxed);
        }
    };
    let error =
        said(world.puller().perform(&job, watch), &["interrupted", "1048576 of 3145728 bytes are kept"]);
    assert!(matches!(error, Error::Interrupted(_)));
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(fs::metadata(world.partial(FILE, &model)).unwrap().len(), 1 << 20);
    world.interrupted.store(false, Ordering::Relaxed);
    assert_eq!(fs::read(world.pull("u/r").unwrap()).unwrap(), model);
}

#[test]
fn two_pulls_of_one_file_fetch_it_once() {
    let world = World::new();
    let model = content(LARGE);
    world.hub.add(REPO, FILE, &model);
    world.hub.fail(&resolve(REPO, FILE), [Fault::Stall(1 << 20, Duration::from_millis(300))]);
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..3).map(|_| scope.spawn(|| world.pull("u/r").unwrap())).collect();
        for pull in pulls {
            assert_eq!(fs::read(pull.join().unwrap()).unwrap(), model);
        }
    });
    let whole =
        world.hub.seen_at(&resolve(REPO, FILE)).iter().filter(|s| s.header("range").is_none()).count();
    assert_eq!(whole, 1);
}

#[test]
fn hostile_names_never_reach_the_disk() {
    let world = World::new();
    for name in ["../../../evil-Q8_0.gguf", "/evil-Q8_0.gguf", "a/../../evil-Q8_0.gguf", "c:\\evil-Q8_0.gguf"]
    {
        world.hub.add(REPO, name, b"x");
    }
    said(world.pull("u/r"), &["neither GGUF files nor"]);
    world.hub.add_plain("/api/models/u/bad/revision/main", b"{\"sha\": 7}");
    said(world.pull("u/bad"), &["listing of u/bad", "JSON"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_said() {
    let world = World::new();
    world.hub.add_plain("/a.gguf", &content(1000));
    let url = Url::parse(&format!("{}/a.gguf", world.hub.url)).unwrap();
    let target = ingle_store::fetch::Target {
        name: "a.gguf",
        url: &url,
        pass: Pass::None,
        size: Some(1000),
        digest: None,
        partial: Path::new("/dev/full"),
        tag_file: None,
    };
    let retry = Retry::default();
    let error = said(
        ingle_store::fetch::fetch(&world.client, &target, &retry, &Parts::default(), &mut |_| {}),
        &["/dev/full", "disk is full", "1000"],
    );
    assert!(matches!(error, Error::DiskFull { .. }));
}

#[test]
fn a_cache_that_is_no_folder_is_said() {
    let world = World::new();
    world.hub.add(REPO, FILE, &content(10));
    fs::write(world.dir.join("hub"), "x").unwrap();
    let error = said(world.pull("u/r"), &["models--u--r"]);
    assert!(matches!(error, Error::Io { .. }));
}

#[test]
fn a_file_from_an_address_is_continued_only_while_it_is_the_same() {
    let world = World::new();
    let (old, new) = (content(LARGE), vec![9; LARGE]);
    world.hub.add_plain("/a.gguf", &old);
    // It breaks for good, comes back the same, and goes on.
    let broken = || vec![Fault::Drop(1 << 20), Fault::Status(418, None)];
    world.hub.fail("/a.gguf", broken());
    said(world.pull_url("/a.gguf", None), &["418"]);
    assert_eq!(fs::read(world.pull_url("/a.gguf", None).unwrap()).unwrap(), old);
    let last = world.hub.seen_at("/a.gguf").pop().unwrap();
    assert_eq!(last.header("range"), Some("bytes=1048576-"));
    assert_eq!(last.header("if-range"), Some(format!("\"{}\"", sha256(&old)).as_str()));
    // It breaks, comes back as another file, and is fetched whole.
    fs::remove_file(world.dir.join("plain.gguf")).unwrap();
    world.hub.fail("/a.gguf", broken());
    said(world.pull_url("/a.gguf", None), &["418"]);
    world.hub.add_plain("/a.gguf", &new);
    assert_eq!(fs::read(world.pull_url("/a.gguf", None).unwrap()).unwrap(), new);
    let left: Vec<_> = fs::read_dir(&world.dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|n| n.to_string_lossy().ends_with(".incomplete")), "{left:?}");
}

#[test]
fn a_weak_tag_does_not_join_parts() {
    let world = World::new();
    let model = content(LARGE);
    world.hub.add_plain("/a.gguf", &model);
    world.hub.fail("/a.gguf", [Fault::Tag("W/\"x\""), Fault::Tag("W/\"x\"")]);
    assert_eq!(fs::read(world.pull_url("/a.gguf", None).unwrap()).unwrap(), model);
    fs::write(world.dir.join("plain.gguf.incomplete"), b"something").unwrap();
    assert_eq!(fs::read(world.pull_url("/a.gguf", None).unwrap()).unwrap(), model);
    assert_eq!(world.hub.seen_at("/a.gguf")[1].header("range"), None);
}

#[test]
fn an_address_may_come_with_its_hash() {
    let world = World::new();
    let model = content(1000);
    world.hub.add_plain("/a.gguf", &model);
    world.pull_url("/a.gguf", Some(&sha256(&model))).unwrap();
    said(world.pull_url("/a.gguf", Some(&sha256(b"other"))), &["a.gguf", "sha256", &sha256(&model)]);
    said(world.pull_url("/missing.gguf", None), &["missing.gguf", "no such file"]);
}

#[test]
fn models_are_found_by_every_name_they_have() {
    let world = World::new();
    let library = Library::new(world.cache.clone(), &world.dir.join("data"));
    let short = "Qwen/Qwen3-0.6B-GGUF";
    world.hub.add(short, "Qwen3-0.6B-Q8_0.gguf", &content(1000));
    world.hub.add(REPO, "m-Q4_0.gguf", &content(10));
    assert!(matches!(library.find("qwen3:0.6b").unwrap(), Meaning::Absent(_)));
    assert!(matches!(library.find("what?").unwrap(), Meaning::Unknown));
    let path = world.pull(short).unwrap();
    world.pull(REPO).unwrap();
    let own = world.dir.join("own.gguf");
    fs::write(&own, "x").unwrap();
    library
        .names
        .edit(|names| {
            names.insert("mine".into(), Named::Path(own.clone()));
            names.insert("small".into(), Named::Hub("u/r:Q4_0".into()));
            Ok(())
        })
        .unwrap();
    for name in ["qwen3", "qwen3:0.6b", short, "hf.co/Qwen/Qwen3-0.6B-GGUF:Q8_0", "qwen3:0.6b:q8_0"] {
        assert!(matches!(library.find(name).unwrap(), Meaning::Here(p) if p == path), "{name}");
    }
    assert!(matches!(library.find("mine").unwrap(), Meaning::Here(p) if p == own));
    assert!(matches!(library.find("small").unwrap(), Meaning::Here(_)));
    assert!(matches!(library.find("u/r:Q8_0").unwrap(), Meaning::Absent(_)));
    let names: Vec<_> = library.list().unwrap().into_iter().map(|m| m.name).collect();
    assert_eq!(names, ["mine", "qwen3:0.6b", "small", "u/r:Q4_0"]);
    fs::remove_file(&own).unwrap();
    said(library.find("mine"), &["mine", "own.gguf", "gone"]);
}

#[test]
fn removal_spares_what_other_names_use() {
    let world = World::new();
    let (shared, alone) = (content(1000), content(500));
    world.hub.add(REPO, "m-Q4_0.gguf", &shared);
    world.hub.add(REPO, "m-copy-Q4_1.gguf", &shared);
    world.hub.add(REPO, FILE, &alone);
    for quant in ["Q4_0", "Q4_1", "Q8_0"] {
        world.pull(&format!("u/r:{quant}")).unwrap();
    }
    let repo = hub_ref("u/r").repo;
    let rm = |files: &[&str]| {
        let plan = remove::plan(&remove::entries(&world.cache, &repo, |_, f| files.contains(&f)));
        remove::perform(&world.cache, &repo, &plan).unwrap();
        plan
    };
    assert_eq!(rm(&["m-Q4_0.gguf"]).bytes_freed, 0);
    assert!(world.blob("x.gguf", &shared).exists());
    assert_eq!(rm(&["m-copy-Q4_1.gguf"]).bytes_freed, 1000);
    assert!(!world.blob("x.gguf", &shared).exists());
    assert!(world.blob(FILE, &alone).exists());
    assert!(rm(&[FILE]).is_all);
    assert!(!world.dir.join("hub/models--u--r").exists());
    assert!(world.cache.list().is_empty());
}
