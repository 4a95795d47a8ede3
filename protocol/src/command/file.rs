//! FILE: offering, sending, fetching.

use std::borrow::Cow;

use super::{Parsed, Reader};
use crate::{Code, ContentHash, Cursor, FileName, TagBuilder, Target, UploadHandle, limits};

/// What FILE is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the table of verbs says what each is, and its fields are its parameters and tags"
)]
pub enum FileCommand<'a> {
    Offer(FileOffer<'a>),
    /// With bytes behind the line.
    Put {
        handle: UploadHandle,
        offset: u64,
    },
    Done {
        of: FileRef,
        size: u64,
        hash: ContentHash,
    },
    Accept {
        id: Cursor,
    },
    Decline {
        id: Cursor,
    },
    Cancel {
        of: FileRef,
    },
    Get {
        id: Cursor,
        offset: u64,
        count: u64,
    },
    List {
        of: Option<Target<'a>>,
        before: Option<Cursor>,
        limit: Option<u64>,
    },
    State {
        id: Cursor,
    },
}

/// A file that is about to be sent. What is not known yet DONE says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "its fields are the command's parameters and tags")]
pub struct FileOffer<'a> {
    pub target: Target<'a>,
    pub size: Option<u64>,
    pub hash: Option<ContentHash>,
    pub name: FileName<'a>,
    /// The media type (RFC 6838), as the sender takes it to be.
    pub kind: Option<Cow<'a, str>>,
    /// Makes a repeat the same upload, to be gone on with.
    pub key: Option<Cow<'a, str>>,
    /// The entry that it answers.
    pub re: Option<Cursor>,
    /// What is stored and relayed untouched, as written on the line: `caption`, and all that begin with `+`.
    pub relayed: Cow<'a, str>,
}

/// An upload on its way, or a file that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum FileRef {
    Upload(UploadHandle),
    Entry(Cursor),
}

impl std::fmt::Display for FileRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FileRef::Upload(handle) => handle.fmt(f),
            FileRef::Entry(cursor) => cursor.fmt(f),
        }
    }
}

/// Whether a text has the form of a media type, `type/subtype` (RFC 6838, section 4.2).
pub fn is_media_type(text: &str) -> bool {
    let is_name = |name: &str| {
        let is_plain = |b: u8| {
            b.is_ascii_alphanumeric()
                || matches!(b, b'!' | b'#' | b'$' | b'&' | b'-' | b'^' | b'_' | b'.' | b'+')
        };
        (1..=limits::LABEL).contains(&name.len())
            && name.bytes().all(is_plain)
            && name.as_bytes()[0].is_ascii_alphanumeric()
    };
    text.split_once('/').is_some_and(|(kind, subtype)| is_name(kind) && is_name(subtype))
}

impl<'a> Reader<'a> {
    pub(super) fn file(&mut self) -> Parsed<FileCommand<'a>> {
        let word = self.word()?;
        Ok(match word.to_ascii_uppercase().as_str() {
            "OFFER" => FileCommand::Offer(self.offer()?),
            "PUT" => FileCommand::Put { handle: self.handle()?, offset: self.amount()? },
            "DONE" => FileCommand::Done { of: self.file_ref()?, size: self.amount()?, hash: self.hash()? },
            "ACCEPT" => FileCommand::Accept { id: self.cursor()? },
            "DECLINE" => FileCommand::Decline { id: self.cursor()? },
            "CANCEL" => FileCommand::Cancel { of: self.file_ref()? },
            "GET" => FileCommand::Get { id: self.cursor()?, offset: self.amount()?, count: self.amount()? },
            "LIST" => FileCommand::List {
                of: if self.params.is_empty() { None } else { self.target_or_all()? },
                before: self.cursor_tag("before")?,
                limit: self.limit_tag()?,
            },
            "STATE" => FileCommand::State { id: self.cursor()? },
            _ => {
                let what = "it is one of OFFER, PUT, DONE, ACCEPT, DECLINE, CANCEL, GET, LIST and STATE";
                return Err(self.misuse(Code::BadParameter, what));
            }
        })
    }

    fn offer(&mut self) -> Parsed<FileOffer<'a>> {
        let target = self.target()?;
        let size = if self.is_dash() { None } else { Some(self.amount()?) };
        let hash = if self.is_dash() { None } else { Some(self.hash()?) };
        let kind = self.tags.get("type");
        if kind.as_ref().is_some_and(|kind| !is_media_type(kind)) {
            return Err((Code::BadTag, "type is a media type, such as image/png".to_owned()));
        }
        let key = self.key()?;
        // The rest of the line, as it is: a name with a newline is refused below, whatever it is written as.
        let Some(name) = self.params.rest() else {
            return Err(self.misuse(Code::MissingParameter, "the file's name is missing"));
        };
        while self.params.word().is_some() {}
        let name = FileName::parse(name).map_err(|error| {
            (Code::BadName, format!("this is no name of a file: {error}; send another name"))
        })?;
        let relayed = self.relayed(&["caption"]);
        Ok(FileOffer { target, size, hash, name, kind, key, re: self.cursor_tag("re")?, relayed })
    }

    /// Takes a `-`, if that comes next.
    fn is_dash(&mut self) -> bool {
        let mut ahead = self.params;
        let is_dash = ahead.word() == Some("-");
        if is_dash {
            self.params = ahead;
        }
        is_dash
    }

    /// A number of bytes. What is too large for a number is over every limit.
    fn amount(&mut self) -> Parsed<u64> {
        let word = self.word()?;
        if !word.bytes().all(|b| b.is_ascii_digit()) {
            return Err(self.misuse(Code::BadParameter, "a size, offset or count is a number of bytes"));
        }
        Ok(word.parse().unwrap_or(u64::MAX))
    }

    fn hash(&mut self) -> Parsed<ContentHash> {
        let word = self.word()?;
        word.parse().map_err(|error| self.misuse(Code::BadParameter, &format!("{error}")))
    }

    fn handle(&mut self) -> Parsed<UploadHandle> {
        let word = self.word()?;
        word.parse()
            .map_err(|()| self.misuse(Code::BadParameter, "a handle is what OFFER answers, such as u17"))
    }

    fn file_ref(&mut self) -> Parsed<FileRef> {
        let mut ahead = self.params;
        match ahead.word().map(str::parse) {
            Some(Ok(handle)) => {
                self.params = ahead;
                Ok(FileRef::Upload(handle))
            }
            _ => self.cursor().map(FileRef::Entry),
        }
    }
}

