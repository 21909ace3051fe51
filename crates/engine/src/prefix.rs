//! The beginnings of sequences: a tree of blocks of tokens, each with what the model made of it, within a budget of bytes.
//!
//! A node is [`BLOCK`] tokens behind those of its parent, found by comparing the tokens themselves. It has a value, what was
//! kept of the block, and may have a state, what stood behind it; each has a size, of which the tree keeps the sum. When that is over
//! the budget, what was unused for longest goes: a node that has no children, or a state. So a node never outlives its
//! parent, and of a beginning that does not fit the tree keeps the first part.
//!
//! Using a path uses all its nodes. A state is used by itself: of the many that a growing chat leaves on one path, the earlier
//! ones go first.

use std::collections::{BTreeMap, BTreeSet};

use ingle_model::kv::BLOCK;

/// The tokens of a block.
pub type Tokens = [u32; BLOCK];

/// Bytes counted for a node itself.
const NODE_BYTES: u64 = 1024;
/// The parent of those at the beginning.
const NONE: usize = usize::MAX;

/// A tree with values `V` and states `S`.
#[derive(Debug)]
pub struct Tree<V, S> {
    /// `None` where a node was.
    nodes: Vec<Option<Node<V, S>>>,
    free: Vec<usize>,
    children: BTreeMap<(usize, Tokens), usize>,
    /// What may go, by when it was used last.
    order: BTreeSet<(u64, Part, usize)>,
    budget: u64,
    n_bytes: u64,
    n_evicted: u64,
    /// Uses so far.
    clock: u64,
}

#[derive(Debug)]
struct Node<V, S> {
    parent: usize,
    tokens: Tokens,
    n_children: usize,
    used: u64,
    value: V,
    value_bytes: u64,
    state: Option<Kept<S>>,
}

#[derive(Debug)]
struct Kept<S> {
    state: S,
    n_bytes: u64,
    used: u64,
}

/// What may go of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// Its state.
    State,
    /// All of it, as it has no children.
    Leaf,
}

