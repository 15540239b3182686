//! openraft, fitted to the store and to the state.

pub(crate) mod erasure;
pub(crate) mod landing;
pub(crate) mod link;
pub(crate) mod log;
pub(crate) mod machine;
pub(crate) mod runtime;
#[cfg(test)]
mod suite;
pub(crate) mod tether;
#[cfg(test)]
mod trials;
pub(crate) mod types;
pub(crate) mod wire;
