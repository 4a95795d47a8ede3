//! The state that all parts of a running daemon share.

pub(crate) mod queue;

pub(crate) mod reply;

pub(crate) mod writer;

pub(crate) mod deliver;

pub(crate) mod effects;

pub(crate) mod recall;

pub(crate) mod limits;

mod audit_feed;

pub(crate) mod upkeep;

pub(crate) mod files;

pub(crate) mod parts;

pub(crate) mod filters;

pub(crate) mod passwords;

pub(crate) mod roster;

pub(crate) mod shutdown;

pub(crate) mod stats;

#[cfg(test)]
pub(crate) mod follower_tests;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use ring::rand::SystemRandom;
use snug_bots::Filter;
use snug_protocol::LogName;
use snug_protocol::envelope::{ServerKey, ServerOptions};

use crate::Environment;
use crate::answer::Answer;
use crate::config::Config;
use crate::core::files::Files;
use crate::core::filters::Filters;
use crate::core::passwords::Passwords;
use crate::core::queue::{Queue, Submission};
use crate::core::reply::{Call, Reply};
use crate::core::roster::Roster;
use crate::core::shutdown::Control;
use crate::core::stats::{Histogram, Refused};
use crate::hooks::Hooks;
use crate::log::{
    Act, AuditNote, Author, BanRow, Draft, Mutes, NewEntry, Outcome, ReadJob, Reads, Search, Storage, Store,
    search_in_memory,
};
use crate::origin::{Origin, Payer};
use crate::platform;
use crate::refusal::Refusal;
use crate::registry::outbox::Budget;
use crate::registry::peer::Peer;
use crate::registry::responder::Responder;
use crate::registry::{Registry, Room};
use crate::steady_clock::SteadyClock;

/// The shared state of a running daemon.
pub(crate) struct Core {
    config: RwLock<Arc<Config>>,
    pub(crate) environment: Environment,
    pub(crate) registry: Registry,
    /// The drafts that wait for the log's writer.
    pub(crate) queue: Queue,
    pub(crate) budget: Arc<Budget>,
    pub(crate) counters: Counters,
    pub(crate) filters: RwLock<Arc<Filters>>,
    pub(crate) roster: Roster,
    /// The hooks of the embedding program.
    pub(crate) hooks: Hooks,
    /// The log's random name.
    pub(crate) log_name: LogName,
    /// Where the log is.
    pub(crate) place: Storage,
    /// The reads that run beside the writer, if the log allows that.
    pub(crate) reads: Arc<Reads>,
    /// The newest entry that was delivered, and the newest that is being delivered, if that is another.
    pub(crate) delivered: AtomicU64,
    pub(crate) delivering: AtomicU64,
    /// The user that the daemon runs as, who is an operator.
    pub(crate) operator: u32,
    /// The keys and options for sealed connections.
    pub(crate) handshake: Handshake,
    pub(crate) passwords: Passwords,
    pub(crate) files: Files,
    pub(crate) throttles: limits::Throttles,
    /// The server's bans, as the log has them.
    bans: RwLock<Arc<Vec<BanRow>>>,
    /// Who is muted, as the log has it.
    mutes: RwLock<Arc<Mutes>>,
    /// Whether so little of the disk is free that guests write no more.
    is_short_of_disk: AtomicBool,
    /// Whether entries of closed rooms may wait to be purged.
    pub(crate) has_closed_rooms: AtomicBool,
    /// Operators' sessions that follow the audit log as it grows, each with its filter and the label of its command.
    followers: Mutex<Vec<audit_feed::Follower>>,
    /// The environment's clock, if it compares dates with the time that has passed.
    pub(crate) steady_clock: Option<Arc<SteadyClock>>,
    /// How the daemon is stopped, and how it reloads its config file.
    pub(crate) control: Control,
    /// When it was created, in milliseconds of its clock.
    pub(crate) started: u64,
    last_session: AtomicU64,
    /// Another core that receives what the log decides for this one.
    #[cfg(test)]
    pub(crate) second: std::sync::OnceLock<Arc<Core>>,
}

/// The daemon's identity key, and what it requires of clients that seal.
pub(crate) struct Handshake {
    pub(crate) key: ServerKey,
    pub(crate) options: ServerOptions,
    pub(crate) random: SystemRandom,
}

/// Counts and times since the daemon started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) entries: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) deliveries: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    /// How long the commit of a pack took, and how long the oldest draft of a pack took from the queue to the
    /// outboxes.
    pub(crate) commit: Histogram,
    pub(crate) delivery: Histogram,
    pub(crate) refused: Refused,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Relaxed);
    }
}

