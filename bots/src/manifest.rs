//! What a bot says about itself.

use snug_protocol::CommandSpec;

/// What a bot says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// What it is for, in one line.
    pub help: String,
    /// What it can be asked.
    pub commands: Vec<CommandSpec>,
    /// Whether it is handed every message, and not only commands.
    pub listens: bool,
}
