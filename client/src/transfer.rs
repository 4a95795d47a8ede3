//! File transfers. Files are sent and fetched in pieces, transfers resume after any interruption, and the hash of the
//! whole file is compared at the end.
//!
//! A few pieces are in flight at a time; disk access and hashing have a thread of their own. After a reconnect the
//! connection itself repeats the pieces that were not answered. If such a piece had arrived after all, its refusal is
//! taken as success.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::Arc;

use async_channel::{Receiver, Sender};
use ring::digest;
use snug_protocol::{
    Body, Code, Command, ContentHash, Cursor, FileCommand, FileName, FileOffer, FileRef, UploadHandle, limits,
};

use crate::client::Client;
use crate::error::RequestError;
use crate::event::Answer;
use crate::request::Pending;

/// Pieces in flight at a time. With their lines they take less than 256 KiB.
const WINDOW: usize = 5;

/// Pieces that are read at a time. To wake a thread for each piece would cost more than reading it.
const BATCH: usize = 8;

/// Batches that may wait to be sent.
const BATCHES: usize = 2;
/// Pieces that may wait to be written.
const WAITING: usize = 16;

/// A file that a user has offered. [`Client::accept_file`] returns it.
///
/// ```
/// use std::path::{Path, PathBuf};
///
/// use snug_client::FileInfo;
/// use snug_protocol::FileName;
///
/// fn path_of(downloads: &Path, info: &FileInfo) -> PathBuf {
///     downloads.join(info.name.as_str())
/// }
///
/// let info = FileInfo {
///     id: 125,
///     name: FileName::mend("../hello.txt"),
///     size: 6,
///     hash: "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03".parse()?,
///     kind: Some("text/plain".to_owned()),
///     from: "alice".to_owned(),
/// };
/// assert_eq!(path_of(Path::new("downloads"), &info), Path::new("downloads/.._hello.txt"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// The id of the file's entry.
    pub id: u64,
    /// The file's name. It is never a path.
    pub name: FileName<'static>,
    /// The file's size in bytes.
    pub size: u64,
    /// The SHA-256 of the file's content.
    pub hash: ContentHash,
    /// The file's media type, as the sender states it. It is not verified.
    pub kind: Option<String>,
    /// The sender's nickname.
    pub from: String,
}

/// A file that was sent. [`Client::send_file`] returns it.
///
/// ```
/// use snug_client::Sent;
///
/// /// Returns how many bytes went over the network this time.
/// fn transferred(sent: &Sent) -> u64 {
///     sent.size - sent.resumed
/// }
///
/// # let hash = snug_client::Hasher::default().finish();
/// let sent = Sent { id: 125, size: 1_000, hash, resumed: 600 };
/// assert_eq!(transferred(&sent), 400);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The id of the file's entry.
    pub id: u64,
    /// The file's size in bytes.
    pub size: u64,
    /// The SHA-256 of the file's content.
    pub hash: ContentHash,
    /// Bytes that the server had from an earlier attempt, so that they were not sent again.
    pub resumed: u64,
}

/// The reason why a file was not sent or fetched.
///
/// ```
/// use std::io;
///
/// use snug_client::TransferError;
///
/// /// Returns whether a fetch can resume after the part that was written.
/// fn can_resume(error: &TransferError) -> bool {
///     !matches!(error, TransferError::Mismatch { .. })
/// }
///
/// assert!(can_resume(&TransferError::Disk(io::ErrorKind::StorageFull.into())));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The server refused a command, or the connection was lost.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The source of an upload cannot be read, or the sink of a download cannot be written.
    #[error("{0}")]
    Disk(#[from] io::Error),
    /// The content that has arrived is not the content that was sent.
    #[error("what has come has the sha256 {found}, and should have {expected}")]
    Mismatch {
        /// The hash of the content that has arrived.
        found: ContentHash,
        /// The hash of the content that was sent.
        expected: ContentHash,
    },
    /// The server cannot continue the upload with this source: the source has changed since a part of it was sent, or
    /// the server has lost bytes that it had acknowledged.
    #[error("the file has changed since a part of it was sent")]
    Changed,
    /// The server's answer does not follow the protocol.
    #[error("the server answered something that makes no sense: {0}")]
    Nonsense(String),
}

