//! What is known of an account's conversations: no I/O, no clock, deterministic.

mod spans;
pub use spans::{Span, Spans};

mod timeline;
pub use timeline::{Row, Timeline};