impl Core {
    pub(crate) fn new(
        config: Config,
        environment: Environment,
        filters: Vec<Box<dyn Filter>>,
        (log_name, place): (LogName, Storage),
        handshake: Handshake,
    ) -> Core {
        let started = millis(environment.clock.elapsed());
        Core {
            budget: Arc::new(Budget::new(&config.limits)),
            config: RwLock::new(Arc::new(config)),
            registry: Registry::default(),
            queue: Queue::new(Arc::clone(&environment.clock)),
            environment,
            counters: Counters::default(),
            filters: RwLock::new(Arc::new(Filters::new(filters))),
            roster: Roster::default(),
            hooks: Hooks::default(),
            log_name,
            place,
            reads: Arc::default(),
            delivered: AtomicU64::new(0),
            delivering: AtomicU64::new(0),
            operator: platform::own_user(),
            handshake,
            passwords: Passwords::default(),
            files: Files::default(),
            throttles: limits::Throttles::default(),
            bans: RwLock::default(),
            mutes: RwLock::default(),
            is_short_of_disk: AtomicBool::new(false),
            // Some may be left from before.
            has_closed_rooms: AtomicBool::new(true),
            followers: Mutex::default(),
            steady_clock: None,
            control: Control::default(),
            started,
            last_session: AtomicU64::new(0),
            #[cfg(test)]
            second: std::sync::OnceLock::new(),
        }
    }

