//! The value codec, seen from outside: golden bytes, the laws of both forms, and what is refused.

mod draw;
mod golden;
mod laws;
mod named;
mod record;
mod refusals;
mod typed;
