//! Striped drops: a stock that is divided over several shards.
//!
//! Each stripe is, in its shard, a drop with a share of the units and its own users. What is here makes one drop of them: all
//! stripes follow the home, units move to where they are wanted, and nobody is told that the drop is sold out before every
//! stripe said so.

mod align;
mod balance;
mod choose;
mod moves;
mod order;
mod reading;
mod transfer;

pub(crate) use balance::Balances;
pub use transfer::{Receiving, Sending, Transfer};
#[cfg(test)]
pub(crate) use {
    align::CLEAR,
    reading::READ,
    transfer::{ACTIVATE, RECEIVE, SEND},
};