    /// Returns the configuration in force.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Applies the settings that can change, and returns the names of those that cannot.
    pub(crate) fn reconfigure(&self, new: Config) -> Vec<&'static str> {
        let mut config = self.config.write().unwrap_or_else(PoisonError::into_inner);
        let fixed = config.needs_restart(&new);
        self.budget.set(&new.limits);
        *config = Arc::new(config.reloaded(new));
        fixed
    }

    /// Returns the filters in force.
    pub(crate) fn filters(&self) -> Arc<Filters> {
        Arc::clone(&self.filters.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the filters.
    pub(crate) fn set_filters(&self, filters: Vec<Box<dyn Filter>>) {
        let filters = Arc::new(Filters::new(self.hooks.with_filters(filters)));
        *self.filters.write().unwrap_or_else(PoisonError::into_inner) = filters;
    }

    /// Returns the milliseconds since some fixed moment.
    pub(crate) fn now(&self) -> u64 {
        millis(self.environment.clock.elapsed())
    }

    /// Returns a peer that the registry does not know yet.
    pub(crate) fn new_peer(&self, origin: Origin) -> Arc<Peer> {
        let id = self.last_session.fetch_add(1, Relaxed) + 1;
        Arc::new(Peer::new(id, origin, self.now(), Arc::clone(&self.budget)))
    }

    /// Asks the log to forget a room without members and entries. If the log keeps it, puts the room back.
    pub(crate) fn retire(self: &Arc<Core>, room: Arc<Room>) {
        self.retire_upto(room, 0, Arc::default());
    }

    /// Asks the same of a guest's room in which nothing was said after the entry `upto`. If the log forgets the room, it is
    /// added to `retired`.
    pub(crate) fn retire_upto(self: &Arc<Core>, room: Arc<Room>, upto: u64, retired: Arc<AtomicUsize>) {
        let generation = room.generation.load(Relaxed);
        let act = Act::RetireRoom { room: room.number, generation, upto };
        let core = Arc::clone(self);
        self.submit(act, move |_, outcome| {
            retired.fetch_add(usize::from(outcome == Outcome::Retired), Relaxed);
            let is_needed = match outcome {
                // A user who has joined it again has a new room, which is retired on its own.
                Outcome::Retired | Outcome::Done => false,
                // Whether the log has it is unknown; the next JOIN asks.
                Outcome::Refused(_) => room.ends().1 > 0,
                _ => true,
            };
            if is_needed {
                let (number, own) = (room.number, Arc::clone(&core));
                // If the daemon is stopping, nobody needs it.
                let _ = core.call_in_turn(Box::new(move |store, _, _| {
                    recall::kept_room(&own, &store.view(), number);
                }));
            }
        });
    }

    /// Queues an act whose outcome nobody waits for.
    pub(crate) fn note(&self, author: Author, act: Act) {
        let (draft, reply) = (Draft::new(author, act), Reply::Nobody);
        // If the daemon is stopping, the act is lost.
        let _ = self.queue.push(Submission { draft, size: 0, sender: None, reply });
    }

    /// Writes a row into the audit log.
    pub(crate) fn audit(&self, author: Author, note: AuditNote) {
        self.note(author, Act::Audit(note));
    }

    /// Returns the author that a session acts for, for the log.
    pub(crate) fn author_of(&self, peer: &Peer) -> Author {
        let identity = self.registry.identity(peer.identity());
        Author {
            number: peer.identity(),
            nick: identity.map(|identity| identity.nick()).unwrap_or_default(),
            address: peer.origin.address(),
            ..Author::default()
        }
    }

    /// Notes whether the file of a new entry is offered now, if it has one.
    pub(crate) fn settle_file(&self, new: &NewEntry, is_offered: bool, store: &dyn Store) {
        if let Some(finished) = &new.file {
            self.files.settled(finished, is_offered, &store.view());
        }
    }

    /// Queues a draft for a session's command. `answer` turns the outcome into an answer. A refusal is counted,
    /// recorded and answered without calling it.
    pub(crate) fn decide(
        self: &Arc<Core>,
        mut responder: Responder,
        draft: Draft,
        answer: impl FnOnce(&mut Answer, Outcome) -> Result<Option<String>, Refusal> + Send + 'static,
    ) {
        let core = Arc::clone(self);
        let (size, sender) = (responder.size(), Some(Arc::clone(responder.peer())));
        let call = move |_: &dyn Store, draft: &Draft, outcome| {
            let answered = match outcome {
                Outcome::Refused(refusal) => Err(refusal),
                outcome => answer(responder.answer(), outcome),
            };
            if let Err(refusal) = &answered {
                let verb = responder.answer().verb().to_owned();
                core.note_refusal(responder.peer(), draft.author.clone(), &verb, refusal.code);
            }
            responder.give(answered);
        };
        // If the daemon is stopping, the responder says so.
        let _ = self.queue.push(Submission { draft, size, sender, reply: Reply::Call(Box::new(call)) });
    }

    /// Queues an act of the daemon's own, and calls `then` with the outcome. If the daemon is stopping, both are
    /// dropped.
    fn submit(&self, act: Act, then: impl FnOnce(&dyn Store, Outcome) + Send + 'static) {
        let reply = Reply::Call(Box::new(move |store, _, outcome| then(store, outcome)));
        let draft = Draft::new(Author::default(), act);
        let _ = self.queue.push(Submission { draft, size: 0, sender: None, reply });
    }

    /// Reads from the log for a payer: beside the writer if possible, else in turn. Returns false if the daemon is
    /// stopping.
    #[must_use]
    pub(crate) fn read(&self, payer: Payer, job: ReadJob) -> bool {
        match self.place {
            Storage::Memory => self.read_in_order(job),
            Storage::Folder { .. } => self.reads.read(payer, job),
        }
    }

    /// Reads what a login needs, before all other reads. Returns false if the daemon is stopping.
    #[must_use]
    pub(crate) fn read_for_login(&self, job: ReadJob) -> bool {
        match self.place {
            Storage::Memory => self.read_in_order(job),
            Storage::Folder { .. } => self.reads.read_for_login(job),
        }
    }

    /// Reads from the log on the writer's thread, between what was delivered and what comes next.
    #[must_use]
    pub(crate) fn read_in_order(&self, job: ReadJob) -> bool {
        self.call_in_turn(Box::new(move |store, _, _| job(Some(&store.view()))))
    }

    /// Searches the log for a payer. Returns false if the daemon is stopping.
    #[must_use]
    pub(crate) fn search(self: &Arc<Core>, payer: Payer, mut search: Search) -> bool {
        if let Storage::Folder { .. } = self.place {
            return self.reads.search(payer, search);
        }
        let core = Arc::clone(self);
        self.call_in_turn(Box::new(move |store, _, _| match store.index() {
            Some(index) => {
                let forgotten = |entries| core.note(Author::default(), Act::Unindexed(entries));
                search_in_memory(&store.view(), &index, search, &forgotten);
            }
            None => {
                search(None);
            }
        }))
    }

    /// Calls a function on the writer's thread when it is its turn.
    fn call_in_turn(&self, call: Call) -> bool {
        let draft = Draft::new(Author::default(), Act::Pass);
        self.queue.push(Submission { draft, size: 0, sender: None, reply: Reply::Call(call) })
    }
}

/// Returns a duration in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
