//! What the hub says a repository holds: files with sizes and hashes, at one commit.
//!
//! One request (`/api/models/USER/REPO/revision/REVISION?blobs=true`) tells all there is to know before anything is
//! fetched. It comes from outside: hashes must be hashes, and a path that could leave its folder drops out.

use ingle_net::Url;
use ingle_net::url::encode_path;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::reference::{HubRef, Repo};

/// Bytes of listing that are read at most.
pub const LISTING_BYTES_MAX: u64 = 32 << 20;

/// A repository at one commit.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Whose and which.
    pub repo: Repo,
    /// The commit, 40 hex digits.
    pub commit: String,
    /// Its files whose paths are safe, as the hub orders them.
    pub files: Vec<RemoteFile>,
    /// The owner's terms, as the hub's tags say.
    pub license: Option<String>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Relative to the repository, pieces joined by `/`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// What its content hashes to.
    pub digest: Digest,
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    size: u64,
    sha256: String,
}

/// Where the listing of `hub` is found.
pub fn address(endpoint: &Url, hub: &HubRef) -> Result<Url> {
    // A revision is one piece of the path, whatever slashes are in it.
    let revision = encode_path(&hub.revision).replace('/', "%2F");
    let path = format!("api/models/{}/revision/{revision}?blobs=true", hub.repo);
    under(endpoint, &path)
}

/// Where a file of a listing is found.
pub fn file_address(endpoint: &Url, listing: &Listing, file: &RemoteFile) -> Result<Url> {
    under(endpoint, &format!("{}/resolve/{}/{}", listing.repo, listing.commit, encode_path(&file.path)))
}

/// `path` below the endpoint, which may itself have a path (a mirror in a subfolder).
fn under(endpoint: &Url, path: &str) -> Result<Url> {
    let text = format!("{}/{path}", endpoint.to_string().trim_end_matches('/'));
    Url::parse(&text).map_err(|expected| Error::Reference { found: text, expected: expected.to_owned() })
}

/// Reads the hub's answer.
///
/// # Errors
/// [`Error::Mismatch`] when it is no listing.
pub fn parse(hub: &HubRef, bytes: &[u8]) -> Result<Listing> {
    let wrong = |part: &str, found: String, expected: &str| Error::Mismatch {
        file: format!("the hub's listing of {}", hub.repo),
        part: part.to_owned(),
        found,
        expected: expected.to_owned(),
    };
    let answer: Answer = serde_json::from_slice(bytes)
        .map_err(|e| wrong("JSON", e.to_string(), "an object with sha and siblings"))?;
    if !is_commit(&answer.sha) {
        return Err(wrong("sha", format!("{:?}", answer.sha), "40 hex digits"));
    }
    if is_commit(&hub.revision) && hub.revision != answer.sha {
        return Err(wrong("sha", answer.sha, &format!("the commit that was asked for, {}", hub.revision)));
    }
    let mut files = Vec::new();
    for sibling in answer.siblings.into_iter().filter(|s| is_safe_path(&s.rfilename)) {
        let path = sibling.rfilename;
        let (digest, size) = match (sibling.lfs, sibling.blob_id, sibling.size) {
            (Some(lfs), _, _) => (Digest::sha256(&lfs.sha256), lfs.size),
            (None, Some(id), Some(size)) => (Digest::git_blob(&id), size),
            _ => (None, 0),
        };
        let digest = digest.ok_or_else(|| wrong(&path, "no usable size and hash".into(), "both"))?;
        files.push(RemoteFile { path, size, digest });
    }
    let license = answer.tags.iter().find_map(|t| t.strip_prefix("license:")).map(str::to_owned);
    Ok(Listing { repo: hub.repo.clone(), commit: answer.sha, files, license })
}

/// A git commit: 40 hex digits, in lower case.
pub fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A relative path that stays where it is put, on every system: no empty, `.` or `..` pieces, no backslash, colon or control
/// character, nothing absurdly long.
pub fn is_safe_path(path: &str) -> bool {
    let is_safe_piece = |piece: &str| !["", ".", ".."].contains(&piece) && piece.len() <= 255;
    path.len() <= 1024
        && path.split('/').all(is_safe_piece)
        && !path.contains(|c: char| c.is_control() || "\\:".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Reference;

    fn hub() -> HubRef {
        match Reference::parse("u/r").unwrap().unwrap() {
            Reference::Hub(hub) => hub,
            _ => unreachable!("it is a hub reference"),
        }
    }

    #[test]
    fn paths_that_leave_their_folder_are_refused() {
        for path in ["a.gguf", "a/b.gguf", "..a", "a b"] {
            assert!(is_safe_path(path), "{path}");
        }
        let long = "a".repeat(300);
        for path in
            ["", "/a", "a/", "../a", "a/../b", "a//b", "./a", "C:\\a", "a:b", "a\\b", "a\0", "a\nb", &long]
        {
            assert!(!is_safe_path(path), "{path:?}");
        }
    }

    #[test]
    fn listings_keep_safe_files_with_their_hashes() {
        let sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        let json = format!(
            r#"{{"sha": "{git}", "tags": ["gguf", "license:mit"], "gated": false, "siblings": [
                {{"rfilename": "../../etc/passwd", "size": 1, "blobId": "{git}"}},
                {{"rfilename": "config.json", "size": 6, "blobId": "{git}"}},
                {{"rfilename": "a.gguf", "size": 3, "blobId": "x", "lfs": {{"size": 3, "sha256": "{sha}", "pointerSize": 9}}}}
            ]}}"#
        );
        let listing = parse(&hub(), json.as_bytes()).unwrap();
        let paths: Vec<&str> = listing.files.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(paths, ["config.json", "a.gguf"]);
        assert_eq!(listing.files[1].digest.to_string(), sha);
        assert_eq!(listing.license.as_deref(), Some("mit"));
        let pinned = HubRef { revision: "f".repeat(40), ..hub() };
        let said = parse(&pinned, json.as_bytes()).unwrap_err().to_string();
        assert!(said.contains(&format!("{git}, expected the commit that was asked for")), "{said}");
        for (bad, part) in [
            ("[]", "JSON"),
            (r#"{"sha": "../x"}"#, "sha"),
            (&json.replace("\"blobId\": \"ce", "\"blobId\": \"../ce"), "config.json"),
            (&json.replace(sha, "../x"), "a.gguf"),
        ] {
            let said = parse(&hub(), bad.as_bytes()).unwrap_err().to_string();
            assert!(said.contains(part) && said.contains("u/r"), "{said}");
        }
    }

    #[test]
    fn addresses_keep_the_endpoints_path_and_encode_names() {
        let endpoint = Url::parse("http://mirror:8080/hub/").unwrap();
        let at = address(&endpoint, &hub()).unwrap().to_string();
        assert_eq!(at, "http://mirror:8080/hub/api/models/u/r/revision/main?blobs=true");
        let pull_request = HubRef { revision: "refs/pr/1".into(), ..hub() };
        let at = address(&endpoint, &pull_request).unwrap().to_string();
        assert!(at.ends_with("/revision/refs%2Fpr%2F1?blobs=true"), "{at}");
    }
}
