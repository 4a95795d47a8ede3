//! The model of an interactive client: what it knows, without drawing anything.
//!
//! The terminal client and the GTK client stand on it, so that they differ only in how they draw. Nothing here does I/O, looks
//! at a clock or reads the environment.
//!
//! - [`rich`] takes a text apart into what may be shown in another way: code, emphasis, quotes, links, names.
//! - [`input`] reads what a person types: one table of commands, from which parsing, completion and help are made.
//! - [`Timeline`] holds what is known of a conversation: events and pages of history in any order, [`Spans`] of what is
//!   complete, and each entry as it is now.

pub mod input;

pub mod rich;

mod core;
pub use core::{Row, Span, Spans, Timeline};
