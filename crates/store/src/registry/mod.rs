//! Models in registries: `ollama:NAME[:TAG]` and `oci:REGISTRY/NAME[:TAG]`, over the distribution protocol that container
//! registries speak.
//!
//! A *manifest* lists *layers* by their SHA-256 ([`manifest`]); what becomes of each is told by its media type
//! ([`media`]), so one shelf takes in Ollama's images, ModelPack artifacts and those of Docker's model runner. Layers lie in a
//! folder of ours ([`images`]), named by their hash, and an image is a folder of links to them, as in the hub's cache.
//! A registry that wants to see a pass hands one out to everybody who asks, or to those with a login ([`pass`], [`login`]). [`pull`] performs.
//!
//! Left out: pushing, archives that are compressed.

pub mod image;
pub mod images;
pub mod login;
pub mod manifest;
pub mod media;
pub mod pass;
pub mod pull;
pub mod tar;
