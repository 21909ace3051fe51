//! An answer of the hub: a head, judged as one to a request for the rest of a file, a redirect, followed, and a body, read as
//! a listing, whose files are chosen and planned. Whatever comes, paths stay in their folder and plans add up.
//!
//! An input is what a server writes: a line with the status, one for each header, an empty one, and the body. A header's
//! name is all that stands before the first colon.
// libFuzzer: -max_len=1200
#![no_main]

use std::path::{Component, Path};
use std::sync::LazyLock;

use ingle_fuzz::assert_sentence;
use ingle_net::Url;
use ingle_store::answer::{Head, Verdict, judge};
use ingle_store::choose::{choose, choose_all};
use ingle_store::listing::{self, Listing, RemoteFile};
use ingle_store::plan::{OnDisk, Step, bytes_to_fetch, step};
use ingle_store::reference::{HubRef, Reference, Want};
use libfuzzer_sys::fuzz_target;

static HUB: LazyLock<HubRef> = LazyLock::new(|| match Reference::parse("user/repo").expect("a reference") {
    Some(Reference::Hub(hub)) => hub,
    other => panic!("{other:?}"),
});
static HERE: LazyLock<Url> = LazyLock::new(|| Url::parse("https://hub.example/a/b?c").expect("an address"));

/// What a client makes of the head.
fn head(text: &str) {
    let mut lines = text.lines();
    let status = lines.next().and_then(|line| line.parse().ok()).unwrap_or(200);
    let header = |name: &str| {
        let named = |line: &&str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        Some(text.lines().find(named)?.split_once(':')?.1.trim())
    };
    let head = Head {
        status,
        content_length: header("content-length").and_then(|text| text.parse().ok()),
        content_range: header("content-range"),
        retry_after: header("retry-after"),
    };
    for (from, size) in [(0, None), (0, Some(9)), (4, Some(9)), (4, None), (9, Some(9)), (u64::MAX, None)] {
        match judge(&head, from, size) {
            Verdict::Append { size: whole } => assert!(from < whole && size.is_none_or(|size| size == whole)),
            Verdict::Restart { size: whole } => assert!(size.is_none_or(|size| size == whole)),
            Verdict::Later(Some(wait)) => assert!(wait.as_secs() <= 120),
            Verdict::Wrong(found, expected) => {
                assert_sentence::<String>(Err(format!("{found}, expected {expected}")));
            }
            Verdict::NothingLeft { .. }
            | Verdict::Later(None)
            | Verdict::Denied
            | Verdict::Missing
            | Verdict::Refused => {}
        }
    }
    if let Some(url) = header("location").and_then(|location| HERE.join(location).ok()) {
        let text = url.to_string();
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic()) && url.target.starts_with('/'), "{text}");
        assert!(!url.origin.host.is_empty() && !url.origin.host.contains(['@', '/', '?', '#']), "{text}");
        assert_eq!(Url::parse(&text).as_ref(), Ok(&url), "what is shown is what is asked");
    }
}

/// What is pulled of a listing, into an empty cache and one that has a part of each file.
fn pull(listing: &Listing) {
    assert!(listing::is_commit(&listing.commit));
    for file in &listing.files {
        let stays = |piece: Component<'_>| matches!(piece, Component::Normal(_));
        assert!(Path::new(&file.path).components().all(stays), "{:?}", file.path);
        let url = listing::file_address(&HERE, listing, file).expect("a safe path has an address");
        assert!(url.to_string().starts_with("https://hub.example/"), "{url}");
    }
    let paths: Vec<&str> = listing.files.iter().map(|file| file.path.as_str()).collect();
    for want in [Want::Quant("Q4_0".into()), Want::File("config.json".into()), Want::Default] {
        let choice = match choose(&paths, &want) {
            Ok(choice) => choice,
            Err(said) => {
                assert_sentence(Err(said));
                continue;
            }
        };
        let files: Vec<RemoteFile> = choice.files.iter().map(|&i| listing.files[i].clone()).collect();
        assert!(!files.is_empty());
        if files.iter().try_fold(0u64, |sum, file| sum.checked_add(file.size)).is_none() {
            continue;
        }
        for partial in [None, Some(3)] {
            let disk = OnDisk { partial, ..OnDisk::default() };
            let steps: Vec<Step> = files.iter().map(|file| step(file, disk)).collect();
            let all: u64 = files.iter().map(|file| file.size).sum();
            assert!(bytes_to_fetch(&files, &steps) <= all);
        }
    }
    choose_all(&paths).iter().for_each(|choice| assert!(choice.files.iter().all(|&i| i < paths.len())));
}

fuzz_target!(|input: &[u8]| {
    let end = input.windows(2).position(|two| two == b"\n\n").unwrap_or(input.len());
    head(&String::from_utf8_lossy(&input[..end]));
    let body = input.get(end + 2..).unwrap_or_default();
    match listing::parse(&HUB, body) {
        Ok(listing) => pull(&listing),
        Err(error) => assert_sentence(Err(error)),
    }
});
