//! Files: sent and fetched in pieces, gone on with after any break, and compared at the end.
//!
//! A few pieces are under way at a time; disk and hash have a thread of their own. What was not answered is said again by
//! the connection itself when it comes back, and a piece that had arrived all the same is taken for that.

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

/// Pieces under way at a time: with what stands around them less than 256 KiB.
const WINDOW: usize = 5;

/// Pieces that are read at a time: a thread that is woken for each costs more than the reading.
const BATCH: usize = 8;

/// Batches, or pieces to be written, that may wait.
const BATCHES: usize = 2;
const WAITING: usize = 16;

/// A file that somebody offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Its entry.
    pub id: u64,
    /// What it is called.
    pub name: FileName<'static>,
    /// Its size in bytes.
    pub size: u64,
    /// The SHA-256 of its content.
    pub hash: ContentHash,
    /// Its media type, as the sender takes it to be.
    pub kind: Option<String>,
    /// Who offers it.
    pub from: String,
}

/// A file that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its entry.
    pub id: u64,
    /// Its size in bytes.
    pub size: u64,
    /// The SHA-256 of its content.
    pub hash: ContentHash,
    /// How many bytes had come before, so that they were not sent again.
    pub resumed: u64,
}

/// Why a file was not sent or fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The daemon, or the way to it.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// What is sent cannot be read, or what is fetched cannot be written.
    #[error("{0}")]
    Disk(#[from] io::Error),
    /// What has come is not what was sent.
    #[error("what has come has the sha256 {found}, and should have {expected}")]
    Mismatch {
        /// What has come.
        found: ContentHash,
        /// What was sent.
        expected: ContentHash,
    },
    /// What is sent has changed since the part of it was sent that is there.
    #[error("the file has changed since a part of it was sent")]
    Changed,
    /// The daemon answers something else than a daemon does.
    #[error("the server answered something that makes no sense: {0}")]
    Nonsense(String),
}

/// A SHA-256 in the making.
#[derive(Clone)]
pub struct Hasher(digest::Context);

impl Default for Hasher {
    fn default() -> Hasher {
        Hasher(digest::Context::new(&digest::SHA256))
    }
}

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all of them.
    pub fn finish(self) -> ContentHash {
        let mut hash = [0; ContentHash::LENGTH];
        hash.copy_from_slice(self.0.finish().as_ref());
        ContentHash(hash)
    }
}

/// A piece of a file, and where it belongs.
type Piece = (u64, Arc<Vec<u8>>);

/// What the thread that reads has come to.
enum Reading {
    Pieces(Vec<Piece>),
    End { size: u64, hash: ContentHash },
    Failed(io::Error),
}

impl Client {
    /// Sends a file: all that `source` gives. With a key in the offer it goes on where an earlier try broke off, as long as
    /// the source gives the same again. `progress` hears how many bytes the daemon has.
    ///
    /// # Errors
    /// A [`TransferError`]. What has come stays with the daemon for a while; an offer with the same key goes on.
    pub async fn send_file(
        &self,
        offer: FileOffer<'_>,
        source: impl Read + Send + 'static,
        mut progress: impl FnMut(u64),
    ) -> Result<Sent, TransferError> {
        let answer = self.ask(Command::File(FileCommand::Offer(offer))).await?;
        let (handle, resumed) = offered(&answer)?;
        if let Some(id) = answer.id() {
            // It is there already, if it is the same: the daemon compares.
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
                // It may wait for a source that gives nothing for a long time.
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

    /// Sends the pieces that a thread reads, and gives their size and hash.
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

    /// Sends again what the daemon has lost of the pieces under way: it wants the byte at `next`.
    async fn go_on_at(
        &self,
        handle: UploadHandle,
        next: u64,
        in_flight: &mut VecDeque<(u64, Arc<Vec<u8>>, Pending)>,
    ) -> Result<(), TransferError> {
        let mut next = next;
        let mut again = VecDeque::new();
        for (offset, bytes, pending) in in_flight.drain(..) {
            // Those behind a refused one are refused as well, unless they had arrived before.
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
                // It has lost what it had acknowledged; only the source has that.
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

    /// Tells the sender of a file that one takes it, and learns what it is.
    ///
    /// # Errors
    /// There is no such file, or no connection.
    pub async fn accept_file(&self, id: Cursor) -> Result<FileInfo, TransferError> {
        let answer = self.ask(Command::File(FileCommand::Accept { id })).await?;
        let line = answer.ok.line();
        let info = || {
            let Body::Ok { params: Some(params), .. } = line.body else { return None };
            Some(FileInfo {
                id: params.strip_prefix("ACCEPT ")?.parse().ok()?,
                // The daemon has looked at it; whoever saves under it does not take its word.
                name: FileName::mend(&line.tags.get("name")?),
                size: line.tags.get("size")?.parse().ok()?,
                hash: line.tags.get("sha256")?.parse().ok()?,
                kind: line.tags.get("type").map(|kind| kind.into_owned()),
                from: line.tags.get("from")?.into_owned(),
            })
        };
        info().ok_or_else(|| TransferError::Nonsense(answer.ok.as_str().to_owned()))
    }

    /// Fetches a file, from the byte at `offset` on, of which those before are in `hasher`, and writes it to `sink`.
    /// All of it is compared at the end, and then the sender is told. `progress` hears how many bytes are there.
    ///
    /// # Errors
    /// A [`TransferError`]; what was written is a beginning of the file, unless it is [`TransferError::Mismatch`].
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
        // If the disk failed, that is why the pieces did not go anywhere.
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
                // The one who writes says why.
                return Ok(());
            }
            progress(arrived);
        }
        Ok(())
    }
}

/// Handle and offset of an OFFER's answer.
fn offered(answer: &Answer) -> Result<(UploadHandle, u64), TransferError> {
    let nonsense = || TransferError::Nonsense(answer.ok.as_str().to_owned());
    let Body::Ok { params: Some(params), .. } = answer.ok.line().body else { return Err(nonsense()) };
    let mut words = params.strip_prefix("OFFER ").ok_or_else(nonsense)?.split(' ');
    let handle = words.next().and_then(|word| word.parse().ok()).ok_or_else(nonsense)?;
    let offset = words.next().and_then(|word| word.parse().ok()).ok_or_else(nonsense)?;
    Ok((handle, offset))
}

/// Where the daemon wants an upload to go on, if that is why it refuses.
fn next_offset(error: &RequestError) -> Option<u64> {
    match error {
        RequestError::Refused { code, offset, .. } if code == Code::BadOffset.word() => *offset,
        _ => None,
    }
}

/// The piece of an answer, which has to be the one at this place.
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

/// Reads a source in pieces, behind the first `skip` bytes, which are only hashed.
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
            // Nobody who waits for it any more is no error of the source.
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

/// Reads the first `count` bytes, which were sent before.
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

/// Reads until the buffer is full or nothing more comes.
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
