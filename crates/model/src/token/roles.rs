//! What the special tokens of a vocabulary are for: begin, end, padding, filling in the middle.
//!
//! A file says it by key (`tokenizer.ggml.KEY_token_id`, or the names in tokenizer_config.json); what it leaves out is known
//! by the names that published vocabularies give such tokens.

use crate::error::Result;

/// What a special token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Role {
    Bos,
    Eos,
    /// End of turn.
    Eot,
    /// End of message, a tool call to follow.
    Eom,
    Unknown,
    Separator,
    Pad,
    Mask,
    /// Fill in the middle: before the text that stands in front of the gap.
    FimPre,
    /// Before the text that stands behind the gap.
    FimSuf,
    /// Before what fills the gap.
    FimMid,
    FimPad,
    /// Before a repository's name.
    FimRep,
    /// Before a file's name.
    FimSep,
}

/// A role's metadata keys (`tokenizer.ggml.KEY_token_id`) and, for files that lack them, the names such tokens have.
struct RoleNames {
    role: Role,
    keys: &'static [&'static str],
    names: &'static [&'static str],
}

const fn role(role: Role, keys: &'static [&'static str], names: &'static [&'static str]) -> RoleNames {
    RoleNames { role, keys, names }
}

static ROLES: [RoleNames; 14] = [
    // BERT calls it the class token.
    role(Role::Bos, &["bos", "cls"], &[]),
    role(Role::Eos, &["eos"], &[]),
    role(
        Role::Eot,
        &["eot"],
        &[
            "<|eot_id|>",
            "<|im_end|>",
            "<|end|>",
            "<end_of_turn>",
            "<turn|>",
            "<|endoftext|>",
            "<|end_of_text|>",
            "<EOT>",
            "_<EOT>",
            "[EOT]",
            "<｜end▁of▁sentence｜>",
            "<end_of_utterance>",
        ],
    ),
    role(Role::Eom, &["eom"], &["<|eom_id|>"]),
    role(Role::Unknown, &["unknown"], &[]),
    // The key is spelt so in the format.
    role(Role::Separator, &["seperator"], &[]),
    role(Role::Pad, &["padding"], &[]),
    role(Role::Mask, &["mask"], &[]),
    role(
        Role::FimPre,
        &["fim_pre", "prefix"],
        &[
            "<|fim_prefix|>",
            "<fim-prefix>",
            "<fim_prefix>",
            "<｜fim▁begin｜>",
            "<PRE>",
            "▁<PRE>",
            "<|code_prefix|>",
            "<|prefix|>",
        ],
    ),
    role(
        Role::FimSuf,
        &["fim_suf", "suffix"],
        &[
            "<|fim_suffix|>",
            "<fim-suffix>",
            "<fim_suffix>",
            "<｜fim▁hole｜>",
            "<SUF>",
            "▁<SUF>",
            "<|code_suffix|>",
            "<|suffix|>",
        ],
    ),
    role(
        Role::FimMid,
        &["fim_mid", "middle"],
        &[
            "<|fim_middle|>",
            "<fim-middle>",
            "<fim_middle>",
            "<｜fim▁end｜>",
            "<MID>",
            "▁<MID>",
            "<|code_middle|>",
            "<|middle|>",
        ],
    ),
    role(Role::FimPad, &["fim_pad"], &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>"]),
    role(
        Role::FimRep,
        &["fim_rep"],
        &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"],
    ),
    role(Role::FimSep, &["fim_sep"], &["<|file_sep|>"]),
];

/// Every role and the metadata key (`tokenizer.ggml.KEY_token_id`) it is written under.
pub fn keys() -> impl Iterator<Item = (Role, &'static str)> {
    ROLES.iter().map(|role| (role.role, role.keys[0]))
}

/// Roles whose tokens end generation.
const ENDING_ROLES: [Role; 6] = [Role::Eos, Role::Eot, Role::Eom, Role::FimPad, Role::FimRep, Role::FimSep];

/// Names of tokens that end generation, whatever else the file says of them.
static ENDING_NAMES: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<turn|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<end_of_utterance>",
];

/// The token of each role.
pub type Roles = [Option<u32>; ROLES.len()];

/// The names that [`find_roles`] may ask for.
pub fn names() -> Vec<&'static str> {
    ROLES.iter().flat_map(|role| role.names).chain(ENDING_NAMES).copied().collect()
}

/// The token of each role, and those that end generation by role or name. `given` is what the file says of a key, `named`
/// the token of a name.
pub fn find_roles(
    given: impl Fn(&str) -> Result<Option<u32>>,
    named: impl Fn(&str) -> Option<u32>,
) -> Result<(Roles, Vec<u32>)> {
    let mut roles = [None; ROLES.len()];
    for RoleNames { role, keys, names } in &ROLES {
        let found = &mut roles[*role as usize];
        for key in *keys {
            *found = found.or(given(key)?);
        }
        *found = found.or_else(|| names.iter().find_map(|name| named(name)));
    }
    let mut ending: Vec<u32> = ENDING_NAMES.iter().filter_map(|name| named(name)).collect();
    ending.extend(
        ENDING_ROLES.iter().filter(|&&role| role != Role::Eos).filter_map(|&role| roles[role as usize]),
    );
    // Where a message ends with <|return|> or <|call|>, <|end|> only ends a part of it.
    let has = |name| named(name).is_some_and(|id| ending.contains(&id));
    if has("<|return|>") && has("<|call|>") || has("<|flush|>") && has("<|calls|>") {
        let part = named("<|end|>").filter(|&id| roles[Role::Eos as usize] != Some(id));
        ending.retain(|&id| Some(id) != part);
    }
    Ok((roles, ending))
}
