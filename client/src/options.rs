//! How a client connects.

use std::sync::Arc;
use std::time::Duration;

use snug_protocol::{Cursor, RoomName};

use crate::name::Name;
use crate::{Accounts, Address, MemoryTokens, NoAccounts, Stream, Tokens, Trust};

/// How a client connects.
#[derive(Clone)]
pub struct Options {
    /// Opens a stream to a daemon in this process, instead of `addresses`. It is asked again after each loss.
    /// `accounts` are looked up by address, so none is used.
    pub connector: Option<Arc<dyn Fn() -> Stream + Send + Sync>>,
    /// Where the daemon may be; the first that serves is it. Each of them gets `patience`.
    pub addresses: Vec<Address>,
    /// The name to hold.
    pub name: Name,
    /// Whether to join nothing and not be announced.
    pub quiet: bool,
    /// Rooms to join. After a reconnect the client is in the rooms that it was in.
    pub rooms: Vec<RoomName<'static>>,
    /// Whether the first connection fails if one of the rooms refuses. Otherwise, and after a reconnect, that is an
    /// [`Event::RoomRefused`](crate::Event::RoomRefused).
    pub needs_rooms: bool,
    /// The entry after which events begin; `None` for what comes from now on. After a reconnect they go on where they
    /// broke off, whatever this says.
    pub since: Option<Cursor>,
    /// Whether to tell the daemon that private messages have arrived: not if nobody reads the events.
    pub acknowledge: bool,
    /// Which account one has where. Without one the name is a guest's.
    pub accounts: Arc<dyn Accounts>,
    /// Where guests' tokens are kept.
    pub tokens: Arc<dyn Tokens>,
    /// Which servers are the right ones. Over TCP a server that is neither pinned nor known is refused.
    pub trust: Trust,
    /// How long to try to come back when the connection is lost, to repeat what was not answered. Zero is not at all.
    pub reconnect: Duration,
    /// How long a connection may take to be made at one address, and at most 5 seconds of it a sign of life that
    /// [`Client::check`](crate::Client::check) asks for.
    pub patience: Duration,
    /// The most that is fetched of what was missed, counted in ids of the server's log. If more was missed, the client is live at
    /// once, and says so: [`Event::Skipped`](crate::Event::Skipped).
    pub catch_up: u64,
    /// The longest wait between two tries to come back.
    pub longest_wait: Duration,
    /// Silence after which the daemon is asked for a sign of life; twice that, and the connection is lost.
    pub ping: Duration,
}

impl Options {
    /// Connects as `name` over streams that `connector` opens within this process, and reconnects by opening another one.
    /// Such streams are not sealed: they never leave the process.
    ///
    /// ```
    /// use snug_client::{Name, Options, Stream};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // In a program that embeds the daemon: `move || Stream::over(handle.open_session(SessionRole::Guest))`.
    /// let open = || Stream::over(futures_lite::io::Cursor::new(Vec::new()));
    /// let options = Options::over(open, Name::exactly("builder")?);
    /// assert!(options.addresses.is_empty());
    /// # Ok(()) }
    /// ```
    pub fn over(connector: impl Fn() -> Stream + Send + Sync + 'static, name: Name) -> Options {
        Options { connector: Some(Arc::new(connector)), ..Options::new([], name) }
    }

    /// Connects to the first of `addresses` that can be had, as `name`, and comes back when the connection is lost.
    pub fn new(addresses: impl IntoIterator<Item = Address>, name: Name) -> Options {
        Options {
            connector: None,
            addresses: addresses.into_iter().collect(),
            name,
            quiet: false,
            rooms: Vec::new(),
            needs_rooms: true,
            since: None,
            acknowledge: true,
            accounts: Arc::new(NoAccounts),
            tokens: Arc::new(MemoryTokens::default()),
            trust: Trust::default(),
            reconnect: Duration::MAX,
            patience: Duration::from_secs(10),
            catch_up: u64::MAX,
            longest_wait: Duration::from_secs(30),
            ping: Duration::from_secs(45),
        }
    }
}
