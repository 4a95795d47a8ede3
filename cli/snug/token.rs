//! `snug token`: what scripts come in by.

use clap::Subcommand;
use snug_protocol::{Body, Command, Period, Scope, TokenChange};

use crate::account::client;
use crate::environment::Common;
use crate::failure::{Exit, Failure};
use crate::output;

/// Tokens, with which scripts do one thing and nothing else
#[derive(Subcommand)]
pub(crate) enum Token {
    /// Make one; it is printed this once
    Create {
        /// What to call it
        label: String,
        /// What it may do: send, read, edit, all, or verbs, with commas between
        #[arg(long, value_name = "WHAT")]
        may: Option<String>,
        /// Rooms in which alone it works, with commas between
        #[arg(long, value_name = "ROOMS", value_delimiter = ',')]
        rooms: Vec<String>,
        /// Commands per minute
        #[arg(long, value_name = "NUMBER")]
        rate: Option<u32>,
        /// When it ends: 12h, 90d [default: never]
        #[arg(long, value_name = "TIME")]
        expires: Option<Period>,
    },
    /// List them
    List,
    /// Revoke one, and end its sessions
    Revoke {
        /// What it is called
        label: String,
    },
}

impl Token {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        let change = match &self {
            Token::List => TokenChange::List,
            Token::Revoke { label } => TokenChange::Remove(label),
            Token::Create { label, may, rooms, rate, expires } => {
                // An empty variable of a script is a mistake, and no wish for everything.
                if may.as_deref() == Some("") || rooms.iter().any(String::is_empty) {
                    return Err(Failure::new(
                        Exit::Usage,
                        "--may and --rooms are not empty; leave them out for all",
                    ));
                }
                let rate = rate.map(|rate| rate.to_string()).unwrap_or_default();
                let scope = Scope::parse(may.as_deref().unwrap_or("all"), &rooms.join(","), &rate)
                    .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
                TokenChange::Add { label, scope, expires: *expires }
            }
        };
        let client = client(common).await?;
        let answer = client.ask(Command::Token { change }).await?;
        for row in &answer.rows {
            let line = row.line();
            let Body::Token { label, added } = line.body else { continue };
            let tag = |name| line.tags.get(name).map(|value| value.into_owned()).unwrap_or_default();
            let (may, rooms, rate, expires) = (tag("may"), tag("rooms"), tag("rate"), tag("expires"));
            let where_ = if rooms.is_empty() { "everywhere" } else { &rooms };
            let until = if expires.is_empty() {
                "never ends".to_owned()
            } else {
                format!("ends {}", output::moment_of(&expires))
            };
            let shown = format!("{label:<20} {may} in {where_}, {until}");
            let fields = [
                ("label", label),
                ("added", added),
                ("may", &may),
                ("rooms", &rooms),
                ("rate", &rate),
                ("expires", &expires),
            ];
            output::row(common.json, &fields, &shown)?;
        }
        let line = answer.ok.line();
        if let (Token::Create { label, .. }, Body::Ok { params: Some(params), .. }) = (&self, &line.body) {
            let token = params.rsplit(' ').next().unwrap_or_default();
            output::row(common.json, &[("label", label), ("token", token)], token)?;
        }
        Ok(())
    }
}
