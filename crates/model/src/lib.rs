//! Meaning: bytes to weights, text to tokens, tokens to logits. No I/O.
