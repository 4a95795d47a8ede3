//! `!help` lists what the bots can be asked.

use crate::config::bot_config;
use crate::{Bot, CommandSpec, Context, Event, Manifest};

bot_config! {
    /// The table `[bots.help]`.
    HelpConfig, "help" {}
}

/// Tells what can be asked.
#[derive(Debug)]
pub struct Help {
    manifest: Manifest,
    commands: Vec<CommandSpec>,
}

impl Help {
    /// A bot that tells of these.
    pub fn new(manifests: Vec<Manifest>) -> Help {
        let command = CommandSpec::parse(
            "help",
            "command:word?",
            "lists what bots can be asked, or tells about one command",
        );
        let command = command.expect("a description");
        let mut commands: Vec<CommandSpec> =
            manifests.into_iter().flat_map(|manifest| manifest.commands).collect();
        commands.push(command.clone());
        commands.sort_by(|a, b| a.name.cmp(&b.name));
        let manifest = Manifest {
            help: "tells what bots can be asked".to_owned(),
            commands: vec![command],
            listens: false,
        };
        Help { manifest, commands }
    }
}

impl Bot for Help {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn handle(&mut self, event: &Event<'_>, context: &mut Context<'_>) {
        let Event::Called { args, .. } = event else { return };
        let Some(wanted) = args.get("command") else {
            let list: Vec<String> = self.commands.iter().map(ToString::to_string).collect();
            context.reply(list.join("\n"));
            return;
        };
        let wanted = wanted.trim_start_matches(['!', '/']).to_lowercase();
        context.reply(match self.commands.iter().find(|command| command.name == wanted) {
            Some(command) => command.to_string(),
            None => format!("there is no command !{wanted}; !help lists them"),
        });
    }
}
