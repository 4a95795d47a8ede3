//! Lines over a stream, without meaning: what `snug pipe` needs, and what the driver is built on.

use std::io;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use snug_protocol::{Decoded, LineDecoder, limits};

use crate::{Address, ConnectError, Stream};

/// How many bytes are read at once.
const READ_SIZE: usize = 32 << 10;

/// A connection that carries lines.
pub struct Link {
    reader: Stream,
    writer: Stream,
    decoder: LineDecoder,
    buffer: Vec<u8>,
    /// What was read and not taken yet stands in `buffer[from..to]`.
    from: usize,
    to: usize,
    outgoing: Vec<u8>,
    written: usize,
}

impl Link {
    /// Connects to the first of some addresses that takes a connection.
    ///
    /// # Errors
    /// [`ConnectError::NoServer`] with the last one.
    pub async fn reach(addresses: &[Address]) -> Result<(&Address, Link), ConnectError> {
        let no_address = || io::Error::new(io::ErrorKind::InvalidInput, "no address was given");
        let mut failed = ConnectError::NoServer { address: Address::Unix("".into()), error: no_address() };
        for address in addresses {
            match Link::connect(address).await {
                Ok(link) => return Ok((address, link)),
                Err(error) => failed = ConnectError::NoServer { address: address.clone(), error },
            }
        }
        Err(failed)
    }

    /// Connects.
    ///
    /// # Errors
    /// As the system says.
    pub async fn connect(address: &Address) -> io::Result<Link> {
        let stream = Stream::connect(address).await?;
        Ok(Link {
            reader: stream.clone(),
            writer: stream,
            // The daemon keeps to the limit; the room beside it is for one of the future that does not.
            decoder: LineDecoder::new(2 * limits::LINE),
            buffer: vec![0; READ_SIZE],
            from: 0,
            to: 0,
            outgoing: Vec::new(),
            written: 0,
        })
    }

    /// Puts bytes behind what is to be written: whole lines with their ends.
    pub fn queue(&mut self, lines: &[u8]) {
        self.outgoing.extend_from_slice(lines);
    }

    /// How many bytes are still to be written.
    pub fn queued(&self) -> usize {
        self.outgoing.len() - self.written
    }

    /// Takes a line that was read already.
    ///
    /// # Errors
    /// The daemon sent something that is no line.
    pub fn take_line(&mut self) -> io::Result<Option<String>> {
        let mut input = &self.buffer[self.from..self.to];
        let decoded = self.decoder.next(&mut input);
        let line = match decoded {
            None => Ok(None),
            Some(Decoded::Line(line)) => Ok(Some(line.to_owned())),
            Some(Decoded::Fault(fault)) => Err(io::Error::new(io::ErrorKind::InvalidData, fault)),
            Some(Decoded::Bytes { .. }) => Err(io::ErrorKind::InvalidData.into()),
        };
        self.from = self.to - input.len();
        line
    }

    /// Waits until something was read or written: [`Link::take_line`] may have a line then. `false` when the daemon
    /// has closed its side. May be dropped and called again.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn advance(&mut self) -> io::Result<bool> {
        let Link { reader, writer, buffer, from, to, outgoing, written, .. } = self;
        let can_read = *from == *to;
        let read = async {
            if !can_read {
                return futures_lite::future::pending().await;
            }
            Moved::Read(reader.read(buffer).await)
        };
        let write = async {
            if outgoing.is_empty() {
                return futures_lite::future::pending().await;
            }
            Moved::Written(writer.write(&outgoing[*written..]).await)
        };
        match futures_lite::future::race(read, write).await {
            Moved::Read(count) => {
                (*from, *to) = (0, count?);
                Ok(*to > 0)
            }
            Moved::Written(count) => {
                *written += count?;
                if *written == outgoing.len() {
                    outgoing.clear();
                    *written = 0;
                }
                Ok(true)
            }
        }
    }

    /// Says that nothing more will be written, once all is.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn finish_writing(&mut self) -> io::Result<()> {
        self.writer.close().await
    }
}

enum Moved {
    Read(io::Result<usize>),
    Written(io::Result<usize>),
}