/// A SHA-256 that is being computed.
///
/// ```
/// use snug_client::Hasher;
///
/// let mut hasher = Hasher::default();
/// hasher.update(b"hel");
/// hasher.update(b"lo\n");
/// let hash = hasher.finish().to_string(); // As `sha256sum` prints it.
/// assert_eq!(hash, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
/// ```
#[derive(Clone)]
pub struct Hasher(digest::Context);

impl Default for Hasher {
    fn default() -> Hasher {
        Hasher(digest::Context::new(&digest::SHA256))
    }
}

impl Hasher {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the hash of all bytes that were added.
    pub fn finish(self) -> ContentHash {
        let mut hash = [0; ContentHash::LENGTH];
        hash.copy_from_slice(self.0.finish().as_ref());
        ContentHash(hash)
    }
}

/// A piece of a file: its offset in bytes, and its content.
type Piece = (u64, Arc<Vec<u8>>);

/// A report of the thread that reads the source.
enum Reading {
    Pieces(Vec<Piece>),
    End { size: u64, hash: ContentHash },
    Failed(io::Error),
}

impl Client {
    /// Sends a file: all bytes of `source`. If the offer has a `key`, this resumes an earlier attempt with that key,
    /// as long as the source has the same content. `progress` is called with the number of bytes that the server has.
    ///
    /// ```no_run
    /// # use snug_client::{Client, Name, Options};
    /// use snug_protocol::{FileName, FileOffer, RoomName, Target};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # smol::block_on(async {
    /// # let options = Options::new(["chat.example".parse()?], Name::exactly("alice")?);
    /// # let (client, _events, driver) = Client::connect(options).await?;
    /// # smol::spawn(driver.run()).detach();
    /// let offer = FileOffer {
    ///     target: Target::Room(RoomName::LOBBY),
    ///     size: None,
    ///     hash: None,
    ///     name: FileName::parse("notes.txt")?,
    ///     kind: Some("text/plain".into()),
    ///     key: Some("notes-2026-11-21".into()),
    ///     re: None,
    ///     relayed: "".into(),
    /// };
    /// let source = std::fs::File::open("notes.txt")?;
    /// let sent = client.send_file(offer, source, |bytes| println!("{bytes} bytes")).await?;
    /// println!("sent as entry {}, SHA-256 {}", sent.id, sent.hash);
    /// # Ok(()) })
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns a [`TransferError`]. The server keeps the bytes that have arrived for a while; a new offer with the
    /// same key resumes after them.
    pub async fn send_file(
        &self,
        offer: FileOffer<'_>,
        source: impl Read + Send + 'static,
        mut progress: impl FnMut(u64),
    ) -> Result<Sent, TransferError> {
        let answer = self.ask(Command::File(FileCommand::Offer(offer))).await?;
        let (handle, resumed) = offered(&answer)?;
        if let Some(id) = answer.id() {
            // An earlier attempt has completed the upload. The server compares whether the content is the same.
            let (size, hash) = smol::unblock(move || hash_all(source)).await?;
            self.ask(Command::File(FileCommand::Done { of: FileRef::Upload(handle), size, hash })).await?;
            return Ok(Sent { id, size, hash, resumed: size });
        }
        let (pieces, reading) = async_channel::bounded(BATCHES);
        let reader = smol::unblock(move || read_pieces(source, resumed, &pieces));
        progress(resumed);
        let done = self.put_pieces(handle, &reading, &mut progress).await;
        reading.close();
        let (size, hash) = match done {
            Ok(done) => done,
            Err(error) => {
                // It may be blocked for a long time, on a source that yields nothing.
                reader.detach();
                return Err(error);
            }
        };
        reader.await;
        let done = FileCommand::Done { of: FileRef::Upload(handle), size, hash };
        let answer = self.ask(Command::File(done)).await?;
        let id = answer.id().ok_or_else(|| TransferError::Nonsense(answer.ok.as_str().to_owned()))?;
        Ok(Sent { id, size, hash, resumed })
    }

