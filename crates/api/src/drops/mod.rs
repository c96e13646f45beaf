//! Sales of a product.

mod change;
mod create;
mod definition;
mod list;
mod open;
mod overlap;
mod window;

pub use open::open_drop;

#[cfg(test)]
pub(crate) use definition::CreateDrop;

pub(crate) use change::*;
pub(crate) use create::*;
pub(crate) use list::*;
pub(crate) use window::*;