impl<V, S> Tree<V, S> {
    /// An empty one that keeps up to `budget` bytes.
    pub fn new(budget: u64) -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            children: BTreeMap::new(),
            order: BTreeSet::new(),
            budget,
            n_bytes: 0,
            n_evicted: 0,
            clock: 0,
        }
    }

    /// Bytes it may keep.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// Bytes it keeps.
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// Blocks it keeps.
    pub fn n_blocks(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Blocks and states that went since it was made.
    pub fn n_evicted(&self) -> u64 {
        self.n_evicted
    }

    /// The nodes of the whole blocks that `tokens` begin with, as far as they are there, and uses them. They are valid until something
    /// is added.
    pub fn path(&mut self, tokens: &[u32]) -> Vec<usize> {
        self.clock += 1;
        let path = self.look(tokens);
        path.iter().for_each(|&i| self.touch(i));
        path
    }

    /// The same nodes, without using them.
    pub fn look(&self, tokens: &[u32]) -> Vec<usize> {
        let (mut path, mut parent) = (Vec::new(), NONE);
        for block in tokens.as_chunks::<BLOCK>().0 {
            let Some(&i) = self.children.get(&(parent, *block)) else { break };
            path.push(i);
            parent = i;
        }
        path
    }

    /// The node behind `parent`, or at the beginning, whose tokens begin most like `tokens`, and how many are the same.
    pub fn nearest(&self, parent: Option<usize>, tokens: &[u32]) -> Option<(usize, usize)> {
        let mut key = (parent.unwrap_or(NONE), [0; BLOCK]);
        key.1.iter_mut().zip(tokens).for_each(|(key, token)| *key = *token);
        // Tokens with the same beginning lie side by side.
        let beside = [self.children.range(..=key).next_back(), self.children.range(key..).next()];
        let of_parent = beside.into_iter().flatten().filter(|((of, _), _)| *of == key.0);
        let same = |there: &Tokens| there.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        of_parent.map(|((_, there), &i)| (i, same(there))).max_by_key(|(_, n)| *n).filter(|(_, n)| *n > 0)
    }

    /// The value of a node.
    pub fn value(&self, i: usize) -> &V {
        &self.node(i).value
    }

    /// The state of a node, if it has one.
    pub fn state(&self, i: usize) -> Option<&S> {
        self.node(i).state.as_ref().map(|kept| &kept.state)
    }

    /// The same, and uses it.
    pub fn use_state(&mut self, i: usize) -> Option<&S> {
        let clock = self.clock;
        let kept = node_mut(&mut self.nodes, i).state.as_mut()?;
        self.order.remove(&(kept.used, Part::State, i));
        kept.used = clock;
        self.order.insert((clock, Part::State, i));
        Some(&kept.state)
    }

    /// Adds a block of `n_bytes` behind `parent`, or at the beginning; `None` when it is too large to be kept.
    pub fn add(&mut self, parent: Option<usize>, tokens: &Tokens, value: V, n_bytes: u64) -> Option<usize> {
        let parent = parent.unwrap_or(NONE);
        assert!(!self.children.contains_key(&(parent, *tokens)), "a block is added once");
        let (tokens, used) = (*tokens, self.clock);
        let node = Node {
            parent,
            tokens,
            n_children: 0,
            used,
            value,
            value_bytes: n_bytes + NODE_BYTES,
            state: None,
        };
        self.n_bytes += node.value_bytes;
        let i = self.free.pop().unwrap_or(self.nodes.len());
        if i == self.nodes.len() {
            self.nodes.push(None);
        }
        self.nodes[i] = Some(node);
        self.children.insert((parent, tokens), i);
        self.order.insert((used, Part::Leaf, i));
        if parent != NONE {
            let node = node_mut(&mut self.nodes, parent);
            node.n_children += 1;
            self.order.remove(&(node.used, Part::Leaf, parent));
        }
        self.evict();
        self.nodes[i].is_some().then_some(i)
    }

    /// Replaces the value of a node by one of `n_bytes`. Whether the node is still there.
    pub fn set_value(&mut self, i: usize, value: V, n_bytes: u64) -> bool {
        let node = node_mut(&mut self.nodes, i);
        self.n_bytes = self.n_bytes - node.value_bytes + n_bytes + NODE_BYTES;
        (node.value, node.value_bytes) = (value, n_bytes + NODE_BYTES);
        self.evict();
        self.nodes[i].is_some()
    }

    /// Keeps `state` behind a node, if it fits.
    pub fn set_state(&mut self, i: usize, state: S, n_bytes: u64) {
        self.drop_state(i);
        let used = self.clock;
        node_mut(&mut self.nodes, i).state = Some(Kept { state, n_bytes, used });
        self.n_bytes += n_bytes;
        self.order.insert((used, Part::State, i));
        self.evict();
    }

    /// Lets the unused go until what is left is within the budget.
    fn evict(&mut self) {
        while self.n_bytes > self.budget {
            let Some((_, part, i)) = self.order.pop_first() else { return };
            self.n_evicted += 1;
            self.drop_state(i);
            if part == Part::Leaf {
                self.remove(i);
            }
        }
    }

    fn drop_state(&mut self, i: usize) {
        if let Some(kept) = node_mut(&mut self.nodes, i).state.take() {
            self.n_bytes -= kept.n_bytes;
            self.order.remove(&(kept.used, Part::State, i));
        }
    }

    /// Removes a node without children and without a state.
    fn remove(&mut self, i: usize) {
        let node = self.nodes[i].take().expect("a node that is there");
        self.n_bytes -= node.value_bytes;
        self.children.remove(&(node.parent, node.tokens));
        self.free.push(i);
        if node.parent != NONE {
            let parent = node_mut(&mut self.nodes, node.parent);
            parent.n_children -= 1;
            if parent.n_children == 0 {
                self.order.insert((parent.used, Part::Leaf, node.parent));
            }
        }
    }

    fn touch(&mut self, i: usize) {
        let clock = self.clock;
        let node = node_mut(&mut self.nodes, i);
        if node.n_children == 0 {
            self.order.remove(&(node.used, Part::Leaf, i));
            self.order.insert((clock, Part::Leaf, i));
        }
        node.used = clock;
    }

    fn node(&self, i: usize) -> &Node<V, S> {
        self.nodes[i].as_ref().expect("a node of the last path")
    }
}

