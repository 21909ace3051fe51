//! What a registry sends: a manifest, the challenge for a pass, and an archive. Whatever comes, paths stay in their folder, sizes
//! add up, and an archive gives no more bytes than it has.
//!
//! An input is a challenge up to the first line's end; behind it a manifest, or an archive where it does not begin with `{`.
// libFuzzer: -max_len=4096
#![no_main]

use std::io::{self, Read};
use std::path::{Component, Path};

use ingle_fuzz::assert_sentence;
use ingle_net::Url;
use ingle_store::registry::image::ImageRef;
use ingle_store::registry::manifest::{Answer, entry, parse};
use ingle_store::registry::{pass, tar};
use libfuzzer_sys::fuzz_target;

fn assert_stays(path: &str) {
    assert!(Path::new(path).components().all(|piece| matches!(piece, Component::Normal(_))), "{path:?}");
}

fn manifest(bytes: &[u8]) {
    let image = match parse("a/b", bytes) {
        Ok(Answer::Image(image)) => image,
        Ok(Answer::Index(_)) => return,
        Err(error) => return assert_sentence::<String>(Err(error.to_string())),
    };
    assert!(image.layers.iter().try_fold(0u64, |sum, layer| sum.checked_add(layer.size)).is_some());
    let paths: Vec<&str> = image.layers.iter().filter_map(|layer| layer.path.as_deref()).collect();
    paths.iter().for_each(|path| assert_stays(path));
    if let Ok(Some(first)) = entry(&paths) {
        assert!(first < paths.len());
    }
}

fn archive(bytes: &[u8]) {
    let mut n_read = 0;
    let read = tar::read(&mut &bytes[..], &mut |path, _, content| {
        assert_stays(path);
        n_read += io::copy(&mut content.take(1 << 20), &mut io::sink())?;
        Ok(())
    });
    assert!(n_read <= bytes.len() as u64);
    assert_sentence(read.map_err(|error| error.to_string()));
}

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    let (line, rest) = (String::from_utf8_lossy(&input[..end]), input.get(end + 1..).unwrap_or_default());
    if let Some(challenge) = pass::parse(&line)
        && let Ok(url) = Url::parse(&challenge.realm)
    {
        assert!(url.target.starts_with('/'));
    }
    if let Ok(Some(image)) = ImageRef::parse(&line) {
        assert_stays(&image.path());
        assert_eq!(ImageRef::parse(&image.to_string()).expect("it was one"), Some(image));
    }
    if rest.first() == Some(&b'{') { manifest(rest) } else { archive(rest) }
});
