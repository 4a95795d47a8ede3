//! Handlers of the operators' verbs: STATS, BOT, SESSIONS, ACCOUNTS, ANNOUNCE, AUDIT, RELOAD, SHUTDOWN, BACKUP. Also
//! the handler of COMMANDS, which lists the commands of bots.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use snug_protocol::{
    AuditPage, Body, BotOrder, Code, Role, RoomName, ServerLine, ShutdownAt, TagBuilder, Timestamp,
    escape_text,
};

use super::{Answered, Session, refusal};
use crate::answer::Answer;
use crate::core::roster::BotCommand;
use crate::log::{self, AuditFilter, AuditNote, AuditPart, Storage, Whole};
use crate::origin::Origin;
use crate::refusal::Refusal;
use crate::registry::responder::Responder;

impl Session {
    /// Refuses a session that is not an operator's.
    pub(super) fn must_be_operator(&self) -> Result<(), Refusal> {
        if self.role_here() >= Role::Operator {
            return Ok(());
        }
        let text = "this takes an operator: the daemon's own user over the Unix socket, or an account with that role";
        Err(refusal(Code::Denied, text))
    }

    /// Records in the audit log what an operator has done.
    fn note_act(&self, event: &'static str, detail: impl Into<String>) -> Result<(), Refusal> {
        let author = self.author(self.me()?);
        self.core.audit(author, AuditNote::new(event, "", detail));
        Ok(())
    }

    pub(super) fn stats(&mut self, answer: &mut Answer) -> Result<Answered, Refusal> {
        self.must_be_operator()?;
        // A monitor asks every second, so only the first request of a session takes a row in the audit log.
        if !std::mem::replace(&mut self.has_asked_stats, true) {
            self.note_act("operator", "STATS")?;
        }
        let core = Arc::clone(&self.core);
        self.read_log(answer, move |view, answer| {
            let items = core.stats(Some(view.file_totals()?));
            for (name, value) in &items {
                let item = format!("{name}={value}");
                answer.row(TagBuilder::default(), ServerLine::new(Body::Stat { item: &item }));
            }
            Ok(items.len().to_string())
        })
    }

    pub(super) fn bot(&self, order: BotOrder<'_>, answer: &mut Answer) -> Result<Answered, Refusal> {
        self.must_be_operator()?;
        let roster = &self.core.roster;
        let unknown =
            |name: &str| refusal(Code::NoSuchBot, &format!("there is no bot {name}; BOT LIST lists them"));
        let (name, order, word) = match order {
            BotOrder::List => {
                let all = roster.list();
                for bot in &all {
                    let mut tags = TagBuilder::default();
                    tags.value("kind", Some(bot.kind));
                    tags.display("since", Some(bot.since));
                    tags.display("restarts", Some(bot.restarts).filter(|restarts| *restarts > 0));
                    let body = Body::Bot { name: &bot.name, nick: &bot.nick, state: bot.state.word() };
                    answer.row(tags, ServerLine::new(body));
                }
                return Ok(Answered::Ok(Some(format!("LIST {}", all.len()))));
            }
            BotOrder::Logs(name) => {
                let lines = roster.log_of(name).ok_or_else(|| unknown(name))?;
                for line in &lines {
                    let text: String = line.chars().filter(|c| *c == '\t' || !c.is_control()).collect();
                    let body = Body::BotLog { name, text: text.into() };
                    answer.row(TagBuilder::default(), ServerLine::new(body));
                }
                return Ok(Answered::Ok(Some(format!("LOGS {}", lines.len()))));
            }
            BotOrder::Enable(name) => (name, BotCommand::Enable, "ENABLE"),
            BotOrder::Disable(name) => (name, BotCommand::Disable, "DISABLE"),
            BotOrder::Restart(name) => (name, BotCommand::Restart, "RESTART"),
        };
        if !roster.command(name, order) {
            return Err(unknown(name));
        }
        self.note_act("bot", format!("{} {name}", word.to_lowercase()))?;
        Ok(Answered::Ok(Some(format!("{word} {name}"))))
    }

