//! What lanes have been through, kept for other lanes: the tree of [`crate::prefix`] with pages and states in it.
//!
//! A lane's blocks are put into the tree as they fill, so another lane can begin with them while the first one is still at its
//! prompt. Putting a block there copies nothing: lane and tree have the same pages. A lane that made a block which is there already
//! takes the tree's pages for its own, since the bits are the same.

use ingle_model::kv::{BLOCK, Held, Kv, State};

use crate::prefix::Tree;

/// The tree of an engine's lanes.
#[derive(Debug)]
pub(super) struct Prefixes {
    pub tree: Tree<Held, State>,
}

/// What is there of a prompt.
#[derive(Debug)]
pub(super) struct Found {
    /// Nodes of its blocks.
    path: Vec<usize>,
    /// Tokens that a sequence can begin with: whole blocks of the path, or all of it and the beginning of one more.
    len: usize,
    /// The block that has the beginning of what comes behind the path.
    next: Option<usize>,
}

impl Found {
    /// Tokens that a sequence can begin with.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Tokens whose blocks are there, even if a window or a state is not.
    pub fn known(&self) -> usize {
        self.path.len() * BLOCK
    }
}

impl Prefixes {
    /// Room for `budget` bytes.
    pub fn new(budget: u64) -> Self {
        Self { tree: Tree::new(budget) }
    }

    /// Bytes that may be kept.
    pub fn budget(&self) -> u64 {
        self.tree.budget()
    }

    /// What is there of `prompt`, but for its last token, whose logits are always computed. Valid until something is put.
    pub fn find(&mut self, kv: &Kv, prompt: &[u32]) -> Found {
        let prompt = &prompt[..prompt.len().saturating_sub(1)];
        let path = self.tree.path(prompt);
        // A state is one position's, but pages are good for every position in them.
        let next =
            self.tree.nearest(path.last().copied(), &prompt[path.len() * BLOCK..]).filter(|_| !kv.recurs());
        if let Some((i, n_same)) = next {
            let len = path.len() * BLOCK + n_same;
            if kv.suffices(len, path.iter().chain([&i]).rev().map(|&i| self.tree.value(i))) {
                return Found { path, len, next: Some(i) };
            }
        }
        let suffices = |n: usize| {
            let has_state = !kv.recurs() || self.tree.state(path[n - 1]).is_some();
            has_state && kv.suffices(n * BLOCK, path[..n].iter().rev().map(|&i| self.tree.value(i)))
        };
        let n_blocks = (1..=path.len()).rev().find(|&n| suffices(n)).unwrap_or(0);
        Found { path, len: n_blocks * BLOCK, next: None }
    }

    /// Begins the sequence of `kv` with what was found.
    pub fn adopt(&mut self, found: &Found, kv: &mut Kv) {
        let path = &found.path[..found.len / BLOCK];
        let state = path.last().filter(|_| kv.recurs()).and_then(|&i| self.tree.use_state(i).cloned());
        kv.adopt(found.len, path.iter().chain(&found.next).map(|&i| self.tree.value(i)), state.as_ref());
    }

    /// Puts the whole blocks of a sequence of `tokens` there, of which the first `n_put` were put before; how many of them are
    /// there now. The cache may hold guesses behind them.
    pub fn put(&mut self, kv: &mut Kv, tokens: &[u32], n_put: usize) -> usize {
        let blocks = &tokens.as_chunks::<BLOCK>().0[..kv.len().min(tokens.len()) / BLOCK];
        if blocks.len() <= n_put || self.tree.budget() == 0 {
            return n_put.min(blocks.len());
        }
        let path = self.tree.path(blocks.as_flattened());
        for (block, &i) in path.iter().enumerate().skip(n_put) {
            let there = self.tree.value(i);
            if !there.is_whole() {
                let whole = there.with(&kv.held(block));
                let n_bytes = whole.n_bytes();
                kv.share(block, &whole);
                if !self.tree.set_value(i, whole, n_bytes) {
                    return block;
                }
            } else {
                kv.share(block, there);
            }
        }
        let mut parent = path.last().copied();
        for (block, tokens) in blocks.iter().enumerate().skip(path.len()) {
            let held = kv.held(block);
            let n_bytes = held.n_bytes();
            parent = self.tree.add(parent, tokens, held, n_bytes);
            if parent.is_none() {
                return block;
            }
        }
        blocks.len()
    }

    /// Keeps the recurrent state of a sequence that stands behind a whole block.
    pub fn keep_state(&mut self, kv: &Kv, tokens: &[u32]) {
        let path = self.tree.path(&tokens[..kv.len()]);
        let last = path.last().filter(|_| path.len() * BLOCK == kv.len());
        if let (Some(&i), Some(state)) = (last, kv.state()) {
            let n_bytes = state.n_bytes();
            self.tree.set_state(i, state, n_bytes);
        }
    }
}
