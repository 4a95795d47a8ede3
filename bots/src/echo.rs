//! `!echo hello` answers `hello`: the bot to copy.

use crate::config::bot_config;
use crate::{Bot, CommandSpec, Context, Event, Manifest};

bot_config! {
    /// The table `[bots.echo]`.
    EchoConfig, "echo" {
        /// What stands before each answer.
        prefix: String = String::new(),
    }
}

/// Says again what it is told.
#[derive(Debug)]
pub struct Echo {
    manifest: Manifest,
    prefix: String,
}

impl Echo {
    /// The bot that `config` describes.
    pub fn new(config: &EchoConfig) -> Echo {
        let command = CommandSpec::parse("echo", "text:text", "says it again").expect("a description");
        let manifest =
            Manifest { help: "says things again".to_owned(), commands: vec![command], listens: false };
        Echo { manifest, prefix: config.prefix.clone() }
    }
}

impl Bot for Echo {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn handle(&mut self, event: &Event<'_>, context: &mut Context<'_>) {
        if let Event::Called { args, .. } = event {
            let text = args.get("text").unwrap_or_default();
            context.reply(format!("{}{text}", self.prefix));
        }
    }
}
