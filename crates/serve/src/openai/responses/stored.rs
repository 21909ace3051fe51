//! Responses that were made, and the items of their conversations, so that later ones can go on from them.
//!
//! All of it lies in the server's memory and goes with it. What was made for one key is there for that key alone. Items are shared among the responses of a conversation. Over a limit,
//! of responses or of bytes, the response goes that was not used for longest, and with it the items that no other has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value as Json;

use crate::guard::Caller;

/// What is kept at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Responses.
    pub n_responses: usize,
    /// Bytes of them and their items, as JSON, with what keeping them takes.
    pub bytes: usize,
}

/// A server's limits.
pub const LIMITS: Limits = Limits { n_responses: 1000, bytes: 64 << 20 };

/// What keeping an item or a response takes beside its text: ids, entries of tables.
const OVERHEAD: usize = 256;

/// Something said in a conversation: a message, a thought, a call, or what came of one.
#[derive(Debug)]
pub struct Item {
    /// Its name.
    pub id: String,
    text: String,
}

impl Item {
    /// The item that is `json`, which has an id.
    pub fn new(json: &Json) -> Self {
        Self { id: json["id"].as_str().unwrap_or_default().to_owned(), text: json.to_string() }
    }

    /// As it is told.
    pub fn json(&self) -> Json {
        // It was written from JSON.
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    fn bytes(&self) -> usize {
        self.text.len() + OVERHEAD
    }
}

/// A response that is kept.
#[derive(Debug)]
pub struct Kept {
    /// The response, as JSON.
    pub response: String,
    /// What was said before it.
    pub context: Vec<Arc<Item>>,
    /// What it says.
    pub output: Vec<Arc<Item>>,
}

impl Kept {
    /// The conversation, this response included.
    pub fn items(&self) -> impl Iterator<Item = &Arc<Item>> {
        self.context.iter().chain(&self.output)
    }

    fn bytes(&self) -> usize {
        let n_items = self.context.len() + self.output.len();
        self.response.len() + OVERHEAD + n_items * size_of::<Arc<Item>>()
    }
}

/// All that is kept.
#[derive(Debug)]
pub struct Stored {
    shelf: Mutex<Shelf>,
}

#[derive(Debug)]
struct Shelf {
    limits: Limits,
    responses: HashMap<String, Place>,
    items: HashMap<String, Held>,
    n_bytes: usize,
    /// Counts uses.
    clock: u64,
}

#[derive(Debug)]
struct Place {
    owner: Caller,
    kept: Arc<Kept>,
    used_at: u64,
}

#[derive(Debug)]
struct Held {
    owner: Caller,
    item: Arc<Item>,
    /// Responses that have it, each as often as it has it.
    n_holders: usize,
}

impl Stored {
    /// Nothing yet.
    pub fn new(limits: Limits) -> Self {
        let (responses, items) = (HashMap::new(), HashMap::new());
        Self { shelf: Mutex::new(Shelf { limits, responses, items, n_bytes: 0, clock: 0 }) }
    }

    /// Keeps a response, for its owner alone. What has no room goes, which may be itself.
    pub fn keep(&self, owner: Caller, id: &str, kept: Kept) {
        let mut shelf = self.shelf();
        shelf.clock += 1;
        shelf.n_bytes += kept.bytes();
        for item in kept.items() {
            shelf.hold(owner, item);
        }
        let place = Place { owner, kept: Arc::new(kept), used_at: shelf.clock };
        shelf.responses.insert(id.to_owned(), place);
        while shelf.n_bytes > shelf.limits.bytes || shelf.responses.len() > shelf.limits.n_responses {
            let oldest = shelf.responses.iter().min_by_key(|(_, place)| place.used_at);
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else { break };
            shelf.remove(&oldest);
        }
    }

    /// A response of `owner`'s, which is used now.
    pub fn get(&self, owner: Caller, id: &str) -> Option<Arc<Kept>> {
        let mut shelf = self.shelf();
        shelf.clock += 1;
        let now = shelf.clock;
        let place = shelf.responses.get_mut(id).filter(|place| place.owner == owner)?;
        place.used_at = now;
        Some(place.kept.clone())
    }