    /// Sends the pieces that the reading thread yields. Returns the size and hash of the whole source.
    async fn put_pieces(
        &self,
        handle: UploadHandle,
        reading: &Receiver<Reading>,
        progress: &mut impl FnMut(u64),
    ) -> Result<(u64, ContentHash), TransferError> {
        let mut in_flight: VecDeque<(u64, Arc<Vec<u8>>, Pending)> = VecDeque::new();
        let mut end = None;
        let mut ready: VecDeque<Piece> = VecDeque::new();
        while end.is_none() || !ready.is_empty() || !in_flight.is_empty() {
            if in_flight.len() < WINDOW {
                if let Some((offset, bytes)) = ready.pop_front() {
                    let pending = self.put(handle, offset, &bytes).await;
                    in_flight.push_back((offset, bytes, pending));
                    continue;
                }
                if end.is_none() {
                    match reading.recv().await {
                        Ok(Reading::Pieces(pieces)) => ready.extend(pieces),
                        Ok(Reading::End { size, hash }) => end = Some((size, hash)),
                        Ok(Reading::Failed(error)) => return Err(error.into()),
                        Err(_) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                    }
                    continue;
                }
            }
            let Some((offset, bytes, pending)) = in_flight.pop_front() else { continue };
            match pending.answer().await {
                Ok(_) => progress(offset + bytes.len() as u64),
                Err(error) => {
                    let Some(next) = next_offset(&error) else { return Err(error.into()) };
                    in_flight.push_front((offset, bytes, Pending::nothing()));
                    self.go_on_at(handle, next, &mut in_flight).await?;
                }
            }
        }
        end.ok_or_else(|| TransferError::Nonsense("nothing was read".to_owned()))
    }

    /// Sends again what the server lacks of the pieces in flight. It has refused one, and wants the byte at `next`.
    async fn go_on_at(
        &self,
        handle: UploadHandle,
        next: u64,
        in_flight: &mut VecDeque<(u64, Arc<Vec<u8>>, Pending)>,
    ) -> Result<(), TransferError> {
        let mut next = next;
        let mut again = VecDeque::new();
        for (offset, bytes, pending) in in_flight.drain(..) {
            // Pieces behind a refused one are refused as well, unless they had arrived before.
            if let Err(error) = pending.answer_if_any().await
                && let Some(told) = next_offset(&error)
            {
                next = told;
            }
            again.push_back((offset, bytes));
        }
        for (offset, bytes) in again {
            let end = offset + bytes.len() as u64;
            if end <= next {
                continue;
            }
            if next < offset {
                // The server has lost bytes that it had acknowledged. Only the source still has them.
                return Err(TransferError::Changed);
            }
            let rest = usize::try_from(next - offset).unwrap_or(0);
            let bytes = if rest == 0 { bytes } else { Arc::new(bytes[rest..].to_vec()) };
            let pending = self.put(handle, next, &bytes).await;
            in_flight.push_back((next, bytes, pending));
            next = end;
        }
        Ok(())
    }

    async fn put(&self, handle: UploadHandle, offset: u64, bytes: &Arc<Vec<u8>>) -> Pending {
        let command = Command::File(FileCommand::Put { handle, offset });
        self.begin_with(command, Some(Arc::clone(bytes))).await
    }

