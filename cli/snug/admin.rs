//! `snug admin`: what only the daemon's operators may do, as one command or at a prompt.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use snug_client::{Client, Event};
use snug_protocol::{AuditPage, Body, BotOrder, Command, Period, RoomOrServer, ServerLine, ShutdownAt};

use crate::connect::{self, Part};
use crate::environment::Common;
use crate::failure::{Exit, Failure};
use crate::room::{self, Order};
use crate::{output, since};

/// Run the daemon: its own user over the Unix socket, and accounts with the role operator
///
/// Without a command it is a prompt for them.
#[derive(Args)]
pub(crate) struct Admin {
    #[command(subcommand)]
    command: Option<Sub>,
}

#[derive(Subcommand)]
enum Sub {
    /// List the accounts, and the guests who are here
    Users,
    /// Tell how the daemon is doing
    Stats,
    /// List the connections
    Sessions,
    /// Tell everybody who is here something
    Announce { text: Vec<String> },
    #[command(flatten)]
    Order(Order),
    /// Make an account operator, member or bot; without a role, show it
    Role { whom: String, role: Option<String> },
    /// Set the password of an account whose owner has forgotten it
    Passwd { name: String },
    /// Read the settings again
    Reload {
        /// Take the date of the server's machine for right, if it is doubted
        #[arg(long)]
        clock: bool,
    },
    /// Stop the daemon, with notice
    Shutdown {
        /// When: 30s, 10m [default: now]
        #[arg(long = "in", value_name = "TIME")]
        after: Option<Period>,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Call it off
        #[arg(long, conflicts_with_all = ["after", "reason"])]
        cancel: bool,
    },
    /// Write a copy of the log to a new file, while the daemon goes on
    ///
    /// To restore it, stop the daemon and put the copy in the place of log.db in its data folder, without log.db-wal,
    /// log.db-shm and search.db. The folder's identity.key is not in it: keep a copy of that as well, once. Neither are
    /// files that people have sent: copy files/content after it, which may be done while the daemon runs.
    Backup {
        /// The new file, on the daemon's machine
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Look after the daemon's bots
    #[command(subcommand)]
    Bot(AdminBot),
    /// Show the audit trail: what was done, by whom, from where
    Log(Log),
}

#[derive(Subcommand)]
pub(crate) enum AdminBot {
    /// List them, and how they are
    List,
    /// Start one that is disabled
    Enable { name: String },
    /// Stop one until the daemon ends, or `enable`
    Disable { name: String },
    /// Stop one and start it again
    Restart { name: String },
    /// What a script has written to its standard error, and what became of it
    Logs { name: String },
}

impl AdminBot {
    async fn run(&self, client: &Client, common: &Common) -> Result<(), Failure> {
        let order = match self {
            AdminBot::List => BotOrder::List,
            AdminBot::Enable { name } => BotOrder::Enable(name),
            AdminBot::Disable { name } => BotOrder::Disable(name),
            AdminBot::Restart { name } => BotOrder::Restart(name),
            AdminBot::Logs { name } => BotOrder::Logs(name),
        };
        for row in client.ask(Command::Bot { order }).await?.rows {
            let line = row.line();
            let tag = |name: &str| line.tags.get(name).unwrap_or_default().into_owned();
            match &line.body {
                Body::Bot { name, nick, state } => {
                    let (kind, since, restarts) = (tag("kind"), tag("since"), tag("restarts"));
                    let again =
                        if restarts.is_empty() { String::new() } else { format!(", ended {restarts} times") };
                    let shown =
                        format!("{name:<16} {kind:<8} {state} since {}{again}", output::moment_of(&since));
                    let fields = [
                        ("name", *name),
                        ("nick", nick),
                        ("kind", &kind),
                        ("state", state),
                        ("since", &since),
                        ("restarts", &restarts),
                    ];
                    output::row(common.json, &fields, &shown)?;
                }
                Body::BotLog { name, text } => {
                    output::row(common.json, &[("name", name), ("text", text)], text)?
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
struct Log {
    #[command(subcommand)]
    verify: Option<LogSub>,

    /// Only what this one did, or what was done to them
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// Only this kind: login, login-failed, register, enter, join, leave, quit, kick, ban, role, token-add, error …
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,

    /// From when on: 30m, 1h, 7d, a day such as 2026-11-21, or 2026-11-21T10:00:00Z [default: the newest 50]
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Go on with what comes
    #[arg(long, short)]
    follow: bool,
}

#[derive(Subcommand)]
enum LogSub {
    /// Say whether the trail is as it was written
    Verify,
}

/// A line of the prompt.
#[derive(Parser)]
#[command(name = "", no_binary_name = true, help_template = "{subcommands}")]
struct PromptLine {
    #[command(subcommand)]
    command: PromptCommand,
}

#[derive(Subcommand)]
enum PromptCommand {
    #[command(flatten)]
    Admin(Sub),
    /// Leave the prompt
    #[command(alias = "exit")]
    Quit,
}

impl Admin {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        let (client, events) = connect::connect(common, Part::Asker).await?;
        match self.command {
            Some(Sub::Log(log)) if log.follow => log.follow(&client, events, common).await,
            Some(command) => {
                drop(events);
                command.run(&client, common).await
            }
            None => {
                drop(events);
                prompt(&client, common).await
            }
        }
    }
}

/// Takes commands line by line, until the end of stdin or `quit`. What fails is told, and the next one is taken.
async fn prompt(client: &Client, common: &Common) -> Result<(), Failure> {
    let is_person = io::stdin().is_terminal();
    if is_person {
        let _ = writeln!(io::stderr(), "snug: `help` lists the commands, `quit` or Ctrl-D ends");
    }
    let mut failed = None;
    loop {
        if is_person {
            let _ = write!(io::stderr(), "snug> ");
            let _ = io::stderr().flush();
        }
        let line = smol::unblock(|| {
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line).map(|count| (count > 0).then_some(line))
        });
        let Some(line) = line.await? else { break };
        let words = match shell_words(line.trim()) {
            Ok(words) => words,
            Err(text) => {
                let failure = Failure::new(Exit::Usage, text);
                let _ = failure.report(common.json);
                failed = Some(failure);
                continue;
            }
        };
        if words.is_empty() {
            continue;
        }
        match PromptLine::try_parse_from(words) {
            Err(error) => {
                if !error.use_stderr() {
                    let _ = error.print();
                    continue;
                }
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
                let failure = Failure::new(Exit::Usage, format!("{first}; `help` lists the commands"));
                let _ = failure.report(common.json);
                failed = Some(failure);
            }
            Ok(PromptLine { command: PromptCommand::Quit }) => break,
            Ok(PromptLine { command: PromptCommand::Admin(command) }) => {
                if let Err(failure) = command.run(client, common).await {
                    if failure.is_lost() {
                        // Nothing more can be asked.
                        return Err(failure);
                    }
                    let _ = failure.report(common.json);
                    failed = Some(failure);
                }
            }
        }
    }
    // A person has seen what failed; a script asks for the exit code.
    match failed {
        Some(failure) if !is_person => Err(failure.quietly()),
        _ => Ok(()),
    }
}

/// Words as a shell splits them: at spaces that are not in quotes.
fn shell_words(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if quote.is_some() { Err("a quote is not closed") } else { Ok(words) }
}

impl Sub {
    async fn run(self, client: &Client, common: &Common) -> Result<(), Failure> {
        match self {
            Sub::Users => users(client, common).await,
            Sub::Stats => {
                for row in client.ask(Command::Stats).await?.rows {
                    let line = row.line();
                    let Body::Stat { item } = line.body else { continue };
                    let (name, value) = item.split_once('=').unwrap_or((item, ""));
                    output::row(
                        common.json,
                        &[("name", name), ("value", value)],
                        &format!("{name:<24} {value:>14}"),
                    )?;
                }
                Ok(())
            }
            Sub::Sessions => sessions(client, common).await,
            Sub::Announce { text } => {
                let text = text.join(" ");
                if text.is_empty() {
                    return Err(Failure::new(Exit::Usage, "there is nothing to announce"));
                }
                client.ask(Command::Announce { text: text.into() }).await?;
                Ok(())
            }
            Sub::Order(order) => order.run(client, Some(RoomOrServer::Server), common).await,
            Sub::Role { whom, role } => {
                room::roles(client, RoomOrServer::Server, Some(&whom), role.as_deref(), common).await
            }
            Sub::Passwd { name } => crate::account::passwd(common, Some(name)).await,
            Sub::Reload { clock } => {
                for row in client.ask(Command::Reload { clock }).await?.rows {
                    let line = row.line();
                    let Body::Info { item } = line.body else { continue };
                    let name = item.strip_prefix("restart=").unwrap_or(item);
                    output::row(
                        common.json,
                        &[("restart", name)],
                        &format!("{name} takes effect at the next start"),
                    )?;
                }
                Ok(())
            }
            Sub::Shutdown { after, reason, cancel } => {
                let at = match (cancel, after) {
                    (true, _) => ShutdownAt::Cancel,
                    (false, None) => ShutdownAt::Now,
                    (false, Some(after)) => ShutdownAt::In(after),
                };
                let reason = reason.filter(|reason| !reason.is_empty()).map(Into::into);
                client.ask(Command::Shutdown { at, reason }).await?;
                Ok(())
            }
            Sub::Bot(bot) => bot.run(client, common).await,
            Sub::Backup { file } => backup(client, file, common).await,
            Sub::Log(log) => log.run(client, common).await,
        }
    }
}

async fn users(client: &Client, common: &Common) -> Result<(), Failure> {
    for row in client.ask(Command::Accounts).await?.rows {
        let line = row.line();
        let Body::Account { nick, role, since } = line.body else { continue };
        let tag = |name| line.tags.get(name).map(|value| value.into_owned()).unwrap_or_default();
        let (keys, tokens) = (tag("keys"), tag("tokens"));
        let [password, online] =
            ["password", "online"].map(|name| if line.tags.has(name) { "yes" } else { "no" });
        let here = if online == "yes" { "online" } else { "" };
        let shown = format!(
            "{nick:<20} {role:<9} since {}  {}, {}{}  {here}",
            output::moment_of(since),
            counted(&keys, "key"),
            counted(&tokens, "token"),
            if password == "yes" { ", password" } else { "" }
        );
        let fields = [
            ("name", nick),
            ("role", role),
            ("since", since),
            ("keys", &keys),
            ("tokens", &tokens),
            ("password", password),
            ("online", online),
        ];
        output::row(common.json, &fields, shown.trim_end())?;
    }
    for row in client.ask(Command::Who { of: None }).await?.rows {
        let line = row.line();
        let Body::User { nick, since, .. } = line.body else { continue };
        if !line.tags.has("account") {
            let role = if line.tags.has("bot") { "bot" } else { "guest" };
            let shown = format!("{nick:<20} {role:<9} since {}  online", output::moment_of(since));
            let fields = [("name", nick), ("role", role), ("since", since), ("online", "yes")];
            output::row(common.json, &fields, &shown)?;
        }
    }
    Ok(())
}

/// `1 key`, `2 keys`.
fn counted(count: &str, what: &str) -> String {
    format!("{count} {what}{}", if count == "1" { "" } else { "s" })
}

async fn sessions(client: &Client, common: &Common) -> Result<(), Failure> {
    for row in client.ask(Command::Sessions).await?.rows {
        let line = row.line();
        let Body::Session { number, nick, from, since } = line.body else { continue };
        let tag = |name| line.tags.get(name).map(|value| value.into_owned()).unwrap_or_default();
        let (token, waiting) = (tag("token"), tag("waiting"));
        let mut shown = format!("{number:>8} {nick:<20} {from:<24} since {}", output::moment_of(since));
        if !token.is_empty() {
            shown.push_str(&format!("  token {token}"));
        }
        if !waiting.is_empty() {
            shown.push_str(&format!("  {waiting} bytes wait"));
        }
        let fields = [
            ("number", number),
            ("nick", nick),
            ("from", from),
            ("since", since),
            ("token", &token),
            ("waiting", &waiting),
        ];
        output::row(common.json, &fields, &shown)?;
    }
    Ok(())
}

async fn backup(client: &Client, file: PathBuf, common: &Common) -> Result<(), Failure> {
    let path = std::path::absolute(&file)?;
    let Some(path) = path.to_str() else {
        return Err(Failure::new(Exit::Usage, "the file's path is not UTF-8"));
    };
    client.ask(Command::Backup { path: path.into() }).await?;
    Ok(output::row(common.json, &[("file", path)], path)?)
}

impl Log {
    /// Rows of a page that is read to its end.
    const PAGE: u64 = 1_000;

    async fn run(self, client: &Client, common: &Common) -> Result<(), Failure> {
        if self.verify.is_some() {
            let answer = client.ask(self.command(AuditPage::Verify, None)).await?;
            let line = answer.ok.line();
            let Body::Ok { params: Some(params), .. } = line.body else { return Ok(()) };
            return Ok(output::row(
                common.json,
                &[("verified", params)],
                &format!("all is as it was written: {params}"),
            )?);
        }
        if self.follow {
            let text = "--follow is not for the prompt: `snug admin log --follow`";
            return Err(Failure::new(Exit::Usage, text));
        }
        self.past(client, common).await.map(drop)
    }

    fn command(&self, page: AuditPage, limit: Option<u64>) -> Command<'_> {
        let [user, event] = [&self.user, &self.event].map(|value| value.as_deref().map(Into::into));
        Command::Audit { page, limit, user, event }
    }

    /// Prints what there is, and gives the last row's id.
    async fn past(&self, client: &Client, common: &Common) -> Result<u64, Failure> {
        let mut page = match &self.since {
            None => AuditPage::Latest,
            Some(since) => AuditPage::Since(since::moment(since)?),
        };
        let limit = self.since.as_ref().map(|_| Log::PAGE);
        let mut last = 0;
        loop {
            let answer = client.ask(self.command(page, limit)).await?;
            for row in &answer.rows {
                last = row.line().id().unwrap_or(last);
                print(&row.line(), common)?;
            }
            let line = answer.ok.line();
            let has_more = matches!(line.body, Body::Ok { params: Some("more"), .. });
            if !has_more || self.since.is_none() || answer.rows.is_empty() {
                return Ok(last);
            }
            page = AuditPage::After(last);
        }
    }

    /// Prints what there is, and then what comes, until the connection ends.
    async fn follow(
        self,
        client: &Client,
        events: snug_client::Events,
        common: &Common,
    ) -> Result<(), Failure> {
        // Events are taken from the connection at once, however long it takes to print what was before.
        let (waiting, coming) = async_channel::unbounded();
        connect::TASKS
            .spawn(async move {
                while let Ok(event) = events.recv().await {
                    if waiting.send(event).await.is_err() {
                        return;
                    }
                }
            })
            .detach();
        // What comes from here on is an event; a row may be in both, and is printed once.
        client.ask(self.command(AuditPage::Follow, None)).await?;
        let mut last = self.past(client, common).await?;
        while let Ok(event) = coming.recv().await {
            match event {
                Event::Line(received) => {
                    let line = received.line();
                    let id = line.id().unwrap_or(0);
                    if matches!(line.body, Body::Audit { .. }) && id > last {
                        last = id;
                        print(&line, common)?;
                    }
                }
                Event::Disconnected { loss } => {
                    return Err(Failure::new(Exit::TryAgain, format!("the connection was lost: {loss}")));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Prints a row of the audit trail.
fn print(line: &ServerLine<'_>, common: &Common) -> Result<(), Failure> {
    let Body::Audit { event, who, whom, detail } = &line.body else { return Ok(()) };
    let time = line.time().unwrap_or_default();
    let id = line.id().map(|id| id.to_string()).unwrap_or_default();
    let address = line.tags.get("address").unwrap_or_default();
    let detail = detail.as_deref().unwrap_or_default();
    let mut shown = format!("{} {event:<13} {who}", output::full(time));
    if *whom != "-" {
        shown.push_str(&format!(" {whom}"));
    }
    if !detail.is_empty() {
        shown.push_str(&format!("  {detail}"));
    }
    if !address.is_empty() {
        shown.push_str(&format!("  [{address}]"));
    }
    let moment = time.to_string();
    let fields = [
        ("id", id.as_str()),
        ("time", &moment),
        ("event", event),
        ("who", who),
        ("whom", whom),
        ("address", &*address),
        ("detail", detail),
    ];
    Ok(output::row(common.json, &fields, &shown)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_prompt_are_split_as_a_shell_does() {
        assert_eq!(shell_words("ban * bob 'too loud'").expect("words"), ["ban", "*", "bob", "too loud"]);
        assert_eq!(shell_words("  announce  \"it's\" late ").expect("words"), ["announce", "it's", "late"]);
        assert_eq!(shell_words("announce ''").expect("words"), ["announce", ""]);
        assert!(shell_words("announce 'open").is_err());
        assert!(shell_words("").expect("no word").is_empty());
    }
}
