//! Rings between cores, and between cores and foreign threads of the same process.
//!
//! [`ring`] is one bounded single-producer single-consumer ring. [`Mesh`] is all the rings of a process: one
//! per (source peer, destination thread, category), carrying [`tantu_base::door::LetterBatch`]es. Nothing on
//! the send and receive path takes a lock or makes a system call; a sleeping receiver is woken by its
//! [`Bell`], once per [`ring_bells`](tantu_base::door::Wire::ring_bells) of a sender.

mod bell;
mod client_letter;
mod client_port;
pub mod event;
mod lane;
pub mod letter;
mod link;
mod mail;
mod mesh;
mod microbatch;
mod ring;
mod stream;
mod sync;
mod thread_port;

pub use bell::{Bell, Sleeper, ThreadBell};
pub use client_port::{ClientPort, ClientReceiver, ClientSender};
pub use mail::Mail;
pub use mesh::{Mesh, RECEIVE_BURST_COUNT, RING_CAPACITY};
pub use ring::{Consumer, Producer, ring};
pub use sync::announce;
pub use thread_port::ThreadPort;

#[cfg(all(test, not(loom)))]
mod tests;
