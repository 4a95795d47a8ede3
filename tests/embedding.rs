//! A daemon within this process: what the embedding program adds, and a typed client without a socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use futures_lite::FutureExt;
use futures_lite::future::zip;
use smol::Timer;
use snug_bots::{Bot, Context, Event as BotEvent, Filter, Hosted, Manifest};
use snug_client::{Client, Event, Name, Options, Stream};
use snug_daemon::protocol::{Body, Code, Command, FileCommand, MessageTags, ProfileChange, RoomName};
use snug_daemon::{Builder, Config, Daemon, Handle, LocalSession, Refusal, SessionRole, Who};

use crate::harness::PATIENCE;

/// Runs a daemon beside `work`, which ends it.
fn with_daemon<F: Future<Output = ()>>(
    settings: impl FnOnce(Builder) -> Builder,
    work: impl FnOnce(Handle) -> F,
) {
    let mut config = Config::default();
    config.listen.tcp = Vec::new();
    smol::block_on(async {
        let daemon = settings(Daemon::builder(config)).bind().await.expect("it needs nothing");
        let handle = daemon.handle();
        let working = async {
            work(handle.clone()).await;
            handle.stop();
        };
        let overdue = async {
            Timer::after(PATIENCE).await;
            panic!("it takes too long");
        };
        zip(daemon.run(), working).or(overdue).await;
    });
}

/// Sends a line, and gives the next line that has `text`.
async fn ask(session: &mut LocalSession, line: &str, text: &str) -> String {
    session.send_line(line).await.expect("the session is open");
    loop {
        let heard =
            session.next_line().await.expect("UTF-8").unwrap_or_else(|| panic!("{text:?} never came"));
        if heard.contains(text) {
            return heard;
        }
    }
}

#[test]
fn a_typed_client_talks_without_a_socket_and_resumes_over_another_session() {
    with_daemon(
        |builder| builder,
        |handle| async move {
            let opened = Arc::new(AtomicU32::new(0));
            let first = Stream::over(handle.open_session(SessionRole::Guest));
            let (count, own, kept) = (Arc::clone(&opened), handle.clone(), first.clone());
            let connector = move || match count.fetch_add(1, Relaxed) {
                0 => kept.clone(),
                _ => Stream::over(own.open_session(SessionRole::Guest)),
            };
            let options = Options::over(connector, Name::exactly("alice").expect("a nick"));
            let (client, events, driver) = Client::connect(options).await.expect("it is within the process");
            let work = async {
                let hello = |text: &'static str| Command::Msg {
                    room: RoomName::LOBBY,
                    text: text.into(),
                    tags: MessageTags::default(),
                };
                assert_eq!(client.ask(hello("one")).await.expect("an answer").id(), Some(1));
                let mut operator = handle.open_operator_session();
                ask(&mut operator, "NICK op", "OK NICK").await;
                ask(&mut operator, "MSG #lobby meanwhile", "OK MSG").await;
                // Its stream breaks; the next command finds another one.
                first.shutdown();
                assert_eq!(client.ask(hello("two")).await.expect("an answer").id(), Some(3));
                client.finish();
            };
            let listen = async {
                let mut texts = Vec::new();
                while let Ok(event) = events.recv().await {
                    if let Event::Line(received) = event
                        && let Body::Entry { text: Some(text), .. } = received.line().body
                    {
                        texts.push(text.into_owned());
                    }
                }
                assert_eq!(texts, ["one", "meanwhile", "two"]);
            };
            zip(zip(driver.run(), work), listen).await;
            assert_eq!(opened.load(Relaxed), 2);
            let stats = handle.stats().await;
            assert!(stats.contains(&("messages".to_owned(), 3)), "{stats:?}");
            assert!(stats.iter().any(|(name, _)| name == "file-bytes"), "{stats:?}");
        },
    );
}

#[test]
fn a_session_is_what_it_was_opened_as() {
    with_daemon(
        |builder| builder,
        |handle| async move {
            let mut guest = handle.open_session(SessionRole::Guest);
            ask(&mut guest, "NICK guest", "OK NICK").await;
            ask(&mut guest, "STATS", "ERR STATS denied").await;
            let mut member = handle.open_session(SessionRole::Member);
            ask(&mut member, "NICK member", "OK NICK").await;
            ask(&mut member, "ANNOUNCE hi", "ERR ANNOUNCE denied").await;
            let mut operator = handle.open_operator_session();
            ask(&mut operator, "NICK op", "OK NICK").await;
            ask(&mut operator, "ANNOUNCE hi", "OK ANNOUNCE").await;
            let mut bot = handle.open_session(SessionRole::Bot);
            ask(&mut bot, "NICK robot", "OK NICK").await;
            let said = ask(&mut bot, "MSG #lobby beep", ":robot MSG #lobby beep").await;
            assert!(said.contains(";bot"), "{said}");
        },
    );
}

