//! Rude clients, on the wire: each gets a clear problem or is hung up on, and none keeps the others from being served.

mod bodies;
mod crowd;
mod requests;
mod slow;
mod wire;