fn node_mut<V, S>(nodes: &mut [Option<Node<V, S>>], i: usize) -> &mut Node<V, S> {
    nodes[i].as_mut().expect("a node of the last path")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of the same tokens each.
    fn tokens(blocks: &[u32]) -> Vec<u32> {
        blocks.iter().flat_map(|&b| [b; BLOCK]).collect()
    }

    /// Adds what is missing of a path, values named by their last block, each of `bytes`.
    fn add(tree: &mut Tree<u32, u32>, blocks: &[u32], bytes: u64) -> usize {
        let path = tree.path(&tokens(blocks));
        let mut parent = path.last().copied();
        for &b in &blocks[path.len()..] {
            let Some(i) = tree.add(parent, &[b; BLOCK], b, bytes) else { break };
            parent = Some(i);
        }
        tree.path(&tokens(blocks)).len()
    }

    const ROOM: u64 = 100;
    const EACH: u64 = ROOM + NODE_BYTES;

    #[test]
    fn a_path_is_as_long_as_the_tokens_are_the_same() {
        let mut tree: Tree<u32, u32> = Tree::new(10 * EACH);
        assert_eq!(add(&mut tree, &[1, 2, 3], ROOM), 3);
        assert_eq!(add(&mut tree, &[1, 2, 4], ROOM), 3);
        assert_eq!((tree.n_blocks(), tree.n_bytes()), (4, 4 * EACH));
        let path = tree.path(&tokens(&[1, 2, 4, 9]));
        let values: Vec<u32> = path.iter().map(|&i| *tree.value(i)).collect();
        assert_eq!(values, [1, 2, 4]);
        assert!(tree.path(&tokens(&[2])).is_empty(), "a block is known by what comes before it");
        let mut almost = tokens(&[1, 2]);
        almost[BLOCK + 7] = 0;
        assert_eq!(tree.path(&almost).len(), 1);
        assert_eq!(tree.path(&tokens(&[1, 2])[..2 * BLOCK - 1]).len(), 1, "whole blocks only");
    }

    #[test]
    fn the_nearest_block_begins_the_same_for_longest() {
        let mut tree: Tree<u32, u32> = Tree::new(100 * EACH);
        let parent = add(&mut tree, &[1], ROOM);
        assert_eq!(parent, 1);
        let parent = tree.path(&tokens(&[1]))[0];
        let block = |n: usize, then: u32| -> Tokens { std::array::from_fn(|i| if i < n { 5 } else { then }) };
        for (n, then) in [(3, 9), (10, 2), (10, 7), (40, 1), (0, 0), (0, 8)] {
            tree.add(Some(parent), &block(n, then), n as u32, ROOM);
        }
        let nearest = |tokens: &[u32]| tree.nearest(Some(parent), tokens).map(|(i, n)| (*tree.value(i), n));
        assert_eq!(nearest(&block(20, 6)), Some((40, 20)));
        assert_eq!(nearest(&block(20, 6)[..15]), Some((40, 15)));
        assert_eq!(nearest(&block(4, 9)[..5]).map(|(_, n)| n), Some(4));
        assert_eq!(nearest(&block(10, 7)[..30]), Some((10, 30)));
        assert_eq!(nearest(&[77]), None);
        assert_eq!(nearest(&[]), None);
        assert_eq!(tree.nearest(None, &block(0, 1)).map(|(_, n)| n), Some(64));
    }

    #[test]
    fn the_unused_go_first_and_children_before_parents() {
        let mut tree = Tree::new(4 * EACH);
        add(&mut tree, &[1, 2], ROOM);
        add(&mut tree, &[1, 3], ROOM);
        add(&mut tree, &[4], ROOM);
        tree.path(&tokens(&[1, 2]));
        add(&mut tree, &[5], ROOM);
        assert_eq!(tree.path(&tokens(&[1, 3])).len(), 1);
        assert_eq!(tree.path(&tokens(&[1, 2])).len(), 2);
        assert_eq!((tree.n_evicted(), tree.n_blocks()), (1, 4));
        add(&mut tree, &[6, 7, 8], ROOM);
        assert_eq!(tree.path(&tokens(&[4])).len(), 0);
        assert_eq!(tree.path(&tokens(&[1, 2])).len(), 1, "used before the new, so its end went");
    }

    #[test]
    fn of_what_does_not_fit_the_beginning_stays() {
        let mut tree = Tree::new(3 * EACH);
        assert_eq!(add(&mut tree, &[1, 2, 3, 4, 5], ROOM), 3);
        assert_eq!(add(&mut tree, &[1, 2, 3, 4, 5], ROOM), 3);
        assert_eq!(add(&mut tree, &[1, 2, 6], ROOM), 3);
        let mut none: Tree<u32, u32> = Tree::new(0);
        assert_eq!(add(&mut none, &[1], ROOM), 0);
        assert_eq!((none.n_blocks(), none.n_bytes()), (0, 0));
    }

    #[test]
    fn states_count_and_the_earlier_go_first() {
        let mut tree = Tree::new(3 * EACH + 2 * ROOM);
        add(&mut tree, &[1, 2, 3], ROOM);
        for n in 1..=3 {
            let path = tree.path(&tokens(&[1, 2, 3][..n]));
            tree.set_state(path[n - 1], n as u32, ROOM);
        }
        let path = tree.path(&tokens(&[1, 2, 3]));
        let states: Vec<Option<u32>> = path.iter().map(|&i| tree.state(i).copied()).collect();
        assert_eq!(states, [None, Some(2), Some(3)]);
        tree.use_state(path[1]);
        tree.path(&[]);
        tree.set_state(path[0], 1, ROOM);
        let states: Vec<Option<u32>> = path.iter().map(|&i| tree.state(i).copied()).collect();
        assert_eq!(states, [Some(1), Some(2), None], "the one unused for longest went");
        assert_eq!(tree.n_bytes(), 3 * EACH + 2 * ROOM);
    }

    #[test]
    fn whatever_is_done_sums_and_parents_are_right() {
        let mut random = 7_u64;
        let mut next = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % n
        };
        let mut tree = Tree::new(20 * EACH);
        for _ in 0..3000 {
            let blocks: Vec<u32> = (0..=next(5)).map(|_| next(3) as u32).collect();
            let size = next(3 * ROOM);
            let held = add(&mut tree, &blocks, size);
            let path = tree.path(&tokens(&blocks));
            assert_eq!(path.len(), held);
            if let Some(&last) = path.last() {
                match next(3) {
                    0 => tree.set_state(last, 0, next(9 * ROOM)),
                    1 => _ = tree.set_value(last, *tree.value(last), next(9 * ROOM)),
                    _ => _ = tree.use_state(last),
                }
            }
            let nodes = || tree.nodes.iter().enumerate().filter_map(|(i, node)| Some((i, node.as_ref()?)));
            let sizes = nodes().map(|(_, n)| n.value_bytes + n.state.as_ref().map_or(0, |kept| kept.n_bytes));
            assert_eq!(sizes.sum::<u64>(), tree.n_bytes());
            assert!(tree.n_bytes() <= tree.budget());
            assert_eq!((nodes().count(), tree.children.len()), (tree.n_blocks(), tree.n_blocks()));
            for (i, node) in nodes() {
                assert_eq!(nodes().filter(|(_, child)| child.parent == i).count(), node.n_children);
                let may_go = tree.order.contains(&(node.used, Part::Leaf, i));
                assert_eq!(may_go, node.n_children == 0);
                assert!(node.parent == NONE || tree.nodes[node.parent].is_some());
            }
        }
        assert!(tree.n_evicted() > 100);
    }
}