    /// Forgets a response of `owner`'s; whether it was there.
    pub fn remove(&self, owner: Caller, id: &str) -> bool {
        let mut shelf = self.shelf();
        shelf.responses.get(id).is_some_and(|place| place.owner == owner) && shelf.remove(id)
    }

    /// An item of a response of `owner`'s.
    pub fn item(&self, owner: Caller, id: &str) -> Option<Arc<Item>> {
        let shelf = self.shelf();
        shelf.items.get(id).filter(|held| held.owner == owner).map(|held| held.item.clone())
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn hold(&mut self, owner: Caller, item: &Arc<Item>) {
        if let Some(held) = self.items.get_mut(&item.id) {
            held.n_holders += 1;
            return;
        }
        self.n_bytes += item.bytes();
        self.items.insert(item.id.clone(), Held { owner, item: item.clone(), n_holders: 1 });
    }

    fn let_go(&mut self, item: &Item) {
        let Some(held) = self.items.get_mut(&item.id) else { return };
        held.n_holders -= 1;
        if held.n_holders == 0 {
            self.n_bytes -= held.item.bytes();
            self.items.remove(&item.id);
        }
    }

    fn remove(&mut self, id: &str) -> bool {
        let Some(Place { kept, .. }) = self.responses.remove(id) else { return false };
        self.n_bytes -= kept.bytes();
        kept.items().for_each(|item| self.let_go(item));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ME: Caller = Caller(0);

    fn item(id: &str) -> Arc<Item> {
        Arc::new(Item::new(&json!({ "id": id })))
    }

    fn kept(context: &[&Arc<Item>], output: &str) -> Kept {
        let context = context.iter().map(|&item| item.clone()).collect();
        Kept { response: "{}".into(), context, output: vec![item(output)] }
    }

    #[test]
    fn the_response_goes_that_was_not_used_for_longest() {
        let stored = Stored::new(Limits { n_responses: 2, bytes: 1 << 20 });
        for id in ["a", "b"] {
            stored.keep(ME, id, kept(&[], &format!("of {id}")));
        }
        assert!(stored.get(ME, "a").is_some());
        stored.keep(ME, "c", kept(&[], "of c"));
        assert!(stored.get(ME, "b").is_none() && stored.item(ME, "of b").is_none());
        assert!(
            stored.get(ME, "a").is_some()
                && stored.get(ME, "c").is_some()
                && stored.item(ME, "of a").is_some()
        );
    }

    #[test]
    fn what_is_kept_is_its_owners() {
        let stored = Stored::new(LIMITS);
        stored.keep(ME, "a", kept(&[], "x"));
        let other = Caller(1);
        assert!(stored.get(other, "a").is_none() && stored.item(other, "x").is_none());
        assert!(!stored.remove(other, "a"));
        assert!(stored.get(ME, "a").is_some() && stored.item(ME, "x").is_some() && stored.remove(ME, "a"));
    }

    #[test]
    fn items_are_counted_once_and_go_with_the_last_response_that_has_them() {
        let stored = Stored::new(LIMITS);
        let shared = item("shared");
        stored.keep(ME, "a", kept(&[&shared], "x"));
        let alone = stored.shelf().n_bytes;
        stored.keep(ME, "b", kept(&[&shared, &shared], "y"));
        let pointer = size_of::<Arc<Item>>();
        assert_eq!(stored.shelf().n_bytes, 2 * alone - shared.bytes() + pointer);
        assert!(stored.remove(ME, "a") && !stored.remove(ME, "a"));
        assert!(stored.item(ME, "x").is_none() && stored.item(ME, "shared").is_some());
        assert!(stored.remove(ME, "b") && stored.item(ME, "shared").is_none());
        assert_eq!(stored.shelf().n_bytes, 0);
    }

    #[test]
    fn bytes_have_a_limit_that_a_single_response_cannot_break() {
        let stored = Stored::new(Limits { n_responses: 10, bytes: 3000 });
        stored.keep(ME, "a", kept(&[], "x"));
        stored.keep(ME, "b", Kept { response: "y".repeat(3000), context: Vec::new(), output: Vec::new() });
        assert!(stored.get(ME, "a").is_none() && stored.get(ME, "b").is_none());
        assert_eq!(stored.shelf().n_bytes, 0);
    }
}