    /// Accepts a file: tells its sender so, and returns what [`Client::fetch_file`] needs to know. `id` is the file's
    /// entry. The example at [`Client::fetch_file`] begins with it.
    ///
    /// # Errors
    /// Fails if there is no such file, or no connection.
    pub async fn accept_file(&self, id: Cursor) -> Result<FileInfo, TransferError> {
        let answer = self.ask(Command::File(FileCommand::Accept { id })).await?;
        let line = answer.ok.line();
        let info = || {
            let Body::Ok { params: Some(params), .. } = line.body else { return None };
            Some(FileInfo {
                id: params.strip_prefix("ACCEPT ")?.parse().ok()?,
                // The server has checked the name, but a program that saves a file under it must not rely on that.
                name: FileName::mend(&line.tags.get("name")?),
                size: line.tags.get("size")?.parse().ok()?,
                hash: line.tags.get("sha256")?.parse().ok()?,
                kind: line.tags.get("type").map(|kind| kind.into_owned()),
                from: line.tags.get("from")?.into_owned(),
            })
        };
        info().ok_or_else(|| TransferError::Nonsense(answer.ok.as_str().to_owned()))
    }

    /// Fetches a file and writes it to `sink`, beginning with the byte at `offset`. To resume, add the bytes before
    /// `offset` to `hasher` first; otherwise start at 0 with an empty one.
    ///
    /// At the end the hash of the whole file is compared, and the sender is told that the file has arrived.
    /// `progress` is called with the number of bytes that are there, those before `offset` included.
    ///
    /// ```no_run
    /// # use snug_client::{Client, Name, Options};
    /// use snug_client::Hasher;
    /// use snug_protocol::Cursor;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # smol::block_on(async {
    /// # let options = Options::new(["chat.example".parse()?], Name::exactly("alice")?);
    /// # let (client, _events, driver) = Client::connect(options).await?;
    /// # smol::spawn(driver.run()).detach();
    /// let info = client.accept_file(Cursor::at(125)).await?;
    /// let part = format!("{}.part", info.hash);
    /// let sink = std::fs::File::create(&part)?;
    /// let progress = |bytes: u64| println!("{bytes} of {} bytes", info.size);
    /// client.fetch_file(&info, (0, Hasher::default()), sink, progress).await?;
    /// std::fs::rename(part, info.name.as_str())?; // Only now is it known to be complete.
    /// # Ok(()) })
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns a [`TransferError`]. What was written is the beginning of the file, unless the error is
    /// [`TransferError::Mismatch`].
    pub async fn fetch_file(
        &self,
        info: &FileInfo,
        (offset, hasher): (u64, Hasher),
        sink: impl Write + Send + 'static,
        mut progress: impl FnMut(u64),
    ) -> Result<(), TransferError> {
        let (pieces, writing) = async_channel::bounded(WAITING);
        let writer = smol::unblock(move || write_pieces(sink, hasher, &writing));
        progress(offset);
        let fetched = self.get_pieces(info, offset, &pieces, &mut progress).await;
        pieces.close();
        // An error of the disk comes first: it is why the pieces were not taken.
        let found = writer.await?;
        fetched?;
        if found != info.hash {
            return Err(TransferError::Mismatch { found, expected: info.hash });
        }
        let done =
            FileCommand::Done { of: FileRef::Entry(Cursor::at(info.id)), size: info.size, hash: found };
        self.ask(Command::File(done)).await?;
        Ok(())
    }

    async fn get_pieces(
        &self,
        info: &FileInfo,
        mut offset: u64,
        pieces: &Sender<Vec<u8>>,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), TransferError> {
        let id = Cursor::at(info.id);
        let mut arrived = offset;
        let mut in_flight: VecDeque<Pending> = VecDeque::new();
        while arrived < info.size {
            while in_flight.len() < WINDOW && offset < info.size {
                let count = limits::FILE_CHUNK.min(info.size - offset);
                let command = Command::File(FileCommand::Get { id, offset, count });
                in_flight.push_back(self.begin(command).await);
                offset += count;
            }
            let Some(pending) = in_flight.pop_front() else { break };
            let answer = pending.answer().await?;
            let piece = piece_of(answer, arrived)?;
            arrived += piece.len() as u64;
            if pieces.send(piece).await.is_err() {
                // The writing thread has failed, and reports why.
                return Ok(());
            }
            progress(arrived);
        }
        Ok(())
    }
}

