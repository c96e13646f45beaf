//! Confirmed sales to one user.

mod cancel;
mod list;
mod place;
mod read;
mod view;

pub(crate) use cancel::*;
pub(crate) use list::*;
pub(crate) use place::*;
pub(crate) use read::*;