/// Shouts.
struct Loud;

impl Filter for Loud {
    fn name(&self) -> &'static str {
        "loud"
    }

    fn rewrite(&self, text: &str) -> Option<String> {
        text.ends_with('!').then(|| text.to_uppercase())
    }
}

/// Answers with what it was told.
struct Parrot(Manifest);

impl Bot for Parrot {
    fn manifest(&self) -> &Manifest {
        &self.0
    }

    fn handle(&mut self, event: &BotEvent<'_>, context: &mut Context<'_>) {
        if let BotEvent::Heard { text: "polly?", .. } = event {
            context.reply("polly!");
        }
    }
}

#[test]
fn policies_filters_and_bots_of_the_embedding_program_take_part() {
    let policy = |who: &Who, command: &Command<'_>| match command {
        Command::Topic { .. } if who.nick.as_deref() != Some("op") => {
            Err(Refusal::new(Code::Denied, "topics are op's"))
        }
        Command::Profile { change: ProfileChange::Set("avatar", _), .. } => {
            Err(Refusal::new(Code::Denied, "no pictures"))
        }
        Command::File(FileCommand::Put { .. }) => Err(Refusal::new(Code::Denied, "no files")),
        _ => Ok(()),
    };
    let parrot = Hosted {
        name: "parrot",
        nick: "polly".to_owned(),
        rooms: vec!["#lobby".to_owned()],
        watches: Vec::new(),
        bot: Box::new(Parrot(Manifest { listens: true, ..Manifest::default() })),
    };
    with_daemon(
        |builder| builder.policy(policy).filter(Box::new(Loud)).bot(parrot),
        |handle| async move {
            let mut alice = handle.open_session(SessionRole::Guest);
            ask(&mut alice, "NICK alice", "OK NICK").await;
            let refused = ask(&mut alice, "@ref=7 TOPIC #lobby mine", "ERR TOPIC").await;
            assert_eq!(refused, "@ref=7 ERR TOPIC denied topics are op's");
            let picture = "@bytes=3 PROFILE alice avatar image/png\nabc";
            assert_eq!(ask(&mut alice, picture, "ERR").await, "ERR PROFILE denied no pictures");
            let piece = "@bytes=3 FILE PUT u1 0\nabc";
            assert_eq!(ask(&mut alice, piece, "ERR").await, "ERR FILE denied no files");
            ask(&mut alice, "MSG #lobby hooray!", ":alice MSG #lobby HOORAY!").await;
            ask(&mut alice, "MSG #lobby polly?", ":polly MSG #lobby ").await;
            let mut op = handle.open_operator_session();
            ask(&mut op, "NICK op", "OK NICK").await;
            ask(&mut op, "TOPIC #lobby ours", "OK TOPIC").await;
            // A reload leaves them.
            let mut config = Config::default();
            config.listen.tcp = Vec::new();
            config.bots.emoji.aliases.insert("snug".to_owned(), "!".to_owned());
            handle.reconfigure(config);
            ask(&mut alice, "MSG #lobby again!", ":alice MSG #lobby AGAIN!").await;
            ask(&mut alice, "MSG #lobby polly?", ":polly MSG #lobby ").await;
        },
    );
}

#[test]
fn the_embedding_program_vouches_for_names_without_a_password_of_their_own() {
    let directory = |name: &str, password: &str| {
        ["alice", "192.0.2.7"].contains(&name) && password == "from the directory"
    };
    with_daemon(
        |builder| builder.login(directory),
        |handle| async move {
            let open = || handle.open_session(SessionRole::Guest);
            ask(&mut open(), "AUTH PASSWORD alice wrong-password", "ERR AUTH bad-login").await;
            ask(&mut open(), "AUTH PASSWORD bob from the directory", "ERR AUTH bad-login").await;
            // BAN would take it for an address.
            ask(&mut open(), "AUTH PASSWORD 192.0.2.7 from the directory", "ERR AUTH bad-nick").await;
            let mut first = open();
            let login = "AUTH PASSWORD alice from the directory";
            ask(&mut first, login, "OK AUTH alice").await;
            let profile = ask(&mut first, "WHO alice", "USER alice").await;
            assert!(profile.contains("account"), "{profile}");
            ask(&mut open(), login, "OK AUTH alice").await;
            // With a password of its own the account is the daemon's.
            ask(&mut first, "PASSWORD another-secret", "OK PASSWORD").await;
            ask(&mut open(), login, "ERR AUTH bad-login").await;
            ask(&mut open(), "AUTH PASSWORD alice another-secret", "OK AUTH alice").await;
        },
    );
}
