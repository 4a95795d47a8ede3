//! Tests through the real programs, one file per capability. `harness` starts them.

mod harness;

mod accounts;
mod attacks;
mod bad_input;
mod bots;
mod chat;
mod client;
mod crowd;
mod daemon;
mod documents;
mod durable;
mod embedding;
mod files;
mod fuzzer;
mod guide;
mod history;
mod scripts;
mod sealed;
mod sidebar;
mod snug;
