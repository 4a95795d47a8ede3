//! The wire protocol of snug: bytes and text in, values out, and back again.
//!
//! Nothing here does I/O, looks at a clock or knows a runtime, so every rule of the wire is tested by handing
//! it bytes. Read the modules in this order:
//!
//! ```text
//!   bytes ── LineDecoder ──> &str ── Line ──> Request { Command, tags }       what a client says
//!                                        └──> ServerLine { Body, tags }       what the daemon says
//! ```
//!
//! Each type has one parser and one formatter, and parsing what was formatted gives the same value back; the
//! property tests hold them to it. `PROTOCOL.md` in the repository's root is the contract in prose.

pub mod limits;

pub mod envelope;

mod decoder;
pub use decoder::{CarriageReturn, Decoded, Fault, LineDecoder};

mod codec;
pub use codec::{Codec, End, Item, Sealed};

mod opening;
pub use opening::Opening;

mod escape;
pub use escape::{escape_tag, escape_text, escaped_text_len, unescape_tag, unescape_text};

mod line;
pub use line::{Line, LineError, Params, TagBuilder, Tags};

mod name;
pub use name::{Folded, NameError, Nick, RoomName, Skeletons, Target, is_deceptive};

mod person;
pub use person::{PersonId, PersonIdError};

mod time;
pub use time::Timestamp;

mod cursor;
pub use cursor::{Cursor, CursorError, LogName};

mod code;
pub use code::Code;

mod period;
pub use period::{Period, PeriodError};

mod verb;
pub use verb::{Spec, VERBS, Verb, reference};

mod role;
pub use role::{Action, Role, roles_table};

mod scope;
pub use scope::{Scope, ScopeError};

mod file;
pub use file::{ContentHash, FileName, FileNameError, HashError, UploadHandle};

mod command;
pub use command::{
    Aim, AuditPage, BotOrder, Command, CommandError, Credential, Entrance, FileCommand, FileOffer, FileRef,
    KeyChange, MessageTags, Page, Presence, ProfileChange, Request, RoomOrServer, Secret, ShutdownAt, Switch,
    TokenChange, TopicChange, announced_bytes, is_media_type,
};

mod command_spec;
pub use command_spec::{Args, CommandSpec, Param, ParamKind, SpecError, called};

mod mention;
pub use mention::mentions;

mod reply;
pub use reply::{Body, EntryKind, FileState, ServerLine};