impl FileCommand<'_> {
    /// What stands behind the verb; adds the command's own tags.
    pub(super) fn words(&self, tags: &mut TagBuilder) -> Vec<Cow<'_, str>> {
        fn shown<'a>(what: &'static str, words: &[&dyn std::fmt::Display]) -> Vec<Cow<'a, str>> {
            std::iter::once(Cow::Borrowed(what))
                .chain(words.iter().map(|word| word.to_string().into()))
                .collect()
        }
        match self {
            FileCommand::Offer(FileOffer { target, size, hash, name, kind, key, re, relayed }) => {
                tags.display("re", *re);
                tags.value("key", key.as_deref());
                tags.value("type", kind.as_deref());
                tags.raw(relayed);
                let size = size.map_or_else(|| "-".to_owned(), |size| size.to_string());
                let hash = hash.map_or_else(|| "-".to_owned(), |hash| hash.to_string());
                shown("OFFER", &[&target.as_str(), &size, &hash, name])
            }
            FileCommand::Put { handle, offset } => shown("PUT", &[handle, offset]),
            FileCommand::Done { of, size, hash } => shown("DONE", &[of, size, hash]),
            FileCommand::Accept { id } => shown("ACCEPT", &[id]),
            FileCommand::Decline { id } => shown("DECLINE", &[id]),
            FileCommand::Cancel { of } => shown("CANCEL", &[of]),
            FileCommand::Get { id, offset, count } => shown("GET", &[id, offset, count]),
            FileCommand::List { of, before, limit } => {
                tags.display("before", *before);
                tags.display("limit", *limit);
                match of {
                    None => shown("LIST", &[]),
                    Some(target) => shown("LIST", &[&target.as_str()]),
                }
            }
            FileCommand::State { id } => shown("STATE", &[id]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::tests::parse;
    use crate::{Command, Nick};

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn files_are_offered_sent_and_fetched() {
        fn file(line: &str) -> FileCommand<'_> {
            match parse(line) {
                Ok(Command::File(command)) => command,
                other => panic!("{line}: {other:?}"),
            }
        }
        let offer = file("@type=text/plain;key=k FILE OFFER bob 5 - two words.txt");
        let FileCommand::Offer(offer) = offer else { panic!("an offer") };
        assert_eq!(offer.target, Target::Nick(Nick::parse("bob").expect("a nick")));
        assert_eq!((offer.size, offer.hash, offer.name.as_str()), (Some(5), None, "two words.txt"));
        let done = format!("file done u7 99999999999999999999 {HASH}");
        let done = file(&done);
        assert!(matches!(
            done,
            FileCommand::Done { of: FileRef::Upload(UploadHandle(7)), size: u64::MAX, .. }
        ));
        assert_eq!(
            file("FILE GET 120 0 49152"),
            FileCommand::Get { id: Cursor::at(120), offset: 0, count: 49_152 }
        );
        assert_eq!(file("FILE LIST"), FileCommand::List { of: None, before: None, limit: None });
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, code) in [
            ("FILE", Code::MissingParameter),
            ("FILE SEND bob", Code::BadParameter),
            ("FILE OFFER #lobby 5 -", Code::MissingParameter),
            ("FILE OFFER #lobby five - a.txt", Code::BadParameter),
            ("FILE OFFER #lobby 5 abc a.txt", Code::BadParameter),
            ("FILE OFFER #lobby 5 - ../a.txt", Code::BadName),
            ("FILE OFFER #lobby 5 - ..", Code::BadName),
            ("FILE OFFER #lobby 5 - a\u{202e}txt", Code::BadName),
            ("FILE OFFER #lobby -5 - a.txt", Code::BadParameter),
            ("@type=png FILE OFFER #lobby 5 - a.txt", Code::BadTag),
            ("FILE PUT 17 0", Code::BadParameter),
            ("FILE PUT u17 -1", Code::BadParameter),
            ("FILE GET u17 0 1", Code::BadParameter),
            ("FILE GET 17 0", Code::MissingParameter),
            ("FILE DONE u17 5", Code::MissingParameter),
        ] {
            assert_eq!(parse(line), Err(code), "{line:?}");
        }
    }
}
