//! What all parts of a running daemon share.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ring::rand::SystemRandom;
use snug_bots::Filter;
use snug_protocol::envelope::{ServerKey, ServerOptions};
use snug_protocol::{Code, LogName};

use crate::config::Config;
use crate::deliver::Reply;
use crate::log::{Act, Author, Draft, Place};
use crate::peer::{Budget, Ending, Peer};
use crate::platform;
use crate::reads::{Look, Reads, Search};
use crate::registry::{Registry, Room};
use crate::session::Origin;
use crate::writer::{Queue, Submission};
use crate::{Environment, Keep};

/// See the module.
pub(crate) struct Core {
    config: RwLock<Arc<Config>>,
    pub(crate) environment: Environment,
    pub(crate) registry: Registry,
    /// What waits for the log's writer.
    pub(crate) queue: Queue,
    pub(crate) budget: Arc<Budget>,
    pub(crate) counters: Counters,
    pub(crate) filters: Vec<Box<dyn Filter>>,
    /// The log's random name.
    pub(crate) log_name: LogName,
    /// Where the log is.
    pub(crate) place: Place,
    /// What waits to be read beside the writer, if the log can be read so.
    pub(crate) reads: Reads,
    /// The newest entry that was delivered, and the one that is being delivered, if that is another.
    pub(crate) delivered: AtomicU64,
    pub(crate) delivering: AtomicU64,
    /// The user whom the daemon runs as: an operator.
    pub(crate) operator: u32,
    /// What it takes to seal a connection.
    pub(crate) seal: Seal,
    last_session: AtomicU64,
}

/// The daemon's identity, and what it asks of those who seal.
pub(crate) struct Seal {
    pub(crate) key: ServerKey,
    pub(crate) options: ServerOptions,
    pub(crate) random: SystemRandom,
}

/// What a daemon has done since it started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) entries: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) deliveries: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
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
        (log_name, place): (LogName, Place),
        seal: Seal,
    ) -> Core {
        Core {
            budget: Arc::new(Budget::new(&config.limits)),
            config: RwLock::new(Arc::new(config)),
            environment,
            registry: Registry::default(),
            queue: Queue::default(),
            counters: Counters::default(),
            filters,
            log_name,
            place,
            reads: Reads::default(),
            delivered: AtomicU64::new(0),
            delivering: AtomicU64::new(0),
            operator: platform::own_user(),
            seal,
            last_session: AtomicU64::new(0),
        }
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over what can change, and gives the names of the settings that cannot.
    pub(crate) fn reconfigure(&self, new: Config) -> Vec<&'static str> {
        let mut config = self.config.write().unwrap_or_else(PoisonError::into_inner);
        let fixed = config.needs_restart(&new);
        self.budget.set(&new.limits);
        *config = Arc::new(config.reloaded(new));
        fixed
    }

    /// Milliseconds since some fixed moment.
    pub(crate) fn now(&self) -> u64 {
        millis(self.environment.clock.elapsed())
    }

    /// A peer that nobody knows yet.
    pub(crate) fn new_peer(&self, origin: Origin) -> Arc<Peer> {
        let id = self.last_session.fetch_add(1, Relaxed) + 1;
        Arc::new(Peer::new(id, origin, self.now(), Arc::clone(&self.budget)))
    }

    /// Lets the log forget a room that nobody is in and nobody wrote in.
    pub(crate) fn retire(&self, room: Arc<Room>) {
        let generation = room.generation.load(Relaxed);
        let act = Act::RetireRoom { room: room.number, generation };
        self.submit(Author::default(), act, Reply::Retire { room });
    }

    /// Lets the log note something that nobody waits for.
    pub(crate) fn note(&self, author: Author, act: Act) {
        self.submit(author, act, Reply::Nobody);
    }

    /// Lets the log know which private messages have been given to whom since the last time.
    pub(crate) fn note_delivered(&self) {
        for (number, id) in self.registry.newly_delivered() {
            self.note(Author { number, ..Author::default() }, Act::Deliver { id });
        }
    }

    /// Takes away what is kept no longer, beginning with the conversations behind this number.
    pub(crate) fn purge(&self, behind: u64) {
        let config = self.config();
        let (rooms, private) = (config.log.keep, config.log.keep_private);
        let keeps_everything =
            rooms == Keep::Forever && private == Keep::Forever && !self.registry.has_rooms_of_few_entries();
        // The writer uses the occasion to tidy, also where there is nothing to look at.
        let behind = if keeps_everything { u64::MAX >> 1 } else { behind };
        self.submit(Author::default(), Act::Purge { behind, rooms, private }, Reply::Purge);
    }

    /// If the daemon is stopping, what is submitted now goes with it.
    fn submit(&self, author: Author, act: Act, reply: Reply) {
        let draft = Draft::new(author, act);
        let _ = self.queue.push(Submission { draft, size: 0, reply });
    }

    /// Reads from the log: beside the writer if that can be, else in its turn. False if the daemon is stopping.
    #[must_use]
    pub(crate) fn look(&self, look: Look) -> bool {
        match self.place {
            Place::Memory => self.look_in_turn(look),
            Place::Folder { .. } => self.reads.look(look),
        }
    }

    /// Reads from the log on the writer's thread: between what was delivered and what will be.
    #[must_use]
    pub(crate) fn look_in_turn(&self, look: Look) -> bool {
        let draft = Draft::new(Author::default(), Act::Pass);
        self.queue.push(Submission { draft, size: 0, reply: Reply::Look(look) })
    }

    /// Searches in the log. False if the daemon is stopping.
    #[must_use]
    pub(crate) fn search(&self, search: Search) -> bool {
        match self.place {
            Place::Folder { .. } => self.reads.search(search),
            Place::Memory => {
                let draft = Draft::new(Author::default(), Act::Pass);
                self.queue.push(Submission { draft, size: 0, reply: Reply::Search(search) })
            }
        }
    }

    /// What has to be done from time to time: asks silent peers for a sign of life, ends the dead and the nameless,
    /// forgets guests, and closes the slowest readers when all outboxes together hold too much.
    pub(crate) fn look_after_sessions(&self) {
        let config = self.config();
        let now = self.now();
        let [ping, dead, handshake, registration, linger] = [
            config.heartbeat.ping.duration(),
            config.heartbeat.dead.duration(),
            config.limits.handshake.duration(),
            config.limits.registration.duration(),
            config.guests.linger.duration(),
        ]
        .map(millis);
        self.registry.for_each_peer(|peer| {
            let must_seal = peer.origin.must_seal(config.listen.plaintext);
            peer.check_entrance(now, must_seal, handshake, registration);
            peer.check_pulse(now, ping, dead);
        });
        for number in self.registry.forget_guests(now, linger, config.guests.lingering) {
            self.note(Author { number, ..Author::default() }, Act::Forget);
        }
        self.shed();
    }

    /// Ends the sessions with the fullest outboxes until all together are within their limit again.
    fn shed(&self) {
        if self.budget.excess() == 0 {
            return;
        }
        let mut peers = Vec::new();
        self.registry.for_each_peer(|peer| peers.push((peer.weight(), Arc::clone(peer))));
        peers.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        for (weight, peer) in peers {
            if self.budget.excess() == 0 || weight == 0 {
                return;
            }
            let text = "the daemon is short of memory and you read slowly; connect again and resume";
            peer.end(Ending::Dismissed(Code::TooSlow, text.to_owned()));
        }
    }
}

/// A length of time in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
