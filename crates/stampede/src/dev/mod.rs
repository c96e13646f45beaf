//! What `stampede dev` is made of: its folder, its Redis, its demo, its page.

pub mod access;
pub mod demo;
pub mod folder;
pub mod page;
pub mod redis;
mod resp;

/// The settings with which other commands reach a dev, in its folder.
pub const SETTINGS_FILE: &str = "settings.toml";