/// Returns the handle and the offset in the answer to an OFFER.
fn offered(answer: &Answer) -> Result<(UploadHandle, u64), TransferError> {
    let nonsense = || TransferError::Nonsense(answer.ok.as_str().to_owned());
    let Body::Ok { params: Some(params), .. } = answer.ok.line().body else { return Err(nonsense()) };
    let mut words = params.strip_prefix("OFFER ").ok_or_else(nonsense)?.split(' ');
    let handle = words.next().and_then(|word| word.parse().ok()).ok_or_else(nonsense)?;
    let offset = words.next().and_then(|word| word.parse().ok()).ok_or_else(nonsense)?;
    Ok((handle, offset))
}

/// Returns the offset at which the server wants an upload to continue, if it has refused a piece because of that.
fn next_offset(error: &RequestError) -> Option<u64> {
    match error {
        RequestError::Refused { code, offset, .. } if code == Code::BadOffset.word() => *offset,
        _ => None,
    }
}

/// Returns the piece in an answer, which has to be the one at the offset `at`.
fn piece_of(answer: Answer, at: u64) -> Result<Vec<u8>, TransferError> {
    let nonsense = |answer: &Answer| TransferError::Nonsense(answer.ok.as_str().to_owned());
    let is_right = answer.rows.first().is_some_and(
        |row| matches!(row.line().body, Body::FileData { offset, .. } if offset.parse() == Ok(at)),
    );
    if !is_right {
        return Err(nonsense(&answer));
    }
    let ok = answer.ok;
    let bytes = answer.rows.into_iter().next().and_then(|row| row.bytes).filter(|bytes| !bytes.is_empty());
    bytes.ok_or_else(|| TransferError::Nonsense(ok.as_str().to_owned()))
}

/// Reads a source in pieces. The first `skip` bytes are only hashed.
fn read_pieces(mut source: impl Read, skip: u64, pieces: &Sender<Reading>) {
    let mut hasher = Hasher::default();
    let ended = hash_first(&mut source, skip, &mut hasher).and_then(|()| {
        let size = usize::try_from(limits::FILE_CHUNK).unwrap_or(0);
        let mut offset = skip;
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            while batch.len() < BATCH {
                let mut bytes = Vec::with_capacity(size);
                let count = (&mut source).take(limits::FILE_CHUNK).read_to_end(&mut bytes)?;
                if count == 0 {
                    break;
                }
                hasher.update(&bytes);
                batch.push((offset, Arc::new(bytes)));
                offset += count as u64;
            }
            let is_end = batch.len() < BATCH;
            // If nobody receives the pieces any more, that is not an error of the source.
            if !batch.is_empty() && pieces.send_blocking(Reading::Pieces(batch)).is_err() || is_end {
                return Ok(offset);
            }
        }
    });
    let _ = pieces.send_blocking(match ended {
        Ok(size) => Reading::End { size, hash: hasher.finish() },
        Err(error) => Reading::Failed(error),
    });
}

/// Hashes the first `count` bytes of a source, which were sent before.
fn hash_first(source: &mut impl Read, count: u64, hasher: &mut Hasher) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    let mut left = count;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        match read_full(source, &mut buffer[..most])? {
            0 => return Err(io::Error::other("it is shorter than the part that was sent before")),
            count => {
                hasher.update(&buffer[..count]);
                left -= count as u64;
            }
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the source ends. Returns the number of bytes read.
fn read_full(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn hash_all(mut source: impl Read) -> io::Result<(u64, ContentHash)> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 256 << 10];
    let mut size = 0;
    loop {
        match read_full(&mut source, &mut buffer)? {
            0 => return Ok((size, hasher.finish())),
            count => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
}

fn write_pieces(
    mut sink: impl Write,
    mut hasher: Hasher,
    pieces: &Receiver<Vec<u8>>,
) -> io::Result<ContentHash> {
    while let Ok(piece) = pieces.recv_blocking() {
        if let Err(error) = sink.write_all(&piece) {
            pieces.close();
            return Err(error);
        }
        hasher.update(&piece);
    }
    sink.flush()?;
    Ok(hasher.finish())
}
