//! As little as a server can do: it finds newlines, and gives each client all that waits for it in one write per poll.
//!
//! What it costs is what no server on this machine can be below, and it shows what the generator itself can take.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use clap::Args;
use rustix::event::epoll::{self, EventData, EventFlags};

/// As little as a server can do
#[derive(Args)]
pub(crate) struct Floor {
    /// Where it listens
    address: SocketAddr,
}

struct Client {
    stream: TcpStream,
    /// What came last without its newline.
    input: Vec<u8>,
    has_name: bool,
}

impl Floor {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let listener = TcpListener::bind(self.address)?;
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(u64::MAX), EventFlags::IN)?;
        let mut clients: Vec<Option<Client>> = Vec::new();
        let mut events = Vec::with_capacity(1_024);
        let mut buffer = vec![0; 64 << 10];
        loop {
            events.clear();
            epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
            let mut said = Vec::new();
            for event in &events {
                let Ok(index) = usize::try_from(event.data.u64()) else { continue };
                let Some(place) = clients.get_mut(index) else {
                    let (stream, _) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    epoll::add(&epoll, &stream, EventData::new_u64(clients.len() as u64), EventFlags::IN)?;
                    clients.push(Some(Client { stream, input: Vec::new(), has_name: false }));
                    continue;
                };
                if place.as_mut().is_some_and(|client| !client.read(&mut buffer, &mut said)) {
                    *place = None;
                }
            }
            if said.is_empty() {
                continue;
            }
            for place in &mut clients {
                if place.as_mut().is_some_and(|client| !client.write(&said)) {
                    *place = None;
                }
            }
        }
    }
}

impl Client {
    /// Reads what has come and adds whole lines to what is said. False when the client has gone.
    fn read(&mut self, buffer: &mut [u8], said: &mut Vec<u8>) -> bool {
        let count = match self.stream.read(buffer) {
            Ok(0) | Err(_) => return false,
            Ok(count) => count,
        };
        let Some(end) = memchr::memrchr(b'\n', &buffer[..count]).map(|end| end + 1) else {
            self.input.extend_from_slice(&buffer[..count]);
            return true;
        };
        let mut lines = &buffer[..end];
        let mut begun = std::mem::take(&mut self.input);
        self.input.extend_from_slice(&buffer[end..count]);
        if !self.has_name {
            self.has_name = true;
            begun.clear();
            lines = memchr::memchr(b'\n', lines).map_or(&[][..], |first| &lines[first + 1..]);
        }
        said.extend_from_slice(&begun);
        said.extend_from_slice(lines);
        true
    }

    /// Writes what is said. False when the client has gone. It is waited for: the generator reads what it is sent.
    fn write(&mut self, said: &[u8]) -> bool {
        let mut left = said;
        while !left.is_empty() {
            match self.stream.write(left) {
                Ok(count) => left = &left[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(_) => return false,
            }
        }
        true
    }
}