    /// Handles COMMANDS: lists the commands of bots.
    pub(super) fn commands(
        &mut self,
        room: Option<&RoomName<'_>>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        if let Some(room) = room {
            self.find_room(room)?;
        }
        let commands = self.core.roster.commands(room);
        for (bot, command) in &commands {
            let mut tags = TagBuilder::default();
            tags.value("help", Some(command.help.as_str()).filter(|help| !help.is_empty()));
            let params = command.params_list();
            tags.value("params", Some(&*params).filter(|params| !params.is_empty()));
            answer.row(tags, ServerLine::new(Body::BotCommand { bot, usage: &command.usage() }));
        }
        Ok(Answered::Ok(Some(commands.len().to_string())))
    }

    pub(super) fn sessions(&self, answer: &mut Answer) -> Result<Answered, Refusal> {
        self.must_be_operator()?;
        self.note_act("operator", "SESSIONS")?;
        let (now, time) = (self.core.now(), self.core.environment.clock.now());
        let rows = self.core.registry.sessions();
        for row in &rows {
            let peer = &row.peer;
            let age = i64::try_from(now.saturating_sub(peer.came())).unwrap_or(i64::MAX);
            let since = Timestamp::from_millis(time.millis().saturating_sub(age)).to_string();
            let from = match peer.origin {
                Origin::Tcp(address) => address.to_string(),
                Origin::Unix(user) => format!("unix:{user}"),
                Origin::Embedder(_) => "embedder".to_owned(),
                Origin::Bot => "bot".to_owned(),
            };
            let mut tags = TagBuilder::default();
            tags.value("token", peer.grant().map(|grant| grant.label.as_str()));
            tags.display("waiting", Some(peer.waiting()).filter(|waiting| *waiting > 0));
            tags.flag("quiet", peer.is_quiet());
            let (number, nick) = (peer.id.to_string(), row.nick.as_deref().unwrap_or("*"));
            let body = Body::Session { number: &number, nick, from: &from, since: &since };
            answer.row(tags, ServerLine::new(body));
        }
        Ok(Answered::Ok(Some(rows.len().to_string())))
    }

    pub(super) fn accounts(&mut self, answer: &mut Answer) -> Result<Answered, Refusal> {
        self.must_be_operator()?;
        self.note_act("operator", "ACCOUNTS")?;
        let core = Arc::clone(&self.core);
        self.read_log(answer, move |view, answer| {
            let rows = view.account_rows()?;
            for row in &rows {
                let mut tags = TagBuilder::default();
                tags.display("keys", Some(row.keys));
                tags.display("tokens", Some(row.tokens));
                tags.flag("password", row.has_password);
                tags.flag("online", !core.registry.sessions_of(row.number).is_empty());
                let since = row.created.to_string();
                let body = Body::Account { nick: &row.name, role: row.role.word(), since: &since };
                answer.row(tags, ServerLine::new(body));
            }
            Ok(rows.len().to_string())
        })
    }

    pub(super) fn announce(&self, text: &str) -> Result<Answered, Refusal> {
        self.must_be_operator()?;
        self.note_act("announce", "")?;
        let mut line = Vec::new();
        ServerLine::new(Body::Announce { text: text.into() }).with_from(&self.me()?.nick()).write(&mut line);
        let mut told = 0;
        self.core.registry.for_each_peer(|peer| {
            let has_scope = peer.grant().is_some();
            if peer.identity() != 0 && !has_scope && peer.push(&line) {
                told += 1;
            }
        });
        Ok(Answered::Ok(Some(told.to_string())))
    }

    pub(super) fn audit(
        &mut self,
        page: AuditPage,
        limit: Option<u64>,
        (user, event): (Option<&str>, Option<&str>),
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        self.must_be_operator()?;
        let filter = AuditFilter { user: user.map(str::to_owned), event: event.map(str::to_owned) };
        let what = match page {
            AuditPage::Verify => "AUDIT VERIFY",
            AuditPage::Follow => "AUDIT FOLLOW",
            _ => "AUDIT",
        };
        self.note_act("operator", what)?;
        let (limit, reduced) = super::history::within_a_page(limit);
        let part = match page {
            AuditPage::Latest => AuditPart::Before(u64::MAX >> 1),
            AuditPage::Before(id) => AuditPart::Before(id),
            AuditPage::After(id) => AuditPart::After(id),
            AuditPage::Since(time) => AuditPart::Since(time),
            AuditPage::Verify => {
                return self.read_log(answer, |view, _| match view.verify_audit()? {
                    Whole::Yes { rows, last, hash } => {
                        Ok(format!("{rows} rows up to {last}, {}", hex(&hash)))
                    }
                    Whole::No { id } => {
                        let text = format!("row {id} is not what was written, or one before it is missing");
                        Err(refusal(Code::HashMismatch, &text))
                    }
                });
            }
            AuditPage::Follow => {
                let (core, peer) = (Arc::clone(&self.core), Arc::clone(&self.peer));
                let label = answer.label().map(str::to_owned);
                return self.read_log(answer, move |view, _| {
                    let (last, _) = view.audit_head()?;
                    core.follow(&peer, filter, label, last);
                    Ok("follow".to_owned())
                });
            }
        };
        self.read_log(answer, move |view, answer| {
            let (rows, more) = view.audit(&filter, part, limit)?;
            let label = answer.label().map(str::to_owned);
            for row in &rows {
                row.write(label.as_deref(), answer.lines());
            }
            answer.set_ok_tags(super::history::reduced_tag(reduced));
            Ok(if more { "more" } else { "end" }.to_owned())
        })
    }

    pub(super) fn reload(&mut self, clock: bool, answer: &mut Answer) -> Result<Answered, Refusal> {
        self.must_be_operator()?;
        if clock {
            self.note_act("operator", "RELOAD clock")?;
            if let Some(steady) = &self.core.steady_clock {
                steady.accept();
            }
            return Ok(Answered::Ok(Some("0".to_owned())));
        }
        self.note_act("operator", "RELOAD")?;
        let Some(reload) = self.core.control.reload() else {
            let text = "the program around this daemon does not read settings again";
            return Err(refusal(Code::Unavailable, text));
        };
        self.on_a_thread("snug-reload", answer, move |answer| match reload() {
            Ok(fixed) => {
                for name in &fixed {
                    let item = format!("restart={name}");
                    answer.row(TagBuilder::default(), ServerLine::new(Body::Info { item: &item }));
                }
                Ok(fixed.len().to_string())
            }
            Err(text) => Err(refusal(Code::BadParameter, &format!("the settings stay as they are: {text}"))),
        })
    }

    pub(super) fn shutdown(&self, at: ShutdownAt, reason: Option<&str>) -> Result<Answered, Refusal> {
        self.must_be_operator()?;
        let from = self.me()?.nick();
        let seconds = match at {
            ShutdownAt::Cancel => {
                self.note_act("shutdown", "cancelled")?;
                if !self.core.cancel_stop(&from) {
                    return Err(refusal(Code::NoSuchEntry, "no shutdown is to come"));
                }
                return Ok(Answered::Ok(Some("off".to_owned())));
            }
            ShutdownAt::Now => 0,
            ShutdownAt::In(period) => period.millis().div_ceil(1_000),
        };
        self.note_act("shutdown", format!("in {seconds} s {}", reason.unwrap_or_default()).trim_end())?;
        // The client gets the answer before the daemon stops.
        self.core.shut_down(seconds, &from, reason);
        Ok(Answered::Ok(Some(seconds.to_string())))
    }

    pub(super) fn backup(&mut self, path: &str, answer: &mut Answer) -> Result<Answered, Refusal> {
        self.must_be_operator()?;
        let Storage::Folder { folder, .. } = self.core.place.clone() else {
            let text = "the log lives in memory and has no backup; set log.history = \"disk\"";
            return Err(refusal(Code::Unavailable, text));
        };
        let to = PathBuf::from(path);
        if !to.is_absolute() {
            return Err(refusal(Code::BadParameter, "a backup has an absolute path on the daemon's machine"));
        }
        self.note_act("backup", path)?;
        let shown = escape_text(path).into_owned();
        // A large log takes long, so the backup has its own thread and holds up no other reader.
        self.on_a_thread("snug-backup", answer, move |_| log::back_up(&folder, &to).map(|()| shown))
    }

    /// Runs slow work on its own thread, and answers with the result.
    fn on_a_thread(
        &mut self,
        name: &str,
        answer: &mut Answer,
        work: impl FnOnce(&mut Answer) -> Result<String, Refusal> + Send + 'static,
    ) -> Result<Answered, Refusal> {
        // If the thread cannot be started, the responder is still here to answer.
        let kept = Arc::new(Mutex::new(Some(self.responder(answer))));
        let shared = Arc::clone(&kept);
        let take =
            |kept: &Mutex<Option<Responder>>| kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let run = move || {
            let Some(mut responder) = take(&shared) else { return };
            let done = work(responder.answer());
            responder.give(done.map(Some));
        };
        if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(run)
            && let Some(responder) = take(&kept)
        {
            let text = format!("there is no thread for it: {error}");
            responder.give(Err(refusal(Code::Unavailable, &text)));
        }
        Ok(Answered::InFlight)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}
