//! The client library of snug: connect, ask, listen, and come back by itself.
//!
//! It runs on any executor, and takes what it needs to know as arguments: it reads no environment.
//!
//! ```no_run
//! use snug_client::{Client, Event, Name, Options};
//! use snug_protocol::{Command, MessageTags, RoomName};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # smol::block_on(async {
//! let options = Options::new(["unix:/run/user/1000/snug.sock".parse()?], Name::exactly("alice")?);
//! let (client, events, driver) = Client::connect(options).await?;
//! smol::spawn(driver.run()).detach();
//! let room = RoomName::parse("#lobby")?;
//! let hello = Command::Msg { room, text: "hello".into(), tags: MessageTags::default() };
//! println!("said as entry {:?}", client.ask(hello).await?.id());
//! while let Ok(event) = events.recv().await {
//!     if let Event::Line(received) = event {
//!         println!("{:?}", received.line());
//!     }
//! }
//! # Ok(()) })
//! # }
//! ```

mod address;
pub use address::{Address, AddressError, DEFAULT_PORT};

mod stream;
pub use stream::{OtherStream, Stream};

mod accounts;
pub use accounts::{
    Accounts, FileAccounts, Invite, InviteError, Login, NoAccounts, OneLogin, read_key, read_token,
};

mod tokens;
pub use tokens::{FileTokens, MemoryTokens, Tokens};

mod trust;
pub use trust::{FileKnownServers, KnownServers, MemoryKnownServers, Trust, read_psk};

mod link;
pub use link::Link;

mod error;
pub use error::{ConnectError, Loss, RequestError, TellError};

mod events;
pub use events::Events;

mod event;
pub use event::{Answer, Event, Received, Ticket};

mod typed;
pub use typed::{Conversation, Entry, Kind, Person, Place, Profile, Typed};

mod name;
pub use name::Name;

mod options;
pub use options::Options;

mod request;
pub use request::Pending;

mod entrance;
pub use entrance::register;

mod whereabouts;

mod exchange;

mod control;
pub use control::Counters;

mod driver;
pub use driver::Driver;

mod client;
pub use client::Client;

mod transfer;
pub use transfer::{FileInfo, Hasher, Sent, TransferError};

mod files;
